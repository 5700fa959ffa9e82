//! A training that came to nothing by a learning rate that was found begins anew with a lower one.
//!
//! What a few steps tell of a rate (`rate.rs`) is not all: some take from a network what it knew only when more steps
//! follow. Such a rate then counts as one by which training diverged, and the next lower is taken, or found.

use crate::choice::Choice;
use crate::training::checkpoint::Progress;
use crate::training::{EpochMetrics, Moments, Observer, TrainingError, TriedRate};

use super::Trial;

/// A network is lost when it keeps less than this of what it told of the samples at the start. (Of a fifth that was left
/// after the first epoch the best came that there was: docs/recipe.md, "The rate".)
const KEPT: f64 = 0.05;

impl Trial<'_> {
    /// Whether the training so far came to nothing, and is to begin anew with a lower rate: when the network has lost
    /// what it knew at the start, or when no epoch of all was better than the start. That may happen as often as there
    /// are lower rates, this only while no more epochs were in vain than the trial has.
    pub(super) fn is_to_begin_anew(&self) -> bool {
        let progress = &self.state.progress;
        let trained = progress.epoch - 1;
        // A trial of fewer epochs than it may have goes on from here another time, as it would have without a break.
        let has_ended = trained >= self.spec.length() || self.stops_early();
        let in_vain = has_ended && progress.abandoned + trained <= self.spec.length();
        trained > 0 && progress.done == 0 && (self.is_lost() || in_vain) && self.may_begin_anew()
    }

    /// Whether nothing would be lost by it, and there is a lower rate.
    pub(super) fn may_begin_anew(&self) -> bool {
        let progress = &self.state.progress;
        let was_scored = progress.epochs.first().is_some_and(|e| e.epoch == 0);
        let is_auto = self.spec.optimizer.learning_rate == Choice::Auto;
        if !is_auto || !was_scored || progress.best_epoch > 0 || progress.rate.is_none() {
            return false;
        }
        let tried = self.without_present_rate();
        let trying = self.trying();
        let finite = |rate: f32| tried.iter().any(|t| t.rate == rate && t.loss.is_finite());
        trying.next(&tried).is_some() || trying.best(&tried).is_some_and(finite)
    }

    /// The rates that were tried, the present one as one that diverged.
    fn without_present_rate(&self) -> Vec<TriedRate> {
        let present = self.found_rate();
        let mut tried = self.state.progress.tried.clone();
        for one in tried.iter_mut().filter(|t| Some(t.rate) == present) {
            one.loss = f64::INFINITY;
        }
        tried
    }

    /// Goes back to where the trial stood before its first step, without the present rate.
    pub(super) fn begin_anew(&mut self, observer: &mut dyn Observer) -> Result<(), TrainingError> {
        let tried = self.without_present_rate();
        if let Some(rate) = self.found_rate() {
            observer.begins_anew(rate)?;
        }
        let progress = &mut self.state.progress;
        // An epoch that was not ended was trained, too.
        let trained = progress.epoch - 1 + usize::from(progress.done > 0);
        *progress = Progress {
            tried,
            epochs: progress.epochs[..1].to_vec(),
            abandoned: progress.abandoned + trained,
            ..Progress::new(self.spec)
        };
        self.state.moments.fill(Moments::default());
        let (lab, spec) = (self.lab, self.spec);
        let first = lab.initial_parameters(&spec.rewrite, &self.names, &spec.start)?;
        let averages = self.average.as_ref().map_or(&[][..], |a| &a.buffers);
        for buffers in [&self.buffers[..], averages] {
            for (buffer, first) in buffers.iter().zip(&first) {
                buffer.as_f32_mut()?.copy_from_slice(&first.as_f32()?);
            }
        }
        self.written();
        Ok(())
    }

    /// Whether the last epoch left less than [`KEPT`] of what the network told of the validation samples at the start:
    /// of the distance of its calibrated loss to that of one that knows only how frequent the classes are.
    fn is_lost(&self) -> bool {
        let epochs = &self.state.progress.epochs;
        let loss = |e: Option<&EpochMetrics>| Some(e?.validation?.calibrated_loss);
        let (Some(first), Some(last)) = (loss(epochs.first()), loss(epochs.last())) else {
            return false;
        };
        keeps_little(self.chance(), [first, last])
    }

    /// The mean loss on the validation samples of what says of each how frequent the classes are among them: the
    /// entropy of the labels; where samples may have several, the mean of that of the classes.
    fn chance(&self) -> f64 {
        let dataset = self.lab.dataset;
        let mut of_class = vec![0usize; dataset.classes().len()];
        let mut add = |class: usize| {
            if let Some(count) = of_class.get_mut(class) {
                *count += 1;
            }
        };
        for &sample in self.validation {
            match dataset.sets() {
                Some(sets) => sets.get(sample).iter().for_each(|&c| add(c as usize)),
                None => add(usize::try_from(dataset.labels()[sample]).unwrap_or(usize::MAX)),
            }
        }
        entropy(&of_class, self.validation.len(), dataset.sets().is_some())
    }
}

/// Whether of the distance of a loss to that of chance less than [`KEPT`] is left.
fn keeps_little(chance: f64, [first, last]: [f64; 2]) -> bool {
    chance > first && chance - last < KEPT * (chance - first)
}

/// That of labels, of which so many of `samples` are of each class; where samples may have `several`, the mean of that of
/// the classes. In nats.
fn entropy(of_class: &[usize], samples: usize, several: bool) -> f64 {
    let part = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    let shares = of_class.iter().map(|&c| c as f64 / samples.max(1) as f64);
    match several {
        true => {
            let both = shares.map(|p| part(p) + part(1.0 - p));
            both.sum::<f64>() / of_class.len().max(1) as f64
        }
        false => shares.map(part).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_lost_when_it_knows_little_more_than_how_frequent_classes_are() {
        let chance = entropy(&[10, 10, 20], 40, false);
        assert!((chance - 1.5 * 2f64.ln()).abs() < 1e-12);
        assert!(keeps_little(chance, [0.4, 1.02]));
        assert!(keeps_little(chance, [0.4, 1.2]));
        // Much is lost, and may come back.
        assert!(!keeps_little(chance, [0.4, 0.8]));
        // A drawn head knows nothing.
        assert!(!keeps_little(chance, [1.1, 1.2]));
        let several = entropy(&[20, 0], 40, true);
        assert!((several - 2f64.ln() / 2.0).abs() < 1e-12);
    }
}
