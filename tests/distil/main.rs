//! `ftsurgery distil`: a changed model, repaired by the one that it was made of; `ftsurgery quantize`.

mod hostile;
mod integers;
mod networks;
mod operations;
mod quantize;
mod repaired;
mod scene;
mod whole;
