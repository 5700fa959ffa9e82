//! How sure a choice among candidates is: they are compared on the same samples, pair by pair.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::classifier::Predictions;
use crate::random::{Purpose, stream};
use crate::training::Monitor;

use super::ranking::TieBreak;
use super::results::is_zero;

/// What a candidate makes of each sample that ranks it: the content of `trials/ID/ranking.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// The samples' classes.
    pub labels: Vec<i64>,
    /// The cross-entropy of each; `None` where it is not finite.
    pub losses: Vec<Option<f64>>,
    /// The same at the temperature that fits them best ([`Predictions::calibrated_losses`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calibrated: Vec<Option<f64>>,
    /// Whether each is taken for what it is.
    pub right: Vec<bool>,
}

impl Ranking {
    /// What `predictions` say of their samples.
    pub fn of(predictions: &Predictions) -> Self {
        let samples = &predictions.samples;
        let finite = |loss: f64| Some(loss).filter(|loss| loss.is_finite());
        let calibrated = predictions.calibrated_losses();
        Ranking {
            labels: samples.iter().map(|s| s.label).collect(),
            losses: samples.iter().map(|s| finite(-s.log_probability)).collect(),
            calibrated: calibrated.into_iter().map(finite).collect(),
            right: samples.iter().map(|s| s.is_right()).collect(),
        }
    }

    /// How much worse than perfect each sample is, so that the mean over all is how much worse the figure
    /// is: its loss, or 1 where it is wrong (of balanced accuracy, more for samples of a rare class). `None`
    /// of a figure that is no mean over samples.
    fn penalties(&self, by: Monitor) -> Option<Vec<f64>> {
        let wrong = self.right.iter().map(|&right| f64::from(u8::from(!right)));
        let losses = |losses: &[Option<f64>]| -> Vec<f64> {
            let losses = losses.iter().map(|loss| loss.unwrap_or(f64::INFINITY));
            losses.collect()
        };
        match by {
            Monitor::Loss => Some(losses(&self.losses)),
            Monitor::CalibratedLoss => {
                let all = self.calibrated.len() == self.labels.len();
                all.then(|| losses(&self.calibrated))
            }
            Monitor::Accuracy => Some(wrong.collect()),
            Monitor::BalancedAccuracy => {
                let classes = self.classes();
                let mut weights = vec![0.0; self.labels.len()];
                for members in &classes {
                    let weight = self.labels.len() as f64 / (classes.len() * members.len()) as f64;
                    members.iter().for_each(|&sample| weights[sample] = weight);
                }
                Some(wrong.zip(weights).map(|(wrong, w)| wrong * w).collect())
            }
            Monitor::MacroF1 | Monitor::AveragePrecision => None,
        }
    }

    /// The samples of each class that has any.
    fn classes(&self) -> Vec<Vec<usize>> {
        let mut classes = std::collections::BTreeMap::<i64, Vec<usize>>::new();
        for (sample, &label) in self.labels.iter().enumerate() {
            classes.entry(label).or_default().push(sample);
        }
        classes.into_values().collect()
    }
}

/// How sure the choice among the candidates of a strategy is, as far as that depends on which samples
/// ranked them. What another seed would have made of their training it does not tell.
///
/// Source: the paired bootstrap: samples are drawn with replacement, of each class as many as there are,
/// [`Certainty::DRAWS`] times, the same for all candidates, which are then ranked anew. Intervals are those of
/// percentiles (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certainty {
    /// The figure that ranks.
    pub by: Monitor,
    /// Samples on which it was taken.
    pub samples: usize,
    /// Candidates that ended early, and are not compared.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub earlier: usize,
    /// What puts the first before the second, where their figures are equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tie: Option<TieBreak>,
    /// The trial of the candidate that was chosen in place of the first, from which it cannot be told: it trains more
    /// parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
    /// The candidates that are ranked, the best first.
    pub candidates: Vec<Standing>,
}

/// Where a candidate stands among the others of its strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Its trial.
    pub trial: String,
    /// Its label.
    pub candidate: String,
    /// How much worse its figure is than that of the first, 0 or more for accuracies (as shares) and
    /// losses alike. A candidate that is first because equal figures are told apart by others has 0.
    #[serde(with = "crate::classifier::figure")]
    pub behind: f64,
    /// The 95 % confidence interval of that; `None` where a figure is not finite.
    pub interval: Option<[f64; 2]>,
    /// The share of draws in which it is the best; of draws with equal ones its part.
    pub best: f64,
    /// The share of draws in which it is among the best three, counted so.
    pub best_three: f64,
}

impl Standing {
    /// Whether the interval of its difference to the first leaves open which of the two is better.
    pub fn is_open(&self) -> bool {
        self.interval.is_some_and(|[low, _]| low <= 0.0)
    }
}

