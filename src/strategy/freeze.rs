//! Which parameters may be trained, as a file says.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StrategyError;
use super::pattern::matches;

/// A freeze list: a text file with a name or pattern of parameters in each line.
///
/// ```text
/// # the last two stages, without their first biases
/// features.1[0-9].*
/// classifier.*
/// !features.10.bias
/// ```
///
/// A line says what is trained, or with `!` before it what is frozen. The last line that matches a name decides. What no
/// line matches is frozen; or trained, where every line has a `!`. `#` at the beginning of a line makes it a comment; behind a `\`
/// stands a name as it is, and no pattern. Patterns are those of [`matches`](fn@matches).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeList {
    /// The file.
    pub path: PathBuf,
    lines: Vec<Line>,
}

/// A line, and whether what it means is trained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    text: String,
    /// Whether it is a name, and no pattern.
    is_name: bool,
    trained: bool,
}

impl Line {
    fn means(&self, name: &str) -> bool {
        match self.is_name {
            true => self.text == name,
            false => matches(&self.text, name),
        }
    }
}

impl FreezeList {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is no text, or says nothing.
    pub fn read(path: &Path) -> Result<Self, StrategyError> {
        let fail = |reason: String| StrategyError::FreezeList {
            path: path.to_owned(),
            reason,
        };
        let text = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
        let text = String::from_utf8(text).map_err(|_| fail("it is no text".to_owned()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let list = Self::parse(path, text);
        match list.lines.is_empty() {
            false => Ok(list),
            true => Err(fail("it names nothing".to_owned())),
        }
    }

    fn parse(path: &Path, text: &str) -> Self {
        let line = |line: &str| {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                return None;
            }
            let (pattern, trained) = match line.strip_prefix('!') {
                Some(pattern) => (pattern.trim_start(), false),
                None => (line, true),
            };
            let name = pattern.strip_prefix('\\');
            Some(Line {
                text: name.unwrap_or(pattern).to_owned(),
                is_name: name.is_some(),
                trained,
            })
        };
        FreezeList {
            path: path.to_owned(),
            lines: text.lines().filter_map(line).collect(),
        }
    }

    /// The text of a list of these names, each trained or not.
    ///
    /// # Errors
    /// The first name that cannot stand in a line.
    pub fn text<'n>(names: impl Iterator<Item = (&'n str, bool)>) -> Result<String, String> {
        let mut text = String::from(
            "# What is trained, by name or pattern; `!` before it: frozen. The last line that matches decides.\n",
        );
        for (name, trained) in names {
            if name.trim() != name || name.is_empty() || name.contains(['\n', '\r']) {
                return Err(name.to_owned());
            }
            if !trained {
                text.push('!');
            }
            if name.starts_with(['!', '#', '\\']) || name.contains(['*', '?', '[', '{', '\\']) {
                text.push('\\');
            }
            text.push_str(name);
            text.push('\n');
        }
        Ok(text)
    }

    /// Whether a parameter may be trained.
    pub fn trains(&self, name: &str) -> bool {
        let mut lines = self.lines.iter().rev();
        match lines.find(|line| line.means(name)) {
            Some(line) => line.trained,
            None => self.lines.iter().all(|line| !line.trained),
        }
    }

    /// The first pattern that is the name of none of these parameters.
    pub fn idle<'n>(&self, names: impl Iterator<Item = &'n str> + Clone) -> Option<&str> {
        let idle = |line: &&Line| !names.clone().any(|name| line.means(name));
        self.lines.iter().find(idle).map(|line| line.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> FreezeList {
        FreezeList::parse(Path::new("freeze.txt"), text)
    }

    #[test]
    fn the_last_line_that_matches_decides() {
        let list = parsed("# a comment\n\nfeatures.*\n ! features.3.* \nfeatures.3.bias\n");
        for (name, trained) in [
            ("features.1.weight", true),
            ("features.3.weight", false),
            ("features.3.bias", true),
            ("classifier.weight", false),
        ] {
            assert_eq!(list.trains(name), trained, "{name}");
        }
    }

    #[test]
    fn of_frozen_names_alone_all_others_are_trained() {
        let list = parsed("!features.*\n");
        assert!(list.trains("classifier.weight") && !list.trains("features.1"));
        assert_eq!(list.idle(["features.1"].into_iter()), None);
        assert_eq!(list.idle(["x"].into_iter()), Some("features.*"));
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let names = [
            ("a", true),
            ("!b", false),
            ("#c", true),
            ("\\d", false),
            ("x[1]", true),
        ];
        let list = parsed(&FreezeList::text(names.into_iter()).unwrap());
        for (name, trained) in names {
            assert_eq!(list.trains(name), trained, "{name}");
        }
        assert!(FreezeList::text([(" a", true)].into_iter()).is_err());
    }
}
