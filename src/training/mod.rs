//! One trial: its programs, the optimizer, epochs and metrics.
