//! The `ftsurgery` command.
#![warn(unsafe_code)]

fn main() -> std::process::ExitCode {
    let program = std::env::current_exe().unwrap_or_else(|_| "ftsurgery".into());
    ftsurgery::cli::run(program, std::env::args_os().collect()).into()
}
