//! A model in normal form at fixed dimensions, from which the graphs of a trial are cut.

use std::collections::HashMap;

use crate::batch::{batch_of_export, free_batch};
use crate::classifier::room;
use crate::graph::{
    Graph, Node, Shapes, Value, fold_constants, infer_shapes, normalise, part_cubic_resizes,
    refuse_untrainable, to_float32, write_overhangs_as_pads,
};
use crate::onnx::{DataType, Model};
use crate::surgery::{BatchNorm, Dropout, fold_batch_norm, logits};

use crate::training::TrainingError;

/// A model in normal form at fixed input dimensions.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The graph, whose one output is the logits.
    pub graph: Graph,
    /// Types and dimensions of its values.
    pub shapes: Shapes,
    /// Name of the input.
    pub input: String,
    /// Name of the logits.
    pub logits: String,
    /// Number of classes.
    pub classes: usize,
    /// The BatchNormalizations that take the statistics of the batch in a step.
    pub batch_norms: Vec<BatchNorm>,
    /// The batch size of the export, where the graph had to be freed from it.
    pub freed: Option<usize>,
    /// How much a sample of each class counts in a step's loss, see
    /// [`cross_entropy`](crate::autodiff::cross_entropy); `None` counts each 1.
    pub class_weights: Option<Vec<f32>>,
}

/// Dimensions of one sample as the model's input wants it: the input's dimensions behind the batch.
pub type SampleDims = Vec<usize>;

impl Prepared {
    /// Brings `model` to normal form for `batch` samples of dimensions `sample`.
    ///
    /// # Errors
    /// When the model has operators that cannot be trained through, several inputs, or its shapes
    /// do not work out at these dimensions.
    pub fn new(model: &Model, batch: usize, sample: &[usize]) -> Result<Self, TrainingError> {
        let mut graph = Graph::from_model(model)?;
        refuse_untrainable(&graph)?;
        normalise(&mut graph)?;
        to_float32(&mut graph)?;
        let [input] = graph.inputs.as_slice() else {
            if graph.inputs.is_empty() {
                return Err(TrainingError::Mismatch("the model has no input".into()));
            }
            let names: Vec<_> = graph.inputs.iter().map(|i| i.name.as_str()).collect();
            return Err(TrainingError::Mismatch(format!(
                "the model has the inputs {}; only models of one input can be trained",
                names.join(", ")
            )));
        };
        let freed = batch_of_export(input).filter(|&n| n != batch);
        if !input.dtype.is_float() {
            return Err(TrainingError::Mismatch(format!(
                "the model's input `{}` is {:?}; only models of a float input can be trained",
                input.name, input.dtype
            )));
        }
        let input = input.name.clone();
        if freed.is_some() {
            free_batch(&mut graph)?;
        }
        let logits = logits(&graph)?;
        graph.outputs = vec![Value {
            name: logits.clone(),
            dtype: DataType::Float,
            dims: None,
        }];
        graph.prune();
        let mut dims = vec![batch];
        dims.extend(sample);
        let mut shapes = infer_shapes(&graph, &HashMap::from([(input.clone(), dims.clone())]))?;
        room(&graph, &shapes, batch)?;
        fold_constants(&mut graph, &shapes);
        write_overhangs_as_pads(&mut graph, &mut shapes)?;
        part_cubic_resizes(&mut graph, &mut shapes)?;
        graph.inputs = vec![Value::fixed(&input, DataType::Float, &dims)];
        let logit_dims = shapes.dims(&logits)?.to_vec();
        let classes = match logit_dims.as_slice() {
            [n, classes, rest @ ..] if *n == batch && rest.iter().all(|&d| d == 1) => *classes,
            _ => {
                return Err(TrainingError::Mismatch(format!(
                    "the model's output has dimensions {logit_dims:?} for {batch} samples; \
                     a classifier has one row of class scores per sample"
                )));
            }
        };
        graph.outputs = vec![Value::fixed(&logits, DataType::Float, &logit_dims)];
        Ok(Prepared {
            graph,
            shapes,
            input,
            logits,
            classes,
            batch_norms: Vec::new(),
            freed,
            class_weights: None,
        })
    }

    /// Folds batch normalisation with stored statistics into the convolutions before it.
    ///
    /// # Errors
    /// When the graph is malformed.
    pub fn fold(&mut self) -> Result<(), TrainingError> {
        let norms = self.batch_norms.iter();
        let except: Vec<&str> = norms.map(|n| n.output.as_str()).collect();
        fold_batch_norm(&mut self.graph, &self.shapes, &except)?;
        self.refresh_shapes()
    }

    fn refresh_shapes(&mut self) -> Result<(), TrainingError> {
        let inputs = self
            .graph
            .inputs
            .iter()
            .map(|v| Ok((v.name.clone(), self.shapes.dims(&v.name)?.to_vec())))
            .collect::<Result<HashMap<_, _>, TrainingError>>()?;
        self.shapes = infer_shapes(&self.graph, &inputs)?;
        Ok(())
    }

    /// Inserts dropout: each named value is multiplied by a mask, an additional input `[batch, width]`
    /// of zeros and 1/(1 − ratio). Returns the masks' names and widths.
    pub(super) fn insert_dropout(
        &mut self,
        dropout: &[Dropout],
        batch: usize,
    ) -> Result<Vec<Mask>, TrainingError> {
        let mut masks = Vec::new();
        for (i, drop) in dropout.iter().enumerate().filter(|(_, d)| d.ratio > 0.0) {
            let mask = format!("ftsurgery/dropout_mask_{i}");
            let dropped = format!("{}/dropped", drop.value);
            self.graph.replace_uses(&drop.value, &dropped);
            let node = Node::new(&dropped, "Mul", &[&drop.value, &mask], &[&dropped]);
            self.graph.nodes.push(node);
            let dims = [batch, drop.width];
            self.graph
                .inputs
                .push(Value::fixed(&mask, DataType::Float, &dims));
            self.shapes.insert(&mask, DataType::Float, &dims);
            masks.push(Mask {
                name: mask,
                ratio: drop.ratio,
                width: drop.width,
            });
        }
        self.graph.sort()?;
        self.refresh_shapes()?;
        Ok(masks)
    }
}

/// A dropout mask that a step reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    /// Name of the input.
    pub name: String,
    /// Share of values that are dropped.
    pub ratio: f32,
    /// Values per sample.
    pub width: usize,
}
