//! What the run came to: in words, and in a line per strategy.

use maud::{Markup, html};

use crate::report::comparison::{BASELINES, Comparison};
use crate::report::tables::{diverged, improving, updated};
use crate::report::text::{none, percent, seconds, thousands};
use crate::run::StrategyResult;
use crate::strategy::StrategyName;

use super::facts::{Facts, count, interval};
use super::page::{Section, Table};

/// The page's title, what was run on what, the verdict and what is missing.
pub fn top(facts: &Facts) -> Markup {
    let run = &facts.files.run;
    html! {
        h1 { "Fine-tuning " (file_name(&run.model.path)) }
        p class="subtitle" {
            (thousands(run.data.samples)) " " (facts.samples()) " of "
            (thousands(run.data.classes.len())) " classes from "
            span title=(run.data.path.display()) { (file_name(&run.data.path)) }
            " · " (count(run.layers.len(), "weighted layer")) " before the head · head "
            code { (run.configuration.settings.head) } " · seed " (run.configuration.settings.split.seed)
        }
        (unfinished(facts))
        div class="verdict" { (verdict(facts)) }
    }
}

fn unfinished(facts: &Facts) -> Markup {
    let planned = facts.files.run.strategies.len();
    let done = facts.results().len();
    let interrupted = facts.files.results.as_ref().is_some_and(|r| r.interrupted);
    html! {
        @if interrupted || done < planned {
            p class="alert" {
                @if interrupted { "The run was stopped before its end: " }
                @else { "The run is not finished: " }
                (done) " of " (count_ies(planned)) " ended. This report holds what is there."
            }
        }
    }
}

fn verdict(facts: &Facts) -> Markup {
    let Some(best) = facts.best() else {
        return without_ranking(facts);
    };
    let over_seeds = facts.is_over_seeds();
    let others = facts.winners().count() > 1;
    let sample = facts.sample();
    html! {
        p class="lead" {
            @if others { "Best by " (facts.chosen_by()) ": " } @else { "The only strategy: " }
            (best.name) (what(best)) "."
        }
        p {
            @if over_seeds { "Of the first of the " (facts.repeated_over()) ": validation " } @else { "Validation " }
            (facts.accuracy()) " "
            (optional(best.validation_accuracy))
            @if let Some(v) = facts.validation(best) {
                " (" (thousands(v.hits)) " of " (thousands(v.count)) " " (facts.samples())
                "; one " (sample) " is " (points(1.0 / v.count as f64)) ")"
            }
            @if let Some(h) = facts.held_out(best) {
                "; held-out " (facts.accuracy()) " " strong { (percent(h.share())) } " ("
                (thousands(h.hits)) " of " (thousands(h.count)) " " (facts.samples())
                ", 95 % interval " (interval(h.interval())) ")"
            }
            @if let Some(precision) = best.held_out.as_ref().and_then(|h| h.score.average_precision) {
                "; held-out mean average precision " strong { (format!("{precision:.4}")) }
            }
            "."
            @if let Some(tie) = facts.tie(best) { " It is " (tie) "." }
        }
        @if facts.held_out(best).is_some() {
            ul {
                @for baseline in BASELINES {
                    @if baseline != best.name { li { (against(facts, best, baseline)) } }
                }
            }
        } @else {
            p class="note" {
                "No data was held out. The validation " (facts.accuracy()) " helped to choose the strategy, its \
                 candidate and its epoch, so that it is likely to be better than what new data will \
                 show."
            }
        }
    }
}

/// How the best strategy compares with a baseline on held-out data.
fn against(facts: &Facts, best: &StrategyResult, baseline: StrategyName) -> Markup {
    html! {
        "Against " strong { (baseline) }
        @match Comparison::of(facts, best.name, baseline) {
            Some(comparison) => { " (" (percent(comparison.share)) "): " (comparison.text()) },
            None => ": not known, as it has no held-out figure in this run.",
        }
    }
}

fn without_ranking(facts: &Facts) -> Markup {
    let any = facts.winners().next().is_some();
    html! {
        @if any {
            p class="lead" { "No verdict: there is no validation data." }
            p {
                "Which strategy is best is told by validation " (facts.monitor().label_for(facts.task())) " alone; choosing by the \
                 held-out figures would spoil them."
            }
        } @else if facts.results().is_empty() {
            p class="lead" { "No strategy has ended yet." }
        } @else {
            p class="lead" { "No strategy gave a model." }
        }
    }
}

