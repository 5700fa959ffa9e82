//! `ftsurgery report RUN`: what it writes and what it refuses.

use std::fs;

use assert_cmd::Command;

use crate::fake::USUAL;
use crate::support::*;

#[test]
fn a_run_of_an_older_version_is_said_to_be_one() {
    let folder = reported(USUAL);
    let root = folder.path().join("run");
    edit(&root, "run.json", |run| {
        let run = run.as_object_mut().unwrap();
        run.remove("format");
        run["configuration"]
            .as_object_mut()
            .unwrap()
            .remove("class_weights");
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    let out = command.arg("report").arg(&root).assert().code(2);
    let text = String::from_utf8(out.get_output().stderr.clone()).unwrap();
    assert!(text.contains("another version of ftsurgery"), "{text}");
    assert!(!text.contains("damaged"), "{text}");
}

#[test]
fn the_command_writes_the_report_anew_and_the_same_again() {
    let folder = reported(USUAL);
    let root = folder.path().join("run");
    let before = page(&folder);
    let events = root.join("tensorboard/head-train/events.out.tfevents.0.ftsurgery");
    let old = fs::read(&events).unwrap();
    // An earlier run's; a file of somebody else's stays.
    fs::create_dir_all(root.join("tensorboard/gone-train")).unwrap();
    fs::copy(
        &events,
        root.join("tensorboard/gone-train/events.out.tfevents.0.ftsurgery"),
    )
    .unwrap();
    fs::create_dir_all(root.join("tensorboard/mine")).unwrap();
    fs::write(root.join("tensorboard/mine/notes"), "mine").unwrap();
    fs::write(root.join("report.html"), "old").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    let out = command.arg("report").arg(&root).assert().success();
    let text = String::from_utf8(out.get_output().stdout.clone()).unwrap();
    assert!(
        text.contains("report.html") && text.contains("tensorboard"),
        "{text}"
    );
    assert_eq!(page(&folder), before);
    assert_eq!(fs::read(&events).unwrap(), old);
    assert!(!root.join("tensorboard/gone-train").exists());
    assert!(root.join("tensorboard/mine/notes").exists());
}

#[test]
fn a_folder_that_is_no_run_is_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    let out = command.arg("report").arg(folder.path()).assert().code(2);
    let text = String::from_utf8(out.get_output().stderr.clone()).unwrap();
    assert!(text.contains("is not the folder of a run"), "{text}");
}
