//! What a repair came to.

use serde::Serialize;

/// What a repair came to. All errors are of pictures that no block was trained on: the root of the sum of squared differences
/// from the original's values over that of their squares.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// Pictures that blocks were trained on.
    pub trained_on: usize,
    /// Pictures of which the figures are, and by which epochs were chosen.
    pub held_back: usize,
    /// The blocks, from input to output.
    pub blocks: Vec<BlockFigures>,
    /// At the outputs.
    pub outputs: OutputFigures,
    /// Tensors whose values are others now.
    pub changed_tensors: usize,
    /// Tensors that are stored as integers, and trained as the floats that these stand for.
    pub integer_tensors: usize,
    /// Values between layers that are rounded to integers, in training, too.
    pub rounded_values: usize,
    /// Seconds.
    pub seconds: f64,
}

/// What became of a block.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BlockFigures {
    /// Its number, from 1.
    pub block: usize,
    /// The value that it begins at.
    pub from: String,
    /// The value that it ends at.
    pub to: String,
    /// That value in the original, where it has another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_in_original: Option<String>,
    /// Values at which blocks would end that the original has not in these dimensions: more than one block is joined in this.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub joined_at: Vec<String>,
    /// Trained tensors.
    pub tensors: usize,
    /// Their elements.
    pub parameters: usize,
    /// Of them, pruned ones, which stay 0.
    pub kept_zero: usize,
    /// Why some tensors of the block, or all, were not trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Relative error at its end, given what the repaired blocks before it compute: before it was trained.
    pub before: f64,
    /// The same afterwards, with values as the file has them.
    pub after: f64,
    /// Relative error at the outputs of the network, with the blocks up to this one repaired and those behind it as they were.
    pub outputs: f64,
    /// Where the block was trained and is left as it was all the same: the relative error at the outputs with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worse_outputs: Option<f64>,
    /// The epoch that was the best; 0 where none was better than what stood before, or nothing was trained.
    pub epoch: usize,
    /// The learning rate that it began with, as a share of the size of each parameter's values; `None` where nothing was
    /// trained.
    pub rate: Option<f32>,
    /// Seconds.
    pub seconds: f64,
}

/// The scores of the model, held against those of its original; before and after the repair.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OutputFigures {
    /// The value: the logits, where the model ends in a softmax or sigmoids.
    pub value: String,
    /// Relative error.
    pub relative_error: [f64; 2],
    /// Share of pictures for which model and original say the same: the same class first, or where each class is told by
    /// itself the same ones.
    pub agreement: [f64; 2],
}
