//! What random networks have found, as small as it goes.

use ftsurgery::graph::Attribute;
use ftsurgery::onnx::Tensor;
use ftsurgery::runtime::testing::runtime;

use super::compare::{Verdict, check};
use super::dice::Dice;
use super::draw::Drawn;
use super::net::{Ending, Net};

/// Holds a network of two convolutions, with what `middle` puts between them, against onnxruntime.
fn agrees([height, width]: [usize; 2], middle: &dyn Fn(&mut Net, &str) -> String) {
    let Some(runtime) = runtime() else { return };
    let sample = [3, height, width];
    let mut net = Net::new(Dice::new(1), 17);
    let x = net.input(&sample);
    let w = net.kernel(&[4, 3, 1, 1], 3);
    let y = net.op("Conv", &[&x, &w], &[]);
    let y = middle(&mut net, &y);
    let w = net.kernel(&[3, 4, 1, 1], 4);
    let y = net.op("Conv", &[&y, &w], &[]);
    let y = net.op("GlobalAveragePool", &[&y], &[]);
    let y = net.op("Flatten", &[&y], &[]);
    net.output(&y);
    let drawn = Drawn::of(net, &sample, 3, Ending::Logits);
    let work = tempfile::tempdir().unwrap();
    // Some of these seeds train one of the convolutions alone.
    for seed in 0..6 {
        match check(&runtime, &drawn, seed, work.path()) {
            Ok(Verdict::Agrees { .. }) => {}
            Ok(Verdict::Refused(why) | Verdict::Unrunnable(why)) => panic!("{why}"),
            Err(why) => panic!("{why}"),
        }
    }
}

#[test]
fn a_last_window_that_would_begin_behind_the_input_is_no_obstacle() {
    let of = |kernel: i64, stride: i64, pad: i64| -> [(&'static str, Attribute); 4] {
        [
            ("kernel_shape", vec![kernel; 2].into()),
            ("strides", vec![stride; 2].into()),
            ("pads", vec![pad; 4].into()),
            ("ceil_mode", 1.into()),
        ]
    };
    for op in ["MaxPool", "AveragePool"] {
        // Four windows, of which the last ends with the padding; none at 7.
        agrees([7, 7], &|net, x| net.op(op, &[x], &of(2, 2, 1)));
        // One window over 6 rows, two over 9 columns.
        agrees([6, 9], &|net, x| net.op(op, &[x], &of(4, 6, 0)));
    }
    // With padding that counts, and columns that hang over it.
    agrees([7, 8], &|net, x| {
        let mut with = of(3, 4, 1).to_vec();
        with.push(("count_include_pad", 1.into()));
        net.op("AveragePool", &[x], &with)
    });
}

#[test]
fn a_cubic_reduction_behind_a_transposition_is_no_obstacle() {
    let reduced = |net: &mut Net, x: &str| {
        let none = net.constant(Tensor::f32(&[0], &[]));
        let scales = net.constant(Tensor::f32(&[4], &[1.0, 1.0, 0.5, 1.5]));
        net.op("Resize", &[x, &none, &scales], &[("mode", "cubic".into())])
    };
    // The convolutions themselves work channels-last.
    agrees([8, 6], &reduced);
    agrees([9, 6], &|net, x| {
        let x = net.slice(x, 2, 0, 8, 1);
        reduced(net, &x)
    });
}

#[test]
fn a_dilated_pool_padded_to_the_same_size_is_refused() {
    let Some(runtime) = runtime() else { return };
    let sample = [3, 7, 7];
    let mut net = Net::new(Dice::new(1), 17);
    let x = net.input(&sample);
    let w = net.kernel(&[3, 3, 1, 1], 3);
    let y = net.op("Conv", &[&x, &w], &[]);
    // By the standard the map keeps its size; onnxruntime pads as if nothing were dilated.
    let with = [
        ("kernel_shape", Attribute::from(vec![3, 3])),
        ("dilations", vec![2, 2].into()),
        ("auto_pad", "SAME_UPPER".into()),
    ];
    let y = net.op("MaxPool", &[&y], &with);
    let name = y.clone();
    let y = net.op("GlobalAveragePool", &[&y], &[]);
    let y = net.op("Flatten", &[&y], &[]);
    net.output(&y);
    let drawn = Drawn::of(net, &sample, 3, Ending::Logits);
    let work = tempfile::tempdir().unwrap();
    match check(&runtime, &drawn, 0, work.path()) {
        Ok(Verdict::Refused(why)) => assert!(why.contains(&name) && why.contains("dilations")),
        Ok(_) => panic!("it was not refused"),
        Err(why) => panic!("{why}"),
    }
}
