//! Flags that are given and change nothing of what is asked for.

use crate::run::Settings;
use crate::strategy::StrategyName;
use crate::surgery::HeadKind;

use crate::cli::Context;

use super::SettingsArgs;

impl SettingsArgs {
    /// Tells of the flags that are given and change nothing of what these `settings` do. (Those that are
    /// [idle](SettingsArgs::idle) beside others are refused.)
    pub fn tell_unused(&self, settings: &Settings, context: &Context) {
        for unused in self.unused(settings) {
            context.note(&format!("warning: {unused}"));
        }
    }

    pub(super) fn unused(&self, settings: &Settings) -> Vec<String> {
        let training = &self.training;
        let searches = |s: &StrategyName| s.rule().searches().is_some();
        let no_search = !settings.strategies.iter().any(searches);
        let of_search = [
            ("search", self.choice.search.is_some()),
            ("search-epochs", training.search_epochs.is_some()),
            ("rank-by", training.rank_by.is_some()),
            ("rank-samples", training.rank_samples.is_some()),
        ];
        let head_alone = settings.solves_head() && settings.strategies == [StrategyName::HEAD];
        let is_paper = settings.head == HeadKind::Paper;
        let validates = settings.validates();
        let of_steps = [
            (
                "epochs",
                training.epochs.is_some() && (!is_paper || validates),
            ),
            ("batch-size", training.batch_size.is_some() && !is_paper),
            ("bn", training.bn.is_some()),
            ("early-stopping", training.early_stopping.is_some()),
            ("augment", self.split.augment.is_some()),
        ];
        let of_steps = of_steps.into_iter().chain(training.recipe.given());
        let epochs = settings.epochs.given();
        let for_all = epochs.is_some_and(|epochs| f64::from(settings.warmup) >= epochs as f64);
        let warmup = training.recipe.warms_up() && for_all;
        let all = of_search
            .map(|(flag, given)| (flag, given && no_search, "none of --strategies searches"))
            .into_iter()
            .chain(of_steps.map(|(flag, given)| {
                let why = "the head is solved, and nothing else is trained";
                (flag, given && head_alone, why)
            }))
            .chain([(
                "warmup",
                warmup && !head_alone,
                "it lasts for all of --epochs, so that the learning rate never comes to --lr",
            )]);
        all.filter(|(_, is_unused, _)| *is_unused)
            .map(|(flag, _, why)| match flag {
                "warmup" if !head_alone => format!("--warmup is too long: {why}"),
                flag => format!("--{flag} changes nothing here: {why}"),
            })
            .collect()
    }
}
