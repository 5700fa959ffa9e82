//! Running a program that must come to an end.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Runner;

/// Characters of what a program says that are told.
const SAID: usize = 300;
/// Exit code by which our programs say that a runtime is not there, with the reason on stderr.
const ABSENT: i32 = 3;

/// Runs a runtime's program on a job until it ends, or its time is up.
///
/// # Errors
/// In a line: why it did not come to an end.
pub(super) fn run(runner: &Runner, job: &Path, limit: Duration) -> Result<(), String> {
    let mut command = Command::new(&runner.program);
    command.args(&runner.arguments).arg(job);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            format!("not there: no program `{}`", runner.program.display())
        }
        _ => format!("`{}` does not start: {e}", runner.program.display()),
    })?;
    let errors = child.stderr.take();
    // It must be read, or the program waits for that.
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut errors) = errors {
            // What cannot be read is not told.
            let _ = errors.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let status = wait(&mut child, limit);
    let said = reader.join().unwrap_or_default();
    match status {
        None => Err(format!(
            "ended after {} seconds, the limit",
            limit.as_secs()
        )),
        Some(status) if status.success() => Ok(()),
        Some(status) if status.code() == Some(ABSENT) => {
            Err(format!("not there: {}", last_line(&said)))
        }
        Some(status) => Err(format!("{}: {}", told(status), last_line(&said))),
    }
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(10)),
            _ => {
                // One that has ended meanwhile cannot be killed.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

fn told(status: ExitStatus) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        if let Some(signal) = status.signal() {
            return format!("it was ended by signal {signal}");
        }
    }
    match status.code() {
        Some(code) => format!("it ended with exit code {code}"),
        None => "it failed".to_owned(),
    }
}

/// What a program said last.
fn last_line(text: &str) -> String {
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.map_or_else(
        || "it says nothing".to_owned(),
        |line| line.chars().take(SAID).collect(),
    )
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str, limit: u64) -> Result<(), String> {
        let runner = Runner {
            name: "sh".to_owned(),
            runtime: "sh",
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
        };
        run(&runner, Path::new("job"), Duration::from_millis(limit))
    }

    #[test]
    fn how_a_program_ends_is_told_in_a_line() {
        let told = |script: &str| sh(script, 20_000).unwrap_err();
        assert_eq!(sh("exit 0", 20_000), Ok(()));
        assert_eq!(
            told("echo no such module >&2; exit 3"),
            "not there: no such module"
        );
        assert_eq!(
            told("echo a >&2; echo b >&2; exit 1"),
            "it ended with exit code 1: b"
        );
        assert_eq!(
            told("kill -8 $$"),
            "it was ended by signal 8: it says nothing"
        );
        assert!(
            sh("exec sleep 20", 50)
                .unwrap_err()
                .starts_with("ended after 0 seconds")
        );
    }
}
