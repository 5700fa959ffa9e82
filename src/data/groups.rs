//! Samples that stay in one part: those of one patient, one series, one video.

use std::collections::HashMap;

use regex::Regex;

use super::DataError;

/// Reads a pattern that `option` gives.
///
/// # Errors
/// When it is no regular expression.
pub(super) fn pattern(option: &'static str, text: &str) -> Result<Regex, DataError> {
    Regex::new(text).map_err(|e| DataError::option(option, text, e))
}

/// The group (or class) that a pattern finds in a name: its first capture group, or all that it matches. An empty one is none.
pub(super) fn of_name(pattern: &Regex, name: &str) -> Option<String> {
    let found = pattern.captures(name)?;
    let group = match pattern.captures_len() {
        1 => found.get(0),
        _ => found.get(1),
    };
    let group = group?.as_str();
    (!group.is_empty()).then(|| group.to_owned())
}

/// For each sample the first one that stays with it: its copies, those of the same name of a group (but an empty one),
/// and what these stay with.
pub(super) fn joined(copies: &[usize], names: &[String]) -> Vec<usize> {
    let mut parent = copies.to_vec();
    let mut first = HashMap::new();
    for (sample, name) in names
        .iter()
        .enumerate()
        .filter(|(_, name)| !name.is_empty())
    {
        let other = *first.entry(name).or_insert(sample);
        let (a, b) = (root(&mut parent, sample), root(&mut parent, other));
        // The first of all is the root.
        parent[a.max(b)] = a.min(b);
    }
    (0..parent.len())
        .map(|sample| root(&mut parent, sample))
        .collect()
}

fn root(parent: &mut [usize], mut sample: usize) -> usize {
    while parent[sample] != sample {
        parent[sample] = parent[parent[sample]];
        sample = parent[sample];
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_joined_by_names_and_by_copies() {
        let names = ["p1", "p2", "", "p1", "p3", "", "p2"].map(str::to_owned);
        assert_eq!(
            joined(&[0, 1, 2, 3, 4, 5, 6], &names),
            [0, 1, 2, 0, 4, 5, 1]
        );
        // The last but one is a copy of one of p3, and one of p2 of one of p1.
        assert_eq!(
            joined(&[0, 1, 2, 3, 4, 4, 3], &names),
            [0, 0, 2, 0, 4, 4, 0]
        );
        assert_eq!(joined(&[0, 0, 2], &[]), [0, 0, 2]);
    }

    #[test]
    fn a_pattern_takes_its_first_group_or_all_it_matches() {
        let of = |text: &str, name: &str| of_name(&pattern("group_by", text).unwrap(), name);
        assert_eq!(of(r"p\d+", "cat/p12_3.png").as_deref(), Some("p12"));
        assert_eq!(of(r"/([^/_]+)_", "cat/p12_3.png").as_deref(), Some("p12"));
        assert_eq!(of(r"^([a-z]*)", "12.png"), None);
        assert_eq!(of("x", "cat/p12_3.png"), None);
        let error = pattern("group_by", "(").unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains("group_by"));
    }
}
