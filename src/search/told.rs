//! What the user is told before the first trial.

use crate::analysis::Analysis;
use crate::classifier::{other_outputs, quoted, resized, restated};
use crate::data::{Overlap, Split};
use crate::graph::Graph;
use crate::onnx::Model;
use crate::run::Settings;
use crate::surgery::{Grafted, HeadKind, HeadSpec, Rewrite, own_dropout};
use crate::training::{FreedFile, Lab, Trained};

use super::SearchError;
use super::opened::Opened;
use super::plan::Plan;

impl Opened<'_> {
    /// What is run on what, and what the user should know of it.
    pub(super) fn tell(&self, settings: &Settings, split: &Split) -> Result<(), SearchError> {
        self.watcher.begin(&self.described(split));
        if let Some(found) = self.input.found() {
            self.watcher.begin(&found);
        }
        if let Some(found) = self.found() {
            self.watcher.begin(&found);
        }
        let all: Vec<usize> = (0..self.dataset.len()).collect();
        let [all, held_out] = [&all, &split.held_out].map(|s| self.card.overlap(&self.dataset, s));
        let (Some(all), Some(held_out)) = (all.filter(|o| o.seen > 0), held_out) else {
            return Ok(());
        };
        let Overlap { seen, of, .. } = held_out;
        if seen > 0 {
            self.watcher.warning(&format!(
                "{seen} of the {of} held-out samples were trained on when the model itself was tuned: the \
                 held-out figures will be better than what new ones would show, which more samples that it \
                 has not seen would tell"
            ));
            return Ok(());
        }
        if of > 0 {
            self.watcher.begin(&format!(
                "{} of the {} samples were trained on, or helped to choose, when the model itself was tuned; \
                 none of them is held out",
                all.seen, all.of
            ));
        }
        let wanted = Split::of(&self.dataset, &settings.split)?.held_out.len();
        // Sets of copies do not always fit.
        if of + self.classes.len() < wanted {
            self.watcher.warning(&format!(
                "{of} samples are held out where --train-fraction and the others leave {wanted}: no more are left \
                 that the model was not trained on before, and the other {} are trained on again",
                wanted - of
            ));
        }
        Ok(())
    }

    /// Metadata of other tools that are no longer true of a tuned model.
    pub(super) fn restated(&self) -> Vec<(String, String)> {
        let mut all = restated(&self.original, &self.classes);
        all.extend(self.resized());
        all
    }

    /// As [`Opened::restated`], of the image size.
    fn resized(&self) -> Option<(String, String)> {
        resized(&self.original, (self.input.height, self.input.width))
    }

    /// What of the plan, the model and the settings comes out other than it looks.
    pub(super) fn warn(
        &self,
        plan: &Plan,
        lab: &Lab<'_>,
        grafted: &Grafted,
    ) -> Result<(), SearchError> {
        for strategy in &plan.strategies {
            if let Some(first) = strategy.skipped.first() {
                self.watcher.warning(&format!(
                    "{} of {} candidates of `{}` are left out, the first, {}, because {}",
                    strategy.skipped.len(),
                    strategy.skipped.len() + strategy.candidates.len(),
                    strategy.strategy,
                    first.id,
                    first.reason
                ));
            }
        }
        let candidates = plan.strategies.iter().flat_map(|s| &s.candidates);
        let all: Vec<String> = candidates.flat_map(|c| c.trainable.clone()).collect();
        let trained = Trained {
            parameters: &all,
            batch_norm: self.settings.batch_norm(),
            rewrite: &Rewrite::None,
        };
        if let Some(note) = lab.batch_norm_note(trained)? {
            self.watcher.warning(&note);
        }
        if let Some((key, size)) = self.resized() {
            self.watcher.begin(&format!(
                "the metadata `{key}` of the model, which another tool wrote, are {size} in tuned models, the size of the \
                 images that they are tuned on"
            ));
        }
        let restated = restated(&self.original, &self.classes);
        let keys: Vec<&str> = restated.iter().map(|(key, _)| key.as_str()).collect();
        if !keys.is_empty() {
            self.watcher.begin(&format!(
                "the metadata {} of the model, which another tool wrote, name the new classes in tuned models",
                quoted(&keys)
            ));
        }
        if !self.settings.keep_batch {
            match FreedFile::of(&grafted.model) {
                Ok(None) => {}
                Ok(Some(freed)) => self.watcher.begin(&format!(
                    "tuned models take batches of any size, the model itself of {} alone (--keep-batch leaves \
                     it so)",
                    freed.exported()
                )),
                Err(reason) => self.watcher.warning(&format!(
                    "tuned models stay made for the batch size of the model: {reason}"
                )),
            }
        }
        let graph = Graph::from_model(&grafted.model)?;
        let kept = self.job.settings.head == HeadKind::Keep;
        let features = self.features.as_ref().filter(|_| kept);
        let idle = own_dropout(&graph, features.map(|f| f.value.as_str()))?.idle;
        if !idle.is_empty() {
            self.watcher.warning(&format!(
                "the model's own Dropout does not run in training at {}: it is before the head, or on no \
                 vector per image",
                idle.join(", ")
            ));
        }
        Ok(())
    }
}

/// What a quantised model became: so many tensors, and bounds in place of so many pairs.
pub(super) fn in_floats((tensors, clips): (usize, usize)) -> String {
    match tensors + clips {
        0 => "--dequantise does nothing: the model has no DequantizeLinear of a tensor or of data that was \
              quantised before"
            .to_owned(),
        _ => format!(
            "the model is trained in float: {tensors} tensors are dequantised, and {clips} pairs of \
             QuantizeLinear and DequantizeLinear are bounds of what they hold; tuned models are models of \
             floats, to be quantised again"
        ),
    }
}

/// That so many nodes of a model that was exported as it trains infer.
pub(super) fn told_inferring(changed: usize) -> String {
    match changed {
        0 => "--inference-mode does nothing: no BatchNormalization or Dropout of the model is in training mode"
            .to_owned(),
        _ => format!(
            "{changed} nodes that were exported in training mode infer: each BatchNormalization uses the \
             statistics that it stores; so they do in tuned models"
        ),
    }
}

/// What a new head does to the outputs of a model, and where it is not sure that it takes the old one's place.
pub(super) fn of_head(
    model: &Model,
    graph: &Graph,
    analysis: &Analysis,
    settings: &Settings,
) -> Vec<String> {
    if settings.head == HeadKind::Keep {
        return Vec::new();
    }
    let doubt = analysis.backbone().ok().and_then(|b| b.doubt.clone());
    let mut notes = Vec::from_iter(doubt);
    let others = other_outputs(model, graph);
    if !others.is_empty() {
        notes.push(format!(
            "a new head takes the place of all outputs, {} too: a tuned model has `{}` alone (--head keep \
             leaves all)",
            quoted(&others),
            output_name(settings)
        ));
    }
    notes
}

/// The name of the output of tuned models with a new head.
pub(super) fn output_name(settings: &Settings) -> &'static str {
    let spec = HeadSpec {
        logits: settings.logits,
        ..HeadSpec::new(settings.head, 2, 0)
    };
    spec.output_name()
}
