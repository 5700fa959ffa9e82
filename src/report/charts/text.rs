//! How wide text is, without a font at hand.

/// A generous estimate of the width in pixels of `text` at a font size of `size` pixels.
pub fn text_width(text: &str, size: f64) -> f64 {
    text.chars().map(|c| width(c) * size).sum()
}

/// Width of a character as a share of the font size.
fn width(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '|' | '\'' | ' ' | '!' => 0.33,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '/' | '-' => 0.42,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.95,
        'A'..='Z' | '&' | '<' | '>' | '=' | '+' | '–' | '−' | '±' | '×' => 0.86,
        c if c.is_ascii() => 0.6,
        c if (c as u32) < 0x1100 => 0.7,
        _ => 1.05,
    }
}

/// `text`, or its beginning and end around an ellipsis where it is wider than `room` pixels. The
/// end often tells names apart.
pub fn ellipsised(text: &str, size: f64, room: f64) -> String {
    if text_width(text, size) <= room {
        return text.to_owned();
    }
    let chars: Vec<char> = text.chars().collect();
    let mut left = room - text_width("…", size);
    let (mut head, mut tail) = (0, 0);
    while head + tail < chars.len() {
        let from_head = head <= tail;
        let next = match from_head {
            true => chars[head],
            false => chars[chars.len() - 1 - tail],
        };
        left -= width(next) * size;
        if left < 0.0 {
            break;
        }
        match from_head {
            true => head += 1,
            false => tail += 1,
        }
    }
    let start: String = chars[..head].iter().collect();
    let end: String = chars[chars.len() - tail..].iter().collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_both_ends_and_fit() {
        assert_eq!(ellipsised("conv1", 12.0, 100.0), "conv1");
        let name = "/features/features.0/features.0.0/Conv";
        let short = ellipsised(name, 12.0, 100.0);
        assert!(
            short.starts_with("/fea") && short.ends_with("Conv"),
            "{short}"
        );
        assert!(text_width(&short, 12.0) <= 100.0);
        assert_eq!(ellipsised("日本語日本語", 12.0, 0.0), "…");
    }
}
