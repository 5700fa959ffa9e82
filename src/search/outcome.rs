//! What a strategy came to, for the run's records.

use crate::classifier::{Predictions, softmax};
use crate::run::{HeldOut, Mistake, Searched, StrategyResult};
use crate::strategy::StrategyName;

use super::SearchError;

/// Of a strategy that made no model, because of `error`, after a search of `searched` candidates
/// and so many seconds.
pub(super) fn failed(
    strategy: StrategyName,
    searched: Option<Searched>,
    seconds: f64,
    error: &SearchError,
) -> StrategyResult {
    StrategyResult {
        name: strategy,
        candidate: None,
        layers: Vec::new(),
        trial: None,
        validation_accuracy: None,
        monitored: None,
        held_out_accuracy: None,
        held_out: None,
        trained_parameters: None,
        searched,
        seconds,
        model: None,
        sha256: None,
        error: Some(error.to_string()),
        failure: error.failure(),
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
    let rows = predictions.logits.chunks(predictions.classes.max(1));
    let mut mistakes: Vec<(usize, Mistake)> = rows
        .zip(predictions.classes().into_iter().zip(&predictions.labels))
        .enumerate()
        .filter_map(|(row, (logits, (predicted, &label)))| {
            let label = usize::try_from(label).ok().filter(|&l| l != predicted)?;
            let mistake = Mistake {
                sample: String::new(),
                label,
                predicted,
                probability: softmax(logits)[predicted],
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
    use crate::run::Failure;

    #[test]
    fn the_surest_mistakes_come_first() {
        let predictions = Predictions {
            logits: vec![2.0, 0.0, 5.0, 0.0, 0.0, 9.0, 1.0, 0.0],
            labels: vec![1, 1, 1, 0],
            classes: 2,
        };
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
            let predictions = Predictions {
                logits: vec![1.0, 0.0, bad, 0.0],
                labels: vec![0, 0],
                classes: 2,
            };
            let error = held_out(&predictions, &|_| String::new()).unwrap_err();
            assert!(matches!(error, SearchError::NotFinite { .. }), "{bad}");
            assert_eq!(error.failure(), Some(Failure::Diverged));
        }
    }
}
