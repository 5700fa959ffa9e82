//! In what two models differ, as text and as a page.

mod blocks;
mod page;
mod text;

pub use page::diff_page;
pub use text::diff;

use crate::diff::{Change, Fate, ValueChange};

use super::text::none;

/// Characters of a field that are shown; JSON has all.
const SHOWN: usize = 120;

/// A text that may be long, or what stands for none.
fn shown(text: Option<&String>) -> String {
    let Some(text) = text else { return none() };
    match text.char_indices().nth(SHOWN) {
        None => text.clone(),
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
    }
}

/// A name with the way to it.
fn within(scope: &[String], name: &str) -> String {
    match scope {
        [] => name.to_owned(),
        scope => format!("{name} (in {})", scope.join(", in ")),
    }
}

/// A change in a sentence.
fn sentence(change: &Change) -> String {
    let (before, after) = (shown(change.before.as_ref()), shown(change.after.as_ref()));
    format!("{}: {before} → {after}", change.field)
}

/// What became of a node or tensor, in a word.
fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Added => "new",
        Fate::Removed => "gone",
        Fate::Changed => "changed",
        Fate::Moved => "elsewhere in the order",
    }
}

/// A size of a difference.
fn figure(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if (1e-3..1e5).contains(&value.abs()) => format!("{value:.4}"),
        value => format!("{value:.2e}"),
    }
}

/// A difference over the size of what it is a difference of.
fn relative(values: &ValueChange) -> String {
    values.relative.map_or_else(none, share)
}

/// A share, which may be very small.
fn share(share: f64) -> String {
    match share {
        0.0 => "0".to_owned(),
        share if share < 1e-5 => format!("{:.1e} %", 100.0 * share),
        share => format!("{:.3} %", 100.0 * share),
    }
}
