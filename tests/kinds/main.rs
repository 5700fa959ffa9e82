//! Models of the kinds that people have: from old, odd or careful exporters, with other outputs than one row of
//! class scores. Each kind is made here in a small member, and through the commands that a user would give.

mod beside;
mod company;
mod files;
mod handed;
mod kept;
mod measured;
mod models;
mod outputs;
mod preprocess;
mod quantised;
mod written;
