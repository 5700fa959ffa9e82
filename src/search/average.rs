//! A winner that is the average of several trainings.
//!
//! Source: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
//! increasing inference time", ICML 2022, the greedy soup. Trainings that began with the same weights can be averaged; a
//! parameter that one of them did not train has there the value with which all began.

use std::sync::atomic::AtomicBool;

use indexmap::IndexMap;

use crate::classifier::Score;
use crate::run::{Parameters, Phase, TrialRecord};
use crate::strategy::Candidate;
use crate::surgery::Rewrite;

use super::SearchError;
use super::chooser::{Choice, Scene};
use super::plan::{Plan, trial_id};
use super::runner::Runner;
use super::state::State;
use super::watch::{Doing, Scored, Stop};

/// A training that may be averaged with others.
struct Trained {
    candidate: Candidate,
    record: TrialRecord,
    parameters: Parameters,
}

/// An average.
struct Mixed<'t> {
    /// Of what, the best first.
    members: Vec<&'t Trained>,
    parameters: Parameters,
    /// Of the validation samples.
    score: Score,
}

impl Runner<'_> {
    /// Ends a strategy whose candidates were trained whole: with the average of the best of them, as many as make it better
    /// on the validation samples, or with the best alone.
    pub(super) fn end_average(
        &self,
        scene: &Scene<'_>,
        choice: Choice,
        (plan, state): (&Plan, &State<'_>),
        first_error: &mut Option<SearchError>,
    ) -> Result<(), SearchError> {
        let mut all = Vec::new();
        for candidate in &choice.trained {
            let reply = match scene.request_for(candidate, Phase::Train) {
                Some(request) => self.site.run.read_reply(request)?,
                None => None,
            };
            if let Some((record, Some(parameters))) = reply {
                all.push(Trained {
                    candidate: candidate.clone(),
                    record: state.trial(&record.id).unwrap_or(record),
                    parameters,
                });
            }
        }
        let is_best = |t: &Trained| t.candidate.trains_the_same(&choice.candidate);
        let Some(best) = all.iter().position(is_best) else {
            return Err(SearchError::NotTried {
                id: trial_id(&choice.candidate, Phase::Train),
            });
        };
        let mixed = self.mixed(
            &choice,
            all.iter().filter(|t| t.candidate.rewrite.is_none()),
        )?;
        let best = &all[best];
        let error = match mixed {
            None => self.end(
                &choice,
                (&best.record, Some(&best.parameters)),
                &[],
                (plan, state),
            )?,
            Some(Mixed {
                members,
                parameters,
                score,
            }) => {
                let labels: Vec<&str> =
                    members.iter().map(|m| m.candidate.label.as_str()).collect();
                let mut layers: Vec<String> = Vec::new();
                for layer in members.iter().flat_map(|m| &m.candidate.layers) {
                    if !layers.contains(layer) {
                        layers.push(layer.clone());
                    }
                }
                let averaged: Vec<String> = members.iter().map(|m| m.record.id.clone()).collect();
                let record = TrialRecord {
                    validation: Some(score),
                    trained_parameters: Some(parameters.iter().map(|(_, v)| v.len()).sum()),
                    added_parameters: 0,
                    ..best.record.clone()
                };
                let choice = Choice {
                    candidate: Candidate {
                        label: format!("{}, averaged", labels.join(" and ")),
                        layers,
                        trainable: parameters.iter().map(|(name, _)| name.clone()).collect(),
                        ..choice.candidate.clone()
                    },
                    ..choice
                };
                self.end(
                    &choice,
                    (&record, Some(&parameters)),
                    &averaged,
                    (plan, state),
                )?
            }
        };
        if let Some(error) = error {
            first_error.get_or_insert(error);
        }
        Ok(())
    }

    /// The best with each next one that makes their average better by the figure that ranks; `None` where none does.
    fn mixed<'t>(
        &self,
        choice: &Choice,
        trained: impl Iterator<Item = &'t Trained>,
    ) -> Result<Option<Mixed<'t>>, SearchError> {
        let site = &self.site;
        let mut trained = trained;
        let Some(first) = trained.next() else {
            return Ok(None);
        };
        let is_best = first.candidate.trains_the_same(&choice.candidate);
        let Some(mut best) = first.record.validation.filter(|_| is_best) else {
            return Ok(None);
        };
        let abandoned = AtomicBool::new(false);
        let of = choice.strategy.to_string();
        let mut scored = Scored {
            stop: Stop {
                watcher: site.watcher,
                abandoned: &abandoned,
            },
            of: &of,
            what: Doing::Validation,
        };
        let by = site.settings.ranks_by();
        let mut members = vec![first];
        let mut found = None;
        for next in trained {
            let mut with = members.clone();
            with.push(next);
            let parameters = self.average(&with)?;
            let samples = &site.split.validation;
            let predictions =
                site.lab
                    .predict_watched(&Rewrite::None, &parameters, samples, &mut scored)?;
            let score = predictions.score();
            let (now, before) = (by.of(&score), by.of(&best));
            tracing::debug!(now, before, with = next.candidate.label, "averaged");
            if by.is_better(now, before) {
                (best, members) = (score, with);
                found = Some(parameters);
            }
        }
        Ok(found.map(|parameters| Mixed {
            members,
            parameters,
            score: best,
        }))
    }

    /// The mean of what some trainings came to.
    fn average(&self, members: &[&Trained]) -> Result<Parameters, SearchError> {
        let mut sums: IndexMap<&String, (Vec<f64>, usize)> = IndexMap::new();
        for (name, values) in members.iter().flat_map(|m| &m.parameters) {
            let (sum, count) = sums
                .entry(name)
                .or_insert_with(|| (vec![0.0; values.len()], 0));
            sum.iter_mut()
                .zip(values)
                .for_each(|(sum, &v)| *sum += f64::from(v));
            *count += 1;
        }
        let names: Vec<String> = sums.keys().map(|&name| name.clone()).collect();
        let began = self.site.lab.values_of(&names)?;
        let all = members.len() as f64;
        let mut means = Vec::with_capacity(names.len());
        for ((name, (sum, count)), began) in names.into_iter().zip(sums.into_values()).zip(began) {
            let others = all - count as f64;
            let values = sum.iter().zip(began);
            let values = values.map(|(sum, b)| ((sum + others * f64::from(b)) / all) as f32);
            means.push((name, values.collect()));
        }
        Ok(means)
    }
}