impl Certainty {
    /// Times that samples are drawn.
    pub const DRAWS: usize = 1000;

    /// Of candidates by trial, label and what they make of the same samples, the best first; `None` where
    /// there are fewer than two, they are of different samples or of none, or the figure is no mean over samples
    /// (macro F1). `earlier`: how many ended before these.
    pub fn of(
        by: Monitor,
        ranked: &[(String, String, Ranking)],
        earlier: usize,
        seed: u64,
    ) -> Option<Self> {
        let (_, _, first) = ranked.first()?;
        let count = first.labels.len();
        let same = |r: &Ranking| r.labels == first.labels && r.losses.len() == count;
        if ranked.len() < 2 || count == 0 || !ranked.iter().all(|(.., r)| same(r)) {
            return None;
        }
        let penalties: Option<Vec<Vec<f64>>> =
            ranked.iter().map(|(.., r)| r.penalties(by)).collect();
        let penalties = penalties?;
        let mean = |times: &[f64]| -> Vec<f64> {
            let of = |p: &Vec<f64>| {
                let products = p.iter().zip(times).filter(|(_, t)| **t > 0.0);
                products.map(|(p, t)| p * t).sum::<f64>() / count as f64
            };
            penalties.iter().map(of).collect()
        };
        let classes = first.classes();
        let mut random = stream(Purpose::Bootstrap, seed, &[]);
        let mut behind = vec![Vec::with_capacity(Self::DRAWS); ranked.len()];
        let mut best = vec![[0f64; 2]; ranked.len()];
        let mut times = vec![0.0; count];
        for _ in 0..Self::DRAWS {
            times.fill(0.0);
            for members in &classes {
                for _ in members {
                    times[members[random.random_range(0..members.len())]] += 1.0;
                }
            }
            let figures = mean(&times);
            for (column, places) in [1, 3].into_iter().enumerate() {
                let parts = parts(&figures, places);
                parts
                    .iter()
                    .zip(&mut best)
                    .for_each(|(part, best)| best[column] += part);
            }
            for (figure, all) in figures.iter().zip(&mut behind) {
                all.push(figure - figures[0]);
            }
        }
        let whole = mean(&vec![1.0; count]);
        let share = |n: f64| n / Self::DRAWS as f64;
        let candidates = ranked.iter().enumerate().map(|(place, (trial, label, _))| {
            let mut differences = std::mem::take(&mut behind[place]);
            differences.sort_by(f64::total_cmp);
            let finite = differences.iter().all(|d| d.is_finite());
            let at = |share: f64| differences[(share * (Self::DRAWS - 1) as f64).round() as usize];
            Standing {
                trial: trial.clone(),
                candidate: label.clone(),
                behind: whole[place] - whole[0],
                interval: finite.then(|| [at(0.025), at(0.975)]),
                best: share(best[place][0]),
                best_three: share(best[place][1]),
            }
        });
        Some(Certainty {
            by,
            samples: count,
            earlier,
            tie: None,
            taken: None,
            candidates: candidates.collect(),
        })
    }

    /// The candidate that was chosen: the first, unless [another](Certainty::taken) was.
    pub fn chosen(&self) -> Option<&Standing> {
        let is_taken = |c: &&Standing| self.taken.as_ref() == Some(&c.trial);
        let taken = self.candidates.iter().find(is_taken);
        taken.or(self.candidates.first())
    }

    /// The candidates behind the first that may as well be better than it.
    pub fn open(&self) -> impl Iterator<Item = &Standing> {
        self.candidates.iter().skip(1).filter(|c| c.is_open())
    }
}

