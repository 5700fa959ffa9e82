//! What a search looked at that tries a few sets of blocks: how far each came, and why it ended there.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::report::certainty::sentence;
use crate::report::charts::{Axis, Dot, DotKind, Row, Rows};
use crate::report::scores::relative_gradients;
use crate::report::tables::cost;
use crate::report::text::{none, percent, thousands};
use crate::run::{Allowance, Planned, SearchMethod, TrialRecord, ranked};
use crate::strategy::Candidate;
use crate::training::Monitor;

use super::facts::{Facts, count, share, slot};
use super::page::{Figure, Table};

/// Blocks of a candidate whose ranks are listed.
const LISTED: usize = 8;

/// How a candidate fared.
struct Looked<'a> {
    candidate: &'a Candidate,
    /// Its record on each rung that it reached, with its place among those there, from 1, unless it failed.
    rungs: Vec<(&'a TrialRecord, Option<usize>)>,
    is_begun: bool,
}

/// A rung of the search.
struct Rung {
    epochs: usize,
    /// Candidates that were ranked on it.
    ranked: usize,
}

/// The candidates of a search, the best first, as a chart and a table, and the scores of the blocks.
pub fn figures(facts: &Facts, planned: &Planned, allowance: &Allowance) -> Markup {
    let (looked, rungs) = looked(facts, planned, allowance);
    if rungs.is_empty() {
        return html! {};
    }
    let by = facts.files.run.configuration.settings.ranks_by();
    let title = format!("What {} looked at", planned.name);
    let begun = looked.iter().filter(|l| l.is_begun).count();
    let last = rungs.len();
    let figure = |record: &TrialRecord| {
        let score = record.ranking.or(record.validation)?;
        Some(by.of(&score)).filter(|value| value.is_finite())
    };
    let row = |looked: &Looked<'_>| Row {
        label: looked.candidate.label.clone(),
        detail: blocks_by_rank(facts, looked.candidate).unwrap_or_default(),
        slot: slot(planned.name),
        dots: looked
            .rungs
            .iter()
            .enumerate()
            .filter_map(|(place, (record, _))| {
                let value = figure(record)?;
                let at = rung_of(record) - 1;
                Some(Dot {
                    kind: match place + 1 == looked.rungs.len() {
                        true if at + 1 == last => DotKind::Filled,
                        true => DotKind::Hollow,
                        false => DotKind::Small,
                    },
                    value,
                    note: format!(
                        "{} after {}: {}",
                        looked.candidate.label,
                        count(rungs[at].epochs, "epoch"),
                        shown(by, value)
                    ),
                })
            })
            .collect(),
        interval: None,
        value: ended(looked, &rungs),
    };
    let chart = Rows {
        rows: looked.iter().map(row).collect(),
        axis: Axis {
            title: &format!("{} on the samples that rank", by.label_for(facts.task())),
            ..axis(by)
        },
        legend: legend(&rungs),
    };
    let names: Vec<String> = rungs
        .iter()
        .map(|rung| format!("#After {}", count(rung.epochs, "epoch")))
        .collect();
    let mut columns = vec!["Candidate", "Trains", "Its blocks by gradients"];
    columns.extend(names.iter().map(String::as_str));
    columns.push("Came to");
    let mut table = Table::new("", &columns);
    table.best = Some(0);
    for one in &looked {
        let mut cells = vec![
            one.candidate.label.clone(),
            one.candidate.layers.join(", "),
            blocks_by_rank(facts, one.candidate).unwrap_or_else(none),
        ];
        for rung in 1..=last {
            let on = one.rungs.iter().find(|(record, _)| rung_of(record) == rung);
            let value = on.and_then(|(record, _)| figure(record));
            cells.push(value.map_or_else(none, |v| shown(by, v)));
        }
        cells.push(ended(one, &rungs));
        let cells = cells.into_iter().map(|cell| html! { (cell) });
        table.rows.push(cells.collect());
    }
    let result = facts.result(planned.name);
    let cost = result.and_then(|r| cost(r.search_cost.as_ref()?));
    let drawn = Figure {
        id: &format!("search-{}", planned.name),
        title: &title,
        description: &format!(
            "Rows: {begun} candidates that were begun, the best first. Dots: their {} on each rung of the search.",
            by.label_for(facts.task())
        ),
        caption: html! {
            @if let SearchMethod::Halving { rate, .. } = facts.files.run.configuration.settings.method() {
                "One in " (rate) " of those on a rung goes on to the next, the others end there. "
            } @else if last == 1 {
                "Each was trained as a winner is. The winner is the best, or the average of the best with those that make it better. "
            }
            @if let Some(told) = result.and_then(|r| sentence(r.certainty.as_ref()?, facts.task())) { (told) ". " }
            @if let Some(told) = cost { "The search took " (told) ". " }
            @if begun < looked.len() {
                (count(looked.len() - begun, "candidate")) " of those that it would have tried "
                @if looked.len() - begun == 1 { "was" } @else { "were" } " not begun, as the budget was spent. "
            }
        },
        table: Some(table),
    }
    .draw(&chart.draw());
    html! {
        (drawn)
        @if let Some(scores) = &facts.files.scores {
            (relative_gradients(&scores.blocks))
            p class="note" {
                "The gradients of " (thousands(scores.samples)) " " (facts.samples()) ", at the head with which the \
                 search begins, say which blocks are tried alone and together: those of the largest norm, relative \
                 to that of their weights."
            }
        }
    }
}

