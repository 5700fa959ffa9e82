use std::fs;

use super::*;

fn write(folder: &tempfile::TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn of(name: &str, text: impl AsRef<[u8]>, columns: &Columns) -> Result<List, DataError> {
    let folder = tempfile::tempdir().unwrap();
    read(&write(&folder, name, text), columns, Wanted::Labels(None))
}

fn row(line: u64, path: &str, label: &str, part: Option<Part>, group: Option<&str>) -> Row {
    Row {
        line,
        path: path.to_owned(),
        label: label.to_owned(),
        set: None,
        flags: Vec::new(),
        part,
        group: group.map(str::to_owned),
    }
}

/// What is wrong with a list.
fn wrong(name: &str, text: impl AsRef<[u8]>, columns: &Columns) -> String {
    let error = of(name, text, columns).err().unwrap();
    assert!(error.is_bad_input(), "{error}");
    error.to_string()
}

#[test]
fn columns_are_found_by_their_usual_names_in_every_form_of_list() {
    let expected = [
        row(2, "a/1.png", "cat", Some(Part::Train), Some("p1")),
        row(3, "a/2, b.png", "dog", Some(Part::HeldOut), None),
    ];
    let comma = "File Name,Class,Set,Patient-ID,age\na/1.png,cat,Training,p1,7\n\"a/2, b.png\", dog ,test,,8\n";
    let semicolon = "image;target;split;group\r\na/1.png;cat;train;p1\r\na/2, b.png;dog;TEST;\r\n";
    let tabs =
        "path\tlabel\tsubset\tsubject\na/1.png\tcat\ttrain\tp1\na/2, b.png\tdog\ttesting\t\n";
    let marked = format!("\u{feff}{comma}");
    let returns = semicolon.replace('\n', "");
    for (name, text) in [
        ("a.csv", comma),
        ("b.CSV", semicolon),
        ("c.tsv", tabs),
        ("d.csv", tabs),
        ("e.csv", &marked),
        ("g.csv", &returns),
    ] {
        let list = of(name, text, &Columns::default()).unwrap();
        assert_eq!(list.rows, expected, "{name}");
        assert!(list.told.contains("labels in "), "{}", list.told);
    }
    let json = "{\"path\": \"a/1.png\", \"label\": \"cat\", \"split\": \"train\", \"group\": \"p1\", \"box\": [1]}\n\n\
                {\"label\": \"dog\", \"path\": \"a/2, b.png\", \"split\": \"test\", \"group\": null}\n";
    let list = of("f.jsonl", json, &Columns::default()).unwrap();
    let lines: Vec<u64> = list.rows.iter().map(|row| row.line).collect();
    assert_eq!(lines, [1, 3]);
    let same = list.rows.into_iter().zip(&expected);
    assert!(same.into_iter().all(|(row, other)| Row {
        line: other.line,
        ..row
    } == *other));
    let numbers = of(
        "g.jsonl",
        "{\"file\": \"1.png\", \"class\": 3}\n",
        &Columns::default(),
    );
    assert_eq!(numbers.unwrap().rows[0].label, "3");
}

#[test]
fn columns_may_be_named_or_numbered_or_not_be_read() {
    let columns = Columns {
        path_column: Some("where".to_owned()),
        label_column: Some("species".to_owned()),
        split_column: Some("none".to_owned()),
        ..Columns::default()
    };
    let text = "species,where,split\ncat,1.png,A\n";
    assert_eq!(
        of("a.csv", text, &columns).unwrap().rows,
        [row(2, "1.png", "cat", None, None)]
    );
    let mut numbers = Columns {
        path_column: Some("2".to_owned()),
        label_column: Some("1".to_owned()),
        ..Columns::default()
    };
    let text = "cat,1.png\ndog,2.png\n";
    let list = of("a.csv", text, &numbers).unwrap();
    assert_eq!(
        list.rows,
        [
            row(1, "1.png", "cat", None, None),
            row(2, "2.png", "dog", None, None)
        ]
    );
    numbers.label_column = Some("3".to_owned());
    assert!(wrong("a.csv", text, &numbers).contains("line 1: there is no column \"3\""));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let plain = Columns::default();
    for (text, told) in [
        ("", "it is empty"),
        ("path,label\n", "it has no rows"),
        (
            "a/1.png,cat\n",
            "line 1: no column is seen to hold the paths; the first line has \"a/1.png\", \"cat\"",
        ),
        ("path,kind\na,b\n", "no column is seen to hold the labels"),
        (
            "path,image,label\na,b,c\n",
            "\"path\" and \"image\" may both hold the paths: --path-column",
        ),
        (
            "path,label\na,cat\nb\n",
            "line 3: it has 1 fields, the first line 2",
        ),
        ("path,label\na,cat\nb,\n", "line 3: the label is empty"),
        ("path,label\n,cat\n", "line 2: the path is empty"),
        (
            "path,label,split\na,cat,train\nb,cat,trian\n",
            "line 3: \"trian\" in column \"split\" is no part",
        ),
        (
            "path,label,split\na,cat,\n",
            "line 2: \"\" in column \"split\" is no part",
        ),
        (
            "path,label\na,cat\nb,cat\na,dog\n",
            "line 4: \"a\" has another label than in line 2",
        ),
        (
            "path,label,group\na,cat,1\na,cat,2\n",
            "line 3: \"a\" has another group than in line 2",
        ),
    ] {
        let error = wrong("a.csv", text, &plain);
        assert!(error.contains(told), "{text:?}: {error}");
    }
    let bytes = b"path,label\na,caf\xe9\n";
    assert!(wrong("a.csv", bytes, &plain).contains("line 2: it is not UTF-8"));
    for (text, told) in [
        (
            "{\"path\": \"a\", \"label\": \"b\"}\nnothing",
            "line 2: it is not JSON",
        ),
        ("[1]", "line 1: it is no JSON object"),
        (
            "{\"path\": \"a\", \"label\": {\"b\": 1}}",
            "line 1: \"label\" is no text",
        ),
        (
            "{\"path\": \"a\", \"label\": 1}\n{\"path\": \"b\"}",
            "line 2: the label is empty",
        ),
        (
            "{\"path\": \"a\", \"label\": 1}\n{\"path\": \"b\", \"label\": 1, \"split\": \"test\"}",
            "line 2: it has \"split\", which the first line lacks",
        ),
    ] {
        let error = wrong("a.jsonl", text, &plain);
        assert!(error.contains(told), "{text:?}: {error}");
    }
}

/// As Excel writes and reads them.
#[test]
fn lists_may_be_in_utf_16_and_name_what_separates_their_fields() {
    let marked = |text: &str| -> Vec<u8> {
        let text = format!("\u{feff}{text}");
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    let expected = [
        row(3, "1.png", "Bär", None, None),
        row(4, "2, 3.png", "dog", None, None),
    ];
    for (name, text) in [
        (
            "a.csv",
            b"sep=;\npath;label\n1.png;B\xc3\xa4r\n2, 3.png;dog\n".to_vec(),
        ),
        (
            "b.csv",
            marked("SEP=|\r\npath|label\r\n1.png|Bär\r\n2, 3.png|dog\r\n"),
        ),
        (
            "c.tsv",
            marked("sep=,\rpath,label\r1.png,Bär\r\"2, 3.png\",dog\r"),
        ),
        (
            "d.txt",
            marked("\r\npath\tlabel\r\n1.png\tBär\r\n\"2, 3.png\"\tdog\r\n"),
        ),
    ] {
        let list = of(name, text, &Columns::default()).unwrap();
        assert_eq!(list.rows, expected, "{name}");
    }
    let json = marked("{\"path\": \"1.png\", \"label\": \"Bär\"}\r\n");
    let list = of("e.jsonl", json, &Columns::default()).unwrap();
    assert_eq!(list.rows, [row(1, "1.png", "Bär", None, None)]);
    let broken = wrong("f.csv", b"\xff\xfep", &Columns::default());
    assert!(broken.contains("UTF-16"), "{broken}");
    // A column may be called so.
    let column = of(
        "g.csv",
        "sep=a,path,label\n1,1.png,cat\n",
        &Columns::default(),
    );
    assert_eq!(column.unwrap().rows[0].label, "cat");
}

#[test]
fn a_row_that_says_the_same_again_counts_once_and_is_told() {
    let list = of(
        "a.csv",
        "path,label\na,cat\nb,dog\na,cat\n",
        &Columns::default(),
    )
    .unwrap();
    assert_eq!(list.rows.len(), 2);
    assert!(list.notes[0].contains("1 rows"), "{:?}", list.notes);
}

#[test]
fn a_list_of_parts_needs_no_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "split.csv", "path,split\na,train\nb,val\n");
    let list = read(&path, &Columns::default(), Wanted::Parts).unwrap();
    assert_eq!(list.rows[1], row(3, "b", "", Some(Part::Validation), None));
    let path = write(&folder, "other.csv", "path,label\na,train\n");
    assert!(read(&path, &Columns::default(), Wanted::Parts).is_err());
}

