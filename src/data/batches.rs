//! The order in which an epoch visits its samples.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use rand::seq::SliceRandom;

use crate::random::{Purpose, stream};

/// The order in which `epoch` visits `indices`: as given, or shuffled.
///
/// The shuffle depends on `seed` and `epoch` alone, so a resumed run needs no saved generator.
pub fn epoch_order(indices: &[usize], seed: u64, epoch: u64, shuffle: bool) -> Vec<usize> {
    let mut order = indices.to_vec();
    if shuffle {
        order.shuffle(&mut stream(Purpose::Order, seed, &[&epoch.to_le_bytes()]));
    }
    order
}

/// As many samples as `indices` has, drawn for `epoch` so that each class that is there has the same number of them, up to
/// one: those of a rare class several times, each as often as the others up to one, and of a common one some.
pub fn balanced_order(indices: &[usize], labels: &[i64], seed: u64, epoch: u64) -> Vec<usize> {
    let mut classes = BTreeMap::<Option<&i64>, Vec<usize>>::new();
    for &sample in indices {
        classes.entry(labels.get(sample)).or_default().push(sample);
    }
    let mut rng = stream(Purpose::Order, seed, &[&epoch.to_le_bytes(), b"balanced"]);
    let mut classes: Vec<Vec<usize>> = classes.into_values().collect();
    // Another class has one more in another epoch.
    classes.shuffle(&mut rng);
    let mut order = Vec::with_capacity(indices.len());
    let count = classes.len();
    for (place, class) in classes.iter_mut().enumerate() {
        let wanted = (indices.len() - order.len()).div_ceil(count - place);
        let mut drawn = 0;
        while drawn < wanted {
            class.shuffle(&mut rng);
            let some = class.len().min(wanted - drawn);
            order.extend(&class[..some]);
            drawn += some;
        }
    }
    order.shuffle(&mut rng);
    order
}

/// Chunks of `size` consecutive indices of `order`; the last may be shorter.
pub fn batches(order: &[usize], size: NonZeroUsize) -> std::slice::Chunks<'_, usize> {
    order.chunks(size.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_visits_every_index_once_in_an_order_of_its_own() {
        let indices: Vec<usize> = (10..60).collect();
        let first = epoch_order(&indices, 7, 0, true);
        let second = epoch_order(&indices, 7, 1, true);
        assert_eq!(first, epoch_order(&indices, 7, 0, true));
        assert_ne!(first, second);
        assert_ne!(first, epoch_order(&indices, 8, 0, true));
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, indices);
    }

    #[test]
    fn the_shuffle_is_the_same_on_every_platform() {
        let order = epoch_order(&[0, 1, 2, 3, 4, 5, 6, 7], 1, 0, true);
        assert_eq!(order, [6, 5, 7, 3, 0, 2, 1, 4]);
    }

    #[test]
    fn without_shuffle_the_order_is_kept() {
        assert_eq!(epoch_order(&[3, 1, 2], 7, 5, false), [3, 1, 2]);
    }

    #[test]
    fn a_balanced_epoch_has_as_many_of_each_class_and_turns_through_them() {
        // 50 of class 0, 8 of class 1, 5 of class 2.
        let labels: Vec<i64> = (0..63)
            .map(|i| if i < 50 { 0 } else { 1 + i64::from(i >= 58) })
            .collect();
        let indices: Vec<usize> = (0..62).collect();
        let order = |epoch| balanced_order(&indices, &labels, 3, epoch);
        let mut seen = vec![0; 63];
        for epoch in 0..20 {
            let order = order(epoch);
            assert_eq!(order.len(), 62);
            let mut times = vec![0; 63];
            order.iter().for_each(|&sample| times[sample] += 1);
            for (class, samples) in [(0, 0..50), (1, 50..58), (2, 58..62)] {
                let of_class = &times[samples];
                let sum: i32 = of_class.iter().sum();
                assert!(sum == 20 || sum == 21, "{class}: {sum}");
                let most = of_class.iter().max().unwrap();
                assert!(most - of_class.iter().min().unwrap() <= 1, "{class}");
            }
            seen.iter_mut()
                .zip(times)
                .for_each(|(seen, times)| *seen += times);
        }
        assert!(seen[..62].iter().all(|times| *times > 0) && seen[62] == 0);
        assert_eq!(order(4), order(4));
        assert_ne!(order(4), order(5));
    }

    #[test]
    fn the_last_batch_may_be_short() {
        let sizes: Vec<usize> = batches(&[0; 10], NonZeroUsize::new(4).unwrap())
            .map(<[usize]>::len)
            .collect();
        assert_eq!(sizes, [4, 4, 2]);
        assert_eq!(batches(&[], NonZeroUsize::MIN).count(), 0);
    }
}
