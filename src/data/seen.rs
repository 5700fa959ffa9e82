//! Which samples a model has seen, in eight characters each.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The first six bytes of a sample's SHA-256: of an image file's bytes, of an array's values as
/// little-endian float32. Two different samples have the same one with a probability of 4e-15; of a
/// million that were seen, one that was not is taken for one of them with 4e-9.
pub type Digest = [u8; 6];

/// The digest of a sample whose content has this SHA-256.
pub fn shortened(sha256: &[u8; 32]) -> Digest {
    let [a, b, c, d, e, f, ..] = *sha256;
    [a, b, c, d, e, f]
}

/// A set of samples, by their digests. Of more than [`Seen::KEPT`] samples it keeps the smallest digests,
/// which are as good as drawn at random: of other samples with as small digests, the share that was seen
/// is that of all.
///
/// As JSON, which is what a tuned model has in its metadata, it is `{"complete": …, "digests": …}`, the
/// digests in rising order one behind the other in base64, where each takes eight characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Seen {
    complete: bool,
    /// Rising.
    digests: Vec<Digest>,
}

/// How many of some samples were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// How many.
    pub seen: usize,
    /// Of so many.
    pub of: usize,
    /// Whether that is an estimate.
    pub estimated: bool,
}

impl Seen {
    /// Digests that are kept at most: 1 MiB in base64.
    pub const KEPT: usize = 1 << 17;

    /// The set of samples with these digests.
    pub fn of(digests: impl IntoIterator<Item = Digest>) -> Self {
        Self::kept(true, digests.into_iter().collect())
    }

    /// The samples of both.
    #[must_use]
    pub fn union(&self, other: &Seen) -> Self {
        // Beyond where either ends nothing is known of it.
        let end = self.end().min(other.end());
        let both = self.digests.iter().chain(&other.digests);
        let known = both.copied().filter(|digest| *digest <= end);
        Self::kept(self.complete && other.complete, known.collect())
    }

    /// How many of the samples with these digests are in the set.
    pub fn overlap(&self, digests: impl IntoIterator<Item = Digest>) -> Overlap {
        let (mut of, mut known, mut seen) = (0, 0, 0);
        let end = self.end();
        for digest in digests {
            of += 1;
            if digest <= end {
                known += 1;
                seen += usize::from(self.digests.binary_search(&digest).is_ok());
            }
        }
        let share = seen as f64 / known.max(1) as f64;
        Overlap {
            seen: match self.complete {
                true => seen,
                false => (share * of as f64).round() as usize,
            },
            of,
            estimated: !self.complete,
        }
    }

    /// Whether a sample with this digest may be in the set: it is, or nothing is known of it.
    pub fn may_have(&self, digest: &Digest) -> bool {
        *digest > self.end() || self.digests.binary_search(digest).is_ok()
    }

    /// The largest digest of which is known whether it is in the set.
    fn end(&self) -> Digest {
        match (self.complete, self.digests.last()) {
            (false, Some(last)) => *last,
            _ => [u8::MAX; 6],
        }
    }

    fn kept(complete: bool, all: BTreeSet<Digest>) -> Self {
        Seen {
            complete: complete && all.len() <= Self::KEPT,
            digests: all.into_iter().take(Self::KEPT).collect(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    complete: bool,
    digests: String,
}

impl From<Seen> for Stored {
    fn from(seen: Seen) -> Self {
        Stored {
            complete: seen.complete,
            digests: STANDARD.encode(seen.digests.as_flattened()),
        }
    }
}

impl TryFrom<Stored> for Seen {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let bytes = STANDARD.decode(&stored.digests);
        let bytes = bytes.map_err(|e| format!("its digests are not base64: {e}"))?;
        let (digests, rest) = bytes.as_chunks::<6>();
        if !rest.is_empty() || !digests.is_sorted() {
            return Err("its digests are not whole, or not in rising order".to_owned());
        }
        Ok(Seen {
            complete: stored.complete,
            digests: digests.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn digest(content: &[u8]) -> Digest {
        shortened(&Sha256::digest(content).into())
    }

    fn digests(range: std::ops::Range<usize>) -> impl Iterator<Item = Digest> {
        range.map(|i| digest(&i.to_le_bytes()))
    }

    #[test]
    fn samples_that_were_seen_are_counted() {
        let seen = Seen::of(digests(0..100));
        let overlap = seen.overlap(digests(90..120));
        assert_eq!(
            (overlap.seen, overlap.of, overlap.estimated),
            (10, 30, false)
        );
        assert_eq!(seen.overlap([]).seen, 0);
        let more = seen.union(&Seen::of(digests(100..110)));
        assert_eq!(more.overlap(digests(90..120)).seen, 20);
    }

    #[test]
    fn it_takes_eight_characters_a_sample_and_comes_back_from_json() {
        let seen = Seen::of(digests(0..3000));
        let json = serde_json::to_string(&seen).unwrap();
        assert!(json.len() < 3000 * 8 + 40, "{}", json.len());
        assert_eq!(serde_json::from_str::<Seen>(&json).unwrap(), seen);
        for broken in [
            r#"{"complete":true,"digests":"AAAA"}"#,
            r#"{"complete":true,"digests":"?"}"#,
            r#"{"complete":true,"digests":"AQAAAAAAAAAAAAAA"}"#,
        ] {
            assert!(serde_json::from_str::<Seen>(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn of_very_many_samples_the_share_is_estimated_from_those_that_are_kept() {
        let many = 3 * Seen::KEPT;
        let seen = Seen::of(digests(0..many));
        let json = serde_json::to_string(&seen).unwrap();
        assert!(json.len() <= (1 << 20) + 40, "{}", json.len());
        let overlap = seen.overlap(digests(many - 30_000..many + 30_000));
        assert!(overlap.estimated && overlap.of == 60_000);
        // All of it may have been seen, and of the others those of which nothing is known.
        assert!(digests(0..many).all(|digest| seen.may_have(&digest)));
        let unseen = digests(many..many + 30_000).filter(|digest| !seen.may_have(digest));
        assert!(unseen.count().abs_diff(10_000) < 500);
        assert!(overlap.seen.abs_diff(30_000) < 1_000, "{overlap:?}");
        assert_eq!(seen.overlap(digests(many..many + 50_000)).seen, 0);
        let more = seen.union(&Seen::of(digests(many..many + 30_000)));
        let overlap = more.overlap(digests(many - 30_000..many + 30_000));
        assert!(overlap.seen.abs_diff(60_000) < 100, "{overlap:?}");
    }
}
