//! A data set in an `.npz` file. Inputs that begin with `R` are the file itself; others hold the two
//! arrays of it, so that what is changed in them reaches the reader of arrays behind the archive's
//! checksums: two bytes for the length of `y.npy`, that, then `x.npy`.
#![no_main]

use std::io::Write;

use ftsurgery::data::{Dataset, OpenOptions, npz_sample_shape};
use libfuzzer_sys::fuzz_target;
use zip::write::{SimpleFileOptions, ZipWriter};

fuzz_target!(init: ftsurgery_fuzz::only_escaping_panics(), |data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else {
        return;
    };
    let file = match first {
        b'R' => rest.to_vec(),
        _ => match packed(rest) {
            Some(file) => file,
            None => return,
        },
    };
    ftsurgery_fuzz::with_file("fuzz.npz", &file, |path| {
        let shape = npz_sample_shape(path);
        let [channels, height, width] = shape.unwrap_or([1, 8, 8]);
        let options = OpenOptions::new(height, width, channels);
        let _ = Dataset::open(path, &options);
    });
});

fn packed(data: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (y, x) = rest.split_at(length);
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in [("x.npy", x), ("y.npy", y)] {
        archive.start_file(name, options).ok()?;
        archive.write_all(content).ok()?;
    }
    Some(archive.finish().ok()?.into_inner())
}
