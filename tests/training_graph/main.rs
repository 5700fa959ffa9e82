//! `ftsurgery differentiate`, what is made with its files, and `ftsurgery apply`, as their users see them.

mod against_torch;
mod against_tune;
mod applied;
mod browser;
mod chromium;
mod command;
mod engine;
mod gradients;
mod networks;
mod ort_training;
mod page;
mod programs;
mod scene;
mod server;
