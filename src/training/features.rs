//! The frozen values that a trial's step reads: kept, computed in the step, or the model's input
//! itself.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::data::{Augment, Augmenter, FeatureStore, View};
use crate::runtime::Buffer;

use super::TrainingError;
use super::lab::Lab;
use super::live::Live;
use super::mixing::Mixing;

/// What samples are gathered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// To predict or to be watched: as they are.
    Plain,
    /// To be trained on in this epoch, from 1: augmented if that is asked for.
    Train {
        /// The epoch.
        epoch: usize,
    },
}

/// Which version of a sample a pass takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Versions {
    /// How samples are changed, and the seed of it.
    pub augmenter: Augmenter,
    /// Number of versions that epochs take in turn; without it each epoch has its own.
    pub views: Option<NonZeroUsize>,
    /// Whether samples are mixed while they are trained on, so that no two are the same.
    pub mixed: bool,
}

impl Versions {
    /// Whether there are no other than the samples as they are.
    pub fn plain(&self) -> bool {
        self.augmenter.augment == Augment::None
    }

    fn number(&self, pass: Pass) -> Option<u64> {
        match pass {
            Pass::Train { epoch } if !self.plain() => {
                let number = epoch.saturating_sub(1);
                Some(self.views.map_or(number, |views| number % views) as u64)
            }
            _ => None,
        }
    }

    /// The views that `pass` takes of `samples`.
    pub fn views(&self, samples: &[usize], pass: Pass) -> Vec<View> {
        let number = self.number(pass);
        let view = |&sample: &usize| View { sample, number };
        samples.iter().map(view).collect()
    }
}

/// Where a step's frozen values come from. Any number of trials may read from it at once.
pub struct Features {
    source: Source,
    versions: Versions,
}

enum Source {
    /// The model's input: made from the samples at each step.
    Input,
    /// Outputs of the frozen layers: those of some views are kept, the others computed.
    Frozen { kept: Option<Kept>, live: Live },
}

/// Values computed once.
pub(super) struct Kept {
    pub store: FeatureStore,
    /// Row of each view in the store.
    pub rows: Arc<HashMap<View, usize>>,
}

impl Kept {
    /// The rows of `views`, if all are kept.
    fn rows(&self, views: &[View]) -> Option<Vec<usize>> {
        views.iter().map(|v| self.rows.get(v).copied()).collect()
    }

    /// Reads rows into the first rows of buffers.
    fn read(&self, rows: &[usize], buffers: &[Buffer]) -> Result<(), TrainingError> {
        for (value, buffer) in buffers.iter().enumerate() {
            let mut target = buffer.as_f32_mut()?;
            let len = self.store.row_lens().get(value).copied().unwrap_or(0);
            let count = target.len().min(rows.len() * len);
            self.store.gather(value, rows, &mut target[..count])?;
        }
        Ok(())
    }

    /// Keeps the first rows of buffers as those of `views`.
    pub fn write(&mut self, views: &[View], buffers: &[Buffer]) -> Result<(), TrainingError> {
        for (value, buffer) in buffers.iter().enumerate() {
            let len = self.store.row_lens().get(value).copied().unwrap_or(0);
            let data = buffer.as_f32()?;
            for (view, row) in views.iter().zip(data.chunks_exact(len.max(1))) {
                if let Some(&at) = self.rows.get(view) {
                    self.store.write(value, at, row)?;
                }
            }
        }
        Ok(())
    }
}

impl Features {
    /// Those that are the model's input.
    pub(super) fn input(versions: Versions) -> Self {
        Features {
            source: Source::Input,
            versions,
        }
    }

    /// Those that are outputs of frozen layers.
    pub(super) fn frozen(kept: Option<Kept>, live: Live, versions: Versions) -> Self {
        Features {
            source: Source::Frozen { kept, live },
            versions,
        }
    }

    /// Whether some views' values are kept.
    pub fn is_kept(&self) -> bool {
        self.store().is_some()
    }

