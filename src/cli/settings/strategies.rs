//! Flags of what is trained: the strategies, the layers of `select`, and a flag for each strategy's number.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::run::Settings;
use crate::strategy::{FreezeList, StrategyName, names, pattern};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::adafilter::AdaFilterArgs;
use super::spottune::SpotTuneArgs;
use super::{CliError, set_some, values};

#[derive(Args)]
pub struct StrategyArgs {
    #[arg(long, value_name = "LIST", value_delimiter = ',', help = help(), long_help = long_help())]
    strategies: Vec<String>,
    /// Layers that strategy `select` trains: names or patterns of layers, parameters or blocks, as
    /// `analyze` shows them (`*`, `**` across `/`, `?`, `[…]`, `{a,b}`); repeat it or separate them by
    /// commas
    #[arg(long, value_name = "GLOB")]
    train: Vec<String>,
    /// Of the backbone, train only what this file does not freeze, whatever the strategy: a list as `ftsurgery list --out`
    /// writes
    #[arg(long, value_name = "FILE", value_parser = values::text_path())]
    freeze_list: Option<PathBuf>,
    #[command(flatten)]
    numbers: Numbers,
    /// α of the updates of `lora` and `lora-blocks`, which count α / rank [default: the rank, so that they count once]
    #[arg(long, value_name = "N", value_parser = values::count)]
    lora_alpha: Option<usize>,
    #[command(flatten)]
    adafilter: AdaFilterArgs,
    #[command(flatten)]
    spottune: SpotTuneArgs,
}

impl StrategyArgs {
    /// The strategies asked for, each once.
    fn list(&self) -> Result<Vec<StrategyName>, CliError> {
        let mut list: Vec<StrategyName> = Vec::new();
        for name in self.strategies.iter().map(|name| name.trim()) {
            if name == "all" {
                list.extend(StrategyName::all());
                let of_patterns = names().filter(|name| name.rule().takes_patterns());
                list.extend(of_patterns.filter(|_| !self.train.is_empty()));
                continue;
            }
            list.push(match self.numbers.of(name) {
                Some(number) => name.parse::<StrategyName>()?.with_number(number),
                None => name.parse()?,
            });
        }
        let mut seen = std::collections::HashSet::new();
        list.retain(|strategy| seen.insert(*strategy));
        Ok(list)
    }

    /// Whether one of the strategies, by `default` these, looks for promising blocks.
    pub fn wants_promising(&self, default: &Settings) -> bool {
        match self.strategies.is_empty() {
            true => default.wants_promising(),
            // What is no strategy is told when they are taken.
            false => self
                .list()
                .is_ok_and(|list| list.iter().any(|s| s.rule().wants_promising())),
        }
    }

    /// Whether patterns are given and no strategy takes any.
    pub fn has_idle_patterns(&self) -> bool {
        let takes = |list: Vec<StrategyName>| list.iter().any(|s| s.rule().takes_patterns());
        !self.train.is_empty() && !self.list().is_ok_and(takes)
    }

    /// The first flag that is for a strategy which is not asked for, with the reason.
    pub fn idle_flag(&self) -> Option<(&'static str, Cow<'static, str>)> {
        let list = self.list().unwrap_or_default();
        let updates = list.iter().any(|s| s.rule().updates_weights());
        if self.lora_alpha.is_some() && !updates {
            let why = "it is for strategies `lora` and `lora-blocks`, of which none is among --strategies";
            return Some(("lora-alpha", why.into()));
        }
        let gates_filters = list.iter().any(|s| s.rule().gates_filters());
        let gates_blocks = list.iter().any(|s| s.rule().gates_blocks());
        for (flag, word, gates) in [
            (self.adafilter.given(), "adafilter", gates_filters),
            (self.spottune.given(), "spottune", gates_blocks),
        ] {
            if let Some(flag) = flag.filter(|_| !gates) {
                let why = format!("it is for strategy `{word}`, which is not among --strategies");
                return Some((flag, why.into()));
            }
        }
        let is_idle = |given: &&Given| !self.strategies.iter().any(|s| s.trim() == given.word);
        let Given { flag, word, .. } = self.numbers.0.iter().find(is_idle)?;
        let why = format!("it is for strategy `{word}`, which is not among --strategies");
        Some((flag, why.into()))
    }

