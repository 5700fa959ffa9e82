//! A folder whose files are samples, and how these are named.

use std::path::Path;

use super::super::dataset::relative_name;

/// A folder whose files are samples.
#[derive(Clone, Copy)]
pub(in crate::data) struct Place<'a> {
    pub root: &'a Path,
    /// What stands before the names of its files, to tell them from those of other folders.
    pub prefix: &'a str,
}

impl Place<'_> {
    /// The name of a file or folder below it, with forward slashes; `None` where it is not UTF-8.
    pub fn name(&self, path: &Path) -> Option<String> {
        let name = relative_name(self.root, path)?;
        Some(format!("{}{name}", self.prefix))
    }

    /// The same for people, also where the name is not valid UTF-8.
    pub fn shown(&self, path: &Path) -> String {
        self.name(path).unwrap_or_else(|| {
            let inside = path.strip_prefix(self.root).unwrap_or(path);
            format!("{}{}", self.prefix, inside.to_string_lossy())
        })
    }
}
