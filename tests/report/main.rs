//! The report of a run, as a user gets it: `ftsurgery report RUN`.

mod browser;
mod command;
mod fake;
mod looked;
mod sections;
mod support;
mod tensorboard;
mod verdict;
