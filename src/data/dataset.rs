//! A labelled set of samples.

mod labels;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::choice::Choice;
use crate::layout::Layout;

use super::form::Form;
use super::parts::{Given, Part};
use super::pixels::Pixels;
use super::preprocess::{Preprocess, Tables};
use super::{
    Augment, Augmenter, DataError, Digest, LabelSets, Resize, Sources, View, folder, list, npz,
};
use crate::task::Task;

pub(super) use super::limits::{Limits, Workers};

/// Below this many floats a batch is written by the calling thread alone.
const PARALLEL_FLOATS: usize = 1 << 20;

/// How to open a [`Dataset`]; see [`OpenOptions::new`].
pub struct OpenOptions<'a> {
    /// The height of the samples, in pixels.
    pub height: usize,
    /// The width of the samples, in pixels.
    pub width: usize,
    /// 3 for colour, 4 for colour and alpha, 1 for grey.
    pub channels: usize,
    /// How images come to this size; arrays have it.
    pub resize: Resize,
    /// How images are to be changed while they are trained on: of those that are to be [cropped](Augment::Standard)
    /// the whole photo is kept as well; where it is open how, if there is memory for it.
    pub augment: Choice<Augment>,
    /// What is said of the data besides where they are.
    pub sources: Option<&'a Sources>,
    /// Names of classes in the order of a model's outputs. Where all classes of the images are among them, they are
    /// the classes, unless [`Sources::classes`] says something else.
    pub classes: Option<&'a [String]>,
    /// Called with (images done, images in all) while images are decoded, from any thread; says whether
    /// to go on.
    pub progress: Option<&'a (dyn Fn(usize, usize) -> bool + Sync)>,
}

impl OpenOptions<'_> {
    /// Samples of this shape, squashed and unchanged.
    pub const fn new(height: usize, width: usize, channels: usize) -> Self {
        OpenOptions {
            height,
            width,
            channels,
            resize: Resize::SQUASH,
            augment: Choice::Given(Augment::None),
            sources: None,
            classes: None,
            progress: None,
        }
    }
}

/// A file of an image folder that is left out of the data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file, relative to the folder, with forward slashes.
    pub path: String,
    /// Why it is left out.
    pub reason: String,
}

/// Labelled samples of one shape.
///
/// Images are kept as bytes (height × width × channels each, and a larger picture besides where crops are
/// drawn from it), where [`Limits::images`] says; arrays as the
/// floats they are, in memory.
#[derive(Debug)]
pub struct Dataset {
    pub(super) classes: Vec<String>,
    /// Of samples that may have several labels the [rarest](LabelSets::rarest) of each.
    pub(super) labels: Vec<i64>,
    pub(super) sets: Option<LabelSets>,
    /// Empty for arrays, whose samples are named by their row.
    pub(super) names: Vec<String>,
    /// Of the content of each sample.
    pub(super) digests: Vec<Digest>,
    /// For each sample the first one that is a copy of it, or itself.
    pub(super) copies: Vec<usize>,
    /// For each sample the first one that stays in one part with it, or itself.
    pub(super) groups: Vec<usize>,
    /// The name of each sample's group, empty for none; empty where there are no groups besides copies.
    pub(super) group_names: Vec<String>,
    pub(super) given: Option<Given>,
    /// Where the files are whose names begin so.
    pub(super) roots: BTreeMap<String, PathBuf>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) told: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) fingerprint: String,
    /// Channels, height, width.
    pub(super) shape: [usize; 3],
    pub(super) samples: Samples,
    pub(super) workers: Workers,
}

#[derive(Debug)]
pub(super) enum Samples {
    /// In this form each.
    Images { form: Form, pixels: Pixels },
    /// N × channels × height × width.
    Arrays(Vec<f32>),
}

