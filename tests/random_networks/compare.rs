//! One network, computed in every way there is.

use std::path::Path;

use ftsurgery::autodiff::Operators;
use ftsurgery::classifier::InputSpec;
use ftsurgery::data::{Dataset, Layout, OpenOptions, Preprocess};
use ftsurgery::onnx::Model;
use ftsurgery::runtime::Runtime;
use ftsurgery::surgery::{Grafted, HeadKind, HeadSpec, Rewrite, graft};
use ftsurgery::training::{
    BatchNormMode, Gradient, Lab, LabOptions, Start, Trained, TrainingError, trainable_parameters,
};
use ndarray::{Array1, ArrayD, IxDyn};
use ndarray_npy::NpzWriter;

use super::dice::Dice;
use super::draw::Drawn;
use super::oracle::Oracle;

/// Largest difference of two losses, relative to the loss or to 1.
const LOSS: f64 = 2e-5;
/// Largest difference of a gradient by our kernels from that by standard operators: of their norms, ...
const GRADIENT: f64 = 2e-4;
/// ... or of that of the largest gradient (or of 0.5, as far as logits go), where the own is zero but for rounding.
const ZERO: f64 = 2e-6;
/// Largest difference of a slope from the difference quotient, relative to the norm of the gradient;
/// what the quotient itself is uncertain by comes on top.
const SLOPE: f64 = 2e-3;
/// Rounding of a loss in single and in double precision, relative to the loss or to 1.
const NOISE: [f64; 2] = [2e-7, 1e-14];

/// What came of a network.
pub enum Verdict {
    /// All ways agree; of so many slopes, so many were told apart from a wrong one by a tenth, and so
    /// many in double precision.
    Agrees {
        slopes: usize,
        sharp: usize,
        double: usize,
    },
    /// onnxruntime does not run the original.
    Unrunnable(String),
    /// We refuse it, with a reason.
    Refused(String),
}

/// Compares a network, on data drawn from `seed`.
///
/// # Errors
/// What disagrees. A discrepancy counts if it is there with three batches of data: a kink that two ways
/// of rounding put on different sides is there with one.
pub fn check(runtime: &Runtime, drawn: &Drawn, seed: u64, work: &Path) -> Result<Verdict, String> {
    let fail = |what: &str, why: &dyn std::fmt::Display| format!("{what}: {why}");
    let mut original = match Oracle::original(runtime, drawn) {
        Ok(oracle) => oracle,
        Err(reason) => return Ok(Verdict::Unrunnable(reason)),
    };
    let (x, y) = drawn.data(seed);
    match original.loss(&x, &y) {
        Ok(loss) if loss.is_finite() => {}
        Ok(loss) => return Ok(Verdict::Unrunnable(format!("a loss of {loss}"))),
        Err(reason) => return Ok(Verdict::Unrunnable(reason)),
    }
    let path = Path::new("drawn.onnx");
    let model =
        Model::decode(drawn.bytes.clone().into(), path).map_err(|e| fail("decoding", &e))?;
    let refusal = |error: TrainingError| match error.is_bad_input() {
        true => Ok(Verdict::Refused(error.to_string())),
        false => Err(fail("an error that is no refusal", &error)),
    };
    let names = match trainable_parameters(&model, &drawn.sample) {
        Ok(names) => names,
        Err(error) => return refusal(error),
    };
    let net = &drawn.net;
    let lost = net.weights.iter().find(|name| !names.contains(name));
    // A single number that is added to the one output of a layer passes for its bias.
    let number = |name: &String| {
        net.graph
            .initializers
            .get(name)
            .is_some_and(|t| t.dims.is_empty())
    };
    let known =
        |name: &String| net.weights.contains(name) || net.factors.contains(name) || number(name);
    if let Some(name) = lost.or_else(|| names.iter().find(|name| !known(name))) {
        return Err(format!(
            "`{name}` is a weight that is not found, or found and none"
        ));
    }
    let mut dice = Dice::new(!seed);
    let mut trained = names;
    if dice.chance(30) {
        let all = trained.len();
        trained.retain(|_| dice.chance(40));
        if trained.is_empty() || trained.len() == all {
            return Ok(Verdict::Agrees {
                slopes: 0,
                sharp: 0,
                double: 0,
            });
        }
    }
    let head = HeadSpec::new(HeadKind::Keep, 2, 0);
    let network = graft(&model, None, &head).map_err(|e| fail("keeping the head", &e))?;
    let mut oracle = Oracle::open(runtime, drawn, &trained)?;
    let mut found = Vec::new();
    for batch in 0..3 {
        let (x, y) = drawn.data(seed + batch * (1 << 32));
        let lab = Bench {
            runtime,
            network: &network,
            drawn,
            x: &x,
            y: &y,
            work,
        };
        let computed = match lab.gradients(&trained) {
            Ok(computed) => computed,
            Err(error) => return refusal(error),
        };
        let loss = original.loss(&x, &y)?;
        let outcome = computed
            .agree(loss)
            .and_then(|()| slopes(&mut oracle, &computed, (&x, &y), &mut dice));
        match outcome {
            Ok(verdict) => return Ok(verdict),
            Err(why) => found.push(why),
        }
    }
    Err(found.join("; with other data: "))
}

