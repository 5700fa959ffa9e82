//! A picture of any kind. Decoders leave out their checksums where `cfg(fuzzing)` is set.
#![no_main]

use ftsurgery::data::{Resize, image_dimensions, load_image};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: ftsurgery_fuzz::only_escaping_panics(), |data: &[u8]| {
    ftsurgery_fuzz::with_file("fuzz.png", data, |path| {
        let _ = image_dimensions(path);
        for channels in [1, 3] {
            for resize in [Resize::SQUASH, Resize::CROP, Resize::LETTERBOX] {
                let _ = load_image(path, 8, 9, channels, resize);
            }
        }
    });
});
