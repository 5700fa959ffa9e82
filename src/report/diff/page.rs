//! The differences as a page.

use maud::{Markup, html};

use crate::analysis::Analysis;
use crate::diff::{Diff, Renamed};
use crate::onnx::Model;
use crate::report::html::page::{Figure, Section, Table, page};
use crate::report::text::{none, thousands};

use super::blocks::{Network, networks};
use super::{figure, relative, sentence, shown, within, word};

/// The differences of two models as one page that loads nothing: both by their blocks, with what changed marked, and tables of
/// everything. `names`: what they are called; an analysis that is not there leaves the picture out and says why.
pub fn diff_page(
    diff: &Diff,
    names: [&str; 2],
    models: [&Model; 2],
    analyses: [Result<&Analysis, String>; 2],
) -> String {
    let mut sections = Vec::new();
    sections.push(Section {
        id: "blocks",
        title: "By blocks".to_owned(),
        body: match &analyses {
            [Ok(before), Ok(after)] => {
                let network = |i: usize, analysis| Network {
                    name: file_name(names[i]),
                    model: models[i],
                    analysis,
                };
                picture(diff, network(0, before), network(1, after))
            }
            [Err(why), _] | [_, Err(why)] => {
                html! { p { "No blocks are known: " (why) } }
            }
        },
    });
    let tables = [
        ("tensors", "Tensors", tensors(diff)),
        ("nodes", "Nodes", nodes(diff)),
        ("fields", "Fields", fields(diff)),
        ("renamed", "Renamed", renamed(diff)),
        ("stored", "Stored elsewhere", stored(diff)),
    ];
    for (id, title, table) in tables {
        sections.extend(table.map(|table| Section {
            id,
            title: title.to_owned(),
            body: table.draw(),
        }));
    }
    let title = format!("{} → {}", names[0], names[1]);
    page(
        &format!("{title} – ftsurgery diff"),
        &top(diff, names),
        &sections,
    )
}

/// The last part of a path.
fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

fn top(diff: &Diff, names: [&str; 2]) -> Markup {
    let counts = &diff.counts;
    let same = |same: usize, [before, after]: [usize; 2], what: &str| match before == after {
        true => format!(
            "{} of {} {what} are the same",
            thousands(same),
            thousands(before)
        ),
        false => format!(
            "{} {what} are the same, of {} before and {} after",
            thousands(same),
            thousands(before),
            thousands(after)
        ),
    };
    html! {
        h1 { "What differs" }
        p class="subtitle" { (names[0]) " → " (names[1]) }
        div class="verdict" {
            p class="lead" { (lead(diff)) }
            p { (same(counts.nodes_same, counts.nodes, "nodes")) "; "
                (same(counts.tensors_same, counts.tensors, "tensors")) "." }
        }
    }
}

/// What there is to say first.
fn lead(diff: &Diff) -> String {
    if diff.is_empty() {
        return "Nothing differs.".to_owned();
    }
    let values = diff.tensors.iter().filter_map(|t| t.values.as_ref());
    let changed: u64 = values.map(|v| v.changed).sum();
    let weights = match changed {
        0 => "No number of a tensor that is in both differs".to_owned(),
        changed => format!(
            "{} of {} elements of tensors have other values",
            thousands(changed as usize),
            thousands(diff.counts.elements[0] as usize)
        ),
    };
    let others = [
        (diff.nodes.len(), "nodes"),
        (diff.fields.len(), "fields"),
        (diff.renamed.len(), "names"),
    ];
    let others = others.into_iter().filter(|(count, _)| *count > 0);
    let others: Vec<String> = others
        .map(|(n, what)| format!("{what}: {}", thousands(n)))
        .collect();
    match others.is_empty() {
        true => format!("{weights}."),
        false => format!("{weights}; what else differs, {}.", others.join(", ")),
    }
}

fn picture(diff: &Diff, before: Network, after: Network) -> Markup {
    let chart = networks(diff, before, after);
    Figure {
        id: "networks",
        title: "The two networks, from input to output",
        description: "A row for each pair of blocks, with a mark for each layer.",
        caption: html! {
            "A row is a block, a mark one of its layers; what is said of a layer shows when the pointer rests on it. "
            "Bars: the share of the block's parameters that have other values; behind them, how many these are, and by how much: the \
             norm of their change over the norm of the tensors they are in."
        },
        table: None,
    }
    .draw(&chart.draw())
}

fn tensors(diff: &Diff) -> Option<Table> {
    let columns = [
        "Tensor",
        "Type",
        "What",
        "#Elements changed",
        "#Norm of change",
        "#Of its norm",
        "#Largest",
        "#Not a number",
    ];
    let mut table = Table::new("", &columns);
    for tensor in &diff.tensors {
        let changes: Vec<String> = tensor.changes.iter().map(sentence).collect();
        let what = match changes.is_empty() {
            true => word(tensor.what).to_owned(),
            false => format!("{}: {}", word(tensor.what), changes.join("; ")),
        };
        let values = tensor.values.as_ref();
        let of =
            |text: &dyn Fn(&crate::diff::ValueChange) -> String| values.map_or_else(none, text);
        table.row([
            within(&tensor.scope, &tensor.name),
            tensor.declared.clone(),
            what,
            of(&|v| thousands(v.changed as usize)),
            of(&|v| figure(v.difference)),
            of(&relative),
            of(&|v| figure(v.largest)),
            of(&|v| match v.nan {
                [0, 0] => "0".to_owned(),
                [before, after] => format!("{before} → {after}"),
            }),
        ]);
    }
    (!diff.tensors.is_empty()).then_some(table)
}

fn nodes(diff: &Diff) -> Option<Table> {
    let mut table = Table::new("", &["Node", "Operator", "What", "Changes"]);
    for node in &diff.nodes {
        let changes: Vec<String> = node.changes.iter().map(sentence).collect();
        table.row([
            within(&node.scope, &node.name),
            node.op_type.clone(),
            word(node.what).to_owned(),
            changes.join("; "),
        ]);
    }
    (!diff.nodes.is_empty()).then_some(table)
}

fn fields(diff: &Diff) -> Option<Table> {
    let mut table = Table::new("", &["Field", "Before", "After"]);
    for field in &diff.fields {
        table.row([
            within(&field.scope, &field.change.field),
            shown(field.change.before.as_ref()),
            shown(field.change.after.as_ref()),
        ]);
    }
    (!diff.fields.is_empty()).then_some(table)
}

fn renamed(diff: &Diff) -> Option<Table> {
    let mut table = Table::new("", &["What", "Before", "After"]);
    for Renamed {
        scope,
        kind,
        from,
        to,
    } in &diff.renamed
    {
        let kind = format!("{kind:?}").to_lowercase();
        table.row([within(scope, &kind), from.clone(), to.clone()]);
    }
    (!diff.renamed.is_empty()).then_some(table)
}

fn stored(diff: &Diff) -> Option<Table> {
    let caption = "Where values of tensors are stored is no difference.";
    let mut table = Table::new(caption, &["Tensor", "Before", "After"]);
    for tensor in &diff.stored {
        table.row([
            within(&tensor.scope, &tensor.name),
            tensor.before.clone(),
            tensor.after.clone(),
        ]);
    }
    (!diff.stored.is_empty()).then_some(table)
}
