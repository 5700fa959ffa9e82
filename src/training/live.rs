//! Frozen values that are computed in every step.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::data::{Augmenter, View};
use crate::runtime::{Buffer, Session};
use crate::surgery::Rewrite;

use super::TrainingError;
use super::lab::Lab;
use super::mixing::Mixing;
use super::program::{Port, prefix_graph};

/// Computes some frozen values from the model's input, for batches of any size.
pub(super) struct Live {
    /// Names of the values, in the order in which steps read them.
    values: Vec<String>,
    /// Threads per session; 0 for all cores.
    threads: usize,
    /// Sessions that no trial is using, by batch size.
    idle: Mutex<HashMap<usize, Vec<Run>>>,
}

struct Run {
    /// `None` where the only value is the model's input.
    session: Option<Session>,
    input_name: String,
    input: Buffer,
}

impl Live {
    pub fn new(values: Vec<String>, threads: usize) -> Self {
        Live {
            values,
            threads,
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Vec<Run>>> {
        self.idle.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Computes the values of `views`, mixed or not, into `buffers`, which are for exactly as many.
    ///
    /// # Errors
    /// When the buffers do not fit or the runtime fails.
    pub fn compute(
        &self,
        lab: &Lab<'_>,
        views: &[View],
        (augmenter, mixing): (&Augmenter, Option<&Mixing>),
        buffers: &[Buffer],
    ) -> Result<(), TrainingError> {
        if buffers.len() != self.values.len() {
            return Err(TrainingError::Mismatch(format!(
                "a step reads {} frozen values where there are {}",
                buffers.len(),
                self.values.len()
            )));
        }
        let idle = self.idle().get_mut(&views.len()).and_then(Vec::pop);
        let mut run = match idle {
            Some(run) => run,
            None => self.start(lab, views.len())?,
        };
        lab.write_views(views, augmenter, &mut run.input.as_f32_mut()?)?;
        if let Some(mixing) = mixing {
            mixing.apply(&mut run.input.as_f32_mut()?);
        }
        let mut outputs = Vec::new();
        for (name, buffer) in self.values.iter().zip(buffers) {
            if *name == run.input_name {
                let mut target = buffer.as_f32_mut()?;
                let input = run.input.as_f32()?;
                if target.len() != input.len() {
                    return Err(TrainingError::Mismatch(format!(
                        "a step reads {} numbers of `{name}`, which has {}",
                        target.len(),
                        input.len()
                    )));
                }
                target.copy_from_slice(&input);
            } else {
                outputs.push((name.as_str(), buffer));
            }
        }
        if let Some(session) = &mut run.session {
            let input = [(run.input_name.as_str(), &run.input)];
            let mut binding = session.bind(&input, &outputs)?;
            session.run_bound(&mut binding)?;
        }
        self.idle().entry(views.len()).or_default().push(run);
        Ok(())
    }

    fn start(&self, lab: &Lab<'_>, batch: usize) -> Result<Run, TrainingError> {
        let prepared = lab.prepare(&Rewrite::None, batch)?;
        let computed = self.values.iter().filter(|&name| *name != prepared.input);
        let ports = computed.map(|name| {
            let dims = prepared.shapes.dims(name)?.to_vec();
            let name = name.clone();
            Ok(Port { name, dims })
        });
        let ports: Vec<Port> = ports.collect::<Result<_, TrainingError>>()?;
        let session = match ports.as_slice() {
            [] => None,
            ports => prefix_graph(&prepared, ports)?
                .map(|graph| lab.frozen_session(&graph, self.threads))
                .transpose()?,
        };
        Ok(Run {
            session,
            input: Buffer::zeros_f32(prepared.shapes.dims(&prepared.input)?)?,
            input_name: prepared.input,
        })
    }
}
