//! Flags and their defaults.

use super::*;
use crate::training::{Cosine, Optimizer, OptimizerKind, Plateau, Schedule};
use clap::Parser;

#[derive(Parser)]
struct Bare {
    #[command(flatten)]
    settings: SettingsArgs,
}

fn settings(words: &str) -> Settings {
    let words = std::iter::once("tune").chain(words.split_whitespace());
    let args = Bare::parse_from(words).settings;
    args.settings(Path::new("photos")).unwrap()
}

#[test]
fn without_flags_the_settings_are_those_of_the_library() {
    assert_eq!(settings(""), Settings::default());
}

#[test]
fn help_shows_the_defaults_of_the_library() {
    let command = with_defaults(crate::cli::command());
    for subcommand in ["tune", "study"] {
        let command = command.find_subcommand(subcommand).unwrap();
        let help = |name: &str| {
            let arg = command.get_arguments().find(|a| a.get_long() == Some(name));
            let arg = arg.unwrap_or_else(|| panic!("{subcommand} has no --{name}"));
            assert!(
                arg.get_default_values().is_empty(),
                "{name} has a default of its own"
            );
            arg.get_help().unwrap().to_string()
        };
        let default = Settings::default();
        for (name, value) in flags(&default) {
            let text = help(name);
            let count = text.matches("[default: ").count();
            let Some(shown) = value.shown() else {
                assert_eq!(count, 0, "{name}: {text}");
                continue;
            };
            assert_eq!(count, 1, "{name}: {text}");
            assert!(
                text.contains(&format!("[default: {shown}]")),
                "{name}: {text}"
            );
        }
        let usual = |kind| format!("{:e}", Optimizer::new(kind).learning_rate.or(0.0));
        let [adam, sgd] = [OptimizerKind::Adam, OptimizerKind::Sgd].map(usual);
        assert!(help("lr").contains(&format!("it is {adam}, of sgd {sgd}")));
        let momentum = format!("[default: {}]", default.optimizer.momentum);
        assert!(help("momentum").contains(&momentum));
    }
}

#[test]
fn a_flag_given_to_settings_changes_what_it_names_alone() {
    let began = settings(
        "--optimizer sgd --lr 0.3 --no-shuffle --schedule plateau --plateau-patience 7 --image-size 64",
    );
    let mut now = began.clone();
    let words = ["tune", "--weight-decay", "0.5", "--plateau-factor", "0.25"];
    Bare::parse_from(words).settings.apply(&mut now).unwrap();
    let mut expected = began;
    expected.optimizer.weight_decay = 0.5;
    expected.schedule = Schedule::Plateau(Plateau {
        patience: 7,
        factor: 0.25,
        ..Plateau::default()
    });
    assert_eq!(now, expected);
}

#[test]
fn a_schedule_has_its_own_flags_and_one_that_is_named_keeps_what_it_had() {
    let cosine = Schedule::Cosine(Cosine { floor: 0.1 });
    let mut began = settings("--schedule cosine --cosine-floor 0.1 --warmup 0.5");
    assert_eq!((began.schedule, began.warmup), (cosine, 0.5));
    let given = |words: &[&str]| {
        let words = ["tune"].into_iter().chain(words.iter().copied());
        Bare::parse_from(words).settings
    };
    given(&["--schedule", "cosine"]).apply(&mut began).unwrap();
    assert_eq!(began.schedule, cosine);
    // Which shows that it is another schedule than the run began with.
    given(&["--plateau-patience", "2"])
        .apply(&mut began)
        .unwrap();
    assert_eq!(began.schedule.name(), "plateau");
    given(&["--schedule", "one-cycle"])
        .apply(&mut began)
        .unwrap();
    assert_eq!(began.schedule, Schedule::OneCycle);
    for (words, flag) in [
        (
            "--schedule constant --plateau-patience 2",
            "plateau-patience",
        ),
        ("--schedule cosine --plateau-factor 0.2", "plateau-factor"),
        ("--schedule constant --cosine-floor 0.1", "cosine-floor"),
        (
            "--strategies head --search-fraction 0 --schedule plateau",
            "schedule plateau",
        ),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(given(&words).idle(None).unwrap().0, flag);
    }
}

#[test]
fn the_figure_that_is_watched_follows_the_start_and_the_class_weights() {
    for (words, watched) in [
        ("", Monitor::CalibratedLoss),
        ("--head-init random", Monitor::Accuracy),
        (
            "--head-init random --class-weights balanced",
            Monitor::BalancedAccuracy,
        ),
        ("--class-weights balanced --monitor loss", Monitor::Loss),
    ] {
        let settings = settings(words);
        assert_eq!(settings.watched(), watched, "{words}");
    }
}

#[test]
fn flags_that_change_nothing_are_told_of_each_with_its_reason() {
    let unused = |words: &str| {
        let args = Bare::parse_from(["tune"].into_iter().chain(words.split(' '))).settings;
        let settings = args.settings(Path::new("photos")).unwrap();
        args.unused(&settings)
    };
    let solved = "--head linear --head-init solved";
    let told = unused(&format!(
        "{solved} --strategies head --epochs 9 --schedule cosine --lr 1e-3"
    ));
    let all = ["--epochs", "--lr", "--schedule"];
    assert!(
        told.iter()
            .zip(all)
            .all(|(text, flag)| text.starts_with(flag)),
        "{told:?}"
    );
    assert!(
        told.len() == 3 && told[0].contains("the head is solved"),
        "{told:?}"
    );
    let told = unused("--strategies head,full --rank-samples 500 --rank-by loss --search-epochs 2");
    assert_eq!(told.len(), 3);
    assert!(
        told.iter()
            .all(|text| text.contains("none of --strategies searches")),
        "{told:?}"
    );
    let told = unused("--strategies full --epochs 3 --warmup 3");
    assert!(
        told.len() == 1 && told[0].starts_with("--warmup is too long"),
        "{told:?}"
    );
    for used in [
        "--strategies blocks --rank-samples 500 --rank-by loss --search-epochs 2 --epochs 4 --warmup 1",
        &format!("{solved} --strategies head,full --epochs 9 --schedule cosine"),
        "--head linear --head-init random --strategies head --epochs 9 --lr 1e-3",
        // Without validation samples the head is trained alone for as long.
        "--head paper --head-init solved --strategies head --epochs 9 --search-fraction 0 --batch-size 8",
        "--recipe fast --strategies head",
    ] {
        assert_eq!(unused(used), [""; 0], "{used}");
    }
}
