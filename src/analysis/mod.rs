//! Layers, blocks, and their parameter, multiply-accumulate and activation counts.
