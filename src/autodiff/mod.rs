//! Reverse-mode differentiation of an ONNX graph.
