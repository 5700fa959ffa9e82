//! `--config`: flags from a TOML file, by their long names.

use std::any::TypeId;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::analysis::Delimiters;
use crate::choice::Choice;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use toml::de::{DeTable, DeValue};

use super::{CliError, command};

/// Flags that a file does not give: those that say where flags come from, and where the run goes on.
const NO_KEYS: [&str; 8] = [
    "config",
    "resume",
    "help",
    // A file has the settings themselves.
    "recipe",
    // Where trials are carried out is no part of what is run.
    "executor",
    "slurm-tasks",
    "slurm-options",
    "ray-address",
];

/// The flags of `subcommand` that the command line gives, with those of `file` that it does not. `idle`
/// names a flag that does nothing beside the others: one of the file's that the command line has made
/// idle is left out; one that is idle in the file alone stays, to be refused. `words` are those of the command line.
///
/// # Errors
/// When the file cannot be read, with the line and the name of a key that is no flag or has a value that
/// the flag does not take; or when the flags do not go together.
pub fn with<A: FromArgMatches>(
    subcommand: &str,
    file: &Path,
    words: &[OsString],
    idle: impl Fn(&A) -> Option<&'static str>,
) -> Result<A, CliError> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| CliError::usage(format!("cannot read {}: {e}", file.display())))?;
    flags_of(subcommand, (file, &text), words.to_vec(), idle)
}

/// As [`with`], of a file's path and text and the words of the command line.
fn flags_of<A: FromArgMatches>(
    subcommand: &str,
    (file, text): (&Path, &str),
    line: Vec<OsString>,
    idle: impl Fn(&A) -> Option<&'static str>,
) -> Result<A, CliError> {
    let file = File { path: file, text };
    let known = command();
    let known = known
        .find_subcommand(subcommand)
        .ok_or_else(|| missing(subcommand))?;
    let keys = file.keys(known)?;
    merged(known, keys, line, idle)
}

/// A path that the command line or the file has to give.
pub fn given(path: &Option<PathBuf>, name: &str) -> Result<PathBuf, CliError> {
    path.clone().ok_or_else(|| missing(name))
}

/// That neither the command line nor the file says this.
pub fn missing(name: &str) -> CliError {
    CliError::usage(format!(
        "{name} is missing: neither the command line nor the file of --config gives it"
    ))
}

/// A key of the file with the words that it stands for.
struct Key {
    /// The identity of its flag.
    id: String,
    long: Option<String>,
    words: Vec<OsString>,
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn error(&self, span: Option<Range<usize>>, reason: &str) -> CliError {
        let before = span.and_then(|span| self.text.get(..span.start));
        let line = before.map_or(String::new(), |before| {
            format!(":{}", before.matches('\n').count() + 1)
        });
        CliError::usage(format!("{}{line}: {reason}", self.path.display()))
    }

    fn keys(&self, subcommand: &Command) -> Result<Vec<Key>, CliError> {
        let table = DeTable::parse(self.text).map_err(|e| self.error(e.span(), e.message()))?;
        let mut keys = Vec::new();
        for (name, value) in table.get_ref() {
            let line = Some(name.span());
            let name = name.get_ref();
            let arg = argument(subcommand, name).ok_or_else(|| {
                let unknown = format!("{} has no flag `{name}`", subcommand.get_name());
                self.error(line.clone(), &(unknown + &suggestion(subcommand, name)))
            })?;
            let words = words(arg, value.get_ref())
                .and_then(|words| taken(subcommand, &words).map(|()| words))
                .map_err(|reason| self.error(line, &format!("`{name}` {reason}")))?;
            keys.push(Key {
                id: arg.get_id().to_string(),
                long: arg.get_long().map(str::to_owned),
                words,
            });
        }
        Ok(keys)
    }
}

/// What a key is called: a flag's long name, or the name of an argument without one.
fn key(arg: &Arg) -> &str {
    arg.get_long().unwrap_or(arg.get_id().as_str())
}

