//! Which preprocessing a model was trained with, found by trying each on some images.
//!
//! Normalisation layers store mean and variance of what they saw in training. Under the preprocessing of the training the
//! first of them see about the same again in other photos; under another they do not, by far. How sure the classifier is
//! tells less (one that is fed too large numbers is surest) and decides nothing.

mod statistics;

use std::fmt::Write;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::data::Preprocess;
use crate::onnx::Model;
use crate::runtime::{Device, Runtime};

use super::{ClassifierError, Fill, Inference};
use statistics::{Distance, Statistics};

/// Of these, images that are classified.
const CLASSIFIED: usize = 8;
/// How many times farther than the best way of scaling the next one has to be, for the best to be taken where it is
/// [`NEAR`], and where it is at most [`FARTHEST`]. These numbers and those below: `docs/preprocess.md`.
const SCALE_MARGIN: [f64; 2] = [1.5, 2.5];
/// How many times farther the preset's own order of colours has to be than the other, for that to be taken: where all
/// colours are scaled alike, and where each has a mean of its own, without which they differ little.
const ORDER_MARGIN: [f64; 2] = [1.2, 1.6];
/// How many times farther than what a channel stores itself has to be what others store.
const CHANNEL_MARGIN: f64 = 1.5;
/// With fewer images what is seen differs so much from what is stored that the best has to be [`NEAR`], and the next one
/// farther by [`FEW_MARGIN`].
const SCALE_IMAGES: usize = 8;
/// From how many images on, how many times farther: a tenth more than a wrong way of scaling was ever nearer than the right one.
const FEW_MARGIN: [(usize, f64); 3] = [(4, 2.75), (2, 5.25), (1, 7.5)];
/// As [`SCALE_IMAGES`], of the order of colours.
const ORDER_IMAGES: usize = 32;
/// Photos like those that a model was trained on are as near as this.
const NEAR: f64 = 0.3;
/// A preprocessing that is farther from what a model stores is not taken.
const FARTHEST: f64 = 1.0;

/// Images of a model's size that can be written as its input by any preprocessing.
pub struct Pictures<'a> {
    /// How many.
    pub count: usize,
    /// Writes those of a range, one after the other.
    pub write: &'a mut WritePictures<'a>,
}

impl Pictures<'_> {
    /// More are not needed.
    pub const MOST: usize = 32;
    /// So many tell mostly, where a model stores statistics.
    pub const TELLING: usize = SCALE_IMAGES;
}

/// See [`Pictures::write`].
pub type WritePictures<'a> =
    dyn FnMut(&Preprocess, Range<usize>, &mut [f32]) -> Result<(), ClassifierError> + 'a;

/// What some images say of each way of scaling pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Witness {
    /// How many images were looked at.
    pub images: usize,
    /// How many normalisation layers, the first that store statistics.
    pub layers: usize,
    /// What they say, by its name; `None` where they do not tell.
    pub found: Option<String>,
    /// Each preset, in both orders of colours, the nearest first.
    pub candidates: Vec<Weighed>,
}

/// What speaks for a way of scaling pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weighed {
    /// Its name.
    pub preprocess: String,
    /// How far what the normalisation layers see is from what they store: 0 where it is the same. `None` where there
    /// are no such layers, or numbers that are not finite.
    pub distance: Option<f64>,
    /// The mean of the highest class probability; `None` where it was not looked at, or the model has no class scores.
    pub confidence: Option<f64>,
}

/// What is to be looked at.
pub(super) struct Subject<'a> {
    pub runtime: &'a Runtime,
    pub model: &'a Model,
    /// Dimensions of one sample at the model's input.
    pub sample: &'a [usize],
    /// 0 for one per core.
    pub threads: usize,
    /// Whether it has colours.
    pub colours: bool,
    /// Whether it has class scores.
    pub classifies: bool,
}

