//! The network, and what the search found in it: figures 2, 4, 5 and 6 of the block-wise paper.

use maud::{Markup, html};

use crate::report::certainty::sentence;
use crate::report::charts::{Axis, Band, Kind, Place, Places, Reference};
use crate::report::comparison::BASELINES;
use crate::report::text::{none, percent, thousands};
use crate::run::{LayerRecord, Planned, SearchMethod, TrialRecord};
use crate::strategy::{Candidate, StrategyName, Unit};

use super::facts::{Facts, count, share, slot};
use super::looked;
use super::page::{Figure, Section, Table};

const ACCURACY: Axis<'static> = Axis {
    title: "validation accuracy",
    format: share,
    bounds: (0.0, 1.0),
};

pub fn section(facts: &Facts) -> Option<Section> {
    let run = &facts.files.run;
    if run.layers.is_empty() {
        return None;
    }
    let of = |unit| {
        let searches = move |p: &&Planned| p.name.rule().searches() == Some(unit);
        run.strategies.iter().filter(searches)
    };
    let layers = of(Unit::Layer).next();
    let windows = of(Unit::Window);
    let settings = &run.configuration.settings;
    let parts = &run.data.parts;
    let (trained, epochs) = match settings.method() {
        SearchMethod::Whole => (run.retraining_samples(), settings.most_epochs()),
        _ => (parts.search, settings.most_search_epochs()),
    };
    Some(Section {
        id: "search",
        title: "Where to train".to_owned(),
        body: html! {
            p {
                "Each candidate trains one part of the backbone, together with the head, while the \
                 rest stays as it is. It was trained on " (thousands(trained)) " "
                (facts.samples()) " for " (count(epochs, "epoch"))
                " and measured on " (thousands(parts.validation)) " others. Candidates are ranked \
                 by their " (run.configuration.settings.ranks_by().label())
                @match ranked_on(facts) {
                    Some(count) => { " on " (thousands(count)) " " (facts.samples()) ", which hold those others." },
                    None => { " on those." },
                }
            }
            (parameters(facts))
            @if let Some(planned) = layers { (accuracies(facts, planned, &Shown::layers())) }
            @for planned in of(Unit::Block) { (accuracies(facts, planned, &Shown::blocks(planned.name))) }
            @for planned in of(Unit::Group) {
                @match &planned.allowance {
                    Some(allowance) => (looked::figures(facts, planned, allowance)),
                    None => (accuracies(facts, planned, &Shown::groups(planned.name))),
                }
            }
            @for planned in windows { (accuracies(facts, planned, &Shown::windows(planned.name))) }
        },
    })
}

/// The number of samples that candidates were ranked on, where it is not that of the validation part.
fn ranked_on(facts: &Facts) -> Option<usize> {
    let run = &facts.files.run;
    let candidates = run.strategies.iter().flat_map(|p| &p.candidates);
    let mut trials = candidates.filter_map(|c| facts.searched(&c.id)?.ranking);
    let count = trials.next()?.count;
    (count != run.data.parts.validation).then_some(count)
}

/// Blocks with the places of their layers.
fn bands(facts: &Facts) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for (i, layer) in facts.files.run.layers.iter().enumerate() {
        match bands.last_mut() {
            Some(band) if band.name == layer.block => band.places.end = i + 1,
            _ => bands.push(Band {
                name: layer.block.clone(),
                places: i..i + 1,
            }),
        }
    }
    bands
}

fn parameters(facts: &Facts) -> Markup {
    /// Where the largest layer has more than so many times the parameters of the smallest, a linear
    /// scale hides the small ones.
    const WIDE: usize = 60;
    let layers = &facts.files.run.layers;
    let sizes = || layers.iter().map(|l| l.parameters);
    let smallest = sizes().filter(|&n| n > 0).min().unwrap_or(1);
    let logarithmic = sizes().max().unwrap_or(1) / smallest > WIDE;
    let place = |(i, layer): (usize, &LayerRecord)| Place {
        label: (i + 1).to_string(),
        value: Some(layer.parameters as f64),
        note: format!(
            "{}, {} ({}): {} parameters",
            i + 1,
            layer.name,
            layer.block,
            thousands(layer.parameters)
        ),
        best: false,
    };
    let chart = Places {
        places: layers.iter().enumerate().map(place).collect(),
        bands: bands(facts),
        kind: if logarithmic {
            Kind::LogarithmicBars
        } else {
            Kind::Bars
        },
        axis: Axis {
            title: "parameters",
            format: |value, _| short(value),
            bounds: (0.0, f64::MAX),
        },
        title: "weighted layer, from input to output",
        references: Vec::new(),
        slot: 5,
    };
    let mut table = Table::new("", &["#Layer", "Name", "Block", "#Parameters"]);
    for (i, layer) in layers.iter().enumerate() {
        table.row([
            (i + 1).to_string(),
            layer.name.clone(),
            layer.block.clone(),
            thousands(layer.parameters),
        ]);
    }
    let total: usize = sizes().sum();
    Figure {
        id: "parameters",
        title: "Parameters per layer",
        description: &format!(
            "Bars: the number of parameters of each of {} weighted layers, in {} blocks.",
            layers.len(),
            chart.bands.len()
        ),
        caption: html! {
            (thousands(total)) " parameters in " (layers.len()) " weighted layers. Shading marks the "
            (chart.bands.len()) " blocks."
            @if logarithmic { " The scale is logarithmic." }
        },
        table: Some(table),
    }
    .draw(&chart.draw())
}

