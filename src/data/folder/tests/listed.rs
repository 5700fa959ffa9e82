//! Images of a list, and groups.

use super::*;
use crate::data::Sources;
use crate::task::Task;

/// The images of [`garden`] and a list of them beside.
fn listed(text: &str) -> tempfile::TempDir {
    let root = garden();
    put(root.path(), "lists/all.csv", text);
    root
}

const ROWS: &str = "file,label,split,patient\n\
    ../tulip/b.png,red,train,p1\n../tulip/a.jpg,red,val,p2\n\
    ../daisy/z.jpg,10,train,p3\n../daisy/deep/down/c.JPEG,9,train,p1\n";

fn with(root: &Path, sources: &Sources) -> Result<Dataset, DataError> {
    let options = OpenOptions {
        sources: Some(sources),
        ..OPTIONS
    };
    super::open(root, &options)
}

#[test]
fn a_list_names_images_with_their_classes_parts_and_groups() {
    let root = listed(ROWS);
    let path = root.path().join("lists/all.csv");
    let dataset = Dataset::open(&path, &OPTIONS).unwrap();
    assert_eq!(dataset.len(), 4);
    let at = |name: &str| names(&dataset).iter().position(|n| n == name).unwrap();
    let label = |name: &str| dataset.classes()[dataset.labels()[at(name)] as usize].clone();
    assert_eq!(label("../tulip/b.png"), "red");
    assert_eq!(label("../daisy/z.jpg"), "10");
    assert_eq!(
        dataset.given().unwrap().validation,
        Some(vec![at("../tulip/a.jpg")])
    );
    let groups = dataset.groups();
    assert_eq!(
        groups[at("../tulip/b.png")],
        groups[at("../daisy/deep/down/c.JPEG")]
    );
    assert_ne!(groups[at("../tulip/b.png")], groups[at("../daisy/z.jpg")]);
    assert!(dataset.copies().iter().copied().eq(0..4));
    assert!(
        dataset.told()[0].contains("groups in \"patient\""),
        "{:?}",
        dataset.told()
    );

    // The same pixels as of the folder.
    let folder = open(root.path(), &OPTIONS);
    let folder = folder.unwrap();
    let mut digests = [&dataset, &folder].map(|d| (0..4).map(|i| d.digest(i)).collect::<Vec<_>>());
    digests.iter_mut().for_each(|list| list.sort_unstable());
    assert_eq!(digests[0], digests[1]);

    // What it says is part of what it is.
    put(root.path(), "lists/other.csv", ROWS.replace("p3", "p2"));
    let other = Dataset::open(&root.path().join("lists/other.csv"), &OPTIONS).unwrap();
    assert_ne!(other.fingerprint(), dataset.fingerprint());
}

#[test]
fn paths_begin_in_the_lists_folder_or_in_another() {
    let root = listed("file,label\nb.png,red\na.jpg,red\n");
    let path = root.path().join("lists/all.csv");
    let error = Dataset::open(&path, &OPTIONS).unwrap_err();
    assert!(error.is_bad_input(), "{error}");
    assert!(
        error
            .to_string()
            .contains("line 2: there is no file \"b.png\" in"),
        "{error}"
    );
    let some = "file,label\nb.png,red\na.jpg,red\n..\\daisy\\z.jpg,white\n";
    put(root.path(), "lists/all.csv", some);
    let sources = Sources {
        images: Some(root.path().join("tulip")),
        ..Sources::default()
    };
    let dataset = with(&path, &sources).unwrap();
    assert_eq!(names(&dataset), ["a.jpg", "b.png", "../daisy/z.jpg"]);
    assert_eq!(dataset.roots()[""], root.path().join("tulip"));
    // An archive of another system may have the other form of a name, which is that of the file.
    put(root.path(), "tulip/cafe\u{301}.jpg", jpeg(&picture(9, 9)));
    put(
        root.path(),
        "lists/all.csv",
        "file,label\ncaf\u{e9}.jpg,red\n./caf\u{e9},red\nb.png,red\n./a.jpg,white\n",
    );
    let dataset = with(&path, &sources).unwrap();
    assert_eq!(names(&dataset), ["b.png", "cafe\u{301}.jpg", "a.jpg"]);
    let again = "1 rows of";
    assert!(dataset.notes().iter().any(|note| note.contains(again)));
    put(
        root.path(),
        "lists/all.csv",
        "file,label\na.jpg,red\n./a,white\nb.png,red\n",
    );
    let error = with(&path, &sources).unwrap_err().to_string();
    assert!(
        error.contains("line 3: \"a.jpg\" has another label than in line 2"),
        "{error}"
    );
    // Some that are missing are skipped by name.
    put(
        root.path(),
        "lists/all.csv",
        "file,label\nb.png,red\nnone.jpg,red\n../daisy/z.jpg,white\n",
    );
    let dataset = with(&path, &sources).unwrap();
    assert_eq!(dataset.skipped()[0].path, "none.jpg");
    // These are for lists.
    let error = with(root.path(), &sources).unwrap_err();
    assert!(
        error.is_bad_input() && error.to_string().contains("images = "),
        "{error}"
    );
}