impl Subject<'_> {
    /// How far what the first normalisation layers see of `count` samples, which `fill` writes, is from what they store;
    /// `None` where there are no such layers, or it is not finite.
    ///
    /// # Errors
    /// When `fill` fails.
    pub(super) fn apart(
        &self,
        count: usize,
        fill: &mut Fill<'_>,
    ) -> Result<Option<f64>, ClassifierError> {
        let Some(mut statistics) =
            Statistics::of(self.runtime, self.model, self.sample, self.threads)
        else {
            return Ok(None);
        };
        let distance = statistics.distance(statistics.images(count), fill)?.own;
        Ok(distance.is_finite().then_some(distance))
    }

    /// Tries the presets, or of one of them both orders of colours. Gives what they say, and the preprocessing that is
    /// found, if one is.
    ///
    /// # Errors
    /// When the pictures cannot be written.
    pub(super) fn weigh(
        &self,
        known: Option<&Preprocess>,
        pictures: &mut Pictures<'_>,
    ) -> Result<(Witness, Option<Preprocess>), ClassifierError> {
        let presets = Preprocess::PRESETS.iter().filter_map(|p| p.parse().ok());
        let scales: Vec<Preprocess> = match known {
            Some(known) => vec![known.clone()],
            None => presets.collect(),
        };
        let mut tried: Vec<Tried> = Vec::new();
        for (scale, preprocess) in scales.iter().enumerate() {
            tried.push(Tried::new(scale, preprocess.clone()));
            if self.colours {
                tried.push(Tried::new(scale, preprocess.swapped()));
            }
        }
        let mut statistics = Statistics::of(self.runtime, self.model, self.sample, self.threads);
        let images = statistics
            .as_ref()
            .map_or(pictures.count, |s| s.images(pictures.count));
        if let Some(statistics) = &mut statistics {
            for one in &mut tried {
                let fill = &mut |range: Range<usize>, out: &mut [f32]| {
                    (pictures.write)(&one.preprocess, range, out)
                };
                one.distance = statistics.distance(images, fill)?;
            }
        }
        let found = match known {
            Some(_) => order(&tried, 0, images),
            None => scale(&tried, images).and_then(|s| order(&tried, s, images)),
        };
        let found = found.map(|i| tried[i].preprocess.clone());
        if self.classifies && known.is_none() {
            self.classify(&mut tried, found.as_ref(), pictures);
        }
        tried.sort_by(|a, b| a.distance.own.total_cmp(&b.distance.own));
        let witness = Witness {
            images,
            layers: statistics.as_ref().map_or(0, Statistics::layers),
            found: found.as_ref().map(ToString::to_string),
            candidates: tried.iter().map(Tried::weighed).collect(),
        };
        Ok((witness, found))
    }

    /// Sees how sure the classifier is, with each preset as it is usual. That it cannot be run is told when it is.
    fn classify(
        &self,
        tried: &mut [Tried],
        found: Option<&Preprocess>,
        pictures: &mut Pictures<'_>,
    ) {
        let loaded = Inference::new(self.runtime, self.model, Device::Cpu, self.threads);
        let Ok(mut inference) = loaded else { return };
        let count = pictures.count.min(CLASSIFIED);
        for one in tried {
            if one.is_swapped() && found != Some(&one.preprocess) {
                continue;
            }
            let fill = &mut |range: Range<usize>, out: &mut [f32]| {
                (pictures.write)(&one.preprocess, range, out)
            };
            let Ok(outputs) = inference.run(self.sample, count, fill) else {
                return;
            };
            let highest = |row: Vec<f64>| row.into_iter().fold(0.0, f64::max);
            let mean = outputs.probabilities().map(highest).sum::<f64>() / count.max(1) as f64;
            one.confidence = mean.is_finite().then_some(mean);
        }
    }
}

/// A way of scaling pixels.
struct Tried {
    /// Which it is, in whichever order of colours.
    scale: usize,
    preprocess: Preprocess,
    distance: Distance,
    confidence: Option<f64>,
}

impl Tried {
    fn new(scale: usize, preprocess: Preprocess) -> Self {
        Tried {
            scale,
            preprocess,
            distance: Distance::UNKNOWN,
            confidence: None,
        }
    }

    /// Whether the order of colours is not the preset's.
    fn is_swapped(&self) -> bool {
        let name = self.preprocess.to_string();
        !Preprocess::PRESETS.contains(&name.as_str())
    }

    fn weighed(&self) -> Weighed {
        Weighed {
            preprocess: self.preprocess.to_string(),
            distance: self.distance.own.is_finite().then_some(self.distance.own),
            confidence: self.confidence,
        }
    }
}

/// The scale that is nearest by far, in whichever order, where each channel is nearer to what it stores itself than to
/// what others do: else the numbers are nobody's statistics.
fn scale(tried: &[Tried], images: usize) -> Option<usize> {
    let nearest = |one: &&Tried, other: &&Tried| one.distance.own.total_cmp(&other.distance.own);
    let best = tried.iter().min_by(nearest)?;
    let next = tried.iter().filter(|one| one.scale != best.scale);
    let next = next.min_by(nearest)?.distance.own;
    let Distance { own, others } = best.distance;
    let [near, far] = SCALE_MARGIN;
    let margin = match own <= NEAR {
        true if images >= SCALE_IMAGES => near,
        true => FEW_MARGIN.iter().find(|(from, _)| images >= *from)?.1,
        false if images >= SCALE_IMAGES => far,
        false => return None,
    };
    let is_clear = own <= FARTHEST && next >= margin * own && others >= CHANNEL_MARGIN * own;
    is_clear.then_some(best.scale)
}

/// Which of a scale: with the colours in the preset's own order, unless the other is clearly nearer. `None` where nothing
/// is known of either.
fn order(tried: &[Tried], scale: usize, images: usize) -> Option<usize> {
    let mut of_scale = (0..tried.len()).filter(|&i| tried[i].scale == scale);
    let own = of_scale.next()?;
    let distance = |i: usize| tried[i].distance.own;
    let [red, green, blue] = tried[own].preprocess.mean;
    let [alike, apart] = ORDER_MARGIN;
    let margin = match red == green && green == blue {
        true => alike,
        false => apart,
    };
    let nearer =
        |&other: &usize| images >= ORDER_IMAGES && distance(own) >= margin * distance(other);
    let found = of_scale.next().filter(nearer).unwrap_or(own);
    distance(found).is_finite().then_some(found)
}

