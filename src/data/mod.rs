//! Image folders and arrays, splits, batches and the feature cache.
