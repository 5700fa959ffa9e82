//! What must be right, or refused by name, and never wrong without a word: outputs that are no logits,
//! settings that are no weights, masks and indices between the frozen and the trained part.

mod endings;
mod gates;
mod outputs;
mod settings;
mod support;
