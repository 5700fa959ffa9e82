//! The event files in TensorBoard itself.

use std::process::Command;

use ftsurgery::testing;

use super::fake::USUAL;
use super::support::reported;

/// Prints a line per scalar: its tag and its steps and values.
const READ: &str = "
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
for tag in sorted(events.Tags()['scalars']):
    print(tag, *(f'{e.step}:{e.value:.4f}:{e.wall_time:.2f}' for e in events.Scalars(tag)))
";

#[test]
fn tensorboard_reads_the_scalars_of_a_trial() {
    let Some(python) = testing::python(&["tensorboard"]) else {
        testing::skip("tensorboard", "a Python that has it (FTSURGERY_PYTHON)");
        return;
    };
    let folder = reported(USUAL);
    let root = folder.path().join("run");
    let trial = "layers-05-search";
    let output = Command::new(&python)
        .args(["-c", READ])
        .arg(root.join("tensorboard").join(trial))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let files = ftsurgery::run::RunFiles::read(&root).unwrap();
    let metrics = &files.metrics[trial];
    let line = |tag: &str, values: Vec<(usize, f64, f64)>| {
        let values: Vec<String> = values
            .iter()
            .map(|(s, v, t)| format!("{s}:{v:.4}:{t:.2}"))
            .collect();
        format!("{tag} {}\n", values.join(" "))
    };
    let by_epoch = |tag: &str, value: &dyn Fn(&ftsurgery::training::EpochMetrics) -> f64| {
        line(
            tag,
            metrics
                .epochs
                .iter()
                .map(|e| (e.epoch, value(e), e.seconds))
                .collect(),
        )
    };
    let steps = metrics.steps.iter().enumerate();
    let steps = steps
        .map(|(i, s)| (s.step, f64::from(s.loss), 1.5 * i as f64))
        .collect();
    let expected = by_epoch("accuracy/validation", &|e| e.validation.unwrap().accuracy)
        + &by_epoch("learning_rate", &|e| f64::from(e.learning_rate))
        + &line("loss/step", steps)
        + &by_epoch("loss/train", &|e| e.loss.unwrap())
        + &by_epoch("loss/validation", &|e| e.validation.unwrap().loss);
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