#[test]
fn groups_are_found_in_paths_and_stay_together() {
    let root = garden();
    for name in [
        "tulip/p7_1.png",
        "tulip/p7_2.png",
        "daisy/p7_1.png",
        "daisy/p8_1.png",
    ] {
        let side = name.bytes().map(u32::from).sum::<u32>() % 97 + 5;
        put(
            root.path(),
            name,
            png(picture(side, 20 + name.as_bytes()[0] as u32)),
        );
    }
    let mut sources = Sources {
        group_by: Some(r"/(p\d+)_".to_owned()),
        ..Sources::default()
    };
    let dataset = with(root.path(), &sources).unwrap();
    let group = |name: &str| {
        let at = names(&dataset).iter().position(|n| n == name).unwrap();
        dataset.groups()[at]
    };
    assert_eq!(group("tulip/p7_1.png"), group("tulip/p7_2.png"));
    assert_eq!(group("tulip/p7_1.png"), group("daisy/p7_1.png"));
    assert_ne!(group("tulip/p7_1.png"), group("daisy/p8_1.png"));
    let note = &dataset.notes()[0];
    assert!(note.contains("not found in 4 of 8 paths"), "{note}");
    sources.group_by = Some("nowhere".to_owned());
    let error = with(root.path(), &sources).unwrap_err();
    assert!(
        error.is_bad_input() && error.to_string().contains("in no image's path"),
        "{error}"
    );
}

/// The names of the classes of each sample.
fn own(dataset: &Dataset) -> Vec<(String, Vec<String>)> {
    let of = |i: usize| {
        let own = dataset.classes_of(i).map(|c| dataset.classes()[c].clone());
        (dataset.name(i), own.collect())
    };
    (0..dataset.len()).map(of).collect()
}

#[test]
fn folders_of_two_names_and_pictures_in_two_folders_have_both_labels() {
    let root = garden();
    let both = png(picture(7, 7));
    put(root.path(), "daisy+tulip/d.png", png(picture(11, 5)));
    for name in ["daisy/both.png", "tulip/both.png"] {
        put(root.path(), name, &both);
    }
    let single = open(root.path(), &OPTIONS).unwrap();
    assert_eq!(single.classes(), ["daisy", "daisy+tulip", "tulip"]);
    assert!(single.sets().is_none());
    let says = |notes: &[String], text: &str| notes.iter().any(|note| note.contains(text));
    assert!(
        says(single.notes(), "--task multi-label"),
        "{:?}",
        single.notes()
    );
    let sources = Sources {
        task: Some(Task::MultiLabel),
        ..Sources::default()
    };
    let several = with(root.path(), &sources).unwrap();
    assert_eq!(several.classes(), ["daisy", "tulip"]);
    let expected = [
        ("daisy/deep/down/c.JPEG", &["daisy"][..]),
        ("daisy/z.jpg", &["daisy"]),
        ("daisy/both.png", &["daisy", "tulip"]),
        ("daisy+tulip/d.png", &["daisy", "tulip"]),
        ("tulip/a.jpg", &["tulip"]),
        ("tulip/b.png", &["tulip"]),
    ];
    let found: std::collections::BTreeMap<_, _> = own(&several).into_iter().collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (name, classes) in expected {
        assert_eq!(found[name], classes, "{name}");
    }
    assert!(
        says(several.notes(), "tulip/both.png"),
        "{:?}",
        several.notes()
    );
    assert_ne!(single.fingerprint(), several.fingerprint());
    let of = |name: &str| own(&several).iter().position(|(n, _)| n == name).unwrap();
    assert_eq!(several.labels()[of("tulip/a.jpg")], 1);
    let binary = Sources {
        task: Some(Task::Binary),
        ..Sources::default()
    };
    let options = OpenOptions {
        sources: Some(&binary),
        ..OPTIONS
    };
    let refused = Dataset::open(root.path(), &options)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("two classes"), "{refused}");
}

