//! Runs from a configuration file, and runs that the library began.

use ftsurgery::data::Preprocess;
use ftsurgery::run::{Begin, RunError, Settings, Study};
use ftsurgery::runtime::testing::runtime;
use ftsurgery::search::{Job, SearchError, StudyJob, Subject, study, tune};
use ftsurgery::strategy::StrategyName;
use ftsurgery::surgery::HeadKind;

use crate::scene::*;
use crate::support::*;

#[test]
fn the_file_that_a_run_writes_makes_it_again() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    let settings = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 2 --search-epochs 1 \
                    --strategies head,blocks --optimizer sgd --lr 3e-3 --seed 5 --threads 1";
    succeeds(scene.start("whole", settings));
    let mut command = process();
    command.arg("--config").arg(scene.at("whole/config.toml"));
    command.arg("--out").arg(scene.at("again"));
    succeeds(command.spawn().unwrap());
    assert_same_outcome(&scene.at("whole"), &scene.at("again"));
    let read = |run: &str| std::fs::read(scene.at(run).join("config.toml")).unwrap();
    assert_eq!(read("whole"), read("again"));

    // A flag wins, and what the file has wrong is told with its line.
    let mut command = process();
    command.arg("--config").arg(scene.at("whole/config.toml"));
    command.arg("--out").arg(scene.at("other"));
    command.args(["--strategies", "head", "--seed", "6"]);
    succeeds(command.spawn().unwrap());
    let run = json(&scene.at("other/run.json"));
    assert_eq!(run["configuration"]["seed"], 6);
    assert_eq!(run["configuration"]["epochs"], 2);
    std::fs::write(scene.at("wrong.toml"), "epochs = 2\nepoch = 3\n").unwrap();
    let mut command = process();
    command.arg("--config").arg(scene.at("wrong.toml"));
    let (code, text) = said(command.spawn().unwrap());
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("wrong.toml:2:") && text.contains("`epochs`?"),
        "{text}"
    );
}

/// Of a run without a command line.
fn settings() -> Settings {
    let mut settings = laborious_settings()
        .strategies(vec![StrategyName::HEAD, StrategyName::BLOCKS])
        .head(HeadKind::Linear)
        .preprocess(Some(Preprocess::SIGNED))
        .epochs(2)
        .search_epochs(1)
        .threads(1);
    settings.split.search_fraction = 0.4.into();
    settings.split.train_fraction = 0.4;
    settings
}

#[test]
fn runs_that_the_library_began_are_resumed_by_it_and_by_the_command() {
    let Some(runtime) = runtime() else { return };
    let scene = Scene::of(8);
    let at = |name: &str| scene.at(name);
    let job = |out: &str| Job::new(at("model.onnx"), at("photos"), at(out)).settings(settings());
    tune(&runtime, &job("run"), &()).unwrap();
    assert!(
        json(&at("run/run.json"))["command"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let winner = at("run/winners/blocks.onnx");
    let bytes = std::fs::read(&winner).unwrap();

    std::fs::remove_file(&winner).unwrap();
    let resumed = Job::resume(&at("run")).unwrap();
    assert_eq!(resumed.begin, Begin::Resume);
    tune(&runtime, &resumed, &()).unwrap();
    assert!(std::fs::read(&winner).unwrap() == bytes);

    std::fs::remove_file(&winner).unwrap();
    succeeds(scene.resume("run", &["--checkpoint-every", "5"]));
    assert!(std::fs::read(&winner).unwrap() == bytes);
    let (code, text) = said(scene.resume("run", &["--epochs", "3"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--epochs has changed"), "{text}");

    let mut other = resumed.clone();
    other.settings.batch_size = 2;
    let error = tune(&runtime, &other, &()).unwrap_err();
    assert!(
        matches!(error, SearchError::Run(RunError::Changed { .. })),
        "{error}"
    );

    let error = tune(&runtime, &job("new").settings(settings().epochs(0)), &()).unwrap_err();
    assert!(
        error.is_bad_input() && error.to_string().contains("`epochs`"),
        "{error}"
    );
    assert!(!at("new").exists());
}

#[test]
fn studies_that_the_library_began_are_resumed_by_it_and_by_the_command() {
    let Some(runtime) = runtime() else { return };
    let scene = Scene::of(8);
    let at = |name: &str| scene.at(name);
    save_backbone(&at("other.onnx"));
    let models = ["model.onnx", "other.onnx"].map(|name| Subject {
        path: at(name),
        preprocess: None,
    });
    let settings = settings().strategies(vec![StrategyName::HEAD]);
    let job = StudyJob::new(models.to_vec(), at("photos"), at("study")).settings(settings);
    let ended = |_: &Study, _: &std::path::Path| Ok::<(), SearchError>(());
    study(&runtime, &job, &(), &ended).unwrap();
    let winner = at("study/other/winners/head.onnx");
    let bytes = std::fs::read(&winner).unwrap();

    std::fs::remove_file(&winner).unwrap();
    let resumed = StudyJob::resume(&at("study")).unwrap();
    study(&runtime, &resumed, &(), &ended).unwrap();
    assert!(std::fs::read(&winner).unwrap() == bytes);

    std::fs::remove_file(&winner).unwrap();
    let resume = |arguments: &[&str]| {
        let mut command = ftsurgery();
        command
            .args(["study", "--resume"])
            .arg(at("study"))
            .args(arguments);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = resume(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(std::fs::read(&winner).unwrap() == bytes);
    let (code, text) = resume(&["--epochs", "9"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--epochs has changed"), "{text}");
    // Nothing of it stays.
    assert_eq!(json(&at("study/study.json"))["settings"]["epochs"], 2);

    let mut record = json(&at("study/study.json"));
    record.as_object_mut().unwrap().remove("format");
    std::fs::write(at("study/study.json"), record.to_string()).unwrap();
    let (code, text) = resume(&[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("written by another version"), "{text}");
}
