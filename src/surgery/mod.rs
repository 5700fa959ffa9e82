//! Cutting the backbone, grafting a head, writing tuned weights back.
