//! Trials that are asked for and answered, in files that several processes share.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, serialize_to_file};

use crate::onnx::{create_folder, write_atomic, write_atomic_with};
use crate::run::read::{is_file_name, read, read_json, read_lines};
use crate::run::request::{TrialReply, TrialRequest};
use crate::run::results::TrialRecord;

use super::clean::remove;
use super::{PARAMETERS, REPLY, REQUESTS, RunDir, RunError, file_sha256, lines, lock, write_json};

/// Trained values by the names of their initializers.
pub(crate) type Parameters = Vec<(String, Vec<f32>)>;

/// Entry of the metadata of `parameters.safetensors` that has the names in their order.
const NAMES: &str = "names";

impl RunDir {
    /// The trials that were asked for so far, in their order; none where there is no such file.
    ///
    /// # Errors
    /// When the file cannot be read, or is not such a file.
    pub fn read_requests(&self) -> Result<Vec<TrialRequest>, RunError> {
        let path = self.path(REQUESTS);
        let requests: Vec<TrialRequest> = read_lines(&path)?;
        match requests.iter().find(|r| !is_file_name(&r.id)) {
            None => Ok(requests),
            Some(wrong) => Err(RunError::Damaged {
                path,
                reason: format!("`{}` is no trial's ID", wrong.id),
            }),
        }
    }

    /// Writes the trials that were asked for so far, in one step: a round that is there in part would not
    /// be planned as it was.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_requests(&self, requests: &[TrialRequest]) -> Result<(), RunError> {
        let path = self.path(REQUESTS);
        lines(requests)
            .and_then(|text| write_atomic(&path, &text))
            .map_err(|e| RunError::write(&path, e))
    }

    /// Takes possession of a trial, for as long as the file is open.
    ///
    /// # Errors
    /// [`RunError::InUse`] when another process has it.
    pub(crate) fn lock_trial(&self, id: &str) -> Result<File, RunError> {
        lock(&self.path("trials").join(id))
    }

    /// Whether a trial, by its identity in the whole run, has a reply that the run has not taken over.
    pub(crate) fn has_reply(root: &Path, id: &str) -> bool {
        let (number, id) = Self::repetition_of(id);
        let root = match number {
            1 => root.to_owned(),
            number => root.join(Self::repetition_name(number)),
        };
        root.join("trials").join(id).join(REPLY).is_file()
    }

    /// Writes what a trial came to. The reply is the last of its files that is written.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write_reply(
        &self,
        request: &TrialRequest,
        record: &TrialRecord,
        parameters: Option<&Parameters>,
    ) -> Result<(), RunError> {
        let folder = self.path("trials").join(&request.id);
        create_folder(&folder).map_err(|e| RunError::write(&folder, e))?;
        let hash = match parameters {
            None => None,
            Some(parameters) => {
                let path = folder.join(PARAMETERS);
                let written =
                    write_atomic_with(&path, |file| save(parameters, HashMap::new(), file));
                let hash = written.and_then(|()| file_sha256(&path));
                Some(hash.map_err(|e| RunError::write(&path, e))?)
            }
        };
        write_json(
            &folder.join(REPLY),
            &TrialReply {
                request: request.clone(),
                record: record.clone(),
                parameters: hash,
            },
        )
    }

    /// What a trial came to; `None` where it has not ended, or what is there is of another request or not
    /// as it was written.
    ///
    /// # Errors
    /// When a file is there, but cannot be read.
    pub(crate) fn read_reply(
        &self,
        request: &TrialRequest,
    ) -> Result<Option<(TrialRecord, Option<Parameters>)>, RunError> {
        let folder = self.path("trials").join(&request.id);
        let reply = match read_json::<TrialReply>(&folder.join(REPLY)) {
            Err(RunError::Damaged { .. }) => None,
            read => read?,
        };
        let Some(reply) = reply.filter(|reply| reply.request == *request) else {
            return Ok(None);
        };
        let Some(hash) = reply.parameters else {
            return Ok(Some((reply.record, None)));
        };
        let path = folder.join(PARAMETERS);
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        let is_as_written = file_sha256(&path).is_ok_and(|found| found == hash);
        let parameters = load(&bytes).filter(|_| is_as_written);
        Ok(parameters.map(|parameters| (reply.record, Some(parameters))))
    }

    /// Removes what a trial came to, once the run has taken it over.
    ///
    /// # Errors
    /// When it is there and stays.
    pub(crate) fn remove_reply(&self, id: &str) -> Result<(), RunError> {
        let folder = self.path("trials").join(id);
        remove(&folder.join(REPLY))?;
        remove(&folder.join(PARAMETERS))
    }
}

/// Writes values to a file with this metadata, and their names in their order.
pub(super) fn save(
    parameters: &[(String, Vec<f32>)],
    mut metadata: HashMap<String, String>,
    path: &Path,
) -> io::Result<()> {
    let names: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
    metadata.insert(NAMES.to_owned(), serde_json::to_string(&names)?);
    let bytes: Vec<Vec<u8>> = parameters
        .iter()
        .map(|(_, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = parameters
        .iter()
        .zip(&bytes)
        .map(|((name, values), bytes)| {
            TensorView::new(Dtype::F32, vec![values.len()], bytes).map(|view| (name, view))
        });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(other)?;
    serialize_to_file(views, Some(metadata), path).map_err(other)
}

fn other(error: SafeTensorError) -> io::Error {
    match error {
        SafeTensorError::IoError(error) => error,
        error => io::Error::other(error),
    }
}

/// The values in a file that [`save`] wrote.
pub(super) fn load(bytes: &[u8]) -> Option<Parameters> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let names = header.metadata().as_ref()?.get(NAMES)?;
    let names: Vec<String> = serde_json::from_str(names).ok()?;
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let values = |name: String| {
        let tensor = tensors.tensor(&name).ok()?;
        let chunks = tensor.data().chunks_exact(4);
        let values = chunks.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        (tensor.dtype() == Dtype::F32).then(|| (name, values.collect()))
    };
    names.into_iter().map(values).collect()
}
