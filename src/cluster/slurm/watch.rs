//! Watching a run whose jobs go on by themselves.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cluster::ClusterError;
use crate::cluster::folder::{Folder, Submission};
use crate::run::{RunDir, RunFiles};
use crate::search::{Doing, Watcher};

use super::commands::Queue;

/// Between two looks at files.
const LOOK: Duration = Duration::from_millis(500);
/// Between two questions to Slurm, whose controller all users share.
const ASK: Duration = Duration::from_secs(5);

/// Watches until the models are there.
pub(super) fn to_the_end(folder: &Folder, watcher: &dyn Watcher) -> Result<(), ClusterError> {
    let mut told = (0, 0);
    let mut asked = Instant::now();
    let mut warned = false;
    loop {
        let submissions = folder.submissions()?;
        let number = submissions.len();
        let Some(last) = submissions.last() else {
            return Err(ClusterError::NotBegun {
                root: folder.root.clone(),
            });
        };
        let ended = last.ended(folder);
        // What has been taken over is not seen here any more.
        if number > told.0 || ended > told.1 {
            told = (number, ended);
            let total = last.trials.len();
            watcher.begin(&format!("{ended} of {total} trials have ended"));
            watcher.doing("", Doing::Waiting, ended, total);
        }
        if watcher.stopped() {
            return Err(ClusterError::Detached {
                root: folder.root.clone(),
                jobs: vec![last.array.clone(), last.collect.clone()],
            });
        }
        sleep(LOOK);
        if asked.elapsed() < ASK {
            continue;
        }
        asked = Instant::now();
        let states = match Queue::states(&last.collect) {
            Ok(states) => states,
            // Its controller may be away for a while.
            Err(error @ ClusterError::Refused { .. }) => {
                if !warned {
                    watcher.warning(&error.to_string());
                }
                warned = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        warned = false;
        // What it has submitted it has noted before its end.
        let is_over = !states.iter().any(|state| state.is_under_way());
        if is_over && folder.submissions()?.len() == number {
            return end(folder, last, number);
        }
    }
}

/// What it means that the last job is over.
fn end(folder: &Folder, last: &Submission, number: usize) -> Result<(), ClusterError> {
    let results = RunFiles::read(&folder.root)?.results;
    if results.is_some_and(|results| !results.interrupted) {
        return Ok(());
    }
    let root = folder.root.clone();
    let mut states = Queue::states(&last.array)?;
    states.extend(Queue::states(&last.collect)?);
    if states.iter().any(|state| state.is_cancelled()) {
        return Err(ClusterError::Cancelled { root });
    }
    let output = format!("{number}-collect.out");
    Err(ClusterError::Broken {
        root,
        tail: folder.tail(&output),
        output: folder.path(&output),
    })
}

impl Submission {
    /// How many of its trials have ended.
    fn ended(&self, folder: &Folder) -> usize {
        let ids = self.trials.iter().map(|(_, id)| id);
        ids.filter(|id| RunDir::has_reply(&folder.root, id)).count()
    }
}