fn keys(subcommand: &Command) -> impl Iterator<Item = &Arg> {
    let all = subcommand.get_arguments();
    all.filter(|arg| !NO_KEYS.contains(&key(arg)))
}

fn argument<'c>(subcommand: &'c Command, name: &str) -> Option<&'c Arg> {
    keys(subcommand).find(|arg| key(arg) == name)
}

fn suggestion(subcommand: &Command, name: &str) -> String {
    let likeness = |arg: &&Arg| strsim::jaro_winkler(key(arg), name);
    let nearest = keys(subcommand).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|arg| likeness(arg) > 0.8) {
        Some(arg) => format!("; did you mean `{}`?", key(arg)),
        None => String::new(),
    }
}

/// The words of a command line for a flag and its value.
fn words(arg: &Arg, value: &DeValue<'_>) -> Result<Vec<OsString>, String> {
    let wrong = |wanted: &str| format!("is of type {}, and has to be {wanted}", value.type_str());
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        let given = value.as_bool().ok_or_else(|| wrong("`true` or `false`"))?;
        return Ok(Vec::from_iter(
            given.then(|| format!("--{}", key(arg)).into()),
        ));
    }
    let kind = arg.get_value_parser().type_id();
    let is = |kinds: &[TypeId]| kinds.iter().any(|known| kind == *known);
    let joined = is(&[TypeId::of::<[f32; 3]>(), TypeId::of::<Delimiters>()]);
    let several = joined || matches!(arg.get_action(), ArgAction::Append);
    let is_number = is(&[
        TypeId::of::<f32>(),
        TypeId::of::<f64>(),
        TypeId::of::<[f32; 3]>(),
        TypeId::of::<Choice<f32>>(),
        TypeId::of::<Choice<f64>>(),
    ]);
    let is_whole = is(&[
        TypeId::of::<usize>(),
        TypeId::of::<u64>(),
        TypeId::of::<Choice<usize>>(),
        TypeId::of::<Choice<Option<usize>>>(),
    ]);
    // Numbers in whose place a word may stand.
    let is_open = is(&[
        TypeId::of::<Choice<f32>>(),
        TypeId::of::<Choice<f64>>(),
        TypeId::of::<Choice<usize>>(),
        TypeId::of::<Choice<Option<usize>>>(),
    ]);
    let wanted = match (is_whole, is_number, several) {
        (true, ..) if is_open => "a whole number, or a word that the flag takes",
        (_, true, _) if is_open => "a number, or a word that the flag takes",
        (true, ..) => "a whole number",
        (_, true, false) => "a number",
        (_, true, true) => "numbers",
        (_, _, true) => "a text, or a list of texts",
        _ => "a text",
    };
    let text = |value: &DeValue<'_>| match value {
        DeValue::String(text) if is_open && text.parse::<f64>().is_ok() => None,
        DeValue::String(text) if !is_number && !is_whole || joined || is_open => {
            Some(text.to_string())
        }
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) if !is_whole => Some(number.as_str().to_owned()),
        _ => None,
    };
    let texts: Option<Vec<String>> = match value {
        DeValue::Array(list) if several => list.iter().map(|v| text(v.get_ref())).collect(),
        value => text(value).map(|text| vec![text]),
    };
    let texts = texts.ok_or_else(|| wrong(wanted))?;
    let texts = if joined { vec![texts.join(",")] } else { texts };
    let word = |text: String| match arg.get_long() {
        Some(long) => format!("--{long}={text}").into(),
        None => text.into(),
    };
    Ok(texts.into_iter().map(word).collect())
}

/// Whether a flag takes these words, whatever else it would need.
fn taken(subcommand: &Command, words: &[OsString]) -> Result<(), String> {
    let alone = subcommand.clone().no_binary_name(true);
    match alone.try_get_matches_from(words) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidValue | ErrorKind::ValueValidation
            ) =>
        {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            Err(format!(
                "cannot be used: {}",
                first.trim_start_matches("error: ")
            ))
        }
        _ => Ok(()),
    }
}

