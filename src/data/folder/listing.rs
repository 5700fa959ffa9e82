//! Which files are the samples of a data set, and of which classes, parts and groups.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::list::{self, Wanted};
use super::super::parts::Part;
use super::super::{DataError, Sources, groups, names};
use super::find::{Aside, find, images, list as listing};
use super::place::Place;
use crate::task::Task;

/// What joins the names of classes in that of a folder.
const JOINS: char = '+';
/// The class of images of which nobody asks for labels.
const UNLABELLED: &str = "images";

/// A file that is to be a sample.
pub(super) struct Listed {
    pub path: PathBuf,
    /// See [`Dataset::name`](super::super::Dataset::name).
    pub name: String,
    /// Its class; of samples that may have several, those of this one, or none.
    pub classes: Vec<String>,
    pub part: Option<Part>,
    pub group: Option<String>,
    /// Whether another stands for it, as the same picture with the same labels.
    pub is_joined: bool,
}

/// The files of a data set.
pub(super) struct All {
    pub listed: Vec<Listed>,
    /// Where the files are whose names begin so.
    pub roots: BTreeMap<String, PathBuf>,
    /// Whether samples may have several labels.
    pub several: bool,
}

/// The images of the data and of other folders beside them, and where files are whose names begin so.
pub(super) fn all(root: &Path, sources: &Sources, aside: &mut Aside) -> Result<All, DataError> {
    let mut paths = std::iter::once(root).chain(sources.others().map(|(path, _)| path));
    if let Some((option, value)) = sources.of_lists()
        && !paths.any(list::is_list)
    {
        let reason = "it is for a list of images, and the data are a folder";
        return Err(DataError::option(option, value, reason));
    }
    let own = |path: &Path| match list::is_list(path) {
        true => list::root(path, sources.images.as_deref()),
        false => path.to_owned(),
    };
    let mut roots = BTreeMap::from([(String::new(), own(root))]);
    let (mut listed, mut several) = of_path(root, "", sources, aside)?;
    for (other, part) in sources.others() {
        if listed.iter().any(|image| image.part == Some(part)) {
            return Err(DataError::not_a_dataset(
                root,
                format!(
                    "it has the part {part} of a split itself, and {} is that as well",
                    other.display()
                ),
            ));
        }
        // What says nothing of parts beside what does is trained on.
        let unsaid = listed.iter_mut().filter(|image| image.part.is_none());
        unsaid.for_each(|image| image.part = Some(Part::Train));
        let prefix = match part {
            Part::Validation => "validation:",
            _ => "test:",
        };
        let (images, has_several) = of_path(other, prefix, sources, aside)?;
        several |= has_several;
        if images.is_empty() {
            return Err(DataError::not_a_dataset(
                other,
                "it holds no class folder with files",
            ));
        }
        if images.iter().any(|image| image.part.is_some()) {
            let reason = "it gives parts of a split itself, where one is meant";
            return Err(DataError::not_a_dataset(other, reason));
        }
        listed.extend(images.into_iter().map(|image| Listed {
            part: Some(part),
            ..image
        }));
        roots.insert(prefix.to_owned(), own(other));
    }
    aside.tell_passed_over();
    Ok(All {
        listed,
        roots,
        several,
    })
}

/// The images of a folder or a list, and whether they may have several labels.
fn of_path(
    path: &Path,
    prefix: &str,
    sources: &Sources,
    aside: &mut Aside,
) -> Result<(Vec<Listed>, bool), DataError> {
    match (list::is_list(path), &sources.label_by) {
        (true, Some(pattern)) => {
            let reason =
                "it is for a folder, and the data are a list, which has labels in a column";
            Err(DataError::option("label_by", pattern, reason))
        }
        (true, None) => of_list(path, prefix, sources, aside),
        (false, Some(pattern)) => {
            let listed = by_name(Place { root: path, prefix }, pattern, aside)?;
            Ok((listed, false))
        }
        (false, None) if sources.unlabelled => {
            let listed = unlabelled(Place { root: path, prefix }, aside)?;
            Ok((listed, false))
        }
        (false, None) => {
            let several = sources.task == Some(Task::MultiLabel);
            let listed = of_folder(Place { root: path, prefix }, several, aside)?;
            Ok((listed, several))
        }
    }
}

