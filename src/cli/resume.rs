//! `--resume`: the flags of what is to go on.

use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use ftsurgery::search::SearchError;

use super::{Cli, CliError};

/// Flags that say nothing of what is computed, or whose meaning is checked by content.
const FREE: [&str; 6] = [
    "resume",
    "model",
    "models",
    "data",
    "json",
    "checkpoint_every",
];

/// The flags of `tune` or `study` with which `command` began, as its folder `root` has noted it.
///
/// # Errors
/// When a flag is given now that it did not begin with.
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
    if let Ok(now) = parse(subcommand, std::env::args_os()) {
        same(subcommand, &began, &now)?;
    }
    A::from_arg_matches(&began).map_err(broken)
}

fn parse<T: Into<std::ffi::OsString> + Clone>(
    subcommand: &str,
    words: impl IntoIterator<Item = T>,
) -> Result<ArgMatches, clap::Error> {
    let mut matches = Cli::command().try_get_matches_from(words)?;
    match matches.remove_subcommand() {
        Some((name, flags)) if name == subcommand => Ok(flags),
        _ => Err(clap::Error::new(clap::error::ErrorKind::InvalidSubcommand)),
    }
}

/// Fails where a flag is given now with another value than it began with.
fn same(subcommand: &str, began: &ArgMatches, now: &ArgMatches) -> Result<(), CliError> {
    let command = Cli::command();
    let tune = command.find_subcommand(subcommand);
    for arg in tune.into_iter().flat_map(clap::Command::get_arguments) {
        let id = arg.get_id().as_str();
        let given = now.value_source(id) == Some(ValueSource::CommandLine);
        if !given || FREE.contains(&id) {
            continue;
        }
        let text = |matches: &ArgMatches| {
            let values = matches.get_raw(id).into_iter().flatten();
            let values: Vec<_> = values.map(|v| v.to_string_lossy().into_owned()).collect();
            values.join(",")
        };
        let (was, is) = (text(began), text(now));
        if was != is {
            let none = |text: String| if text.is_empty() { "none".into() } else { text };
            let what = format!("--{}", arg.get_long().unwrap_or(id));
            let (was, is) = (none(was), none(is));
            return Err(SearchError::Changed { what, was, is }.into());
        }
    }
    Ok(())
}
