//! What a command of surgery prints.

use std::collections::BTreeMap;
use std::io::Write;

use crate::onnx::lay_out;
use crate::report::plain_line;
use crate::surgery::{Difference, Manifest, Part, What};
use crate::transform::{Numbers, Transformed, Written};
use serde_json::{Value, json};

use super::super::{CliError, Context};
use super::{CheckArg, SurgeryArgs};

/// Changes that are told line by line; of more, the first ones are.
const TOLD: usize = 12;

/// What would be written.
pub fn planned(
    args: &SurgeryArgs,
    operation: &str,
    transformed: &Transformed<'_>,
    context: &Context,
) -> Result<(), CliError> {
    let laid = lay_out(&transformed.model(), transformed.placement, "data")?;
    if args.json {
        let mut all = about(args, operation, &transformed.manifest, &transformed.notes);
        all["bytes"] = laid.file_bytes().into();
        all["data_bytes"] = laid.data_bytes().into();
        return print_json(&all, context);
    }
    changes(args, &transformed.manifest, context)?;
    let mut out = context.stdout();
    if laid.put_beside > 0 {
        writeln!(
            out,
            "{} would have their values beside the model",
            count(laid.put_beside, "tensor")
        )?;
    }
    if laid.taken_in > 0 {
        writeln!(
            out,
            "{} would have their values inside",
            count(laid.taken_in, "tensor")
        )?;
    }
    let beside = laid
        .data_bytes()
        .map_or(String::new(), |b| format!(", and {} beside it", size(b)));
    writeln!(
        out,
        "the model would have {}{beside}",
        size(laid.file_bytes())
    )?;
    out.flush()?;
    notes(&transformed.notes, context);
    Ok(())
}

/// What was written.
pub fn written(
    args: &SurgeryArgs,
    operation: &str,
    transformed: &Transformed<'_>,
    written: &Written,
    context: &Context,
) -> Result<(), CliError> {
    let structure = args.check != CheckArg::Off;
    if args.json {
        let mut all = about(args, operation, &written.manifest, &transformed.notes);
        all["bytes"] = written.bytes.into();
        all["data"] = match &written.data {
            None => Value::Null,
            Some((path, bytes)) => json!({ "path": path, "bytes": bytes }),
        };
        let numbers = match &written.numbers {
            Numbers::NotAsked => Value::Null,
            Numbers::NotCompared(reason) => json!({ "not_compared": reason }),
            Numbers::Equal { values, off } => json!({ "values": values, "off": off }),
        };
        all["checked"] = json!({ "structure": structure, "numbers": numbers });
        return print_json(&all, context);
    }
    changes(args, &written.manifest, context)?;
    let mut out = context.stdout();
    let numbers = match &written.numbers {
        Numbers::NotAsked => String::new(),
        Numbers::NotCompared(reason) => {
            context.note(&format!("the numbers were not compared: {reason}"));
            String::new()
        }
        Numbers::Equal { values, off } => {
            let verb = if *values == 1 { "is" } else { "are" };
            let as_far = match off {
                0.0 => "to the bit".to_owned(),
                off => format!("within {off:.1e}"),
            };
            format!("; {} {verb} equal {as_far}", count(*values, "value"))
        }
    };
    if structure {
        writeln!(out, "checked: nothing else differs{numbers}")?;
    }
    out.flush()?;
    notes(&transformed.notes, context);
    let beside = match &written.data {
        None => String::new(),
        Some((path, bytes)) => format!(" and {} ({})", path.display(), size(*bytes)),
    };
    context.note(&format!(
        "written to {} ({}){beside}",
        written.path.display(),
        size(written.bytes)
    ));
    Ok(())
}

fn notes(notes: &[String], context: &Context) {
    for note in notes {
        context.note(&format!("note: {note}"));
    }
}

