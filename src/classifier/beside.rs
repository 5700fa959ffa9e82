//! What files beside a model say of it: those of Hugging Face's `transformers` and of timm, which `optimum` and others
//! leave beside the model or one folder up.
//!
//! | file | what is read |
//! | --- | --- |
//! | `preprocessor_config.json` | how images become the input (`processor`) |
//! | `processor_config.json` | the same, under `image_processor` |
//! | `config.json` | names of the classes (`id2label`, timm's `label_names`), `problem_type`, `image_size`; timm's `pretrained_cfg` as the processor's settings |

mod processor;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::data::{ClassNames, Preprocess, Resize};
use crate::onnx::Model;
use crate::task::Task;

use super::names::scores;
use processor::Processor;

/// The most bytes of such a file: names of some ten thousand classes take 1 MB.
const LARGEST_FILE: u64 = 16 << 20;

/// What files beside a model say of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    /// How pixels are scaled.
    pub preprocess: Option<Preprocess>,
    /// How images come to the input's size.
    pub resize: Option<Resize>,
    /// Height and width of the input in pixels.
    pub image_size: Option<(usize, usize)>,
    /// The file that says these.
    pub pixels_of: PathBuf,
    /// Names of the classes, in the order of the outputs.
    pub classes: Option<Vec<String>>,
    /// What the model tells of a sample.
    pub task: Option<Task>,
    /// The file that says these.
    pub classes_of: PathBuf,
    /// What is not as it says, or could not be read, a sentence each.
    pub notes: Vec<String>,
}

impl Beside {
    /// Reads the files beside a model; what is no sound file is noted, and counts for none.
    pub(super) fn read(model: &Model) -> Self {
        let mut found = Beside::default();
        let config = found.json(model, "config.json");
        let processor = found.json(model, "preprocessor_config.json").or_else(|| {
            let (path, mut all) = found.json(model, "processor_config.json")?;
            Some((path, all.get_mut("image_processor")?.take()))
        });
        if let Some((path, config)) = &config {
            found.classes_of.clone_from(path);
            found.classes = classes(config, scores(model));
            let several = config.get("problem_type").and_then(Value::as_str);
            let several = several == Some("multi_label_classification");
            found.task = several.then_some(Task::MultiLabel);
        }
        let of_timm = || {
            let (path, config) = config.as_ref()?;
            Some((
                path.clone(),
                Processor::of_timm(config.get("pretrained_cfg")?),
            ))
        };
        let processor = match &processor {
            Some((path, settings)) => Some((path.clone(), Processor::read(settings))),
            None => of_timm(),
        };
        if let Some((path, processor)) = processor {
            match processor {
                Ok(processor) => found.take(processor, path),
                Err(reason) => found.notes.push(format!(
                    "{} beside the model is not followed: {reason}",
                    path.display()
                )),
            }
        }
        if let (None, Some((path, config))) = (found.image_size, &config) {
            found.image_size = config.get("image_size").and_then(processor::sides);
            if found.preprocess.is_none() {
                found.pixels_of.clone_from(path);
            }
        }
        found
    }

    /// Lets go of what it says of pixels, which the model says itself.
    pub(super) fn forget_pixels(&mut self) {
        (self.preprocess, self.resize, self.image_size) = (None, None, None);
        self.notes.clear();
    }

    /// Lets go of the classes, which the model names itself.
    pub(super) fn forget_classes(&mut self) {
        (self.classes, self.task) = (None, None);
    }

    fn take(&mut self, processor: Processor, path: PathBuf) {
        let Processor {
            preprocess,
            resize,
            image_size,
            approximate,
        } = processor;
        let notes = approximate.into_iter();
        self.notes
            .extend(notes.map(|note| format!("{}: {note}", path.display())));
        self.preprocess = preprocess;
        self.resize = resize;
        self.image_size = image_size;
        self.pixels_of = path;
    }

    /// The JSON object of the file of that name, beside the model or else one folder up.
    fn json(&mut self, model: &Model, name: &str) -> Option<(PathBuf, Value)> {
        let path = places(model.path()).map(|folder| folder.join(name));
        let path = path.into_iter().find(|path| path.is_file())?;
        let read = match std::fs::metadata(&path) {
            Ok(file) if file.len() > LARGEST_FILE => Err(format!("it has {} bytes", file.len())),
            _ => std::fs::read(&path).map_err(|e| e.to_string()),
        };
        let parsed = read.and_then(|bytes| {
            let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
            serde_json::from_slice(text).map_err(|e| format!("it is no JSON: {e}"))
        });
        match parsed {
            Ok(value @ Value::Object(_)) => Some((path, value)),
            Ok(_) => None,
            Err(reason) => {
                self.notes.push(format!(
                    "{} beside the model is left unread: {reason}",
                    path.display()
                ));
                None
            }
        }
    }
}

/// The folder of a model, and the one that it is in.
fn places(model: &Path) -> [PathBuf; 2] {
    let folder = model.parent().unwrap_or(Path::new(""));
    let up = match (folder.file_name(), folder.parent()) {
        (Some(_), Some(up)) => up.to_owned(),
        _ => folder.join(".."),
    };
    [folder.to_owned(), up]
}

/// The names that a configuration gives the classes, where they are as many as the model has scores, and more than numbers
/// (`LABEL_0`, as `transformers` calls what nobody named).
fn classes(config: &Value, scores: Option<usize>) -> Option<Vec<String>> {
    let named = ["id2label", "label_names"].into_iter();
    let mut read = named.filter_map(|key| {
        let names = ClassNames::read(&config.get(key)?.to_string())?.names;
        let fits = scores.is_none_or(|scores| scores == names.len()) && names.len() > 1;
        let numbers = (0usize..).zip(&names);
        let is_nameless = numbers
            .clone()
            .all(|(i, name)| *name == format!("LABEL_{i}"));
        (fits && !is_nameless).then_some(names)
    });
    read.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_looked_for_beside_the_model_and_one_folder_up() {
        for (model, folders) in [
            ("a/b/onnx/model.onnx", ["a/b/onnx", "a/b"]),
            ("onnx/model.onnx", ["onnx", ""]),
            ("model.onnx", ["", ".."]),
            ("../model.onnx", ["..", "../.."]),
            ("/model.onnx", ["/", "/.."]),
        ] {
            assert_eq!(
                places(Path::new(model)),
                folders.map(PathBuf::from),
                "{model}"
            );
        }
    }

    #[test]
    fn classes_are_named_where_they_fit_and_have_names() {
        let json = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
        let cats = json(r#"{"id2label": {"1": "dog", "0": "cat"}}"#);
        let names = Some(vec!["cat".to_owned(), "dog".to_owned()]);
        assert_eq!(classes(&cats, Some(2)), names);
        assert_eq!(classes(&cats, None), names);
        assert_eq!(classes(&cats, Some(3)), None);
        let timm = json(r#"{"label_names": ["cat", "dog"]}"#);
        assert_eq!(classes(&timm, Some(2)), names);
        let nameless = json(r#"{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}"#);
        assert_eq!(classes(&nameless, Some(2)), None);
        assert_eq!(classes(&json(r#"{"id2label": 3}"#), None), None);
    }
}
