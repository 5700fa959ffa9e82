//! The `ftsurgery` command.
fn main() {}
