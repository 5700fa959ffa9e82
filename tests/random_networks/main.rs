//! Random networks, whose losses and gradients must be those of onnxruntime on the file as it was
//! drawn: by our kernels, by standard operators, and by differences.
//!
//! `FTSURGERY_RANDOM_NETWORKS` says which: a number of networks, or seeds as `from..to` (a single one as
//! `17..18`). `FTSURGERY_RANDOM_NETWORKS_KEEP` names a folder that gets the models that fail.

mod activation;
mod compare;
mod dice;
mod draw;
mod found;
mod mixing;
mod net;
mod oracle;
mod sizes;
mod stages;
mod window;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use compare::{Verdict, check};
use draw::draw;
use ftsurgery::runtime::Runtime;

/// Networks of a run that is not told how many.
const NETWORKS: u64 = 80;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("FTSURGERY_RANDOM_NETWORKS") else {
        return 0..NETWORKS;
    };
    let number = |text: &str| {
        text.trim()
            .parse()
            .expect("FTSURGERY_RANDOM_NETWORKS: a number")
    };
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(&text),
    }
}

/// Counts of what came of the networks, and the discrepancies.
#[derive(Default)]
struct Tally {
    agree: usize,
    slopes: usize,
    sharp: usize,
    double: usize,
    /// By the reason, its numbers and names left out.
    refused: BTreeMap<String, Vec<u64>>,
    unrunnable: BTreeMap<String, Vec<u64>>,
    failures: BTreeMap<u64, String>,
}

impl Tally {
    fn add(&mut self, seed: u64, verdict: Result<Verdict, String>) {
        let kind = |reason: &str| -> String {
            let words = reason.split_whitespace();
            let plain = words.filter(|w| !w.contains(|c: char| c.is_ascii_digit()));
            plain
                .collect::<Vec<_>>()
                .join(" ")
                .chars()
                .take(160)
                .collect()
        };
        match verdict {
            Ok(Verdict::Agrees {
                slopes,
                sharp,
                double,
            }) => {
                self.agree += 1;
                self.slopes += slopes;
                self.sharp += sharp;
                self.double += double;
            }
            Ok(Verdict::Refused(why)) => self.refused.entry(kind(&why)).or_default().push(seed),
            Ok(Verdict::Unrunnable(why)) => {
                self.unrunnable.entry(kind(&why)).or_default().push(seed);
            }
            Err(why) => drop(self.failures.insert(seed, why)),
        }
    }

    fn print(&self) {
        for (title, kinds) in [("refused", &self.refused), ("not run", &self.unrunnable)] {
            for (reason, seeds) in kinds {
                let some: Vec<_> = seeds.iter().take(4).collect();
                println!("{title} {:4} {some:?}: {reason}", seeds.len());
            }
        }
        println!(
            "{} agree; of {} slopes {} told apart from one that is wrong by a tenth, {} in double",
            self.agree, self.slopes, self.sharp, self.double
        );
    }
}

fn run(runtime: &Runtime, seeds: Range<u64>) -> Tally {
    let (next, tally) = (AtomicU64::new(seeds.start), Mutex::new(Tally::default()));
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let work = tempfile::tempdir().expect("a folder");
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let checked = || check(runtime, &draw(seed), seed, work.path());
                    let verdict = catch_unwind(AssertUnwindSafe(checked))
                        .unwrap_or_else(|_| Err("a panic".to_owned()));
                    tally.lock().expect("no panic").add(seed, verdict);
                }
            });
        }
    });
    tally.into_inner().expect("no panic")
}

#[test]
fn random_networks_have_the_losses_and_slopes_of_onnxruntime() {
    let Some(runtime) = ftsurgery::runtime::testing::runtime() else {
        return;
    };
    let seeds = seeds();
    let tally = run(&runtime, seeds.clone());
    tally.print();
    let keep = std::env::var_os("FTSURGERY_RANDOM_NETWORKS_KEEP");
    if let Some(folder) = &keep {
        std::fs::create_dir_all(folder).expect("FTSURGERY_RANDOM_NETWORKS_KEEP: a folder");
    }
    let mut told = Vec::new();
    for (seed, why) in &tally.failures {
        let drawn = draw(*seed);
        told.push(format!("seed {seed}: {why}\n  {}", drawn.story()));
        if let Some(folder) = &keep {
            let path = std::path::Path::new(folder).join(format!("{seed}.onnx"));
            std::fs::write(path, &drawn.bytes).expect("FTSURGERY_RANDOM_NETWORKS_KEEP: a folder");
        }
    }
    assert!(
        told.is_empty(),
        "{} disagree:\n{}",
        told.len(),
        told.join("\n")
    );
    // The test is of use only if most of what is drawn is compared, and sharply.
    let drawn = (seeds.end - seeds.start) as usize;
    if drawn >= 50 {
        assert!(
            tally.agree * 4 >= drawn * 3,
            "{} of {drawn} compared",
            tally.agree
        );
        assert!(tally.sharp * 3 >= tally.slopes * 2);
    }
}