fn print_json(value: &Value, context: &Context) -> Result<(), CliError> {
    let mut out = context.stdout();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

fn about(args: &SurgeryArgs, operation: &str, manifest: &Manifest, notes: &[String]) -> Value {
    json!({
        "operation": operation,
        "model": args.model,
        "out": args.out.as_ref().filter(|_| !args.dry_run),
        "counts": counts(manifest)
            .into_iter()
            .map(|((what, part), count)| json!({ "what": what.json(), "part": part, "count": count }))
            .collect::<Vec<_>>(),
        "changes": manifest.changes,
        "notes": notes,
    })
}

/// Kinds of changes, in the order in which they are told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Removed,
    Added,
    Renamed,
    Changed,
    Set,
    Moved,
    TakenIn,
    PutBeside,
    Relocated,
}

impl Kind {
    fn of(what: &What) -> Self {
        match what {
            What::Removed => Kind::Removed,
            What::Added { .. } => Kind::Added,
            What::Renamed { .. } => Kind::Renamed,
            What::Changed { .. } => Kind::Changed,
            What::Set { .. } => Kind::Set,
            What::Moved { .. } => Kind::Moved,
            What::TakenIn => Kind::TakenIn,
            What::PutBeside => Kind::PutBeside,
            What::Relocated => Kind::Relocated,
        }
    }

    /// As the manifest names it.
    fn json(self) -> &'static str {
        match self {
            Kind::Removed => "removed",
            Kind::Added => "added",
            Kind::Renamed => "renamed",
            Kind::Changed => "changed",
            Kind::Set => "set",
            Kind::Moved => "moved",
            Kind::TakenIn => "taken_in",
            Kind::PutBeside => "put_beside",
            Kind::Relocated => "relocated",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Kind::Removed => "gone",
            Kind::Added => "new",
            Kind::Renamed => "renamed",
            Kind::Changed => "changed",
            Kind::Set => "with other values",
            Kind::Moved => "moved",
            Kind::TakenIn => "taken inside",
            Kind::PutBeside => "put beside the model",
            Kind::Relocated => "at another place beside the model",
        }
    }
}

fn counts(manifest: &Manifest) -> BTreeMap<(Kind, Part), usize> {
    let mut counts = BTreeMap::new();
    for Difference { part, what, .. } in &manifest.changes {
        *counts.entry((Kind::of(what), *part)).or_insert(0) += 1;
    }
    counts
}

/// Counts, a line for each kind of change, then the changes.
fn changes(args: &SurgeryArgs, manifest: &Manifest, context: &Context) -> Result<(), CliError> {
    let mut out = context.stdout();
    let mut kinds: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
    for ((kind, part), number) in counts(manifest) {
        kinds
            .entry(kind)
            .or_default()
            .push(count(number, noun(part)));
    }
    if kinds.is_empty() {
        writeln!(
            out,
            "{}: nothing changes",
            plain_line(&args.model.display().to_string())
        )?;
    }
    for (kind, parts) in kinds {
        writeln!(out, "{}: {}", kind.words(), parts.join(", "))?;
    }
    let all = manifest.changes.len();
    let told = if context.is_verbose() || all <= TOLD + 1 {
        all
    } else {
        TOLD
    };
    for change in &manifest.changes[..told] {
        writeln!(out, "  {}", plain_line(&change.to_string()))?;
    }
    if told < all {
        writeln!(out, "  and {} more (--verbose tells all)", all - told)?;
    }
    Ok(out.flush()?)
}

fn noun(part: Part) -> &'static str {
    match part {
        Part::Header => "field",
        Part::OperatorSet => "operator set",
        Part::Metadata => "metadata property",
        Part::Function => "function",
        Part::Input => "input",
        Part::Output => "output",
        Part::ValueInfo => "noted type",
        Part::Annotation => "quantisation annotation",
        Part::Node => "node",
        Part::Tensor => "tensor",
        Part::SparseTensor => "sparse tensor",
        Part::Value => "value",
    }
}

/// A number of things.
fn count(number: usize, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {noun}s"),
    }
}

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        ..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
