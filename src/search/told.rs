//! What the user is told before the first trial.

use crate::classifier::{quoted, resized, restated};
use crate::data::{Overlap, Split};
use crate::graph::Graph;
use crate::run::Settings;
use crate::surgery::{Grafted, HeadKind, Rewrite, own_dropout};
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
