//! Images in folders, one sub-folder per class.

mod find;
mod joined;
mod listing;
mod place;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::choice::Choice;
use crate::hex;

use super::dataset::{Dataset, Limits, OpenOptions, Samples, Skipped, Workers};
use super::form::Form;
use super::image::{REMARKS, Size};
use super::parts::Given;
use super::pixels::{Content, Decoding};
use super::{DataError, LabelSets, copies, few, groups, list as lists, names, seen};
pub(super) use find::parts_beside;
use find::{Aside, list};
use listing::{All, Listed, Order, all, composed, group, in_order};

/// See [`Dataset::open`].
pub(super) fn open(
    root: &Path,
    options: &OpenOptions<'_>,
    limits: &Limits,
) -> Result<Dataset, DataError> {
    options.resize.validate()?;
    let size = Size::new(options.height, options.width, options.channels)?;
    let mut aside = Aside::default();
    let sources = options.sources.cloned().unwrap_or_default();
    let All {
        mut listed,
        roots,
        several,
    } = all(root, &sources, &mut aside)?;
    if let Some((most, seed)) = limits.few {
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        let drawn: HashSet<usize> = few(listed.len(), most, seed).into_iter().collect();
        let mut at = 0..;
        listed.retain(|_| at.next().is_some_and(|at| drawn.contains(&at)));
    }
    if let Some(pattern) = &sources.group_by {
        group(&mut listed, pattern, &mut aside)?;
    }
    let classes = composed(&mut listed, &mut aside);
    if classes.len() == 1
        && limits.classes > 1
        && let Some(only) = classes.first()
        && find::has_folder(&root.join(only))
    {
        let reason = format!(
            "expected at least 2 class sub-folders with files, found 1; if the classes are the folders \
             inside {only:?}, give that"
        );
        return Err(DataError::not_a_dataset(root, reason));
    }
    let by_folders = !lists::is_list(root) && sources.label_by.is_none();
    enough(root, classes.len(), limits, by_folders)?;
    let all = Vec::from_iter(classes.clone());
    aside.notes.extend(names::case_note(&all));
    let (found, order) = in_order(classes, options.classes, &sources)?;

    // A model may have several outputs of one name: the first is meant.
    let places = found
        .iter()
        .map(|name| names::composed(name))
        .zip(0..found.len())
        .rev();
    let places: HashMap<String, usize> = places.collect();
    let place = |class: &String| places.get(class).copied().unwrap_or_default();
    let mut candidates: Vec<(Vec<usize>, Listed)> = listed
        .into_iter()
        .map(|image| {
            let mut places: Vec<usize> = image.classes.iter().map(place).collect();
            places.sort_unstable();
            places.dedup();
            (places, image)
        })
        .collect();
    candidates.sort_by(|(a, one), (b, other)| (a, &one.name).cmp(&(b, &other.name)));
    let workers = Workers::new(limits.threads)?;
    let form = |with_photo| Form {
        size,
        resize: options.resize,
        with_photo,
    };
    let form = form(match options.augment {
        Choice::Given(augment) => augment.crops(),
        Choice::Auto => limits.hold(candidates.len(), form(true).bytes()),
    });
    let files: Vec<&Path> = candidates.iter().map(|(_, c)| c.path.as_path()).collect();
    let decoding = Decoding {
        root,
        form,
        limits,
        workers: &workers,
        progress: options.progress,
    };
    let (decoded, mut pixels) = decoding.run(&files)?;
    if several {
        joined::join(&mut candidates, &decoded, &mut aside);
    }

    let kept = Kept::of(
        root,
        (found, order),
        &candidates,
        &decoded,
        limits,
        &mut aside,
    )?;
    let mut sample_names = Vec::new();
    let mut own_classes: Vec<Vec<usize>> = Vec::new();
    let mut digests = Vec::new();
    let mut parts = Vec::new();
    let mut groups = Vec::new();
    let mut remarkable = Vec::new();
    let mut digest = Fingerprint::new(&kept.classes);
    let mut places = Vec::new();
    for (index, ((classes, image), result)) in candidates.into_iter().zip(decoded).enumerate() {
        let (content, note) = match result {
            Ok(decoded) => decoded,
            Err(error) => {
                aside.skipped.push(Skipped {
                    path: image.name,
                    reason: reason(&error),
                });
                continue;
            }
        };
        let own = classes.iter().filter_map(|&class| kept.labels[class]);
        let own: Vec<usize> = own.collect();
        // Of one class, it is left out with that; of several, it may be none of those that are left.
        if own.is_empty() && !several || image.is_joined {
            continue;
        }
        if let Some(note) = note {
            remarkable.push((note, image.name.clone()));
        }
        places.push(index);
        digest.add(&image, &own, several, &content);
        own_classes.push(own);
        sample_names.push(image.name);
        digests.push(content);
        parts.push(image.part);
        groups.push(image.group.unwrap_or_default());
    }
    pixels.keep(&places, form.bytes());
    let Aside {
        mut skipped,
        told,
        mut notes,
        ..
    } = aside;
    skipped.sort_by(|a, b| a.path.cmp(&b.path));
    for remark in REMARKS {
        let of_it = remarkable.iter().filter(|(of, _)| *of == remark);
        let named: Vec<String> = of_it.map(|(_, name)| name.clone()).collect();
        if !named.is_empty() {
            notes.push(format!(
                "{remark} ({} images): {}",
                named.len(),
                list(&named)
            ));
        }
    }
    let copies = copies::groups(&digests);
    let differ = |a: usize, b: usize| own_classes[a] != own_classes[b];
    notes.extend(copies::note(&copies, differ, |i| sample_names[i].clone()));
    let sets = several.then(|| LabelSets::of(&own_classes));
    let labels = match &sets {
        Some(sets) => sets.rarest(kept.classes.len()),
        None => own_classes.iter().flatten().map(|&l| l as i64).collect(),
    };
    if groups.iter().all(String::is_empty) {
        groups.clear();
    }
    Ok(Dataset {
        classes: kept.classes,
        labels,
        sets,
        names: sample_names,
        digests: digests.iter().map(seen::shortened).collect(),
        groups: groups::joined(&copies, &groups),
        copies,
        group_names: groups,
        given: Given::of(&parts),
        roots,
        skipped,
        told,
        notes,
        fingerprint: digest.finish(),
        shape: [form.size.channels, form.size.height, form.size.width],
        samples: Samples::Images { form, pixels },
        workers,
    })
}

