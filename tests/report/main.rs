//! The report of a run, as a user gets it: `ftsurgery report RUN`; and the pages of `diff` and `analyze`, as far as they are
//! looked at in a browser.

mod browser;
mod command;
mod fake;
mod looked;
mod models;
mod sections;
mod support;
mod tensorboard;
mod verdict;
