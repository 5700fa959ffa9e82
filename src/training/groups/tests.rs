//! Groups of made activations, and of a small network's.

use std::path::Path;

use super::*;
use crate::graph::{Builder, Graph, Value};
use crate::onnx::{Model, Tensor, encode};
use crate::runtime::Buffer;
use crate::training::bank::scene::{Scene, network, noise};
use crate::training::program::Prepared;

fn layer(channels: usize) -> Layer {
    Layer {
        channels,
        tensors: vec![("w".to_owned(), 9), ("b".to_owned(), 1)],
        activations: "y".to_owned(),
        axis: 1,
    }
}

/// The groups of filters whose activations are the columns of `rows`.
fn divided(rows: &[Vec<f32>], count: usize) -> Option<Vec<usize>> {
    let layers = [layer(rows[0].len())];
    let groups = FilterGroups::by_activations(&layers, rows, count, 3);
    groups.of("w").map(|grouped| grouped.group_of.to_vec())
}

#[test]
fn filters_that_the_same_samples_activate_are_one_group() {
    // Two patterns over five samples, however strong and from whatever level, and their opposites; two filters that are
    // the same for all.
    let filters: [fn(f32) -> f32; 8] = [
        |t| t,
        |t| t * t,
        |t| 100.0 + 7.0 * t,
        |t| -0.01 * t,
        |t| 3.0 - 5.0 * t * t,
        |_| 4.1,
        |t| 2.0 * t * t,
        |_| 0.0,
    ];
    let rows: Vec<Vec<f32>> = [-2.0, -1.0, 0.5, 1.0, 3.0]
        .iter()
        .map(|&t| filters.iter().map(|filter| filter(t)).collect())
        .collect();
    let expected = [0, 1, 0, 2, 3, 4, 1, 4];
    assert_eq!(divided(&rows, 5).unwrap(), expected);
    assert_eq!(divided(&rows, 1).unwrap(), [0; 8]);
    assert_eq!(divided(&rows, 8), None, "as many groups as filters");
    // More groups than there are kinds of filters.
    assert_eq!(divided(&rows, 7).unwrap(), expected);
}

#[test]
fn bias_and_weight_of_a_filter_are_in_one_group() {
    let rows = [
        vec![1.0, 0.0, 2.0],
        vec![2.0, 5.0, 4.0],
        vec![3.0, 0.0, 6.0],
    ];
    let groups = FilterGroups::by_activations(&[layer(3)], &rows, 2, 0);
    let [w, b] = ["w", "b"].map(|name| groups.of(name).unwrap());
    assert_eq!((&*w.group_of, w.inner), (&[0, 1, 0][..], 9));
    assert_eq!((&*b.group_of, b.inner), (&[0, 1, 0][..], 1));
    assert_eq!(groups.of("x"), None);
    // A digest tells groups, layouts and names apart.
    let name = |name: &str| vec![name.to_owned()];
    let of = |named: &str, grouped: &Grouped| digest(&name(named), &[Some(grouped.clone())]);
    let other = Grouped::new(&[0, 1, 1], 9);
    let all = [of("w", w), of("w", b), of("v", w), of("w", &other)];
    let distinct: std::collections::HashSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), 4);
    assert_eq!(digest(&name("w"), &[None]), "");
}

#[test]
fn all_of_a_group_get_its_mean() {
    // Of a convolution: [3 filters, 2 numbers]; of a dense layer: [2 inputs, 3 filters].
    let (by_filter, by_input) = (Grouped::new(&[0, 1, 0], 2), Grouped::new(&[0, 1, 0], 1));
    let mut values = [1.0, 2.0, 10.0, 20.0, 3.0, 6.0];
    by_filter.average(&mut values);
    assert_eq!(values, [2.0, 4.0, 10.0, 20.0, 2.0, 4.0]);
    let mut values = [1.0, 10.0, 3.0, 2.0, 20.0, 6.0];
    by_input.average(&mut values);
    assert_eq!(values, [2.0, 10.0, 2.0, 4.0, 20.0, 4.0]);
    by_input.average(&mut []);
}

#[test]
fn the_mean_of_a_product_is_that_of_its_factor() {
    let (rows, depth, width) = (2, 6, 6);
    let group_of = [0, 1, 0, 2, 1, 0];
    for inner in [1, 6] {
        let grouped = Grouped::new(&group_of, inner);
        let factor = |columns: usize, scale| {
            Buffer::from_f32(&[rows, columns], &noise(rows * columns, scale)).unwrap()
        };
        let factors = GradientBuffers::Factors([factor(depth, 0.9), factor(width, 0.4)]);
        let product = || factors.read(|values| values.to_vec()).unwrap();
        let mut expected = product();
        grouped.average(&mut expected);
        grouped.average_gradient(&factors).unwrap();
        for (found, expected) in product().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{inner}");
        }
    }
}

fn layers_of(model: &Model, sample: &[usize], head: &[&str]) -> Vec<Layer> {
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    layers(&Prepared::new(model, 1, sample).unwrap(), &head).unwrap()
}

