use super::*;
use crate::data::dataset::{Workers, tests::images};
use crate::data::{SplitOptions, error::DataError};

fn dataset() -> Dataset {
    Dataset {
        classes: vec!["a".into(), "b".into()],
        labels: (0..20).map(|i| i / 10).collect(),
        sets: None,
        names: (0..20)
            .map(|i| format!("{}/{i}.png", ["a", "b"][i / 10]))
            .collect(),
        digests: vec![[0; 6]; 20],
        copies: Vec::new(),
        group_names: Vec::new(),
        given: None,
        roots: Default::default(),
        skipped: vec![],
        groups: (0..20).collect(),
        told: Vec::new(),
        notes: vec![],
        fingerprint: String::new(),
        shape: [1, 1, 1],
        samples: images([1, 1, 1], vec![0; 20]),
        workers: Workers::default(),
    }
}

fn given(split: &Split) -> Given {
    Given {
        search: Some(split.search.clone()),
        validation: Some(split.validation.clone()),
        train: split.train.clone(),
        held_out: Some(split.held_out.clone()),
        search_apart: split.search_apart,
    }
}

#[test]
fn a_split_comes_back_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("split.json");
    let dataset = dataset();
    let split = Split::of(&dataset, &SplitOptions::default()).unwrap();
    let file = SplitFile::new(&split, &dataset);
    for _ in 0..2 {
        file.write(&path).unwrap();
    }
    let read = SplitFile::read(&path).unwrap();
    assert_eq!(read, file);
    assert_eq!(read.resolve(&dataset, &path).unwrap(), given(&split));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_name_that_is_written_in_another_way_is_that_name() {
    let mut dataset = dataset();
    dataset.names[3] = "a/cafe\u{301}.png".to_owned();
    dataset.names[4] = "b/caf\u{e9}.png".to_owned();
    let file = SplitFile {
        classes: None,
        search: None,
        validation: Some(vec!["a/caf\u{e9}.png".into()]),
        train: vec![
            "b/cafe\u{301}.png".into(),
            "./a/1.png".into(),
            "a\\2.png".into(),
        ],
        held_out: None,
        winners_train_on: train_alone(),
    };
    let given = file.resolve(&dataset, Path::new("split.json")).unwrap();
    assert_eq!(
        (given.validation, given.train),
        (Some(vec![3]), vec![4, 1, 2])
    );
}

#[test]
fn names_that_do_not_fit_are_refused() {
    let dataset = dataset();
    let path = Path::new("my/split.json");
    let whole = SplitFile {
        classes: Some(dataset.classes().to_vec()),
        search: Some(vec![]),
        validation: Some(vec![]),
        train: vec!["a/1.png".into()],
        held_out: Some(vec!["b/11.png".into()]),
        winners_train_on: train_alone(),
    };
    assert!(whole.resolve(&dataset, path).is_ok());
    let refusal = |file: SplitFile| {
        let error = file.resolve(&dataset, path).unwrap_err();
        let text = error.to_string();
        assert!(
            error.is_bad_input() && text.contains("my/split.json"),
            "{text}"
        );
        text
    };
    let mut file = whole.clone();
    file.search.as_mut().unwrap().push("a/99.png".into());
    let text = refusal(file);
    assert!(
        text.contains("\"a/99.png\" in \"search\"") && text.contains("like \"a/0.png\""),
        "{text}"
    );
    let mut file = whole.clone();
    file.validation.as_mut().unwrap().push("a/1.png".into());
    assert!(refusal(file).contains("twice"));
    let mut file = whole.clone();
    file.winners_train_on.push("held_out".into());
    assert!(refusal(file).contains("winners_train_on"));
    let mut file = whole;
    file.classes.as_mut().unwrap().reverse();
    assert!(file.resolve(&dataset, path).is_ok());
    file.classes.as_mut().unwrap()[0].push('s');
    assert!(refusal(file).contains("classes"));
}

#[test]
fn a_file_says_which_lists_the_winners_are_trained_on() {
    let dataset = dataset();
    let path = Path::new("split.json");
    for search_apart in [false, true] {
        let options = SplitOptions {
            search_apart,
            ..SplitOptions::default()
        };
        let split = Split::of(&dataset, &options).unwrap();
        let text = serde_json::to_string(&SplitFile::new(&split, &dataset)).unwrap();
        assert_eq!(text.contains(r#"["search","train"]"#), !search_apart);
        let file: SplitFile = serde_json::from_str(&text).unwrap();
        assert_eq!(file.resolve(&dataset, path).unwrap(), given(&split));
    }
    let old = r#"{"classes":[],"search":[],"validation":[],"train":[],"held_out":[]}"#;
    let file: SplitFile = serde_json::from_str(old).unwrap();
    assert_eq!(file.winners_train_on, [TRAIN]);
}

#[test]
fn a_file_by_hand_may_give_some_parts() {
    let dataset = dataset();
    let text = r#"{"train": ["a/0.png", "b/10.png", "a/1.png", "b/11.png"], "test": ["b/12.png"]}"#;
    let file: SplitFile = serde_json::from_str(text).unwrap();
    let given = file.resolve(&dataset, Path::new("split.json")).unwrap();
    assert_eq!(given.beside(), [Part::HeldOut]);
    assert_eq!((given.train.len(), given.validation), (4, None));
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("split.csv");
    std::fs::write(
        &list,
        "file,set\na/0.png,train\nb/12.png,test\na/1.png,train\n",
    )
    .unwrap();
    let file = SplitFile::read(&list).unwrap();
    assert_eq!(file.train, ["a/0.png", "a/1.png"]);
    assert_eq!(file.beside(), [Part::HeldOut]);
    let wrong = r#"{"train": [], "trein": []}"#;
    assert!(serde_json::from_str::<SplitFile>(wrong).is_err());
}

#[test]
fn what_is_not_a_split_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("split.json");
    assert!(SplitFile::read(&path).unwrap_err().is_bad_input());
    for text in ["", "[]", "{\"classes\": []}"] {
        std::fs::write(&path, text).unwrap();
        let error = SplitFile::read(&path).unwrap_err();
        assert!(matches!(error, DataError::SplitFile { .. }) && error.is_bad_input());
        assert!(error.to_string().contains("split.json"));
    }
    let path = folder.path().join("pipe.json");
    if crate::testing::pipe(&path) {
        let error = SplitFile::read(&path).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_an_error() {
    let dataset = dataset();
    let split = Split::of(&dataset, &SplitOptions::default()).unwrap();
    let file = SplitFile::new(&split, &dataset);
    let error = file
        .write(Path::new("/nowhere/at/all/split.json"))
        .unwrap_err();
    assert!(!error.is_bad_input() && error.to_string().contains("/nowhere/at/all"));
}
