//! A process that ends, or a disk that fails, at each change that a run makes to a file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use ftsurgery::data::Preprocess;
use ftsurgery::onnx::fault::{EXIT, Fault, seen, watch};
use ftsurgery::report;
use ftsurgery::run::Settings;
use ftsurgery::runtime::{Runtime, locate};
use ftsurgery::search::{Job, SearchError, StudyJob, Subject, study, tune};
use ftsurgery::strategy::StrategyName;
use ftsurgery::surgery::HeadKind;
use ftsurgery::training::HeadInit;
use rayon::prelude::*;

use crate::beside::save_wide;
use crate::scene::*;
use crate::support::*;

/// As [`settings`], for the binary.
const SETTINGS: &str = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 2 \
                        --search-epochs 1 --batch-size 16 --strategies head,blocks --head linear \
                        --lr 1e-2 --threads 1 --checkpoint-every 0 --memory-budget 64MiB --log-steps";

/// Of runs that the library begins, without a command line; the binary goes on with them.
fn settings() -> Settings {
    let mut settings = laborious_settings()
        .strategies(vec![StrategyName::HEAD, StrategyName::BLOCKS])
        .head(HeadKind::Linear)
        .preprocess(Some(Preprocess::SIGNED))
        .batch_size(16)
        .epochs(2)
        .search_epochs(1)
        .threads(1)
        .memory_budget(Some(64 << 20))
        .checkpoint_every(0.0)
        .log_steps(true);
    settings.split.search_fraction = 0.4.into();
    settings.split.train_fraction = 0.4;
    settings.optimizer.learning_rate = 1e-2.into();
    settings
}

/// A run or a study in a process of its own, which this test program is when it is run for this test
/// alone, with a fault at one of its changes.
#[test]
#[ignore = "the other tests of this file run it"]
fn child() {
    let Ok(task) = std::env::var("FTSURGERY_TEST_CRASH") else {
        return;
    };
    let mut words = task.split('\n');
    let mut next = || words.next().unwrap();
    let (kind, root) = (next(), Path::new(next()));
    let fault = match next() {
        "end" => Fault::End,
        _ => Fault::Fail,
    };
    let at: usize = next().parse().unwrap();
    let runtime = Runtime::load(&locate::locate(None).unwrap().located).unwrap();
    watch(Some((at, fault)));
    let [model, data, out] = ["model.onnx", "photos", kind].map(|name| root.join(name));
    let done = if kind.starts_with("study") {
        let models = vec![model, root.join("other.onnx")];
        let subject = |path| Subject {
            path,
            preprocess: None,
        };
        let models = models.into_iter().map(subject).collect();
        let job = StudyJob::new(models, data, out.clone()).settings(settings());
        study(&runtime, &job, &(), &|study, run| {
            let _ = report::write(run);
            report::write_study(&out, study).map_err(|e| SearchError::Setting(e.to_string()))
        })
        .map(drop)
    } else {
        let mut job = Job::new(model, data, out.clone()).settings(settings());
        if kind.starts_with("solved") {
            job.settings.head_init = HeadInit::Solved;
        }
        if kind.starts_with("beside") {
            if out.join("run.json").is_file() {
                job = Job::resume(&out).unwrap();
            } else {
                job.settings.features = Some("second".to_owned());
            }
            job = job.largest_file(Some(1 << 16));
        }
        tune(&runtime, &job, &()).map(|_| drop(report::write(&out)))
    };
    std::fs::write(root.join("changes"), seen().join("\n")).unwrap();
    // A fault that fails, and one that does not matter.
    std::process::exit(i32::from(done.is_err()));
}

/// Runs the child; gives its exit code.
fn run_child(scene: &Scene, kind: &str, fault: &str, at: usize) -> i32 {
    let root = scene.at("");
    let task = format!("{kind}\n{}\n{fault}\n{at}", root.display());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::child", "--ignored"]);
    command.env("FTSURGERY_TEST_CRASH", task);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap().code().unwrap()
}

fn changes(scene: &Scene) -> Vec<String> {
    let text = std::fs::read_to_string(scene.at("changes")).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_run_that_ends_at_any_change_of_a_file_goes_on_to_the_same_bytes() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    scene.whole(SETTINGS);
    assert_eq!(run_child(&scene, "unbroken", "end", usize::MAX), 0);
    assert_same_outcome(&scene.at("whole"), &scene.at("unbroken"));
    let all = changes(&scene);
    println!("{} changes", all.len());
    let every = |fault: &'static str, step| {
        let places = (1..=all.len()).step_by(step);
        places.map(move |at| (fault, at))
    };
    let points: Vec<_> = every("end", 1).chain(every("fail", 2)).collect();
    points.into_par_iter().for_each(|(fault, at)| {
        let run = format!("{fault}{at}");
        let what = &all[at - 1];
        let code = run_child(&scene, &run, fault, at);
        match fault {
            "end" => assert_eq!(code, EXIT, "{at}: {what}"),
            _ => assert!(code == 0 || code == 1, "{at}: {what}: {code}"),
        }
        let begun = scene.at(&run).join("run.json").is_file();
        let (code, text) = said(scene.resume(&run, &[]));
        if !begun {
            assert_eq!(code, Some(2), "{at}: {what}: {text}");
            assert!(text.contains("begin"), "{at}: {what}: {text}");
            succeeds(scene.start(&run, SETTINGS));
        } else {
            assert_eq!(code, Some(0), "{at}: {what}: {text}");
        }
        assert_same_outcome(&scene.at("whole"), &scene.at(&run));
        std::fs::remove_dir_all(scene.at(&run)).unwrap();
    });
}

