//! Where a run's folder may not lie.

use std::path::{Component, Path, PathBuf};

use super::{RunError, absolute};

/// Checks that a run's folder is none of the data's.
///
/// # Errors
/// When the run's folder lies in the data's: what is written there would be taken for data.
pub(crate) fn outside(out: &Path, data: &Path) -> Result<(), RunError> {
    let Ok(real_data) = data.canonicalize() else {
        // That there is no such data is told when it is opened.
        return Ok(());
    };
    if real_data.is_dir() && real_path(out).starts_with(&real_data) {
        return Err(RunError::InData {
            out: out.to_owned(),
            data: data.to_owned(),
        });
    }
    Ok(())
}

/// The path without links, of which the last parts need not exist.
fn real_path(path: &Path) -> PathBuf {
    let absolute = absolute(path);
    for existing in absolute.ancestors() {
        let (Ok(mut real), Ok(rest)) = (existing.canonicalize(), absolute.strip_prefix(existing))
        else {
            continue;
        };
        for part in rest.components() {
            match part {
                Component::ParentDir => drop(real.pop()),
                part => real.push(part),
            }
        }
        return real;
    }
    absolute
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_inside_another_is_found_before_it_exists() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir_all(at("photos/red")).unwrap();
        for inside in [
            "photos",
            "photos/run",
            "photos/red/a/b",
            "new/../photos/run",
        ] {
            assert!(outside(&at(inside), &at("photos")).is_err(), "{inside}");
        }
        for beside in ["run", "photos2", "photos/../run", "photos/new/../../run"] {
            assert!(outside(&at(beside), &at("photos")).is_ok(), "{beside}");
        }
        assert!(outside(&at("absent/run"), &at("absent")).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_looked_through() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir_all(at("photos/red")).unwrap();
        std::os::unix::fs::symlink(at("photos"), at("link")).unwrap();
        assert!(outside(&at("link/run"), &at("photos")).is_err());
        assert!(outside(&at("photos/run"), &at("link")).is_err());
    }
}
