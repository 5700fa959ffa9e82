use super::*;

/// The version a fake library "reports" is its content.
fn fake_probe(path: &Path) -> Result<Version, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    text.parse().map_err(|()| format!("it holds `{text}`"))
}

/// A machine in a folder: every place exists and holds nothing.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    fn file(&self, relative: &str, content: &str) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    #[cfg(unix)]
    fn python(&self, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file("bin/python3", &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn search(&self) -> Search {
        Search {
            explicit: None,
            environment: None,
            brought: None,
            cache: Some(self.path("cache")),
            python: self.path("bin/python3"),
            system: vec![self.path("lib-a"), self.path("lib-b")],
            probe: fake_probe,
        }
    }

    fn origin(&self) -> Origin {
        self.search().run().unwrap().located.origin
    }
}

#[test]
#[cfg(unix)]
fn the_search_goes_flag_environment_cache_python_system() {
    let machine = Machine::new();
    machine.file("lib-b/libonnxruntime.so.1.20.0", "1.20.0");
    assert_eq!(machine.origin(), Origin::System);
    machine.file("site/onnxruntime/capi/libonnxruntime.so.1.21.0", "1.21.0");
    machine.python(&format!(
        "echo '{}'",
        machine.path("site/onnxruntime").display()
    ));
    assert_eq!(machine.origin(), Origin::Python);
    machine.file("cache/runtime/1.22.0/libonnxruntime.so.1.22.0", "1.22.0");
    assert_eq!(machine.origin(), Origin::Cache);

    let brings = |folder: &str| {
        let mut search = machine.search();
        search.brought = Some(machine.path(folder));
        search
    };
    machine.file("brought/libonnxruntime.so.1.20.0", "1.20.0");
    let found = brings("brought").run().unwrap();
    assert_eq!(found.located.origin, Origin::Brought);
    let found = brings("nothing").run().unwrap();
    assert_eq!(
        (found.located.origin, found.tried.len()),
        (Origin::Cache, 1)
    );

    let mut search = brings("brought");
    search.environment = Some(machine.file("env/libonnxruntime.so", "1.23.0"));
    assert_eq!(search.run().unwrap().located.origin, Origin::Environment);
    let mut search = machine.search();
    search.environment = Some(machine.path("env/libonnxruntime.so"));
    search.explicit = Some(machine.file("flag/mine.so", "1.24.0"));
    let found = search.run().unwrap();
    assert_eq!(found.located.origin, Origin::Flag);
    assert_eq!(found.version, Version::new(1, 24, 0));
}

#[test]
fn a_named_library_that_cannot_serve_ends_the_search() {
    let machine = Machine::new();
    machine.file("lib-a/libonnxruntime.so", "1.30.0");
    let old = machine.file("old.so", "1.18.1");
    let folder = machine.path("lib-a");
    for (path, reason) in [
        (machine.path("absent.so"), "No such file"),
        (old, "too old"),
        (folder, "not a file"),
        (machine.file("text.so", "hello"), "it holds `hello`"),
    ] {
        for by_flag in [true, false] {
            let mut search = machine.search();
            if by_flag {
                search.explicit = Some(path.clone());
            } else {
                search.environment = Some(path.clone());
            }
            let error = search.run().unwrap_err();
            let text = error.to_string();
            assert!(error.is_bad_input() && text.contains(reason), "{text}");
            assert!(text.starts_with(if by_flag {
                "--runtime"
            } else {
                "ORT_DYLIB_PATH"
            }));
        }
    }
}

#[test]
fn the_newest_usable_version_of_the_cache_wins_and_the_others_are_reported() {
    let machine = Machine::new();
    machine.file("cache/runtime/1.9.0/libonnxruntime.so.1.9.0", "1.9.0");
    let good = machine.file("cache/runtime/1.20.1/libonnxruntime.so.1.20.1", "1.20.1");
    machine.file("cache/runtime/1.31.0/libonnxruntime.so.1.31.0", "damaged");
    machine.file("cache/runtime/.tmp-1/libonnxruntime.so.1.32.0", "1.32.0");
    let found = machine.search().run().unwrap();
    assert_eq!(found.located.path, good);
    assert_eq!(found.tried.len(), 1);
    assert!(found.tried[0].to_string().contains("it holds `damaged`"));
}

#[test]
#[cfg(unix)]
fn nothing_found_lists_every_place_and_says_what_to_do() {
    let machine = Machine::new();
    machine.python("echo 'Traceback' >&2; echo 'SomeError: broken' >&2; exit 1");
    machine.file("lib-a/libonnxruntime.so.1.10.0", "1.10.0");
    let error = machine.search().run().unwrap_err();
    let text = error.to_string();
    for part in [
        "nothing is installed there",
        "SomeError: broken",
        "version 1.10.0 is too old",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let hint = error.hint().unwrap();
    for way in [
        "ftsurgery runtime install",
        "--install-runtime",
        "ORT_DYLIB_PATH",
    ] {
        assert!(hint.contains(way), "{hint}");
    }
}

#[test]
fn a_machine_without_python_or_home_is_searched_to_the_end() {
    let machine = Machine::new();
    machine.file("lib-b/onnxruntime.dll", "1.19.2");
    let mut search = machine.search();
    search.cache = None;
    let found = search.run().unwrap();
    assert_eq!(found.located.origin, Origin::System);
    assert_eq!(found.tried.len(), 2);
    assert!(found.tried[1].to_string().contains("does not run"));
}

#[test]
fn library_names_of_all_systems_are_known() {
    for name in [
        "libonnxruntime.so",
        "libonnxruntime.so.1",
        "libonnxruntime.so.1.32.0",
        "libonnxruntime.dylib",
        "libonnxruntime.1.32.0.dylib",
        "onnxruntime.dll",
    ] {
        assert!(is_library_name(name), "{name}");
    }
    for name in [
        "libonnxruntime_providers_shared.so",
        "libonnxruntime_providers_cuda.so",
        "libonnxruntime4j_jni.so",
        "onnxruntime_providers_shared.dll",
        "libonnxruntime.so.txt",
    ] {
        assert!(!is_library_name(name), "{name}");
    }
}

#[test]
fn the_cache_folder_follows_the_environment() {
    let with = |set: &'static [(&str, &str)]| {
        cache_dir_from(|name| {
            set.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        })
    };
    let all = &[
        ("FTSURGERY_CACHE", "/own"),
        ("XDG_CACHE_HOME", "/xdg"),
        ("HOME", "/home/me"),
    ];
    assert_eq!(with(all), Some("/own".into()));
    assert_eq!(with(&all[1..]), Some("/xdg/ftsurgery".into()));
    assert_eq!(with(&all[2..]), Some("/home/me/.cache/ftsurgery".into()));
    let relative = &[("XDG_CACHE_HOME", "xdg"), ("HOME", "/home/me")];
    assert_eq!(with(relative), Some("/home/me/.cache/ftsurgery".into()));
    assert_eq!(with(&[]), None);
}

#[test]
fn one_for_gpus_comes_before_a_newer_one_for_the_processor() {
    let machine = Machine::new();
    machine.file(
        "cache/runtime/1.30.0-cuda/libonnxruntime.so.1.30.0",
        "1.30.0",
    );
    machine.file(
        "cache/runtime/1.29.0-cuda/libonnxruntime.so.1.29.0",
        "1.29.0",
    );
    machine.file("cache/runtime/1.32.0/libonnxruntime.so.1.32.0", "1.32.0");
    let found = machine.search().run().unwrap();
    assert_eq!(found.version, Version::new(1, 30, 0));
}
