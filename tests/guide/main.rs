//! README.md and the guide, `docs/`: what they link to is there, and what they tell to run runs.

mod book;
mod run;
