//! `ftsurgery differentiate --optimizer` and `ftsurgery apply` as their users see them.

mod against_torch;
mod against_tune;
mod applied;
mod command;
mod networks;
mod ort_training;
mod programs;
mod scene;
