//! Rewritten networks against PyTorch: `fixtures/rewrites`, which `tools/make_rewrite_fixtures.py` writes.

use std::collections::HashMap;
use std::path::Path;
use std::slice::from_ref;

use crate::autodiff::Operators;
use crate::graph::Graph;
use crate::onnx::{Model, encode};
use crate::runtime::testing::runtime;
use crate::runtime::{Buffer, Device};
use crate::surgery::Rewrite;
use crate::surgery::rewrite::{
    AdaFilter, FilterGate, GateStart, Number, Policy, PolicyInput, SpotTune, TunedShare,
};
use crate::training::bank::scene::{apart, grafted};
use crate::training::sessions::SessionMaker;

use super::{Prepared, step_program};

/// As in the tool.
const RATE: f32 = 0.05;
const STEPS: usize = 5;

/// The network of a file without the case's tensors, and these, by what stands behind `case/`.
fn case(name: &str) -> (Model, HashMap<String, Vec<f32>>, Vec<i64>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rewrites");
    let model = Model::open(&path.join(format!("{name}.onnx"))).unwrap();
    let mut graph = Graph::from_model(&model).unwrap();
    let of_case = |name: &String| name.strip_prefix("case/").map(str::to_owned);
    let labels = graph.initializers["case/labels"].data.chunks(8);
    let labels = labels
        .map(|l| i64::from_le_bytes(l.try_into().unwrap()))
        .collect();
    let tensors = graph.initializers.iter();
    let values = tensors.filter_map(|(name, t)| Some((of_case(name)?, t.to_f32()?)));
    let values = values.collect();
    graph.initializers.retain(|name, _| of_case(name).is_none());
    let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
    (
        Model::decode(bytes.into(), Path::new(name)).unwrap(),
        values,
        labels,
    )
}

/// Holds gradients, losses and values after some steps against the file's.
fn holds(name: &str, rewrite: &Rewrite, samples: usize, input: &[usize]) {
    let Some(runtime) = runtime() else { return };
    let (model, values, labels) = case(name);
    let rewritten = rewrite.apply(&grafted(model)).unwrap();
    let prepared = Prepared::rewritten(&rewritten, samples, input, Default::default()).unwrap();
    let mut trainable: Vec<String> = values
        .keys()
        .filter_map(|k| Some(k.strip_prefix("first/")?.to_owned()))
        .collect();
    trainable.sort();
    // A weight of the first layer, so that no value but the input is frozen; it stays as it is.
    trainable.push("c1.weight".to_owned());
    for operators in [Operators::Standard, Operators::Kernels] {
        let sessions = SessionMaker::new(&runtime, Device::Cpu, operators);
        let program = step_program(&prepared, &trainable, &[], operators).unwrap();
        let ports = program.parameters.iter();
        let parameters = ports.map(|port| {
            let first = values.get(&format!("first/{}", port.name)).cloned();
            let first =
                first.unwrap_or_else(|| prepared.graph.initializers[&port.name].to_f32().unwrap());
            Buffer::from_f32(&port.dims, &first).unwrap()
        });
        let parameters: Vec<Buffer> = parameters.collect();
        let names: Vec<String> = program.parameters.iter().map(|p| p.name.clone()).collect();
        let mut bound = sessions.bind(program, "test", &parameters, 1).unwrap();
        assert_eq!(bound.inputs.features.len(), 1);
        bound.inputs.features[0]
            .as_f32_mut()
            .unwrap()
            .copy_from_slice(&values["input"]);
        bound
            .inputs
            .labels
            .as_ref()
            .unwrap()
            .as_i64_mut()
            .unwrap()
            .copy_from_slice(&labels);
        for (step, expected) in values["loss"].iter().enumerate() {
            for (noise, buffer) in bound.program.noise.iter().zip(&bound.inputs.noise) {
                let drawn = &values[&format!("noise/{}", noise.name)];
                let mut buffer = buffer.as_f32_mut().unwrap();
                let own = drawn.chunks_exact(buffer.len()).nth(step).unwrap();
                buffer.copy_from_slice(own);
            }
            bound.session.run_bound(&mut bound.binding).unwrap();
            let penalty = bound.penalty().unwrap().unwrap_or(0.0);
            let loss = bound.loss().unwrap() + penalty;
            assert!(
                (loss - expected).abs() < 1e-5 * expected.abs(),
                "{operators:?}, step {step}: {loss} {expected}"
            );
            for (name, (gradient, parameter)) in
                names.iter().zip(bound.gradients.iter().zip(&parameters))
            {
                let Some(first) = values.get(&format!("gradient/{name}")) else {
                    continue;
                };
                let gradient = gradient.read(|g| g.to_vec()).unwrap();
                if step == 0 {
                    let apart = apart(from_ref(&gradient), from_ref(first));
                    assert!(
                        apart < 1e-5,
                        "{operators:?}: the gradient of {name} is {apart:e} off"
                    );
                }
                if step == STEPS {
                    let found = [parameter.as_f32().unwrap().to_vec()];
                    let after = &values[&format!("after/{name}")];
                    let apart = apart(&found, from_ref(after));
                    assert!(
                        apart < 1e-6,
                        "{operators:?}: {name} is {apart:e} off after {STEPS} steps"
                    );
                    continue;
                }
                let mut own = parameter.as_f32_mut().unwrap();
                for (value, g) in own.iter_mut().zip(&gradient) {
                    *value -= RATE * g;
                }
            }
        }
    }
}

#[test]
fn adafilter_trains_as_in_pytorch() {
    let rewrite = Rewrite::AdaFilter(AdaFilter {
        weights: ["c1", "c2", "c3", "c4"]
            .map(|c| format!("{c}.weight"))
            .to_vec(),
        gate: FilterGate::Learned,
        start: GateStart::Half,
        width: 6,
        share: Some(TunedShare {
            target: Number(0.3),
            weight: Number(2.0),
        }),
        seed: 0,
        dependent: None,
    });
    holds("adafilter", &rewrite, 5, &[3, 9, 9]);
}

#[test]
fn spottune_trains_as_in_pytorch() {
    for (name, policy, width) in [
        ("spottune_conv", Policy::Conv, 2),
        ("spottune_features", Policy::Features, 6),
    ] {
        let own = |list: &[&str]| list.iter().map(|&w| w.to_owned()).collect();
        let divided: [Vec<String>; 2] = [own(&["c1", "c1/norm"]), own(&["c2", "c2/norm", "c3"])];
        let blocks = SpotTune::gateable(&case(name).0, &divided).unwrap();
        let ends: Vec<&str> = blocks.iter().map(|block| block.to.0.as_str()).collect();
        assert_eq!(ends, ["c1/norm", "c3", "c4"]);
        let rewrite = Rewrite::SpotTune(SpotTune {
            blocks: blocks.iter().map(|b| b.gated(&b.to.0)).collect(),
            policy,
            reads: PolicyInput {
                value: "x".to_owned(),
                rank: 4,
                channels: 3,
                channels_last: false,
            },
            width,
            start: GateStart::Half,
            seed: 0,
        });
        holds(name, &rewrite, 5, &[3, 9, 9]);
    }
}
