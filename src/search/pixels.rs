//! How photos come to the input's size, and how they are changed while they are trained on, where nobody says it.

use crate::choice::Choice;
use crate::classifier::ModelInput;
use crate::data::{Augment, Dataset, Resize, Split};
use crate::run::Settings;
use crate::surgery::{HeadKind, HeadSpec, graft};
use crate::training::{Looks, Observer, Solving, TrainingError};

use super::SearchError;
use super::opened::Opened;
use super::watch::{Doing, Watcher, go_on};

/// Images of the training part that are looked at in each way, at most.
const LOOKED_AT: usize = 384;
/// Fewer than these tell nothing: images are resized as their shape suggests, and not changed.
const FEWEST: usize = 20;
/// Mirrored images may have so much more loss than the images themselves, as a share of it, and are still taken for
/// images of the same class: of photos of flowers it is 0.03 at most, of digits 3 (`docs/recipe.md`, "Images that are
/// changed while training"). A loss below [`LITTLE`] counts as that.
const AS_WELL: f64 = 0.1;
const LITTLE: f64 = 0.1;

/// What of the pixels is to be found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub resize: bool,
    pub augment: bool,
}

impl Wanted {
    /// What is open of images that a new head is to stand on; of a model that keeps its own, nothing.
    pub fn of(input: &ModelInput, settings: &Settings, images: bool) -> Self {
        let judges = images && settings.head != HeadKind::Keep;
        Wanted {
            resize: judges && input.resize_is_open,
            augment: judges && settings.augment == Choice::Auto,
        }
    }

    /// What the data set is opened for.
    pub fn opens(self, settings: &Settings) -> Choice<Augment> {
        match self.augment {
            true => Choice::Auto,
            false => Choice::Given(settings.augment.or(Augment::None)),
        }
    }
}

/// What was found of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pixels {
    pub resize: Resize,
    pub augment: Augment,
}

impl Opened<'_> {
    /// Finds how images come to the input's size and whether they are changed while training, by what linear heads on
    /// the frozen network make of some of the training part: each is solved on a half of them and judged on the other.
    ///
    /// - Images are squashed where all have the input's shape, else the middle is taken, unless the other rule's loss
    ///   is lower by more than its standard error.
    /// - They are cropped and mirrored where the mirrored ones are of their class about as well.
    ///
    /// The data set is open by the middle.
    pub(super) fn find_pixels(&self, wanted: Wanted) -> Result<Pixels, SearchError> {
        let opened_by = self.input.spec.preprocess.resize;
        let mut found = Pixels {
            resize: opened_by,
            augment: self.settings.augment.or(Augment::None),
        };
        if !wanted.resize && !wanted.augment {
            return Ok(found);
        }
        let head = HeadSpec {
            task: self.settings.task(),
            ..HeadSpec::new(HeadKind::Linear, self.classes.len(), 0)
        };
        let grafted = graft(&self.original, self.features.as_ref(), &head)?;
        let split = self.split_of(1)?;
        let samples = Split::spread(&split.retraining(), self.dataset.labels(), LOOKED_AT);
        let fits = self.dataset.have_input_shape(&samples)?;
        if samples.len() < FEWEST {
            if wanted.resize && fits {
                found.resize = Resize::SQUASH;
            }
            return Ok(found);
        }
        let observer = &mut Looking {
            watcher: self.watcher,
        };
        let unchanged = &Settings {
            augment: Augment::None.into(),
            ..self.settings.clone()
        };
        let plain = self.dataset.resized(&samples, opened_by)?;
        let lab = self.lab_on(unchanged, &grafted, &plain)?;
        let look = |dataset: &Dataset, observer: &mut Looking<'_>| -> Result<Looks, SearchError> {
            let lab = self.lab_on(unchanged, &grafted, dataset)?;
            Ok(lab.looks(observer)?)
        };
        let mut looks = lab.looks(observer)?;
        if wanted.resize {
            let dataset = self.dataset.resized(&samples, Resize::SQUASH)?;
            let squashed = look(&dataset, observer)?;
            let losses = |looks: &Looks, observer: &mut Looking<'_>| {
                lab.losses_by_halves(looks, &[looks], observer)
            };
            let (middle, whole) = (losses(&looks, observer)?, losses(&squashed, observer)?);
            let (gain, error) = gain(&middle[0], &whole[0]);
            let squash = if fits { gain > -error } else { gain > error };
            tracing::debug!(
                gain,
                error,
                fits,
                squash,
                "squashed instead of the middle alone"
            );
            if squash {
                found.resize = Resize::SQUASH;
                looks = squashed;
            }
        }
        if wanted.augment && self.dataset.has_photos() {
            let all: Vec<usize> = (0..plain.len()).collect();
            let dataset = match found.resize == opened_by {
                true => plain.mirrored(&all)?,
                false => self
                    .dataset
                    .resized(&samples, found.resize)?
                    .mirrored(&all)?,
            };
            let mirrored = look(&dataset, observer)?;
            let losses = lab.losses_by_halves(&looks, &[&looks, &mirrored], observer)?;
            let (gain, error) = gain(&losses[0], &losses[1]);
            let own = mean(&losses[0]);
            tracing::debug!(gain, error, own, "mirrored instead of as they are");
            if -gain <= AS_WELL * own.max(LITTLE) {
                found.augment = Augment::Standard;
            }
        }
        Ok(found)
    }
}

/// By how much the mean of `other` is below that of `one`, and the standard error of that, by pairs.
fn gain(one: &[f64], other: &[f64]) -> (f64, f64) {
    let gains: Vec<f64> = one.iter().zip(other).map(|(a, b)| a - b).collect();
    let mean = mean(&gains);
    let squares = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>();
    let count = gains.len() as f64;
    (mean, (squares / (count * (count - 1.0).max(1.0))).sqrt())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / (values.len() as f64).max(1.0)
}

/// Tells how far looking has come.
struct Looking<'a> {
    watcher: &'a dyn Watcher,
}

impl Observer for Looking<'_> {
    fn features(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        self.watcher.doing("", Doing::Looking, done, total);
        go_on(self.watcher)
    }

    fn solving(&mut self, _: &Solving) -> Result<(), TrainingError> {
        go_on(self.watcher)
    }
}
