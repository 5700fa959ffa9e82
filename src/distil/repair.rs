//! Going through a model block by block.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Instant;

use crate::classifier::InputSpec;
use crate::data::{Dataset, FeatureStore, MemoryBudget, epoch_order};
use crate::graph::{Graph, float_tensors};
use crate::onnx::{Model, Tensor};
use crate::runtime::Runtime;
use crate::surgery::{Rounding, dequantised, rounding};
use crate::task::Task;
use crate::training::program::Prepared;
use crate::training::{Parameters, Parts, samples_stay_apart};

use super::blocks::{Block, Network, blocks};
use super::compare::{agreement, relative};
use super::work::{Change, Work};
use super::{BlockFigures, DistilError, DistilOptions, Figures, OutputFigures, Watch};

/// The fewest pictures that a model can be repaired by.
const LEAST: usize = 4;

/// A repaired model, not yet written.
#[derive(Debug)]
#[non_exhaustive]
pub struct Distilled {
    /// What the repair came to.
    pub figures: Figures,
    /// The new values of float tensors, by name.
    pub values: Vec<(String, Vec<f32>)>,
    /// The new integers of tensors, by name.
    pub integers: Vec<(String, Tensor)>,
    /// The pictures that were held back, as indices of the data set.
    pub held_back: Vec<usize>,
    /// What the repaired network gives for them, before a softmax or sigmoids; row-major.
    pub(super) scores: Vec<f32>,
    /// The same of the original.
    pub(super) wanted: Vec<f32>,
}

/// Pictures of a data set, and how they become the input of both models.
#[derive(Clone, Copy, Debug)]
pub struct Pictures<'a> {
    /// The data set, whose labels are not used.
    pub dataset: &'a Dataset,
    /// Which of its samples.
    pub samples: &'a [usize],
    /// How they become the input.
    pub input: &'a InputSpec,
}

/// Repairs `model`, which tells this of a picture, by `original`, of which it is a changed form.
///
/// # Errors
/// When the two are not of one architecture, there are fewer than 4 pictures, a model cannot be brought to normal form, one
/// gives something that is not finite, the watcher asks to stop, or the runtime fails. That a block cannot be trained is no
/// error, but [told](BlockFigures::left_out).
pub fn distil(
    runtime: &Runtime,
    [model, original]: [&Model; 2],
    task: Task,
    pictures: Pictures<'_>,
    options: &DistilOptions,
    watch: &dyn Watch,
) -> Result<Distilled, DistilError> {
    let begin = Instant::now();
    let rounding = rounding(model)?;
    let sample = pictures.input.sample_dims(pictures.dataset.sample_shape());
    let (train, held) = shared_out(pictures.samples.len(), options)?;
    let batch = options.batch_size.clamp(2, train.len());
    for model in [&rounding.model, original] {
        samples_stay_apart(runtime, model, &sample, task)?;
    }
    let prepared = |model: &Model, batch| Prepared::of(model, batch, &sample, task);
    let mut network = prepared(&rounding.model, batch)?;
    network.constants.clone_from(&rounding.constants);
    let reference = prepared(original, batch)?;
    let blocks = {
        let [own, other] = [prepared(&rounding.model, 1)?, prepared(original, 1)?];
        let all = trained(model, &rounding, &sample, task)?;
        let none = HashSet::new();
        let of = |path, batch, single, inner| Network {
            path,
            batch,
            single,
            inner,
        };
        let own = of(model.path(), &network, &own, &rounding.inner);
        let other = of(original.path(), &reference, &other, &none);
        blocks(&own, &other, &all)?
    };
    watch.found(blocks.len());
    let work = Work {
        parts: Parts::new(runtime, options.device, options.operators, options.threads),
        budget: MemoryBudget::new(options.memory_budget),
        models: [model, original],
        latents: &rounding.tensors,
        options,
        watch,
        train: &train,
        held: &held,
    };
    let pixels = work.pixels(pictures, &network)?;
    let wanted = work.scores(&reference, (reference.input.as_str(), &*pixels), 0)?;
    let before = work.scores(&network, (network.input.as_str(), &*pixels), 0)?;
    let Walked {
        figures,
        changes,
        scores,
    } = walked(
        &work,
        &blocks,
        [&network, &reference],
        pixels,
        [&before, &wanted],
    )?;
    let (values, integers): (Vec<_>, Vec<_>) = changes
        .into_iter()
        .map(|change| (change.floats, change.integers))
        .unzip();
    let (values, integers) = (values.concat(), integers.concat());
    let outputs = [before.as_slice(), &scores];
    let figures = Figures {
        trained_on: train.len(),
        held_back: held.len(),
        blocks: figures,
        outputs: OutputFigures {
            value: network.scores.clone(),
            relative_error: outputs.map(|given| relative(given, &wanted)),
            agreement: outputs.map(|given| agreement(given, &wanted, (held.len(), task))),
        },
        changed_tensors: values.len() + integers.len(),
        integer_tensors: rounding
            .tensors
            .iter()
            .filter(|t| t.integers().is_some())
            .count(),
        rounded_values: rounding.pairs,
        seconds: begin.elapsed().as_secs_f64(),
    };
    Ok(Distilled {
        figures,
        values,
        integers,
        held_back: held.iter().map(|&row| pictures.samples[row]).collect(),
        scores,
        wanted,
    })
}

