//! Whole recipes: settings that go together.

use std::fmt;
use std::str::FromStr;

use crate::choice::Choice;
use crate::data::{Augment, Resize};
use crate::strategy::StrategyName;
use crate::surgery::HeadKind;
use crate::training::{HeadInit, Monitor, Optimizer, OptimizerKind, Plateau, Schedule};

use super::{SearchMethod, Settings};

/// Settings that go together, by a name. What a recipe does not speak of is as by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// The block-wise paper's to the letter, as far as it says: its head with drawn weights, Adam, the rate
    /// falling on a plateau of the validation accuracy, batches of 4, 50 epochs, one rate for all, every candidate
    /// searched, winners not trained on the search part. The learning rate is not in the paper: 1e-4.
    Paper,
    /// What is taken where nothing is asked for, [`Settings::default`]: a solved linear head, then few epochs by a
    /// falling rate. The last blocks are trained before anything is searched, and a search takes no longer than the
    /// training of what it finds.
    Fast,
    /// The same for longer: 12 epochs, the most that the default comes to, and a search that takes as long as it wants.
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
                    .strategies(vec![
                        StrategyName::HEAD,
                        StrategyName::FULL,
                        StrategyName::BLOCKS,
                    ])
                    .search(Some(SearchMethod::Exhaustive))
                    .budget(None)
                    .head(HeadKind::Paper)
                    .head_init(HeadInit::Random)
                    .resize(Some(Resize::SQUASH))
                    .augment(Choice::Given(Augment::None))
                    .optimizer(Optimizer {
                        learning_rate: Choice::Given(1e-4),
                        ..Optimizer::new(OptimizerKind::Adam)
                    })
                    .schedule(Schedule::Plateau(Plateau::default()))
                    .warmup(0.0)
                    .monitor(Some(Monitor::Accuracy))
                    .rank_by(Some(Monitor::Accuracy))
                    .rank_samples(0)
                    .early_stopping(Choice::Given(None))
                    .batch_size(4)
                    .epochs(50)
                    .search_epochs(50);
                paper.split.search_fraction = Choice::Given(0.1);
                paper.split.search_apart = true;
                paper
            }
            Recipe::Fast => default,
            Recipe::Best => Recipe::Fast.settings().epochs(12).budget(None),
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
        assert_eq!((paper.batch_size, paper.epochs), (4, 50.into()));
        assert_eq!(paper.head_factor(), 1.0);
    }
}
