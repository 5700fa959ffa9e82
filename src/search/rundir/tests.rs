use super::*;
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
    assert!(matches!(error, SearchError::NotEmpty { .. }));
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
    run.write_results(&Results::default()).unwrap();
    run.metrics("full-train").unwrap().flush().unwrap();
    run.metrics("head-train").unwrap().flush().unwrap();
    let mine = [
        "winners/mine.onnx",
        "trials/head-train/notes.txt",
        "notes.txt",
    ];
    fs::create_dir(run.path("winners")).unwrap();
    for name in mine {
        fs::write(run.path(name), "mine").unwrap();
    }
    fs::write(run.path("winners/full.onnx"), "old").unwrap();
    let repetition = run.repetition(2).unwrap();
    fs::create_dir(repetition.path("winners")).unwrap();
    fs::write(repetition.path("winners/.ftsurgery-Ab12"), "half").unwrap();
    drop(run);
    let run = RunDir::take(folder.path(), Begin::Replace).unwrap();
    assert!(!run.path("repeats").exists());
    for name in mine {
        assert_eq!(fs::read_to_string(run.path(name)).unwrap(), "mine");
    }
    for name in ["results.json", "winners/full.onnx", "trials/full-train"] {
        assert!(!run.path(name).exists(), "{name}");
    }
}

fn trial(id: &str) -> TrialRecord {
    TrialRecord {
        id: id.to_owned(),
        strategy: Strategy::Head,
        phase: crate::search::Phase::Search,
        candidate: "head".to_owned(),
        layers: vec![],
        trained_parameters: Some(1),
        validation: None,
        best_epoch: 1,
        epochs: 1,
        seconds: 0.5,
        same_as: None,
        error: None,
    }
}

#[test]
fn a_second_process_is_refused_while_the_first_is_at_work() {
    let folder = tempfile::tempdir().unwrap();
    let first = RunDir::take(folder.path(), Begin::New).unwrap();
    for begin in [Begin::New, Begin::Replace] {
        let error = RunDir::take(folder.path(), begin).unwrap_err();
        assert!(matches!(error, SearchError::InUse { .. }), "{error}");
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
        loss: 0.5,
        validation: None,
        learning_rate: 0.1,
        seconds: 1.0,
    };
    let mut metrics = run.metrics("t").unwrap();
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
    metrics.rewind(2, &[epoch(1), epoch(2)]).unwrap();
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
