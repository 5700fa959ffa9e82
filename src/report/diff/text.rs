//! The differences as tables of text.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::diff::{Diff, Kind, Renamed};
use crate::report::plain_line;
use crate::report::text::{TextTable, none, thousands};

use super::{figure, relative, sentence, shown, within, word};

/// Names that stand for all that were renamed.
const EXAMPLES: usize = 3;

/// The differences as text. `names`: what the two models are called; `fit`: whether tables keep to the terminal.
pub fn diff(diff: &Diff, names: [&str; 2], fit: bool) -> String {
    let mut text = String::new();
    let [before, after] = names.map(plain_line);
    let counts = &diff.counts;
    // Writing to a string cannot fail.
    let _ = writeln!(text, "before  {before}\nafter   {after}\n");
    for (what, [old, new], same) in [
        ("nodes", counts.nodes, Some(counts.nodes_same)),
        ("tensors", counts.tensors, Some(counts.tensors_same)),
        ("elements", counts.elements.map(|n| n as usize), None),
    ] {
        let numbers = match old == new {
            true => thousands(old),
            false => format!("{} → {}", thousands(old), thousands(new)),
        };
        let same = same.map(|n| format!(", {} the same", thousands(n)));
        let _ = writeln!(text, "{what:<10}{numbers}{}", same.unwrap_or_default());
    }
    for section in [fields(diff, fit), nodes(diff, fit), tensors(diff, fit)] {
        text.extend(section.map(|section| format!("\n{section}\n")));
    }
    let renames = renames(&diff.renamed);
    if !renames.is_empty() {
        let _ = write!(text, "\n{renames}");
    }
    if !diff.stored.is_empty() {
        let first = &diff.stored[0];
        let _ = writeln!(
            text,
            "\nStored elsewhere, which is no difference: {} tensors (`{}`: {} → {})",
            thousands(diff.stored.len()),
            plain_line(&first.name),
            plain_line(&first.before),
            plain_line(&first.after),
        );
    }
    if diff.is_empty() {
        text.push_str("\nNo difference.\n");
    }
    text
}

fn fields(diff: &Diff, fit: bool) -> Option<String> {
    let mut table = TextTable::fitted(fit);
    table.header(["Field", "Before", "After"]);
    for field in &diff.fields {
        let change = &field.change;
        table.row([
            within(&field.scope, &change.field),
            shown(change.before.as_ref()),
            shown(change.after.as_ref()),
        ]);
    }
    (!diff.fields.is_empty()).then(|| table.trimmed())
}

fn nodes(diff: &Diff, fit: bool) -> Option<String> {
    let mut table = TextTable::fitted(fit);
    table.header(["Node", "Operator", "", "What"]);
    for node in &diff.nodes {
        let changes: Vec<String> = node.changes.iter().map(sentence).collect();
        table.row([
            within(&node.scope, &node.name),
            node.op_type.clone(),
            word(node.what).to_owned(),
            changes.join("; "),
        ]);
    }
    (!diff.nodes.is_empty()).then(|| table.trimmed())
}

fn tensors(diff: &Diff, fit: bool) -> Option<String> {
    let mut table = TextTable::fitted(fit);
    table.header([
        "Tensor",
        "Type",
        "",
        "Elements changed",
        "Norm of change",
        "Of its norm",
        "Largest",
        "What",
    ]);
    table.align_right(3..7);
    for tensor in &diff.tensors {
        let mut changes: Vec<String> = tensor.changes.iter().map(sentence).collect();
        let values = tensor.values.as_ref();
        if let Some(values) = values.filter(|v| v.nan != [0, 0]) {
            let [before, after] = values.nan.map(|n| thousands(n as usize));
            changes.push(format!("not a number: {before} → {after}"));
        }
        let of = |text: fn(&crate::diff::ValueChange) -> String| values.map_or_else(none, text);
        table.row([
            within(&tensor.scope, &tensor.name),
            tensor.declared.clone(),
            word(tensor.what).to_owned(),
            of(|v| thousands(v.changed as usize)),
            of(|v| figure(v.difference)),
            of(relative),
            of(|v| figure(v.largest)),
            changes.join("; "),
        ]);
    }
    (!diff.tensors.is_empty()).then(|| table.trimmed())
}

/// What has other names, a line for each kind.
fn renames(renamed: &[Renamed]) -> String {
    let mut kinds: BTreeMap<Kind, Vec<&Renamed>> = BTreeMap::new();
    for entry in renamed {
        kinds.entry(entry.kind).or_default().push(entry);
    }
    let mut text = String::new();
    for (kind, entries) in kinds {
        let what = match kind {
            Kind::Input => "inputs",
            Kind::Value => "values",
            Kind::Node => "nodes",
            Kind::Tensor => "tensors",
        };
        let pair = |r: &&Renamed| format!("`{}` → `{}`", plain_line(&r.from), plain_line(&r.to));
        let mut examples: Vec<String> = entries.iter().take(EXAMPLES).map(pair).collect();
        examples.extend((entries.len() > EXAMPLES).then(|| "…".to_owned()));
        let count = thousands(entries.len());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "Renamed {what}: {count} ({})", examples.join(", "));
    }
    text
}
