//! Finding and loading the onnxruntime library; devices, sessions and bound tensors.
