//! Numbers and tables as all reports write them.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets};

use super::plain_line;

const RULE: LineStyle = LineStyle::none().fill('─').junction('─');

/// An empty table that wraps its cells to fit `width` columns, or does not wrap.
pub(super) fn table(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING.header_separator(RULE));
    match width {
        Some(width) => table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table
}

/// The table without the left padding and trailing blanks.
pub(super) fn trimmed(table: &Table) -> String {
    let text = table.to_string();
    let lines = text
        .lines()
        .map(|l| l.strip_prefix(' ').unwrap_or(l).trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

/// A name as it stands in a table: on one line, and cut where nobody reads on. To wrap a word takes the
/// square of its length.
pub(super) fn cell(name: &str) -> String {
    const SHOWN: usize = 200;
    let name = match name.char_indices().nth(SHOWN) {
        None => plain_line(name),
        Some((end, _)) => plain_line(&name[..end]) + "…",
    };
    name.into_owned()
}

/// Sets columns of numbers flush right.
pub(super) fn align_right(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
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
