use std::io::Write;

use ndarray::{Array1, Array4, ShapeBuilder};
use ndarray_npy::{NpzWriter, WritableElement, WriteNpyExt};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::data::{Layout, Preprocess, Sources};
use crate::task::Task;

mod names;

const OPTIONS: OpenOptions<'static> = OpenOptions::new(2, 3, 2);

fn counting(rows: usize) -> Array4<f32> {
    Array4::from_shape_fn((rows, 2, 2, 3), |(n, c, h, w)| {
        (n * 1000 + c * 100 + h * 10 + w) as f32
    })
}

fn write(
    x: &Array4<impl WritableElement>,
    y: &Array1<impl WritableElement>,
) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".npz").tempfile().unwrap();
    let mut npz = NpzWriter::new_compressed(file.reopen().unwrap());
    npz.add_array("x", x).unwrap();
    npz.add_array("y", y).unwrap();
    npz.finish().unwrap();
    file
}

fn write_matrix(
    x: &Array4<impl WritableElement>,
    y: &ndarray::Array2<impl WritableElement>,
) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".npz").tempfile().unwrap();
    let mut npz = NpzWriter::new_compressed(file.reopen().unwrap());
    npz.add_array("x", x).unwrap();
    npz.add_array("y", y).unwrap();
    npz.finish().unwrap();
    file
}

/// An archive of the given raw `.npy` files.
fn archive(entries: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".npz").tempfile().unwrap();
    let mut zip = ZipWriter::new(file.reopen().unwrap());
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    file
}

