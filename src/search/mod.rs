//! The plan of trials, the runner, ranking and the run directory.
