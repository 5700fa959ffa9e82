//! The ONNX file format: messages, tensors, mapped reading and atomic writing.
