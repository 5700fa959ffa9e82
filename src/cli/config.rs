//! `--config`: flags from a TOML file, by their long names.

use std::any::TypeId;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use ftsurgery::analysis::Delimiters;
use toml::de::{DeTable, DeValue};

use super::{CliError, command};

/// Flags that say where flags come from.
const NO_KEYS: [&str; 3] = ["config", "resume", "help"];

/// The flags of `subcommand` that the command line gives, with those of `file` that it does not. `idle`
/// names a flag that does nothing beside the others: one of the file's that the command line has made
/// idle is left out.
///
/// # Errors
/// When the file cannot be read, with the line and the name of a key that is no flag or has a value that
/// the flag does not take; or when the flags do not go together.
pub fn with<A: FromArgMatches>(
    subcommand: &str,
    file: &Path,
    idle: impl Fn(&A) -> Option<&'static str>,
) -> Result<A, CliError> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| CliError::usage(format!("cannot read {}: {e}", file.display())))?;
    flags_of(
        subcommand,
        (file, &text),
        std::env::args_os().collect(),
        idle,
    )
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
    let wrong = |wanted: &str| format!("is a {}, and has to be {wanted}", value.type_str());
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
    ]);
    let is_whole = is(&[TypeId::of::<usize>(), TypeId::of::<u64>()]);
    let wanted = match (is_whole, is_number, several) {
        (true, ..) => "a whole number",
        (_, true, false) => "a number",
        (_, true, true) => "numbers",
        (_, _, true) => "a text, or a list of texts",
        _ => "a text",
    };
    let text = |value: &DeValue<'_>| match value {
        DeValue::String(text) if !is_number && !is_whole || joined => Some(text.to_string()),
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
        let all = file
            .iter()
            .flat_map(|key| key.words.clone())
            .chain(own.clone());
        let (flags, places): (Vec<_>, Vec<_>) =
            all.partition(|word| word.as_encoded_bytes().starts_with(b"--"));
        // With --config nothing else has to be given: what is missing is told by who needs it.
        let words = std::iter::once("--config=FILE".into()).chain(flags);
        let words = words.chain(["--".into()]).chain(places);
        let known = subcommand.clone().no_binary_name(true);
        let mut args = known.try_get_matches_from(words).map_err(unfit)?;
        args.remove_one::<PathBuf>("config");
        let args = A::from_arg_matches(&args).map_err(unfit)?;
        let left = idle(&args).filter(|_| !own.is_empty());
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
mod tests {
    use super::*;
    use clap::Args;
    use ftsurgery::analysis::Delimiters;
    use ftsurgery::data::Preprocess;
    use ftsurgery::run::{Settings, flags};
    use ftsurgery::strategy::Strategy;
    use ftsurgery::training::{Optimizer, OptimizerKind};

    use crate::cli::settings::SettingsArgs;
    use crate::cli::tune::TuneArgs;

    /// What a file makes of `tune --config FILE` with these words behind it.
    fn tuned(text: &str, words: &str) -> Result<Settings, CliError> {
        let line = "ftsurgery tune --config f.toml ".to_owned() + words;
        let line = line.split_whitespace().map(OsString::from).collect();
        let idle = |args: &SettingsArgs| Some(args.idle()?.0);
        flags_of("tune", (Path::new("f.toml"), text), line, idle)?.settings()
    }

    fn refused(text: &str) -> String {
        tuned(text, "").unwrap_err().to_string()
    }

