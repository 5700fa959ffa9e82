//! How long a run takes by the clock on the wall, over all of its sessions.

use std::time::Instant;

use crate::run::Results;

/// The clock of a repetition that this process carries out.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    /// Seconds of the sessions before this one.
    earlier: f64,
    /// When this session began.
    begun: Instant,
}

impl Clock {
    /// Of a session that began then, and goes on from what earlier ones left: their results, and when each of
    /// their trials had ended. `None` where one of these is not known.
    pub fn new(
        begun: Instant,
        results: &Results,
        trials: impl IntoIterator<Item = Option<f64>>,
    ) -> Option<Self> {
        // The results of the first repetition become those of all.
        let told = match results.repeats.first() {
            Some(first) => first.clock,
            None => results.clock,
        };
        // A session that was killed has left its trials alone.
        let earlier = trials
            .into_iter()
            .try_fold(told.unwrap_or(0.0), |last, ended| Some(last.max(ended?)));
        earlier.map(|earlier| Clock { earlier, begun })
    }

    /// Seconds of the sessions before this one.
    pub fn earlier(&self) -> f64 {
        self.earlier
    }

    /// Seconds up to now.
    pub fn now(&self) -> f64 {
        self.earlier + self.begun.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Repeat;

    fn earlier(results: &Results, trials: &[Option<f64>]) -> Option<f64> {
        let clock = Clock::new(Instant::now(), results, trials.iter().copied());
        clock.map(|clock| clock.earlier())
    }

    #[test]
    fn a_session_goes_on_from_the_last_that_is_known_of_the_others() {
        let mut results = Results::default();
        assert_eq!(earlier(&results, &[]), Some(0.0));
        // Killed before any strategy had ended, and behind it.
        assert_eq!(earlier(&results, &[Some(3.0), Some(2.0)]), Some(3.0));
        results.clock = Some(5.0);
        assert_eq!(earlier(&results, &[Some(3.0)]), Some(5.0));
        assert_eq!(earlier(&results, &[Some(8.0)]), Some(8.0));
        // A trial that was carried out elsewhere.
        assert_eq!(earlier(&results, &[Some(8.0), None]), None);
        results.repeats.push(Repeat {
            fold: None,
            seed: 0,
            folder: ".".to_owned(),
            clock: Some(4.0),
            strategies: Vec::new(),
        });
        assert_eq!(earlier(&results, &[Some(3.0)]), Some(4.0));
    }
}