/// The initializers of the network of floats that are trained: its weights, as far as the file has them as floats or as
/// integers that can be written anew.
fn trained(
    model: &Model,
    rounding: &Rounding,
    sample: &[usize],
    task: Task,
) -> Result<Vec<String>, DistilError> {
    let floats = dequantised(model)?.model;
    let stored = Graph::from_model(model)?;
    let stored = float_tensors(&stored);
    let latents = rounding.tensors.iter();
    let latents: HashMap<&str, &str> = latents
        .map(|latent| (latent.value.as_str(), latent.name.as_str()))
        .collect();
    let all = Parameters::of(&floats, sample, task)?.trainable;
    let own = all.iter().filter_map(|name| {
        let latent = latents.get(name.as_str()).copied();
        latent.or_else(|| stored.contains_key(name.as_str()).then_some(name))
    });
    Ok(own.map(str::to_owned).collect())
}

/// How far a network was gone through, and what it is worth with the blocks behind as they were.
#[derive(Clone)]
struct Reached {
    blocks: usize,
    /// Relative error at the outputs.
    error: f64,
    /// What both networks have there.
    values: [Rc<FeatureStore>; 2],
}

struct Walked {
    figures: Vec<BlockFigures>,
    changes: Vec<Change>,
    /// What the repaired network gives for the pictures that are held back.
    scores: Vec<f32>,
}

/// Goes through all blocks. Where a network with fewer of them repaired is nearer to the original at its outputs than that
/// with all, it goes back to the best of these, leaves the next block as it was, and goes on behind it.
fn walked(
    work: &Work<'_>,
    blocks: &[Block],
    [unrepaired, reference]: [&Prepared; 2],
    pixels: Rc<FeatureStore>,
    [before, wanted]: [&[f32]; 2],
) -> Result<Walked, DistilError> {
    let mut network = unrepaired.clone();
    let mut figures: Vec<BlockFigures> = Vec::with_capacity(blocks.len());
    let mut changes: Vec<Option<Change>> = Vec::with_capacity(blocks.len());
    let mut at = Reached {
        blocks: 0,
        error: relative(before, wanted),
        values: [Rc::clone(&pixels), pixels],
    };
    let mut best = at.clone();
    let mut worse = None;
    loop {
        if at.blocks == blocks.len() {
            if best.blocks == at.blocks {
                break;
            }
            at = best.clone();
            worse = Some(figures[at.blocks].outputs);
            figures.truncate(at.blocks);
            changes.truncate(at.blocks);
            network = unrepaired.clone();
            let kept = changes.iter().flatten();
            kept.for_each(|change| change.apply(&mut network));
        }
        let (number, block) = (at.blocks + 1, &blocks[at.blocks]);
        let left = worse.take();
        let of = (number, block);
        let mut done = work.block(of, &network, reference, at.values, left.is_some())?;
        let mut error = at.error;
        if let Some(change) = &done.change {
            change.apply(&mut network);
            let scores =
                work.scores(&network, (block.own[1].as_str(), &*done.values[0]), number)?;
            error = relative(&scores, wanted);
        }
        done.figures.outputs = error;
        done.figures.worse_outputs = left;
        work.watch.block(&done.figures);
        figures.push(done.figures);
        changes.push(done.change);
        at = Reached {
            blocks: number,
            error,
            values: done.values,
        };
        // Of equal ones that with more blocks; what is no number is worse than any.
        if at.error <= best.error || best.error.is_nan() {
            best = at.clone();
        }
    }
    Ok(Walked {
        scores: work.scores(
            &network,
            (network.scores.as_str(), &*at.values[0]),
            blocks.len(),
        )?,
        figures,
        changes: changes.into_iter().flatten().collect(),
    })
}

/// The rows to train on and those that are held back, each in their order.
fn shared_out(
    pictures: usize,
    options: &DistilOptions,
) -> Result<(Vec<usize>, Vec<usize>), DistilError> {
    if pictures < LEAST {
        return Err(DistilError::Few {
            found: pictures,
            least: LEAST,
        });
    }
    let all: Vec<usize> = (0..pictures).collect();
    let mut train = epoch_order(&all, options.seed, 0, true);
    let count = (options.held_back * pictures as f64).round() as usize;
    let mut held = train.split_off(pictures - count.clamp(1, pictures - 2));
    train.sort_unstable();
    held.sort_unstable();
    Ok((train, held))
}
