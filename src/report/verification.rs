//! What became of verifying a model, as text.

use std::fmt::Write;

use crate::verify::{Latency, Outputs, Report, Structure};

use super::plain_line;
use super::text::{TextTable, none, thousands};

/// Faults of a model that are listed.
const SHOWN: usize = 50;

/// What is known of each model's form, by its name, and what runtimes came to. `fit`: whether tables keep to the terminal.
pub fn verification(models: &[(&str, &Structure)], outputs: Option<&Outputs>, fit: bool) -> String {
    let mut text = String::new();
    for (name, found) in models {
        structure(&mut text, name, found);
    }
    if let Some(outputs) = outputs {
        runtimes(&mut text, outputs, fit);
        latency(&mut text, models, outputs, fit);
    }
    text
}

// Writing to a string cannot fail, wherever that is done here.

fn structure(text: &mut String, name: &str, found: &Structure) {
    let name = plain_line(name);
    let (nodes, tensors) = (thousands(found.nodes), thousands(found.tensors));
    match found.faults.len() {
        0 => {
            let shapes = thousands(found.shapes);
            let _ = writeln!(
                text,
                "{name}: well-formed ({nodes} nodes, {tensors} tensors, dimensions of {shapes} values)"
            );
        }
        1 => drop(writeln!(text, "{name}: not well-formed, 1 fault")),
        count => drop(writeln!(
            text,
            "{name}: not well-formed, {} faults",
            thousands(count)
        )),
    }
    for fault in found.faults.iter().take(SHOWN) {
        let _ = writeln!(text, "  {}", plain_line(&fault.to_string()));
    }
    if found.faults.len() > SHOWN {
        let _ = writeln!(
            text,
            "  … and {} more",
            thousands(found.faults.len() - SHOWN)
        );
    }
    for what in &found.unchecked {
        let _ = writeln!(text, "  not looked at: {}", plain_line(what));
    }
}

fn runtimes(text: &mut String, outputs: &Outputs, fit: bool) {
    let mut table = TextTable::fitted(fit);
    table.header([
        "Runtime",
        "Version",
        "Output",
        "Against",
        "Largest difference",
        "Within",
    ]);
    for runtime in &outputs.runtimes {
        let name = runtime.runtime.clone();
        let version = runtime.version.clone().unwrap_or_else(none);
        if let Some(why) = said(runtime) {
            table.row([
                name,
                version,
                why,
                String::new(),
                String::new(),
                String::new(),
            ]);
            continue;
        }
        if runtime.gaps.is_empty() {
            table.row([
                name,
                version,
                "the reference".to_owned(),
                String::new(),
                String::new(),
                String::new(),
            ]);
            continue;
        }
        for gap in &runtime.gaps {
            let apart = match (&gap.apart, &gap.change) {
                (Some(_), Some(change)) if change.nan_apart > 0 => {
                    format!(
                        "{} not a number in one alone",
                        thousands(change.nan_apart as usize)
                    )
                }
                (Some(apart), _) => format!("{apart:.1e}"),
                (None, _) => "other dimensions".to_owned(),
            };
            let holds = if gap.holds { "yes" } else { "no" };
            table.row([
                name.clone(),
                version.clone(),
                gap.output.clone(),
                gap.against.clone(),
                apart,
                holds.to_owned(),
            ]);
        }
    }
    let _ = writeln!(text, "\n{}", table.trimmed());
    let _ = writeln!(
        text,
        "\nA difference is over the largest size of the output that it is held against, where that is above 1; \
         within {:e}.",
        outputs.tolerance
    );
}

/// Why a runtime says nothing of the models, if it does not.
fn said(runtime: &Report) -> Option<String> {
    let refused = runtime
        .refused
        .iter()
        .enumerate()
        .filter_map(|(place, why)| Some((place, why.as_ref()?)));
    let of = |place| match runtime.refused.len() {
        1 => "refuses it",
        _ if place == 0 => "refuses the first",
        _ => "refuses the second",
    };
    let refused: Vec<String> = refused
        .map(|(place, why)| format!("{}: {why}", of(place)))
        .collect();
    let refused = (!refused.is_empty()).then(|| refused.join("; "));
    runtime.trouble.clone().or(refused)
}

fn latency(text: &mut String, models: &[(&str, &Structure)], outputs: &Outputs, fit: bool) {
    let timed = outputs.runtimes.iter().flat_map(|runtime| {
        let models = models.iter().zip(&runtime.latency);
        models.filter_map(move |((name, _), latency)| Some((runtime, *name, latency.as_ref()?)))
    });
    let timed: Vec<(&Report, &str, &Latency)> = timed.collect();
    if timed.is_empty() {
        return;
    }
    let mut table = TextTable::fitted(fit);
    table.header([
        "Runtime",
        "Model",
        "Median",
        "95 %",
        "Samples a second",
        "Runs",
    ]);
    table.align_right(2..6);
    for (runtime, name, latency) in timed {
        let ms = |seconds: f64| format!("{:.2} ms", 1000.0 * seconds);
        table.row([
            runtime.runtime.clone(),
            name.to_owned(),
            ms(latency.median),
            ms(latency.p95),
            format!("{:.1}", latency.samples_per_second),
            thousands(latency.runs),
        ]);
    }
    let _ = writeln!(text, "\n{}", table.trimmed());
}
