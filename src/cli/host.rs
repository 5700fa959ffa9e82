//! Commands as functions of another program, such as the Python module.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once};

use clap::{Arg, FromArgMatches};
use serde_json::{Value, json};

use crate::search::Watcher;

use super::error::BAD_INPUT;
use super::{Cli, CliError, Context, command, context};

/// Another program that has a command done: hears of its progress as of a run's, and of what it tells in passing.
pub trait Host: Watcher + Send {
    /// What is told in passing.
    fn note(&self, text: &str);
}

/// Why a command did not end well.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What the command would say, without `error: `.
    pub text: String,
    /// Whether the user's file or flag is at fault: exit code 2.
    pub is_bad_input: bool,
    /// What it had printed until then.
    pub printed: Vec<u8>,
}

impl Failure {
    /// Of code that has panicked.
    pub fn panicked() -> Self {
        Failure {
            text: "ftsurgery has come upon a fault of its own, which it tells on stderr".to_owned(),
            is_bad_input: false,
            printed: Vec::new(),
        }
    }
}

/// A host, and what is printed for it.
#[derive(Clone)]
pub struct Hosted {
    /// Who listens.
    pub host: Arc<dyn Host>,
    /// What was printed.
    pub printed: Arc<Mutex<Vec<u8>>>,
}

/// Where results go: to stdout, or to a host.
pub enum Output {
    /// To stdout.
    Stdout(io::StdoutLock<'static>),
    /// To a host.
    Hosted(Arc<Mutex<Vec<u8>>>),
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Stdout(stdout) => stdout.write(bytes),
            Output::Hosted(printed) => {
                let mut printed = printed.lock().unwrap_or_else(|e| e.into_inner());
                printed.extend_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Stdout(stdout) => stdout.flush(),
            Output::Hosted(_) => Ok(()),
        }
    }
}

/// Does what a command does, for `host`, by its words without its name; gives what it prints. It listens to no signals; where
/// it can be stopped, [`Watcher::stopped`] of the host is asked. `program` is what others start to run the command.
///
/// # Errors
/// Where the command ends with another exit code than 0, but for `diff` and `verify`, whose verdict is what they print.
pub fn call(
    program: PathBuf,
    words: Vec<OsString>,
    host: Arc<dyn Host>,
) -> Result<Vec<u8>, Failure> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        crate::panics::hush_caught();
        if std::env::var_os("FTSURGERY_LOG").is_some() {
            context::start_log(false, 0);
        }
    });
    let named = std::iter::once(OsString::from("ftsurgery"));
    let words: Vec<OsString> = named.chain(words).collect();
    let cli = command()
        .try_get_matches_from(&words)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match cli {
        Ok(cli) => cli,
        Err(told) => return of_usage(&told),
    };
    let hosted = Hosted {
        host,
        printed: Arc::default(),
    };
    let context = Context::new(cli.global, program, words).hosted(hosted.clone());
    let ended = cli.command.run(&context);
    let printed = std::mem::take(&mut *hosted.printed.lock().unwrap_or_else(|e| e.into_inner()));
    match ended {
        Ok(_) => Ok(printed),
        Err(error) => Err(failure(&error, printed)),
    }
}

/// Help and version are what is asked for; all else is bad usage.
fn of_usage(told: &clap::Error) -> Result<Vec<u8>, Failure> {
    let text = told.to_string();
    if told.exit_code() == 0 {
        return Ok(text.into_bytes());
    }
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    // Behind it stands how the command line is written.
    let text = text.split("\n\nUsage:").next().unwrap_or(text);
    let text = text
        .split("\n\nFor more information")
        .next()
        .unwrap_or(text);
    Err(Failure {
        text: text.trim_end().to_owned(),
        is_bad_input: true,
        printed: Vec::new(),
    })
}

fn failure(error: &CliError, printed: Vec<u8>) -> Failure {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    Failure {
        text: text.trim_end().to_owned(),
        is_bad_input: error.exit_code() == BAD_INPUT,
        printed,
    }
}