impl Dataset {
    /// Opens an image folder, a list of images, or an `.npz` file.
    ///
    /// **A folder** holds one sub-folder per class; the classes are the sub-folders, numbers in their order and other
    /// names in that of texts. Names that are the same in Unicode's composed form are one. Inside a class, images are found at any depth, sorted by path. Hidden files and
    /// folders are passed over, and so are sub-folders without a file and what desktops and drives
    /// leave behind, which [`Dataset::notes`] tell; other files that are not images, and images that
    /// cannot be decoded, are listed by [`Dataset::skipped`]. Links to files are followed; links to
    /// folders are not, but for a class's own that leads out of the data. Images are decoded in
    /// parallel, see [`load_image`](super::load_image) for how; the result does not depend on
    /// timing.
    ///
    /// Where the sub-folders are the parts of a split (`train`, `val`, `test`, …), the classes are those inside them,
    /// and [`Dataset::given`] tells the parts; so it does where [`OpenOptions::sources`] name other folders of a part.
    ///
    /// **A list** is a `.csv`, `.tsv` or `.txt` file with a header, or a `.jsonl` file with an object per line: the path of
    /// each image and its label, and where they are there the part and the group, in columns of the usual names or of
    /// those that [`Sources::columns`] name.
    ///
    /// Samples may have several labels each, or none ([`Dataset::sets`]), where [`Sources::task`] says so: those of a
    /// folder `cat+dog` have both, and so has a picture that is in `cat` and in `dog`. Where it says nothing, they do if
    /// a list has several in a cell (a JSON list, or with `|` or `;` between them) or, in place of a column of labels, a
    /// column of 0 and 1 for each class, and if the `y` of arrays has two dimensions.
    ///
    /// **An `.npz` file** holds `x` (N × channels × height × width; float32, or float64, which is
    /// rounded to float32, used as they are; or uint8, also N × height × width × channels, the pixels of images that are
    /// scaled as those of files) and `y` (N or N × 1), the labels counted from 0, or N × classes, 0 and 1. The classes
    /// are named "0", "1", … up to the largest label; not all of them need a row. Where `y` holds texts (NumPy's `<U` or `S`),
    /// these are the classes, in the order of sub-folders.
    ///
    /// # Errors
    /// When nothing usable is found: fewer classes than [there must be](Limits::classes), a class without a usable
    /// image, a part of a split that is given twice, arrays of the wrong type or shape, labels below 0, values
    /// that are not finite; or when the samples take more memory than the limits allow, which is found
    /// before images are decoded.
    pub fn open(path: &Path, options: &OpenOptions<'_>) -> Result<Self, DataError> {
        Self::open_within(path, options, &Limits::default())
    }

    /// As [`Dataset::open`], within other limits than the default ones.
    ///
    /// # Errors
    /// As there.
    pub fn open_within(
        path: &Path,
        options: &OpenOptions<'_>,
        limits: &Limits,
    ) -> Result<Self, DataError> {
        let dataset = Self::of_path(path, options, limits)?;
        let Some(sources) = options.sources else {
            return Ok(dataset);
        };
        let may_be = limits.classes.min(2)..=2;
        if sources.task == Some(Task::Binary) && !may_be.contains(&dataset.classes.len()) {
            let reason = format!(
                "it is of two classes, and the data have {}",
                dataset.classes.len()
            );
            return Err(DataError::option("task", Task::Binary, reason));
        }
        sources.take_split(dataset)
    }

    fn of_path(path: &Path, options: &OpenOptions<'_>, limits: &Limits) -> Result<Self, DataError> {
        let metadata = std::fs::metadata(path).map_err(|e| DataError::read(path, e))?;
        if are_images(path) {
            return folder::open(path, options, limits);
        }
        let is_npz = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("npz"));
        if is_npz && metadata.is_file() {
            return npz::open(path, options, limits);
        }
        Err(DataError::not_a_dataset(
            path,
            "expected a folder with one sub-folder of images per class, a list of images (.csv, .tsv, .txt or .jsonl), \
             or an .npz file",
        ))
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no samples; never so for an opened data set.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The names of the classes; a label is an index into them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The name of sample `index`: the file relative to the folder with forward slashes, or
    /// `x[index]` for arrays.
    pub fn name(&self, index: usize) -> String {
        self.names
            .get(index)
            .cloned()
            .unwrap_or_else(|| format!("x[{index}]"))
    }

