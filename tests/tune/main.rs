//! `ftsurgery tune`, `evaluate` and `predict` as their users see them.

mod batch_norm;
mod bed;
mod changed;
mod channels_last;
mod checkpoint;
mod config;
mod crash;
mod flags;
mod folders;
mod full_disk;
mod killed;
mod known;
mod obstacles;
mod out_of_memory;
mod precision;
mod reference;
mod resume;
mod run;
mod same_run;
mod scene;
mod signals;
mod study;
mod support;
mod trial;
mod use_model;
mod wrong;
