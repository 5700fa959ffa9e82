//! Who carries out the trials of `tune`.

use std::num::NonZeroUsize;

use crate::cluster::{Ray, Slurm};
use clap::{Args, ValueEnum};

use super::{CliError, Context};

#[derive(Args)]
#[command(next_help_heading = "Where trials are carried out")]
pub struct ExecutorArgs {
    /// By this process (`local`), or by a cluster (`slurm`, `ray`) whose machines find RUN, the model, the
    /// data and ftsurgery at the same paths as this one
    #[arg(long, value_name = "WHERE", value_enum, default_value_t)]
    executor: Executor,
    /// Divide trials into at most N tasks of a Slurm array [default: as the run began, or 16]
    #[arg(long, value_name = "N")]
    slurm_tasks: Option<NonZeroUsize>,
    /// Options for sbatch, as a shell would take them: '--partition=cpu --time=4:00:00' [default: as the run
    /// began]
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    slurm_options: Option<String>,
    /// The Ray cluster, as ray.init takes it [default: $RAY_ADDRESS, or that which this machine is part of]
    #[arg(long, value_name = "ADDRESS")]
    ray_address: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Executor {
    #[default]
    Local,
    Slurm,
    Ray,
}

/// Who carries out trials, where it is not this process.
pub enum Cluster {
    Slurm(Slurm),
    Ray(Ray),
}

impl ExecutorArgs {
    /// The cluster that these flags ask for; `None`: this process.
    pub fn cluster(&self, context: &Context) -> Result<Option<Cluster>, CliError> {
        let of_slurm = self.executor == Executor::Slurm;
        let idle = [
            (
                "slurm-tasks",
                self.slurm_tasks.is_some() && !of_slurm,
                "slurm",
            ),
            (
                "slurm-options",
                self.slurm_options.is_some() && !of_slurm,
                "slurm",
            ),
            (
                "ray-address",
                self.ray_address.is_some() && self.executor != Executor::Ray,
                "ray",
            ),
        ];
        if let Some((flag, _, of)) = idle.into_iter().find(|(_, idle, _)| *idle) {
            let text = format!("--{flag} does nothing without --executor {of}");
            return Err(CliError::usage(text));
        }
        let library = context.explicit_runtime();
        Ok(match self.executor {
            Executor::Local => None,
            Executor::Slurm => {
                let options = self.slurm_options.as_deref().map(|options| {
                    let unclosed = "--slurm-options: a quotation mark is not closed";
                    shlex::split(options).ok_or_else(|| CliError::usage(unclosed))
                });
                let slurm = Slurm::new(context.program())
                    .tasks(self.slurm_tasks.map(NonZeroUsize::get))
                    .options(options.transpose()?)
                    .library(library);
                Some(Cluster::Slurm(slurm))
            }
            Executor::Ray => {
                let python = crate::python::program();
                let ray = Ray::new(context.program(), python, self.ray_address.clone());
                Some(Cluster::Ray(ray.library(library)))
            }
        })
    }
}