/// The labels of each row; `None` where each has one.
fn sets(name: &str, text: &str, task: Option<Task>) -> Result<Vec<Option<Vec<String>>>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, name, text);
    let list = read(&path, &Columns::default(), Wanted::Labels(task));
    let list = list.map_err(|e| e.to_string())?;
    assert_eq!(list.several, list.rows.iter().all(|row| row.set.is_some()));
    Ok(list.rows.into_iter().map(|row| row.set).collect())
}

#[test]
fn several_labels_are_found_in_cells_lists_and_columns() {
    let several = Some(Task::MultiLabel);
    let expected: Vec<Option<Vec<String>>> = [&["cat", "dog"][..], &["dog"], &[]]
        .iter()
        .map(|set| Some(set.iter().map(|s| (*s).to_owned()).collect()))
        .collect();
    for (name, text) in [
        ("a.csv", "path,label\n1.png,cat|dog\n2.png,dog\n3.png,\n"),
        (
            "b.csv",
            "path,tags,label\n1.png,x,dog; cat\n2.png,,dog\n3.png,,\n",
        ),
        (
            "c.csv",
            "path,label\n1.png,\"[\"\"cat\"\", \"\"dog\"\"]\"\n2.png,\"[\"\"dog\"\"]\"\n3.png,[]\n",
        ),
        (
            "d.csv",
            "path,age,cat,dog,split\n1.png,7,1,1,train\n2.png,8,0,1.0,val\n3.png,9,false,0,test\n",
        ),
        (
            "e.jsonl",
            "{\"path\": \"1.png\", \"label\": [\"cat\", \"dog\"]}\n{\"path\": \"2.png\", \"label\": [\"dog\"]}\n\
             {\"path\": \"3.png\", \"label\": []}\n",
        ),
    ] {
        for task in [None, several] {
            let mut found = sets(name, text, task).unwrap();
            found.iter_mut().flatten().for_each(|set| set.sort());
            assert_eq!(found, expected, "{name} {task:?}");
        }
    }
    // Of one path in several rows, all.
    let long = "path,label\n1.png,cat\n1.png,dog\n2.png,dog\n";
    assert_eq!(sets("f.csv", long, several).unwrap(), expected[..2]);
    let refused = sets("f.csv", long, None).unwrap_err();
    assert!(refused.contains("--task multi-label"), "{refused}");
}