/// How the candidates of a strategy are shown.
struct Shown {
    id: String,
    title: String,
    axis: &'static str,
    table: &'static str,
    slot: usize,
    /// Whether each place is one layer of the network.
    layers: bool,
}

impl Shown {
    fn layers() -> Self {
        Shown {
            id: "search-layers".to_owned(),
            title: "Search accuracy per layer".to_owned(),
            axis: "trained layer, from input to output",
            table: "Layer",
            slot: slot(StrategyName::LAYERS),
            layers: true,
        }
    }

    fn blocks(strategy: StrategyName) -> Self {
        let of = match strategy.number() {
            Some(rank) => format!(", updates of rank {rank}"),
            None => String::new(),
        };
        Shown {
            id: format!("search-{strategy}"),
            title: format!("Search accuracy per block{of}"),
            axis: "trained block, from input to output",
            table: "Block",
            slot: slot(strategy),
            layers: false,
        }
    }

    fn groups(strategy: StrategyName) -> Self {
        Shown {
            id: format!("search-{strategy}"),
            title: format!("What {strategy} looked at"),
            axis: "trained blocks, by the first of them",
            table: "Blocks",
            slot: slot(strategy),
            layers: false,
        }
    }

    fn windows(strategy: StrategyName) -> Self {
        let length = strategy.number().unwrap_or(0);
        Shown {
            id: format!("search-{strategy}"),
            title: format!("Search accuracy per window of {length} layers"),
            axis: "trained layers, from input to output",
            table: "Layers",
            slot: slot(strategy),
            layers: false,
        }
    }
}