fn npy(header: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((header.len() as u16 + 1).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.push(b'\n');
    bytes.extend(payload);
    bytes
}

fn opened(file: &tempfile::NamedTempFile) -> Result<Dataset, DataError> {
    Dataset::open(file.path(), &OPTIONS)
}

fn refusal(file: &tempfile::NamedTempFile) -> String {
    let error = opened(file).unwrap_err();
    let text = error.to_string();
    assert!(error.is_bad_input(), "{text}");
    assert!(text.contains(file.path().to_str().unwrap()), "{text}");
    text
}

fn values(dataset: &Dataset) -> Vec<f32> {
    let indices: Vec<usize> = (0..dataset.len()).collect();
    let mut out = vec![0.0; dataset.len() * dataset.sample_len()];
    dataset
        .write_batch(&indices, &Preprocess::CAFFE, Layout::Nchw, &mut out)
        .unwrap();
    out
}

#[test]
fn all_accepted_types_and_orders_give_the_same_samples() {
    let x = counting(4);
    let wide = x.mapv(f64::from);
    let mut fortran = Array4::<f32>::zeros((4, 2, 2, 3).f());
    fortran.assign(&x);
    let y = Array1::from(vec![0_i64, 2, 1, 0]);
    let short = y.mapv(|label| label as i32);
    for file in [write(&x, &y), write(&wide, &short), write(&fortran, &y)] {
        let dataset = opened(&file).unwrap();
        assert_eq!(dataset.classes(), ["0", "1", "2"]);
        assert_eq!(dataset.labels(), [0, 2, 1, 0]);
        assert_eq!(dataset.sample_shape(), [2, 2, 3]);
        assert_eq!(dataset.name(3), "x[3]");
        assert!(!dataset.is_images());
        assert_eq!(values(&dataset), x.as_slice().unwrap());
    }
    let (first, second) = (
        opened(&write(&x, &y)).unwrap(),
        opened(&write(&wide, &short)).unwrap(),
    );
    assert_eq!(first.fingerprint(), second.fingerprint());
    let other = opened(&write(&(x + 1.0), &y)).unwrap();
    assert_ne!(first.fingerprint(), other.fingerprint());
}

#[test]
fn labels_that_cannot_be_are_refused_by_row() {
    let x = counting(3);
    let text = refusal(&write(&x, &Array1::from(vec![0_i64, 1, -1])));
    assert!(
        text.contains("\"y\"") && text.contains("row 2") && text.contains("-1"),
        "{text}"
    );
    let text = refusal(&write(&x, &Array1::from(vec![0_i64, 1 << 40, 1])));
    assert!(text.contains("row 1"), "{text}");
    let dataset = opened(&write(&x, &Array1::from(vec![0_i64, 2, 2]))).unwrap();
    assert_eq!(dataset.classes().len(), 3, "class 1 may have no row");
    let text = refusal(&write(&x, &Array1::from(vec![0.0_f32, 0.5, 0.0])));
    assert!(
        text.contains("row 1") && text.contains("0.5 is no whole"),
        "{text}"
    );
}

/// Keras gives the labels of CIFAR-10 as a column, `to_categorical` as floats.
#[test]
fn labels_are_whole_numbers_of_any_type_also_as_a_column() {
    let x = counting(4);
    let y = Array1::from(vec![0_u8, 2, 1, 0]);
    for file in [
        write(&x, &y),
        write(&x, &y.mapv(|l| l as i8)),
        write(&x, &y.mapv(u16::from)),
        write(&x, &y.mapv(i16::from)),
        write(&x, &y.mapv(u32::from)),
        write(&x, &y.mapv(u64::from)),
        write(&x, &y.mapv(f32::from)),
        write(&x, &y.mapv(f64::from)),
    ] {
        let dataset = opened(&file).unwrap();
        assert_eq!(dataset.labels(), [0, 2, 1, 0]);
    }
    let flags = opened(&write(&x, &y.mapv(|l| l == 2))).unwrap();
    assert_eq!(flags.labels(), [0, 1, 0, 0]);
    let column = y.into_shape_with_order((4, 1)).unwrap();
    let dataset = opened(&write_matrix(&x, &column)).unwrap();
    assert_eq!(
        (dataset.labels(), dataset.sets()),
        (&[0, 2, 1, 0][..], None)
    );
    let too_large = refusal(&write(&x, &Array1::from(vec![0_u64, 1, 2, u64::MAX])));
    assert!(too_large.contains("row 3"), "{too_large}");
}

#[test]
fn rows_of_one_label_each_exclude_each_other_where_that_is_said() {
    let x = counting(3);
    let file = write_matrix(
        &x,
        &ndarray::arr2(&[[0_f32, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    );
    let plain = opened(&file).unwrap();
    assert!(plain.sets().is_some());
    assert!(
        plain.told()[0].contains("--task single-label"),
        "{:?}",
        plain.told()
    );
    let sources = Sources {
        task: Some(Task::SingleLabel),
        ..Sources::default()
    };
    let options = OpenOptions {
        sources: Some(&sources),
        ..OPTIONS
    };
    let dataset = Dataset::open(file.path(), &options).unwrap();
    assert_eq!((dataset.labels(), dataset.sets()), (&[1, 0, 2][..], None));
    assert_eq!(dataset.classes().len(), 3);
    let several = write_matrix(&x, &ndarray::arr2(&[[0_u8, 1], [1, 1], [1, 0]]));
    let text = Dataset::open(several.path(), &options)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("row 1") && text.contains("2 classes"),
        "{text}"
    );
    assert!(opened(&several).unwrap().told().is_empty());
}

#[test]
fn values_that_are_not_finite_are_refused_by_row() {
    let y = Array1::from(vec![0_i64, 1, 0]);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = counting(3);
        x[[1, 1, 0, 2]] = bad;
        let text = refusal(&write(&x, &y));
        assert!(text.contains("\"x\"") && text.contains("row 1"), "{text}");
    }
    let mut x = counting(3).mapv(f64::from);
    x[[2, 0, 0, 0]] = 1e300;
    assert!(refusal(&write(&x, &y)).contains("row 2"));
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let y = Array1::from(vec![0_i64, 1]);
    let text = refusal(&write(&counting(3), &y));
    assert!(text.contains("3 rows") && text.contains("has 2"), "{text}");
    let text = refusal(&write(&Array4::<f32>::zeros((2, 2, 3, 2)), &y));
    assert!(
        text.contains("[2, 2, 3, 2]") && text.contains("[N, 2, 2, 3]"),
        "{text}"
    );
    let text = refusal(&write(&Array4::<i32>::zeros((2, 2, 2, 3)), &y));
    assert!(text.contains("float32"), "{text}");

    let mut five = vec![];
    ndarray::Array5::<f32>::zeros((2, 1, 2, 2, 3))
        .write_npy(&mut five)
        .unwrap();
    let mut labels = vec![];
    y.write_npy(&mut labels).unwrap();
    let text = refusal(&archive(&[("x.npy", &five), ("y.npy", &labels)]));
    assert!(text.contains("[2, 1, 2, 2, 3]"), "{text}");
    let text = refusal(&archive(&[("x.npy", &five), ("labels.npy", &labels)]));
    assert!(
        text.contains("\"y\"") && text.contains("\"labels\", \"x\""),
        "{text}"
    );
    assert!(refusal(&archive(&[("y.npy", &labels)])).contains("\"x\""));
}

#[test]
fn samples_without_values_are_refused() {
    let file = write(
        &Array4::<f32>::zeros((2, 2, 0, 3)),
        &Array1::from(vec![0_i64, 1]),
    );
    let options = OpenOptions {
        height: 0,
        ..OPTIONS
    };
    let error = Dataset::open(file.path(), &options).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("height"));
}

#[test]
fn files_that_claim_more_than_they_hold_take_no_memory() {
    let huge = format!(
        "{{'descr': '<i8', 'fortran_order': False, 'shape': ({},)}}",
        1_u64 << 48
    );
    assert!(refusal(&archive(&[("y.npy", &npy(&huge, &[0; 16]))])).contains("cut off"));
    let overflow = "{'descr': '<i8', 'fortran_order': False, 'shape': (18446744073709551615,)}";
    refusal(&archive(&[("y.npy", &npy(overflow, &[0; 16]))]));
    let beyond = "{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999999999999999,)}";
    refusal(&archive(&[("y.npy", &npy(beyond, &[0; 16]))]));
    let deep = format!("{}{}", "(".repeat(60_000), ")".repeat(5_000));
    assert!(refusal(&archive(&[("y.npy", &npy(&deep, &[]))])).contains("too long"));
    let nested = format!("{}{}", "(".repeat(500), ")".repeat(500));
    refusal(&archive(&[("y.npy", &npy(&nested, &[]))]));
    let records = "{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (2,)}";
    assert!(refusal(&archive(&[("y.npy", &npy(records, &[0; 16]))])).contains("type"));
    for bytes in [&b""[..], b"\x93NUMPY", b"PK\x03\x04 and some more"] {
        refusal(&archive(&[("y.npy", bytes)]));
    }
}

#[test]
fn nested_headers_are_refused_in_no_time() {
    let start = std::time::Instant::now();
    for nested in ["[", "(", "{"] {
        let header = format!("{{'descr': {}", nested.repeat(900));
        let text = refusal(&archive(&[("y.npy", &npy(&header, &[0; 16]))]));
        assert!(text.contains("\"y\"") && text.contains("header"), "{text}");
    }
    assert!(start.elapsed().as_secs() < 5);
}

#[test]
fn sizes_that_the_compressed_bytes_cannot_hold_are_refused() {
    let y = npy(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (400000000,)}",
        &[0; 16],
    );
    let file = archive(&[("y.npy", &y)]);
    let mut bytes = std::fs::read(file.path()).unwrap();
    // The directory's entry: the uncompressed size is at 24.
    let entry = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let claim = (y.len() as u32 - 16 + 3_200_000_000).to_le_bytes();
    bytes[entry + 24..entry + 28].copy_from_slice(&claim);
    std::fs::write(file.path(), bytes).unwrap();
    let text = refusal(&file);
    assert!(text.contains("cannot hold"), "{text}");
}

