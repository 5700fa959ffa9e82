//! What the winners made of the held-out samples.

use std::collections::HashMap;

use maud::{Markup, html};

use crate::report::charts::Matrix;
use crate::report::confusions::{commonest, right, rows};
use crate::report::text::{none, percent, thousands};
use crate::run::{HeldOut, Mistake, StrategyResult};

use super::facts::Facts;
use super::page::{Figure, Section, Table};
use super::thumbnail::thumbnail;

/// Up to so many classes, a matrix leaves room for the mistakes beside it, and its counts stand in a
/// table as well.
const FEW: usize = 12;
/// Of more classes, a matrix is too large to be looked at.
const DRAWN: usize = 200;
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
    let several = facts.task().is_multi_label();
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
        title: match several {
            true => "What the winners find of each class".to_owned(),
            false => "What the winners take for what".to_owned(),
        },
        body: html! {
            @if several {
                p {
                    "On the held-out " (facts.samples()) ", each class by the threshold that has the highest F1 on the \
                     validation " (facts.samples()) ". What each winner made of each " (facts.sample()) " stands in "
                    code { "winners/STRATEGY.predictions.csv" } "."
                }
            } @else { p {
                "On the held-out " (facts.samples()) ". The stronger a cell's colour, the larger its \
                 share of its row: blue is right, orange is wrong. Below or beside each matrix are the \
                 mistakes that the model was most sure of. What each winner made of each "
                (facts.sample()) " stands in " code { "winners/STRATEGY.predictions.csv" } "."
                @if facts.files.run.data.images && !facts.files.run.data.is_there() {
                    " Their pictures are not here: the data were not at "
                    code { (facts.files.run.data.path.display()) } " any more when this page was made."
                }
            } }
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
    if facts.task().is_multi_label() {
        return several(result, held_out, classes);
    }
    let counts = &held_out.confusion;
    // Of a kept head, the model may have classes that the data have not.
    let name_of = |i: usize| classes.get(i).cloned().unwrap_or_else(|| i.to_string());
    let shown = held_out.classes.min(DRAWN);
    let names: Vec<String> = (0..shown).map(name_of).collect();
    let few = held_out.classes <= FEW;
    let name = result.name.to_string();
    let title = match &result.candidate {
        Some(candidate) if *candidate != name => format!("{name} ({candidate})"),
        _ => name.clone(),
    };
    let mistakes: Vec<Markup> = held_out
        .mistakes
        .iter()
        .map(|m| pictures.mistake(m, &name_of))
        .collect();
    let caption = html! {
        (percent(held_out.score.accuracy)) " of " (thousands(held_out.score.count)) " "
        (facts.samples()) " are right; mean loss " (format!("{:.4}", held_out.score.loss))
        "; balanced accuracy " (percent(held_out.score.balanced_accuracy))
        ", macro F1 " (format!("{:.4}", held_out.score.macro_f1)) "."
    };
    let table = match few {
        true => all_counts(&names, counts),
        false => confusions(&name_of, counts),
    };
    html! {
        div class=(if few { "winner" } else { "winner large" }) {
            @if held_out.classes <= DRAWN {
                (Figure {
                    id: &format!("confusion-{name}"),
                    title: &title,
                    description: &format!(
                        "Confusion matrix of {} classes: {} of {} held-out {} are right.",
                        names.len(), right(counts), held_out.score.count, facts.samples()
                    ),
                    caption,
                    table: Some(table),
                }.draw(&Matrix { classes: &names, counts }.draw()))
            } @else {
                div id={ "confusion-" (name) } { h3 { (title) } p { (caption) } (table.draw()) }
            }
            @if !mistakes.is_empty() {
                div {
                    h3 { "Surest mistakes" }
                    ul class="mistakes" { @for mistake in mistakes { (mistake) } }
                }
            }
        }
    }
}

/// What each class came to, where samples may have several labels.
fn several(result: &StrategyResult, held_out: &HeldOut, classes: &[String]) -> Markup {
    let figure = |figure: Option<f64>| figure.map_or_else(none, |f| format!("{f:.4}"));
    let columns = [
        "Class",
        "#Precision",
        "#Recall",
        "#F1",
        "#Average precision",
        "#Threshold",
        "#Count",
    ];
    let mut table = Table::new("", &columns);
    for (place, s) in held_out.class_scores.iter().enumerate() {
        let name = classes.get(place).cloned();
        table.row([
            name.unwrap_or_else(|| place.to_string()),
            format!("{:.4}", s.precision),
            format!("{:.4}", s.recall),
            format!("{:.4}", s.f1),
            figure(s.average_precision),
            figure(s.threshold),
            thousands(s.support),
        ]);
    }
    let score = &held_out.score;
    html! {
        div id={ "confusion-" (result.name) } {
            h3 { (result.name) }
            p {
                "Mean average precision " (figure(score.average_precision)) ", macro F1 "
                (format!("{:.4}", score.macro_f1)) ", micro F1 " (figure(score.micro_f1)) "; exact match of all labels "
                (percent(score.accuracy)) " of " (thousands(score.count)) "; mean loss "
                (format!("{:.4}", score.loss)) "."
            }
            (table.draw())
        }
    }
}

/// The counts of few classes, row by row.
fn all_counts(names: &[String], counts: &[[usize; 3]]) -> Table {
    let mut columns = vec!["true \\ predicted".to_owned()];
    columns.extend(names.iter().map(|n| format!("#{n}")));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("", &columns);
    for (name, row) in names.iter().zip(rows(counts, names.len())) {
        let mut cells = vec![html! { (name) }];
        cells.extend(row.iter().map(|&count| html! { (thousands(count)) }));
        table.rows.push(cells);
    }
    table
}

fn confusions(name: &dyn Fn(usize) -> String, counts: &[[usize; 3]]) -> Table {
    let mut table = Table::new(
        "The commonest confusions",
        &["True", "Taken for", "#Count", "#Of"],
    );
    for c in commonest(counts, LISTED) {
        let (samples, of) = (thousands(c.samples), thousands(c.of));
        table.row([name(c.label), name(c.predicted), samples, of]);
    }
    table
}

/// Thumbnails, each made once.
struct Pictures<'a> {
    facts: &'a Facts<'a>,
    known: HashMap<String, Option<String>>,
}

impl Pictures<'_> {
    fn mistake(&mut self, mistake: &Mistake, name: &dyn Fn(usize) -> String) -> Markup {
        let data = &self.facts.files.run.data;
        let picture = match data.images {
            true => self
                .known
                .entry(mistake.sample.clone())
                .or_insert_with(|| {
                    let (folder, name) = data.place(&mistake.sample);
                    thumbnail(folder, name)
                })
                .as_deref(),
            false => None,
        };
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
