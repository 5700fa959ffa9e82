//! Surgery on models' files: what comes out computes what it should, and has kept everything that it was not asked to change.
//!
//! `fixtures/surgery` (by `tools/make_surgery_fixtures.py`) has something of everything that a file may hold.

mod commands;
mod corpus;
mod cuts;
mod fold;
mod heads;
mod merge;
mod models;
mod prune;
mod streaming;
mod support;
mod widths;