    /// What tells the content of sample `index` from others': see [`Digest`].
    pub fn digest(&self, index: usize) -> Option<Digest> {
        self.digests.get(index).copied()
    }

    /// The files left out, sorted by path.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// One warning that sums up the files left out and names the first of them; `None` if none was.
    pub fn skipped_summary(&self) -> Option<String> {
        const NAMED: usize = 3;
        if self.skipped.is_empty() {
            return None;
        }
        let total = self.skipped.len() + self.len();
        let mut text = format!("{} of {total} files skipped:", self.skipped.len());
        for file in self.skipped.iter().take(NAMED) {
            text.push_str(&format!("\n  {}: {}", file.path, file.reason));
        }
        if self.skipped.len() > NAMED {
            text.push_str(&format!("\n  and {} more", self.skipped.len() - NAMED));
        }
        Some(text)
    }

    /// For each sample the first one that it is an exact copy of: itself where there is none before
    /// it.
    pub fn copies(&self) -> &[usize] {
        &self.copies
    }

    /// For each sample the first one that stays in one part with it, as its copy, as one of its group, or by way of
    /// others: itself where there is none before it.
    pub fn groups(&self) -> &[usize] {
        &self.groups
    }

    /// The parts that are given; `None` where all are to be made.
    pub fn given(&self) -> Option<&Given> {
        self.given.as_ref()
    }

    /// The parts that are given besides that which is trained on.
    pub fn given_parts(&self) -> Vec<Part> {
        self.given.as_ref().map_or_else(Vec::new, Given::beside)
    }

    /// The folders of the images: where those are whose names begin so. The rest of a name is a path inside.
    pub fn roots(&self) -> &BTreeMap<String, PathBuf> {
        &self.roots
    }

    /// How its lists were read, a sentence each: which columns hold what.
    pub fn told(&self) -> &[String] {
        &self.told
    }

    /// Sentences for people on what is remarkable: exact copies, class folders that are left out,
    /// labels without a sample.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// A SHA-256 (in hexadecimal) over the names, labels and contents of the samples, which tells
    /// whether the data changed. It does not depend on the size images are decoded to.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    /// Channels, height, width.
    pub fn sample_shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Whether samples are files; else they are rows of arrays.
    pub fn is_named(&self) -> bool {
        !self.names.is_empty()
    }

    /// Whether classes have names, by which those of a model are the same; of arrays they may have but the numbers that
    /// labels are.
    pub fn has_class_names(&self) -> bool {
        let mut numbered = self.classes.iter().zip(0..);
        self.is_named()
            || numbered.any(|(name, class): (&String, usize)| *name != class.to_string())
    }

    /// Whether [`Preprocess`] applies: images are preprocessed, arrays of floats are used as they are.
    pub fn is_images(&self) -> bool {
        matches!(self.samples, Samples::Images { .. })
    }

    /// Whether the whole photos are there, from which crops are drawn.
    pub(crate) fn has_photos(&self) -> bool {
        matches!(&self.samples, Samples::Images { form, .. } if form.with_photo)
    }

    /// The number of floats of one sample.
    pub fn sample_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The bytes in memory of all samples.
    pub fn bytes(&self) -> u64 {
        match &self.samples {
            Samples::Images { pixels, .. } => pixels.bytes(),
            Samples::Arrays(values) => size_of_val(values.as_slice()) as u64,
        }
    }

    /// Says that these samples are written soon, so that the system reads those on a disk meanwhile.
    pub fn expect(&self, indices: &[usize]) {
        if let Samples::Images { pixels, .. } = &self.samples {
            pixels.expect(indices.iter().copied());
        }
    }

    /// Writes sample `index` into `out`, which holds [`Dataset::sample_len`] floats.
    ///
    /// `preprocess` applies to images only.
    ///
    /// # Errors
    /// When the sample does not exist or `out` has another length.
    pub fn write_sample(
        &self,
        index: usize,
        preprocess: &Preprocess,
        layout: Layout,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        self.write_batch(&[index], preprocess, layout, out)
    }

