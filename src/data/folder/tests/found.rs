//! Which files and folders are taken for images and classes.

use super::super::find::parts_beside;
use super::*;
use crate::data::{Part, Sources};

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

/// A folder with a picture of its own for each of these files.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (number, file) in files.iter().enumerate() {
        put(root.path(), file, png(picture(4, 4 + number as u32)));
    }
    root
}

/// The names of the samples of a part.
fn part(dataset: &Dataset, part: Part) -> Vec<String> {
    let samples = dataset.given().and_then(|given| given.part(part));
    let samples = samples.unwrap_or_default().iter();
    samples.map(|&sample| dataset.name(sample)).collect()
}

#[test]
fn folders_that_are_the_parts_of_a_split_give_them() {
    for names in [
        ["train", "val", "test"],
        ["Training", "valid", "TESTING"],
        ["training_set", "validation-images", "test_set"],
        ["train", "dev", "holdout"],
    ] {
        let files = names.map(|part| ["cat", "dog"].map(|class| format!("{part}/{class}/a.png")));
        let files: Vec<&str> = files.iter().flatten().map(String::as_str).collect();
        let root = folder(&files);
        put(root.path(), "__MACOSX/train/a.png", "x");
        let dataset = open(root.path(), &OPTIONS).unwrap();
        assert_eq!(dataset.classes(), ["cat", "dog"]);
        assert_eq!(dataset.labels(), [0, 0, 0, 1, 1, 1]);
        for (name, of) in names
            .into_iter()
            .zip([Part::Train, Part::Validation, Part::HeldOut])
        {
            let of_part = part(&dataset, of);
            assert_eq!(
                of_part,
                ["cat", "dog"].map(|class| format!("{name}/{class}/a.png"))
            );
        }
        assert_eq!(dataset.given_parts(), [Part::Validation, Part::HeldOut]);
        assert_eq!(parts_beside(root.path()).len(), 2);
    }
    let plain = open(garden().path(), &OPTIONS).unwrap();
    assert!(plain.given().is_none() && plain.given_parts().is_empty());
}

#[test]
fn a_part_may_be_missing_or_flat_and_other_folders_may_lie_beside() {
    let train = ["train/cat/a.png", "train/dog/b.png"];
    let root = folder(&[train[0], train[1], "test/a.png"]);
    let dataset = open(root.path(), &OPTIONS).unwrap();
    assert!(dataset.given_parts().is_empty());
    assert_eq!(part(&dataset, Part::Train), train);
    assert!(
        dataset.notes()[0].contains("left out"),
        "{:?}",
        dataset.notes()
    );
    assert!(dataset.notes()[0].contains("\"test\""));

    let root = folder(&[train[0], train[1], "test/cat/a.png", "labels/deep/x.png"]);
    let dataset = open(root.path(), &OPTIONS).unwrap();
    assert_eq!(dataset.given_parts(), [Part::HeldOut]);
    assert!(
        dataset.notes()[0].contains("\"labels\""),
        "{:?}",
        dataset.notes()
    );
}

#[test]
fn vehicles_and_examinations_are_classes() {
    for files in [
        &["train/a.png", "test/b.png"][..],
        &["train/red/a.png", "car/red/b.png"],
        // Nothing that is trained on is called as in the other.
        &["train/red/a.png", "test/blue/b.png", "car/c.png"],
    ] {
        let root = folder(files);
        let dataset = open(root.path(), &OPTIONS).unwrap();
        assert!(dataset.given().is_none(), "{files:?}");
        assert!(dataset.classes().contains(&"train".to_owned()));
    }
}

#[test]
fn a_part_that_is_given_twice_is_refused() {
    let root = folder(&[
        "train/cat/a.png",
        "train/dog/a.png",
        "val/cat/b.png",
        "valid/dog/b.png",
    ]);
    let error = open_error(root.path());
    assert!(error.contains("\"val\" and \"valid\""), "{error}");

    let root = folder(&[
        "train/cat/a.png",
        "train/dog/a.png",
        "test/cat/b.png",
        "test/dog/b.png",
    ]);
    let other = folder(&["cat/a.png", "dog/b.png"]);
    let with = |sources: &Sources| {
        let options = OpenOptions {
            sources: Some(sources),
            ..OPTIONS
        };
        open(root.path(), &options)
    };
    let mut sources = Sources {
        test: Some(other.path().to_owned()),
        ..Sources::default()
    };
    let error = with(&sources).unwrap_err();
    assert!(
        error.is_bad_input() && error.to_string().contains("the part held out"),
        "{error}"
    );
    sources.validation = sources.test.take();
    let dataset = with(&sources).unwrap();
    assert_eq!(dataset.given_parts(), [Part::Validation, Part::HeldOut]);
}

#[test]
fn other_folders_validate_and_are_held_out() {
    let root = garden();
    let [validation, test] = [1, 2].map(|number| {
        let other = tempfile::tempdir().unwrap();
        for class in ["daisy", "tulip"] {
            put(
                other.path(),
                &format!("{class}/a.jpg"),
                jpeg(&picture(9 + number, 7)),
            );
        }
        other
    });
    let mut sources = Sources {
        validation: Some(validation.path().to_owned()),
        test: Some(test.path().to_owned()),
        ..Sources::default()
    };
    let options = OpenOptions {
        sources: Some(&sources),
        ..OPTIONS
    };
    let dataset = open(root.path(), &options).unwrap();
    assert_eq!(
        part(&dataset, Part::Train),
        names(&open(root.path(), &OPTIONS).unwrap())
    );
    let of_validation = ["validation:daisy/a.jpg", "validation:tulip/a.jpg"];
    assert_eq!(part(&dataset, Part::Validation), of_validation);
    assert_eq!(dataset.roots()["test:"], test.path());
    let alone = open(root.path(), &OPTIONS).unwrap();
    assert_ne!(dataset.fingerprint(), alone.fingerprint());

    let absent = test.path().join("absent");
    sources.test = Some(absent);
    let options = OpenOptions {
        sources: Some(&sources),
        ..OPTIONS
    };
    let error = open(root.path(), &options).unwrap_err();
    assert!(
        error.is_bad_input() && error.to_string().contains("absent"),
        "{error}"
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
