//! Which columns of a list hold what.

use serde::{Deserialize, Serialize};

use super::Wanted;

/// The columns of a list, by their names in its header, or where it has none by their numbers from 1; `none` for a
/// column that is not to be read. What is `None` is found by the names that are usual.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Columns {
    /// The files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_column: Option<String>,
    /// The classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_column: Option<String>,
    /// The parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_column: Option<String>,
    /// The groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_column: Option<String>,
}

impl Columns {
    /// The first column that is named, with the flag that names it.
    pub(in crate::data) fn first(&self) -> Option<(&'static str, &str)> {
        let all = [
            ("path_column", &self.path_column),
            ("label_column", &self.label_column),
            ("split_column", &self.split_column),
            ("group_column", &self.group_column),
        ];
        let mut named = all
            .into_iter()
            .filter_map(|(flag, name)| Some((flag, name.as_deref()?)));
        named.next()
    }
}

/// A kind of column: what it holds, the flag that names it, and its usual names, in lower case with `_` between words.
struct Kind {
    what: &'static str,
    flag: &'static str,
    names: &'static [&'static str],
}

const PATH: Kind = Kind {
    what: "paths",
    flag: "--path-column",
    names: &[
        "path",
        "file",
        "filename",
        "file_name",
        "filepath",
        "file_path",
        "image",
        "image_path",
        "image_file",
        "image_name",
        "img",
        "img_path",
    ],
};
const LABEL: Kind = Kind {
    what: "labels",
    flag: "--label-column",
    names: &[
        "label",
        "labels",
        "class",
        "classname",
        "class_name",
        "target",
        "category",
        "y",
    ],
};
static SPLIT: Kind = Kind {
    what: "parts",
    flag: "--split-column",
    names: &["split", "set", "subset", "part", "partition"],
};
static GROUP: Kind = Kind {
    what: "groups",
    flag: "--group-column",
    names: &[
        "group",
        "group_id",
        "patient",
        "patient_id",
        "patientid",
        "subject",
        "subject_id",
        "subjectid",
    ],
};

/// Where the columns of a list are.
pub(super) struct Places {
    pub names: Vec<String>,
    pub has_header: bool,
    pub path: usize,
    pub label: Option<usize>,
    /// Where no column has the labels, those that may be a class each.
    pub flags: Vec<usize>,
    pub split: Option<usize>,
    pub group: Option<usize>,
    /// Kinds of columns that are found where there is one, and are not there.
    open: Vec<&'static Kind>,
}

