//! Text that a terminal shows as it is. Names of nodes, classes and files come from others, and may hold
//! what a terminal obeys: escape sequences, a return to the line's begin, an order of letters turned
//! round.

use std::borrow::Cow;
use std::io::{self, Write};

/// Whether a terminal obeys a character, or shows others elsewhere because of it.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Marks, embeddings, overrides and isolates of direction; line and paragraph separators.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Writes `\u001b` for U+001B: as JSON has it, so that JSON stays what it is.
fn replace(text: &str, keeps: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_shown = |c: char| !is_obeyed(c) || keeps(c);
    if text.chars().all(is_shown) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_shown(c) {
            true => shown.push(c),
            false => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    shown.into()
}

/// Text of several lines with what a terminal obeys written out, all but line ends and tabulators.
pub fn plain(text: &str) -> Cow<'_, str> {
    replace(text, |c| matches!(c, '\n' | '\t'))
}

/// A name, with line ends written out, too.
pub fn plain_line(name: &str) -> Cow<'_, str> {
    replace(name, |_| false)
}

/// A message: its further lines are indented, and a line end before anything else is part of a name.
pub fn plain_message(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            shown.push_str(if line.starts_with("  ") {
                "\n"
            } else {
                "\\u000a"
            });
        }
        shown.push_str(&plain_line(line));
    }
    shown
}

/// Writes text as [`plain`] has it.
#[derive(Debug)]
pub struct Plain<W> {
    inner: W,
    /// The begin of a character whose end has not come yet.
    begun: Vec<u8>,
}

impl<W: Write> Plain<W> {
    /// In front of a terminal, or what takes its place.
    pub fn new(inner: W) -> Self {
        Plain {
            inner,
            begun: Vec::new(),
        }
    }

    /// What it writes to.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }
}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.begun) {
            Ok(_) => self.begun.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.begun.len(),
        };
        let rest = self.begun.split_off(whole);
        let text = std::mem::replace(&mut self.begun, rest);
        let text = String::from_utf8_lossy(&text);
        self.inner.write_all(plain(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        let hostile = "a\u{1b}[31mred\u{7}\r\0\u{9b}2J\u{202e}evil\u{2066}\u{7f}";
        let shown = "a\\u001b[31mred\\u0007\\u000d\\u0000\\u009b2J\\u202eevil\\u2066\\u007f";
        assert_eq!(plain(hostile), shown);
        assert_eq!(plain("Ünïcode ✓\n\tline"), "Ünïcode ✓\n\tline");
        assert_eq!(plain_line("a\nerror: b"), "a\\u000aerror: b");
        assert_eq!(
            plain_message("tried:\n  a\nerror: b"),
            "tried:\n  a\\u000aerror: b"
        );
    }

    #[test]
    fn json_keeps_its_meaning_and_characters_may_come_in_pieces() {
        let name = "b\u{9b}\u{202e}\u{1b}ü";
        let json = serde_json::to_vec(&name).unwrap();
        let mut out = Plain::new(Vec::new());
        for byte in &json {
            out.write_all(&[*byte]).unwrap();
        }
        let written = out.get_ref().clone();
        assert!(!written.contains(&0x9b) || written.windows(2).all(|w| w != [0xc2, 0x9b]));
        assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), name);
    }
}