#[test]
fn labels_beyond_the_limit_are_refused_before_they_take_memory() {
    let file = write(&counting(3), &Array1::from(vec![0_i64; 3]));
    let limits = |bytes| Limits {
        bytes,
        ..Limits::default()
    };
    assert!(Dataset::open_within(file.path(), &OPTIONS, &limits(4 * 36)).is_ok());
    let mut y = vec![];
    Array1::<i64>::zeros(1000).write_npy(&mut y).unwrap();
    let file = archive(&[("y.npy", &y)]);
    let error = Dataset::open_within(file.path(), &OPTIONS, &limits(7999)).unwrap_err();
    assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
}

#[test]
fn archives_of_the_64_bit_form_are_read() {
    let (x, y) = (counting(2), Array1::from(vec![0_i64, 1]));
    let file = tempfile::Builder::new().suffix(".npz").tempfile().unwrap();
    let mut zip = ZipWriter::new(file.reopen().unwrap());
    let options = SimpleFileOptions::default().large_file(true);
    zip.start_file("x.npy", options).unwrap();
    x.write_npy(&mut zip).unwrap();
    zip.start_file("y.npy", options).unwrap();
    y.write_npy(&mut zip).unwrap();
    zip.finish().unwrap();
    assert_eq!(values(&opened(&file).unwrap()), x.as_slice().unwrap());
}

