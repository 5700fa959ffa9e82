use super::*;
use crate::data::image::Size;

/// Plain images of this shape.
pub(in crate::data) fn images([channels, height, width]: [usize; 3], pixels: Vec<u8>) -> Samples {
    let form = Form {
        size: Size::new(height, width, channels).unwrap(),
        resize: Resize::SQUASH,
        with_photo: false,
    };
    let pixels = Pixels::Memory(pixels);
    Samples::Images { form, pixels }
}

fn two_by_one() -> Dataset {
    Dataset {
        classes: vec!["a".into(), "b".into()],
        labels: vec![0, 1],
        sets: None,
        names: vec!["a/0.png".into(), "b/0.png".into()],
        digests: vec![[0; 6], [1; 6]],
        groups: vec![0, 1],
        copies: Vec::new(),
        group_names: Vec::new(),
        given: None,
        roots: Default::default(),
        skipped: vec![],
        told: Vec::new(),
        notes: vec![],
        fingerprint: String::new(),
        shape: [3, 1, 2],
        samples: images([3, 1, 2], vec![10, 20, 30, 40, 50, 60, 1, 2, 3, 4, 5, 6]),
        workers: Workers::default(),
    }
}

#[test]
fn a_batch_is_its_samples_one_after_the_other() {
    let dataset = two_by_one();
    let raw = Preprocess {
        scale: 1.0,
        ..Preprocess::UNIT
    };
    let mut batch = [0.0; 18];
    dataset
        .write_batch(&[1, 0, 1], &raw, Layout::Nchw, &mut batch)
        .unwrap();
    assert_eq!(batch[..6], [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    assert_eq!(batch[6..12], [10.0, 40.0, 20.0, 50.0, 30.0, 60.0]);
    for (place, index) in [1, 0, 1].into_iter().enumerate() {
        let mut sample = [0.0; 6];
        dataset
            .write_sample(index, &raw, Layout::Nchw, &mut sample)
            .unwrap();
        assert_eq!(sample, batch[place * 6..place * 6 + 6]);
    }
}

#[test]
fn a_large_batch_written_in_parallel_equals_its_samples() {
    let side = 600;
    let pixels: Vec<u8> = (0..2 * 3 * side * side).map(|i| (i % 251) as u8).collect();
    let dataset = Dataset {
        shape: [3, side, side],
        samples: images([3, side, side], pixels),
        ..two_by_one()
    };
    let len = dataset.sample_len();
    let mut batch = vec![0.0; 2 * len];
    assert!(batch.len() >= PARALLEL_FLOATS);
    dataset
        .write_batch(&[1, 0], &Preprocess::CAFFE, Layout::Nhwc, &mut batch)
        .unwrap();
    for (place, index) in [1, 0].into_iter().enumerate() {
        let mut sample = vec![0.0; len];
        dataset
            .write_sample(index, &Preprocess::CAFFE, Layout::Nhwc, &mut sample)
            .unwrap();
        assert!(sample == batch[place * len..(place + 1) * len]);
    }
}

#[test]
fn arrays_are_not_preprocessed_and_are_transposed_for_nhwc() {
    let dataset = Dataset {
        names: vec![],
        shape: [2, 1, 2],
        samples: Samples::Arrays(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]),
        ..two_by_one()
    };
    let mut out = [0.0; 4];
    dataset
        .write_sample(1, &Preprocess::CAFFE, Layout::Nchw, &mut out)
        .unwrap();
    assert_eq!(out, [4.0, 5.0, 6.0, 7.0]);
    dataset
        .write_sample(1, &Preprocess::CAFFE, Layout::Nhwc, &mut out)
        .unwrap();
    assert_eq!(out, [4.0, 6.0, 5.0, 7.0]);
    assert_eq!(dataset.name(1), "x[1]");
}

#[test]
fn samples_and_buffers_that_do_not_fit_are_refused() {
    let dataset = two_by_one();
    let mut out = [0.0; 6];
    let write =
        |index, out: &mut [f32]| dataset.write_sample(index, &Preprocess::UNIT, Layout::Nchw, out);
    let error = write(2, &mut out).unwrap_err();
    assert_eq!(error.to_string(), "sample 2 is outside 0..2");
    assert!(write(0, &mut out[..5]).is_err());
}

#[test]
fn what_is_neither_a_folder_nor_an_npz_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions::new(8, 8, 3);
    let path = folder.path().join("data.csv");
    let error = Dataset::open(&path, &options).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("data.csv"));
    std::fs::write(&path, "a,b").unwrap();
    let error = Dataset::open(&path, &options).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("data.csv"));
}