/// The images of a list, and whether they may have several labels.
fn of_list(
    path: &Path,
    prefix: &str,
    sources: &Sources,
    aside: &mut Aside,
) -> Result<(Vec<Listed>, bool), DataError> {
    let root = list::root(path, sources.images.as_deref());
    let wanted = Wanted::Labels(sources.task);
    let list = list::read_as(path, &sources.columns, wanted, |path| there(&root, path))?;
    aside.told.push(list.told);
    aside.notes.extend(list.notes);
    let first = list.rows.first().map(|row| (row.line, row.path.clone()));
    let mut any = false;
    let listed = list.rows.into_iter().map(|row| {
        let file = root.join(&row.path);
        any = any || file.exists();
        Listed {
            path: file,
            name: format!("{prefix}{}", row.path),
            classes: row.set.unwrap_or_else(|| vec![row.label]),
            part: row.part,
            group: row.group,
            is_joined: false,
        }
    });
    let listed: Vec<Listed> = listed.collect();
    match first {
        Some((line, first)) if !any => Err(DataError::list(
            path,
            Some(line),
            format!(
                "there is no file {first:?} in {}, nor any other of the list; --images names another folder",
                root.display()
            ),
        )),
        _ => Ok((listed, list.several)),
    }
}

/// The path of a file in `root` that a list may have in the way of Windows, in another form of Unicode, or without its
/// ending.
fn there(root: &Path, path: String) -> String {
    const ENDINGS: [&str; 9] = [
        "jpg", "jpeg", "png", "JPG", "JPEG", "PNG", "webp", "bmp", "tif",
    ];
    let path = path.trim_start_matches("./").to_owned();
    if root.join(&path).exists() {
        return path;
    }
    let plain = path.replace('\\', "/");
    let [composed, decomposed] = names::forms(&plain);
    let mut others = [plain, composed, decomposed].into_iter().flat_map(|form| {
        let with_ending = ENDINGS.map(|ending| format!("{form}.{ending}"));
        std::iter::once(form).chain(with_ending)
    });
    let found = others.find(|other| root.join(other).is_file());
    found.unwrap_or(path)
}

/// Gives each image the group that a pattern finds in its name.
pub(super) fn group(
    listed: &mut [Listed],
    pattern: &str,
    aside: &mut Aside,
) -> Result<(), DataError> {
    let matcher = groups::pattern("group_by", pattern)?;
    let mut without = Vec::new();
    for image in listed.iter_mut() {
        image.group = groups::of_name(&matcher, &image.name);
        if image.group.is_none() {
            without.push(image.name.clone());
        }
    }
    if without.len() == listed.len() {
        let first = without
            .first()
            .map(|name| format!("; the first is {name:?}"));
        let reason = format!(
            "it is found in no image's path{}",
            first.unwrap_or_default()
        );
        return Err(DataError::option("group_by", pattern, reason));
    }
    if !without.is_empty() {
        aside.notes.push(format!(
            "the pattern of groups is not found in {} of {} paths, whose images are each a group of its own: {}",
            without.len(),
            listed.len(),
            listing(&without)
        ));
    }
    Ok(())
}

/// The images of a folder at any depth, of which nothing is told.
fn unlabelled(place: Place<'_>, aside: &mut Aside) -> Result<Vec<Listed>, DataError> {
    let found = images(place, "", aside)?.unwrap_or_default();
    let listed = found.into_iter().map(|image| Listed {
        path: image.path,
        name: image.name,
        classes: vec![UNLABELLED.to_owned()],
        part: None,
        group: None,
        is_joined: false,
    });
    Ok(listed.collect())
}

