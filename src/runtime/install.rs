//! Fetching the shared library of onnxruntime from the Python package index.