/// A line per strategy.
pub fn summary(facts: &Facts) -> Section {
    let several = facts.task().is_multi_label();
    let columns = [
        "Strategy",
        "Winner",
        if several {
            "#Validation, exact match"
        } else {
            "#Validation"
        },
        if several {
            "#Held out, exact match"
        } else {
            "#Held out"
        },
        "#95 % interval",
        "#Trained",
        "#Share",
        "#Trials' time",
        "#Ready after",
        "Model",
    ];
    let mut columns = columns.to_vec();
    if several {
        columns.splice(5..5, ["#Validation AP", "#Held-out AP"]);
    }
    let mut table = Table::new("", &columns);
    let best = facts.best().map(|b| b.name);
    let all = facts.parameters();
    table.best = facts.results().iter().position(|r| Some(r.name) == best);
    for result in facts.results() {
        let held_out = facts.held_out(result);
        let ratio = facts.trained_share(result);
        let mut row = vec![
            html! {
                span class="line" {
                    (result.name)
                    @if Some(result.name) == best { span class="badge" { "best" } }
                }
            },
            html! { (result.candidate.clone().unwrap_or_else(none)) },
            html! { (optional(result.validation_accuracy)) },
            html! { (optional(result.held_out_accuracy)) },
            html! { (held_out.map_or_else(none, |h| interval(h.interval()))) },
            html! { (result.trained_parameters.map_or_else(none, thousands)) },
            html! { (ratio.map_or_else(none, small_percent)) },
            html! { (seconds(result.seconds)) },
            html! { (result.clock.map_or_else(none, seconds)) },
            html! {
                @match &result.model {
                    Some(model) if model.starts_with("winners/") => {
                        a class="line" href=(model) { (model.trim_start_matches("winners/")) }
                        @if let Some(adapter) = &result.adapter {
                            " " a class="line" href=(format!("winners/{}", adapter.location)) { "adapter" }
                        }
                    },
                    Some(model) => (model),
                    None => "failed",
                }
            },
        ];
        if several {
            let held_out = result.held_out.as_ref();
            let precisions = [
                result.validation_average_precision,
                held_out.and_then(|h| h.score.average_precision),
            ];
            let shown = |p: Option<f64>| p.map_or_else(none, |p| format!("{p:.4}"));
            row.splice(5..5, precisions.map(|p| html! { (shown(p)) }));
        }
        table.rows.push(row);
    }
    let parts = &facts.files.run.data.parts;
    Section {
        id: "summary",
        title: "Summary".to_owned(),
        body: html! {
            @if facts.results().is_empty() {
                p { "No strategy has ended yet." }
            } @else {
                (table.draw())
                @for note in facts.results().iter().flat_map(|r| [diverged(r), improving(r), updated(r, usize::MAX)]).flatten() {
                    p class="note" { (facts.of_first_seed()) (note) "." }
                }
                p class="note" {
                    "Strategies are compared by " (facts.chosen_by()) " (" (thousands(parts.validation))
                    " " (facts.samples()) "); held-out " (facts.accuracy()) " (" (thousands(parts.held_out)) " "
                    (facts.samples()) ") is for the final figures only. Intervals are Wilson's. \
                     Trials' time is that of the trials of search and training, added up: they may \
                     run side by side, and those that several strategies share count for each. Ready after \
                     is when a strategy's model was there, by the clock on the wall, of all sessions of \
                     the run."
                    @if let Some(took) = facts.files.results.as_ref().and_then(|r| r.clock) {
                        " The whole run took " (seconds(took)) "."
                    }
                    @if let Some(all) = all {
                        " Share is of the " (thousands(all)) " parameters of backbone and head"
                        @if facts.adds() { ", and of what a strategy adds to them" }
                        "."
                    }
                }
            }
        },
    }
}

fn what(result: &StrategyResult) -> String {
    match &result.candidate {
        Some(label) if *label != result.name.to_string() => format!(" ({label})"),
        _ => String::new(),
    }
}

fn optional(share: Option<f64>) -> String {
    share.map_or_else(none, percent)
}

fn small_percent(share: f64) -> String {
    match share * 100.0 {
        p if p > 0.0 && p < 0.1 => format!("{p:.3} %"),
        p => format!("{p:.1} %"),
    }
}

fn points(share: f64) -> String {
    format!("{:.2} points", 100.0 * share)
}

fn count_ies(n: usize) -> String {
    format!(
        "{n} {}",
        if n == 1 {
            "strategy has"
        } else {
            "strategies have"
        }
    )
}

/// The last part of a path.
pub fn file_name(path: &std::path::Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
