//! Tables and files that show the results of a run.
