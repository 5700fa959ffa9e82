//! `ftsurgery distil`: a changed model, repaired by the one that it was made of; `ftsurgery quantize`.

mod hostile;
mod networks;
mod quantize;
mod repaired;
mod scene;
