//! What an analysis, a comparison, a run or an evaluation came to, for people to read.
//!
//! [`write()`] makes a run's report from the files in its folder: a page ([`html()`]), a table of all
//! trials for spreadsheets and event files for TensorBoard.

mod analysis;
mod analysis_page;
mod certainty;
pub mod charts;
mod comparison;
mod confusions;
mod diff;
mod dot;
mod error;
mod evaluation;
mod html;
mod paired;
mod plain;
mod proportion;
mod scores;
mod study;
mod tables;
mod tensorboard;
mod text;
mod trials;
mod verification;
mod write;

pub use analysis::analysis;
pub use analysis_page::analysis_page;
pub use comparison::verdict;
pub use diff::{diff, diff_page};
pub use dot::dot;
pub use error::ReportError;
pub use evaluation::evaluation;
pub use html::{html, page};
pub use plain::{Plain, plain, plain_line, plain_message};
pub use proportion::Proportion;
pub use scores::{scores, scores_page};
pub use study::{study, write_study};
pub use tables::results;
pub use verification::verification;
pub use write::write;
