//! Which files and folders are taken for images and classes.

use super::*;

#[test]
fn class_folders_without_a_file_are_left_out_and_told() {
    let root = garden();
    fs::create_dir(root.path().join("rose")).unwrap();
    fs::create_dir_all(root.path().join("iris/deep")).unwrap();
    put(root.path(), "lily/.DS_Store", "x");
    put(root.path(), "fern/@eaDir/a.png", png(picture(4, 4)));
    let dataset = open(root.path(), &OPTIONS).unwrap();
    assert_eq!(dataset.classes(), ["daisy", "tulip"]);
    assert_eq!(dataset.labels(), [0, 0, 1, 1]);
    let note = &dataset.notes()[0];
    for name in ["fern", "iris", "lily", "rose"] {
        assert!(note.contains(name), "{note}");
    }
    let sound = open(garden().path(), &OPTIONS).unwrap();
    assert_eq!(dataset.fingerprint(), sound.fingerprint());
}

#[test]
fn what_desktops_and_drives_leave_behind_is_no_class_and_no_image() {
    let root = garden();
    for folder in ["__MACOSX", "@eaDir", ".ipynb_checkpoints", "daisy/@eaDir"] {
        put(root.path(), &format!("{folder}/a.png"), png(picture(4, 4)));
    }
    put(root.path(), "daisy/.ipynb_checkpoints/b.png", "x");
    put(root.path(), ".DS_Store", "x");
    put(root.path(), "tulip/desktop.ini", "x");
    let dataset = open(root.path(), &OPTIONS).unwrap();
    assert_eq!(
        names(&dataset),
        names(&open(garden().path(), &OPTIONS).unwrap())
    );
    let note = &dataset.notes()[0];
    assert!(
        note.contains(".DS_Store, .ipynb_checkpoints (2), @eaDir (2), __MACOSX"),
        "{note}"
    );
    let skipped: Vec<&str> = dataset.skipped().iter().map(|s| s.path.as_str()).collect();
    assert_eq!(skipped, ["tulip/desktop.ini"]);
}

#[test]
fn the_parts_of_a_split_are_not_taken_for_classes() {
    for names in [
        ["train", "val", "test"],
        ["Training", "valid", "testing"],
        ["training_set", "test_set", "validation-images"],
    ] {
        let root = tempfile::tempdir().unwrap();
        for name in names {
            for class in ["cat", "dog"] {
                put(
                    root.path(),
                    &format!("{name}/{class}/a.png"),
                    png(picture(4, 4)),
                );
            }
        }
        put(root.path(), "__MACOSX/train/a.png", "x");
        let error = open(root.path(), &OPTIONS).unwrap_err();
        assert!(error.is_bad_input() && error.hint().is_some());
        let text = error.to_string();
        assert!(
            text.contains("parts of a split") && text.contains(names[0]),
            "{text}"
        );
    }
    // A test part may be flat, and there may be no more than one part.
    for files in [&["train/cat/a.png", "test/a.png"][..], &["train/cat/a.png"]] {
        let root = tempfile::tempdir().unwrap();
        files
            .iter()
            .for_each(|file| put(root.path(), file, png(picture(4, 4))));
        assert!(open_error(root.path()).contains("parts of a split"));
    }
    // Without sub-folders these are vehicles and examinations.
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "train/a.png", png(picture(4, 4)));
    put(root.path(), "test/b.png", png(picture(4, 5)));
    assert_eq!(
        open(root.path(), &OPTIONS).unwrap().classes(),
        ["test", "train"]
    );
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_loops_skipped() {
    use std::os::unix::fs::symlink;
    let root = garden();
    symlink(
        root.path().join("tulip/b.png"),
        root.path().join("daisy/link.png"),
    )
    .unwrap();
    symlink(root.path().join("daisy"), root.path().join("daisy/loop")).unwrap();
    symlink("nowhere", root.path().join("daisy/broken.png")).unwrap();
    let dataset = open(root.path(), &OPTIONS).unwrap();
    assert!(names(&dataset).contains(&"daisy/link.png".to_owned()));
    let skipped: Vec<&str> = dataset.skipped().iter().map(|s| s.path.as_str()).collect();
    assert_eq!(skipped, ["daisy/broken.png", "daisy/loop"]);
}

#[cfg(unix)]
#[test]
fn links_to_folders_are_not_followed_but_told() {
    use std::os::unix::fs::symlink;
    let root = garden();
    let elsewhere = garden();
    let at = |name: &str| root.path().join(name);
    symlink("..", at("daisy/all")).unwrap();
    symlink("../tulip", at("daisy/other")).unwrap();
    symlink(elsewhere.path(), at("daisy/outside")).unwrap();
    symlink(".", at("everything")).unwrap();
    symlink("tulip", at("again")).unwrap();
    symlink(root.path().parent().unwrap(), at("above")).unwrap();
    let dataset = open(root.path(), &OPTIONS).unwrap();
    assert_eq!(
        names(&dataset),
        names(&open(elsewhere.path(), &OPTIONS).unwrap())
    );
    let skipped: Vec<&str> = dataset.skipped().iter().map(|s| s.path.as_str()).collect();
    assert_eq!(
        skipped,
        [
            "above",
            "again",
            "daisy/all",
            "daisy/other",
            "daisy/outside",
            "everything"
        ]
    );
    assert!(
        dataset
            .skipped()
            .iter()
            .all(|s| s.reason.contains("not followed"))
    );

    // A class may lie elsewhere.
    symlink(elsewhere.path().join("tulip"), at("rose")).unwrap();
    let dataset = open(root.path(), &OPTIONS).unwrap();
    assert_eq!(dataset.classes(), ["daisy", "rose", "tulip"]);
    assert!(dataset.skipped().iter().all(|s| s.path != "rose"));
}

#[cfg(unix)]
#[test]
fn a_class_folder_that_may_not_be_read_is_said_to_be_so() {
    use std::os::unix::fs::PermissionsExt;
    let root = garden();
    let folder = root.path().join("rose");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o0)).unwrap();
    let may_read = fs::read_dir(&folder).is_ok();
    let error = open(root.path(), &OPTIONS);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    if may_read {
        crate::testing::skip("permissions", "this user may read every folder");
        return;
    }
    let error = error.unwrap_err();
    assert!(
        error.is_bad_input() && error.to_string().contains("rose"),
        "{error}"
    );
    let DataError::Read { source, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_are_skipped() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let root = garden();
    let name = OsStr::from_bytes(b"caf\xe9.png");
    fs::write(root.path().join("daisy").join(name), png(picture(4, 4))).unwrap();
    fs::write(root.path().join(name), png(picture(4, 4))).unwrap();
    let dataset = open(root.path(), &OPTIONS).unwrap();
    assert_eq!(dataset.len(), 4);
    let reasons: Vec<&str> = dataset
        .skipped()
        .iter()
        .map(|s| s.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        ["not inside a class folder", "the name is not valid UTF-8"]
    );
}