fn legend(rungs: &[Rung]) -> Vec<(Option<DotKind>, String)> {
    let epochs = rungs.last().map_or(0, |last| last.epochs);
    let after = format!("after {}", count(epochs, "epoch"));
    if rungs.len() == 1 {
        return vec![(Some(DotKind::Filled), after)];
    }
    vec![
        (Some(DotKind::Filled), format!("{after}, the last rung")),
        (Some(DotKind::Hollow), "where it was dropped".to_owned()),
        (Some(DotKind::Small), "on an earlier rung".to_owned()),
    ]
}

/// How each candidate fared, the best first, and the rungs that were reached.
fn looked<'a>(
    facts: &'a Facts,
    planned: &'a Planned,
    allowance: &Allowance,
) -> (Vec<Looked<'a>>, Vec<Rung>) {
    let by = facts.files.run.configuration.settings.ranks_by();
    let candidates = facts.files.candidates(planned);
    let is_begun = |place: usize| place < allowance.begun || place >= planned.candidates.len();
    let records = |candidate: &Candidate, rung: usize| {
        let phase = facts.files.run.configuration.settings.method().phase();
        let id = format!("{}-{}", candidate.id, phase.name());
        let mut ended = facts.files.ended.iter().rev();
        ended.find(|record| record.id == id && rung_of(record) == rung)
    };
    let mut looked: Vec<Looked<'a>> = candidates
        .iter()
        .enumerate()
        .map(|(place, &candidate)| Looked {
            candidate,
            rungs: Vec::new(),
            is_begun: is_begun(place),
        })
        .collect();
    let mut rungs = Vec::new();
    for (rung, &epochs) in (1..).zip(&allowance.rungs) {
        let on: Vec<(usize, &TrialRecord)> = candidates
            .iter()
            .enumerate()
            .filter_map(|(place, candidate)| Some((place, records(candidate, rung)?)))
            .collect();
        if on.is_empty() {
            break;
        }
        let all: Vec<TrialRecord> = on.iter().map(|(_, record)| (*record).clone()).collect();
        let ranking = ranked(&all, by);
        for (at, (place, record)) in on.iter().enumerate() {
            let rank = ranking.iter().position(|&r| r == at);
            // What was joined begins on a later rung.
            looked[*place].rungs.push((record, rank.map(|r| r + 1)));
        }
        rungs.push(Rung {
            epochs,
            ranked: ranking.len(),
        });
    }
    let last = |l: &Looked<'_>| {
        let (record, rank) = l.rungs.last()?;
        Some((
            rung_of(record),
            std::cmp::Reverse(rank.unwrap_or(usize::MAX)),
        ))
    };
    looked.sort_by_key(|l| std::cmp::Reverse(last(l)));
    (looked, rungs)
}

/// The rung that a record is of, from 1: without halving there is one.
fn rung_of(record: &TrialRecord) -> usize {
    record.rung.max(1)
}

/// What a candidate came to: `best of 4`, `7th of 9 after 1 epoch`, `not begun: budget`.
fn ended(looked: &Looked<'_>, rungs: &[Rung]) -> String {
    let Some((record, rank)) = looked.rungs.last() else {
        return match looked.is_begun {
            true => none(),
            false => "not begun: budget".to_owned(),
        };
    };
    let rung = &rungs[rung_of(record) - 1];
    let of = match rank {
        None => return "failed".to_owned(),
        Some(1) => format!("best of {}", rung.ranked),
        Some(rank) => format!("{} of {}", nth(*rank), rung.ranked),
    };
    match rung_of(record) == rungs.len() {
        true => of,
        false => format!("{of} after {}", count(rung.epochs, "epoch")),
    }
}

fn nth(n: usize) -> String {
    let ending = match (n % 10, n % 100) {
        (1, h) if h != 11 => "st",
        (2, h) if h != 12 => "nd",
        (3, h) if h != 13 => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

/// The ranks of a candidate's blocks by the relative gradient norm: `blocks 1, 4`; `None` where nothing was scored,
/// or they are too many to tell anything.
fn blocks_by_rank(facts: &Facts, candidate: &Candidate) -> Option<String> {
    let scores = facts.files.scores.as_ref()?;
    let blocks: BTreeSet<&str> = candidate
        .layers
        .iter()
        .filter_map(|layer| Some(facts.files.run.layers[facts.place(layer)?].block.as_str()))
        .collect();
    let norm = |name: &str| {
        let block = scores.blocks.iter().find(|b| b.name == name);
        block.map(|b| b.relative_gradient)
    };
    let mut ranks: Vec<usize> = blocks
        .iter()
        .filter_map(|name| {
            let own = norm(name)?;
            let better = scores.blocks.iter().filter(|b| b.relative_gradient > own);
            Some(better.count() + 1)
        })
        .collect();
    ranks.sort_unstable();
    let all = scores.blocks.len();
    match ranks.len() {
        0 => None,
        n if n > LISTED => Some(format!("{n} of {all} blocks")),
        _ => {
            let ranks: Vec<String> = ranks.iter().map(usize::to_string).collect();
            Some(format!("rank {} of {all}", ranks.join(", ")))
        }
    }
}

fn shown(by: Monitor, value: f64) -> String {
    match by.is_loss() {
        true => format!("{value:.4}"),
        false => percent(value),
    }
}

/// The axis of a figure, without its title.
fn axis(by: Monitor) -> Axis<'static> {
    if by.is_loss() {
        return Axis {
            title: "",
            format: |value, step| match step >= 0.1 {
                true => format!("{value:.1}"),
                false => format!("{value:.3}"),
            },
            bounds: (0.0, f64::MAX),
        };
    }
    Axis {
        title: "",
        format: share,
        bounds: (0.0, 1.0),
    }
}
