//! The indexed graph, its normal form, shapes and the node builder.