fn accuracies(facts: &Facts, planned: &Planned, shown: &Shown) -> Markup {
    let mut candidates: Vec<(usize, usize, &Candidate)> = planned
        .candidates
        .iter()
        .filter_map(|c| {
            let places = c.layers.iter().filter_map(|l| facts.place(l));
            let (first, last) = places.fold((usize::MAX, 0), |(a, b), p| (a.min(p), b.max(p)));
            (first <= last).then_some((first, last, c))
        })
        .collect();
    candidates.sort_by_key(|(first, last, _)| (*first, *last));
    let measured = |c: &Candidate| facts.search_accuracy(&c.id);
    let tried = candidates
        .iter()
        .filter(|c| measured(c.2).is_some())
        .count();
    if tried == 0 {
        return html! {};
    }
    let rule = planned.name.rule();
    let winner = match rule.is_composed() {
        // The best layer, whether or not it is that strategy's own winner.
        true => None,
        false => facts.best_searched(planned),
    };
    let is_best = |c: &Candidate| {
        let trial = facts.searched(&c.id);
        winner
            .zip(trial)
            .is_some_and(|(winner, trial)| winner.id == trial.id)
    };
    let name = |first: usize, last: usize, c: &Candidate| match rule.searches() {
        Some(Unit::Block | Unit::Group) => c.label.clone(),
        _ if first == last => (first + 1).to_string(),
        _ => format!("{}–{}", first + 1, last + 1),
    };
    let place = |(first, last, c): &(usize, usize, &Candidate)| Place {
        label: name(*first, *last, c),
        value: measured(c),
        note: format!("{}: {}", c.label, measured(c).map_or_else(none, percent)),
        best: is_best(c),
    };
    let mut places: Vec<Place> = candidates.iter().map(place).collect();
    if shown.layers {
        // Layers without a candidate leave a gap, so that numbers and blocks stay in place.
        places = fill(facts, &candidates, places);
    }
    let references = references(facts);
    let validation = format!("Validation {}", facts.accuracy());
    let figure = format!("#{validation}");
    let mut table = Table::new(
        "",
        &[
            shown.table,
            "Trains",
            &figure,
            "#Epochs",
            "#Trained parameters",
        ],
    );
    for (i, (first, last, c)) in candidates.iter().enumerate() {
        if is_best(c) {
            table.best = Some(i);
        }
        let trial = facts.searched(&c.id);
        table.row([
            name(*first, *last, c),
            c.layers.join(", "),
            measured(c).map_or_else(none, percent),
            trial.map_or_else(none, |t| t.epochs.to_string()),
            trial
                .and_then(|t| t.trained_parameters)
                .map_or_else(none, thousands),
        ]);
    }
    let axis = validation.replace('V', "v");
    let chart = Places {
        places,
        bands: if shown.layers {
            bands(facts)
        } else {
            Vec::new()
        },
        kind: Kind::Dots,
        axis: Axis {
            title: &axis,
            ..ACCURACY
        },
        title: shown.axis,
        references: references.iter().map(|r| r.line.clone()).collect(),
        slot: shown.slot,
    };
    Figure {
        id: &shown.id,
        title: &shown.title.replace("accuracy", facts.accuracy()),
        description: &format!(
            "Dots: {axis} of {tried} candidates in the search. Lines across: {}.",
            references
                .iter()
                .map(|r| r.line.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ),
        caption: caption(facts, planned, winner, &references),
        table: Some(table),
    }
    .draw(&chart.draw())
}

fn fill(
    facts: &Facts,
    candidates: &[(usize, usize, &Candidate)],
    places: Vec<Place>,
) -> Vec<Place> {
    let empty = |(i, layer): (usize, &LayerRecord)| Place {
        label: (i + 1).to_string(),
        value: None,
        note: layer.name.clone(),
        best: false,
    };
    let mut all: Vec<Place> = facts
        .files
        .run
        .layers
        .iter()
        .enumerate()
        .map(empty)
        .collect();
    for ((first, ..), place) in candidates.iter().zip(places) {
        all[*first] = place;
    }
    all
}

/// A baseline to compare candidates with.
struct Baseline {
    line: Reference,
    /// Whether it was trained as the candidates were.
    searched: bool,
}

/// `head` and `full`: as they were in the search, or where they were not searched (a single
/// candidate needs no search) after training.
fn references(facts: &Facts) -> Vec<Baseline> {
    BASELINES
        .into_iter()
        .filter_map(|strategy| {
            let name = strategy.to_string();
            let searched = facts.search_accuracy(&name);
            let trained = || facts.result(strategy)?.validation_accuracy;
            let value = searched.or_else(trained)?;
            let part = if searched.is_some() { "" } else { " (trained)" };
            Some(Baseline {
                line: Reference {
                    name: format!("{name}{part} {}", share(value, 0.001)),
                    value,
                    slot: slot(strategy),
                },
                searched: searched.is_some(),
            })
        })
        .collect()
}

fn caption(
    facts: &Facts,
    planned: &Planned,
    best: Option<&TrialRecord>,
    references: &[Baseline],
) -> Markup {
    let run = &facts.files.run;
    let failed = planned
        .candidates
        .iter()
        .filter(|c| facts.failed_in_search(&c.id))
        .count();
    html! {
        @if let Some(best) = best {
            "Best: " strong { (best.candidate) }
            @if let Some(v) = best.validation {
                " (" (percent(v.accuracy)) " of " (thousands(v.count)) "; one " (facts.sample()) " is "
                (format!("{:.1}", 100.0 / v.count.max(1) as f64)) " points)"
            }
            ". "
        }
        @if let Some(told) = facts.result(planned.name).and_then(|r| sentence(r.certainty.as_ref()?, facts.task())) {
            (facts.of_first_seed()) (told) ". "
        }
        @if references.iter().any(|r| !r.searched) {
            "The lines marked “trained” are not like for like: those models were trained on "
            (thousands(run.retraining_samples())) " " (facts.samples()) " for up to "
            (count(run.configuration.settings.most_epochs(), "epoch")) ", the candidates on "
            (thousands(run.data.parts.search)) " for " (run.configuration.settings.most_search_epochs()) ". "
        }
        @match failed {
            0 => {},
            1 => "One candidate failed. ",
            n => { (n) " candidates failed. " },
        }
        @match planned.skipped.len() {
            0 => {},
            1 => "One candidate cannot be trained and is left out.",
            n => { (n) " candidates cannot be trained and are left out." },
        }
    }
}

/// A number of parameters in few characters.
fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e9 => (v / 1e9, " G"),
        v if v >= 1e6 => (v / 1e6, " M"),
        v if v >= 1e3 => (v / 1e3, " k"),
        v => (v, ""),
    };
    let text = format!("{scaled:.1}");
    format!("{}{unit}", text.trim_end_matches(".0"))
}
