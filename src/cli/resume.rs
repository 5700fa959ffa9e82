//! `--resume`: the flags of what is to go on.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};

use super::{Cli, CliError};

/// Flags that say nothing of what is computed, or whose meaning is checked by content.
const FREE: [&str; 7] = ["resume", "model", "models", "data", "out", "force", "json"];

/// The flags of `tune` or `study` with which `command` began, as its folder `root` has noted it, with
/// those in their place that are given now. Whether they mean the same is for the run to compare with
/// what it has noted.
///
/// # Errors
/// When what was noted is no such command, or the flags given now do not go with it.
pub fn began<A: FromArgMatches>(
    subcommand: &str,
    command: &[String],
    root: &Path,
) -> Result<A, CliError> {
    let broken = |e: clap::Error| {
        let text = format!("the command noted in {} is none", root.display());
        CliError::usage(format!("{text}: {}", e.kind()))
    };
    let began = parse(subcommand, command).map_err(broken)?;
    let Ok(now) = parse(subcommand, std::env::args_os()) else {
        return A::from_arg_matches(&began).map_err(broken);
    };
    let unfit = |e: clap::Error| CliError::usage(e.render().to_string().trim().to_owned());
    let merged = merged(subcommand, &began, &now);
    A::from_arg_matches(&parse(subcommand, merged).map_err(unfit)?).map_err(unfit)
}

fn parse<T: Into<OsString> + Clone>(
    subcommand: &str,
    words: impl IntoIterator<Item = T>,
) -> Result<ArgMatches, clap::Error> {
    let mut matches = Cli::command().try_get_matches_from(words)?;
    match matches.remove_subcommand() {
        Some((name, flags)) if name == subcommand => Ok(flags),
        _ => Err(clap::Error::new(clap::error::ErrorKind::InvalidSubcommand)),
    }
}

/// The words of a command line with the flags of `began`, but for those that `now` gives.
fn merged(subcommand: &str, began: &ArgMatches, now: &ArgMatches) -> Vec<OsString> {
    let is_given = |matches: &ArgMatches, id: &str| {
        let source = matches.value_source(id);
        source == Some(ValueSource::CommandLine)
    };
    let mut words: Vec<OsString> = vec!["ftsurgery".into(), subcommand.into()];
    let mut last = vec![OsString::from("--")];
    let command = Cli::command();
    let arguments = command.find_subcommand(subcommand).into_iter();
    for arg in arguments.flat_map(Command::get_arguments) {
        let id = arg.get_id().as_str();
        let matches = match is_given(now, id) && !FREE.contains(&id) {
            true => now,
            false if is_given(began, id) => began,
            false => continue,
        };
        let values = matches.get_raw(id).into_iter().flatten();
        match (arg.get_long(), arg.get_action()) {
            (Some(long), ArgAction::SetTrue) => words.push(format!("--{long}").into()),
            (Some(long), _) => {
                for value in values {
                    let mut word = OsString::from(format!("--{long}="));
                    word.push(value);
                    words.push(word);
                }
            }
            (None, _) => last.extend(values.map(OsString::from)),
        }
    }
    words.append(&mut last);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(began: &str, now: &str) -> String {
        let matches = |text: &str| parse("tune", text.split(' ')).unwrap();
        let merged = merged("tune", &matches(began), &matches(now));
        parse("tune", &merged).unwrap();
        merged.join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn flags_given_now_take_the_place_of_those_it_began_with() {
        let began = "ftsurgery tune m.onnx --data d --out r --lr 1e-3 --strategies head,full \
                     --no-shuffle -q";
        let same = "ftsurgery tune --data=d --out=r --strategies=head --strategies=full";
        assert_eq!(
            words(began, "ftsurgery tune --resume r"),
            format!("{same} --no-shuffle --lr=1e-3 -- m.onnx")
        );
        let now = words(
            began,
            "ftsurgery tune --resume r --strategies blocks --lr=0.1 --json",
        );
        assert!(
            now.contains("--strategies=blocks --no-shuffle --lr=0.1 "),
            "{now}"
        );
        assert!(!now.contains("head") && !now.contains("json"), "{now}");
    }
}