/// A network and a batch of data.
struct Bench<'a> {
    runtime: &'a Runtime,
    network: &'a Grafted,
    drawn: &'a Drawn,
    x: &'a [f32],
    y: &'a [i64],
    work: &'a Path,
}

/// Loss and gradients by both kinds of operators, and the loss of the evaluation's graph.
struct Computed {
    kernels: (f32, Vec<Gradient>),
    standard: (f32, Vec<Gradient>),
    evaluation: f64,
}

impl Bench<'_> {
    fn gradients(&self, trained: &[String]) -> Result<Computed, TrainingError> {
        let drawn = self.drawn;
        let (layout, [channels, height, width]) = match (drawn.channels_last, &drawn.sample[..]) {
            (true, &[h, w, c]) => (Layout::Nhwc, [c, h, w]),
            (_, &[c, h, w]) => (Layout::Nchw, [c, h, w]),
            _ => unreachable!("samples have three dimensions"),
        };
        let path = self.work.join("batch.npz");
        self.write([channels, height, width], layout, &path);
        let open = OpenOptions::new(height, width, channels);
        let data = Dataset::open(&path, &open)?;
        let rows: Vec<usize> = (0..data.len()).collect();
        let lab = |operators| {
            let options = LabOptions::default()
                .threads(1)
                .memory_budget(1 << 28)
                .spill_dir(self.work.to_owned())
                .operators(operators);
            let input = InputSpec {
                preprocess: Preprocess::UNIT,
                layout,
            };
            Lab::new(self.runtime, self.network, &data, input, options)
        };
        let of = Trained {
            parameters: trained,
            batch_norm: BatchNormMode::Frozen,
            rewrite: &Rewrite::None,
        };
        let kernels = lab(Operators::Kernels)?;
        let values: Vec<(String, Vec<f32>)> = trained
            .iter()
            .map(|name| (name.clone(), self.stored(name)))
            .collect();
        let logits = kernels.logits(&Rewrite::None, &values, &rows)?;
        let classes = logits.classes;
        let scores = logits.values.chunks(classes).zip(self.y);
        let entropy = |(row, label): (&[f32], &i64)| {
            let row: Vec<f64> = row.iter().map(|&v| v.into()).collect();
            let most = row.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = row.iter().map(|v| (v - most).exp()).sum();
            most + sum.ln() - row[*label as usize]
        };
        Ok(Computed {
            kernels: kernels.gradients(of, &Start::default(), &rows)?,
            standard: lab(Operators::Standard)?.gradients(of, &Start::default(), &rows)?,
            evaluation: scores.map(entropy).sum::<f64>() / rows.len() as f64,
        })
    }

    fn stored(&self, name: &str) -> Vec<f32> {
        let graph = &self.drawn.net.graph;
        let constant = || {
            let mut nodes = graph.nodes.iter();
            let node = nodes.find(|n| n.is("Constant") && n.output(0) == Some(name))?;
            match node.attributes.get("value")? {
                ftsurgery::graph::Attribute::Tensor(tensor) => tensor.to_f32(),
                _ => None,
            }
        };
        let initializer = graph.initializers.get(name);
        initializer
            .and_then(|tensor| tensor.to_f32())
            .or_else(constant)
            .expect("a weight of the network")
    }

    /// The batch as a file; its samples have their channels first, whatever the model's input.
    fn write(&self, [c, h, w]: [usize; 3], layout: Layout, path: &Path) {
        let n = self.y.len();
        let dims = match layout {
            Layout::Nchw => [n, c, h, w],
            Layout::Nhwc => [n, h, w, c],
        };
        let mut x = ArrayD::from_shape_vec(IxDyn(&dims), self.x.to_vec()).expect("its dimensions");
        if layout == Layout::Nhwc {
            x = x
                .permuted_axes(IxDyn(&[0, 3, 1, 2]))
                .as_standard_layout()
                .into_owned();
        }
        let mut npz = NpzWriter::new(std::fs::File::create(path).expect("a file"));
        npz.add_array("x", &x).expect("room");
        npz.add_array("y", &Array1::from(self.y.to_vec()))
            .expect("room");
        npz.finish().expect("room");
    }
}

