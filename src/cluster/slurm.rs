//! Slurm: trials as arrays of jobs, each array with a job behind it that ranks and submits what comes next.
//!
//! So nothing has to stay where the run was begun. What happens to a task (preemption, its time limit, a dead
//! node) is between `task.sh` and Slurm; what has got lost is submitted again by the job behind.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::run::{Begin, absolute, paths};
use crate::runtime::Runtime;
use crate::search::{AskedTrial, Job, Watcher, collect};

use super::ClusterError;
use super::divide::divide;
use super::folder::{Folder, Submission, times};
use commands::{Queue, submit};

mod commands;
mod watch;

const TASK: &str = include_str!("slurm/task.sh");
const COLLECT: &str = include_str!("slurm/collect.sh");
const SETTINGS: &str = "settings.json";
/// How often a trial is submitted before it counts as failed.
const TIMES: usize = 3;
/// Bytes of a process beside what the memory budget is for: the program, onnxruntime, the model.
const BESIDE: u64 = 1 << 30;

/// A Slurm cluster, to which the commands of Slurm on this machine belong.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slurm {
    /// This program, as the nodes find it.
    #[serde(with = "paths")]
    ftsurgery: PathBuf,
    /// Tasks that trials are divided into, at most.
    tasks: Option<usize>,
    /// Words for `sbatch`, which win over ours.
    options: Option<Vec<String>>,
    /// Tells the jobs of this run from those of others.
    mark: String,
    /// The onnxruntime library, where it is not looked for.
    #[serde(skip)]
    library: Option<PathBuf>,
}

impl Slurm {
    /// Tasks at most, where nothing is said.
    pub const TASKS: usize = 16;

    /// Has jobs run the program `ftsurgery`.
    pub fn new(ftsurgery: impl Into<PathBuf>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let mark = now.unwrap_or_default().as_nanos() as u32;
        Slurm {
            ftsurgery: ftsurgery.into(),
            tasks: None,
            options: None,
            mark: format!("{mark:08x}"),
            library: None,
        }
    }

    /// Divides trials into at most so many tasks; `None`: as the run began, or [`TASKS`](Self::TASKS).
    #[must_use]
    pub fn tasks(mut self, tasks: Option<usize>) -> Self {
        self.tasks = tasks;
        self
    }

    /// Submits jobs with these words for `sbatch`; `None`: as the run began, or with none.
    #[must_use]
    pub fn options(mut self, options: Option<Vec<String>>) -> Self {
        self.options = options;
        self
    }

    /// Has jobs take this onnxruntime library, instead of what they find.
    #[must_use]
    pub fn library(mut self, library: Option<PathBuf>) -> Self {
        self.library = library.map(|path| absolute(&path));
        self
    }

    /// Does a whole run: submits what it wants first, and watches until its models are there.
    ///
    /// A run whose jobs are under way is only watched. When the watcher asks to stop, they go on.
    ///
    /// # Errors
    /// As [`collect`]; when a command of Slurm fails; when trials do not end however often they are
    /// submitted; when jobs were cancelled; [`ClusterError::Detached`] when the watcher asked to stop.
    pub fn tune(
        mut self,
        runtime: &Runtime,
        job: &Job,
        watcher: &dyn Watcher,
    ) -> Result<(), ClusterError> {
        let folder = Folder::of(&job.out);
        if job.begin == Begin::Resume {
            if let Some(began) = folder.read_json::<Slurm>(SETTINGS)? {
                self.mark = began.mark;
                self.tasks = self.tasks.or(began.tasks);
                self.options = self.options.or(began.options);
            }
            if let Some(last) = folder.submissions()?.last() {
                let under_way = Queue::states(&last.collect)?;
                if under_way.iter().any(|state| state.is_under_way()) {
                    watcher.begin(&format!("watching Slurm's jobs {last}"));
                    return watch::to_the_end(&folder, watcher);
                }
            }
        }
        let asked = collect(runtime, job, watcher)?.asked;
        if asked.is_empty() {
            return Ok(());
        }
        folder.write("task.sh", TASK.as_bytes())?;
        folder.write("collect.sh", COLLECT.as_bytes())?;
        folder.write_json(SETTINGS, &self)?;
        self.submit(&folder, &asked, true, watcher)?;
        watch::to_the_end(&folder, watcher)
    }

    /// Submits the trials that [`collect`] has asked for, as the run in the folder `root` began; for the job
    /// behind an array.
    ///
    /// # Errors
    /// When the run did not begin so, its jobs were cancelled, trials were submitted too often, or a command
    /// of Slurm fails.
    pub fn go_on(
        root: &Path,
        asked: &[AskedTrial],
        watcher: &dyn Watcher,
    ) -> Result<(), ClusterError> {
        let folder = Folder::of(root);
        let root = || root.to_owned();
        let not_begun = || ClusterError::NotBegun { root: root() };
        let slurm: Slurm = folder.read_json(SETTINGS)?.ok_or_else(not_begun)?;
        if asked.is_empty() {
            return Ok(());
        }
        if let Some(last) = folder.submissions()?.last() {
            let states = Queue::states(&last.array)?;
            if states.iter().any(|state| state.is_cancelled()) {
                return Err(ClusterError::Cancelled { root: root() });
            }
        }
        slurm.submit(&folder, asked, false, watcher)
    }