    /// A value that the flag takes, as TOML and as it is given on a command line.
    fn sample(name: &str, arg: &Arg) -> (String, Vec<String>) {
        let (text, given) = match name {
            "strategies" => (r#"["head", "full"]"#, vec!["head", "full"]),
            "train" => (r#"["a{1,2}", "b"]"#, vec!["a{1,2}", "b"]),
            "models" => (
                r#"["a.onnx", "b.onnx:caffe"]"#,
                vec!["a.onnx", "b.onnx:caffe"],
            ),
            "mean" | "std" => ("[0.5, 1, 2.0]", vec!["0.5,1,2.0"]),
            "delimiters" => (r#"["pool", "norm"]"#, vec!["pool,norm"]),
            "image-size" => ("224", vec!["224"]),
            "memory-budget" => (r#""1GiB""#, vec!["1GiB"]),
            "head" => (r#""keep""#, vec!["keep"]),
            "preprocess" => (r#""caffe""#, vec!["caffe"]),
            "augment" => (r#""flip""#, vec!["flip"]),
            "optimizer" => (r#""sgd""#, vec!["sgd"]),
            "bn" => (r#""batch""#, vec!["batch"]),
            "monitor" => (r#""macro-f1""#, vec!["macro-f1"]),
            "class-weights" => (r#""balanced""#, vec!["balanced"]),
            "device" => (r#""cuda:1""#, vec!["cuda:1"]),
            "operators" => (r#""standard""#, vec!["standard"]),
            "feature-precision" => (r#""f16""#, vec!["f16"]),
            _ if matches!(arg.get_action(), ArgAction::SetTrue) => ("true", vec![]),
            "model" | "data" | "out" | "features" => (r#""a b""#, vec!["a b"]),
            "seed" => ("18446744073709551615", vec!["18446744073709551615"]),
            _ if arg.get_value_parser().type_id() == TypeId::of::<usize>() => ("3", vec!["3"]),
            _ => ("0.25", vec!["0.25"]),
        };
        (
            text.to_owned(),
            given.into_iter().map(str::to_owned).collect(),
        )
    }

    #[test]
    fn every_flag_can_stand_in_the_file() {
        let known = command();
        for (name, least) in [("tune", 40), ("study", 40)] {
            let subcommand = known.find_subcommand(name).unwrap();
            let mut count = 0;
            for arg in keys(subcommand) {
                let (value, given) = sample(key(arg), arg);
                let text = format!("# a comment\n{} = {value}\n", key(arg));
                let file = File {
                    path: Path::new("f.toml"),
                    text: &text,
                };
                let keys = file.keys(subcommand).unwrap_or_else(|e| panic!("{e}"));
                let [only] = keys.as_slice() else {
                    panic!("{text}")
                };
                let words: Vec<String> = match (arg.get_long(), given.is_empty()) {
                    (Some(long), true) => vec![format!("--{long}")],
                    (Some(long), false) => given.iter().map(|v| format!("--{long}={v}")).collect(),
                    (None, _) => given,
                };
                assert_eq!(only.words, words.map_into(), "{text}");
                count += 1;

                // And nothing of another type.
                let wrong = match arg.get_action() {
                    ArgAction::SetTrue => "\"yes\"",
                    _ => "true",
                };
                let text = format!("# a comment\n{} = {wrong}\n", key(arg));
                let file = File {
                    path: Path::new("f.toml"),
                    text: &text,
                };
                let error = file.keys(subcommand).err().unwrap().to_string();
                let place = format!("f.toml:2: `{}` ", key(arg));
                assert!(error.contains(&place), "{error}");
            }
            assert!(count > least, "{name}: {count}");
        }
    }

    trait MapInto {
        fn map_into(self) -> Vec<OsString>;
    }

    impl MapInto for Vec<String> {
        fn map_into(self) -> Vec<OsString> {
            self.into_iter().map(OsString::from).collect()
        }
    }

    #[test]
    fn what_a_run_writes_gives_its_settings_back() {
        let mut first = Settings::default()
            .strategies(vec![Strategy::Top(4), Strategy::Select])
            .train(vec!["**/c{1,2}".to_owned()])
            .preprocess(Some(
                Preprocess::custom([0.1, -0.2, 0.3], [0.7, 1.0, 2.5]).unwrap(),
            ))
            .delimiters("norm,pool".parse().unwrap())
            .image_size(Some((160, 224)))
            .optimizer(Optimizer {
                learning_rate: 1.1e-5,
                momentum: 0.85,
                ..Optimizer::new(OptimizerKind::Sgd)
            })
            .plateau(None)
            .threads(3)
            .memory_budget(Some(123_456_789_012))
            .checkpoint_every(0.0)
            .log_steps(true);
        first.monitor = Some(first.watched());
        first.split.seed = u64::MAX;
        first.split.shuffle = false;
        first.split.validation_fraction = Some(0.05);
        let mut second = Settings::default().device("cuda:0".parse().unwrap());
        second.preprocess = Some(Preprocess::CAFFE);
        second.split.search_apart = true;
        for settings in [first, second, Settings::default()] {
            let lines = flags(&settings);
            let lines = lines
                .iter()
                .map(|(name, value)| format!("{name} = {value}\n"));
            assert_eq!(tuned(&lines.collect::<String>(), "").unwrap(), settings);
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = "epochs = 7\nseed = 3\nmean = [0, 0, 0]\nstd = [1, 1, 1]\ndropout = 0.25\n\
                    plateau-patience = 9\n";
        let settings = tuned(
            file,
            "--epochs 2 --preprocess raw --head linear --no-plateau",
        )
        .unwrap();
        assert_eq!((settings.epochs, settings.split.seed), (2, 3));
        assert_eq!(settings.preprocess, Some(Preprocess::RAW));
        assert_eq!(settings.plateau, None);
        // What does nothing in the file itself is refused, as on a command line.
        let idle = refused("head = \"linear\"\ndropout = 0.25\n");
        assert!(idle.contains("--dropout does nothing here"), "{idle}");
    }

    #[test]
    fn what_is_no_flag_or_no_value_of_one_is_refused_by_name_and_line() {
        for (text, said) in [
            (
                "epochs = 3\nepoch = 4\n",
                "f.toml:2: tune has no flag `epoch`; did you mean `epochs`?",
            ),
            ("search_fraction = 0.3\n", "did you mean `search-fraction`?"),
            ("colour = 3\n", "f.toml:1: tune has no flag `colour`"),
            (
                "\n\nepochs = \"3\"\n",
                "f.toml:3: `epochs` is a string, and has to be a whole number",
            ),
            (
                "epochs = 2.5\n",
                "`epochs` is a float, and has to be a whole number",
            ),
            ("epochs = 0\n", "f.toml:1: `epochs` cannot be used: "),
            ("head = \"papper\"\n", "f.toml:1: `head` cannot be used: "),
            (
                "head = [\"paper\"]\n",
                "`head` is a array, and has to be a text",
            ),
            ("no-shuffle = 1\n", "has to be `true` or `false`"),
            (
                "[training]\nepochs = 3\n",
                "f.toml:1: tune has no flag `training`",
            ),
            ("epochs = \n", "f.toml:1: "),
            ("epochs = 3\nepochs = 4\n", "f.toml:2: "),
            ("resume = \"run\"\n", "tune has no flag `resume`"),
        ] {
            let error = refused(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_path_that_nobody_gives_is_missing_by_name() {
        let line = ["ftsurgery", "tune", "--config", "f.toml", "--out", "r"];
        let line = line.map(OsString::from).to_vec();
        let text = "model = \"m.onnx\"\n";
        let args: TuneArgs = flags_of("tune", (Path::new("f.toml"), text), line, |_| None).unwrap();
        let error = crate::cli::tune::job(&args, vec![]).unwrap_err();
        assert!(error.to_string().contains("--data is missing"), "{error}");
    }

    /// So that the types by which values are told apart are those of the flags.
    #[test]
    fn lists_are_known_by_the_type_of_their_flag() {
        let known = SettingsArgs::augment_args(Command::new("tune"));
        let kind = |name: &str| {
            let mut all = known.get_arguments();
            all.find(|a| a.get_long() == Some(name))
                .unwrap()
                .get_value_parser()
                .type_id()
        };
        assert!(kind("mean") == TypeId::of::<[f32; 3]>());
        assert!(kind("delimiters") == TypeId::of::<Delimiters>());
    }
}