#[test]
fn damaged_archives_are_refused_but_never_panic() {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let file = write(&counting(4), &Array1::from(vec![0_i64, 1, 0, 1]));
    let whole = std::fs::read(file.path()).unwrap();
    for end in 0..whole.len() {
        std::fs::write(file.path(), &whole[..end]).unwrap();
        refusal(&file);
    }
    for _ in 0..1000 {
        let mut bytes = whole.clone();
        let at = rng.random_range(0..bytes.len());
        bytes[at] = rng.random();
        std::fs::write(file.path(), bytes).unwrap();
        let _ = opened(&file);
    }
}

#[test]
fn two_arrays_of_one_name_are_refused_by_name() {
    let header = "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }";
    let array = npy(header, &[0; 8]);
    for name in ["x", "y"] {
        let file = archive(&[("x.npy", &array), ("y.npy", &array), ("z.npy", &array)]);
        let mut bytes = std::fs::read(file.path()).unwrap();
        for at in 0..bytes.len() - 5 {
            if bytes[at..].starts_with(b"z.npy") {
                bytes[at..=at].copy_from_slice(name.as_bytes());
            }
        }
        std::fs::write(file.path(), bytes).unwrap();
        let text = refusal(&file);
        assert!(
            text.contains(&format!("{name}.npy")) && text.contains("twice"),
            "{text}"
        );
        assert!(npz_sample_shape(file.path()).unwrap_err().is_bad_input());
    }
    // NumPy takes the member `x` before `x.npy`.
    let file = archive(&[("x.npy", &array), ("y.npy", &array), ("x", &array)]);
    let text = refusal(&file);
    assert!(text.contains("\"x.npy\" and \"x\""), "{text}");
}

#[test]
fn a_pipe_is_no_archive_and_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.npz");
    if !crate::testing::pipe(&path) {
        return;
    }
    let error = npz_sample_shape(&path).unwrap_err();
    assert!(error.is_bad_input());
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn labels_without_a_row_are_told() {
    let told = |labels: &[i64]| {
        let y = Array1::from_vec(labels.to_vec());
        opened(&write(&counting(labels.len()), &y))
            .unwrap()
            .notes()
            .to_vec()
    };
    assert!(told(&[0, 1, 2, 1]).is_empty());
    let from_one = told(&[1, 2, 3, 2]);
    assert!(
        from_one[0].contains("label 0") && from_one[0].contains("subtract 1"),
        "{from_one:?}"
    );
    let with_holes = told(&[0, 9]);
    assert!(
        with_holes[0].contains("8 labels have no row in \"y\": 1, 2, 3, 4, 5, …"),
        "{with_holes:?}"
    );
}