#[test]
fn a_head_that_was_being_written_is_whole_or_solved_again() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{SETTINGS} --head-init solved");
    scene.whole(&settings);
    assert_eq!(run_child(&scene, "solved", "end", usize::MAX), 0);
    assert_same_outcome(&scene.at("whole"), &scene.at("solved"));
    let all = changes(&scene);
    let of_heads = |what: &String| {
        let names = ["heads", "search.safetensors", "train.safetensors"];
        names.iter().any(|name| what.contains(name))
    };
    let places = (1..=all.len()).filter(|&at| of_heads(&all[at - 1]));
    let places: Vec<usize> = places.collect();
    assert!(places.len() >= 8, "{all:?}");
    places.into_par_iter().for_each(|at| {
        for fault in ["end", "fail"] {
            let run = format!("solved-{fault}{at}");
            let what = &all[at - 1];
            let code = run_child(&scene, &run, fault, at);
            if fault == "end" {
                assert_eq!(code, EXIT, "{at}: {what}");
            }
            succeeds(scene.resume(&run, &[]));
            assert_same_outcome(&scene.at("whole"), &scene.at(&run));
        }
    });
}

#[test]
fn a_winner_in_two_files_that_ends_at_any_change_of_them_comes_out_whole() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    save_wide(&scene.at("model.onnx"));
    assert_eq!(run_child(&scene, "beside", "end", usize::MAX), 0);
    let winners = |run: &str| {
        let files = std::fs::read_dir(scene.at(run).join("winners")).unwrap();
        let named = files.map(|file| {
            let file = file.unwrap();
            (file.file_name(), std::fs::read(file.path()).unwrap())
        });
        named.collect::<BTreeMap<_, _>>()
    };
    let whole = winners("beside");
    assert!(whole.contains_key(OsStr::new("head.onnx.data")));
    let all = changes(&scene);
    let of_winners = all
        .iter()
        .enumerate()
        .filter(|(_, what)| what.contains("winners"));
    let mut tried = 0;
    for (at, what) in of_winners {
        for fault in ["end", "fail"] {
            let run = format!("beside-{fault}{at}");
            assert_ne!(run_child(&scene, &run, fault, at + 1), 0, "{what}");
            assert_eq!(run_child(&scene, &run, "end", usize::MAX), 0, "{what}");
            assert!(winners(&run) == whole, "{fault} at {at}: {what}");
            std::fs::remove_dir_all(scene.at(&run)).unwrap();
            tried += 1;
        }
    }
    assert!(tried >= 16, "{tried} of {all:?}");
}

#[test]
fn a_study_that_ends_at_any_change_of_a_file_goes_on_to_the_same_bytes() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    std::fs::copy(scene.at("model.onnx"), scene.at("other.onnx")).unwrap();
    let study = |begin: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
        command.current_dir(scene.at("")).args(["--quiet", "study"]);
        command.args(begin).stdout(Stdio::null());
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    let begin = |out: &str| {
        let words = format!("--models model.onnx,other.onnx --data photos --out {out} {SETTINGS}");
        study(&laborious(&words.split_whitespace().collect::<Vec<_>>()))
    };
    succeeds(begin("whole"));
    assert_eq!(run_child(&scene, "study", "end", usize::MAX), 0);
    let all = changes(&scene);
    let of_second = all.iter().rposition(|what| what == "write run.json");
    // What a study does of its own, and where its runs begin: at every change; else here and there.
    let places = (1..=all.len()).filter(|&at| {
        let near = at < 16 || of_second.is_some_and(|second| at.abs_diff(second) < 10);
        near || at % 17 == 0
    });
    places.collect::<Vec<_>>().into_par_iter().for_each(|at| {
        let run = format!("study{at}");
        let what = &all[at - 1];
        assert_eq!(run_child(&scene, &run, "end", at), EXIT, "{at}: {what}");
        match scene.at(&run).join("study.json").is_file() {
            true => succeeds(study(&["--resume", &run])),
            false => succeeds(begin(&run)),
        }
        for model in ["model", "other"] {
            assert_same_outcome(&scene.at("whole").join(model), &scene.at(&run).join(model));
        }
    });
}

/// A power cut must not leave a trial that has ended without its curve, or a model's record without
/// the model.
#[test]
fn what_a_record_speaks_of_is_on_the_disk_before_it() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    assert_eq!(run_child(&scene, "run", "end", usize::MAX), 0);
    let all = changes(&scene);
    let before = |at: usize, what: &str| all[..at].iter().rposition(|w| w == what);
    let places =
        |what: &str| -> Vec<usize> { (0..all.len()).filter(|&i| all[i] == what).collect() };
    let appended = places("append to trials.jsonl");
    assert_eq!(appended.len(), 6, "{all:?}");
    for &at in &appended {
        let synced = before(at, "sync metrics.jsonl").unwrap();
        let written = before(at, "append to metrics.jsonl").unwrap();
        assert!(written < synced, "{all:?}");
    }
    // The names of trials.jsonl and of each trial's folder, too.
    assert_eq!(all[appended[0] + 2], "sync folder run", "{all:?}");
    for at in places("create folder head-search") {
        assert_eq!(all[at + 1], "sync folder trials");
    }
    for &at in &places("rename to head.onnx") {
        assert_eq!(all[at + 1], "sync folder winners");
    }
}
