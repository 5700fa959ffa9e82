//! A classifier as whoever runs it elsewhere wants it: the folder of a server, a page, or model, names and programs.
//!
//! [`Facts`] is what there is to know of a model; [`Package::of`] makes files of it, [`Package::write`] writes them.
//! [`prepared`] is the model with what it says of itself under the keys that other tools read, [`embedded`] one that makes
//! its input of pictures by itself.

mod card;
mod embed;
mod error;
mod facts;
mod huggingface;
mod kserve;
mod plain;
mod prepare;
mod protocol;
mod readme;
mod triton;
mod web;

use std::fmt::Write;
use std::path::Path;

use crate::onnx::messages::ModelProto;
use crate::onnx::{LARGEST_FILE, OnnxError, create_folder, save_within, write_atomic};

pub use card::{Origins, of_winner};
pub use embed::{Embedded, embedded};
pub use error::PackageError;
pub use facts::{Facts, Port, Reading, name_of};
pub use prepare::prepared;
pub use protocol::{datatype, metadata};
pub use web::PICTURES;

/// For whom a model is packaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// NVIDIA's Triton Inference Server.
    Triton,
    /// KServe, by the Open Inference Protocol.
    Kserve,
    /// Programs: the model, the names of its classes, a model card, Python and Rust.
    Plain,
    /// Browsers: a page that classifies pictures by onnxruntime-web.
    Web,
}

/// The files of a package.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    model: String,
    files: Vec<(String, Vec<u8>)>,
}

impl Package {
    /// What a server, a program or a page is given of a model.
    ///
    /// # Errors
    /// When the model has what the format has no word for.
    pub fn of(format: Format, facts: &Facts, origins: &Origins) -> Result<Self, PackageError> {
        match format {
            Format::Triton => triton::package(facts),
            Format::Kserve => kserve::package(facts),
            Format::Plain => Ok(plain::package(facts, origins)),
            Format::Web => web::package(facts),
        }
    }

    fn of_model(model: &str) -> Self {
        Package {
            model: model.to_owned(),
            files: Vec::new(),
        }
    }

    /// Adds a file, in place of one of its name.
    fn text(&mut self, path: &str, text: impl Into<String>) {
        self.files.retain(|(other, _)| other != path);
        self.files.push((path.to_owned(), text.into().into_bytes()));
    }

    /// Where its files are to lie in the folder, the model first, parts of the path with `/` between them.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let files = self.files.iter().map(|(path, _)| path.as_str());
        [self.model.as_str()].into_iter().chain(files)
    }

    /// Writes all of it into a folder, with `model` as the model; each file whole or not at all. Where one file cannot hold
    /// the model, its weights lie beside it.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, model: ModelProto, out: &Path) -> Result<(), OnnxError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| OnnxError::Write { path, source }
        };
        for (path, bytes) in &self.files {
            let path = out.join(path);
            let folder = path.parent().unwrap_or(out);
            create_folder(folder).map_err(failed(folder))?;
            write_atomic(&path, bytes).map_err(failed(&path))?;
        }
        let path = out.join(&self.model);
        let folder = path.parent().unwrap_or(out);
        create_folder(folder).map_err(failed(folder))?;
        save_within(LARGEST_FILE, model, &path, "model.onnx.data").map(drop)
    }
}

/// The content of `labels.txt`: a class a line, in the order of the outputs.
fn labels(facts: &Facts) -> String {
    let mut text = String::new();
    for line in facts.lines() {
        let _ = writeln!(text, "{line}");
    }
    text
}
