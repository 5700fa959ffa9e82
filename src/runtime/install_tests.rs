use super::*;

#[test]
fn base64_matches_the_examples_of_the_rfc() {
    for (bytes, text) in [
        ("", ""),
        ("f", "Zg"),
        ("fo", "Zm8"),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg"),
        ("fooba", "Zm9vYmE"),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64_url(bytes.as_bytes()), text);
    }
    assert_eq!(base64_url(&[0xfb, 0xff]), "-_8");
}

/// A folder as unpacked from a wheel whose library is `content`.
fn unpacked(content: &[u8], listed: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("libonnxruntime.so.1.32.0"), content).unwrap();
    let hash = base64_url(&Sha256::digest(listed));
    let record = format!(
        "onnxruntime/__init__.py,sha256=x,1\n\
         onnxruntime/capi/libonnxruntime.so.1.32.0,sha256={hash},3\n\
         onnxruntime-1.32.0.dist-info/RECORD,,\n"
    );
    fs::write(folder.path().join("RECORD"), record).unwrap();
    folder
}

#[test]
fn a_library_that_differs_from_its_record_is_refused() {
    assert!(verify_hashes(unpacked(b"abc", b"abc").path()).is_ok());
    let error = verify_hashes(unpacked(b"abd", b"abc").path()).unwrap_err();
    assert!(error.to_string().contains("does not match"), "{error}");
    let unlisted = unpacked(b"abc", b"abc");
    fs::write(unlisted.path().join("RECORD"), "").unwrap();
    assert!(verify_hashes(unlisted.path()).is_err());
}

#[test]
fn pip_failures_are_named() {
    let fails = |said: &str| pip_failure(said, "9.9.9");
    let offline = "ERROR: Could not find a version that satisfies it (from versions: none)\n\
                   ERROR: No matching distribution found for onnxruntime==9.9.9";
    assert!(fails(offline).to_string().contains("network"));
    assert!(!fails(offline).is_bad_input());
    let absent = "ERROR: Could not find a version that satisfies it (from versions: 1.19.0)\n\
                  ERROR: No matching distribution found for onnxruntime==9.9.9";
    assert!(fails(absent).to_string().contains("9.9.9"));
    assert!(fails(absent).is_bad_input());
    assert!(
        fails("/usr/bin/python3: No module named pip")
            .to_string()
            .contains("has no pip")
    );
    assert!(fails("a\nb\nc\nd").to_string().ends_with("b; c; d"));
}

#[test]
fn versions_that_cannot_serve_are_refused_before_any_download() {
    let folder = tempfile::tempdir().unwrap();
    let installer = Installer {
        folder: folder.path().to_owned(),
        python: folder.path().join("python3"),
        cuda: false,
    };
    for version in ["1.18.0", "newest", "../1.32.0", "1.32.0/.."] {
        let error = installer
            .install(Some(version), &mut |_| {})
            .unwrap_err()
            .to_string();
        assert!(error.contains(version), "{error}");
    }
    let error = installer
        .install(None, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(error.contains("does not run"), "{error}");
}

#[cfg(unix)]
mod with_a_fake_python {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A python3 whose pip serves an empty wheel of version 1.25.0 only, whose unpacking writes a
    /// library holding `abc`, and whose loader prints 1.25.0.
    fn installer(folder: &Path) -> Installer {
        let wheel = unpacked(b"abc", b"abc");
        let script = format!(
            "#!/bin/sh\n\
             case \"$2\" in\n\
             pip)\n\
               for last; do :; done\n\
               case \"$4 $5\" in\n\
               nvidia-*) touch \"$last/nvidia.whl\"; exit;;\n\
               esac\n\
               case \"$5\" in\n\
               *==1.25.0|*'>='*) touch \"$last/onnxruntime.whl\";;\n\
               *) echo 'from versions: 1.25.0' >&2\n\
                  echo 'ERROR: No matching distribution found' >&2; exit 1;;\n\
               esac;;\n\
             *METADATA*) echo 'nvidia-cufft~=12.0'; echo 'nvidia-cudnn-cu13~=9.0';;\n\
             *urlsafe*) echo x > \"$4/libcudnn.so.9\"; ls \"$3\" | wc -l;;\n\
             *zipfile*) cp '{0}'/* \"$4\";;\n\
             *ctypes*) echo 1.25.0;;\n\
             esac\n",
            wheel.keep().display()
        );
        let python = folder.join("python3");
        fs::write(&python, script).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        Installer {
            folder: folder.join("cache/runtime"),
            python,
            cuda: false,
        }
    }

    #[test]
    fn one_for_gpus_has_what_its_wheel_needs_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut steps = Vec::new();
        let installer = Installer {
            cuda: true,
            ..installer(folder.path())
        };
        let library = installer
            .install(None, &mut |step| steps.push(step.to_owned()))
            .unwrap();
        let place = folder.path().join("cache/runtime/1.25.0-cuda");
        assert_eq!(library, place.join("libonnxruntime.so.1.32.0"));
        assert!(place.join("cuda/libcudnn.so.9").is_file());
        let told = steps.join("; ");
        for said in [
            "onnxruntime-gpu 1.32.0",
            "nvidia-cufft~=12.0, nvidia-cudnn-cu13~=9.0",
        ] {
            assert!(told.contains(said), "{told}");
        }
        assert_eq!(installer.installed("1.25.0"), Some(library));
    }

    #[test]
    fn the_newest_is_taken_when_the_default_is_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let mut steps = Vec::new();
        let library =
            installer(folder.path()).install(None, &mut |step| steps.push(step.to_owned()));
        let expected = folder
            .path()
            .join("cache/runtime/1.25.0/libonnxruntime.so.1.32.0");
        assert_eq!(library.unwrap(), expected);
        assert!(
            steps.iter().any(|step| step.contains("taking its newest")),
            "{steps:?}"
        );
    }

    #[test]
    fn a_version_asked_for_is_never_replaced_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let error = installer(folder.path())
            .install(Some("1.26.0"), &mut |_| {})
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("1.26.0: the package index does not have it"),
            "{error}"
        );
        let left: Vec<_> = fs::read_dir(folder.path().join("cache/runtime"))
            .unwrap()
            .collect();
        assert_eq!(left.len(), 1, "only the lock file stays: {left:?}");
    }

    #[test]
    fn concurrent_installations_end_with_one_whole_folder() {
        let folder = tempfile::tempdir().unwrap();
        let installer = installer(folder.path());
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| installer.install(Some("1.25.0"), &mut |_| {})))
                .collect();
            for handle in handles {
                assert!(handle.join().unwrap().unwrap().is_file());
            }
        });
        let mut names: Vec<_> = fs::read_dir(&installer.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [".lock", "1.25.0"]);
    }
}

/// Downloads some 30 MB, so it runs only when the environment has `FTSURGERY_TEST_INSTALL=1`.
#[test]
fn the_real_index_serves_a_library_that_loads() {
    if std::env::var_os("FTSURGERY_TEST_INSTALL").is_none_or(|value| value != "1") {
        crate::testing::skip("install", "FTSURGERY_TEST_INSTALL=1 downloads onnxruntime");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let installer = Installer {
        folder: folder.path().to_owned(),
        python: "python3".into(),
        cuda: false,
    };
    let library = installer
        .install(Some("1.20.0"), &mut |step| println!("{step}"))
        .unwrap();
    let version = super::super::library::probe(&library).unwrap();
    assert_eq!(version, Version::new(1, 20, 0));
    assert!(library.with_file_name("ThirdPartyNotices.txt").is_file());
}
