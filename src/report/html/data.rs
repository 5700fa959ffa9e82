//! Which data served for what, and what went wrong.

use maud::html;

use crate::report::text::thousands;
use crate::run::SearchMethod;

use super::facts::{Facts, share};
use super::page::{Section, Table};

/// Files and trials that are listed; the rest is counted.
const LISTED: usize = 200;

pub fn section(facts: &Facts) -> Section {
    let run = &facts.files.run;
    let (data, parts) = (&run.data, &run.data.parts);
    let settings = &run.configuration.settings;
    let mut table = Table::new("", &["Part", "#Count", "#Share", "Used for"]);
    let unused = data
        .samples
        .saturating_sub(parts.search + parts.validation + parts.train + parts.held_out);
    let mut rows = vec![
        (
            "search",
            parts.search,
            match (settings.method(), settings.split.search_apart) {
                (SearchMethod::Whole, true) => {
                    "The head at which gradients are looked at is solved on it."
                }
                (SearchMethod::Whole, false) => {
                    "Every candidate is trained on it, and so are the winners."
                }
                (_, true) => "Every candidate is trained on it.",
                (_, false) => "Every candidate is trained on it, and so are the winners.",
            },
        ),
        (
            "validation",
            parts.validation,
            "Candidates are ranked on it; watched while a winner is trained, to keep its best epoch \
             and to lower the learning rate; strategies are compared on it.",
        ),
        (
            "train",
            parts.train,
            match settings.method() {
                SearchMethod::Whole => "Every candidate is trained on it, and so are the winners.",
                _ => "The winner of each strategy is trained on it.",
            },
        ),
        (
            "held_out",
            parts.held_out,
            "The final figures and the confusion matrices, nothing else.",
        ),
    ];
    if unused > 0 {
        rows.push(("unused", unused, "Nothing."));
    }
    for (part, count, purpose) in rows {
        table.row([
            part.to_owned(),
            thousands(count),
            share(count as f64 / data.samples.max(1) as f64, 0.001),
            purpose.to_owned(),
        ]);
    }
    let classes = data.classes.join(", ");
    Section {
        id: "data",
        title: "Data".to_owned(),
        body: html! {
            p { code { (data.path.display()) } ": " (thousands(data.samples)) " " (facts.samples()) ". No "
                (facts.sample()) " is in two parts; which is in which stands in " a href="split.json" { "split.json" } "." }
            (table.draw())
            @if data.classes.len() <= 20 { p { (data.classes.len()) " classes: " (classes) "." } }
            @else { details { summary { (data.classes.len()) " classes" } p { (classes) } } }
            @if !data.notes.is_empty() { ul { @for note in &data.notes { li { (note) } } } }
            @if !data.skipped.is_empty() {
                h3 { (thousands(data.skipped.len())) " files were left out" }
                (listed("File", data.skipped.iter().map(|s| (s.path.clone(), s.reason.clone()))))
            }
        },
    }
}

/// What failed or could not be tried.
pub fn failures(facts: &Facts) -> Option<Section> {
    let files = facts.files;
    let strategies: Vec<(String, String)> = facts
        .results()
        .iter()
        .filter_map(|r| Some((r.name.to_string(), r.error.clone()?)))
        .collect();
    let trials: Vec<(String, String)> = files
        .trials
        .iter()
        .filter_map(|t| Some((t.id.clone(), t.error.clone()?)))
        .collect();
    let skipped: Vec<(String, String)> = files
        .run
        .strategies
        .iter()
        .flat_map(|p| &p.skipped)
        .map(|s| (s.id.clone(), s.reason.clone()))
        .collect();
    let any = !(strategies.is_empty() && trials.is_empty() && skipped.is_empty());
    any.then(|| Section {
        id: "failures",
        title: "What did not work".to_owned(),
        body: html! {
            @if !strategies.is_empty() {
                h3 { "Strategies without a model" }
                (listed("Strategy", strategies.into_iter()))
            }
            @if !trials.is_empty() {
                h3 { "Failed trials" }
                (listed("Trial", trials.into_iter()))
            }
            @if !skipped.is_empty() {
                h3 { "Candidates that cannot be trained" }
                (listed("Candidate", skipped.into_iter()))
            }
        },
    })
}

fn listed(what: &str, entries: impl ExactSizeIterator<Item = (String, String)>) -> maud::Markup {
    let more = entries.len().saturating_sub(LISTED);
    let mut table = Table::new("", &[what, "Reason"]);
    for (name, reason) in entries.take(LISTED) {
        table.row([name, reason]);
    }
    html! {
        (table.draw())
        @if more > 0 { p class="note" { "And " (thousands(more)) " more, in the run's files." } }
    }
}
