//! A folder of images, one sub-folder per class.

mod find;

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::hex;

use super::dataset::{Dataset, Limits, OpenOptions, Samples, Skipped, Workers};
use super::form::Form;
use super::image::{LACKS_END, Size};
use super::pixels::{Content, Decoding};
use super::{DataError, copies, seen};
use find::{Aside, Candidate, find, list};

/// See [`Dataset::open`].
pub(super) fn open(
    root: &Path,
    options: &OpenOptions<'_>,
    limits: &Limits,
) -> Result<Dataset, DataError> {
    options.resize.validate()?;
    let form = Form {
        size: Size::new(options.height, options.width, options.channels)?,
        resize: options.resize,
        with_photo: options.augment.crops(),
    };
    let mut aside = Aside::default();
    let found = find(root, &mut aside)?;
    if let [only] = found.as_slice()
        && find::has_folder(&root.join(&only.name))
    {
        let reason = format!(
            "expected at least 2 class sub-folders with files, found 1; if the classes are the folders \
             inside {:?}, give that",
            only.name
        );
        return Err(DataError::not_a_dataset(root, reason));
    }
    enough(root, found.len())?;
    let total: usize = found.iter().map(|class| class.images.len()).sum();

    let workers = Workers::new(limits.threads)?;
    let mut classes = Vec::with_capacity(found.len());
    let mut candidates = Vec::with_capacity(total);
    for class in found {
        candidates.extend(class.images.into_iter().map(|image| (classes.len(), image)));
        classes.push(class.name);
    }
    let files: Vec<&Path> = candidates.iter().map(|(_, c)| c.path.as_path()).collect();
    let decoding = Decoding {
        root,
        form,
        limits,
        workers: &workers,
        progress: options.progress,
    };
    let (decoded, mut pixels) = decoding.run(&files)?;

    let kept = Kept::of(root, classes, &candidates, &decoded, limits, &mut aside)?;
    let mut names = Vec::new();
    let mut labels = Vec::new();
    let mut digests = Vec::new();
    let mut remarkable = Vec::new();
    let mut digest = Fingerprint::new(&kept.classes);
    let mut places = Vec::new();
    for (index, ((class, candidate), result)) in candidates.into_iter().zip(decoded).enumerate() {
        match (result, kept.labels[class]) {
            (Ok((content, note)), Some(label)) => {
                if note.is_some() {
                    remarkable.push(candidate.name.clone());
                }
                places.push(index);
                digest.add(&candidate.name, label, &content);
                labels.push(label as i64);
                names.push(candidate.name);
                digests.push(content);
            }
            (Ok(_), None) => {}
            (Err(error), _) => aside.skipped.push(Skipped {
                path: candidate.name,
                reason: reason(&error),
            }),
        }
    }
    pixels.keep(&places, form.bytes());
    let Aside {
        mut skipped,
        mut notes,
        ..
    } = aside;
    skipped.sort_by(|a, b| a.path.cmp(&b.path));
    if !remarkable.is_empty() {
        notes.push(format!("{LACKS_END}: {}", list(&remarkable)));
    }
    let groups = copies::groups(&digests);
    notes.extend(copies::note(&groups, &labels, |i| names[i].clone()));
    Ok(Dataset {
        classes: kept.classes,
        labels,
        names,
        digests: digests.iter().map(seen::shortened).collect(),
        groups,
        skipped,
        notes,
        fingerprint: digest.finish(),
        shape: [form.size.channels, form.size.height, form.size.width],
        samples: Samples::Images { form, pixels },
        workers,
    })
}

fn enough(root: &Path, classes: usize) -> Result<(), DataError> {
    match classes {
        0 | 1 => Err(DataError::not_a_dataset(
            root,
            format!("expected at least 2 class sub-folders with files, found {classes}"),
        )),
        _ => Ok(()),
    }
}

/// The classes that are kept.
struct Kept {
    classes: Vec<String>,
    /// The label of each class that was found; `None` where it is left out.
    labels: Vec<Option<usize>>,
}

impl Kept {
    fn of(
        root: &Path,
        found: Vec<String>,
        candidates: &[(usize, Candidate)],
        decoded: &[Result<Content, DataError>],
        limits: &Limits,
        aside: &mut Aside,
    ) -> Result<Self, DataError> {
        let mut usable = vec![0_usize; found.len()];
        for ((class, _), result) in candidates.iter().zip(decoded) {
            usable[*class] += usize::from(result.is_ok());
        }
        let mut kept = Kept {
            classes: Vec::new(),
            labels: Vec::new(),
        };
        let mut small = Vec::new();
        for (class, name) in found.into_iter().enumerate() {
            if usable[class] < limits.min_per_class {
                small.push(name);
                kept.labels.push(None);
                continue;
            }
            if usable[class] == 0 {
                let of_class = candidates
                    .iter()
                    .zip(decoded)
                    .filter(|((c, _), _)| *c == class);
                let broken = of_class.filter_map(|((_, image), result)| {
                    Some(format!(
                        "{}: {}",
                        image.name,
                        reason(result.as_ref().err()?)
                    ))
                });
                let prefix = format!("{name}/");
                let others = aside.skipped.iter().filter(|s| s.path.starts_with(&prefix));
                let others = others.map(|s| format!("{}: {}", s.path, s.reason));
                return Err(DataError::EmptyClass {
                    path: root.to_owned(),
                    class: name,
                    first_skipped: broken.chain(others).min(),
                });
            }
            kept.labels.push(Some(kept.classes.len()));
            kept.classes.push(name);
        }
        if !small.is_empty() {
            aside.notes.push(format!(
                "classes of fewer than {} usable images are left out: {}",
                limits.min_per_class,
                list(&small)
            ));
            enough(root, kept.classes.len())?;
        }
        Ok(kept)
    }
}

/// What is wrong, without the file's name, which stands beside it.
fn reason(error: &DataError) -> String {
    match error {
        DataError::Image { reason, .. } => reason.clone(),
        DataError::Read { source, .. } => format!("cannot be read: {source}"),
        other => other.to_string(),
    }
}

struct Fingerprint(Sha256);

impl Fingerprint {
    fn new(classes: &[String]) -> Self {
        let mut digest = Sha256::new();
        for class in classes {
            digest.update((class.len() as u64).to_le_bytes());
            digest.update(class);
        }
        Self(digest)
    }

    fn add(&mut self, name: &str, class: usize, content: &[u8; 32]) {
        self.0.update((name.len() as u64).to_le_bytes());
        self.0.update(name);
        self.0.update((class as u64).to_le_bytes());
        self.0.update(content);
    }

    fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

#[cfg(test)]
mod tests;
