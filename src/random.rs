//! Streams of random numbers, one for each purpose.
//!
//! A stream depends on its purpose, the seed and its place (an epoch, a sample, a name) alone: what
//! else was drawn before does not show in it, so that no generator has to be saved with a run.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// What random numbers are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Which sample goes into which part of the data.
    Split,
    /// First weights of a layer of a new head.
    Head,
    /// The order of an epoch's samples.
    Order,
    /// The values that a step drops.
    Dropout,
    /// The changes of one version of an image.
    Augmentation,
    /// The layers of strategy `randomK`.
    RandomLayers,
    /// The noise that a step of a rewritten model reads.
    Noise,
    /// First values of an update of low rank.
    LowRank,
    /// Which samples are drawn to tell how sure a ranking is.
    Bootstrap,
    /// How a step mixes its samples.
    Mixing,
    /// First weights of a network that chooses filters.
    Gate,
    /// Where the search for groups of a layer's filters begins.
    FilterGroups,
    /// The inputs on which two models are compared.
    Comparison,
    /// Which samples of many are used.
    Few,
}

impl Purpose {
    /// All of them.
    #[cfg(test)]
    const ALL: [Purpose; 14] = [
        Purpose::Split,
        Purpose::Head,
        Purpose::Order,
        Purpose::Dropout,
        Purpose::Augmentation,
        Purpose::RandomLayers,
        Purpose::Noise,
        Purpose::LowRank,
        Purpose::Bootstrap,
        Purpose::Mixing,
        Purpose::Gate,
        Purpose::FilterGroups,
        Purpose::Comparison,
        Purpose::Few,
    ];

    /// None is the beginning of another, so that no two streams hash the same bytes.
    fn name(self) -> &'static str {
        match self {
            Purpose::Split => "split",
            Purpose::Head => "head",
            Purpose::Order => "order",
            Purpose::Dropout => "dropout",
            Purpose::Augmentation => "augment",
            Purpose::RandomLayers => "random layers",
            Purpose::Noise => "noise",
            Purpose::LowRank => "low rank",
            Purpose::Bootstrap => "bootstrap",
            Purpose::Mixing => "mixing",
            Purpose::Gate => "gate",
            Purpose::FilterGroups => "filter groups",
            Purpose::Comparison => "comparison",
            Purpose::Few => "few of many",
        }
    }
}

/// The stream of a purpose at a place: ChaCha8, its key the SHA-256 of the purpose's name, the seed
/// (eight bytes, the lowest first) and the words of the place.
///
/// The places of one purpose must all have words of the same lengths, but for the last.
pub fn stream(purpose: Purpose, seed: u64, place: &[&[u8]]) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(purpose.name());
    hash.update(seed.to_le_bytes());
    for word in place {
        hash.update(word);
    }
    ChaCha8Rng::from_seed(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::Rng;

    use super::*;

    #[test]
    fn no_two_purposes_seeds_or_places_begin_with_the_same_words() {
        let mut seen = HashMap::new();
        for purpose in Purpose::ALL {
            for seed in 0..8 {
                for place in 0..8_u64 {
                    let mut rng = stream(purpose, seed, &[&place.to_le_bytes()]);
                    let words: Vec<u64> = (0..4).map(|_| rng.next_u64()).collect();
                    for word in words {
                        let other = seen.insert(word, (purpose, seed, place));
                        assert_eq!(other, None, "{purpose:?} {seed} {place}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_name_is_the_beginning_of_another() {
        for a in Purpose::ALL {
            for b in Purpose::ALL {
                assert!(a == b || !a.name().starts_with(b.name()), "{a:?} {b:?}");
            }
        }
    }
}
