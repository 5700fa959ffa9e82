//! `ftsurgery tune`, `evaluate` and `predict` as their users see them.

mod channels_last;
mod obstacles;
mod precision;
mod reference;
mod run;
mod support;
mod use_model;
mod wrong;
