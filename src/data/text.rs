//! The text of a file, whichever Unicode encoding its first bytes tell.

/// A text as UTF-8, without the mark that it may begin with; a text without a mark as it is, be it UTF-8 or not.
///
/// # Errors
/// When a text that begins as UTF-16 is none.
pub(super) fn unmarked(mut bytes: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    let of = match *bytes.as_slice() {
        [0xEF, 0xBB, 0xBF, ..] => {
            bytes.drain(..3);
            return Ok(bytes);
        }
        [0xFF, 0xFE, ..] => u16::from_le_bytes,
        [0xFE, 0xFF, ..] => u16::from_be_bytes,
        _ => return Ok(bytes),
    };
    const BROKEN: &str = "it begins as UTF-16, but is none";
    let (units, []) = bytes[2..].as_chunks::<2>() else {
        return Err(BROKEN);
    };
    let text =
        char::decode_utf16(units.iter().map(|unit| of(*unit))).collect::<Result<String, _>>();
    text.map(String::into_bytes).map_err(|_| BROKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_texts_are_read_in_the_encoding_that_their_mark_tells() {
        let text = "path,Gattung\n1.png,Bär 🐻\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            text.as_bytes().to_vec(),
            [&b"\xef\xbb\xbf"[..], text.as_bytes()].concat(),
            [&b"\xff\xfe"[..], &little].concat(),
            [&b"\xfe\xff"[..], &big].concat(),
        ] {
            assert_eq!(unmarked(bytes).unwrap(), text.as_bytes());
        }
        let latin = b"caf\xe9".to_vec();
        assert_eq!(unmarked(latin.clone()).unwrap(), latin);
        for broken in [&b"\xff\xfea"[..], b"\xff\xfe\x00\xd8a\x00"] {
            assert!(unmarked(broken.to_vec()).unwrap_err().contains("UTF-16"));
        }
    }
}
