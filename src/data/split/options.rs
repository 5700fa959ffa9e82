//! How the parts of a data set are made: which share of it each has.

use super::super::{DataError, Part};
use super::Fold;
use crate::choice::Choice;

/// The part of the search share on which candidates are trained; the paper's 7 % of 10 %.
const SEARCH_TRAIN_FRACTION: f64 = 0.7;
/// Samples that a search whose share is to be found trains candidates on, and of each class.
const ENOUGH: usize = 700;
const ENOUGH_PER_CLASS: usize = 20;
/// The share that then validates.
const VALIDATION_FRACTION: f64 = 0.1;
/// Fractions given in decimal may add up to a little more than 1.
const EPSILON: f64 = 1e-9;

/// How to make a [`Split`](super::Split).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct SplitOptions {
    /// The share of the samples that the search has, 0 to 1: candidates are trained on 70 % of it. See
    /// [`SplitOptions::resolved`].
    pub search_fraction: Choice<f64>,
    /// The share of the samples the winners are trained on, 0 to 1.
    pub train_fraction: f64,
    /// The share of the samples by which candidates and epochs are chosen, 0 to 1. `None` for as
    /// much as `search_fraction` (with `search_apart`: the 30 % of it that are left).
    pub validation_fraction: Option<f64>,
    /// Whether the winners are not trained on what the candidates were trained on, so that
    /// `train_fraction` comes on top of it: the protocol of the block-wise paper.
    pub search_apart: bool,
    /// Decides which samples go where.
    pub seed: u64,
    /// Whether to draw at random; if not, each list takes the first samples of each class that
    /// the lists before it left, and keeps their order.
    pub shuffle: bool,
    /// Parts of the data that are given besides that which is trained on, and not to be made: what is trained on
    /// has their shares, too. The data decide; see [`Given::beside`](super::Given::beside).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub given_parts: Vec<Part>,
    /// The fold that is held out, in place of a share; `None` for that share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold: Option<Fold>,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self {
            search_fraction: Choice::Auto,
            train_fraction: 0.7,
            validation_fraction: None,
            search_apart: false,
            seed: 0,
            shuffle: true,
            given_parts: Vec::new(),
            fold: None,
        }
    }
}

impl SplitOptions {
    /// Whether there is a search part.
    pub fn searches(&self) -> bool {
        self.gives(Part::Search) || self.search_fraction != Choice::Given(0.0)
    }

    /// Whether there is a validation part.
    pub fn validates(&self) -> bool {
        let share = self.validation_fraction;
        self.gives(Part::Validation) || share.map_or_else(|| self.searches(), |share| share > 0.0)
    }

    /// Whether a part is given by the data.
    pub fn gives(&self, part: Part) -> bool {
        self.given_parts.contains(&part)
    }

    /// The share of the samples that candidates are trained on; 0 where that of the search is to be found. Of data
    /// whose parts are given, of those that are trained on.
    pub fn searched_fraction(&self) -> f64 {
        SEARCH_TRAIN_FRACTION * self.search_fraction.or(0.0)
    }

    /// The share of the samples that winners are trained on. Of data whose parts are given, of those that are
    /// trained on: `train_fraction` and the shares that the given parts would have.
    pub fn winners_fraction(&self) -> f64 {
        if self.given_parts.is_empty() {
            return self.train_fraction;
        }
        let [search, _, train, _] = Shares::of(self).map_or([0.0; 4], |shares| shares.of);
        match self.search_apart {
            true => train,
            false => search + train,
        }
    }

    /// These, with a number for the share of the search of a data set of so many samples and classes (samples to
    /// train on, where parts are given).
    ///
    /// [`Choice::Auto`] is a share of which candidates are trained on 700 samples, and on 20 of each class, as far
    /// as that leaves the winners twice as many (of samples of their own, and as much again held out, where the
    /// search is apart); a tenth of the data then validates where nothing else is said.
    #[must_use]
    pub fn resolved(&self, samples: usize, classes: usize) -> Self {
        if self.search_fraction != Choice::Auto {
            return self.clone();
        }
        let wanted = ENOUGH.max(ENOUGH_PER_CLASS.saturating_mul(classes));
        let share = wanted as f64 / (SEARCH_TRAIN_FRACTION * samples.max(1) as f64);
        let left = (1.0 - self.train_fraction).max(0.0);
        let validation = match self.search_apart {
            true => None,
            false => Some(VALIDATION_FRACTION.min(left)),
        };
        let validation = self.validation_fraction.or(validation);
        let validates = validation.unwrap_or(0.0);
        let mut winners = self.train_fraction;
        for (part, share) in [
            (Part::Validation, validates),
            (Part::HeldOut, left - validates),
        ] {
            winners += if self.gives(part) {
                share.max(0.0)
            } else {
                0.0
            };
        }
        let most = match self.search_apart {
            true => left / 2.0,
            false => winners / (2.0 * SEARCH_TRAIN_FRACTION),
        };
        // In hundredths, for people; what is no more than rounding above one is that one.
        let share = (100.0 * share.min(most) - 1e-9).ceil() / 100.0;
        SplitOptions {
            search_fraction: Choice::Given(share.clamp(0.0, 1.0)),
            validation_fraction: validation,
            ..self.clone()
        }
    }
}

/// What belongs to each of the four lists, in the order in which they take samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shares {
    /// Shares of the whole: search, validation, train, held out.
    pub of: [f64; 4],
    /// Whether every class must have a sample in the list.
    pub asked: [bool; 4],
}

impl Shares {
    pub fn of(options: &SplitOptions) -> Result<Self, DataError> {
        let SplitOptions {
            search_fraction,
            train_fraction,
            validation_fraction,
            search_apart,
            ..
        } = *options;
        let search_fraction = search_fraction.or(0.0);
        for (option, fraction) in [
            ("search_fraction", Some(search_fraction)),
            ("train_fraction", Some(train_fraction)),
            ("validation_fraction", validation_fraction),
        ] {
            if let Some(fraction) = fraction.filter(|f| !(0.0..=1.0).contains(f)) {
                let reason = "expected a number from 0 to 1";
                return Err(DataError::option(option, fraction, reason));
            }
        }
        let search = SEARCH_TRAIN_FRACTION * search_fraction;
        let train = match search_apart {
            true => train_fraction,
            false => (train_fraction - search).max(0.0),
        };
        let both = search_fraction + train_fraction;
        let validation = validation_fraction.unwrap_or(both - search - train);
        let mut held_out = 1.0 - search - train - validation;
        if held_out < -EPSILON {
            let (option, sum) = match validation_fraction {
                None => ("search_fraction + train_fraction", both),
                Some(_) => (
                    "the fractions of training and validation",
                    search + train + validation,
                ),
            };
            return Err(DataError::option(option, sum, "together they exceed 1"));
        }
        // What is given is not made of what is trained on.
        let (mut search, mut validation, mut train) = (search, validation, train);
        for (part, share) in [
            (Part::Search, &mut search),
            (Part::Validation, &mut validation),
            (Part::HeldOut, &mut held_out),
        ] {
            if options.gives(part) {
                train += std::mem::take(share).max(0.0);
            }
        }
        let of = [search, validation, train, held_out]
            .map(|share| if share < EPSILON { 0.0 } else { share });
        let mut asked = of.map(|share| share > 0.0);
        asked[2] &= search_apart || !asked[0];
        Ok(Shares { of, asked })
    }

    /// How many samples a class must have: one for each list that is asked for.
    pub fn needed(&self) -> usize {
        self.asked.iter().filter(|&&asked| asked).count().max(1)
    }
}
