use super::*;
use crate::run::Failure;
use crate::training::EpochMetrics;

#[test]
fn a_folder_with_anything_in_it_is_refused_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    // What a process left that was killed before it began does not count.
    drop(RunDir::take(root, Begin::New).unwrap());
    drop(RunDir::take(root, Begin::New).unwrap());
    fs::write(root.join("notes.txt"), "").unwrap();
    let error = RunDir::take(root, Begin::New).unwrap_err();
    assert!(error.is_bad_input());
    assert!(matches!(error, RunError::NotEmpty { .. }));
    RunDir::take(root, Begin::Replace).unwrap();
    let file = root.join("file");
    fs::write(&file, "").unwrap();
    assert!(
        RunDir::check(&file, Begin::Replace)
            .unwrap_err()
            .is_bad_input()
    );
}

#[test]
fn force_removes_the_files_of_an_earlier_run_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::take(folder.path(), Begin::New).unwrap();
    fs::write(run.path(RUN), r#"{"versions": {"ftsurgery": "0.0.1"}}"#).unwrap();
    run.write_results(&Results::default()).unwrap();
    run.metrics("full-train").unwrap().flush().unwrap();
    run.metrics("head-train").unwrap().flush().unwrap();
    let mine = [
        "winners/mine.onnx",
        "trials/head-train/notes.txt",
        "cluster/notes.txt",
        "notes.txt",
    ];
    for folder in ["winners", "cluster"] {
        fs::create_dir(run.path(folder)).unwrap();
    }
    fs::write(run.path("cluster/1-0.out"), "old").unwrap();
    for name in mine {
        fs::write(run.path(name), "mine").unwrap();
    }
    fs::write(run.path("winners/full.onnx"), "old").unwrap();
    let repetition = run.repetition(2, false).unwrap();
    fs::create_dir(repetition.path("winners")).unwrap();
    fs::write(repetition.path("winners/.ftsurgery-Ab12"), "half").unwrap();
    drop(run);
    let run = RunDir::take(folder.path(), Begin::Replace).unwrap();
    assert!(!run.path("repeats").exists());
    for name in mine {
        assert_eq!(fs::read_to_string(run.path(name)).unwrap(), "mine");
    }
    for name in [
        "results.json",
        "winners/full.onnx",
        "trials/full-train",
        "cluster/1-0.out",
    ] {
        assert!(!run.path(name).exists(), "{name}");
    }
}

#[test]
fn force_replaces_nothing_where_there_is_no_run() {
    for name in ["report.html", "results.json", "winners", "split.json"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        match name {
            "winners" => fs::create_dir(&file).unwrap(),
            _ => fs::write(&file, "mine").unwrap(),
        }
        let error = RunDir::take(folder.path(), Begin::Replace).unwrap_err();
        assert!(
            error.is_bad_input() && error.to_string().contains(name),
            "{error}"
        );
        assert!(file.exists());
    }
    // Another program's run.json is none, either.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(RUN), r#"{"versions": 3}"#).unwrap();
    let error = RunDir::take(folder.path(), Begin::Replace).unwrap_err();
    assert!(matches!(error, RunError::NotOurs { .. }), "{error}");
}

#[test]
fn a_split_without_a_run_is_what_a_killed_process_left_if_it_had_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(SPLIT), "{}").unwrap();
    assert!(RunDir::check(folder.path(), Begin::New).is_err());
    fs::write(folder.path().join(LOCK), "").unwrap();
    for begin in [Begin::New, Begin::Replace] {
        RunDir::check(folder.path(), begin).unwrap();
    }
    fs::write(folder.path().join(RUN), "{}").unwrap();
    assert!(RunDir::check(folder.path(), Begin::New).is_err());
}

#[test]
fn only_trials_that_have_ended_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::take(folder.path(), Begin::New).unwrap();
    let with = |id: &str, error: Option<&str>, failure| TrialRecord {
        error: error.map(str::to_owned),
        failure,
        ..trial(id)
    };
    let diverged = with("b", Some("the loss is NaN"), Some(Failure::Diverged));
    run.append_trial(&with("a", Some("out of memory"), None))
        .unwrap();
    run.append_trial(&diverged).unwrap();
    run.append_trial(&trial("c")).unwrap();
    let kept = run.read_trials().unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!((&kept["b"], &kept["c"]), (&diverged, &trial("c")));
    let lines = fs::read_to_string(run.path(TRIALS)).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
}

