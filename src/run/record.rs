//! The content of `run.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::classifier::{Origin, Witness};
use crate::data::Layout;
use crate::strategy::{Candidate, StrategyName};

use super::{Allowance, Settings};

/// The number of the form in which this version of ftsurgery writes the files of a run. It is raised when
/// files of the old form cannot be read any more, or would go on to something else than they began with.
pub const FORMAT: u32 = 3;

/// What was run, on what, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Number of the form of a run's files; see [`FORMAT`].
    pub format: u32,
    /// The command line that made the run.
    pub command: Vec<String>,
    /// What made it.
    pub versions: Versions,
    /// The model that was tuned.
    pub model: ModelFile,
    /// Its weighted layers before the classifier, from input to output.
    pub layers: Vec<LayerRecord>,
    /// The data.
    pub data: DataRecord,
    /// What each strategy tries.
    pub strategies: Vec<Planned>,
    /// The settings in force.
    pub configuration: Configuration,
}

/// Versions of what computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Versions {
    pub ftsurgery: String,
    pub onnxruntime: String,
    /// The processor's, see [`runtime::instructions`](crate::runtime::instructions).
    #[serde(default)]
    pub instructions: String,
}

/// A model's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Absolute path.
    #[serde(with = "super::paths")]
    pub path: PathBuf,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// The files beside it that hold weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<ExternalFile>,
}

/// A file with external data of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExternalFile {
    /// Where it lies, as the model says.
    pub location: String,
    /// SHA-256 of what the model reads of it, in hexadecimal.
    pub sha256: String,
}

/// A weighted layer of the backbone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Name of its node.
    pub name: String,
    /// Number of trainable values.
    pub parameters: usize,
    /// Name of the block it lies in.
    pub block: String,
}

/// The data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    /// Absolute path.
    #[serde(with = "super::paths")]
    pub path: PathBuf,
    /// See [`Dataset::fingerprint`](crate::data::Dataset::fingerprint).
    pub fingerprint: String,
    /// Number of samples.
    pub samples: usize,
    /// Whether they are images, named by their files.
    pub images: bool,
    /// The folders of the images, by what the names of those inside begin with; none where all are below `path`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roots: BTreeMap<String, PathBuf>,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// Files that were left out.
    pub skipped: Vec<SkippedFile>,
    /// What was told of the data; see [`Dataset::notes`](crate::data::Dataset::notes).
    #[serde(default)]
    pub notes: Vec<String>,
    /// Number of samples in each part of the split.
    pub parts: Parts,
}

/// A file that was left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SkippedFile {
    pub path: String,
    pub reason: String,
}

/// Number of samples in each part of the split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Parts {
    pub search: usize,
    pub validation: usize,
    pub train: usize,
    pub held_out: usize,
}

/// What a strategy tries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The strategy.
    pub name: StrategyName,
    /// Its candidates.
    pub candidates: Vec<Candidate>,
    /// Those left out, with the reason.
    pub skipped: Vec<Skipped>,
    /// How far its search goes, where that is planned; `None` where all candidates are tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowance: Option<Allowance>,
}

/// A candidate that cannot be trained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The candidate's [`Candidate::id`].
    pub id: String,
    /// What stands in the way.
    pub reason: String,
}

/// The settings in force: those asked for, with what model, data and machine decide where they are not
/// given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// In full: threads, memory, image size, preprocessing, feature map, delimiters and monitor are what was
    /// taken.
    #[serde(flatten)]
    pub settings: Settings,
    /// Who says how pixels are scaled; `None` of arrays.
    pub preprocess_from: Option<Origin>,
    /// What images said of the presets, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocess_scores: Option<Witness>,
    /// Axis order of the model's input.
    pub layout: Layout,
}

impl RunRecord {
    /// Number of samples that winners are trained on.
    pub fn retraining_samples(&self) -> usize {
        let Parts { search, train, .. } = self.data.parts;
        match self.configuration.settings.split.search_apart {
            true => train,
            false => search + train,
        }
    }
}

impl DataRecord {
    /// Where the image of this name should be: its folder, and its path inside.
    pub fn place<'n>(&self, name: &'n str) -> (&Path, &'n str) {
        let roots = self.roots.iter().rev();
        let mut inside = roots.filter_map(|(prefix, root)| {
            Some((root.as_path(), name.strip_prefix(prefix.as_str())?))
        });
        inside.next().unwrap_or((&self.path, name))
    }

    /// Whether the images are where they were.
    pub fn is_there(&self) -> bool {
        match self.roots.is_empty() {
            true => self.path.is_dir(),
            false => self.roots.values().all(|root| root.is_dir()),
        }
    }
}

impl Configuration {
    /// This, with whatever `settings` alone decide taken from them.
    pub(super) fn with(&self, settings: &Settings) -> Self {
        let resolved = &self.settings;
        Configuration {
            settings: Settings {
                features: resolved.features.clone(),
                delimiters: resolved.delimiters.clone(),
                preprocess: resolved.preprocess.clone(),
                resize: settings.resize.or(resolved.resize),
                image_size: resolved.image_size,
                ..settings.clone()
            },
            ..self.clone()
        }
    }
}
