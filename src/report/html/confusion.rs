//! What the winners made of the held-out samples.

use std::collections::HashMap;

use maud::{Markup, html};

use crate::report::charts::Matrix;
use crate::report::text::{percent, thousands};
use crate::search::{HeldOut, Mistake, StrategyResult};

use super::facts::Facts;
use super::page::{Figure, Section, Table};
use super::thumbnail::thumbnail;

/// Up to so many classes, a matrix leaves room for the mistakes beside it, and its counts stand in a
/// table as well.
const FEW: usize = 12;
/// Confusions that are listed of a larger matrix.
const LISTED: usize = 15;

pub fn section(facts: &Facts) -> Option<Section> {
    let shown: Vec<(&StrategyResult, &HeldOut)> = facts
        .winners()
        .filter_map(|r| Some((r, r.held_out.as_ref()?)))
        .collect();
    if shown.is_empty() {
        return None;
    }
    let mut pictures = Pictures {
        facts,
        known: HashMap::new(),
    };
    let winners: Vec<Markup> = shown
        .iter()
        .map(|(result, held_out)| winner(facts, result, held_out, &mut pictures))
        .collect();
    Some(Section {
        id: "confusion",
        title: "What the winners take for what".to_owned(),
        body: html! {
            p {
                "On the held-out " (facts.samples()) ". The stronger a cell's colour, the larger its \
                 share of its row: blue is right, orange is wrong. Below or beside each matrix are the \
                 mistakes that the model was most sure of."
            }
            @for winner in winners { (winner) }
        },
    })
}

fn winner(
    facts: &Facts,
    result: &StrategyResult,
    held_out: &HeldOut,
    pictures: &mut Pictures,
) -> Markup {
    let classes = &facts.files.run.data.classes;
    let counts = &held_out.confusion;
    // Of a kept head, the model may have classes that the data have not.
    let names: Vec<String> = (0..counts.len())
        .map(|i| classes.get(i).cloned().unwrap_or_else(|| i.to_string()))
        .collect();
    let few = names.len() <= FEW;
    let name = result.name.to_string();
    let title = match &result.candidate {
        Some(candidate) if *candidate != name => format!("{name} ({candidate})"),
        _ => name.clone(),
    };
    let mistakes: Vec<Markup> = held_out
        .mistakes
        .iter()
        .map(|m| pictures.mistake(m, &names))
        .collect();
    let matrix = Matrix {
        classes: &names,
        counts,
    };
    html! {
        div class=(if few { "winner" } else { "winner large" }) {
            (Figure {
                id: &format!("confusion-{name}"),
                title: &title,
                description: &format!(
                    "Confusion matrix of {} classes: {} of {} held-out {} are right.",
                    names.len(), right(counts), held_out.score.count, facts.samples()
                ),
                caption: html! {
                    (percent(held_out.score.accuracy)) " of " (thousands(held_out.score.count)) " "
                    (facts.samples()) " are right; mean loss " (format!("{:.4}", held_out.score.loss)) "."
                },
                table: Some(if few { all_counts(&names, counts) } else { confusions(&names, counts) }),
            }.draw(&matrix.draw()))
            @if !mistakes.is_empty() {
                div {
                    h3 { "Surest mistakes" }
                    ul class="mistakes" { @for mistake in mistakes { (mistake) } }
                }
            }
        }
    }
}

fn right(counts: &[Vec<usize>]) -> usize {
    counts
        .iter()
        .enumerate()
        .filter_map(|(i, row)| row.get(i))
        .sum()
}

fn all_counts(names: &[String], counts: &[Vec<usize>]) -> Table {
    let mut columns = vec!["true \\ predicted".to_owned()];
    columns.extend(names.iter().map(|n| format!("#{n}")));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("", &columns);
    for (name, row) in names.iter().zip(counts) {
        let mut cells = vec![html! { (name) }];
        cells.extend(row.iter().map(|&count| html! { (thousands(count)) }));
        table.rows.push(cells);
    }
    table
}

/// The commonest confusions.
fn confusions(names: &[String], counts: &[Vec<usize>]) -> Table {
    let mut pairs: Vec<(usize, usize, usize, usize)> = Vec::new();
    for (i, row) in counts.iter().enumerate() {
        let total = row.iter().sum();
        let wrong = row.iter().enumerate().filter(|&(j, &n)| j != i && n > 0);
        pairs.extend(wrong.map(|(j, &n)| (n, i, j, total)));
    }
    pairs.sort_by_key(|&(n, i, j, _)| (std::cmp::Reverse(n), i, j));
    let mut table = Table::new(
        "The commonest confusions",
        &["True", "Taken for", "#Count", "#Of"],
    );
    for (n, i, j, total) in pairs.into_iter().take(LISTED) {
        let name = |k: usize| names.get(k).cloned().unwrap_or_default();
        table.row([name(i), name(j), thousands(n), thousands(total)]);
    }
    table
}

/// Thumbnails, each made once.
struct Pictures<'a> {
    facts: &'a Facts<'a>,
    known: HashMap<String, Option<String>>,
}

impl Pictures<'_> {
    fn mistake(&mut self, mistake: &Mistake, names: &[String]) -> Markup {
        let data = &self.facts.files.run.data;
        let picture = match data.images {
            true => self
                .known
                .entry(mistake.sample.clone())
                .or_insert_with(|| thumbnail(&data.path, &mistake.sample))
                .as_deref(),
            false => None,
        };
        let name = |class: usize| names.get(class).map_or("?", String::as_str);
        html! {
            li title=(mistake.sample) {
                @match picture {
                    Some(address) => img src=(address) alt=(mistake.sample);,
                    None if data.images => span class="none" { "no file" },
                    None => {},
                }
                b { (name(mistake.label)) } br;
                "taken for " b { (name(mistake.predicted)) } br;
                (format!("{:.1}", 100.0 * mistake.probability)) " % sure"
                span class="name" { (mistake.sample) }
            }
        }
    }
}
