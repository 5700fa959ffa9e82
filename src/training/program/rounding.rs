//! Rounding to integers against PyTorch's `fake_quantize`: `fixtures/rewrites/rounding.onnx`, which
//! `tools/make_rounding_fixture.py` writes.

use std::collections::HashMap;
use std::path::Path;
use std::slice::from_ref;

use crate::autodiff::Operators;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::runtime::testing::runtime;
use crate::runtime::{Buffer, Device};
use crate::surgery::rounding;
use crate::training::bank::scene::apart;
use crate::training::sessions::SessionMaker;

use super::{Objective, Prepared, whole_program};

const SAMPLES: usize = 4;
const SAMPLE: [usize; 3] = [3, 5, 5];

fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rewrites/rounding.onnx");
    Model::open(&path).unwrap()
}

/// The tensors of the case, by what stands behind `case/`.
fn case(model: &Model) -> HashMap<String, Vec<f32>> {
    let graph = Graph::from_model(model).unwrap();
    let tensors = graph.initializers.iter();
    let of_case =
        tensors.filter_map(|(name, t)| Some((name.strip_prefix("case/")?.to_owned(), t.to_f32()?)));
    of_case.collect()
}

#[test]
fn a_network_of_integers_is_rounded_and_differentiated_as_by_pytorchs_fake_quantize() {
    let Some(runtime) = runtime() else { return };
    let model = model();
    let case = case(&model);
    let rounding = rounding(&model).unwrap();
    assert_eq!(rounding.pairs, 3);
    let mut prepared =
        Prepared::of(&rounding.model, SAMPLES, &SAMPLE, Objective::SquaredError).unwrap();
    prepared.constants.clone_from(&rounding.constants);
    let latents = rounding.tensors;
    assert_eq!(latents.len(), 3);
    let trainable: Vec<String> = latents.iter().map(|l| l.name.clone()).collect();
    for operators in [Operators::Standard, Operators::Kernels] {
        let program = whole_program(&prepared, &trainable, operators).unwrap();
        let parameters = program
            .parameters
            .iter()
            .zip(&latents)
            .map(|(port, latent)| {
                let first = &case[&format!("first/{}", latent.value)];
                Buffer::from_f32(&port.dims, first).unwrap()
            });
        let parameters: Vec<Buffer> = parameters.collect();
        let sessions = SessionMaker::new(&runtime, Device::Cpu, operators);
        let mut bound = sessions.bind(program, "test", &parameters, 1).unwrap();
        let fill = |buffer: &Buffer, name: &str| {
            buffer.as_f32_mut().unwrap().copy_from_slice(&case[name]);
        };
        fill(&bound.inputs.features[0], "input");
        fill(bound.inputs.targets.as_ref().unwrap(), "targets");
        bound.session.run_bound(&mut bound.binding).unwrap();
        let output = bound.logits.as_f32().unwrap().to_vec();
        let off = apart(from_ref(&output), from_ref(&case["output"]));
        assert!(off < 1e-6, "{operators:?}: the output is {off:e} off");
        let (loss, wanted) = (bound.loss().unwrap(), case["loss"][0]);
        assert!((loss - wanted).abs() < 1e-5 * wanted, "{loss} {wanted}");
        for (latent, gradient) in latents.iter().zip(&bound.gradients) {
            let gradient = gradient.read(|g| g.to_vec()).unwrap();
            let wanted = &case[&format!("gradient/{}", latent.value)];
            let off = apart(from_ref(&gradient), from_ref(wanted));
            let name = &latent.value;
            assert!(off < 1e-5, "{operators:?}: that of {name} is {off:e} off");
            assert!(wanted.iter().any(|g| *g != 0.0));
            if name != "b1" {
                // Beyond the range there is none.
                assert_eq!(gradient[..3], [0.0; 3], "{operators:?}: {name}");
            }
        }
    }
}

#[test]
fn floats_come_back_as_the_integers_that_the_file_rounds_them_to() {
    let model = model();
    let case = case(&model);
    let graph = Graph::from_model(&model).unwrap();
    for latent in rounding(&model).unwrap().tensors {
        let old = &graph.initializers[&latent.stored];
        let same = latent.stored(&floats_of(&model, &latent.name)).unwrap();
        assert_eq!(&same.unwrap().0, old, "{}", latent.value);
        let first = &case[&format!("first/{}", latent.value)];
        let (new, stands_for) = latent.stored(first).unwrap().unwrap();
        assert_eq!((new.dtype, &new.dims), (old.dtype, &old.dims));
        let again = latent.stored(&stands_for).unwrap().unwrap();
        assert_eq!(again, (new.clone(), stands_for), "{}", latent.value);
        let integers = new.to_i64().unwrap();
        match latent.value.as_str() {
            "w1" => assert_eq!(integers[..3], [127, -128, 127]),
            "w2" => assert_eq!(integers[..3], [255, 0, 255]),
            _ => {}
        }
        assert!(latent.stored(&first[1..]).is_err());
    }
}

/// What the network of floats begins with.
fn floats_of(model: &Model, name: &str) -> Vec<f32> {
    let graph = Graph::from_model(&rounding(model).unwrap().model).unwrap();
    graph.initializers[name].to_f32().unwrap()
}
