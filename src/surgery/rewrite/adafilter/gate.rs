//! The gate: a recurrent network over the layers, which chooses for each sample and output channel.
//!
//! The mean over space of what a layer reads, `z_l = P_l · mean(x_l) + p_l` of a common width, goes through one LSTM cell
//! (Hochreiter and Schmidhuber 1997) whose weights all layers share, with state 0 before the first layer:
//!
//! `i, o, f = σ(W z + R h + b)`, `a = tanh(W z + R h + b)`, `c_l = f ∘ c_{l−1} + i ∘ a`, `h_l = o ∘ tanh(c_l)`,
//!
//! each with rows of its own of `W`, `R` and `b`, in the order of ONNX's LSTM: i, o, f, a. `g_l = σ(V_l h_l + v_l) > ½`. The
//! threshold has the gradient 1 (straight-through), so that `V_l h_l + v_l` has that of the sigmoid. Layers follow each other
//! as they stand in the graph.
//!
//! Our reading: the width of `z` is that of `h`; biases of the forget gate begin at 1 (Jozefowicz et al. 2015), all other
//! weights evenly between ±1/√(inputs).

use crate::graph::{Attribute, Node};
use crate::onnx::DataType;

use super::super::super::SurgeryError;
use super::super::changes::Changes;
use super::super::choice::{Adder, GateStart, Place, drawn, threshold};
use super::part::{Part, rows};
use super::unit::Unit;
use super::{AdaFilter, FilterGate, name, of_all, prefix};

/// The parts of an LSTM cell: input gate, output gate, forget gate, cell.
const PARTS: usize = 4;
/// The place of the forget gate among them.
const FORGET: usize = 2;

/// Parameters of a layer alone.
const OF_LAYER: [&str; 4] = [
    "project/weight",
    "project/bias",
    "logits/weight",
    "logits/bias",
];

/// Of a `Gemm` whose weight is `[outputs, inputs]`.
const TURNED: (&str, Attribute) = ("transB", Attribute::Int(1));

fn of_cell(tensor: &str) -> String {
    of_all("lstm", tensor)
}

/// The parameters of the gate network.
pub(super) fn parameters(of: &AdaFilter) -> Vec<String> {
    let weights = &of.weights;
    // What came before is 0 for a single layer, which has no use of a forget gate either.
    let recurrence = (weights.len() > 1).then_some("recurrence");
    let cell = ["weight", "bias"].into_iter().chain(recurrence);
    let cell = cell.map(of_cell);
    let layers = weights.iter().enumerate().flat_map(|(place, weight)| {
        let is_asked = of.filters(place).is_none_or(|filters| !filters.is_empty());
        let parts = OF_LAYER
            .iter()
            .filter(move |p| is_asked || !p.starts_with("logits"));
        parts.map(move |part| name(weight, part))
    });
    cell.chain(layers).collect()
}

/// The gate of a layer.
pub(super) struct Gate {
    /// `[N, channels, 1, …]`, or for constant gates `[1, channels, 1, …]`.
    pub value: String,
    /// Whether it holds booleans.
    pub is_bool: bool,
    /// The mean of the gates, a single value, where the loss may ask for it.
    pub share: Option<String>,
}

/// The gate network, as far as it is made: what it remembers behind the last layer.
pub(super) struct Recurrent<'a> {
    of: &'a AdaFilter,
    opset: i64,
    /// h and c.
    state: Option<[String; 2]>,
    /// Whether the cell's weights are there.
    has_cell: bool,
}

impl<'a> Recurrent<'a> {
    /// Of a model of operator set `opset`.
    pub fn new(of: &'a AdaFilter, opset: i64) -> Self {
        Recurrent {
            of,
            opset,
            state: None,
            has_cell: false,
        }
    }

    /// Adds the gate of the next layer, which reads `reads`, for its filters.
    pub fn gate(
        &mut self,
        part: &Part<'_, '_>,
        reads: &str,
        place: Place,
        changes: &mut Changes,
        nodes: &mut Vec<Node>,
    ) -> Result<Gate, SurgeryError> {
        let Part {
            weight,
            unit,
            filters,
        } = *part;
        let (dtype, channels) = (place.dtype, filters.len());
        let spatial = unit.layer.weight.dims.len() - 2;
        let constant = match self.of.gate {
            FilterGate::Ones => Some(1.0),
            FilterGate::Zeros => Some(0.0),
            FilterGate::Learned | FilterGate::Random => None,
        };
        if let Some(value) = constant {
            let dims = [&[1, channels][..], &vec![1; spatial]].concat();
            let value =
                changes.tensor(name(weight, "gate"), dtype, &dims, &vec![value; channels])?;
            return Ok(Gate {
                value,
                is_bool: false,
                share: None,
            });
        }
        let hidden = self.step((weight, unit), reads, changes, nodes)?;
        let logits = self.logits(part, &hidden, changes, nodes)?;
        let wide: Vec<i64> = [&[0, channels as i64][..], &vec![1; spatial]].concat();
        let wide = changes.ints(name(weight, "wide"), &wide);
        let mut add = Adder::new(prefix(weight), nodes);
        let soft = add.op("soft", "Sigmoid", &[&logits]);
        let open = threshold(&soft, place, changes, &mut add)?;
        let mut share = None;
        if let Some(jump) = &open.jump {
            let one = ("keepdims", Attribute::Int(0));
            share = Some(add.with("share", "ReduceMean", &[&open.value], &[one]));
            // What was drawn teaches nobody: not the layers before, either.
            let of_whom = match self.of.gate {
                FilterGate::Random => &open.value,
                _ => jump,
            };
            changes.constants.push(of_whom.clone());
        }
        let value = add.op("gate", "Reshape", &[&open.value, &wide]);
        Ok(Gate {
            value,
            is_bool: open.is_bool,
            share,
        })
    }

