//! Lists of named parts: metadata, operator sets, declared values.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;

use prost::Message;

use super::{Change, sequence};

/// How the parts of a list are told.
pub(super) struct List<'w, M> {
    /// What a part is called in front of its name.
    pub part: &'static str,
    /// What it goes by.
    pub key: &'w dyn Fn(&M) -> String,
    /// It in words.
    pub words: &'w dyn Fn(&M) -> String,
    /// The name that one of another name has after.
    pub renamed: &'w dyn Fn(&str) -> String,
    /// Whether their order means something.
    pub ordered: bool,
}

impl<M: Message + Debug> List<'_, M> {
    /// How two lists differ.
    pub fn changes(&self, before: &[M], after: &[M]) -> Vec<Change> {
        let old = numbered(before.iter().map(|part| (self.renamed)(&(self.key)(part))));
        let new = numbered(after.iter().map(self.key));
        let places: HashMap<&String, usize> = new.iter().zip(0..).collect();
        let there: HashSet<&String> = old.iter().collect();
        let mut changes = Vec::new();
        let mut kept = Vec::new();
        let field = |name: &str| format!("{} `{name}`", self.part);
        for (name, part) in old.iter().zip(before) {
            let Some(&place) = places.get(name) else {
                changes.push(Change {
                    field: field(&(self.key)(part)),
                    before: Some((self.words)(part)),
                    after: None,
                });
                continue;
            };
            kept.push(place);
            let (x, y) = ((self.words)(part), (self.words)(&after[place]));
            changes.extend(change(&field(name), part, &after[place], x, y));
        }
        for (name, part) in new
            .iter()
            .zip(after)
            .filter(|(name, _)| !there.contains(name))
        {
            changes.push(Change {
                field: field(name),
                before: None,
                after: Some((self.words)(part)),
            });
        }
        if self.ordered && sequence::increasing(&kept).len() < kept.len() {
            changes.push(order(self.part, old, new));
        }
        changes
    }
}

/// Names, with a number behind those that were there before.
pub(super) fn numbered(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let names = names.map(|name| {
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        match count {
            1 => name,
            count => format!("{name} #{count}"),
        }
    });
    names.collect()
}

/// That a list has another order.
pub(super) fn order(part: &str, before: Vec<String>, after: Vec<String>) -> Change {
    Change {
        field: format!("order: {part}"),
        before: Some(before.join(", ")),
        after: Some(after.join(", ")),
    }
}

/// How two messages differ, if they do; `x` and `y` are they in words, which need not say all that is in them.
pub(super) fn change<M: Message + Debug>(
    field: &str,
    before: &M,
    after: &M,
    x: String,
    y: String,
) -> Option<Change> {
    if before.encode_to_vec() == after.encode_to_vec() {
        return None;
    }
    let (x, y) = match x == y {
        true => (format!("{before:?}"), format!("{after:?}")),
        false => (x, y),
    };
    Some(Change {
        field: field.to_owned(),
        before: Some(x),
        after: Some(y),
    })
}
