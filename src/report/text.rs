//! Numbers and tables as all reports write them.

use std::borrow::Cow;
use std::fmt;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets};

use super::plain_line;

const RULE: LineStyle = LineStyle::none().fill('─').junction('─');

/// A table of text. What stands in a cell is one line, whatever names from files hold.
pub(super) struct TextTable(Table);

impl TextTable {
    /// An empty one that wraps its cells to fit `width` columns, or does not wrap.
    pub fn new(width: Option<u16>) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING.header_separator(RULE));
        match width {
            Some(width) => table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        TextTable(table)
    }

    /// An empty one of the terminal's width, if `fit`.
    pub fn fitted(fit: bool) -> Self {
        // Squeezed into less, a table says nothing any more.
        TextTable::new(Table::new().width().filter(|&columns| fit && columns >= 40))
    }

    pub fn header<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.0.set_header(cells.into_iter().map(cell));
    }

    pub fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.0.add_row(cells.into_iter().map(cell));
    }

    /// Sets columns of numbers flush right.
    pub fn align_right(&mut self, columns: std::ops::Range<usize>) {
        for column in columns {
            if let Some(column) = self.0.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }

    /// The table without the left padding and trailing blanks.
    pub fn trimmed(&self) -> String {
        let text = self.0.to_string();
        let lines = text
            .lines()
            .map(|l| l.strip_prefix(' ').unwrap_or(l).trim_end());
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Text on one line, cut where nobody reads on, and in its words, too: to wrap a word takes the square of
/// its length.
fn cell<T: AsRef<str>>(text: T) -> String {
    const SHOWN: usize = 10_000;
    const SHOWN_OF_WORD: usize = 200;
    let words = cut(text.as_ref(), SHOWN);
    let words = words.split(' ').map(|word| cut(word, SHOWN_OF_WORD));
    let shown = words.collect::<Vec<_>>().join(" ");
    plain_line(&shown).into_owned()
}

/// The first characters of a text, and a sign that there are more.
fn cut(text: &str, shown: usize) -> Cow<'_, str> {
    match text.char_indices().nth(shown) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

/// A number with commas between its thousands.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What stands where there is no figure.
pub(super) fn none() -> String {
    "–".to_owned()
}

/// A share, 0 to 1, in per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// A span of time.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    format!("{}:{:02} min", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_every_name_on_its_line_and_cuts_what_nobody_reads() {
        let mut table = TextTable::new(Some(80));
        table.header(["Name\nFAKE", "b"]);
        for name in [
            "a\nFAKE\u{1b}[2J",
            &"n".repeat(30_000_000),
            &"n ".repeat(15_000_000),
        ] {
            table.row([name, "1"]);
        }
        let text = table.trimmed();
        assert!(!text.lines().any(|line| line.starts_with("FAKE")), "{text}");
        assert!(text.contains("a\\u000aFAKE\\u001b[2J"), "{text}");
        assert!(text.len() < 20_000, "{}", text.len());
    }
}
