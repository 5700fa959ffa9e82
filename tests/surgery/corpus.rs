//! Every operation on every model.

use ftsurgery::onnx::{Model, Placement};
use ftsurgery::transform::{
    Check, Numbers, Renames, Runtimes, Transformed, Writing, Written, extract, place, prune,
    rename, write,
};

use crate::support::{corpus, given, library, lost, middle};

/// Writes with numbers; `None` where the original itself is none that runs on random inputs.
fn written(
    made: &Transformed<'_>,
    out: &std::path::Path,
    runtimes: &dyn Runtimes,
) -> Result<Written, String> {
    let writing = Writing::to(out).overwrite(true).check(Some(Check::Numbers));
    write(made, &writing, runtimes).map_err(|error| {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text += &format!(": {error}");
            cause = error.source();
        }
        text
    })
}

#[test]
fn every_model_comes_out_of_every_operation_with_its_numbers_and_all_that_was_in_it() {
    let Some(runtime) = library() else { return };
    let runtimes = given(&runtime);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.onnx");
    let mut faults = Vec::new();
    let mut cut = 0;
    for (name, path) in corpus() {
        let model = Model::open_in_place(&path).unwrap();
        let mut operations: Vec<(&str, Result<Transformed<'_>, _>)> = vec![
            ("prune", prune(&model)),
            ("externalize", place(&model, Placement::Beside { least: 1 })),
            ("internalize", place(&model, Placement::Inside)),
        ];
        if let Some(value) = middle(model.graph()) {
            let value = [value];
            operations.push(("prefix", extract(&model, &[], &value, &runtimes)));
            operations.push(("suffix", extract(&model, &value, &[], &runtimes)));
            cut += 1;
        }
        let prefix = Renames {
            prefix: Some("new/".to_owned()),
            ..Renames::default()
        };
        operations.push(("rename", rename(&model, &prefix)));
        for (operation, made) in operations {
            let fault = |what: String| format!("{operation} of {name}: {what}");
            let made = match made {
                Ok(made) => made,
                Err(error) => {
                    faults.push(fault(error.to_string()));
                    continue;
                }
            };
            match written(&made, &out, &runtimes) {
                Err(error) => faults.push(fault(error)),
                Ok(written) => {
                    if !matches!(written.numbers, Numbers::Equal { values: 1.., .. }) {
                        faults.push(fault(format!("{:?}", written.numbers)));
                    }
                    if operation != "rename" {
                        faults.extend(lost(&path, &out).into_iter().map(fault));
                    }
                }
            }
        }
    }
    assert!(cut > 20, "{cut}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn renamed_back_a_model_is_what_it_was_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (there, back) = (
        folder.path().join("there.onnx"),
        folder.path().join("back.onnx"),
    );
    for (name, path) in corpus()
        .iter()
        .filter(|(name, _)| !name.contains("external/"))
    {
        let model = Model::open_in_place(path).unwrap();
        let prefix = Renames {
            prefix: Some("new/".to_owned()),
            ..Renames::default()
        };
        let writing = |out| {
            Writing::to(out)
                .overwrite(true)
                .check(Some(Check::Structure))
        };
        let nobody = ftsurgery::transform::NoRuntime;
        write(&rename(&model, &prefix).unwrap(), &writing(&there), &nobody).unwrap();
        let renamed = Model::open_in_place(&there).unwrap();
        let off = Renames {
            pattern: Some(("^new/".to_owned(), String::new())),
            ..Renames::default()
        };
        write(&rename(&renamed, &off).unwrap(), &writing(&back), &nobody).unwrap();
        let (was, is) = (Model::open(path).unwrap(), Model::open(&back).unwrap());
        assert!(was.proto == is.proto, "{name}");
    }
}
