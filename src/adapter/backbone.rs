//! Which model an adapter is for.

use sha2::{Digest, Sha256};

use crate::hex;
use crate::onnx::Model;
use crate::surgery::taken_in;

use super::AdapterError;

/// SHA-256, in hexadecimal, of a model that was read from its file: of the bytes of that file, as `sha256sum` gives it, and
/// where weights lie in files beside it, followed by the bytes that the model reads of each, files by name, in each
/// by place.
///
/// # Errors
/// When external data cannot be read.
pub fn backbone_sha256(file: &Model) -> Result<String, AdapterError> {
    let mut hash = Sha256::new_with_prefix(file.file_bytes());
    // Only then all of them are known.
    drop(taken_in(file)?);
    for (_, parts) in file.external_files() {
        parts.iter().for_each(|part| hash.update(part));
    }
    file.release();
    Ok(hex::encode(hash.finalize()))
}

/// Fails unless this is the hash of `file`.
///
/// # Errors
/// [`AdapterError::OtherBackbone`].
pub(crate) fn ensure_backbone(file: &Model, expected: &str) -> Result<(), AdapterError> {
    let found = backbone_sha256(file)?;
    match found == expected {
        true => Ok(()),
        false => Err(AdapterError::OtherBackbone {
            path: file.path().to_owned(),
            expected: expected.to_owned(),
            found,
        }),
    }
}
