//! Pools whose last windows may hang over the end of what they read.

use super::{Builder, Graph, GraphError, Padding, Shapes, WindowAttributes, WindowError, to_i64};

/// Writes `ceil_mode` of pools as pads at the end, which is the same at the dimensions of `shapes`.
///
/// A window is left out if it would begin behind the input and the padding before it (the ONNX pages of
/// [MaxPool](https://onnx.ai/onnx/operators/onnx__MaxPool.html) and AveragePool): a kernel and stride of 2
/// with pads of 1 over 7 rows give 4, not 5. onnxruntime leaves it out, too, when it runs, but counts it
/// in the shapes that it infers beforehand, and then fails on the difference. Without `ceil_mode` there
/// is none.
///
/// An average that counts its padding does not count what hangs over that: its padding becomes a `Pad`
/// before it, whose value `shapes` gets.
///
/// Pads as large as the kernel stay an overhang, because onnxruntime refuses them. One window that hangs over the whole
/// map, as that of a network's last pooling may be written, becomes a global pool.
///
/// # Errors
/// When an attribute is of another type than ONNX gives it.
pub fn write_overhangs_as_pads(graph: &mut Graph, shapes: &mut Shapes) -> Result<(), GraphError> {
    let mut counted = Vec::new();
    for (index, node) in graph.nodes.iter_mut().enumerate() {
        if !(node.is("MaxPool") || node.is("AveragePool")) || node.int("ceil_mode", 0)? == 0 {
            continue;
        }
        let dims = |value: Option<&str>| value.and_then(|v| shapes.dims(v).ok());
        let (Some(x), Some(y)) = (dims(node.input(0)), dims(node.output(0))) else {
            continue;
        };
        let axes = x.len().saturating_sub(2);
        let said = match WindowAttributes::read(node, axes) {
            Ok(said) if x.len() == y.len() && axes > 0 => said,
            Ok(_) | Err(WindowError::Uncovered(_)) => continue,
            Err(WindowError::Graph(error)) => return Err(error),
        };
        let (Some(kernel), Padding::Explicit(pads)) = (said.kernel, said.padding) else {
            continue;
        };
        let (kernel, mut pads) = (to_i64(&kernel), to_i64(&pads));
        let (strides, dilations) = (to_i64(&said.strides), to_i64(&said.dilations));
        let (x, y) = (to_i64(&x[2..]), to_i64(&y[2..]));
        let covers = |a: usize| y[a] == 1 && dilations[a] == 1 && kernel[a] - pads[a] > x[a];
        let is_padded = pads.iter().any(|&p| p != 0);
        let counts_padding = is_padded && node.int("count_include_pad", 0)? != 0;
        if (0..axes).all(covers) && !counts_padding && node.outputs.len() == 1 {
            node.op_type = format!("Global{}", node.op_type);
            node.attributes.clear();
            continue;
        }
        let declared = pads.clone();
        let mut fits = true;
        for a in 0..axes {
            // In 128 bits no product of two sizes overflows.
            let last = i128::from(y[a] - 1) * i128::from(strides[a]);
            let reach = last + i128::from(kernel[a] - 1) * i128::from(dilations[a]) + 1;
            let padded = i128::from(x[a]) + i128::from(pads[a]) + i128::from(pads[a + axes]);
            fits &= i64::try_from(padded).is_ok();
            if reach > padded {
                let end = i128::from(pads[a + axes]) + reach - padded;
                match i64::try_from(end) {
                    Ok(end) if end < kernel[a] => pads[a + axes] = end,
                    _ => fits = false,
                }
            }
        }
        if !fits {
            continue;
        }
        if pads != declared && node.int("count_include_pad", 0)? != 0 {
            pads = pads.iter().zip(&declared).map(|(p, d)| p - d).collect();
            node.attributes.remove("count_include_pad");
            counted.push((index, declared));
        }
        node.attributes.remove("ceil_mode");
        node.attributes.remove("auto_pad");
        node.attributes.insert("pads".to_owned(), pads.into());
    }
    for (index, pads) in counted {
        pad_before(graph, shapes, index, &pads)?;
    }
    graph.sort()
}

