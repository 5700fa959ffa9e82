//! Parts that are tried together, as far as that goes well.

/// Tries all parts at once, and where that fails each half of them by itself, until what fails is one part; gives these.
pub(super) fn try_each(
    parts: &[Vec<usize>],
    attempt: &mut impl FnMut(&[usize]) -> bool,
) -> Vec<usize> {
    if parts.is_empty() {
        return Vec::new();
    }
    let mut nodes = parts.concat();
    nodes.sort_unstable();
    if attempt(&nodes) {
        return Vec::new();
    }
    match parts {
        [_] => nodes,
        _ => {
            let (first, second) = parts.split_at(parts.len() / 2);
            let mut failed = try_each(first, attempt);
            failed.extend(try_each(second, attempt));
            failed
        }
    }
}

/// The parts in bundles of no more than `most` bytes, or of one part.
pub(super) fn bundled(
    parts: Vec<Vec<usize>>,
    bytes: impl Fn(&[usize]) -> u64,
    most: u64,
) -> Vec<Vec<Vec<usize>>> {
    let mut bundles: Vec<Vec<Vec<usize>>> = Vec::new();
    let mut room = 0;
    for part in parts {
        let own = bytes(&part);
        match bundles.last_mut().filter(|_| own <= room) {
            Some(bundle) => {
                room -= own;
                bundle.push(part);
            }
            None => {
                room = most.saturating_sub(own);
                bundles.push(vec![part]);
            }
        }
    }
    bundles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_found_in_few_attempts() {
        let parts: Vec<Vec<usize>> = (0..1000).map(|at| vec![at]).collect();
        let mut attempts = 0;
        let failed = try_each(&parts, &mut |nodes| {
            attempts += 1;
            !nodes.contains(&3) && !nodes.contains(&700)
        });
        assert_eq!(failed, [3, 700]);
        assert!(attempts < 50, "{attempts}");
    }

    #[test]
    fn a_bundle_holds_no_more_than_it_may_or_one_part() {
        let parts = vec![vec![1], vec![2], vec![9], vec![1], vec![3]];
        let bundles = bundled(parts, |part| part[0] as u64, 4);
        assert_eq!(
            bundles,
            [
                vec![vec![1], vec![2]],
                vec![vec![9]],
                vec![vec![1], vec![3]]
            ]
        );
    }
}