    /// Puts what is given into `settings`.
    ///
    /// # Errors
    /// When there is no such strategy.
    pub fn apply(&self, settings: &mut Settings) -> Result<(), CliError> {
        if !self.strategies.is_empty() {
            settings.strategies = self.list()?;
        }
        if let Some(path) = &self.freeze_list {
            settings.freeze_list = Some(FreezeList::read(path)?);
        }
        if !self.train.is_empty() {
            let patterns = self.train.iter().flat_map(|t| pattern::split(t));
            settings.train = patterns.collect();
        }
        set_some(&mut settings.lora_alpha, &self.lora_alpha);
        self.adafilter.apply(&mut settings.adafilter);
        self.spottune.apply(&mut settings.spottune);
        Ok(())
    }
}

/// The numbers given to strategies whose names may be without: `--top 4`. Each strategy with a number has its
/// flag.
struct Numbers(Vec<Given>);

struct Given {
    flag: &'static str,
    word: &'static str,
    number: usize,
}

impl Numbers {
    /// The number given to the strategy of this word.
    fn of(&self, word: &str) -> Option<usize> {
        let given = self.0.iter().find(|given| given.word == word)?;
        Some(given.number)
    }
}

impl Args for Numbers {
    fn augment_args(command: Command) -> Command {
        let flag = |name: StrategyName| {
            let number = name.rule().number()?;
            let help = format!(
                "{} of `{}` where its name has none [default: {}]",
                number.means,
                name.rule().word(),
                number.default
            );
            let arg = Arg::new(number.flag).long(number.flag).value_name("N");
            Some(arg.value_parser(values::count).help(help))
        };
        command.args(names().filter_map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Numbers {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |name: StrategyName| {
            let flag = name.rule().number()?.flag;
            Some(Given {
                flag,
                word: name.rule().word(),
                number: *matches.get_one(flag)?,
            })
        };
        Ok(Numbers(names().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The strategies for the help of `--strategies`.
fn help() -> String {
    let trains = |name: StrategyName| {
        let trains = name.rule().trains(name.number().unwrap_or(0));
        format!("`{name}` ({trains})")
    };
    let all: Vec<String> = names().map(trains).collect();
    format!(
        "What to try, separated by commas: {}, or `all`, which are {}, and `select` if --train is given",
        all.join(", "),
        listed(StrategyName::all().iter().map(ToString::to_string))
    )
}

fn long_help() -> String {
    let numbered = names().filter(|name| name.number().is_some());
    let numbered = listed(numbered.map(|name| name.rule().word().to_owned()));
    format!(
        "{}\n\nBehind {numbered} another number may stand: `top4`.",
        help()
    )
}

/// `` `top`, `windows` ``.
fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Bare {
        #[command(flatten)]
        args: StrategyArgs,
    }

    fn names_of(words: &str) -> Vec<String> {
        let words = std::iter::once("tune").chain(words.split_whitespace());
        let list = Bare::parse_from(words).args.list().unwrap();
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_number_goes_to_the_strategy_whose_name_has_none() {
        assert_eq!(
            names_of(
                "--strategies top,top5,windows,random,last,last% --top 4 --window 2 --last 7 --last-share 25"
            ),
            ["top4", "top5", "windows2", "random3", "last7", "last25%"]
        );
    }

    #[test]
    fn all_are_those_of_the_paper_and_select_where_it_has_patterns() {
        let all = names_of("--strategies all");
        assert_eq!(all.len(), 8);
        let selecting = names_of("--strategies all,head --train conv1");
        assert_eq!(selecting[..8], all);
        assert_eq!(selecting[8..], ["select"]);
    }

    #[test]
    fn every_strategy_is_in_the_help_and_has_a_flag_for_its_number() {
        let command = Numbers::augment_args(Command::new("tune"));
        for name in names() {
            assert!(help().contains(&format!("`{name}` (")), "{name}");
            if let Some(number) = name.rule().number() {
                let mut flags = command.get_arguments();
                assert!(flags.any(|f| f.get_long() == Some(number.flag)), "{name}");
            }
        }
    }
}