    /// Writes the samples `indices` one after the other into `out`, in parallel if there is much
    /// to write.
    ///
    /// # Errors
    /// When a sample does not exist or `out` does not hold `indices.len()` samples.
    pub fn write_batch(
        &self,
        indices: &[usize],
        preprocess: &Preprocess,
        layout: Layout,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let views: Vec<View> = indices.iter().map(|&i| View::plain(i)).collect();
        self.write_views(&views, &Augmenter::default(), preprocess, layout, out)
    }

    /// Writes versions of samples one after the other into `out`, as [`Dataset::write_batch`] does.
    ///
    /// # Errors
    /// As there, and when arrays are to be augmented.
    pub fn write_views(
        &self,
        views: &[View],
        augmenter: &Augmenter,
        preprocess: &Preprocess,
        layout: Layout,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let len = self.sample_len();
        if let Some(view) = views.iter().find(|v| v.sample >= self.len()) {
            return Err(DataError::Index {
                what: "sample",
                index: view.sample,
                len: self.len(),
            });
        }
        if out.len() != views.len() * len {
            return Err(DataError::BufferLength {
                what: "a batch",
                actual: out.len(),
                expected: views.len() * len,
            });
        }
        if views.iter().any(|v| v.number.is_some()) {
            augmenter.augment.check(self)?;
        }
        let tables = preprocess.tables();
        let write = |(out, view): (&mut [f32], &View)| {
            self.write_one(*view, augmenter, (&tables, layout), out)
        };
        if out.len() < PARALLEL_FLOATS {
            out.chunks_exact_mut(len).zip(views).try_for_each(write)
        } else {
            self.workers
                .install(|| out.par_chunks_exact_mut(len).zip(views).try_for_each(write))
        }
    }

    fn write_one(
        &self,
        view: View,
        augmenter: &Augmenter,
        (tables, layout): (&Tables, Layout),
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let len = self.sample_len();
        let range = view.sample * len..(view.sample + 1) * len;
        match &self.samples {
            Samples::Images { form, pixels } => {
                pixels.with(view.sample, form.bytes(), |image| {
                    let (pixels, photo) = form.parts(image);
                    let changed = augmenter
                        .pixels(pixels, photo, form, view)
                        .map_err(|e| DataError::image(Path::new(&self.name(view.sample)), e))?;
                    let pixels = changed.as_deref().unwrap_or(pixels);
                    tables.write(pixels, self.shape[0], layout, out);
                    Ok(())
                })?
            }
            Samples::Arrays(values) => match layout {
                Layout::Nchw => out.copy_from_slice(&values[range]),
                Layout::Nhwc => {
                    let channels = self.shape[0];
                    let planes = values[range].chunks_exact(len / channels);
                    for (c, plane) in planes.enumerate() {
                        let targets = out[c..].iter_mut().step_by(channels);
                        for (target, value) in targets.zip(plane) {
                            *target = *value;
                        }
                    }
                }
            },
        }
        Ok(())
    }
}

/// Whether the data at `path` are images, in a folder or of a list, rather than arrays.
pub(crate) fn are_images(path: &Path) -> bool {
    path.is_dir() || list::is_list(path)
}

/// `path` relative to `root` with forward slashes; none if it is not UTF-8.
pub(super) fn relative_name(root: &Path, path: &Path) -> Option<String> {
    let relative: PathBuf = path.strip_prefix(root).unwrap_or(path).to_owned();
    let parts: Option<Vec<&str>> = relative.iter().map(|part| part.to_str()).collect();
    Some(parts?.join("/"))
}

/// An empty vector with room for `len` elements, or an error instead of the abort that
/// `Vec::with_capacity` ends in.
pub(super) fn reserve<T>(path: &Path, len: usize) -> Result<Vec<T>, DataError> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).map_err(|_| {
        let bytes = len.saturating_mul(size_of::<T>());
        DataError::not_a_dataset(path, format!("its {bytes} bytes do not fit into memory"))
    })?;
    Ok(vec)
}

#[cfg(test)]
pub(super) mod tests;
