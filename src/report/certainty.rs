//! How sure the choice of a search is, in words.

use crate::run::{Certainty, Results, Standing, StrategyResult, TieBreak};
use crate::task::Task;
use crate::training::Monitor;

use super::text::{percent, thousands};

/// Candidates that are named.
const NAMED: usize = 4;

/// A sentence on each choice of a search that can be told more of: `blocks: block33 is the best of 33 with
/// probability 0.41 …`.
pub fn certainties(results: &Results) -> Vec<String> {
    let told = |strategy: &StrategyResult| {
        let certainty = strategy.certainty.as_ref()?;
        Some(format!(
            "{}: {}",
            strategy.name,
            sentence(certainty, results.task())?
        ))
    };
    results.strategies.iter().filter_map(told).collect()
}

/// `block33 is the best of 33 with probability 0.41; any of these will do: block33, block32, block30`.
pub(super) fn sentence(certainty: &Certainty, task: Task) -> Option<String> {
    let [first, second, ..] = certainty.candidates.as_slice() else {
        return None;
    };
    let mut text = format!(
        "{} is the best of {}{} with probability {:.2}, by {} on {} samples",
        first.candidate,
        certainty.candidates.len(),
        match certainty.earlier {
            0 => String::new(),
            earlier => format!(" ({earlier} more ended before)"),
        },
        first.best,
        certainty.by.label_for(task),
        thousands(certainty.samples),
    );
    if let Some([low, high]) = second.interval {
        text.push_str(&format!(
            "; {} is {} behind (95 % confidence: {} to {})",
            second.candidate,
            figure(certainty.by, second.behind),
            figure(certainty.by, low),
            figure(certainty.by, high)
        ));
    }
    if let Some(tie) = certainty.tie {
        text.push_str(&format!(
            "; {} has the same {}, and {}",
            second.candidate,
            certainty.by.label_for(task),
            match tie {
                TieBreak::Score if certainty.by.is_loss() =>
                    format!("a lower {}", Monitor::Accuracy.label_for(task)),
                TieBreak::Score => "a higher loss".to_owned(),
                TieBreak::Cost => "its steps take more operations".to_owned(),
                TieBreak::Parameters => "more parameters".to_owned(),
                TieBreak::Order => "nothing tells the two apart".to_owned(),
            }
        ));
    }
    let open: Vec<&Standing> = certainty.open().collect();
    match open.len() {
        0 => {}
        n if n + 1 == certainty.candidates.len() && n >= NAMED => {
            text.push_str("; these samples do not tell the candidates apart");
            if certainty.taken.is_none() {
                text.push_str(", any of them will do");
            }
        }
        n => {
            let names = open.iter().take(NAMED).map(|c| c.candidate.as_str());
            let names: Vec<&str> = std::iter::once(first.candidate.as_str())
                .chain(names)
                .collect();
            let more = match n.saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let told = match certainty.taken {
                None => "any of these will do",
                Some(_) => "these samples do not tell apart",
            };
            text.push_str(&format!("; {told}: {}{more}", names.join(", ")));
        }
    }
    if let Some(taken) = certainty.chosen().filter(|_| certainty.taken.is_some()) {
        text.push_str(&format!(
            "; of these {} is taken, which trains the most parameters",
            taken.candidate
        ));
    }
    Some(text)
}

/// A difference of figures: points of a share, or a loss.
fn figure(by: Monitor, difference: f64) -> String {
    match difference.abs() {
        _ if !by.is_loss() => percent(difference),
        size if size < 5e-5 => "0.0000".to_owned(),
        size if size >= 1e6 => format!("{difference:.1e}"),
        _ => format!("{difference:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certainty(intervals: &[[f64; 2]]) -> Certainty {
        let standing = |(place, interval): (usize, &[f64; 2])| Standing {
            trial: format!("{place}-search"),
            candidate: format!("block{place}"),
            behind: 0.01 * place as f64,
            interval: Some(*interval),
            best: if place == 0 { 0.625 } else { 0.1 },
            best_three: 0.9,
        };
        Certainty {
            by: Monitor::Loss,
            samples: 1200,
            earlier: 0,
            tie: None,
            taken: None,
            candidates: intervals.iter().enumerate().map(standing).collect(),
        }
    }

    fn said(certainty: &Certainty) -> Option<String> {
        sentence(certainty, Task::SingleLabel)
    }

    #[test]
    fn a_clear_choice_has_its_lead_and_an_open_one_those_that_do_as_well() {
        let clear = certainty(&[[0.0, 0.0], [0.004, 0.02]]);
        assert_eq!(
            said(&clear).unwrap(),
            "block0 is the best of 2 with probability 0.62, by loss on 1,200 samples; block1 is 0.0100 behind \
             (95 % confidence: 0.0040 to 0.0200)"
        );
        let open = certainty(&[[0.0, 0.0], [-0.004, 0.02], [-0.001, 0.03], [0.01, 0.04]]);
        let text = said(&open).unwrap();
        assert!(
            text.ends_with("; any of these will do: block0, block1, block2"),
            "{text}"
        );
        let text = said(&Certainty {
            taken: Some("2-search".to_owned()),
            ..open
        });
        let told = "; these samples do not tell apart: block0, block1, block2; of these block2 is taken, which trains \
                    the most parameters";
        assert!(text.as_ref().unwrap().ends_with(told), "{text:?}");
        let chance = certainty(&[
            [0.0, 0.0],
            [-0.1, 0.1],
            [-0.1, 0.1],
            [-0.1, 0.1],
            [-0.1, 0.1],
        ]);
        let text = said(&chance).unwrap();
        assert!(
            text.ends_with("do not tell the candidates apart, any of them will do"),
            "{text}"
        );
        assert_eq!(said(&certainty(&[[0.0, 0.0]])), None);
        let halved = Certainty {
            earlier: 9,
            ..clear
        };
        let text = said(&halved).unwrap();
        assert!(
            text.contains("the best of 2 (9 more ended before) with"),
            "{text}"
        );
        let tied = Certainty {
            tie: Some(TieBreak::Cost),
            ..certainty(&[[0.0, 0.0], [0.0, 0.02]])
        };
        let text = said(&tied).unwrap();
        let told = "; block1 has the same loss, and its steps take more operations; any of these";
        assert!(text.contains(told), "{text}");
        // Both losses are told apart by accuracy.
        for by in [Monitor::Loss, Monitor::CalibratedLoss] {
            let tie = Some(TieBreak::Score);
            let tied = Certainty {
                by,
                tie,
                ..tied.clone()
            };
            assert!(said(&tied).unwrap().contains("and a lower accuracy;"));
            let several = sentence(&tied, Task::MultiLabel).unwrap();
            assert!(several.contains("and a lower exact match;"), "{several}");
        }
        assert_eq!(figure(Monitor::Loss, -1e-7), "0.0000");
        assert_eq!(figure(Monitor::Loss, 3e30), "3.0e30");
    }
}