fn enough(root: &Path, classes: usize, limits: &Limits, by_folders: bool) -> Result<(), DataError> {
    let least = limits.classes.max(1);
    if classes >= least {
        return Ok(());
    }
    let folders = if least == 1 {
        "sub-folder"
    } else {
        "sub-folders"
    };
    let found = match by_folders {
        true => format!(
            "expected at least {least} class {folders} with files, found {classes}; where the images' names say \
             their class, --label-by finds it, and where a list does, the list is the data and --images the folder"
        ),
        false => format!("expected at least {least} classes, found {classes}"),
    };
    Err(DataError::not_a_dataset(root, found))
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
        (found, order): (Vec<String>, Order),
        candidates: &[(Vec<usize>, Listed)],
        decoded: &[Result<Content, DataError>],
        limits: &Limits,
        aside: &mut Aside,
    ) -> Result<Self, DataError> {
        let mut usable = vec![0_usize; found.len()];
        let mut is_there = vec![false; found.len()];
        for ((classes, image), result) in candidates.iter().zip(decoded) {
            for &class in classes {
                usable[class] += usize::from(result.is_ok() && !image.is_joined);
                is_there[class] = true;
            }
        }
        let mut kept = Kept {
            classes: Vec::new(),
            labels: Vec::new(),
        };
        let mut small = Vec::new();
        let mut absent = Vec::new();
        for (class, name) in found.into_iter().enumerate() {
            if usable[class] < limits.min_per_class {
                kept.labels.push(None);
                if order == Order::OfModel {
                    kept.classes.push(name.clone());
                }
                small.push(name);
                continue;
            }
            if usable[class] == 0 && is_there[class] {
                let of_class = candidates
                    .iter()
                    .zip(decoded)
                    .filter(|((c, _), _)| c.contains(&class));
                let broken = of_class.filter_map(|((_, image), result)| {
                    Some(format!(
                        "{}: {}",
                        image.name,
                        reason(result.as_ref().err()?)
                    ))
                });
                let inside = |s: &&Skipped| {
                    let mut folders = s.path.split(['/', ':']).rev().skip(1);
                    folders.any(|folder| folder == name)
                };
                let others = aside.skipped.iter().filter(inside);
                let others = others.map(|s| format!("{}: {}", s.path, s.reason));
                let first_skipped = broken.chain(others).min();
                return Err(DataError::EmptyClass {
                    path: root.to_owned(),
                    class: name,
                    first_skipped,
                });
            }
            if usable[class] == 0 {
                absent.push(name.clone());
            }
            kept.labels.push(Some(kept.classes.len()));
            kept.classes.push(name);
        }
        if !absent.is_empty() {
            let count = absent.len();
            let note = format!(
                "{count} classes are named that have no image: {}",
                list(&absent)
            );
            aside.notes.push(note);
        }
        if !small.is_empty() {
            aside.notes.push(format!(
                "classes of fewer than {} usable images are left out: {}",
                limits.min_per_class,
                list(&small)
            ));
            enough(root, kept.classes.len(), limits, false)?;
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

    fn add(&mut self, image: &Listed, classes: &[usize], several: bool, content: &[u8; 32]) {
        let name = &image.name;
        self.0.update((name.len() as u64).to_le_bytes());
        self.0.update(name);
        if several {
            self.0.update((classes.len() as u64).to_le_bytes());
        }
        for &class in classes {
            self.0.update((class as u64).to_le_bytes());
        }
        self.0.update(content);
        if let Some(part) = image.part {
            self.0.update(part.to_string());
        }
        if let Some(group) = &image.group {
            self.0.update((group.len() as u64).to_le_bytes());
            self.0.update(group);
        }
    }

    fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

#[cfg(test)]
mod tests;