#[test]
fn what_only_looks_like_several_labels_is_one() {
    let one = |name: &str, text: &str, task| {
        let sets = sets(name, text, task).unwrap();
        assert!(sets.iter().all(Option::is_none), "{name}: {sets:?}");
    };
    // No part of a name is in another.
    one("a.csv", "path,label\n1.png,a|b\n2.png,c|d\n", None);
    let cells = "path,label\n1.png,cat|dog\n2.png,dog\n";
    one("b.csv", cells, Some(Task::SingleLabel));
    one(
        "c.jsonl",
        "{\"path\": \"1.png\", \"label\": [\"cat\"]}\n",
        Some(Task::SingleLabel),
    );
    let two = "{\"path\": \"1.png\", \"label\": [\"cat\", \"dog\"]}\n";
    let refused = sets("d.jsonl", two, Some(Task::Binary)).unwrap_err();
    assert!(refused.contains("2 labels"), "{refused}");
    let empty = sets("e.csv", "path,label\n1.png,cat\n2.png,\n", None).unwrap_err();
    assert!(
        empty.contains("line 3") && empty.contains("empty"),
        "{empty}"
    );
    // A column of texts may be that of the labels, unless it is said that others are.
    let species = "path,species,big,old\n1.png,cat,1,0\n2.png,dog,0,0\n";
    let refused = sets("f.csv", species, None).unwrap_err();
    assert!(
        refused.contains("--label-column") && refused.contains("\"species\""),
        "{refused}"
    );
    let said = sets("f.csv", species, Some(Task::MultiLabel)).unwrap();
    assert_eq!(said[0], Some(vec!["big".to_owned()]));
    for columns in [
        "path,age,weight\n1.png,7,1\n",
        "path,cat\n1.png,1\n",
        "path\n1.png\n",
    ] {
        for task in [None, Some(Task::MultiLabel), Some(Task::SingleLabel)] {
            let refused = sets("f.csv", columns, task).unwrap_err();
            assert!(refused.contains("--label-column"), "{refused}");
        }
    }
}