fn merged<A: FromArgMatches>(
    subcommand: &Command,
    mut file: Vec<Key>,
    line: Vec<OsString>,
    idle: impl Fn(&A) -> Option<&'static str>,
) -> Result<A, CliError> {
    let unfit = |e: clap::Error| CliError::usage(e.render().to_string().trim().to_owned());
    let read = |file: &[Key], own: &[OsString]| -> Result<A, clap::Error> {
        let of_file = file.iter().flat_map(|key| key.words.clone());
        let all = of_file.chain(own.iter().cloned());
        let (flags, places): (Vec<_>, Vec<_>) =
            all.partition(|word| word.as_encoded_bytes().starts_with(b"--"));
        // With --config nothing else has to be given: what is missing is told by who needs it.
        let words = std::iter::once("--config=FILE".into()).chain(flags);
        let words = words.chain(["--".into()]).chain(places);
        let known = subcommand.clone().no_binary_name(true);
        let mut args = known.try_get_matches_from(words)?;
        args.remove_one::<PathBuf>("config");
        A::from_arg_matches(&args)
    };
    let alone = read(&file, &[]).ok();
    let alone = alone.and_then(|args| idle(&args));
    let now = parse(subcommand, line).map_err(unfit)?;
    let is_given = |id: &str| now.value_source(id) == Some(ValueSource::CommandLine);
    let given: Vec<&Arg> = subcommand
        .get_arguments()
        .filter(|arg| is_given(arg.get_id().as_str()))
        .collect();
    // Flags win, also over what they conflict with.
    file.retain(|key| {
        let is_this = |arg: &&Arg| arg.get_id().as_str() == key.id;
        let excludes = |arg: &&Arg| {
            let conflicts = subcommand.get_arg_conflicts_with(arg);
            conflicts.iter().any(is_this)
        };
        let own = subcommand.get_arguments().find(is_this);
        let conflicts = own.map(|own| subcommand.get_arg_conflicts_with(own));
        let excluded =
            conflicts.is_some_and(|all| all.iter().any(|c| is_given(c.get_id().as_str())));
        !given.iter().any(|arg| is_this(arg) || excludes(arg)) && !excluded
    });
    let own: Vec<OsString> = given
        .iter()
        .filter(|arg| !NO_KEYS.contains(&key(arg)))
        .flat_map(|arg| own_words(arg, &now))
        .collect();
    loop {
        let args = read(&file, &own).map_err(unfit)?;
        let left = idle(&args).filter(|flag| alone != Some(flag));
        // Behind its name a value may stand.
        let left = left.and_then(|flag| flag.split(' ').next());
        let place = left.and_then(|flag| file.iter().position(|k| k.long.as_deref() == Some(flag)));
        match place {
            Some(place) => drop(file.remove(place)),
            None => return Ok(args),
        }
    }
}

/// The words of a flag as the command line gives them.
fn own_words(arg: &Arg, now: &ArgMatches) -> Vec<OsString> {
    let values = now.get_raw(arg.get_id().as_str()).into_iter().flatten();
    match (arg.get_long(), arg.get_action()) {
        (Some(long), ArgAction::SetTrue) => vec![format!("--{long}").into()],
        (Some(long), _) => values
            .map(|value| {
                let mut word = OsString::from(format!("--{long}="));
                word.push(value);
                word
            })
            .collect(),
        (None, _) => values.map(OsString::from).collect(),
    }
}

/// The flags of a subcommand on a whole command line.
fn parse(subcommand: &Command, words: Vec<OsString>) -> Result<ArgMatches, clap::Error> {
    let mut matches = command().try_get_matches_from(words)?;
    match matches.remove_subcommand() {
        Some((name, flags)) if name == subcommand.get_name() => Ok(flags),
        _ => Err(clap::Error::new(ErrorKind::InvalidSubcommand)),
    }
}

#[cfg(test)]
mod tests;
