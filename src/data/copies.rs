//! Samples that are exact copies of each other.

use std::collections::HashMap;

/// For each sample the first one with the same digest, itself where there is none before it.
pub(super) fn groups(digests: &[[u8; 32]]) -> Vec<usize> {
    let mut first = HashMap::with_capacity(digests.len());
    digests
        .iter()
        .enumerate()
        .map(|(sample, digest)| *first.entry(digest).or_insert(sample))
        .collect()
}

/// A sentence for people on the copies among samples; `differ`: whether two have different labels. `None` where there
/// are none.
pub(super) fn note(
    groups: &[usize],
    differ: impl Fn(usize, usize) -> bool,
    name: impl Fn(usize) -> String,
) -> Option<String> {
    let copies: Vec<usize> = (0..groups.len()).filter(|&i| groups[i] != i).collect();
    let &first = copies.first()?;
    let example = |copy: usize| format!("{} of {}", name(copy), name(groups[copy]));
    let counted = match copies.len() {
        1 => "is an exact copy of another",
        _ => "are exact copies of others",
    };
    let mut text = format!(
        "{} of {} samples {counted} ({})",
        copies.len(),
        groups.len(),
        example(first)
    );
    let across: Vec<usize> = copies
        .into_iter()
        .filter(|&i| differ(i, groups[i]))
        .collect();
    if let Some(&first) = across.first() {
        text.push_str(&format!(
            ", {} of them in another class ({}): one of two labels is wrong",
            across.len(),
            example(first)
        ));
    }
    text.push_str("; a split that is drawn keeps copies in one part");
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_counted_once_and_across_classes_told_apart() {
        let digests = [1, 2, 1, 3, 1, 2].map(|byte| [byte; 32]);
        let groups = groups(&digests);
        assert_eq!(groups, [0, 1, 0, 3, 0, 1]);
        let text = note(&groups, |i, _| i == 4, |i| format!("x[{i}]")).unwrap();
        assert!(
            text.starts_with(
                "3 of 6 samples are exact copies of others (x[2] of x[0]), 1 of them in another class \
                 (x[4] of x[0])"
            ),
            "{text}"
        );
        let text = note(&groups, |_, _| false, |i| format!("x[{i}]")).unwrap();
        assert!(!text.contains("another class"), "{text}");
        assert_eq!(note(&[0, 1, 2], |_, _| true, |_| String::new()), None);
    }
}
