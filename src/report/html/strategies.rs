//! Strategies side by side: figures 7 to 10 of the block-wise paper.

use maud::html;

use crate::report::Proportion;
use crate::report::charts::{Axis, Dot, DotKind, Row, Rows};
use crate::report::tables::winner;
use crate::report::text::{none, percent, thousands};
use crate::run::{SearchMethod, Spread};

use super::facts::{Facts, fraction, interval, share, slot};
use super::page::{Figure, Section, Table};

pub const ACCURACY: Axis<'static> = Axis {
    title: "accuracy",
    format: share,
    bounds: (0.0, 1.0),
};

pub fn section(facts: &Facts) -> Option<Section> {
    let search = search(facts);
    let training = training(facts);
    (search.is_some() || training.is_some()).then(|| Section {
        id: "strategies",
        title: "Strategies side by side".to_owned(),
        body: html! {
            @if let Some(figure) = search { (figure) }
            @if let Some(figure) = training { (figure) }
        },
    })
}

/// The best of each strategy at the search's share of the data.
fn search(facts: &Facts) -> Option<maud::Markup> {
    let run = &facts.files.run;
    if run.configuration.settings.method() == SearchMethod::Whole {
        // What candidates come to is what winners do.
        return None;
    }
    let mut rows = Vec::new();
    let mut table = Table::new(
        "",
        &["Strategy", "Candidate", "#Validation", "#95 % interval"],
    );
    let mut absent = Vec::new();
    for planned in &run.strategies {
        let trial = facts.best_searched(planned);
        let Some((trial, score)) = trial.and_then(|t| Some((t, t.validation?))) else {
            absent.push(planned.name.to_string());
            continue;
        };
        let range = Proportion::of(score.accuracy, score.count).map(Proportion::interval);
        rows.push(Row {
            label: planned.name.to_string(),
            detail: trial.candidate.clone(),
            slot: slot(planned.name),
            dots: vec![Dot {
                kind: DotKind::Filled,
                value: score.accuracy,
                note: format!(
                    "{}, {}: {}",
                    planned.name,
                    trial.candidate,
                    percent(score.accuracy)
                ),
            }],
            interval: range,
            value: percent(score.accuracy),
        });
        table.row([
            planned.name.to_string(),
            trial.candidate.clone(),
            percent(score.accuracy),
            range.map_or_else(none, interval),
        ]);
    }
    if rows.is_empty() {
        return None;
    }
    let title = format!(
        "Best of each strategy at the search share ({})",
        fraction(run.configuration.settings.split.search_fraction.or(0.0))
    );
    let axis = format!("validation {}", facts.accuracy());
    let chart = Rows {
        rows,
        axis: Axis {
            title: &axis,
            ..ACCURACY
        },
        legend: vec![
            (Some(DotKind::Filled), "validation".to_owned()),
            (None, "95 % interval".to_owned()),
        ],
    };
    Some(
        Figure {
            id: "best-search",
            title: &title,
            description: &format!(
                "Dots: validation {} of each strategy's best candidate in the search, with 95 % intervals.",
                facts.accuracy()
            ),
            caption: html! {
                "Trained on " (thousands(run.data.parts.search)) ", measured on "
                (thousands(run.data.parts.validation)) " " (facts.samples())
                ". The best of many candidates is flattered by chance, the more so the more there are."
                @if !absent.is_empty() {
                    " Without a trial at this share: " (absent.join(", ")) "."
                }
            },
            table: Some(table),
        }
        .draw(&chart.draw()),
    )
}

/// Each strategy's winner at the training share.
fn training(facts: &Facts) -> Option<maud::Markup> {
    let run = &facts.files.run;
    let mut rows = Vec::new();
    let found_rates = facts.winners().any(|r| r.rate.is_some());
    let mut columns = vec!["Strategy", "Winner"];
    columns.extend(found_rates.then_some("#Learning rate"));
    columns.extend(["#Validation", "#Held out", "#95 % interval"]);
    let mut table = Table::new("", &columns);
    for result in facts.winners() {
        let held_out = facts.held_out(result);
        let name = result.name.to_string();
        let candidate = winner(result).unwrap_or_default();
        let dot = |kind, value: f64, what: &str| Dot {
            kind,
            value,
            note: format!("{name}, {what}: {}", percent(value)),
        };
        let validation = result.validation_accuracy;
        let held = result.held_out_accuracy;
        let mut dots = Vec::new();
        dots.extend(validation.map(|v| dot(DotKind::Hollow, v, "validation")));
        dots.extend(held.map(|v| dot(DotKind::Filled, v, "held out")));
        let Some(figure) = held.or(validation) else {
            continue;
        };
        let range = held_out
            .or_else(|| facts.validation(result))
            .map(Proportion::interval);
        rows.push(Row {
            label: name.clone(),
            detail: if candidate == name {
                String::new()
            } else {
                candidate.clone()
            },
            slot: slot(result.name),
            dots,
            interval: range,
            value: percent(figure),
        });
        let mut cells = vec![name, candidate];
        if found_rates {
            cells.push(result.rate.map_or_else(none, |rate| format!("{rate:e}")));
        }
        cells.extend([
            validation.map_or_else(none, percent),
            held.map_or_else(none, percent),
            range.map_or_else(none, interval),
        ]);
        table.row(cells);
    }
    if rows.is_empty() {
        return None;
    }
    let any_held_out = facts.winners().any(|r| r.held_out_accuracy.is_some());
    let of = if any_held_out {
        "held-out"
    } else {
        "validation"
    };
    let title = format!(
        "Each strategy's winner at the training share ({})",
        fraction(run.configuration.settings.split.train_fraction)
    );
    let mut legend = Vec::new();
    if any_held_out {
        legend.push((Some(DotKind::Filled), "held out".to_owned()));
    }
    legend.push((Some(DotKind::Hollow), "validation".to_owned()));
    legend.push((
        None,
        format!("95 % interval of the {of} {}", facts.accuracy()),
    ));
    let chart = Rows {
        rows,
        axis: Axis {
            title: facts.accuracy(),
            ..ACCURACY
        },
        legend,
    };
    Some(
        Figure {
            id: "best-training",
            title: &title,
            description: &format!(
                "Dots: {accuracy} of each strategy's winner on validation and held-out data, with 95 % \
                 intervals of the {of} {accuracy}.",
                accuracy = facts.accuracy()
            ),
            caption: html! {
                "Trained on " (thousands(run.retraining_samples())) " " (facts.samples()) ". The figures at \
                 the right are of the " (of) " " (facts.accuracy())
                @if any_held_out { " (" (thousands(run.data.parts.held_out)) " " (facts.samples()) ")" }
                "."
            },
            table: Some(table),
        }
        .draw(&chart.draw()),
    )
}

