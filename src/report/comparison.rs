//! A strategy against another by their held-out figures, in words.

use crate::run::RunFiles;
use crate::strategy::StrategyName;

use super::html::facts::Facts;
use super::paired::{Paired, over_repetitions};
use super::text::{percent, thousands};

/// What the best strategy is compared with, and candidates in charts.
pub const BASELINES: [StrategyName; 2] = [StrategyName::HEAD, StrategyName::FULL];

/// Differences that chance brings about as often as this count as noise.
const LEVEL: f64 = 0.05;

/// The difference of two strategies' shares of right held-out samples.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The strategy that the other is compared with.
    pub baseline: StrategyName,
    /// Its share, or the mean of its shares over repetitions.
    pub share: f64,
    difference: f64,
    interval: (f64, f64),
    basis: Basis,
    samples: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Basis {
    /// The same samples, one by one.
    Samples(Paired),
    /// So many repetitions, and in what they differ.
    Repetitions(usize, &'static str),
}

impl Comparison {
    /// `best` minus `baseline`: over all repetitions where there are several, else sample by sample;
    /// `None` where one of them has no held-out figure.
    pub fn of(facts: &Facts<'_>, best: StrategyName, baseline: StrategyName) -> Option<Self> {
        let run = &facts.files.run;
        let (shares, differences): (Vec<f64>, Vec<f64>) =
            repetitions(facts.files, best, baseline).into_iter().unzip();
        let (share, difference, interval, basis) = match over_repetitions(
            &differences,
            run.retraining_samples(),
            run.data.parts.held_out,
        ) {
            Some((mean, interval)) => {
                let count = shares.len();
                let share = shares.iter().sum::<f64>() / count as f64;
                let over = facts.repeated_over();
                (share, mean, interval, Basis::Repetitions(count, over))
            }
            None => {
                let held_out = |strategy| facts.result(strategy)?.held_out.as_ref();
                let (ours, theirs) = (held_out(best)?, held_out(baseline)?);
                let pairs = Paired::of(&ours.wrong, &theirs.wrong, ours.score.count)?;
                let share = theirs.score.accuracy;
                (
                    share,
                    pairs.difference(),
                    pairs.interval(),
                    Basis::Samples(pairs),
                )
            }
        };
        Some(Comparison {
            baseline,
            share,
            difference,
            interval,
            basis,
            samples: facts.samples(),
        })
    }

    /// What it is worth, in sentences.
    pub fn text(&self) -> String {
        let (low, high) = self.interval;
        let figures = format!(
            "{} points, 95 % interval {} to {}",
            signed(self.difference),
            signed(low),
            signed(high)
        );
        let (told, noise, of) = match self.basis {
            Basis::Samples(pairs) => (
                format!(
                    "{figures}. Right where {} is wrong on {}, wrong where it is right on {} {}: {} \
                     (McNemar's exact test).",
                    self.baseline,
                    thousands(pairs.first),
                    thousands(pairs.second),
                    self.samples,
                    probability(pairs.p_value())
                ),
                pairs.p_value() >= LEVEL,
                format!("on {} held-out {}", thousands(pairs.count()), self.samples),
            ),
            Basis::Repetitions(count, over) => (
                format!("{figures}, the mean over {count} {over}."),
                low <= 0.0 && high >= 0.0,
                format!("over {count} {over}"),
            ),
        };
        let verdict = match (noise, self.difference > 0.0) {
            (true, _) => format!("Within noise: {of} this difference may be chance."),
            (false, true) => "Better beyond noise.".to_owned(),
            (false, false) => "Worse beyond noise, although it was ahead in validation.".to_owned(),
        };
        format!("{told} {verdict}")
    }
}

/// Of each repetition that has a held-out figure of both: that of `baseline`, and that of `best` less it.
fn repetitions(files: &RunFiles, best: StrategyName, baseline: StrategyName) -> Vec<(f64, f64)> {
    let repeats = files.results.iter().flat_map(|r| &r.repeats);
    let difference = |repeat: &crate::run::Repeat| {
        let of = |name| {
            let result = repeat.strategies.iter().find(|s| s.name == name)?;
            result.held_out_accuracy
        };
        Some((of(baseline)?, of(best)? - of(baseline)?))
    };
    repeats.filter_map(difference).collect()
}

/// The strategy that is best in validation, and how it compares with `head` and `full`, for the terminal;
/// empty where there is nothing to compare.
pub fn verdict(files: &RunFiles) -> String {
    let facts = Facts::of(files);
    let Some(best) = facts.best().filter(|_| facts.winners().count() > 1) else {
        return String::new();
    };
    let tie = facts.tie(best).map(|tie| format!(", {tie}"));
    let mut lines = vec![format!(
        "best by {}: {}{}",
        facts.chosen_by(),
        best.name,
        tie.unwrap_or_default()
    )];
    for baseline in BASELINES.into_iter().filter(|&b| b != best.name) {
        if let Some(comparison) = Comparison::of(&facts, best.name, baseline) {
            let share = percent(comparison.share);
            lines.push(format!(
                "  against {baseline} ({share}): {}",
                comparison.text()
            ));
        }
    }
    lines.join("\n")
}

/// A difference of shares in points, with a sign.
fn signed(difference: f64) -> String {
    let points = format!("{:+.1}", 100.0 * difference);
    match points.as_str() {
        "-0.0" | "+0.0" => "0.0".to_owned(),
        _ => points.replace('-', "−"),
    }
}

fn probability(p: f64) -> String {
    match p < 0.001 {
        true => "p < 0.001".to_owned(),
        false => format!("p = {p:.3}"),
    }
}
