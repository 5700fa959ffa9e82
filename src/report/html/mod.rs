//! `report.html`: a run on one page that loads nothing.
//!
//! The figures are those of the block-wise paper, for this run. Every number is in the run's files,
//! or follows from them.

mod confusion;
mod curves;
mod data;
pub(super) mod facts;
mod gates;
mod looked;
pub mod page;
mod search;
mod setup;
mod strategies;
mod thumbnail;
mod verdict;

use crate::run::RunFiles;

use facts::Facts;
pub(super) use setup::command;
pub(super) use strategies::{ACCURACY, spread_row};

/// The report of a run, as a page. Images among the mistakes are read from the data set, where it
/// still is.
pub fn html(files: &RunFiles) -> String {
    let facts = Facts::of(files);
    let mut sections = vec![verdict::summary(&facts)];
    sections.extend(search::section(&facts));
    sections.extend(strategies::section(&facts));
    sections.extend(strategies::repeats(&facts));
    sections.extend(gates::section(&facts));
    sections.extend(curves::section(&facts));
    sections.extend(confusion::section(&facts));
    sections.push(data::section(&facts));
    sections.extend(data::failures(&facts));
    sections.push(setup::section(&facts));
    let title = format!(
        "{} – ftsurgery run",
        verdict::file_name(&files.run.model.path)
    );
    page::page(&title, &verdict::top(&facts), &sections)
}
