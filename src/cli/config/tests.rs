//! Flags from files.

use super::*;
use crate::analysis::Delimiters;
use crate::data::Preprocess;
use crate::run::{Settings, flags};
use crate::strategy::StrategyName;
use crate::training::{Cosine, Optimizer, OptimizerKind, Schedule};
use clap::Args;

use crate::cli::settings::SettingsArgs;
use crate::cli::tune::JobArgs;

/// What a file makes of `tune --config FILE` with these words behind it.
fn tuned(text: &str, words: &str) -> Result<Settings, CliError> {
    let line = "ftsurgery tune --config f.toml ".to_owned() + words;
    let line = line.split_whitespace().map(OsString::from).collect();
    let idle = |args: &SettingsArgs| Some(args.idle(None)?.0);
    flags_of("tune", (Path::new("f.toml"), text), line, idle)?.settings(Path::new("photos"))
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
        "search" => (r#""halving:2""#, vec!["halving:2"]),
        "adafilter-gate" => (r#""zeros""#, vec!["zeros"]),
        "spottune-policy" => (r#""features""#, vec!["features"]),
        "adafilter-start" | "spottune-start" => (r#""half""#, vec!["half"]),
        "head" => (r#""keep""#, vec!["keep"]),
        "head-init" => (r#""solved""#, vec!["solved"]),
        "preprocess" => (r#""caffe""#, vec!["caffe"]),
        "task" => (r#""multi-label""#, vec!["multi-label"]),
        "sampler" => (r#""balanced""#, vec!["balanced"]),
        "resize" => (r#""crop:0.9""#, vec!["crop:0.9"]),
        "augment" => (r#""flip""#, vec!["flip"]),
        "optimizer" => (r#""sgd""#, vec!["sgd"]),
        "schedule" => (r#""cosine""#, vec!["cosine"]),
        "bn" => (r#""batch""#, vec!["batch"]),
        "rank-by" => (r#""loss""#, vec!["loss"]),
        "rank-samples" => ("500", vec!["500"]),
        "monitor" => (r#""macro-f1""#, vec!["macro-f1"]),
        "class-weights" => (r#""balanced""#, vec!["balanced"]),
        "device" => (r#""cuda:1""#, vec!["cuda:1"]),
        "engine" => (r#""ort-training""#, vec!["ort-training"]),
        "operators" => (r#""standard""#, vec!["standard"]),
        "optimizer-in-graph" => (r#""on""#, vec!["on"]),
        "image-cache" => (r#""disk""#, vec!["disk"]),
        "feature-precision" => (r#""f16""#, vec!["f16"]),
        _ if matches!(arg.get_action(), ArgAction::SetTrue) => ("true", vec![]),
        "model" | "data" | "out" | "features" | "output" => (r#""a b""#, vec!["a b"]),
        "seed" => ("18446744073709551615", vec!["18446744073709551615"]),
        "epochs" | "search-epochs" => ("3", vec!["3"]),
        "early-stopping" => (r#""off""#, vec!["off"]),
        "lr" => (r#""auto""#, vec!["auto"]),
        "budget" => (r#""10m""#, vec!["10m"]),
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
        .strategies(vec![StrategyName::top(4), StrategyName::SELECT])
        .train(vec!["**/c{1,2}".to_owned()])
        .preprocess(Some(
            Preprocess::custom([0.1, -0.2, 0.3], [0.7, 1.0, 2.5]).unwrap(),
        ))
        .resize(Some("crop:0.95".parse().unwrap()))
        .delimiters("norm,pool".parse().unwrap())
        .image_size(Some((160, 224)))
        .optimizer(Optimizer {
            learning_rate: 1.1e-5.into(),
            momentum: 0.85,
            ..Optimizer::new(OptimizerKind::Sgd)
        })
        .schedule(Schedule::Cosine(Cosine { floor: 0.01 }))
        .warmup(1.5)
        .head_lr(Some(1e-3))
        .layer_decay(0.75)
        .mixup(0.25)
        .cutmix(1.0)
        .ema(Some(0.99))
        .l2_sp(Some(0.05))
        .group_filters(Some(8))
        .clip_norm(Some(1.5))
        .label_smoothing(0.1)
        .threads(3)
        .memory_budget(Some(123_456_789_012))
        .checkpoint_every(0.0)
        .log_steps(true);
    first.monitor = Some(first.watched());
    first.split.seed = u64::MAX;
    first.split.shuffle = false;
    first.split.validation_fraction = Some(0.05);
    let mut second = Settings::default()
        .device("cuda:0".parse().unwrap())
        .optimizer_in_graph(false)
        .tf32(true);
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
    let file = "epochs = 7\nseed = 3\nmean = [0, 0, 0]\nstd = [1, 1, 1]\nhead = \"paper\"\ndropout = 0.25\n\
                schedule = \"plateau\"\nplateau-patience = 9\n";
    let settings = tuned(
        file,
        "--epochs 2 --preprocess raw --head linear --schedule constant",
    )
    .unwrap();
    assert_eq!((settings.epochs, settings.split.seed), (2.into(), 3));
    assert_eq!(settings.preprocess, Some(Preprocess::RAW));
    assert_eq!(settings.schedule, Schedule::Constant);
    // What does nothing in the file itself is refused, as on a command line.
    let text = "head = \"linear\"\ndropout = 0.25\n";
    for idle in [
        refused(text),
        tuned(text, "--epochs 2").unwrap_err().to_string(),
    ] {
        assert!(idle.contains("--dropout does nothing here"), "{idle}");
    }
}

#[test]
fn what_a_run_wrote_serves_on_another_device_and_for_other_strategies() {
    let began = Settings::default()
        .strategies(vec![StrategyName::HEAD, StrategyName::SELECT])
        .train(vec!["block5".to_owned()]);
    let lines = flags(&began);
    let lines = lines
        .iter()
        .map(|(name, value)| format!("{name} = {value}\n"));
    let settings = tuned(
        &lines.collect::<String>(),
        "--device cuda --strategies head",
    )
    .unwrap();
    assert_eq!(settings.device, "cuda".parse().unwrap());
    assert_eq!(settings.strategies, [StrategyName::HEAD]);
    assert!(settings.train.is_empty());
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
            "f.toml:3: `epochs` is of type string, and has to be a whole number",
        ),
        (
            "epochs = 2.5\n",
            "`epochs` is of type float, and has to be a whole number",
        ),
        ("epochs = 0\n", "f.toml:1: `epochs` cannot be used: "),
        ("head = \"papper\"\n", "f.toml:1: `head` cannot be used: "),
        (
            "head = [\"paper\"]\n",
            "`head` is of type array, and has to be a text",
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
    let args: JobArgs = flags_of("tune", (Path::new("f.toml"), text), line, |_| None).unwrap();
    let error = crate::cli::tune::job("tune", &args, &[]).unwrap_err();
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
