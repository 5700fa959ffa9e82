//! Reading a checkpoint, and noticing what is wrong with it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use safetensors::tensor::{Dtype, Metadata};

use super::{CHECKSUM, ENTRY, FORMAT, Identity, LENGTH, MAX_HEADER, Numbered, Progress, Saved};

/// Why a file is not gone on from.
pub(super) enum Refused {
    /// It is no whole checkpoint.
    Damaged(String),
    /// It is one of another trial or version, or cannot be read now.
    Other(String),
}

pub(super) fn damaged(reason: impl std::fmt::Display) -> Refused {
    Refused::Damaged(format!("it is damaged or no checkpoint: {reason}"))
}

/// Reads tensors of a file one by one, so that they are never all held twice.
pub(super) struct Reader {
    file: File,
    /// Where the tensors begin.
    start: u64,
    header: Metadata,
    /// CRC-32C of each tensor.
    checksums: HashMap<String, u32>,
}

impl Reader {
    pub fn new(mut file: File) -> Result<Self, Refused> {
        let size = file
            .metadata()
            .map_err(|e| Refused::Other(e.to_string()))?
            .len();
        let mut length = [0; LENGTH as usize];
        file.read_exact(&mut length).map_err(damaged)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER.min(size.saturating_sub(LENGTH)) {
            return Err(damaged(
                "its header is longer than the file or the format allows",
            ));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(damaged)?;
        let header: Metadata = serde_json::from_slice(&header).map_err(damaged)?;
        let start = LENGTH + length;
        if start.checked_add(header.data_len() as u64) != Some(size) {
            return Err(damaged("its size is not the one its header gives"));
        }
        Ok(Reader {
            file,
            start,
            header,
            checksums: HashMap::new(),
        })
    }

    pub fn progress(&mut self, identity: &Identity) -> Result<Progress, Refused> {
        let entry = |key: &str| {
            let metadata = self.header.metadata().as_ref()?;
            metadata.get(key).cloned()
        };
        let text = entry(ENTRY).ok_or_else(|| damaged("it has no description of a trial"))?;
        if entry(CHECKSUM) != Some(crc32c::crc32c(text.as_bytes()).to_string()) {
            return Err(damaged(
                "its description has not the checksum it was written with",
            ));
        }
        let wrong = |e: serde_json::Error| damaged(format!("its description cannot be read: {e}"));
        let Numbered { format } = serde_json::from_str(&text).map_err(wrong)?;
        if format != FORMAT {
            return Err(Refused::Other(format!(
                "it has format {format}, and this version of ftsurgery reads {FORMAT}"
            )));
        }
        let saved: Saved = serde_json::from_str(&text).map_err(wrong)?;
        self.checksums = saved.checksums;
        match saved.trial.differences(identity).as_slice() {
            [] => Ok(saved.progress),
            differences => Err(Refused::Other(format!(
                "it is of another trial: {}",
                differences.join("; ")
            ))),
        }
    }

    pub fn read(&mut self, name: &str, dims: &[usize], into: &mut [f32]) -> Result<(), Refused> {
        let info = self.header.info(name);
        let info = info.ok_or_else(|| damaged(format!("it has no `{name}`")))?;
        // The header was checked when it was read: such a tensor has just as many bytes.
        if info.dtype != Dtype::F32
            || info.shape != dims
            || size_of_val(into) != {
                let (from, to) = info.data_offsets;
                to - from
            }
        {
            return Err(damaged(format!(
                "its `{name}` has type {:?} and dimensions {:?}, not F32 and {dims:?}",
                info.dtype, info.shape
            )));
        }
        let from = self.start + info.data_offsets.0 as u64;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(into);
        self.file
            .seek(SeekFrom::Start(from))
            .and_then(|_| self.file.read_exact(bytes))
            .map_err(|e| Refused::Other(format!("its `{name}` cannot be read: {e}")))?;
        if self.checksums.get(name) != Some(&crc32c::crc32c(bytes)) {
            return Err(damaged(format!(
                "its `{name}` has not the checksum it was written with"
            )));
        }
        if cfg!(target_endian = "big") {
            bytes.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        }
        Ok(())
    }
}
