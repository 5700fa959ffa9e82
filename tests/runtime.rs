//! `ftsurgery runtime`, run as users run it.

use std::{
    path::Path,
    process::{Command, Output},
};

/// The command with an environment in which no library can be found.
fn ftsurgery(cache: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command
        .args(arguments)
        .env_remove("ORT_DYLIB_PATH")
        .env_remove("LD_LIBRARY_PATH")
        .env("FTSURGERY_CACHE", cache);
    command
}

fn run(mut command: Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_named_library_that_is_missing_is_bad_input_with_a_hint() {
    let cache = tempfile::tempdir().unwrap();
    let by_flag = ftsurgery(
        cache.path(),
        &["runtime", "status", "--runtime", "/absent.so"],
    );
    let mut by_environment = ftsurgery(cache.path(), &["runtime", "status"]);
    by_environment.env("ORT_DYLIB_PATH", "/absent.so");
    for (command, name) in [(by_flag, "--runtime"), (by_environment, "ORT_DYLIB_PATH")] {
        let (code, out, err) = run(command);
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert!(
            err.starts_with(&format!("error: {name} names `/absent.so`")),
            "{err}"
        );
        assert!(err.contains("\nhint: "), "{err}");
    }
}

#[test]
fn bad_usage_exits_with_two_and_a_bad_version_too() {
    let cache = tempfile::tempdir().unwrap();
    let (code, ..) = run(ftsurgery(cache.path(), &["runtime", "polish"]));
    assert_eq!(code, Some(2));
    let old = ["runtime", "install", "--version", "1.8.0"];
    let (code, _, err) = run(ftsurgery(cache.path(), &old));
    assert_eq!(code, Some(2));
    assert!(err.contains("at least 1.19.0 is needed"), "{err}");
}

#[test]
fn a_failed_installation_exits_with_one() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = ftsurgery(cache.path(), &["runtime", "install"]);
    command.env("PATH", cache.path());
    let (code, _, err) = run(command);
    assert_eq!(code, Some(1));
    assert!(err.contains("`python3` does not run"), "{err}");
}

#[test]
fn status_says_which_library_and_what_it_offers() {
    let Some(runtime) = ftsurgery::runtime::testing::runtime() else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let path = runtime.path().to_str().unwrap();
    let (code, out, err) = run(ftsurgery(
        cache.path(),
        &["--runtime", path, "runtime", "status", "--json"],
    ));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let status: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status["path"], path);
    assert_eq!(status["origin"], "flag");
    assert_eq!(status["version"], runtime.version().to_string());
    assert!(
        status["providers"]
            .as_array()
            .unwrap()
            .contains(&"CPUExecutionProvider".into())
    );

    let (code, out, _) = run(ftsurgery(
        cache.path(),
        &["--runtime", path, "runtime", "status"],
    ));
    assert_eq!(code, Some(0));
    assert!(
        out.contains(path) && out.contains("found by   --runtime"),
        "{out}"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn status_is_json_whatever_bytes_the_paths_have() {
    use std::os::unix::ffi::OsStrExt;

    let Some(runtime) = ftsurgery::runtime::testing::runtime() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let strange = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
    std::fs::create_dir(&strange).unwrap();
    let library = strange.join("libonnxruntime.so");
    std::os::unix::fs::symlink(runtime.path(), &library).unwrap();
    let mut command = ftsurgery(&strange, &["runtime", "status", "--json"]);
    command.env("ORT_DYLIB_PATH", &library);
    let (code, out, err) = run(command);
    assert_eq!(code, Some(0), "{err}");
    let status: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(status["path"].as_str().unwrap().contains("libonnxruntime"));
}

#[test]
#[cfg(unix)]
fn a_reader_that_leaves_is_no_failure() {
    use std::{io::Read, process::Stdio};
    let Some(runtime) = ftsurgery::runtime::testing::runtime() else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let path = runtime.path().to_str().unwrap();
    let mut command = ftsurgery(
        cache.path(),
        &["--runtime", path, "runtime", "status", "--json"],
    );
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(err, "");
}
