//! Resizes by cubic curves, on maps that are laid out plain for them.

use crate::graph::{GraphError, Node};
use crate::onnx::Tensor;

use super::layout::Walk;

impl Walk<'_, '_> {
    /// onnxruntime moves the transposition that makes a map plain behind the Resize, and then refuses a
    /// cubic one that reduces, because it has no such kernel channels-last. `[1, N·C, H, W]` in place of
    /// `[N, C, H, W]` keeps the two apart and costs nothing.
    pub(super) fn cubic_resize(&mut self, node: &Node) -> Result<bool, GraphError> {
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
            return Ok(false);
        };
        let cubic = node.string("mode", "nearest")? == "cubic";
        // `axes` would count other ones.
        if !cubic || !self.prefers_turned(x) || node.attributes.contains_key("axes") {
            return Ok(false);
        }
        let (Ok(&[n, c, h, w]), Ok(&[m, d, to_h, to_w])) =
            (self.shapes.dims(x), self.shapes.dims(y))
        else {
            return Ok(false);
        };
        if [n, c] != [m, d] {
            return Ok(false);
        }
        let dims = |of: [usize; 4]| of.map(|d| d as i64);
        let joined = self.builder.ints(&dims([1, n * c, h, w]));
        let apart = self.builder.ints(&dims([n, c, to_h, to_w]));
        let x = self.plain(x)?;
        let hint = format!("{y}/joined");
        let x = self.builder.op(&hint, "Reshape", &[&x, &joined], vec![]);
        let mut resize = node.clone();
        resize.inputs[0] = x;
        if let Some(sizes) = node.input(3).filter(|s| !s.is_empty()) {
            let tensor = self.builder.graph().initializers.get(sizes);
            let Some(of_all) = tensor.and_then(Tensor::to_i64).filter(|s| s.len() == 4) else {
                return Ok(false);
            };
            resize.inputs[3] = self
                .builder
                .ints(&[1, (n * c) as i64, of_all[2], of_all[3]]);
        }
        let resized = self.builder.fresh(&format!("{y}/resized"));
        resize.outputs = vec![resized.clone()];
        self.push(resize);
        let name = self.builder.fresh(&format!("{y}/apart"));
        self.push(Node::new(&name, "Reshape", &[&resized, &apart], &[y]));
        Ok(true)
    }
}
