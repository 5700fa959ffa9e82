//! What a strategy came to, for the run's records.

use crate::classifier::Predictions;
use crate::run::{Failure, HeldOut, Mistake, Searched, StrategyResult};
use crate::strategy::StrategyName;

use super::SearchError;

/// Of a strategy that made no model, for this reason, after a search of `searched` candidates and so many
/// seconds.
pub(super) fn failed(
    strategy: StrategyName,
    searched: Option<Searched>,
    seconds: f64,
    (error, failure): (String, Option<Failure>),
) -> StrategyResult {
    StrategyResult {
        name: strategy,
        candidate: None,
        layers: Vec::new(),
        trial: None,
        averaged: Vec::new(),
        validation_accuracy: None,
        monitored: None,
        held_out_accuracy: None,
        held_out: None,
        validation_average_precision: None,
        thresholds: None,
        trained_parameters: None,
        epochs: None,
        still_improving: false,
        rate: None,
        searched,
        certainty: None,
        search_cost: None,
        gates: None,
        seconds,
        clock: None,
        model: None,
        sha256: None,
        external: None,
        adapter: None,
        error: Some(error),
        failure,
    }
}

/// What `predictions` come to; `name` gives the name of the sample in a row of them.
///
/// # Errors
/// [`SearchError::NotFinite`] when they are not all finite.
pub(super) fn held_out(
    predictions: &Predictions,
    name: &dyn Fn(usize) -> String,
) -> Result<HeldOut, SearchError> {
    let score = predictions.score();
    if !score.loss.is_finite() {
        return Err(SearchError::NotFinite { loss: score.loss });
    }
    let several = predictions.several.is_some();
    // That one label is missed is no other class it is taken for.
    let samples = predictions.samples.iter().enumerate();
    let samples = samples.filter(|_| !several);
    let mut mistakes: Vec<(usize, Mistake)> = samples
        .filter_map(|(row, sample)| {
            let label = usize::try_from(sample.label).ok();
            let mistake = Mistake {
                sample: String::new(),
                label: label.filter(|&l| l != sample.predicted)?,
                predicted: sample.predicted,
                probability: sample.probability,
            };
            Some((row, mistake))
        })
        .collect();
    mistakes.sort_by(|(_, a), (_, b)| b.probability.total_cmp(&a.probability));
    mistakes.truncate(HeldOut::MISTAKES);
    Ok(HeldOut {
        score,
        classes: predictions.classes,
        confusion: predictions.confusion(),
        wrong: predictions.wrong(),
        class_scores: match several {
            true => predictions.class_scores(),
            false => Vec::new(),
        },
        mistakes: mistakes
            .into_iter()
            .map(|(row, mistake)| Mistake {
                sample: name(row),
                ..mistake
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_mistakes_come_first() {
        let logits = [2.0, 0.0, 5.0, 0.0, 0.0, 9.0, 1.0, 0.0];
        let predictions = Predictions::of(&logits, &[1, 1, 1, 0], 2);
        let figures = held_out(&predictions, &|row| format!("photo {row}")).unwrap();
        assert_eq!(figures.confusion, [[0, 0, 1], [1, 0, 2], [1, 1, 1]]);
        assert_eq!(
            (figures.classes, figures.wrong.as_slice()),
            (2, &[0, 1][..])
        );
        let names: Vec<&str> = figures.mistakes.iter().map(|m| &*m.sample).collect();
        assert_eq!(names, ["photo 1", "photo 0"]);
        let surest = &figures.mistakes[0];
        assert_eq!((surest.label, surest.predicted), (1, 0));
        assert!((surest.probability - 1.0 / (1.0 + (-5f64).exp())).abs() < 1e-12);
    }

    #[test]
    fn outputs_that_are_not_finite_are_no_figures() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let predictions = Predictions::of(&[1.0, 0.0, bad, 0.0], &[0, 0], 2);
            let error = held_out(&predictions, &|_| String::new()).unwrap_err();
            assert!(matches!(error, SearchError::NotFinite { .. }), "{bad}");
            assert_eq!(error.failure(), Some(Failure::Diverged));
        }
    }
}