/// Puts a `Pad` of zeros before the pool of this index.
fn pad_before(
    graph: &mut Graph,
    shapes: &mut Shapes,
    index: usize,
    pads: &[i64],
) -> Result<(), GraphError> {
    let x = graph.nodes[index].inputs[0].clone();
    let axes = pads.len() / 2;
    let (begins, ends) = pads.split_at(axes);
    let info = shapes.info(&x)?.clone();
    let mut dims = info.dims;
    for ((dim, begin), end) in dims[2..].iter_mut().zip(begins).zip(ends) {
        // Neither is negative, and their sum is a size.
        *dim += (begin + end) as usize;
    }
    let mut builder = Builder::new(graph);
    let all = builder.ints(&[&[0, 0], begins, &[0, 0], ends].concat());
    let padded = builder.op(&format!("{x}/padded"), "Pad", &[&x, &all], vec![]);
    shapes.insert(&padded, info.dtype, &dims);
    graph.nodes[index].inputs[0] = padded;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::graph::{Node, Value, infer_shapes};
    use crate::onnx::DataType;

    /// The pads of a pool of `kernel`, strides, dilations and pads over `size` positions; `None` where
    /// its `ceil_mode` stays.
    fn pads(op: &str, size: usize, [k, s, d, p]: [i64; 4], include: i64) -> Option<Vec<i64>> {
        let mut pool = Node::new("y", op, &["x"], &["y"])
            .with("kernel_shape", vec![k])
            .with("strides", vec![s])
            .with("dilations", vec![d])
            .with("pads", vec![p, p])
            .with("ceil_mode", 1);
        if op == "AveragePool" {
            pool = pool.with("count_include_pad", include);
        }
        let mut graph = Graph {
            nodes: vec![pool],
            inputs: vec![Value::fixed("x", DataType::Float, &[1, 1, size])],
            outputs: vec![Value::fixed("y", DataType::Float, &[])],
            ..Graph::new(21)
        };
        let mut shapes = infer_shapes(&graph, &HashMap::new()).unwrap();
        write_overhangs_as_pads(&mut graph, &mut shapes).unwrap();
        let after = infer_shapes(&graph, &HashMap::new()).unwrap();
        assert_eq!(shapes.dims("y").unwrap(), after.dims("y").unwrap());
        let node = graph.nodes.last().unwrap();
        let stays = node.int("ceil_mode", 0).unwrap() != 0;
        (!stays).then(|| node.ints("pads").unwrap().unwrap().to_vec())
    }

    #[test]
    fn an_overhang_becomes_a_pad_and_a_window_behind_the_input_none() {
        // Three rows under the last window, of which the third is not there.
        assert_eq!(pads("MaxPool", 6, [3, 2, 1, 0], 0), Some(vec![0, 1]));
        // The last window would begin behind the input.
        assert_eq!(pads("MaxPool", 7, [2, 2, 1, 1], 0), Some(vec![1, 1]));
        assert_eq!(pads("AveragePool", 6, [4, 6, 1, 0], 1), Some(vec![0, 0]));
        assert_eq!(pads("AveragePool", 6, [3, 2, 1, 0], 0), Some(vec![0, 1]));
    }

    #[test]
    fn an_average_counts_its_padding_and_no_overhang() {
        // Five windows over 8 rows and a pad at each end: the last hangs over by one.
        assert_eq!(pads("AveragePool", 8, [3, 2, 1, 1], 1), Some(vec![0, 1]));
    }

    #[test]
    fn one_window_over_the_whole_map_and_beyond_is_a_global_pool() {
        for (op, kernel, becomes) in [
            ("AveragePool", 1280i64, "GlobalAveragePool"),
            ("MaxPool", 1280, "GlobalMaxPool"),
            ("AveragePool", 7, "AveragePool"),
        ] {
            let pool = Node::new("y", op, &["x"], &["y"])
                .with("kernel_shape", vec![kernel, kernel])
                .with("strides", vec![kernel, kernel])
                .with("count_include_pad", 1)
                .with("ceil_mode", 1);
            let mut graph = Graph {
                nodes: vec![pool],
                inputs: vec![Value::fixed("x", DataType::Float, &[1, 2, 7, 7])],
                outputs: vec![Value::fixed("y", DataType::Float, &[])],
                ..Graph::new(21)
            };
            let mut shapes = infer_shapes(&graph, &HashMap::new()).unwrap();
            assert_eq!(shapes.dims("y").unwrap(), [1, 2, 1, 1]);
            write_overhangs_as_pads(&mut graph, &mut shapes).unwrap();
            assert_eq!(graph.nodes[0].op_type, becomes);
            let after = infer_shapes(&graph, &HashMap::new()).unwrap();
            assert_eq!(after.dims("y").unwrap(), [1, 2, 1, 1]);
        }
    }

    #[test]
    fn what_onnxruntime_would_refuse_stays() {
        // Three rows beyond the end of a kernel of two taps.
        assert_eq!(pads("MaxPool", 6, [2, 5, 4, 0], 0), None);
    }
}