impl Computed {
    /// Holds losses against `original`, and the two gradients against each other.
    fn agree(&self, original: f64) -> Result<(), String> {
        let allowed = LOSS * original.abs().max(1.0);
        for (how, loss) in [
            ("kernels", f64::from(self.kernels.0)),
            ("standard operators", f64::from(self.standard.0)),
            ("evaluation", self.evaluation),
        ] {
            let apart = (loss - original).abs();
            if apart.is_nan() || apart > allowed {
                return Err(format!("loss {loss} by {how}, {original} by onnxruntime"));
            }
        }
        let largest = self
            .standard
            .1
            .iter()
            .map(|g| norm(&g.values))
            .fold(0.0, f64::max);
        for (ours, standard) in self.kernels.1.iter().zip(&self.standard.1) {
            let pairs = ours.values.iter().zip(&standard.values);
            let apart: Vec<f32> = pairs.map(|(a, b)| a - b).collect();
            let (apart, size) = (norm(&apart), norm(&standard.values));
            if apart.is_nan() || apart > (GRADIENT * size).max(ZERO * largest.max(0.5)) {
                return Err(format!(
                    "gradients of `{}` {:?} by kernels and standard operators differ by {apart:.3e}; \
                     the norm is {size:.3e}, the largest {largest:.3e}",
                    ours.name, ours.dims
                ));
            }
        }
        Ok(())
    }
}

/// Holds the gradients against differences of the original's loss along random directions.
fn slopes(
    oracle: &mut Oracle<'_>,
    computed: &Computed,
    (x, y): (&[f32], &[i64]),
    dice: &mut Dice,
) -> Result<Verdict, String> {
    let gradients = &computed.standard.1;
    let smooth = oracle.is_smooth();
    let loss = f64::from(computed.standard.0).abs().max(1.0);
    let noise = NOISE[usize::from(oracle.is_double())] * loss;
    let (mut sharp, mut double) = (0, 0);
    let norms = gradients.iter().map(|g| norm(&g.values));
    let largest = norms.fold(0.5, f64::max);
    for (index, gradient) in gradients.iter().enumerate() {
        let direction = dice.signs(gradient.values.len());
        let pairs = gradient.values.iter().zip(&direction);
        let slope: f64 = pairs.map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        let weight = oracle.weight(index);
        let deviation = norm(&weight) / (weight.len() as f64).sqrt();
        let mut at = |step| oracle.loss_at(x, y, Some((index, &direction, step)));
        let mut quotients = quotients(&mut at, 0.05 * deviation.max(0.05), noise)?;
        let size = norm(&gradient.values);
        let uncertain = quotients[0].1;
        if smooth {
            quotients.truncate(1);
        }
        let fits = |&(quotient, uncertain): &(f64, f64)| {
            (slope - quotient).abs() <= SLOPE * size + ZERO * largest + uncertain
        };
        if !quotients.iter().any(fits) {
            return Err(format!(
                "the slope of `{}` {:?} is {slope:.6e}, by differences {:.6e} ± {uncertain:.1e}; the \
                 norm is {size:.3e}",
                gradient.name, gradient.dims, quotients[0].0
            ));
        }
        sharp += usize::from(uncertain < 0.1 * size);
        double += usize::from(oracle.is_double());
    }
    Ok(Verdict::Agrees {
        slopes: gradients.len(),
        sharp,
        double,
    })
}

/// Slopes at 0 of a function whose values are known to `noise`, and how uncertain each is; the most
/// certain first.
///
/// Central differences of steps that are halved come closer until rounding drives them apart again: each
/// three in turn give a slope, uncertain by what they differ by and by the noise over the step. Where
/// steps reach beyond kinks they can agree on another slope than that at 0.
fn quotients(
    at: &mut dyn FnMut(f64) -> Result<f64, String>,
    largest: f64,
    noise: f64,
) -> Result<Vec<(f64, f64)>, String> {
    let mut quotients = Vec::new();
    for halvings in 0..9 {
        let step = largest / f64::from(1 << halvings);
        quotients.push(((at(step)? - at(-step)?) / (2.0 * step), step));
    }
    let of = |three: &[(f64, f64)]| {
        let [(a, _), (b, _), (c, step)] = *three else {
            return (0.0, f64::INFINITY);
        };
        (c, 2.0 * (a - c).abs().max((b - c).abs()) + noise / step)
    };
    let mut slopes: Vec<(f64, f64)> = quotients.windows(3).map(of).collect();
    slopes.sort_by(|a, b| a.1.total_cmp(&b.1));
    Ok(slopes)
}

fn norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|&v| f64::from(v).powi(2))
        .sum::<f64>()
        .sqrt()
}
