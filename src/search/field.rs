//! How many candidates a budget lets a search begin, and how far it lets them go.

use crate::run::{Allowance, PlannedCost};

use super::allowance::JOINS;
use super::cost::Price;

/// The candidates of a search, in the order in which they are begun.
pub(super) struct Field<'a> {
    pub prices: &'a [Price],
    /// A trial of everything: what is joined takes no more.
    pub all: Price,
    /// Epochs of each rung of a whole search.
    pub rungs: &'a [usize],
    /// One in so many goes on; `None` where each is trained [whole](crate::run::SearchMethod::Whole).
    pub rate: Option<usize>,
    /// So many are begun at least (1 or more), even where the budget does not reach.
    pub least: usize,
}

impl Field<'_> {
    /// As many candidates as the budget lets come to the last rung, whichever of them do, and as many rungs as it lets
    /// a few of them go. Of twice a few some are joined before more are begun.
    pub fn allowed(&self, cost: PlannedCost) -> Allowance {
        let fits = |begun, rungs, joins| {
            let most = self.most(begun, rungs, joins).saturating_add(cost.scoring);
            cost.budget.is_none_or(|budget| most <= budget)
        };
        let few = self.rate.unwrap_or(1).min(self.prices.len());
        let least = self.least.min(self.prices.len());
        let mut found = (least, 1, 0);
        'rungs: for rungs in (1..=self.rungs.len()).rev() {
            for joins in (0..=JOINS.min(rungs - 1)).rev() {
                let enough = match (rungs, joins) {
                    (1, _) => least,
                    (_, 0) => few.max(least),
                    _ => (2 * few).min(self.prices.len()).max(least),
                };
                let mut all = (enough..=self.prices.len()).rev();
                if let Some(begun) = all.find(|&begun| fits(begun, rungs, joins)) {
                    found = (begun, rungs, joins);
                    break 'rungs;
                }
            }
        }
        let (begun, rungs, joins) = found;
        let most = self.most(begun, rungs, joins).saturating_add(cost.scoring);
        Allowance {
            begun,
            rungs: self.rungs[..rungs].to_vec(),
            joins,
            cost: Some(PlannedCost { most, ..cost }),
        }
    }

    /// The most that a search takes of the first `begun` candidates on so many rungs, with so many joined.
    fn most(&self, begun: usize, rungs: usize, joins: usize) -> u64 {
        let mut field = self.prices[..begun].to_vec();
        let Some(rate) = self.rate else {
            return self.whole(&field);
        };
        let stage = field.iter().map(|p| p.stage).max().unwrap_or(0);
        let mut sum = 0u64;
        let mut add = |operations: u64| sum = sum.saturating_add(operations);
        // One finds the rate of most.
        add(self.all.rates());
        let own = field.iter().filter(|p| p.finds_rate);
        own.for_each(|p| add(p.rates()));
        let mut before = 0;
        for (rung, &epochs) in self.rungs[..rungs].iter().enumerate() {
            if rung > 0 {
                field.sort_by_key(|p| std::cmp::Reverse(p.trial(epochs - before)));
                field.truncate(field.len().div_ceil(rate));
            }
            field.iter().for_each(|p| add(p.trial(epochs - before)));
            add(stage);
            if (1..=joins).contains(&rung) {
                add(self.all.trial(epochs));
                add(stage);
                field.push(self.all);
            }
            before = epochs;
        }
        sum
    }

    /// What it takes to train each of these candidates as a winner; but for one of them, which is.
    fn whole(&self, field: &[Price]) -> u64 {
        let epochs = self.rungs.last().copied().unwrap_or(0);
        let each = field
            .iter()
            .map(|p| p.trial(epochs).saturating_add(p.rates()));
        let stage = field.iter().map(|p| p.stage).max().unwrap_or(0);
        let all = each.clone().fold(stage, u64::saturating_add);
        all - each.min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn price(epoch: u64) -> Price {
        Price {
            epoch,
            ranking: 1,
            stage: 10,
            rate: 0,
            finds_rate: false,
        }
    }

    fn allowed(budget: Option<u64>) -> Allowance {
        let prices = [
            price(40),
            price(100),
            price(20),
            price(30),
            price(60),
            price(10),
        ];
        let cost = PlannedCost {
            exhaustive: 10_000,
            budget,
            per_second: None,
            scoring: 5,
            most: 0,
        };
        Field {
            prices: &prices,
            all: price(100),
            rungs: &[1, 2, 5],
            rate: Some(3),
            least: 1,
        }
        .allowed(cost)
    }

    #[test]
    fn trained_whole_as_many_are_begun_as_the_budget_allows_besides_the_winner() {
        let prices = [price(40), price(100), price(20)];
        let begun = |budget, least| {
            let cost = PlannedCost {
                exhaustive: 10_000,
                budget: Some(budget),
                per_second: None,
                scoring: 5,
                most: 0,
            };
            let field = Field {
                prices: &prices,
                all: price(100),
                rungs: &[9],
                rate: None,
                least,
            };
            let allowance = field.allowed(cost);
            assert_eq!((allowance.rungs, allowance.joins), (vec![9], 0));
            (allowance.begun, allowance.cost.unwrap().most)
        };
        // Nine epochs and the ranking of each, the frozen layers once; the cheapest may be the winner.
        assert_eq!(begun(u64::MAX, 1), (3, 361 + 901 + 10 + 5));
        assert_eq!(begun(361 + 901 + 15, 1).0, 3);
        assert_eq!(begun(361 + 901 + 14, 1), (2, 901 + 15));
        assert_eq!(begun(901 + 14, 1), (1, 15));
        assert_eq!(begun(0, 2), (2, 901 + 15));
    }

    #[test]
    fn without_a_budget_all_are_begun_and_go_as_far_as_halving_lets_them() {
        let all = allowed(None);
        assert_eq!((all.begun, all.joins), (6, 2));
        assert_eq!(all.rungs, [1, 2, 5]);
        // Six for an epoch, the two dearest for another and one joined for two, one of these three for three more and
        // one joined for five.
        let most =
            (260 + 6 + 10) + (160 + 2 + 10) + (200 + 1 + 10) + (300 + 1 + 10) + (500 + 1 + 10);
        assert_eq!(all.cost.unwrap().most, most + 5);
    }

    #[test]
    fn a_smaller_budget_begins_fewer_and_trains_them_for_less_and_is_held() {
        let mut last = allowed(None);
        for budget in (0..1600).rev() {
            let now = allowed(Some(budget));
            let most = now.cost.unwrap().most;
            match now.begun {
                1 if now.rungs.len() == 1 => {}
                _ => assert!(most <= budget, "{budget}: {now:?}"),
            }
            assert!(now.rungs.len() <= last.rungs.len(), "{budget}: {now:?}");
            let is_less = now.rungs.len() < last.rungs.len() || now.joins < last.joins;
            assert!(is_less || now.begun <= last.begun, "{budget}: {now:?}");
            assert!(now.rungs.len() == 1 || now.begun >= 3, "{budget}: {now:?}");
            last = now;
        }
        assert_eq!((last.begun, last.rungs.len(), last.joins), (1, 1, 0));
        assert!(last.cost.unwrap().most > 0, "one is tried nevertheless");
    }

    #[test]
    fn rungs_are_given_up_before_fewer_than_a_few_are_begun() {
        // Three for an epoch, one for another and for three more: 160 + 13, 111, 311; and 5 for scoring.
        let full = 173 + 111 + 311 + 5;
        assert_eq!(allowed(Some(full)).rungs, [1, 2, 5]);
        assert_eq!(allowed(Some(full)).begun, 3);
        let less = allowed(Some(full - 1));
        assert_eq!(less.rungs, [1, 2]);
        assert!(less.begun >= 3);
    }
}
