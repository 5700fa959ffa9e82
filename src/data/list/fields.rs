//! Where the lines and the fields of a list end.

use super::COMMENT;

/// Counts the lines of a text, whose ends are `\n`, `\r\n` or `\r`.
pub(super) struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    line: u64,
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t [u8]) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
        }
    }

    /// The line, from 1, of the first byte at `place` or behind it that ends no line; places rise from call to call.
    pub(super) fn at(&mut self, place: u64) -> u64 {
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        while let Some(&byte) = self.text.get(self.at) {
            let ends = byte == b'\n' || byte == b'\r';
            if self.at >= place && !ends {
                break;
            }
            let goes_on = byte == b'\r' && self.text.get(self.at + 1) == Some(&b'\n');
            self.line += u64::from(ends && !goes_on);
            self.at += 1;
        }
        self.line
    }
}

/// The separator that a first line such as `sep=;` names, which is for Excel, and the text from the end of that line.
pub(super) fn separator(text: &[u8]) -> Option<(u8, &[u8])> {
    let end = text.iter().position(|byte| b"\r\n".contains(byte))?;
    let (line, rest) = text.split_at(end);
    match *line {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', of] if b"\t;,| ".contains(&of) => {
            Some((of, rest))
        }
        _ => None,
    }
}

/// What separates the fields of a list that begins so: of comma, semicolon and tab that which its first line has most; of a
/// plain text without any of them spaces.
pub(super) fn delimiter(start: &[u8], is_plain: bool) -> u8 {
    let mut lines = start.split(|&byte| byte == b'\n' || byte == b'\r');
    let is_row = |line: &&[u8]| !is_plain || !line.is_empty() && line[0] != COMMENT;
    let line = lines.find(is_row).unwrap_or_default();
    let count = |of: u8| line.iter().filter(|&&byte| byte == of).count();
    let all = [b'\t', b';', b','];
    let most = all.into_iter().max_by_key(|&of| count(of));
    most.filter(|&of| !is_plain || count(of) > 0)
        .unwrap_or(b' ')
}

/// A text with one space where there are several, and none at the ends of lines.
pub(super) fn single_spaces(text: &[u8]) -> Vec<u8> {
    let ends = |byte: Option<&u8>| byte.is_none_or(|byte| b" \r\n".contains(byte));
    let mut single = Vec::with_capacity(text.len());
    for (i, &byte) in text.iter().enumerate() {
        let begins = single.last().is_none_or(|last| b"\r\n".contains(last));
        if byte != b' ' || !(begins || ends(text.get(i + 1))) {
            single.push(byte);
        }
    }
    single
}
