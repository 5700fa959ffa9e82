//! Trials side by side.
//!
//! The steps of a small network do not keep several threads busy: one thread for each of several
//! trials gets more done than all threads for one after the other. Those of a large network do, and
//! take memory; they run alone. Which is which is decided by the operations of a step and the memory
//! it takes, not by the clock, because the number of threads may show in the last bits of a result.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::training::StepCost;

/// Floating-point operations of a step from which on a trial has all threads to itself.
const ALONE_FROM: u64 = 50_000_000_000;

/// How one trial runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Its threads, at least 1.
    pub threads: usize,
    /// Trials that run at the same time, at most.
    pub side_by_side: usize,
}

/// How each of several trials runs, by what its step takes (`None` if not known). Steps side by side
/// take `memory` bytes at most.
pub(super) fn shares(threads: usize, memory: u64, costs: &[Option<StepCost>]) -> Vec<Share> {
    let threads = threads.max(1);
    // Not if it could not even have another like it beside it.
    let small =
        |&c: &Option<StepCost>| c.is_some_and(|c| c.flops < ALONE_FROM && c.bytes <= memory / 2);
    let count = costs.iter().filter(|c| small(c)).count();
    let largest = costs.iter().filter(|c| small(c)).flatten().map(|c| c.bytes);
    let fits = memory / largest.max().unwrap_or(1).max(1);
    let fits = usize::try_from(fits).unwrap_or(usize::MAX);
    let side_by_side = count.min(fits).clamp(1, threads);
    costs
        .iter()
        .map(|c| match small(c) {
            true => Share {
                threads: threads / side_by_side,
                side_by_side,
            },
            false => Share {
                threads,
                side_by_side: 1,
            },
        })
        .collect()
}

struct State {
    /// Places of the jobs that wait, and how each runs.
    waiting: VecDeque<(usize, Share)>,
    running: usize,
    /// What is running may have this many beside it.
    limit: usize,
    failed: bool,
}

/// Runs `work(place)` for every share, in order, as many at a time as the shares allow. After an
/// error nothing more begins.
///
/// # Errors
/// The first error, when all that had begun has ended.
pub(super) fn run<E: Send>(
    shares: &[Share],
    work: &(dyn Fn(usize) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let workers = shares.iter().map(|s| s.side_by_side).max().unwrap_or(0);
    let state = Mutex::new(State {
        waiting: shares.iter().copied().enumerate().collect(),
        running: 0,
        limit: usize::MAX,
        failed: false,
    });
    let changed = Condvar::new();
    let first_error = Mutex::new(None);
    let worker = || {
        while let Some(place) = next(&state, &changed) {
            let outcome = work(place);
            let mut state = lock(&state);
            state.running -= 1;
            if let Err(error) = outcome {
                state.failed = true;
                lock(&first_error).get_or_insert(error);
            }
            changed.notify_all();
        }
    };
    match workers {
        0 => {}
        1 => worker(),
        _ => std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(worker);
            }
        }),
    }
    let error = lock(&first_error).take();
    error.map_or(Ok(()), Err)
}

/// Waits until the first job in the queue may begin; `None` when nothing is left to do.
fn next(state: &Mutex<State>, changed: &Condvar) -> Option<usize> {
    let mut state = lock(state);
    loop {
        let &(place, share) = state.waiting.front().filter(|_| !state.failed)?;
        if state.running == 0 {
            state.limit = share.side_by_side;
        }
        if state.running < state.limit.min(share.side_by_side) {
            state.waiting.pop_front();
            state.running += 1;
            return Some(place);
        }
        state = changed.wait(state).unwrap_or_else(|e| e.into_inner());
    }
}

/// Locks a mutex, also one that a panic has poisoned.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    const MEMORY: u64 = 1000;
    const SMALL: Option<StepCost> = of_flops(1);
    const LARGE: Option<StepCost> = of_flops(u64::MAX);

    const fn of_flops(flops: u64) -> Option<StepCost> {
        Some(StepCost {
            flops,
            forward: 0,
            frozen: 0,
            bytes: 1,
        })
    }

    #[test]
    fn small_trials_share_the_threads_and_large_ones_have_them_all() {
        let share = |threads, side_by_side| Share {
            threads,
            side_by_side,
        };
        assert_eq!(
            shares(8, MEMORY, &[LARGE, SMALL, SMALL, None]),
            [share(8, 1), share(4, 2), share(4, 2), share(8, 1)]
        );
        assert_eq!(shares(2, MEMORY, &[SMALL; 5]), [share(1, 2); 5]);
        assert_eq!(shares(4, MEMORY, &[SMALL]), [share(4, 1)]);
        assert!(shares(4, MEMORY, &[]).is_empty());
        let taking = |bytes| {
            Some(StepCost {
                flops: 1,
                bytes,
                ..StepCost::default()
            })
        };
        assert_eq!(
            shares(
                4,
                MEMORY,
                &[taking(501), taking(300), taking(1), taking(2), SMALL]
            ),
            [
                share(4, 1),
                share(1, 3),
                share(1, 3),
                share(1, 3),
                share(1, 3)
            ]
        );
    }

    #[test]
    fn all_jobs_run_once_and_large_ones_alone() {
        let operations = [LARGE, SMALL, SMALL, SMALL, LARGE, SMALL];
        let running = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        let outcome: Result<(), ()> = run(&shares(2, MEMORY, &operations), &|place| {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            if operations[place] == LARGE {
                assert_eq!(running.load(Ordering::SeqCst), 1, "alone");
            }
            lock(&done).push(place);
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        });
        assert_eq!(outcome, Ok(()));
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert_eq!(done, [0, 1, 2, 3, 4, 5]);
        assert_eq!(most.into_inner(), 2);
    }

    #[test]
    fn after_an_error_nothing_more_begins() {
        let begun = AtomicUsize::new(0);
        let outcome = run(&shares(1, MEMORY, &[SMALL; 4]), &|place| {
            begun.fetch_add(1, Ordering::SeqCst);
            if place == 1 { Err(place) } else { Ok(()) }
        });
        assert_eq!(outcome, Err(1));
        assert_eq!(begun.into_inner(), 2);
    }
}
