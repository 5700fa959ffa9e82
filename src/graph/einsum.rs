//! The equation of an `Einsum`.

use std::collections::BTreeMap;

use super::{GraphError, Node};

/// An equation with every axis named by a letter of its own: the axes of an ellipsis have got
/// letters that the equation does not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Einsum {
    /// The letters of each input's axes.
    pub inputs: Vec<Vec<char>>,
    /// The letters of the output's axes.
    pub output: Vec<char>,
    /// The size of each letter; 1 gives way to a larger size, as in broadcasting.
    pub sizes: BTreeMap<char, usize>,
}

/// Whether a text has the form of an equation: terms of letters and at most one ellipsis, between
/// commas, and perhaps an output behind an arrow. Whether it fits anything is another matter.
pub fn is_equation(text: &str) -> bool {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let is_term = |term: &str| {
        let letters = term.replacen("...", "", 1);
        letters.chars().all(|c| c.is_ascii_alphabetic())
    };
    let (left, right) = text.split_once("->").unwrap_or((&text, ""));
    left.split(',').all(is_term) && is_term(right)
}

impl Einsum {
    /// The equation of `node`, whose inputs have dimensions `dims`.
    ///
    /// # Errors
    /// When the equation is malformed or does not fit the dimensions.
    pub fn of(node: &Node, dims: &[&[usize]]) -> Result<Self, GraphError> {
        let equation: String = node
            .string("equation", "")?
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect();
        let refuse = || node.error(format!("the equation `{equation}` is not supported"));
        let (left, right) = match equation.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (equation.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != dims.len() {
            return Err(refuse());
        }
        // Where the ellipsis of each term stands, and for how many axes.
        let letters = |term: &str| -> Option<(Vec<char>, Option<usize>)> {
            let place = term.find("...");
            let letters: Vec<char> = term.replacen("...", "", 1).chars().collect();
            let plain = letters.iter().all(char::is_ascii_alphabetic);
            plain.then_some((letters, place))
        };
        let mut parsed = Vec::with_capacity(terms.len());
        for (term, dims) in terms.iter().zip(dims) {
            let (letters, place) = letters(term).ok_or_else(refuse)?;
            let count = dims.len().checked_sub(letters.len()).ok_or_else(refuse)?;
            if place.is_none() && count > 0 {
                return Err(refuse());
            }
            parsed.push((letters, place, count));
        }
        let widest = parsed.iter().map(|(_, _, count)| *count).max().unwrap_or(0);
        let free: Vec<char> = ('A'..='Z')
            .chain('a'..='z')
            .filter(|c| !equation.contains(*c))
            .take(widest)
            .collect();
        if free.len() < widest {
            return Err(refuse());
        }
        let fill = |letters: &[char], place: Option<usize>, count: usize| -> Vec<char> {
            let mut all = letters.to_vec();
            if let Some(place) = place {
                // The axes of an ellipsis are aligned at the last.
                all.splice(place..place, free[widest - count..].iter().copied());
            }
            all
        };
        let inputs: Vec<Vec<char>> = parsed
            .iter()
            .map(|(letters, place, count)| fill(letters, *place, *count))
            .collect();
        let mut sizes: BTreeMap<char, usize> = BTreeMap::new();
        let mut uses: BTreeMap<char, usize> = BTreeMap::new();
        for (letter, &size) in inputs.iter().zip(dims).flat_map(|(l, d)| l.iter().zip(*d)) {
            *uses.entry(*letter).or_default() += 1;
            let known = sizes.entry(*letter).or_insert(size);
            if *known == 1 {
                *known = size;
            }
            if size != *known && size != 1 {
                return Err(node.error(format!(
                    "the sizes {known} and {size} of `{letter}` differ in `{equation}`"
                )));
            }
        }
        let output = match right {
            Some(right) => {
                let (letters, place) = letters(right).ok_or_else(refuse)?;
                fill(&letters, place, widest)
            }
            None => {
                let once = uses.iter().filter(|(l, n)| **n == 1 && !free.contains(l));
                free.iter().chain(once.map(|(l, _)| l)).copied().collect()
            }
        };
        let distinct = (1..output.len()).all(|i| !output[..i].contains(&output[i]));
        if !distinct || output.iter().any(|l| !sizes.contains_key(l)) {
            return Err(refuse());
        }
        Ok(Einsum {
            inputs,
            output,
            sizes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(equation: &str, dims: &[&[usize]]) -> Result<(String, Vec<usize>), GraphError> {
        let node = Node::new("e", "Einsum", &[], &["y"]).with("equation", equation);
        let einsum = Einsum::of(&node, dims)?;
        let sizes = einsum.output.iter().map(|l| einsum.sizes[l]).collect();
        let terms: Vec<String> = einsum.inputs.iter().map(|t| t.iter().collect()).collect();
        let output: String = einsum.output.iter().collect();
        Ok((format!("{}->{output}", terms.join(",")), sizes))
    }

    #[test]
    fn what_is_no_equation_is_told() {
        for text in [
            "ij,jk->ik",
            " i j , j k ",
            "...ij->...",
            "",
            "->",
            ",",
            "a...b,c",
        ] {
            assert!(is_equation(text), "{text}");
        }
        for text in [
            "?ab",
            "ab?",
            ".....",
            "ab-",
            "ab>",
            "a->b->c",
            "..a",
            "\u{1b}[31m",
            "é",
        ] {
            assert!(!is_equation(text), "{text}");
        }
    }

    #[test]
    fn an_ellipsis_becomes_letters_of_its_own() {
        let matrices: [&[usize]; 2] = [&[5, 2, 3], &[3, 4]];
        let got = parsed("...ij, jk -> ...ik", &matrices).unwrap();
        assert_eq!(got, ("Aij,jk->Aik".to_owned(), vec![5, 2, 4]));
        let batches: [&[usize]; 2] = [&[7, 1, 2], &[6, 2]];
        let got = parsed("...b,A...b", &[batches[0], &[9, 6, 2]]).unwrap();
        assert_eq!(got, ("BCb,ACb->BCA".to_owned(), vec![7, 6, 9]));
    }

    #[test]
    fn without_an_arrow_the_letters_used_once_stay_in_alphabetical_order() {
        let got = parsed("cb,ba", &[&[2, 3], &[3, 4]]).unwrap();
        assert_eq!(got, ("cb,ba->ac".to_owned(), vec![4, 2]));
    }

    #[test]
    fn equations_that_do_not_fit_are_refused() {
        let matrix: &[usize] = &[2, 3];
        for equation in ["", "i", "ij,jk", "ij->k", "ij->ii", "i.j", "i1", "...ijk"] {
            let error = parsed(equation, &[matrix]).unwrap_err();
            assert!(error.to_string().contains("`e` (Einsum)"), "{equation}");
        }
        assert!(parsed("ij,jk", &[matrix, &[2, 4]]).is_err());
    }
}
