//! What a data set may take of the machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::seq::SliceRandom;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::memory::memory_limit;
use super::{DataError, ImageCache};
use crate::random::{Purpose, stream};

/// Within which limits a [`Dataset`](super::Dataset) is opened and used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Threads that decode images and write batches; 0 for one per core.
    pub threads: usize,
    /// Bytes that the samples may take in memory.
    pub bytes: u64,
    /// Where decoded images are.
    pub images: ImageCache,
    /// The folder for those on the disk; `None` where there is none for them.
    pub image_folder: Option<PathBuf>,
    /// Classes of a folder with fewer usable images are left out.
    pub min_per_class: usize,
    /// The classes that there must be at least: 2 to train, 1 where a model that knows its classes is measured.
    pub classes: usize,
    /// Of images so many at most, [drawn](few) by this seed before any is decoded; `None` for all.
    pub few: Option<(usize, u64)>,
}

/// So many of `0..count`, in their order, drawn by a seed; all where there are no more.
pub fn few(count: usize, most: usize, seed: u64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..count).collect();
    if count > most {
        all.shuffle(&mut stream(Purpose::Few, seed, &[]));
        all.truncate(most);
        all.sort_unstable();
    }
    all
}

impl Default for Limits {
    /// All cores, half of the memory that this process may use, images in memory, and every class, of which there are two.
    fn default() -> Self {
        Limits {
            threads: 0,
            bytes: memory_limit().map_or(u64::MAX, |bytes| bytes / 2),
            images: ImageCache::Auto,
            image_folder: None,
            min_per_class: 0,
            classes: 2,
            few: None,
        }
    }
}

impl Limits {
    /// Whether so many images of so many bytes each are to be in memory, and may be.
    pub(super) fn hold(&self, images: usize, bytes_each: usize) -> bool {
        matches!(self.images, ImageCache::Auto | ImageCache::Memory)
            && (images as u64).saturating_mul(bytes_each as u64) <= self.bytes
    }

    /// # Errors
    /// When so many samples of so many bytes each take more than they may.
    pub(super) fn check(
        &self,
        path: &Path,
        samples: usize,
        bytes_each: usize,
    ) -> Result<(), DataError> {
        let bytes = (samples as u64).saturating_mul(bytes_each as u64);
        if bytes <= self.bytes {
            return Ok(());
        }
        Err(DataError::TooLarge {
            path: path.to_owned(),
            samples,
            bytes,
            limit: self.bytes,
        })
    }
}

/// The threads of a data set.
#[derive(Debug, Clone, Default)]
pub(super) struct Workers(Option<Arc<ThreadPool>>);

impl Workers {
    /// So many threads, or for 0 those that the process shares, one per core.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(super) fn new(threads: usize) -> Result<Self, DataError> {
        if threads == 0 {
            return Ok(Workers(None));
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("data {number}"))
            .build()
            .map_err(|source| DataError::Threads { threads, source })?;
        Ok(Workers(Some(Arc::new(pool))))
    }

    /// Runs `work`, whose parallel parts run on these threads.
    pub(super) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.0 {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

/// A number of bytes for people: `512 MiB`, `1.5 GiB`.
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} bytes"),
        _ if value < 10.0 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_of_many_are_the_same_for_a_seed_and_in_their_order() {
        let drawn = few(100, 7, 3);
        assert_eq!(drawn.len(), 7);
        assert!(drawn.is_sorted() && drawn.iter().all(|&at| at < 100));
        assert_eq!(drawn, few(100, 7, 3));
        assert_ne!(drawn, few(100, 7, 4));
        assert_eq!(few(3, 7, 3), [0, 1, 2]);
    }

    #[test]
    fn samples_beyond_the_limit_are_refused_with_the_figures() {
        let limits = Limits {
            bytes: 1000,
            ..Limits::default()
        };
        let path = Path::new("photos");
        assert!(limits.check(path, 10, 100).is_ok());
        let error = limits.check(path, 100, 150_528).unwrap_err();
        assert!(error.is_bad_input());
        assert_eq!(
            error.to_string(),
            "the 100 samples of photos take 14 MiB of memory, but 1000 bytes may be used for them"
        );
        assert!(limits.check(path, usize::MAX, usize::MAX).is_err());
    }

    #[test]
    fn work_runs_on_as_many_threads_as_asked_for() {
        for threads in [1, 3] {
            let workers = Workers::new(threads).unwrap();
            assert_eq!(workers.install(rayon::current_num_threads), threads);
        }
    }

    #[test]
    fn bytes_are_shown_in_the_largest_unit() {
        let shown = [0, 1023, 1536, 1 << 29, 3 << 29, 20 << 40].map(show_bytes);
        assert_eq!(
            shown,
            [
                "0 bytes",
                "1023 bytes",
                "1.5 KiB",
                "512 MiB",
                "1.5 GiB",
                "20 TiB"
            ]
        );
    }
}
