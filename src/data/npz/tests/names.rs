//! Labels that are texts.

use super::*;

/// An archive of as many samples as `y` has rows.
fn with(rows: usize, kind: &str, shape: &str, payload: &[u8]) -> tempfile::NamedTempFile {
    let mut x = vec![];
    counting(rows).write_npy(&mut x).unwrap();
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}");
    archive(&[("x.npy", &x), ("y.npy", &npy(&header, payload))])
}

/// As NumPy's `<U`, each filled up to `width` characters.
fn wide(names: &[&str], width: usize) -> Vec<u8> {
    let filled = |name: &&str| {
        let mut units: Vec<u32> = name.chars().map(u32::from).collect();
        units.resize(width, 0);
        units.into_iter().flat_map(u32::to_le_bytes)
    };
    names.iter().flat_map(filled).collect()
}

#[test]
fn texts_are_names_of_classes_in_the_order_of_folders() {
    let names = wide(&["dog", "Bär", "dog", "cat "], 4);
    let bytes = b"dog\0\0B\xc3\xa4r\0dog\0\0cat \0";
    for (kind, shape, payload) in [
        ("<U4", "(4,)", names.as_slice()),
        ("<U4", "(4, 1)", &names),
        ("|S5", "(4,)", bytes),
    ] {
        let dataset = opened(&with(4, kind, shape, payload)).unwrap();
        assert_eq!(dataset.classes(), ["Bär", "cat", "dog"], "{kind} {shape}");
        assert_eq!(dataset.labels(), [2, 0, 2, 1]);
        assert!(dataset.sets().is_none() && dataset.notes().is_empty());
    }
    let numbers = opened(&with(3, "<U2", "(3,)", &wide(&["10", "9", "10"], 2))).unwrap();
    assert_eq!(numbers.classes(), ["9", "10"]);
    assert_eq!(numbers.labels(), [1, 0, 1]);
    let decomposed = wide(&["e\u{301}", "\u{e9}", "E"], 2);
    let forms = opened(&with(3, "<U2", "(3,)", &decomposed)).unwrap();
    assert_eq!(forms.classes(), ["E", "\u{e9}"]);
    assert_eq!(forms.labels(), [1, 1, 0]);
    let cases = opened(&with(2, "<U3", "(2,)", &wide(&["cat", "Cat"], 3))).unwrap();
    assert!(cases.notes()[0].contains("\"Cat\" and \"cat\""));
}

#[test]
fn texts_are_the_classes_of_a_model_that_has_all_of_them() {
    let file = with(2, "<U3", "(2,)", &wide(&["dog", "cat"], 3));
    let open = |of_model: &[&str]| {
        let of_model: Vec<String> = of_model.iter().map(|&name| name.to_owned()).collect();
        let options = OpenOptions {
            classes: Some(&of_model),
            ..OPTIONS
        };
        let dataset = Dataset::open(file.path(), &options).unwrap();
        assert!(dataset.has_class_names() && !dataset.is_named());
        (dataset.classes().to_vec(), dataset.labels().to_vec())
    };
    let of_model = ["newt", "dog", "cat", "cat"];
    let (classes, labels) = open(&of_model);
    assert_eq!(
        (classes.as_slice(), labels),
        (&of_model.map(str::to_owned)[..], vec![1, 2])
    );
    let (classes, labels) = open(&["newt", "dog"]);
    assert_eq!(
        (classes, labels),
        (["cat", "dog"].map(str::to_owned).into(), vec![1, 0])
    );
}

#[test]
fn texts_that_name_no_classes_are_refused() {
    for (kind, shape, payload, told) in [
        (
            "<U1",
            "(3,)",
            wide(&["a", "", "b"], 1),
            "row 1: its label is empty",
        ),
        ("|S1", "(2,)", vec![b'a', 0xE9], "no text"),
        ("<U1", "(2,)", [[0xFF; 4], [0; 4]].concat(), "no text"),
        ("<U2", "(2,)", wide(&["a"], 2), "cut off"),
        ("<U0", "(9999999999999,)", vec![], "0 characters"),
        ("<U4000000", "(2,)", vec![], "4000000 characters"),
        ("<U1", "(1, 2)", wide(&["a", "b"], 1), "type is \"<U1\""),
        (">U1", "(2,)", wide(&["a", "b"], 1), "little-endian"),
        ("|O", "(2,)", vec![0; 16], "y.astype(str)"),
        ("<U1", "(0,)", vec![], "no rows"),
    ] {
        let text = refusal(&with(2, kind, shape, &payload));
        assert!(text.contains(told), "{kind} {shape}: {text}");
    }
}
