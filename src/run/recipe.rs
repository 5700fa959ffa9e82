//! Whole recipes: settings that go together.

use std::fmt;
use std::str::FromStr;

use crate::data::Augment;
use crate::surgery::HeadKind;
use crate::training::{Cosine, HeadInit, Monitor, Optimizer, OptimizerKind, Plateau, Schedule};

use super::{SearchMethod, Settings};

/// Settings that go together, by a name. What a recipe does not speak of is as by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// The block-wise paper's to the letter, as far as it says: its head with drawn weights, Adam, the rate
    /// falling on a plateau of the validation accuracy, batches of 4, 50 epochs, one rate for all, every candidate
    /// searched, winners not trained on the search part. The learning rate is not in the paper: 1e-4.
    Paper,
    /// A solved linear head, then few epochs by a falling rate.
    Fast,
    /// The same for twice as long, with mirrored images.
    Best,
}

impl Recipe {
    /// All of them.
    pub const ALL: [Recipe; 3] = [Recipe::Paper, Recipe::Fast, Recipe::Best];

    /// The settings.
    pub fn settings(self) -> Settings {
        let default = Settings::default();
        match self {
            Recipe::Paper => {
                let mut paper = default
                    .search(Some(SearchMethod::Exhaustive))
                    .head(HeadKind::Paper)
                    .head_init(HeadInit::Random)
                    .optimizer(Optimizer::new(OptimizerKind::Adam))
                    .schedule(Schedule::Plateau(Plateau::default()))
                    .monitor(Some(Monitor::Accuracy))
                    .batch_size(4)
                    .epochs(50)
                    .search_epochs(50);
                paper.split.search_apart = true;
                paper
            }
            Recipe::Fast => default
                .head(HeadKind::Linear)
                .head_init(HeadInit::Solved)
                .optimizer(Optimizer {
                    learning_rate: 3e-4,
                    weight_decay: 0.01,
                    ..Optimizer::new(OptimizerKind::Adamw)
                })
                .schedule(Schedule::Cosine(Cosine { floor: 0.0 }))
                .warmup(0.5)
                .rank_by(Some(Monitor::Loss))
                .rank_samples(1000)
                .batch_size(16)
                .epochs(6)
                .search_epochs(3),
            Recipe::Best => Recipe::Fast.settings().augment(Augment::Flip).epochs(12),
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Recipe::Paper => "paper",
            Recipe::Fast => "fast",
            Recipe::Best => "best",
        })
    }
}

impl FromStr for Recipe {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = Self::ALL
            .into_iter()
            .find(|recipe| recipe.to_string() == name);
        named.ok_or_else(|| format!("`{name}` is none of paper, fast, best"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_are_known_by_name_and_hold() {
        for recipe in Recipe::ALL {
            assert_eq!(recipe.to_string().parse(), Ok(recipe));
            recipe.settings().validate().unwrap();
        }
        assert!("cake".parse::<Recipe>().is_err());
        let paper = Recipe::Paper.settings();
        assert_eq!((paper.batch_size, paper.epochs), (4, 50));
        assert_eq!(paper.head_factor(), 1.0);
    }
}