/// The flags of a subcommand, but for those of all: an object each, with its `name`, what `help` says, whether it is a `switch`
/// that takes no value, how many `words` it takes at least, whether it is given `many` times, the `values` that there are, and
/// the `default`, if any. `None` where there is no such subcommand.
pub fn flags(subcommand: &str) -> Option<Value> {
    let mut command = command();
    command.build();
    let command = command.find_subcommand(subcommand)?;
    let flags = command.get_arguments().filter_map(|flag| {
        let is_own = !flag.is_global_set() && !flag.is_hide_set();
        flag.get_long()
            .filter(|&name| is_own && name != "help")
            .map(|name| described(flag, name))
    });
    Some(flags.collect())
}

fn described(flag: &Arg, name: &str) -> Value {
    use clap::ArgAction;

    let is_switch = !flag.get_action().takes_values();
    let words = flag.get_num_args().map_or(1, |range| range.min_values());
    let values = flag.get_possible_values();
    let values = values.iter().filter(|value| !value.is_hide_set());
    let values: Vec<&str> = values.map(|value| value.get_name()).collect();
    let defaults = flag.get_default_values().iter();
    let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
    json!({
        "name": name,
        "help": flag.get_help().map(ToString::to_string).unwrap_or_default(),
        "switch": is_switch,
        "words": words,
        "many": matches!(flag.get_action(), ArgAction::Append),
        "values": if is_switch { Vec::new() } else { values },
        "default": (!is_switch && !defaults.is_empty()).then(|| defaults.join(",")),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Watcher for Counting {}

    impl Host for Counting {
        fn note(&self, _: &str) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn called(words: &[&str]) -> (Result<Vec<u8>, Failure>, usize) {
        let host = Arc::new(Counting::default());
        let words = words.iter().map(OsString::from).collect();
        let ended = call("ftsurgery".into(), words, host.clone());
        (ended, host.0.load(Ordering::Relaxed))
    }

    #[test]
    fn what_a_command_prints_and_tells_goes_to_its_host() {
        let model = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/onnx-models/fashion_mobilenet.onnx"
        );
        let (printed, _) = called(&["analyze", model, "--format", "json"]);
        let printed: Value = serde_json::from_slice(&printed.unwrap()).unwrap();
        assert!(!printed["blocks"].as_array().unwrap().is_empty());
        let (printed, notes) = called(&["prune", model, "--dry-run"]);
        assert!(
            String::from_utf8(printed.unwrap())
                .unwrap()
                .contains("the model would have")
        );
        assert_eq!(notes, 1);
    }

    #[test]
    fn failures_have_the_texts_of_the_command() {
        let (ended, _) = called(&["analyze", "no-such-file.onnx"]);
        let failure = ended.unwrap_err();
        assert!(failure.is_bad_input && failure.text.contains("no-such-file.onnx"));
        assert!(!failure.text.starts_with("error") && !failure.text.ends_with('\n'));
        let (ended, _) = called(&["tune", "--epoch", "3"]);
        let Failure { text, .. } = ended.unwrap_err();
        assert!(
            text.starts_with("unexpected argument '--epoch' found"),
            "{text}"
        );
        assert!(
            text.contains("'--epochs'") && !text.contains("Usage"),
            "{text}"
        );
        assert!(called(&["--version"]).0.unwrap().starts_with(b"ftsurgery "));
    }

    #[test]
    fn flags_of_a_command_are_described() {
        let flags = flags("rename").unwrap();
        let flag = |name: &str| {
            let mut all = flags.as_array().unwrap().iter();
            all.find(|flag| flag["name"] == name).cloned().unwrap()
        };
        assert_eq!(
            (&flag("regex")["words"], &flag("force")["switch"]),
            (&json!(2), &json!(true))
        );
        assert_eq!(
            (&flag("value")["many"], &flag("check")["default"]),
            (&json!(true), &json!("auto"))
        );
        assert_eq!(super::flags("nonsense"), None);
    }
}
