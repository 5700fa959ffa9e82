//! Hostile models: nothing that a file can hold makes the library or the binary panic, hang or
//! take memory by its mere claims.

mod adapters;
mod cases;
mod files;
mod guard;
mod models;
mod mutate;
mod pipeline;
mod sessions;
mod states;
mod surgery;
mod untried;
mod writing;

use guard::{Outcome, guarded};
use models::Seed;
use mutate::{mutate_bytes, mutate_message};
use pipeline::{STAGES, pass};

/// Runs `cases` of every seed model through the pipeline and returns how many ended in each stage.
fn run(seeds: &[Seed], cases: u64, mutate: fn(&Seed, u64) -> Option<Vec<u8>>) -> Vec<usize> {
    let mut reached = vec![0; STAGES.len()];
    let mut failures = Vec::new();
    // For a longer search: FTSURGERY_HOSTILE_CASES times as many.
    let times = std::env::var("FTSURGERY_HOSTILE_CASES").map_or(1, |n| n.parse().unwrap());
    for seed in seeds {
        for number in 0..cases * times {
            let Some(bytes) = mutate(seed, number) else {
                continue;
            };
            let label = format!("{} #{number}", seed.name);
            if std::env::var("FTSURGERY_HOSTILE_ONLY").is_ok_and(|only| only != label) {
                continue;
            }
            match guarded(&label, || pass(bytes.clone().into())) {
                Outcome::Done(stage) => reached[stage] += 1,
                Outcome::Failed(why) => failures.push(format!("{label}: {why}")),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for (stage, count) in STAGES.iter().zip(&reached) {
        eprintln!("{count:5} ended in: {stage}");
    }
    reached
}

#[test]
fn the_seed_models_pass_unmutated() {
    for seed in models::own() {
        let bytes = ftsurgery::onnx::encode(&seed.proto).unwrap();
        assert_eq!(
            STAGES[pass(bytes.into())],
            STAGES[STAGES.len() - 1],
            "{}",
            seed.name
        );
    }
}

#[test]
fn damaged_bytes_end_in_errors() {
    let reached = run(&models::own(), 80, |seed, number| {
        Some(mutate_bytes(&seed.bytes, number))
    });
    assert!(reached.iter().sum::<usize>() >= 300);
    assert!(reached[0] > 0 && reached[STAGES.len() - 1] > 0);
}

#[test]
fn damaged_messages_end_in_errors() {
    let reached = run(&models::own(), 200, |seed, number| {
        mutate_message(&seed.proto, number)
    });
    assert!(reached.iter().sum::<usize>() >= 600);
    // The mutations are of use only if they get past the first checks.
    let deep: usize = reached[2..].iter().sum();
    assert!(deep * 3 > reached.iter().sum::<usize>(), "{reached:?}");
}

#[test]
fn damaged_graphs_inside_of_nodes_and_functions_end_in_errors() {
    let seeds = models::kept();
    let reached = run(&seeds, 80, |seed, number| {
        mutate_message(&seed.proto, number)
    });
    assert!(reached.iter().sum::<usize>() >= 300);
    run(&seeds, 20, |seed, number| {
        Some(mutate_bytes(&seed.bytes, number))
    });
}

#[test]
fn damaged_published_models_end_in_errors() {
    let seeds = models::shared();
    run(&seeds, 8, |seed, number| {
        if number % 2 == 0 {
            Some(mutate_bytes(&seed.bytes, number))
        } else {
            mutate_message(&seed.proto, number)
        }
    });
}