#[test]
fn a_layer_has_what_is_per_channel_behind_it_and_is_read_behind_its_activation() {
    let told = |layer: &Layer| {
        let tensors = layer
            .tensors
            .iter()
            .map(|(name, inner)| format!("{name} {inner}"));
        let tensors = tensors.collect::<Vec<_>>().join(", ");
        format!(
            "{tensors}: {} of {} {}",
            layer.channels, layer.activations, layer.axis
        )
    };
    let found = layers_of(&network(), &[3, 8, 8], &[]);
    let found: Vec<String> = found.iter().map(told).collect();
    let expected = [
        "c1.w 27, c1.scale 1, c1.bias 1: 4 of first 1",
        "c2.w 36, c2.scale 1, c2.bias 1: 4 of second 1",
        // A sum with something else is not its own.
        "c3.w 4, c3.scale 1, c3.bias 1: 4 of c3/norm 1",
        "c4.w 4: 4 of gate 1",
        "c5.w 72: 5 of third 1",
    ];
    assert_eq!(found, expected);
    assert_eq!(layers_of(&network(), &[3, 8, 8], &["c5.w"]).len(), 4);

    // Dense layers, of tokens and of rows.
    let mut graph = Graph {
        inputs: vec![Value::batched("x", &[6, 4])],
        ..Graph::new(17)
    };
    for (name, dims) in [
        ("up.w", &[4, 8][..]),
        ("up.b", &[8]),
        ("down.w", &[5, 48]),
        ("down.b", &[5]),
        ("slope", &[1, 5]),
        ("fc.w", &[5, 3]),
    ] {
        let tensor = Tensor::f32(dims, &noise(dims.iter().product(), 0.5));
        graph.initializers.insert(name.to_owned(), tensor);
    }
    let mut b = Builder::new(&mut graph);
    let x = b.op("up", "MatMul", &["x", "up.w"], vec![]);
    let x = b.op("moved", "Add", &["up.b", &x], vec![]);
    let x = b.op("relu", "Relu", &[&x], vec![]);
    let x = b.op("flat", "Flatten", &[&x], vec![]);
    let transposed = vec![("transB", 1.into())];
    let x = b.op("down", "Gemm", &[&x, "down.w", "down.b"], transposed);
    let x = b.op("prelu", "PRelu", &[&x, "slope"], vec![]);
    let x = b.op("fc", "MatMul", &[&x, "fc.w"], vec![]);
    graph.outputs.push(Value::batched(&x, &[3]));
    let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
    let model = Model::decode(bytes.into(), Path::new("test.onnx")).unwrap();
    let found: Vec<String> = layers_of(&model, &[6, 4], &[]).iter().map(told).collect();
    let expected = [
        "up.w 1, up.b 1: 8 of relu 2",
        "down.w 48, down.b 1, slope 1: 5 of prelu 1",
    ];
    assert_eq!(found, expected);
}

#[derive(Default)]
struct Passes(usize);

impl Observer for Passes {
    fn features(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        self.0 += usize::from(done == total);
        Ok(())
    }
}

#[test]
fn activations_are_the_means_of_maps_and_are_read_once_for_all_trials() {
    let Some(scene) = Scene::new(network(), 12, 8) else {
        return;
    };
    let lab = scene.lab(|_| ());
    let samples: Vec<usize> = (0..12).step_by(2).collect();
    let prepared = lab.prepare(&Rewrite::None, 1).unwrap();
    let layers = layers(&prepared, &[]).unwrap();
    let rows = lab
        .activations(prepared, &layers, &samples, &mut ())
        .unwrap();
    // The network has a mean of c5's maps itself.
    let mut expected: Vec<Vec<f32>> = Vec::new();
    let mut each = |_: &[usize], all: &[f32]| {
        expected.extend(all.chunks(5).map(<[f32]>::to_vec));
    };
    let read = (&Rewrite::None, &["flat".to_owned()][..]);
    lab.read(read, &[], &samples, &mut each, &mut ()).unwrap();
    assert_eq!((rows.len(), expected.len()), (6, 6));
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(row.len(), 21);
        for (found, expected) in row[16..].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    let mut passes = Passes::default();
    let mut groups = |seed, samples: &[usize], origins: &[Option<&str>]| {
        let asked = Asked {
            count: 2,
            seed,
            samples: samples.to_vec(),
        };
        let origins: Vec<_> = origins.iter().map(|o| o.map(str::to_owned)).collect();
        let found = lab.groups(asked, &origins, &mut passes).unwrap();
        (found, passes.0)
    };
    let (none, passed) = groups(0, &samples, &[None, Some("fc.w")]);
    assert_eq!((none, passed), (vec![None, None], 0), "the head has none");
    let (first, passed) = groups(0, &samples, &[Some("c1.w"), None, Some("c1.bias")]);
    assert_eq!(passed, 1);
    let [Some(w), None, Some(bias)] = first.as_slice() else {
        panic!("{first:?}")
    };
    assert_eq!(w.group_of, bias.group_of);
    assert_eq!(w.sizes.len(), 2);
    let (again, passed) = groups(0, &samples, &[Some("c1.w"), Some("c5.w")]);
    assert_eq!((&again[0], passed), (&first[0], 1));
    assert_eq!(groups(1, &samples, &[Some("c1.w")]).1, 2);
    assert_eq!(groups(0, &samples[1..], &[Some("c1.w")]).1, 3);
}