/// The images of a folder at any depth, whose classes a pattern finds in their paths. Where it finds none they are
/// skipped.
fn by_name(place: Place<'_>, pattern: &str, aside: &mut Aside) -> Result<Vec<Listed>, DataError> {
    let matcher = groups::pattern("label_by", pattern)?;
    let mut listed = Vec::new();
    let found = images(place, "", aside)?.unwrap_or_default();
    let first = found.first().map(|image| image.name.clone());
    for image in found {
        let inside = image.name.strip_prefix(place.prefix);
        match groups::of_name(&matcher, inside.unwrap_or(&image.name)) {
            None => aside.skip(image.name, "the pattern of labels is not found in its path"),
            Some(class) => listed.push(Listed {
                path: image.path,
                name: image.name,
                classes: vec![class],
                is_joined: false,
                part: None,
                group: None,
            }),
        }
    }
    match first {
        Some(first) if listed.is_empty() => {
            let reason = format!("it is found in no image's path; the first is {first:?}");
            Err(DataError::option("label_by", pattern, reason))
        }
        _ => Ok(listed),
    }
}

/// The images of a folder. Where they may have several labels, those of a folder `cat+dog` have both.
fn of_folder(place: Place<'_>, several: bool, aside: &mut Aside) -> Result<Vec<Listed>, DataError> {
    let found = find(place, aside)?;
    let names: BTreeSet<&str> = found.iter().map(|class| class.name.as_str()).collect();
    let joined = names.iter().find(|name| {
        let mut parts = name.split(JOINS).map(str::trim);
        name.contains(JOINS) && parts.all(|part| names.contains(part))
    });
    if let Some(joined) = joined.filter(|_| !several) {
        aside.notes.push(format!(
            "the folder {joined:?} is a class of its own; with --task multi-label its images have the labels of \
             all that its name joins"
        ));
    }
    let listed = found.into_iter().flat_map(|class| {
        let parts = class.name.split(JOINS).map(str::trim);
        let parts: Vec<String> = parts.filter(|p| !p.is_empty()).map(str::to_owned).collect();
        let classes = match several && !parts.is_empty() {
            true => parts,
            false => vec![class.name],
        };
        class.images.into_iter().map(move |image| Listed {
            path: image.path,
            name: image.name,
            classes: classes.clone(),
            part: class.part,
            group: None,
            is_joined: false,
        })
    });
    Ok(listed.collect())
}

/// Who says in which order classes come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Own,
    OfFile,
    OfModel,
}

/// The classes in their order.
///
/// # Errors
/// When a file gives the order, and lacks one.
pub(super) fn in_order(
    classes: BTreeSet<String>,
    of_model: Option<&[String]>,
    sources: &Sources,
) -> Result<(Vec<String>, Order), DataError> {
    if let Some(path) = &sources.classes {
        let order = names::read_classes(path)?;
        let known: BTreeSet<&String> = order.iter().collect();
        return match classes.iter().find(|name| !known.contains(name)) {
            Some(name) => Err(DataError::list(
                path,
                None,
                format!("the data have the class {name:?}, which it does not name"),
            )),
            None => Ok((order, Order::OfFile)),
        };
    }
    let of_model = of_model.unwrap_or_default();
    let known: BTreeSet<String> = of_model.iter().map(|name| names::composed(name)).collect();
    match classes.is_subset(&known) {
        true => Ok((of_model.to_vec(), Order::OfModel)),
        false => Ok((names::ordered(classes), Order::Own)),
    }
}

/// Writes the classes in their composed form, and gives them.
pub(super) fn composed(listed: &mut [Listed], aside: &mut Aside) -> BTreeSet<String> {
    let mut forms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for image in listed {
        for class in &mut image.classes {
            let name = names::composed(class);
            let written = std::mem::replace(class, name.clone());
            forms.entry(name).or_default().insert(written);
        }
    }
    let several = forms.iter().filter(|(_, forms)| forms.len() > 1);
    let several: Vec<String> = several.map(|(name, _)| name.clone()).collect();
    if !several.is_empty() {
        aside.notes.push(format!(
            "names that are written in several forms of Unicode are one class each: {}",
            listing(&several)
        ));
    }
    forms.into_keys().collect()
}
