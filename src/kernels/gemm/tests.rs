use super::*;
use crate::kernels::Serial;

struct Backwards(usize);

// SAFETY: a range has each number once.
#[allow(unsafe_code)]
unsafe impl Parallel for Backwards {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync)) {
        (0..pieces).rev().for_each(piece);
    }
}

fn floats(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

#[test]
fn agrees_with_loops_in_double_precision() {
    let sizes = [
        [1, 1, 1],
        [0, 4, 3],
        [2, 0, 3],
        [2, 3, 0],
        [1, 300, 1000],
        [2, 2100, 5],
        [3, 17, 33],
        [4, 5000, 128],
        [5, 64, 24],
        [7, 4099, 47],
        [8, 129, 1537],
        [16, 515, 770],
    ];
    for [rows, depth, width] in sizes {
        for transposed in [false, true] {
            let shape = GemmShape {
                rows,
                depth,
                width,
                transposed,
            };
            let (a, b) = (floats(rows * depth, 1), floats(depth * width, 2));
            let bias = floats(width, 3);
            for bias in [None, Some(bias.as_slice())] {
                let mut y = vec![f32::NAN; rows * width];
                gemm(&shape, &a, &b, bias, &mut y, &Serial).unwrap();
                let mut again = y.clone();
                gemm(&shape, &a, &b, bias, &mut again, &Backwards(3)).unwrap();
                assert_eq!(y, again, "{shape:?}");
                for (at, &found) in y.iter().enumerate() {
                    let [i, n] = [at / width, at % width];
                    let mut wanted = bias.map_or(0.0, |bias| f64::from(bias[n]));
                    let mut size = wanted.abs();
                    for k in 0..depth {
                        let at_b = if transposed {
                            n * depth + k
                        } else {
                            k * width + n
                        };
                        let term = f64::from(a[i * depth + k]) * f64::from(b[at_b]);
                        wanted += term;
                        size += term.abs();
                    }
                    let error = (f64::from(found) - wanted).abs();
                    assert!(
                        error <= 1e-6 * size + 1e-12,
                        "{shape:?} {at}: {found} {wanted}"
                    );
                }
            }
        }
    }
}

#[test]
fn slices_of_other_lengths_are_refused() {
    let shape = GemmShape {
        rows: 2,
        depth: 3,
        width: 4,
        transposed: false,
    };
    let refused = |a: usize, b: usize, bias: usize, y: usize| {
        let (a, b, bias) = (floats(a, 1), floats(b, 2), floats(bias, 3));
        gemm(&shape, &a, &b, Some(&bias), &mut floats(y, 4), &Serial).unwrap_err()
    };
    for (sizes, name) in [
        ([5, 12, 4, 8], "A"),
        ([6, 11, 4, 8], "B"),
        ([6, 12, 3, 8], "the bias"),
        ([6, 12, 4, 9], "Y"),
    ] {
        let [a, b, bias, y] = sizes;
        let error = refused(a, b, bias, y).to_string();
        assert!(error.starts_with(name), "{error}");
    }
}

#[test]
fn weight_gradients_agree_with_loops_in_double_precision() {
    for [rows, depth, width] in [
        [1, 1, 1],
        [3, 17, 33],
        [4, 900, 128],
        [5, 2, 24],
        [16, 515, 130],
    ] {
        let (a, dy) = (floats(rows * depth, 1), floats(rows * width, 2));
        let mut db = vec![f32::NAN; depth * width];
        gemm_weight_gradient([rows, depth, width], &a, &dy, &mut db, &Backwards(2)).unwrap();
        for (at, &found) in db.iter().enumerate() {
            let terms = (0..rows).map(|i| {
                f64::from(a[i * depth + at / width]) * f64::from(dy[i * width + at % width])
            });
            let size: f64 = terms.clone().map(f64::abs).sum();
            let error = (f64::from(found) - terms.sum::<f64>()).abs();
            assert!(error <= 1e-6 * size + 1e-12, "{rows} {depth} {width} {at}");
        }
        let short = gemm_weight_gradient([rows, depth, width], &a[1..], &dy, &mut db, &Serial);
        assert!(short.unwrap_err().to_string().starts_with("A"));
    }
}