/// The part that each of some figures, of which less is better, has in the first `places` places: 1, 0, or of
/// equal ones that share the last of them as much as all the others.
fn parts(figures: &[f64], places: usize) -> Vec<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(&last) = sorted.get(places.min(sorted.len()).wrapping_sub(1)) else {
        return Vec::new();
    };
    let before = sorted.iter().filter(|f| f.total_cmp(&last).is_lt()).count();
    let equal = sorted.iter().filter(|f| f.total_cmp(&last).is_eq()).count();
    let part = (places.min(sorted.len()) - before) as f64 / equal as f64;
    let of = |figure: &f64| match figure.total_cmp(&last) {
        std::cmp::Ordering::Less => 1.0,
        std::cmp::Ordering::Equal => part,
        std::cmp::Ordering::Greater => 0.0,
    };
    figures.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_figures_share_the_places_that_they_have_together() {
        assert_eq!(parts(&[0.1, 0.3, 0.2], 1), [1.0, 0.0, 0.0]);
        assert_eq!(parts(&[0.2, 0.2, 0.1, 0.2], 1), [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(parts(&[0.2, 0.2], 1), [0.5, 0.5]);
        let third = 2.0 / 3.0;
        assert_eq!(
            parts(&[0.2, 0.2, 0.1, 0.2, 0.9], 3),
            [third, third, 1.0, third, 0.0]
        );
        assert_eq!(parts(&[0.5], 3), [1.0]);
        assert!(parts(&[], 3).is_empty());
    }

    /// 200 samples of two classes, of which those at some places are wrong.
    fn ranking(wrong: impl Fn(usize) -> bool) -> Ranking {
        let right: Vec<bool> = (0..200).map(|i| !wrong(i)).collect();
        let loss = |&right: &bool| Some(if right { 0.1 } else { 2.0 });
        Ranking {
            labels: (0..200).map(|i| i64::from(i % 4 == 0)).collect(),
            losses: right.iter().map(loss).collect(),
            calibrated: Vec::new(),
            right,
        }
    }

    fn certainty(by: Monitor, rankings: &[Ranking]) -> Certainty {
        let named = rankings.iter().enumerate();
        let named = named.map(|(i, r)| (format!("{i}-search"), format!("block{i}"), r.clone()));
        Certainty::of(by, &named.collect::<Vec<_>>(), 0, 7).unwrap()
    }

    #[test]
    fn a_lead_on_many_samples_is_sure_and_one_on_few_is_not() {
        let best = ranking(|i| i % 20 == 0);
        for (by, sure) in [
            (Monitor::Accuracy, 0.25 - 0.05),
            (Monitor::Loss, 1.9 * (0.25 - 0.05)),
        ] {
            let told = certainty(by, &[best.clone(), ranking(|i| i % 4 == 1 || i % 20 == 0)]);
            let [first, second] = &told.candidates[..] else {
                panic!("{told:?}");
            };
            assert_eq!((first.behind, first.interval), (0.0, Some([0.0, 0.0])));
            assert_eq!((first.best, first.best_three), (1.0, 1.0));
            let expected = sure
                + if by == Monitor::Loss {
                    1.9 * 0.05
                } else {
                    0.05
                };
            assert!((second.behind - expected).abs() < 1e-9, "{second:?}");
            assert!(!second.is_open() && told.open().next().is_none());
            // Two samples more: 0.01, give or take some two hundredths.
            let told = certainty(
                by,
                &[best.clone(), ranking(|i| i % 20 == 1 || i == 3 || i == 7)],
            );
            let second = &told.candidates[1];
            assert!(second.is_open(), "{second:?}");
            assert_eq!(told.open().count(), 1);
            assert!(second.best > 0.05 && second.best < 0.5, "{second:?}");
        }
    }

    /// A binomial share's standard deviation is known: √(p (1 − p) / n) in each class.
    #[test]
    fn intervals_are_as_wide_as_samples_are_few() {
        // Class 1 (50 samples): 10 wrong; class 0: none.
        let told = certainty(
            Monitor::Accuracy,
            &[ranking(|_| false), ranking(|i| i % 20 == 0)],
        );
        let [low, high] = told.candidates[1].interval.unwrap();
        let deviation = (0.2f64 * 0.8 / 50.0).sqrt() * 50.0 / 200.0;
        assert!(
            ((high - low) - 2.0 * 1.96 * deviation).abs() < 0.35 * deviation,
            "{low} {high}"
        );
        // Of balanced accuracy that class counts as much as the other.
        let told = certainty(
            Monitor::BalancedAccuracy,
            &[ranking(|_| false), ranking(|i| i % 20 == 0)],
        );
        assert!((told.candidates[1].behind - 0.1).abs() < 1e-9, "{told:?}");
    }

    #[test]
    fn what_cannot_be_compared_has_no_certainty() {
        let one = ("a".to_owned(), "a".to_owned(), ranking(|_| true));
        let mut other = one.clone();
        other.2.labels[0] = 5;
        let of = |ranked: &[_]| Certainty::of(Monitor::Accuracy, ranked, 0, 0);
        assert_eq!(of(&[]), None);
        assert_eq!(of(std::slice::from_ref(&one)), None);
        assert_eq!(of(&[one.clone(), other]), None);
        assert_eq!(
            Certainty::of(Monitor::MacroF1, &[one.clone(), one], 0, 0),
            None
        );
    }

    #[test]
    fn a_loss_that_is_not_finite_is_the_worst_and_is_read_back() {
        let mut broken = ranking(|_| false);
        broken.losses[3] = None;
        let told = certainty(Monitor::Loss, &[ranking(|i| i < 100), broken]);
        let second = &told.candidates[1];
        assert_eq!((second.interval, second.behind), (None, f64::INFINITY));
        assert!(second.best < 0.4, "{second:?}");
        let text = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<Certainty>(&text).unwrap(), told);
    }
}