impl Witness {
    /// Why nothing is found: a clause.
    pub(super) fn doubt(&self) -> String {
        let of_layers = format!(
            "the statistics that its first {} store",
            layers(self.layers)
        );
        match self.candidates.first() {
            _ if self.layers == 0 => {
                "it has no normalisation layer that stores statistics".to_owned()
            }
            _ if self.is_of_few() => format!(
                "they are fewer than {SCALE_IMAGES}, and {of_layers} fit none by far better than others"
            ),
            Some(Weighed {
                preprocess,
                distance: Some(nearest),
                ..
            }) if *nearest <= FARTHEST => {
                format!(
                    "{of_layers} fit {preprocess} not clearly better than others, or other channels as well as \
                     their own"
                )
            }
            _ => format!("{of_layers} fit none of the presets"),
        }
    }

    /// Whether more images could tell.
    pub(super) fn is_of_few(&self) -> bool {
        self.layers > 0 && self.images < SCALE_IMAGES
    }

    /// The scores, a line for each that has one.
    pub(super) fn table(&self) -> String {
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.3}"));
        let mut text = format!("\n  {:<14}{:>9}{:>12}", "", "distance", "confidence");
        let has_one = |w: &&Weighed| w.distance.is_some() || w.confidence.is_some();
        for one in self.candidates.iter().filter(has_one) {
            let (name, distance) = (&one.preprocess, number(one.distance));
            let confidence = number(one.confidence);
            // Writing to a text does not fail.
            let _ = write!(text, "\n  {name:<14}{distance:>9}{confidence:>12}");
        }
        text
    }
}

/// `4 normalisation layers`.
pub(super) fn layers(count: usize) -> String {
    match count {
        1 => "normalisation layer".to_owned(),
        n => format!("{n} normalisation layers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each preset in both orders of colours, at these distances; what other channels store is far.
    fn tried(distances: [[f64; 2]; 5]) -> Vec<Tried> {
        let presets = Preprocess::PRESETS.iter().zip(distances).enumerate();
        let both = presets.flat_map(|(scale, (name, distances))| {
            let preset: Preprocess = name.parse().unwrap();
            let orders = [preset.clone(), preset.swapped()].into_iter();
            orders.zip(distances).map(move |(preprocess, own)| Tried {
                distance: Distance { own, others: 5.0 },
                ..Tried::new(scale, preprocess)
            })
        });
        both.collect()
    }

    fn found(tried: &[Tried], images: usize) -> Option<String> {
        let found = scale(tried, images).and_then(|scale| order(tried, scale, images))?;
        Some(tried[found].preprocess.to_string())
    }

    #[test]
    fn the_nearest_by_far_is_found_and_else_nothing() {
        let near = |own: f64, swapped: f64, next: f64| {
            let far = [9.0, 9.0];
            tried([far, [own, swapped], [next, 9.0], far, far])
        };
        for (tried, images, name) in [
            (near(0.1, 0.13, 0.3), 32, Some("signed")),
            // The other order has to be clearly nearer, and images have to be many.
            (near(0.1, 0.09, 0.3), 32, Some("signed")),
            (near(0.1, 0.08, 0.3), 32, Some("signed-bgr")),
            (near(0.1, 0.08, 0.3), 31, Some("signed")),
            (near(0.1, 0.13, 0.14), 32, None),
            // Fewer images have to be clearer, the fewer the more, and near.
            (near(0.1, 0.13, 0.27), 7, None),
            (near(0.1, 0.13, 0.28), 4, Some("signed")),
            (near(0.1, 0.13, 0.5), 3, None),
            (near(0.1, 0.13, 0.6), 2, Some("signed")),
            (near(0.1, 0.13, 0.7), 1, None),
            (near(0.1, 0.13, 0.8), 1, Some("signed")),
            (near(0.4, 0.6, 9.0), 7, None),
            // What is farther has to be clearer.
            (near(0.5, 0.6, 1.0), 32, None),
            (near(0.5, 0.6, 1.3), 32, Some("signed")),
            (near(1.1, 1.2, 9.0), 32, None),
        ] {
            assert_eq!(found(&tried, images).as_deref(), name);
        }
        // Colours that are brought to the same mean tell less of their order.
        for (swapped, name) in [(0.07, "imagenet"), (0.06, "imagenet-bgr")] {
            let far = [9.0, 9.0];
            let tried = tried([far, [0.5, 0.5], [0.1, swapped], far, far]);
            assert_eq!(found(&tried, 32).as_deref(), Some(name));
        }
        // What fits any channel as well is no statistic of one.
        let mut nobodys = near(0.1, 0.13, 0.3);
        nobodys[2].distance.others = 0.12;
        assert_eq!(found(&nobodys, 32), None);
        let unknown = tried([[f64::INFINITY; 2]; 5]);
        assert_eq!(found(&unknown, 32), None);
    }
}
