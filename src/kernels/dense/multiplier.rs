//! What multiplies.

use super::amx;
use super::pack::Matrix;
use super::product::lanes;

/// The two ways to multiply rows with a packed weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Multiplier {
    /// Vectors of the processor, whatever they are.
    Vectors,
    /// AMX's tiles.
    Tiles,
}

impl Multiplier {
    /// The faster one for `rows` rows times a weight.
    pub(super) fn of(matrix: &Matrix, rows: usize) -> Self {
        match amx::suits([rows, matrix.summed(), matrix.width]) {
            true => Multiplier::Tiles,
            false => Multiplier::Vectors,
        }
    }

    /// Floats of a packed weight per vector of result channels.
    pub(super) fn vector_len(self, matrix: &Matrix) -> usize {
        match self {
            Multiplier::Vectors => matrix.summed() * lanes(),
            Multiplier::Tiles => {
                amx::vector_len(matrix.taps.len() / matrix.run, matrix.depth * matrix.run)
            }
        }
    }
}