    /// Adds one step of the cell, at a layer that reads `reads`, and gives h, `[N, width]`.
    pub fn step(
        &mut self,
        (weight, unit): (&str, &Unit<'_>),
        reads: &str,
        changes: &mut Changes,
        nodes: &mut Vec<Node>,
    ) -> Result<String, SurgeryError> {
        let dtype = unit.layer.weight.dtype;
        let groups = unit.layer.node.int("group", 1)?.max(1);
        let inputs = unit.layer.weight.dims[1].saturating_mul(usize::try_from(groups).unwrap_or(1));
        self.add_cell(dtype, changes)?;
        let of = |tensor: &str| name(weight, &format!("project/{tensor}"));
        let dims = [self.of.width, inputs];
        let fan = (inputs, 1.0);
        let values = drawn(
            self.of.seed,
            &name(weight, "project"),
            dims[0] * inputs,
            fan,
        );
        let project = [
            changes.parameter(of("weight"), dtype, &dims, &values)?,
            changes.parameter(of("bias"), dtype, &dims[..1], &vec![0.0; dims[0]])?,
        ];

        let mut add = Adder::new(prefix(weight), nodes);
        let linear = |add: &mut Adder<'_>, part: &str, inputs: &[&str]| {
            add.with(part, "Gemm", inputs, &[TURNED])
        };
        let pooled = add.op("pooled", "GlobalAveragePool", &[reads]);
        let flat = add.op("flat", "Flatten", &[&pooled]);
        let told = linear(&mut add, "told", &[&flat, &project[0], &project[1]]);
        let [weight, bias, recurrence] = ["weight", "bias", "recurrence"].map(of_cell);
        let mut sums = linear(&mut add, "of_told", &[&told, &weight, &bias]);
        if let Some([before, _]) = &self.state {
            sums = linear(&mut add, "sums", &[before, &recurrence, &sums]);
        }
        let width = self.of.width;
        let sizes = [(PARTS - 1) * width, width];
        let [gates, new] = add.split(["gates", "new"], &sums, sizes, self.opset, changes);
        let gates = add.op("gates/open", "Sigmoid", &[&gates]);
        let each = ["input", "output", "forget"];
        let [input, output, forget] = add.split(each, &gates, [width; 3], self.opset, changes);
        let new = add.op("cell", "Tanh", &[&new]);
        let mut cell = add.op("learned", "Mul", &[&input, &new]);
        if let Some([_, before]) = &self.state {
            let remembered = add.op("remembered", "Mul", &[&forget, before]);
            cell = add.op("state", "Add", &[&remembered, &cell]);
        }
        let squashed = add.op("squashed", "Tanh", &[&cell]);
        let hidden = add.op("hidden", "Mul", &[&output, &squashed]);
        self.state = Some([hidden.clone(), cell]);
        Ok(hidden)
    }

    /// Adds the logits of a layer's gates, `[N, filters]`.
    fn logits(
        &self,
        part: &Part<'_, '_>,
        hidden: &str,
        changes: &mut Changes,
        nodes: &mut Vec<Node>,
    ) -> Result<String, SurgeryError> {
        let Part {
            weight,
            unit,
            filters,
        } = *part;
        let (dtype, channels, width) = (unit.layer.weight.dtype, unit.channels(), self.of.width);
        let of = |tensor: &str| name(weight, &format!("logits/{tensor}"));
        let fan = (width, 1.0);
        let all = drawn(self.of.seed, &name(weight, "logits"), channels * width, fan);
        let own = rows(&all, channels, filters);
        let open = match self.of.start {
            GateStart::Tuned => 1.0,
            GateStart::Half => 0.0,
        };
        let dims = [filters.len(), width];
        let matrix = changes.parameter(of("weight"), dtype, &dims, &own)?;
        let bias = changes.parameter(of("bias"), dtype, &dims[..1], &vec![open; dims[0]])?;
        let mut add = Adder::new(prefix(weight), nodes);
        Ok(add.with("logits", "Gemm", &[hidden, &matrix, &bias], &[TURNED]))
    }

    /// Adds the weights of the cell, which all layers share.
    fn add_cell(&mut self, dtype: DataType, changes: &mut Changes) -> Result<(), SurgeryError> {
        if self.has_cell {
            return Ok(());
        }
        self.has_cell = true;
        let width = self.of.width;
        let known = parameters(self.of);
        let rows = PARTS * width;
        for name in ["weight", "recurrence"].map(of_cell) {
            if known.contains(&name) {
                let values = drawn(self.of.seed, &name, rows * width, (width, 1.0));
                changes.parameter(name, dtype, &[rows, width], &values)?;
            }
        }
        let mut bias = vec![0.0; rows];
        bias[FORGET * width..][..width].fill(1.0);
        changes.parameter(of_cell("bias"), dtype, &[rows], &bias)?;
        Ok(())
    }
}