/// A row with a small dot for each accuracy, named by what it is of, and a large one for their mean.
pub fn spread_row(spread: &Spread, accuracies: impl Iterator<Item = (String, f64)>) -> Row {
    let name = spread.name;
    let small = accuracies.map(|(of, value)| Dot {
        kind: DotKind::Small,
        value,
        note: format!("{name}, {of}: {}", percent(value)),
    });
    let mean = Dot {
        kind: DotKind::Filled,
        value: spread.mean,
        note: format!("{name}, mean: {}", percent(spread.mean)),
    };
    let deviation = spread.standard_deviation;
    Row {
        label: name.to_string(),
        detail: String::new(),
        slot: slot(name),
        dots: small.chain(std::iter::once(mean)).collect(),
        interval: Some((spread.mean - deviation, spread.mean + deviation)),
        value: format!("{} ± {:.2}", percent(spread.mean), 100.0 * deviation),
    }
}

/// Repetitions with other seeds.
pub fn repeats(facts: &Facts) -> Option<Section> {
    let results = facts.files.results.as_ref()?;
    if results.repeats.is_empty() || results.spread.is_empty() {
        return None;
    }
    let mut rows = Vec::new();
    let mut columns = vec!["Strategy".to_owned()];
    let heading = |label: String| format!("#{}{}", label[..1].to_uppercase(), &label[1..]);
    columns.extend(results.repeats.iter().map(|r| heading(r.label())));
    columns.extend(["#Mean", "#Standard deviation", "#Variance"].map(str::to_owned));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("", &columns);
    for spread in &results.spread {
        let accuracy = |repeat: &crate::run::Repeat| {
            let result = repeat.strategies.iter().find(|s| s.name == spread.name)?;
            result.held_out_accuracy.or(result.validation_accuracy)
        };
        let figures = results.repeats.iter().map(|r| (r.label(), accuracy(r)));
        let accuracies = figures
            .clone()
            .filter_map(|(label, value)| Some((label, value?)));
        rows.push(spread_row(spread, accuracies));
        let mut cells = vec![html! { (spread.name) }];
        cells.extend(figures.map(|(_, v)| html! { (v.map_or_else(none, percent)) }));
        cells.push(html! { (percent(spread.mean)) });
        cells.push(html! { (format!("{:.2} points", 100.0 * spread.standard_deviation)) });
        cells.push(html! { (format!("{:.6}", spread.variance)) });
        table.rows.push(cells);
    }
    let held_out = facts.files.run.data.parts.held_out > 0;
    let over = results.repeated_over();
    let differ = match over {
        "folds" => " runs, each with another fold held out.",
        _ => " runs, each with its own split, head and batch order.",
    };
    let axis = match held_out {
        true => format!("held-out {}", facts.accuracy()),
        false => format!("validation {}", facts.accuracy()),
    };
    let chart = Rows {
        rows,
        axis: Axis {
            title: &axis,
            ..ACCURACY
        },
        legend: vec![
            (Some(DotKind::Filled), "mean".to_owned()),
            (Some(DotKind::Small), format!("one of the {over}")),
            (None, "mean ± standard deviation".to_owned()),
        ],
    };
    let accuracy = facts.accuracy();
    let title = match facts.task().is_multi_label() {
        true => format!("Exact match over {over}"),
        false => format!("Accuracy over {over}"),
    };
    let description = format!(
        "Small dots: {accuracy} of each strategy with each of the {over}. Large dots: their means, with one standard \
         deviation to both sides."
    );
    let body = Figure {
        id: "repeats-figure",
        title: &title,
        description: &description,
        caption: html! {
            (results.repeats.len()) (differ)
        },
        table: None,
    };
    Some(Section {
        id: "repeats",
        title: "Repetitions".to_owned(),
        body: html! { (body.draw(&chart.draw())) (table.draw()) },
    })
}
