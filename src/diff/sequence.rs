//! What two sequences have in common.

/// Cells of the table above which the longest common subsequence is not looked for.
const MOST_CELLS: usize = 1 << 24;

/// Pairs of places of equal items, in both orders: a longest common subsequence, or where that would take too much
/// memory, the n-th of an item in one with the n-th in the other, as far as that is in order.
pub(super) fn common<T: Eq + std::hash::Hash>(a: &[T], b: &[T]) -> Vec<(usize, usize)> {
    let same = |(x, y): &(&T, &T)| x == y;
    let head = a.iter().zip(b).take_while(same).count();
    let (rest_a, rest_b) = (&a[head..], &b[head..]);
    let tail = rest_a
        .iter()
        .rev()
        .zip(rest_b.iter().rev())
        .take_while(same)
        .count();
    let (inner_a, inner_b) = (
        &rest_a[..rest_a.len() - tail],
        &rest_b[..rest_b.len() - tail],
    );
    let inner = match (inner_a.len() + 1).saturating_mul(inner_b.len() + 1) <= MOST_CELLS {
        true => longest(inner_a, inner_b),
        false => by_occurrence(inner_a, inner_b),
    };
    let mut pairs: Vec<(usize, usize)> = (0..head).map(|i| (i, i)).collect();
    pairs.extend(inner.into_iter().map(|(i, j)| (head + i, head + j)));
    pairs.extend((0..tail).rev().map(|i| (a.len() - 1 - i, b.len() - 1 - i)));
    pairs
}

fn longest<T: Eq>(a: &[T], b: &[T]) -> Vec<(usize, usize)> {
    let width = b.len() + 1;
    // At (i, j): how much a[i..] and b[j..] have in common.
    let mut table = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            table[i * width + j] = match a[i] == b[j] {
                true => table[(i + 1) * width + j + 1] + 1,
                false => table[(i + 1) * width + j].max(table[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if table[(i + 1) * width + j] >= table[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

fn by_occurrence<T: Eq + std::hash::Hash>(a: &[T], b: &[T]) -> Vec<(usize, usize)> {
    let mut places: std::collections::HashMap<&T, std::collections::VecDeque<usize>> =
        std::collections::HashMap::new();
    for (j, item) in b.iter().enumerate() {
        places.entry(item).or_default().push_back(j);
    }
    let next = |(i, item)| Some((i, places.get_mut(item)?.pop_front()?));
    let pairs: Vec<(usize, usize)> = a.iter().enumerate().filter_map(next).collect();
    let seconds: Vec<usize> = pairs.iter().map(|&(_, j)| j).collect();
    increasing(&seconds).into_iter().map(|i| pairs[i]).collect()
}

/// The places of a longest increasing subsequence.
pub(super) fn increasing(numbers: &[usize]) -> Vec<usize> {
    // Of each length the place of the least number that a subsequence can end in.
    let mut ends: Vec<usize> = Vec::new();
    let mut before = vec![usize::MAX; numbers.len()];
    for (i, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|&end| numbers[end] < *number);
        if length > 0 {
            before[i] = ends[length - 1];
        }
        match ends.get_mut(length) {
            Some(end) => *end = i,
            None => ends.push(i),
        }
    }
    let mut places = Vec::with_capacity(ends.len());
    let mut at = ends.last().copied();
    while let Some(i) = at {
        places.push(i);
        at = Some(before[i]).filter(|&i| i != usize::MAX);
    }
    places.reverse();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_common_keeps_its_order() {
        for (a, b, length) in [
            ("", "abc", 0),
            ("abcd", "abcd", 4),
            ("abcd", "xabyd", 3),
            ("xaxbxc", "abcx", 3),
            ("abab", "baba", 3),
        ] {
            let [a, b]: [Vec<char>; 2] = [a, b].map(|text| text.chars().collect());
            for pairs in [common(&a, &b), by_occurrence(&a, &b)] {
                assert!(pairs.iter().all(|&(i, j)| a[i] == b[j]));
                let in_order = |w: &[(usize, usize)]| w[0].0 < w[1].0 && w[0].1 < w[1].1;
                assert!(pairs.windows(2).all(in_order), "{a:?} {b:?} {pairs:?}");
            }
            assert_eq!(common(&a, &b).len(), length, "{a:?} {b:?}");
        }
    }

    #[test]
    fn the_longest_increasing_part_leaves_out_what_moved() {
        assert_eq!(increasing(&[3, 0, 1, 2]), [1, 2, 3]);
        assert_eq!(increasing(&[0, 4, 1, 2, 3]), [0, 2, 3, 4]);
        assert_eq!(increasing(&[]), Vec::<usize>::new());
    }
}
