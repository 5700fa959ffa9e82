//! Which trials share a process.

use crate::run::RunDir;
use crate::search::AskedTrial;

/// Divides trials into at most `tasks` groups that take about equally long. Trials of a group begin at
/// neighbouring stages of the network, so that frozen layers are computed once in each.
pub(super) fn divide(trials: &[AskedTrial], tasks: usize) -> Vec<Vec<&AskedTrial>> {
    let mut ordered: Vec<&AskedTrial> = trials.iter().collect();
    ordered.sort_by_key(|t| (t.round, RunDir::repetition_of(&t.id).0, t.stage));
    // A trial whose cost is not known counts as the others do on average: as 1 where none is known.
    let known: Vec<u128> = ordered.iter().filter_map(|t| work(t)).collect();
    let average = known.iter().sum::<u128>() / known.len().max(1) as u128;
    let work = |trial: &AskedTrial| work(trial).unwrap_or(average).max(1);
    let total: u128 = ordered.iter().map(|t| work(t)).sum();
    let mut groups: Vec<Vec<&AskedTrial>> = vec![Vec::new(); tasks.max(1)];
    let mut before = 0;
    for trial in ordered {
        // Where its middle lies.
        let place = (2 * before + work(trial)) * groups.len() as u128 / (2 * total);
        before += work(trial);
        groups[place as usize].push(trial);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// Floating-point operations of a trial, but for the number of its steps an epoch, in which trials of a round
/// do not differ.
fn work(trial: &AskedTrial) -> Option<u128> {
    Some(u128::from(trial.flops?) * trial.epochs.max(1) as u128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(id: &str, stage: usize, flops: Option<u64>) -> AskedTrial {
        AskedTrial {
            id: id.to_owned(),
            round: 1,
            stage,
            threads: 1,
            side_by_side: 1,
            epochs: 2,
            flops,
            bytes: None,
        }
    }

    fn ids(groups: Vec<Vec<&AskedTrial>>) -> Vec<String> {
        let ids =
            |group: Vec<&AskedTrial>| Vec::from_iter(group.iter().map(|t| t.id.as_str())).join(" ");
        groups.into_iter().map(ids).collect()
    }

    #[test]
    fn neighbouring_stages_share_a_task_and_tasks_take_about_equally_long() {
        let trials = [
            trial("c", 2, Some(10)),
            trial("a", 0, Some(30)),
            trial("repeats/2/a", 0, Some(30)),
            trial("b", 1, Some(20)),
        ];
        assert_eq!(ids(divide(&trials, 1)), ["a b c repeats/2/a"]);
        assert_eq!(ids(divide(&trials, 2)), ["a b", "c repeats/2/a"]);
        assert_eq!(ids(divide(&trials, 3)), ["a", "b c", "repeats/2/a"]);
    }

    #[test]
    fn there_are_no_empty_tasks_and_every_trial_is_in_one() {
        for flops in [None, Some(0), Some(u64::MAX)] {
            let trials: Vec<_> = (0..5).map(|i| trial(&i.to_string(), i, flops)).collect();
            for tasks in [0, 1, 2, 3, 5, 100] {
                let groups = divide(&trials, tasks);
                assert!(groups.len() <= tasks.max(1));
                assert_eq!(ids(groups).join(" "), "0 1 2 3 4");
            }
            assert_eq!(divide(&trials, 5).len(), 5);
        }
        assert!(divide(&[], 3).is_empty());
    }
}