#[test]
fn an_image_of_a_list_may_have_no_label() {
    let root = listed("file,label\n../tulip/b.png,red|big\n../tulip/a.jpg,\n../daisy/z.jpg,big\n");
    let dataset = Dataset::open(&root.path().join("lists/all.csv"), &OPTIONS).unwrap();
    assert_eq!(dataset.classes(), ["big", "red"]);
    let at = |name: &str| names(&dataset).iter().position(|n| n == name).unwrap();
    assert_eq!(dataset.labels()[at("../tulip/a.jpg")], -1);
    assert_eq!(dataset.sets().unwrap().get(at("../tulip/b.png")), [0, 1]);
}

#[test]
fn classes_are_found_in_paths() {
    let root = tempfile::tempdir().unwrap();
    for (side, name) in [
        "Great_Pyrenees_1.png",
        "Great_Pyrenees_2.png",
        "deep/Bengal_17.png",
        "Bengal_3.png",
        "train/pug_9.png",
        "notes_of_mine.png",
    ]
    .into_iter()
    .enumerate()
    {
        put(root.path(), name, png(picture(5 + side as u32, 20)));
    }
    let mut sources = Sources {
        label_by: Some(r"([^/]+)_\d+\.png$".to_owned()),
        ..Sources::default()
    };
    let dataset = with(root.path(), &sources).unwrap();
    assert_eq!(dataset.classes(), ["Bengal", "Great_Pyrenees", "pug"]);
    let found: Vec<(String, i64)> = names(&dataset)
        .into_iter()
        .zip(dataset.labels().to_vec())
        .collect();
    let expected = [
        ("Bengal_3.png", 0),
        ("deep/Bengal_17.png", 0),
        ("Great_Pyrenees_1.png", 1),
        ("Great_Pyrenees_2.png", 1),
        ("train/pug_9.png", 2),
    ];
    assert_eq!(
        found,
        expected.map(|(name, label)| (name.to_owned(), label))
    );
    assert_eq!(dataset.skipped()[0].path, "notes_of_mine.png");
    assert!(dataset.given().is_none() && sources.given_parts(root.path()).is_empty());
    for wrong in ["nowhere", "("] {
        sources.label_by = Some(wrong.to_owned());
        let error = with(root.path(), &sources).unwrap_err();
        assert!(
            error.is_bad_input() && error.to_string().contains("label_by"),
            "{error}"
        );
    }
    let list = listed(ROWS);
    let error = with(&list.path().join("lists/all.csv"), &sources).unwrap_err();
    assert!(error.to_string().contains("the data are a list"), "{error}");
}

#[test]
fn an_image_whose_name_a_list_has_without_its_ending_is_found() {
    let root = garden();
    let list = "tulip/b 1\ntulip/a 1\ndaisy/deep/down/c 2\ndaisy/z 2\n";
    put(root.path(), "lists/all.txt", list);
    let mut sources = Sources {
        images: Some(root.path().to_owned()),
        ..Sources::default()
    };
    sources.columns.path_column = Some("1".to_owned());
    sources.columns.label_column = Some("2".to_owned());
    let options = OpenOptions {
        sources: Some(&sources),
        ..OPTIONS
    };
    let dataset = open(&root.path().join("lists/all.txt"), &options).unwrap();
    assert_eq!(dataset.classes(), ["1", "2"]);
    assert_eq!(dataset.len(), 4);
    // Names are those of the files, by which photos are found again.
    assert!(names(&dataset).contains(&"daisy/deep/down/c.JPEG".to_owned()));
    assert!(dataset.skipped().is_empty() && dataset.notes().is_empty());
    assert!(
        dataset.told()[0].contains("paths in column 1"),
        "{:?}",
        dataset.told()
    );
}
