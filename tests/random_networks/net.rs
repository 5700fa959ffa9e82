//! A network under construction, in the words of the operator set that it is written in.

use ftsurgery::graph::{Attribute, Dim, Graph, Node, Value};
use ftsurgery::onnx::{DataType, Tensor};

use super::dice::Dice;

/// Name of the input.
pub const INPUT: &str = "x";

/// What the output of a network is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    Logits,
    Softmax,
    LogSoftmax,
}

/// How the weights of a network are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Storage {
    Float,
    /// float16, with a `Cast` before each use.
    Half,
    /// double, with a `Cast` before each use.
    Double,
    /// In `Constant` nodes.
    Constants,
    /// Behind an `Identity`.
    Aliased,
}

/// A map `[batch, channels, height, width]`.
#[derive(Clone, Debug)]
pub struct Map {
    pub name: String,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Map {
    pub fn new(name: String, [channels, height, width]: [usize; 3]) -> Self {
        Map {
            name,
            channels,
            height,
            width,
        }
    }

    pub fn dims(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    pub fn pixels(&self) -> usize {
        self.height * self.width
    }
}

pub struct Net {
    pub dice: Dice,
    pub graph: Graph,
    /// Initializers (or outputs of `Constant` nodes) that are weights of layers: each must be found.
    pub weights: Vec<String>,
    /// Those that the data is multiplied with, or that are added to it: some count as settings, as a
    /// single number does, or what stands before the first layer.
    pub factors: Vec<String>,
    /// No kinks: neither ReLU nor maxima.
    pub smooth: bool,
    /// Exported for one image: a batch of 1 is written into input and reshapes.
    pub one_image: bool,
    pub storage: Storage,
    /// Maps that a later stage may join.
    pub earlier: Vec<Map>,
    /// What was drawn, for the report of a failure.
    pub story: Vec<String>,
    count: usize,
}

impl Net {
    /// A network whose kind is drawn.
    pub fn drawn(mut dice: Dice, opset: i64) -> Self {
        let storages = [
            Storage::Half,
            Storage::Double,
            Storage::Constants,
            Storage::Aliased,
        ];
        let storage = match dice.chance(35) {
            true => dice.pick(&storages),
            false => Storage::Float,
        };
        let (smooth, one_image) = (dice.chance(40), dice.chance(25));
        Net {
            storage,
            smooth,
            one_image,
            ..Net::new(dice, opset)
        }
    }

    /// A network for batches of any size, with kinks and plain weights.
    pub fn new(dice: Dice, opset: i64) -> Self {
        Net {
            graph: Graph::new(opset),
            weights: vec![],
            factors: vec![],
            smooth: false,
            one_image: false,
            storage: Storage::Float,
            earlier: vec![],
            story: vec![],
            count: 0,
            dice,
        }
    }

    /// How far the network has come, for [`Net::back_to`].
    pub fn mark(&self) -> [usize; 4] {
        [
            self.graph.nodes.len(),
            self.graph.initializers.len(),
            self.weights.len(),
            self.factors.len(),
        ]
    }

    /// Takes back all that was added since.
    pub fn back_to(&mut self, [nodes, initializers, weights, factors]: [usize; 4]) {
        self.graph.nodes.truncate(nodes);
        self.graph.initializers.truncate(initializers);
        self.weights.truncate(weights);
        self.factors.truncate(factors);
    }

    pub fn opset(&self) -> i64 {
        self.graph.opset
    }

    fn fresh(&mut self, hint: &str) -> String {
        self.count += 1;
        format!("{hint}_{}", self.count)
    }

    /// Declares the input, of `sample` behind the batch.
    pub fn input(&mut self, sample: &[usize]) -> String {
        let mut input = Value::batched(INPUT, sample);
        if let (true, Some(dims)) = (self.one_image, &mut input.dims) {
            dims[0] = Dim::Known(1);
        }
        self.graph.inputs.push(input);
        INPUT.to_owned()
    }

    /// Declares the output.
    pub fn output(&mut self, name: &str) {
        self.graph.outputs.push(Value {
            name: name.to_owned(),
            dtype: DataType::Float,
            dims: None,
        });
    }

    pub fn op(&mut self, op: &str, inputs: &[&str], with: &[(&str, Attribute)]) -> String {
        self.ops(op, inputs, 1, with).remove(0)
    }

    /// A node of several outputs.
    pub fn ops(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: usize,
        with: &[(&str, Attribute)],
    ) -> Vec<String> {
        let names: Vec<String> = (0..outputs).map(|_| self.fresh(op)).collect();
        let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut node = Node::new(&names[0], op, inputs, &borrowed);
        for (name, value) in with {
            node = node.with(name, value.clone());
        }
        self.graph.nodes.push(node);
        names
    }

    pub fn constant(&mut self, tensor: Tensor) -> String {
        let name = self.fresh("constant");
        self.graph.initializers.insert(name.clone(), tensor);
        name
    }

    pub fn ints(&mut self, values: &[i64]) -> String {
        self.constant(Tensor::i64s(values))
    }

    pub fn scalar(&mut self, value: f32) -> String {
        self.constant(Tensor::scalar_f32(value))
    }

    /// A weight of random values around `middle`, stored as the network stores its weights.
    pub fn weight(&mut self, dims: &[usize], middle: f32, deviation: f32) -> String {
        let name = self.fresh("weight");
        self.weights.push(name.clone());
        self.stored(name, dims, middle, deviation)
    }

    /// The same for a factor or summand.
    pub fn factor(&mut self, dims: &[usize], middle: f32, deviation: f32) -> String {
        let name = self.fresh("factor");
        self.factors.push(name.clone());
        self.stored(name, dims, middle, deviation)
    }

    fn stored(&mut self, name: String, dims: &[usize], middle: f32, deviation: f32) -> String {
        let count = dims.iter().product();
        let values = self.dice.values(count, deviation);
        let values: Vec<f32> = values.iter().map(|v| v + middle).collect();
        let mut tensor = Tensor::f32(dims, &values);
        let stored_as = match self.storage {
            Storage::Half => DataType::Float16,
            Storage::Double => DataType::Double,
            _ => DataType::Float,
        };
        if stored_as != DataType::Float {
            let empty = Tensor {
                dtype: stored_as,
                dims: dims.to_vec(),
                data: vec![0; count * stored_as.size()].into(),
            };
            tensor = empty.with_f32_values(&values).expect("float types");
        }
        if self.storage == Storage::Constants && count > 1 {
            let node = Node::new(&name, "Constant", &[], &[&name]).with("value", tensor);
            self.graph.nodes.push(node);
            return name;
        }
        self.graph.initializers.insert(name.clone(), tensor);
        match self.storage {
            Storage::Half | Storage::Double => self.op("Cast", &[&name], &[("to", 1.into())]),
            Storage::Aliased if self.dice.chance(40) => self.op("Identity", &[&name], &[]),
            _ => name,
        }
    }

    /// A convolution's or product's weight: its sums keep the size of what they sum.
    pub fn kernel(&mut self, dims: &[usize], terms: usize) -> String {
        self.weight(dims, 0.0, 1.2 / (terms.max(1) as f32).sqrt())
    }

    pub fn bias(&mut self, count: usize) -> String {
        self.weight(&[count], 0.0, 0.3)
    }

    /// The first number of a `Reshape`'s target: the batch.
    pub fn batch(&mut self) -> i64 {
        i64::from(self.one_image)
    }

    pub fn reshape(&mut self, x: &str, to: &[i64]) -> String {
        let to = self.ints(to);
        self.op("Reshape", &[x, &to], &[])
    }

    pub fn transpose(&mut self, x: &str, order: &[i64]) -> String {
        self.op("Transpose", &[x], &[("perm", order.to_vec().into())])
    }

    /// ReduceMean and its like.
    pub fn reduce(&mut self, op: &str, x: &str, axes: &[i64], keep: bool) -> String {
        let keep = ("keepdims", i64::from(keep).into());
        if self.opset() < if op == "ReduceSum" { 13 } else { 18 } {
            return self.op(op, &[x], &[("axes", axes.to_vec().into()), keep]);
        }
        let axes = self.ints(axes);
        self.op(op, &[x, &axes], &[keep])
    }

    /// Squeeze or Unsqueeze.
    pub fn rank(&mut self, op: &str, x: &str, axes: &[i64]) -> String {
        if self.opset() < 13 {
            return self.op(op, &[x], &[("axes", axes.to_vec().into())]);
        }
        let axes = self.ints(axes);
        self.op(op, &[x, &axes], &[])
    }

    pub fn pad(&mut self, x: &str, mode: &str, pads: &[i64], value: f32) -> String {
        let mode = ("mode", mode.into());
        if self.opset() < 11 {
            let with = [
                mode,
                ("pads", pads.to_vec().into()),
                ("value", value.into()),
            ];
            return self.op("Pad", &[x], &with);
        }
        let (pads, value) = (self.ints(pads), self.scalar(value));
        self.op("Pad", &[x, &pads, &value], &[mode])
    }

    /// Slices one axis; steps other than 1 came with opset 10.
    pub fn slice(&mut self, x: &str, axis: i64, start: i64, end: i64, step: i64) -> String {
        if self.opset() < 10 {
            let of = |v: i64| Attribute::from(vec![v]);
            let with = [("axes", of(axis)), ("starts", of(start)), ("ends", of(end))];
            return self.op("Slice", &[x], &with);
        }
        let inputs = [start, end, axis, step].map(|v| self.ints(&[v]));
        let [start, end, axis, step] = inputs.each_ref().map(String::as_str);
        self.op("Slice", &[x, start, end, axis, step], &[])
    }

    pub fn split(&mut self, x: &str, axis: i64, sizes: &[usize]) -> Vec<String> {
        let parts: Vec<i64> = sizes.iter().map(|&s| s as i64).collect();
        let axis = ("axis", axis.into());
        if self.opset() < 13 {
            let with = [axis, ("split", parts.into())];
            return self.ops("Split", &[x], sizes.len(), &with);
        }
        let parts = self.ints(&parts);
        self.ops("Split", &[x, &parts], sizes.len(), &[axis])
    }

    pub fn clip(&mut self, x: &str, low: f32, high: f32) -> String {
        if self.opset() < 11 {
            return self.op("Clip", &[x], &[("min", low.into()), ("max", high.into())]);
        }
        let (low, high) = (self.scalar(low), self.scalar(high));
        self.op("Clip", &[x, &low, &high], &[])
    }
}