    /// Submits trials as an array, and the job behind it.
    fn submit(
        &self,
        folder: &Folder,
        asked: &[AskedTrial],
        by_person: bool,
        watcher: &dyn Watcher,
    ) -> Result<(), ClusterError> {
        let before = folder.submissions()?;
        let times = |trial: &AskedTrial| match by_person {
            true => 0,
            false => times(&before, trial),
        };
        let lost = asked.iter().filter(|trial| times(trial) >= TIMES);
        let lost: Vec<String> = lost.map(|trial| trial.id.clone()).collect();
        if !lost.is_empty() {
            return Err(ClusterError::GivenUp {
                trials: lost,
                times: TIMES,
                outputs: folder.path(""),
            });
        }
        // A trial that ended its process must not end that of others again.
        let tasks = match asked.iter().any(|trial| times(trial) > 0) {
            true => asked.len(),
            false => self.tasks.unwrap_or(Self::TASKS),
        };
        let groups = divide(asked, tasks);
        let number = before.len() + 1;
        let common = self.common(folder, asked)?;
        let program = self.ftsurgery.as_os_str();
        let root = folder.root.as_os_str();

        // A process that was killed between its submitting and its noting it has submitted already.
        let name = self.name(&folder.root, number, "trials");
        let array = match Queue::find(&name)? {
            Some(array) => array,
            None => {
                folder.write(&format!("{number}.tasks"), lines(&groups).as_bytes())?;
                let mut words = common.clone();
                words.extend(["--signal=B:USR1@60".into()]);
                words.extend(self.words().map(OsString::from));
                words.push(format!("--array=0-{}", groups.len() - 1).into());
                words.push(format!("--job-name={name}").into());
                words.push(output(folder, &format!("{number}-%a.out")));
                words.push(folder.path("task.sh").into());
                words.extend([program.into(), root.into(), number.to_string().into()]);
                submit(&words, self.library.as_deref())?
            }
        };
        let name = self.name(&folder.root, number, "collect");
        let collect = match Queue::find(&name)? {
            Some(collect) => collect,
            None => {
                let mut words = common;
                words.extend(self.words().map(OsString::from));
                words.push(format!("--dependency=afterany:{array}").into());
                words.push(format!("--job-name={name}").into());
                words.push(output(folder, &format!("{number}-collect.out")));
                words.push(folder.path("collect.sh").into());
                words.extend([program.into(), root.into()]);
                submit(&words, self.library.as_deref())?
            }
        };
        let trials = asked.iter().map(|t| (t.round, t.id.clone())).collect();
        let submission = Submission {
            array,
            collect,
            by_person,
            trials,
        };
        folder.write_json(&format!("{number}.json"), &submission)?;
        watcher.begin(&format!(
            "{} trials in {} tasks are Slurm's jobs {submission}",
            asked.len(),
            groups.len()
        ));
        Ok(())
    }

    /// The user's words.
    fn words(&self) -> impl Iterator<Item = &String> {
        self.options.iter().flatten()
    }

    /// What both jobs ask for, in front of the user's own words.
    fn common(&self, folder: &Folder, asked: &[AskedTrial]) -> Result<Vec<OsString>, ClusterError> {
        let processors = asked.iter().map(|t| t.threads * t.side_by_side).max();
        let mut words: Vec<OsString> = [
            "--parsable",
            "--nodes=1",
            "--ntasks=1",
            "--requeue",
            "--open-mode=append",
        ]
        .map(OsString::from)
        .into();
        words.push(format!("--cpus-per-task={}", processors.unwrap_or(1)).into());
        let mut chdir = OsString::from("--chdir=");
        chdir.push(folder.path(""));
        words.push(chdir);
        // These of the user's exclude ours.
        let own = ["--mem-per-cpu", "--mem-per-gpu"];
        let excluded = self
            .words()
            .any(|o| own.iter().any(|own| o.starts_with(own)));
        let budget = Job::resume(&folder.root)?.settings.memory_budget;
        if let Some(budget) = budget.filter(|_| !excluded) {
            let bytes = budget.saturating_add(BESIDE);
            words.push(format!("--mem={}M", bytes.div_ceil(1 << 20)).into());
        }
        Ok(words)
    }

    /// The name of a job of the run, which no job of another run has.
    fn name(&self, root: &Path, number: usize, kind: &str) -> String {
        let run = root.file_name().unwrap_or_default().to_string_lossy();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let plain = run.chars().map(|c| if is_plain(c) { c } else { '-' });
        let run: String = plain.collect();
        format!("ftsurgery-{run}-{}-{number}-{kind}", self.mark)
    }
}

/// `--output`, in whose value `%` begins what Slurm fills in.
fn output(folder: &Folder, name: &str) -> OsString {
    let mut word = OsString::from("--output=");
    let path = folder.path("");
    match path.to_str() {
        Some(text) => word.push(text.replace('%', "%%")),
        None => word.push(path),
    }
    word.push(name);
    word
}

/// The trials of each task, a line for each.
fn lines(groups: &[Vec<&AskedTrial>]) -> String {
    let ids = |group: &Vec<&AskedTrial>| {
        let ids: Vec<&str> = group.iter().map(|t| t.id.as_str()).collect();
        ids.join(" ") + "\n"
    };
    groups.iter().map(ids).collect()
}

impl std::fmt::Display for Submission {
    /// The numbers of its jobs, for people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} and, behind it, {}", self.array, self.collect)
    }
}