#[test]
fn numbers_that_were_measured_are_no_classes() {
    let plain = Columns::default();
    let measured = "path,label\n1,0.12\n2,3.5\n3,1.75\n4,0.12\n";
    let refused = wrong("a.csv", measured, &plain);
    assert!(refused.contains("regression"), "{refused}");
    for grades in [
        "path,label\n1,1.0\n2,2.0\n3,3.0\n4,1.0\n5,2.0\n6,3.0\n",
        "path,label\n1,1\n2,2\n3,3\n",
    ] {
        assert!(of("a.csv", grades, &plain).is_ok(), "{grades}");
    }
}

/// As the ground truth of skin lesions is written (ISIC).
#[test]
fn columns_of_classes_that_exclude_each_other_are_one_label_where_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let read = |text: &str, task| {
        let path = write(&folder, "truth.csv", text);
        super::read(&path, &Columns::default(), Wanted::Labels(task))
    };
    let truth = "image,MEL,NV,BCC\n1,0.0,1.0,0.0\n2,1.0,0.0,0.0\n3,0.0,0.0,1.0\n";
    for task in [Task::SingleLabel, Task::Binary] {
        let list = read(truth, Some(task)).unwrap();
        let labels: Vec<&str> = list.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["NV", "MEL", "BCC"]);
        assert!(!list.several && list.rows[0].set.is_none());
        assert!(list.told.contains("one label each"), "{}", list.told);
    }
    let told = read(truth, None).unwrap();
    assert!(told.several && told.told.contains("--task single-label"));
    let both = truth
        .replace("2,1.0", "2,1.0,1.0")
        .replace("1.0,1.0,0.0,0.0", "1.0,1.0,0.0");
    assert!(!read(&both, None).unwrap().told.contains("just one"));
    let refused = read(&both, Some(Task::SingleLabel))
        .err()
        .unwrap()
        .to_string();
    assert!(
        refused.contains("line 3") && refused.contains("2 of its columns"),
        "{refused}"
    );
}

/// As Oxford's pets and Caffe have them.
#[test]
fn a_text_file_has_its_fields_between_spaces_tabs_or_commas() {
    let numbered = Columns {
        path_column: Some("1".to_owned()),
        label_column: Some("2".to_owned()),
        ..Columns::default()
    };
    for text in [
        "#Image CLASS-ID SPECIES\n# more, of it\nAbyssinian_1 1  1\nbeagle_2   5 2 \n",
        "Abyssinian_1\t1\t1\nbeagle_2\t5\t2\n",
        "Abyssinian_1,1,1\r\nbeagle_2,5,2\r\n",
    ] {
        let list = of("list.txt", text, &numbered).unwrap();
        let rows = list
            .rows
            .iter()
            .map(|row| (row.path.as_str(), row.label.as_str()));
        assert_eq!(
            rows.collect::<Vec<_>>(),
            [("Abyssinian_1", "1"), ("beagle_2", "5")],
            "{text}"
        );
    }
    let lines = of("list.txt", "#of it\n\na.jpg 1\nb.jpg 2\n", &numbered).unwrap();
    assert_eq!(lines.rows[1].line, 4);
    // A header names columns as elsewhere, and a comment is none of the other kinds.
    let list = of("list.txt", "file label\na.jpg cat\n", &Columns::default()).unwrap();
    assert_eq!(list.rows[0].label, "cat");
    let list = of("list.csv", "file,label\n#1.jpg,cat\n", &Columns::default()).unwrap();
    assert_eq!(list.rows[0].path, "#1.jpg");
    assert!(wrong("list.txt", "a.jpg 1\nb.jpg\n", &numbered).contains("it has 1 fields"));
}
