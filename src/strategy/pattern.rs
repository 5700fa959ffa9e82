//! Patterns of names, as flags give them.

use super::StrategyError;

/// Whether a pattern means a name: the name itself, `*` alone, or a pattern of `*` (within a part of a
/// name), `**` (across `/`), `?`, `[…]` and `{a,b}`.
pub fn matches(pattern: &str, name: &str) -> bool {
    pattern == "*" || pattern == name || glob_match::glob_match(pattern, name)
}

/// The places of those that a pattern means, among some of which each has these names, the first of them the one that
/// people call it.
///
/// # Errors
/// [`StrategyError::NoMatch`], with the first pattern that means none.
pub(super) fn meant(patterns: &[String], names: &[Vec<&str>]) -> Result<Vec<usize>, StrategyError> {
    let takes = |pattern: &String, of: &[&str]| of.iter().any(|name| matches(pattern, name));
    let idle = |pattern: &&String| !names.iter().any(|of| takes(pattern, of));
    if let Some(pattern) = patterns.iter().find(idle) {
        let called = names.iter().filter_map(|of| of.first().copied());
        return Err(StrategyError::NoMatch {
            pattern: pattern.clone(),
            layers: Vec::from_iter(called).join(", "),
        });
    }
    let any = |at: &usize| patterns.iter().any(|p| takes(p, &names[*at]));
    Ok((0..names.len()).filter(any).collect())
}

/// The patterns of a list. Commas separate them, but for those inside of braces and brackets.
pub fn split(list: &str) -> Vec<String> {
    let mut patterns = vec![String::new()];
    let mut depth = 0usize;
    for c in list.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                patterns.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(pattern) = patterns.last_mut() {
            pattern.push(c);
        }
    }
    patterns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_inside_of_braces_are_part_of_the_pattern() {
        assert_eq!(split("block{4,5}"), ["block{4,5}"]);
        assert_eq!(
            split("a,block{4,5},**/fc[1,2],b"),
            ["a", "block{4,5}", "**/fc[1,2]", "b"]
        );
        assert!(matches("block{4,5}", "block5") && !matches("block{4,5}", "block6"));
    }

    #[test]
    fn stars_keep_to_a_part_of_a_name_unless_they_are_two_or_alone() {
        for (pattern, name, fits) in [
            ("*", "a/b", true),
            ("a*", "a/b", false),
            ("**/b", "a/b", true),
            ("a?", "ab", true),
            ("x[1]", "x[1]", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