#[test]
fn rows_that_are_copies_belong_together_and_are_told() {
    let mut x = counting(4);
    let first = x.index_axis(ndarray::Axis(0), 0).to_owned();
    x.index_axis_mut(ndarray::Axis(0), 2).assign(&first);
    let dataset = opened(&write(&x, &ndarray::array![0i64, 1, 1, 0])).unwrap();
    assert_eq!(dataset.groups(), [0, 1, 0, 3]);
    assert!(
        dataset.notes()[0].contains("(x[2] of x[0])"),
        "{:?}",
        dataset.notes()
    );
}

#[test]
fn arrays_beyond_the_limit_are_refused_with_the_figures() {
    let file = write(&counting(4), &ndarray::array![0i64, 1, 1, 0]);
    let limits = Limits {
        bytes: 4 * 12 * 4 - 1,
        ..Limits::default()
    };
    let error = Dataset::open_within(file.path(), &OPTIONS, &limits).unwrap_err();
    assert!(
        error.is_bad_input() && error.to_string().contains("192 bytes"),
        "{error}"
    );
}

#[test]
fn pixels_are_images_that_are_scaled_wherever_their_channels_stand() {
    let (height, width) = (2, 4);
    let first = Array4::from_shape_fn((3, 3, height, width), |(n, c, h, w)| {
        (n * 80 + c * 20 + h * 5 + w) as u8
    });
    let last = first.view().permuted_axes([0, 2, 3, 1]);
    let last = last.as_standard_layout().into_owned();
    let fortran = |x: &Array4<u8>| x.t().as_standard_layout().into_owned().reversed_axes();
    let y = Array1::from(vec![1_u8, 0, 1]);
    let options = OpenOptions::new(height, width, 3);
    let open = |x: &Array4<u8>| Dataset::open(write(x, &y).path(), &options).unwrap();
    let datasets = [
        open(&first),
        open(&last),
        open(&fortran(&first)),
        open(&fortran(&last)),
    ];
    for dataset in &datasets {
        assert!(dataset.is_images() && !dataset.is_named());
        assert_eq!(dataset.labels(), [1, 0, 1]);
        let mut out = vec![0.0; 3 * 3 * height * width];
        let unit = Preprocess::UNIT;
        dataset
            .write_batch(&[0, 1, 2], &unit, Layout::Nchw, &mut out)
            .unwrap();
        let near = |(value, byte): (&f32, &u8)| (value - f32::from(*byte) / 255.0).abs() < 1e-6;
        assert!(out.iter().zip(first.iter()).all(near));
    }
    let fingerprint = datasets[0].fingerprint();
    assert!(datasets.iter().all(|d| d.fingerprint() == fingerprint));
    let text = refusal(&write(&first, &y));
    assert!(text.contains("[N, 2, 2, 3] or [N, 2, 3, 2]"), "{text}");
}

#[test]
fn labels_of_two_dimensions_are_several_to_a_row() {
    let write = |y: ndarray::Array2<u8>| write_matrix(&counting(3), &y);
    let rows = ndarray::arr2(&[[1, 0, 1], [0, 0, 0], [0, 0, 1]]);
    for y in [
        rows.clone(),
        rows.t().as_standard_layout().reversed_axes().to_owned(),
    ] {
        let dataset = opened(&write(y)).unwrap();
        assert_eq!(dataset.classes(), ["0", "1", "2"]);
        let sets = dataset.sets().unwrap();
        assert_eq!((sets.get(0), sets.get(2)), (&[0, 2][..], &[2][..]));
        assert_eq!(dataset.labels(), [0, -1, 2]);
    }
    let text = refusal(&write(ndarray::arr2(&[[1, 0], [0, 2], [0, 0]])));
    assert!(text.contains("not 0 or 1"), "{text}");
}
