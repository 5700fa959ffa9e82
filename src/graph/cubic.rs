//! Resizes by cubic curves.

use crate::onnx::{DataType, Tensor};

use super::{Builder, Graph, GraphError, Node, Shapes, to_i64};

/// Has cubic `Resize` nodes work on `[1, N·C, H, W]` in place of `[N, C, H, W]`, which is the same and costs
/// nothing: `shapes` gets the new values.
///
/// onnxruntime moves a transposition before a Resize behind it, and then refuses a cubic one that reduces,
/// because it has no such kernel for the axes as they then lie. It moves none past a Reshape.
///
/// # Errors
/// When an attribute is of another type than ONNX gives it, or a shape is unknown.
pub fn part_cubic_resizes(graph: &mut Graph, shapes: &mut Shapes) -> Result<(), GraphError> {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        // `axes` would count other ones.
        if !node.is("Resize")
            || node.string("mode", "nearest")? != "cubic"
            || node.attributes.contains_key("axes")
        {
            continue;
        }
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
            continue;
        };
        let (Ok(info), Ok(&[m, d, to_h, to_w])) = (shapes.info(x), shapes.dims(y)) else {
            continue;
        };
        let &[n, c, h, w] = info.dims.as_slice() else {
            continue;
        };
        if [n, c] != [m, d] || info.dtype != DataType::Float {
            continue;
        }
        let sizes = match node.input(3) {
            None => None,
            Some(sizes) => match graph.initializers.get(sizes).and_then(Tensor::to_i64) {
                Some(sizes) if sizes.len() == 4 => Some([1, (n * c) as i64, sizes[2], sizes[3]]),
                _ => continue,
            },
        };
        let (x, y) = (x.to_owned(), y.to_owned());
        let mut builder = Builder::new(graph);
        let joined = builder.ints(&to_i64(&[1, n * c, h, w]));
        let apart = builder.ints(&to_i64(&[n, c, to_h, to_w]));
        let hint = format!("{y}/joined");
        let from = builder.op(&hint, "Reshape", &[&x, &joined], vec![]);
        let to = builder.fresh(&format!("{y}/resized"));
        let name = builder.fresh(&format!("{y}/apart"));
        let sizes = sizes.map(|s| builder.ints(&s));
        shapes.insert(&from, DataType::Float, &[1, n * c, h, w]);
        shapes.insert(&to, DataType::Float, &[1, n * c, to_h, to_w]);
        let resize = &mut graph.nodes[index];
        resize.inputs[0] = from;
        resize.outputs = vec![to.clone()];
        if let Some(sizes) = sizes {
            resize.inputs[3] = sizes;
        }
        graph
            .nodes
            .push(Node::new(&name, "Reshape", &[&to, &apart], &[&y]));
    }
    graph.sort()
}
