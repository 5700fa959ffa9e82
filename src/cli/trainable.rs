//! The flags that say which parameters are trained, of commands that search nothing.

use std::path::PathBuf;

use crate::autodiff::AutodiffError;
use crate::strategy::FreezeList;
use crate::strategy::pattern::matches;
use crate::surgery::HEAD_PREFIX;
use crate::training::Parameters;
use clap::Args;

use super::values::some;
use super::{CliError, Context};

/// Which parameters are trained, or differentiated by.
#[derive(Args)]
pub struct TrainableArgs {
    /// The parameters that are trained, or differentiated by: initializers whose name matches this pattern (`*`, `?`, `[…]`,
    /// `{a,b}`; `*` alone is all of them); repeatable
    #[arg(long, value_name = "GLOB", default_value = "*", visible_aliases = ["train", "wrt"])]
    trainable: Vec<String>,
    /// Of these, only what this file does not freeze: a list as `ftsurgery list --out` writes
    #[arg(long, value_name = "FILE")]
    freeze_list: Option<PathBuf>,
}

impl TrainableArgs {
    /// Those of `all` that are trained. A new head is, whatever a freeze list says.
    ///
    /// # Errors
    /// When a pattern means no parameter, or none is left.
    pub fn of(&self, all: Parameters, context: &Context) -> Result<Vec<String>, CliError> {
        let Some(path) = &self.freeze_list else {
            return matching(all, &self.trainable, context);
        };
        let list = FreezeList::read(path)?;
        let known = all.trainable.iter().chain(&all.idle);
        let idle = list.idle(known.map(String::as_str));
        if let Some(idle) = idle {
            return Err(CliError::usage(format!(
                "`{idle}` in {} is the name of no trainable initializer; there are {}",
                path.display(),
                some(&all.trainable)
            ))
            .with_hint("`ftsurgery list MODEL` lists them"));
        }
        let mut names = matching(all, &self.trainable, context)?;
        names.retain(|name| name.starts_with(HEAD_PREFIX) || list.trains(name));
        match names.is_empty() {
            false => Ok(names),
            true => Err(CliError::usage(format!(
                "{} freezes them all",
                path.display()
            ))),
        }
    }
}

/// The trainable parameters that match one of the patterns; each pattern must match one. Those that match
/// but have no influence on the loss are left out with a note, or refused where one is named exactly.
fn matching(
    all: Parameters,
    patterns: &[String],
    context: &Context,
) -> Result<Vec<String>, CliError> {
    if let Some(name) = patterns.iter().find(|p| all.idle.contains(p)) {
        return Err(AutodiffError::Unused(name.clone()).into());
    }
    if let Some(idle) = patterns
        .iter()
        .find(|&p| !all.trainable.iter().any(|name| matches(p, name)))
    {
        return Err(CliError::usage(format!(
            "no trainable initializer matches `{idle}`; there are {}",
            some(&all.trainable)
        ))
        .with_hint("`ftsurgery analyze MODEL` lists the tensors of each block"));
    }
    let any = |name: &String| patterns.iter().any(|p| matches(p, name));
    let left_out: Vec<&str> = all
        .idle
        .iter()
        .filter(|n| any(n))
        .map(|n| n.as_str())
        .collect();
    if !left_out.is_empty() {
        context.note(&format!(
            "left out, as they have no influence on the loss: {}",
            some(&left_out)
        ));
    }
    Ok(all.trainable.into_iter().filter(any).collect())
}