    /// What is kept.
    pub(super) fn store(&self) -> Option<&FeatureStore> {
        match &self.source {
            Source::Frozen {
                kept: Some(kept), ..
            } => Some(&kept.store),
            _ => None,
        }
    }

    /// Writes the values for `samples` into a program's feature buffers, which are for as many.
    ///
    /// # Errors
    /// When the buffers do not fit or the runtime fails.
    pub(super) fn gather(
        &self,
        lab: &Lab<'_>,
        samples: &[usize],
        buffers: &[Buffer],
        pass: Pass,
    ) -> Result<(), TrainingError> {
        self.gather_mixed(lab, samples, buffers, (pass, None))
    }

    /// As [`gather`](Self::gather), of samples that are mixed: frozen layers are computed of these.
    pub(super) fn gather_mixed(
        &self,
        lab: &Lab<'_>,
        samples: &[usize],
        buffers: &[Buffer],
        (pass, mixing): (Pass, Option<&Mixing>),
    ) -> Result<(), TrainingError> {
        let views = self.versions.views(samples, pass);
        let augmenter = &self.versions.augmenter;
        match &self.source {
            Source::Input => {
                if let [input] = buffers {
                    let mut values = input.as_f32_mut()?;
                    lab.write_views(&views, augmenter, &mut values)?;
                    mixing.inspect(|mixing| mixing.apply(&mut values));
                }
                Ok(())
            }
            Source::Frozen { kept, live } => {
                let kept = kept.as_ref().filter(|_| mixing.is_none());
                let found = kept.and_then(|k| Some((k, k.rows(&views)?)));
                match found {
                    Some((kept, rows)) => kept.read(&rows, buffers),
                    None => live.compute(lab, &views, (augmenter, mixing), buffers),
                }
            }
        }
    }

    /// Says that the values for `samples` are gathered soon, so that the system reads what of them is in
    /// files meanwhile.
    pub(super) fn expect(&self, lab: &Lab<'_>, samples: &[usize], pass: Pass) {
        let views = self.versions.views(samples, pass);
        let kept = match &self.source {
            Source::Frozen { kept, .. } => kept.as_ref(),
            Source::Input => None,
        };
        match kept.and_then(|kept| Some((kept, kept.rows(&views)?))) {
            Some((kept, rows)) => kept.store.expect(&rows),
            None => lab.dataset.expect(samples),
        }
    }

    /// Writes the kept values of `views` into the first rows of buffers.
    pub(super) fn gather_kept(
        &self,
        views: &[View],
        buffers: &[Buffer],
    ) -> Result<(), TrainingError> {
        let found = match &self.source {
            Source::Frozen {
                kept: Some(kept), ..
            } => kept.rows(views).map(|rows| (kept, rows)),
            _ => None,
        };
        match found {
            Some((kept, rows)) => kept.read(&rows, buffers),
            None => Err(TrainingError::Mismatch(
                "values are asked for that were not kept".into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(augment: Augment, views: Option<usize>) -> Vec<Option<u64>> {
        let versions = Versions {
            augmenter: Augmenter { augment, seed: 1 },
            views: views.and_then(NonZeroUsize::new),
            mixed: false,
        };
        (1..=5)
            .map(|epoch| versions.number(Pass::Train { epoch }))
            .chain([versions.number(Pass::Plain)])
            .collect()
    }

    #[test]
    fn epochs_have_versions_of_their_own_or_take_some_in_turn() {
        let some = |list: [u64; 5]| {
            let mut numbers = list.map(Some).to_vec();
            numbers.push(None);
            numbers
        };
        assert_eq!(numbers(Augment::Flip, None), some([0, 1, 2, 3, 4]));
        assert_eq!(numbers(Augment::Flip, Some(2)), some([0, 1, 0, 1, 0]));
        assert_eq!(numbers(Augment::None, Some(2)), [None; 6]);
    }
}
