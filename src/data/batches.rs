//! The order in which an epoch visits its samples.

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
    fn the_last_batch_may_be_short() {
        let sizes: Vec<usize> = batches(&[0; 10], NonZeroUsize::new(4).unwrap())
            .map(<[usize]>::len)
            .collect();
        assert_eq!(sizes, [4, 4, 2]);
        assert_eq!(batches(&[], NonZeroUsize::MIN).count(), 0);
    }
}