#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_file_is_an_error_and_no_wait() {
    for name in [RUN, TRIALS, RESULTS, LOCK] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        if !crate::testing::pipe(&path) {
            return;
        }
        let run = RunDir {
            root: folder.path().to_owned(),
            _locks: Vec::new(),
        };
        let error = match name {
            RUN => RunDir::read_run(folder.path()).unwrap_err(),
            TRIALS => run.read_trials().unwrap_err(),
            RESULTS => run.read_results().unwrap_err(),
            _ => lock(folder.path()).unwrap_err(),
        };
        assert!(error.to_string().contains(name), "{error}");
    }
}

fn trial(id: &str) -> TrialRecord {
    TrialRecord {
        id: id.to_owned(),
        strategy: StrategyName::HEAD,
        phase: crate::run::Phase::Search,
        candidate: "head".to_owned(),
        layers: vec![],
        trained_parameters: Some(1),
        added_parameters: 0,
        flops: None,
        validation: None,
        ranking: None,
        best_epoch: 1,
        epochs: 1,
        rate: None,
        tried_rates: vec![],
        abandoned_epochs: 0,
        seconds: 0.5,
        clock: None,
        still_improving: false,
        same_as: None,
        error: None,
        failure: None,
        rung: 0,
    }
}

#[test]
fn a_second_process_is_refused_while_the_first_is_at_work() {
    let folder = tempfile::tempdir().unwrap();
    let first = RunDir::take(folder.path(), Begin::New).unwrap();
    for begin in [Begin::New, Begin::Replace] {
        let error = RunDir::take(folder.path(), begin).unwrap_err();
        assert!(matches!(error, RunError::InUse { .. }), "{error}");
    }
    drop(first);
    RunDir::take(folder.path(), Begin::New).unwrap();
}

#[test]
fn half_a_line_of_a_killed_process_is_taken_off() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::take(folder.path(), Begin::New).unwrap();
    assert!(run.read_trials().unwrap().is_empty());
    run.append_trial(&trial("a")).unwrap();
    let whole = fs::read(run.path(TRIALS)).unwrap();
    let mut torn = whole.clone();
    torn.extend_from_slice(&whole[..whole.len() / 2]);
    fs::write(run.path(TRIALS), &torn).unwrap();
    assert_eq!(run.read_trials().unwrap()["a"], trial("a"));
    assert_eq!(fs::read(run.path(TRIALS)).unwrap(), whole);
    fs::write(run.path(TRIALS), "{}\n").unwrap();
    assert!(run.read_trials().unwrap_err().to_string().contains(TRIALS));
}

#[test]
fn metrics_go_on_behind_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::take(folder.path(), Begin::New).unwrap();
    let epoch = |epoch| EpochMetrics {
        epoch,
        loss: (epoch > 0).then_some(0.5),
        penalty: None,
        validation: None,
        learning_rate: 0.1,
        seconds: 1.0,
    };
    let mut metrics = run.metrics("t").unwrap();
    metrics.line(&epoch(0)).unwrap();
    for (step, e) in [(1, 1), (2, 2), (3, 3)] {
        metrics
            .line(&serde_json::json!({"step": step, "loss": 1.0}))
            .unwrap();
        metrics.line(&epoch(e)).unwrap();
    }
    metrics.flush().unwrap();
    let text = fs::read_to_string(run.path("trials/t/metrics.jsonl")).unwrap();
    fs::write(run.checkpoint("t"), "").unwrap();
    let mut metrics = run.metrics("t").unwrap();
    metrics.rewind(2, &[epoch(0), epoch(1), epoch(2)]).unwrap();
    metrics
        .line(&serde_json::json!({"step": 3, "loss": 1.0}))
        .unwrap();
    metrics.line(&epoch(3)).unwrap();
    metrics.flush().unwrap();
    assert_eq!(
        fs::read_to_string(run.path("trials/t/metrics.jsonl")).unwrap(),
        text
    );
    run.remove_checkpoint("t").unwrap();
    run.metrics("t").unwrap();
    assert_eq!(fs::read(run.path("trials/t/metrics.jsonl")).unwrap(), b"");
}

#[test]
fn what_a_killed_process_left_half_written_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::take(folder.path(), Begin::New).unwrap();
    let folders = ["", "winners", "trials/head-train", "tensorboard/head-train"];
    for folder in folders {
        fs::create_dir_all(run.path(folder)).unwrap();
        fs::write(run.path(folder).join(".ftsurgery-Ab12"), "half").unwrap();
        fs::write(run.path(folder).join("whole"), "").unwrap();
    }
    fs::write(run.path(RUN), "{}").unwrap();
    drop(run);
    let run = RunDir::take(folder.path(), Begin::Resume).unwrap();
    for folder in folders {
        assert!(
            !run.path(folder).join(".ftsurgery-Ab12").exists(),
            "{folder}"
        );
        assert!(run.path(folder).join("whole").exists(), "{folder}");
    }
}
