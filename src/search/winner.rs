//! Ends strategies: their winners are measured, written, and told of.

use std::sync::atomic::AtomicBool;

use crate::classifier::Score;
use crate::onnx::{create_folder, write_atomic};
use crate::run::{
    Certainty, Failure, HeldOut, Parameters, RunDir, RunError, StrategyResult, TrialRecord, csv,
};
use crate::strategy::StrategyName;
use crate::surgery::Rewrite;
use crate::surgery::rewrite::Merged;

use super::chooser::{Choice, certainty};
use super::emit::{Emitted, Winner};
use super::plan::Plan;
use super::round::Site;
use super::runner::Runner;
use super::state::State;
use super::watch::{Doing, Scored, Stop};
use super::{SearchError, outcome};

impl Runner<'_> {
    /// Ends a strategy with what the training of its choice came to, or `averaged` trials. Gives the error where that is
    /// its result.
    pub(super) fn end(
        &self,
        choice: &Choice,
        (record, parameters): (&TrialRecord, Option<&Parameters>),
        averaged: &[String],
        (plan, state): (&Plan, &State<'_>),
    ) -> Result<Option<SearchError>, SearchError> {
        let failed = |error: (String, Option<Failure>)| {
            let seconds = choice.seconds + record.seconds;
            outcome::failed(choice.strategy, choice.searched, seconds, error)
        };
        let Some(parameters) = parameters else {
            let error = record.error.clone().unwrap_or_default();
            state.end(failed((error, record.failure)))?;
            return Ok(None);
        };
        match self.emit(choice, (record, averaged), parameters, (plan, state)) {
            Ok(result) => {
                state.end(result)?;
                Ok(None)
            }
            Err(error) if error.failure().is_none() => Err(error),
            Err(error) => {
                state.end(failed((error.to_string(), error.failure())))?;
                Ok(Some(error))
            }
        }
    }

    /// Writes a winner's model and says what it is worth.
    fn emit(
        &self,
        choice: &Choice,
        (record, averaged): (&TrialRecord, &[String]),
        parameters: &Parameters,
        (plan, state): (&Plan, &State<'_>),
    ) -> Result<StrategyResult, SearchError> {
        let abandoned = AtomicBool::new(false);
        let Site {
            lab,
            split,
            settings,
            run,
            watcher,
            ..
        } = self.site;
        let of = choice.strategy.to_string();
        let mut scored = Scored {
            stop: Stop {
                watcher,
                abandoned: &abandoned,
            },
            of: &of,
            what: Doing::HeldOut,
        };
        // What is measured from here on is what is written: merged weights, of a float16 model rounded ones.
        let rewrite = &choice.candidate.rewrite;
        let mut merged = rewrite.merge(self.emitter.grafted, parameters)?;
        let mut read = self.gates(&merged, &choice.candidate.layers, &mut scored)?;
        let bakes = settings.adafilter.bake && matches!(merged.rewrite, Rewrite::AdaFilter(_));
        if let Some(read) = read.as_mut().filter(|_| bakes) {
            merged = self.baked(&merged, read)?;
        }
        let validated = self.validated(&merged, &mut scored)?;
        let thresholds = validated.as_ref().map(|(thresholds, _)| thresholds.clone());
        let held_out =
            self.held_out(choice.strategy, &merged, thresholds.as_deref(), &mut scored)?;
        let held_out_accuracy = held_out.as_ref().map(|h| h.score.accuracy);
        let of_thresholds = validated.as_ref().map(|(_, score)| *score);
        let validation = of_thresholds.or(record.validation).map(|v| v.accuracy);
        let winner = Winner {
            strategy: choice.strategy,
            candidate: &choice.candidate.label,
            rewrite,
            parameters,
            merged: &merged,
            held_out_accuracy,
            validation_accuracy: validation,
            thresholds: thresholds.as_deref(),
        };
        let samples = match split.held_out.as_slice() {
            // On others the gates that are gone may have been open or closed.
            _ if bakes && !self.gated_samples().is_empty() => self.gated_samples(),
            [] => &split.retraining(),
            samples => samples,
        };
        let may_be_kept = || state.go_on();
        watcher.doing(&of, Doing::Writing, 0, 0);
        let emitted = self
            .emitter
            .emit(run, &winner, (lab, samples), &may_be_kept);
        if emitted.is_err() {
            // There is no model whose predictions they were. That they may stay is the lesser evil.
            let _ = std::fs::remove_file(run.path(&RunDir::predictions(choice.strategy)));
        }
        let Emitted {
            model,
            sha256,
            external,
            adapter,
            writes_out_functions,
            stays_fixed,
        } = emitted?;
        if let Some(reason) = stays_fixed {
            watcher.warning(&format!(
                "{model} stays made for the batch size of the model: {reason}"
            ));
        }
        if writes_out_functions {
            watcher.begin(&format!(
                "{model} has the functions that the model carries written out: what was tuned, or what the new head \
                 stands on, is inside of them"
            ));
        }
        let certainty = certainty(&choice.ranked, &|id| run.read_ranking(id), settings)?;
        Ok(StrategyResult {
            name: choice.strategy,
            candidate: Some(choice.candidate.label.clone()),
            layers: choice.candidate.layers.clone(),
            trial: Some(record.id.clone()),
            averaged: averaged.to_vec(),
            validation_accuracy: validation,
            monitored: record.validation.map(|v| settings.watched().of(&v)),
            held_out_accuracy,
            held_out,
            validation_average_precision: record.validation.and_then(|v| v.average_precision),
            thresholds,
            trained_parameters: record.trained_parameters,
            epochs: Some(record.epochs),
            still_improving: record.still_improving,
            rate: record.rate,
            searched: choice.searched,
            certainty: certainty.map(|certainty| Certainty {
                taken: choice.taken.clone(),
                ..certainty
            }),
            search_cost: self.search_cost(choice, plan, state)?,
            gates: read.and_then(|read| read.gates),
            seconds: choice.seconds + record.seconds,
            clock: None,
            model: Some(model),
            sha256: Some(sha256),
            external,
            adapter,
            error: None,
            failure: None,
        })
    }

    /// Where samples may have several labels, for each class the probability from which on it is taken to apply, and
    /// what the validation samples that choose it are worth by it; `None` without any.
    fn validated(
        &self,
        Merged { rewrite, values }: &Merged,
        scored: &mut Scored<'_>,
    ) -> Result<Option<(Vec<f64>, Score)>, SearchError> {
        let Site { lab, split, .. } = self.site;
        if self.emitter.dataset.sets().is_none() || split.validation.is_empty() {
            return Ok(None);
        }
        let predictions = lab.predict_watched(rewrite, values, &split.validation, scored)?;
        let thresholds = predictions.best_thresholds().unwrap_or_default();
        let score = predictions.with_thresholds(&thresholds).score();
        Ok(Some((thresholds, score)))
    }

    /// What a winner makes of the held-out samples, which is also written down sample by sample; `None`
    /// without any.
    fn held_out(
        &self,
        strategy: StrategyName,
        Merged { rewrite, values }: &Merged,
        thresholds: Option<&[f64]>,
        scored: &mut Scored<'_>,
    ) -> Result<Option<HeldOut>, SearchError> {
        let Site {
            lab, split, run, ..
        } = self.site;
        let samples = split.held_out.as_slice();
        if samples.is_empty() {
            return Ok(None);
        }
        let predictions = lab.predict_watched(rewrite, values, samples, scored)?;
        let predictions = predictions.with_thresholds(thresholds.unwrap_or_default());
        let name = |row: usize| self.emitter.dataset.name(samples[row]);
        let held_out = outcome::held_out(&predictions, &name)?;
        let classes = self.emitter.card.classes.as_deref().unwrap_or_default();
        let path = run.path(&RunDir::predictions(strategy));
        let bytes = csv(&predictions, classes, &name);
        bytes
            .and_then(|bytes| {
                path.parent().map_or(Ok(()), create_folder)?;
                write_atomic(&path, &bytes)
            })
            .map_err(|e| RunError::write(&path, e))?;
        Ok(Some(held_out))
    }
}
