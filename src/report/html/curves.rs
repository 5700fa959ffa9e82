//! How the winners learned.

use maud::html;

use crate::report::charts::{Axis, Lines, Series};
use crate::report::text::{none, percent};
use crate::training::{EpochMetrics, Monitor};

use super::facts::{Facts, share, slot};
use super::page::{Figure, Section, Table};

const SHARE: Axis<'static> = Axis {
    title: "validation accuracy",
    format: share,
    bounds: (0.0, 1.0),
};

const LOSS: Axis<'static> = Axis {
    title: "validation loss",
    format: |value, step| {
        let decimals = if step >= 1.0 {
            0
        } else {
            (-step.log10()).ceil().clamp(1.0, 4.0) as usize
        };
        format!("{value:.decimals$}")
    },
    bounds: (0.0, f64::MAX),
};

pub fn section(facts: &Facts) -> Option<Section> {
    let curves: Vec<Curve> = facts
        .winners()
        .filter_map(|result| {
            let metrics = facts.files.metrics_of(result.trial.as_ref()?)?;
            Some(Curve {
                name: result.name.to_string(),
                slot: slot(result.name),
                epochs: &metrics.epochs,
                best: facts.training(result).map(|t| t.best_epoch),
            })
        })
        .filter(|c| !c.epochs.is_empty())
        .collect();
    if curves.is_empty() {
        return None;
    }
    let loss = Lines {
        series: curves
            .iter()
            .map(|c| c.series(|e| e.loss))
            .filter(|s| !s.points.is_empty())
            .collect(),
        title: "epoch",
        axis: Axis {
            title: "training loss",
            ..LOSS
        },
    };
    let validation = |monitor: Monitor, axis: Axis<'static>| Lines {
        series: curves
            .iter()
            .map(|c| c.series(|e| Some(monitor.of(&e.validation?))))
            .filter(|s| !s.points.is_empty())
            .collect(),
        title: "epoch",
        axis,
    };
    let title = match facts.task().is_multi_label() {
        true => "validation exact match",
        false => "validation accuracy",
    };
    let accuracy = validation(Monitor::Accuracy, Axis { title, ..SHARE });
    let monitor = facts.monitor();
    let monitored = (monitor != Monitor::Accuracy).then(|| {
        let axis = if monitor.is_loss() { LOSS } else { SHARE };
        let title = match monitor {
            Monitor::Accuracy => title,
            Monitor::BalancedAccuracy => "validation balanced accuracy",
            Monitor::MacroF1 => "validation macro F1",
            Monitor::AveragePrecision => "validation average precision",
            Monitor::Loss => "validation loss",
            Monitor::CalibratedLoss => "calibrated validation loss",
        };
        validation(monitor, Axis { title, ..axis })
    });
    let validated = title.replace('v', "V");
    let column = format!("#{validated}");
    let mut table = Table::new(
        "Winners at their best epoch",
        &[
            "Strategy",
            "#Best epoch",
            "#Epochs",
            "#Training loss",
            "#Validation loss",
            &column,
        ],
    );
    for curve in &curves {
        let best = curve.epochs.iter().find(|e| Some(e.epoch) == curve.best);
        let score = best.and_then(|e| e.validation);
        let loss = best.and_then(|e| e.loss);
        table.row([
            curve.name.clone(),
            curve.best.map_or_else(none, |e| e.to_string()),
            curve.trained().to_string(),
            loss.map_or_else(none, |loss| format!("{loss:.4}")),
            score.map_or_else(none, |s| format!("{:.4}", s.loss)),
            score.map_or_else(none, |s| percent(s.accuracy)),
        ]);
    }
    let epochs = html! { "The epoch whose weights were kept is drawn larger." };
    Some(Section {
        id: "curves",
        title: "Learning curves of the winners".to_owned(),
        body: html! {
            @if !loss.series.is_empty() {
                (Figure {
                    id: "curve-loss",
                    title: "Training loss per epoch",
                    description: "Curves: mean training loss of each strategy's winner over its epochs.",
                    caption: html! {
                        (epochs) " The loss of an epoch is the mean over its steps, each measured before its \
                         update and, with a head that has it, under dropout."
                    },
                    table: None,
                }.draw(&loss.draw()))
            }
            @if !accuracy.series.is_empty() {
                (Figure {
                    id: "curve-accuracy",
                    title: &format!("{validated} per epoch"),
                    description: &format!("Curves: {title} of each strategy's winner after each epoch."),
                    caption: html! { (epochs) },
                    table: None,
                }.draw(&accuracy.draw()))
            }
            @if let Some(monitored) = monitored.filter(|m| !m.series.is_empty()) {
                (Figure {
                    id: "curve-monitored",
                    title: &format!("Validation {} per epoch", monitor.label()),
                    description: "Curves: the figure that decided which epoch was kept, of each \
                                  strategy's winner after each epoch.",
                    caption: html! { (epochs) " This figure decided which." },
                    table: None,
                }.draw(&monitored.draw()))
            }
            (table.draw())
            @if curves.iter().any(|c| c.epochs.iter().any(|e| e.epoch == 0)) {
                p class="note" {
                    "Epoch 0 is what a strategy begins with, before anything is trained"
                    @if facts.files.run.configuration.settings.solves_head() {
                        ": the backbone as it was, with a head that was found beforehand (solved). Where the \
                         head alone is trained, nothing is left to do"
                    }
                    "."
                }
            }
        },
    })
}

struct Curve<'a> {
    name: String,
    slot: usize,
    epochs: &'a [EpochMetrics],
    best: Option<usize>,
}

impl Curve<'_> {
    /// Number of epochs that were trained.
    fn trained(&self) -> usize {
        self.epochs.last().map_or(0, |e| e.epoch)
    }

    fn series(&self, value: impl Fn(&EpochMetrics) -> Option<f64>) -> Series {
        Series {
            name: self.name.clone(),
            slot: self.slot,
            points: self
                .epochs
                .iter()
                .filter_map(|e| Some((e.epoch, value(e)?)))
                .collect(),
            best: self.best,
        }
    }
}
