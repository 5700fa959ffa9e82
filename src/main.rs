//! The `ftsurgery` command.
#![warn(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