impl Places {
    /// Finds the columns in the first line of a list.
    ///
    /// # Errors
    /// A sentence, where one that is wanted is not there, or more than one may be it.
    pub fn find(columns: &Columns, header: &[String], wanted: Wanted) -> Result<Self, String> {
        let asked = [
            &columns.path_column,
            &columns.label_column,
            &columns.split_column,
            &columns.group_column,
        ];
        let named = |name: &String| header.iter().any(|column| column == name);
        let is_number = |name: &String| name.parse::<usize>().is_ok() && !named(name);
        let by_number = asked.into_iter().flatten().any(is_number);
        let find = |kind: &Kind, asked: &Option<String>, needed: bool| match asked {
            Some(name) if name == "none" && !needed => Ok(None),
            Some(name) => match name.parse::<usize>() {
                Ok(number) if by_number && (1..=header.len()).contains(&number) => {
                    Ok(Some(number - 1))
                }
                _ => match header.iter().position(|column| column == name) {
                    Some(place) if !by_number => Ok(Some(place)),
                    _ => Err(format!(
                        "there is no column {name:?}, which {} names; {}",
                        kind.flag,
                        listed(header)
                    )),
                },
            },
            None => {
                let usual: Vec<usize> = match by_number {
                    true => Vec::new(),
                    false => places(kind, header),
                };
                match usual.as_slice() {
                    [place] => Ok(Some(*place)),
                    [] if !needed => Ok(None),
                    [] => Err(no_column(kind, header)),
                    [first, second, ..] => Err(format!(
                        "the columns {:?} and {:?} may both hold the {}: {} says which",
                        header[*first], header[*second], kind.what, kind.flag
                    )),
                }
            }
        };
        let [path, label, split, group] = asked;
        let of_labels = wanted != Wanted::Parts;
        // A column per class is what labels may be written as.
        let may_be_flags = of_labels && !by_number;
        let mut places = Places {
            path: find(&PATH, path, true)?.unwrap_or_default(),
            label: None,
            flags: Vec::new(),
            split: find(&SPLIT, split, !of_labels)?,
            group: None,
            open: Vec::new(),
            has_header: !by_number,
            names: header.to_vec(),
        };
        if of_labels {
            places.group = find(&GROUP, group, false)?;
            places.label = match find(&LABEL, label, true) {
                Err(_)
                    if may_be_flags
                        && label.is_none()
                        && self::places(&LABEL, header).is_empty() =>
                {
                    let known = [Some(places.path), places.split, places.group];
                    let others = (0..header.len()).filter(|place| !known.contains(&Some(*place)));
                    places.flags = others.collect();
                    if places.flags.is_empty() {
                        return Err(places.no_labels());
                    }
                    None
                }
                found => found?,
            };
            let open = [
                (&SPLIT, split.is_none() && places.split.is_none()),
                (&GROUP, group.is_none() && places.group.is_none()),
            ];
            let open = open.into_iter().filter(|(_, is_open)| *is_open);
            places.open = open.map(|(kind, _)| kind).collect();
        }
        Ok(places)
    }

    /// Whether a column of this name would have been taken, had the first line had it.
    pub fn lacks(&self, name: &str) -> bool {
        let name = [name.to_owned()];
        self.open.iter().any(|kind| !places(kind, &name).is_empty())
    }

    /// Whether the column of this name has the labels.
    pub fn has_labels(&self, name: &str) -> bool {
        self.label.is_some_and(|place| self.names[place] == name)
    }

    /// That no column has the labels, for people.
    pub fn no_labels(&self) -> String {
        no_column(&LABEL, &self.names)
    }

    /// Whether a column of this name is read.
    pub fn reads(&self, name: &str) -> bool {
        let all = [Some(self.path), self.label, self.split, self.group];
        all.into_iter()
            .flatten()
            .any(|place| self.names[place] == name)
    }

    /// Which columns were taken, for people.
    pub fn described(&self) -> String {
        let of = |kind: &Kind, place: Option<usize>| {
            let place = place?;
            let name = match self.has_header {
                true => format!("{:?}", self.names[place]),
                false => format!("column {}", place + 1),
            };
            Some(format!("{} in {name}", kind.what))
        };
        let all = [
            of(&PATH, Some(self.path)),
            of(&LABEL, self.label),
            of(&SPLIT, self.split),
            of(&GROUP, self.group),
        ];
        all.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// The columns whose names are usual for a kind.
fn places(kind: &Kind, header: &[String]) -> Vec<usize> {
    let usual = |name: &String| {
        let name = name.trim().to_lowercase().replace([' ', '-', '.'], "_");
        kind.names.contains(&name.as_str())
    };
    let columns = header.iter().enumerate().filter(|(_, name)| usual(name));
    columns.map(|(place, _)| place).collect()
}

/// That no column is of a kind, for people.
fn no_column(kind: &Kind, header: &[String]) -> String {
    format!(
        "no column is seen to hold the {}; {}. {} names it, by its number from 1 where the list has no header",
        kind.what,
        listed(header),
        kind.flag
    )
}

/// The columns that there are, for people.
fn listed(header: &[String]) -> String {
    const NAMED: usize = 8;
    let mut names: Vec<String> = header
        .iter()
        .take(NAMED)
        .map(|name| format!("{name:?}"))
        .collect();
    if header.len() > NAMED {
        names.push(format!("and {} more", header.len() - NAMED));
    }
    format!("the first line has {}", names.join(", "))
}
