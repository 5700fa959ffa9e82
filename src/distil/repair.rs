//! Going through a model block by block.

use std::rc::Rc;
use std::time::Instant;

use crate::classifier::InputSpec;
use crate::data::{Dataset, FeaturePrecision, FeatureStore, MemoryBudget, epoch_order};
use crate::graph::{Graph, float_tensors};
use crate::onnx::{Model, Tensor};
use crate::runtime::Runtime;
use crate::surgery::{as_stored, dequantised};
use crate::task::Task;
use crate::training::program::Prepared;
use crate::training::{
    Lesson, Parameters, Parts, TrainingError, differentiable_of, relative_error, samples_stay_apart,
};

use super::blocks::{Block, Network, blocks};
use super::{BlockFigures, DistilError, DistilOptions, Figures, OutputFigures, Stage, Watch};

/// The fewest pictures that a model can be repaired by.
const LEAST: usize = 4;

/// A repaired model, not yet written.
#[derive(Debug)]
#[non_exhaustive]
pub struct Distilled {
    /// What the repair came to.
    pub figures: Figures,
    /// The new values of tensors, by name.
    pub values: Vec<(String, Vec<f32>)>,
    /// The pictures that were held back, as indices of the data set.
    pub held_back: Vec<usize>,
    /// What the repaired network gives for them, before a softmax or sigmoids; row-major.
    pub(super) scores: Vec<f32>,
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
    let dequantised = dequantised(model)?;
    if dequantised.clips > 0 {
        return Err(DistilError::Quantised {
            model: model.path().to_owned(),
            pairs: dequantised.clips,
        });
    }
    let floats = &dequantised.model;
    let sample = pictures.input.sample_dims(pictures.dataset.sample_shape());
    let (train, held) = shared_out(pictures.samples.len(), options)?;
    let batch = options.batch_size.clamp(2, train.len());
    for model in [floats, original] {
        samples_stay_apart(runtime, model, &sample, task)?;
    }
    let prepared = |model: &Model, batch| Prepared::of(model, batch, &sample, task);
    let mut network = prepared(floats, batch)?;
    let reference = prepared(original, batch)?;
    let blocks = {
        let [own, other] = [prepared(floats, 1)?, prepared(original, 1)?];
        let mut all = Parameters::of(floats, &sample, task)?.trainable;
        // What integers of the file stand for has no tensor of floats there.
        let stored = Graph::from_model(model)?;
        let stored = float_tensors(&stored);
        all.retain(|name| stored.contains_key(name.as_str()));
        let of = |path, batch, single| Network {
            path,
            batch,
            single,
        };
        let own = of(model.path(), &network, &own);
        let other = of(original.path(), &reference, &other);
        blocks(&own, &other, &all)?
    };
    watch.found(blocks.len());
    let mut work = Work {
        parts: Parts::new(runtime, options.device, options.operators, options.threads),
        budget: MemoryBudget::new(options.memory_budget),
        models: [model, original],
        options,
        watch,
        train: &train,
        held: &held,
        changed: Vec::new(),
    };
    let pixels = work.pixels(pictures, &network)?;
    let whole = network.part(&network.input, &network.scores)?;
    let before = work.values(&whole, &pixels, &held, 0)?;
    let (mut own, mut original) = (Rc::clone(&pixels), pixels);
    let mut figures = Vec::with_capacity(blocks.len());
    for (number, block) in (1..).zip(&blocks) {
        let done = work.block((number, block), &mut network, &reference, [own, original])?;
        watch.block(&done.figures);
        figures.push(done.figures);
        [own, original] = done.values;
    }
    let rows = |store: &FeatureStore, rows: &[usize]| -> Result<Vec<f32>, DistilError> {
        let width = store.row_lens().first().copied().unwrap_or(0);
        let mut values = vec![0.0; rows.len() * width];
        store.gather(0, rows, &mut values)?;
        Ok(values)
    };
    let all: Vec<usize> = (0..held.len()).collect();
    let scores = [rows(&before, &all)?, rows(&own, &held)?];
    let wanted = rows(&original, &held)?;
    let figures = Figures {
        trained_on: train.len(),
        held_back: held.len(),
        blocks: figures,
        outputs: OutputFigures {
            value: network.scores.clone(),
            relative_error: scores.each_ref().map(|given| relative(given, &wanted)),
            agreement: scores
                .each_ref()
                .map(|given| agreement(given, &wanted, (held.len(), task))),
        },
        changed_tensors: work.changed.len(),
        integer_tensors: dequantised.tensors,
        seconds: begin.elapsed().as_secs_f64(),
    };
    let [_, scores] = scores;
    Ok(Distilled {
        figures,
        values: work.changed,
        held_back: held.iter().map(|&row| pictures.samples[row]).collect(),
        scores,
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

struct Work<'a> {
    parts: Parts<'a>,
    budget: MemoryBudget,
    models: [&'a Model; 2],
    options: &'a DistilOptions,
    watch: &'a dyn Watch,
    train: &'a [usize],
    held: &'a [usize],
    /// New values of tensors.
    changed: Vec<(String, Vec<f32>)>,
}

/// A block that is done.
struct Done {
    figures: BlockFigures,
    /// What both networks have at its end.
    values: [Rc<FeatureStore>; 2],
}

impl Work<'_> {
    fn store(&self, rows: usize, width: usize) -> Result<FeatureStore, DistilError> {
        let spill = &self.options.spill_dir;
        let precision = FeaturePrecision::F32;
        Ok(FeatureStore::new(
            rows,
            &[width],
            precision,
            &self.budget,
            spill,
        )?)
    }

    fn go_on(&self, block: usize, at: (Stage, usize, usize)) -> Result<(), TrainingError> {
        let (stage, done, total) = at;
        self.watch.doing(block, stage, done, total);
        match self.watch.stopped() {
            true => Err(TrainingError::Stopped),
            false => Ok(()),
        }
    }

    /// The input of all pictures.
    fn pixels(
        &self,
        pictures: Pictures<'_>,
        network: &Prepared,
    ) -> Result<Rc<FeatureStore>, DistilError> {
        let Pictures {
            dataset,
            samples,
            input: InputSpec { preprocess, layout },
        } = pictures;
        let dims = network.shapes.dims(&network.input)?;
        let width = dims.iter().skip(1).product();
        let mut store = self.store(samples.len(), width)?;
        let mut picture = vec![0.0; width];
        for (row, &sample) in samples.iter().enumerate() {
            dataset.write_sample(sample, preprocess, *layout, &mut picture)?;
            store.write(0, row, &picture)?;
            self.go_on(0, (Stage::Values, row + 1, samples.len()))?;
        }
        Ok(Rc::new(store))
    }

    /// What a part gives for these rows of `from`.
    fn values(
        &self,
        part: &Prepared,
        from: &FeatureStore,
        rows: &[usize],
        block: usize,
    ) -> Result<Rc<FeatureStore>, DistilError> {
        let dims = part.shapes.dims(&part.logits)?;
        let mut to = self.store(rows.len(), dims.iter().skip(1).product())?;
        let mut go_on = |done, total| self.go_on(block, (Stage::Values, done, total));
        self.parts.run(part, (from, rows), &mut to, &mut go_on)?;
        Ok(Rc::new(to))
    }

    /// Trains a block, puts its values into `network`, and gives what both networks have at its end.
    fn block(
        &mut self,
        (number, block): (usize, &Block),
        network: &mut Prepared,
        reference: &Prepared,
        [own, original]: [Rc<FeatureStore>; 2],
    ) -> Result<Done, DistilError> {
        let begin = Instant::now();
        let all: Vec<usize> = (0..own.rows()).collect();
        let part = reference.part(&block.original[0], &block.original[1])?;
        let wanted = self.values(&part, &original, &all, number)?;
        drop((part, original));
        let mut part = network.part(&block.own[0], &block.own[1])?;
        let (trainable, obstacle) = differentiable_of(&part, &block.parameters)?;
        let fixed: Vec<_> = trainable
            .iter()
            .map(|name| pruned(&part, reference, name))
            .collect();
        let lesson = Lesson {
            trainable: &trainable,
            fixed: &fixed,
            inputs: &own,
            targets: &wanted,
            train: self.train,
            held: self.held,
            epochs: self.options.epochs,
            rate: self.options.rate,
            seed: self.options.seed,
        };
        let learned = match trainable.is_empty() {
            true => None,
            false => {
                let mut go_on = |done, total| {
                    let stage = if total == 0 {
                        Stage::Rates
                    } else {
                        Stage::Training
                    };
                    self.go_on(number, (stage, done, total))
                };
                Some(self.parts.train(&part, &lesson, &mut go_on)?)
            }
        };
        let held_error = |store: &FeatureStore| relative_error(store, &wanted, self.held);
        let mut figures = BlockFigures {
            block: number,
            from: block.own[0].clone(),
            to: block.own[1].clone(),
            to_in_original: Some(block.original[1].clone()).filter(|to| *to != block.own[1]),
            joined_at: block.joined_at.clone(),
            tensors: trainable.len(),
            parameters: elements(&part, &trainable),
            kept_zero: fixed.iter().flatten().flatten().filter(|f| **f).count(),
            left_out: obstacle.map(|error| error.to_string()),
            before: 0.0,
            after: 0.0,
            epoch: 0,
            rate: learned.as_ref().map(|l| l.rate),
            seconds: 0.0,
        };
        let mut values = None;
        if let Some(learned) = learned.filter(|l| l.epoch > 0) {
            let named = trainable.iter().cloned().zip(learned.values).collect();
            let stored = as_stored(self.models[0], named)?;
            let mut trained = part.clone();
            set(&mut trained, &stored);
            let given = self.values(&trained, &own, &all, number)?;
            let after = held_error(&given)?;
            figures.before = learned.errors[0];
            // Rounding may have undone it.
            if after < figures.before {
                figures.after = after;
                figures.epoch = learned.epoch;
                set(network, &stored);
                self.changed.extend(stored);
                part = trained;
                values = Some(given);
            }
        }
        let values = match values {
            Some(values) => values,
            None => {
                let values = self.values(&part, &own, &all, number)?;
                figures.before = held_error(&values)?;
                figures.after = figures.before;
                values
            }
        };
        if !figures.before.is_finite() {
            return Err(self.not_finite(block, &wanted, self.held)?);
        }
        figures.seconds = begin.elapsed().as_secs_f64();
        Ok(Done {
            figures,
            values: [values, wanted],
        })
    }

    /// Which of the two networks has what is not finite at the end of a block.
    fn not_finite(
        &self,
        block: &Block,
        wanted: &FeatureStore,
        rows: &[usize],
    ) -> Result<DistilError, DistilError> {
        let is_original = !relative_error(wanted, wanted, rows)?.is_finite();
        let [model, original] = self.models;
        Ok(match is_original {
            true => DistilError::NotFinite {
                model: original.path().to_owned(),
                value: block.original[1].clone(),
            },
            false => DistilError::NotFinite {
                model: model.path().to_owned(),
                value: block.own[1].clone(),
            },
        })
    }
}

/// Puts values into the initializers of a network.
fn set(network: &mut Prepared, values: &[(String, Vec<f32>)]) {
    for (name, values) in values {
        if let Some(tensor) = network.graph.initializers.get_mut(name) {
            *tensor = Tensor::f32(&tensor.dims.clone(), values);
        }
    }
}

/// Which values of a parameter were pruned: they are 0, and those of the original are not. `None` where there are none.
fn pruned(part: &Prepared, reference: &Prepared, name: &str) -> Option<Vec<bool>> {
    let tensor = |prepared: &Prepared| {
        let tensor = prepared.graph.initializers.get(name)?;
        Some((tensor.dims.clone(), tensor.to_f32()?))
    };
    let ((dims, own), (others_dims, others)) = (tensor(part)?, tensor(reference)?);
    let all = own.iter().zip(&others);
    let pruned: Vec<bool> = all
        .map(|(own, other)| *own == 0.0 && *other != 0.0)
        .collect();
    (dims == others_dims && pruned.contains(&true)).then_some(pruned)
}

fn elements(part: &Prepared, names: &[String]) -> usize {
    let sizes = names
        .iter()
        .filter_map(|name| part.graph.initializers.get(name));
    sizes.map(Tensor::len).sum()
}

fn relative(given: &[f32], wanted: &[f32]) -> f64 {
    let square = |value: f64| value * value;
    let pairs = given.iter().zip(wanted);
    let difference: f64 = pairs
        .map(|(g, w)| square(f64::from(*g) - f64::from(*w)))
        .sum();
    let size: f64 = wanted.iter().map(|w| square(f64::from(*w))).sum();
    match size {
        0.0 => difference.sqrt(),
        size => (difference / size).sqrt(),
    }
}

/// The share of rows for which both say the same.
fn agreement(given: &[f32], wanted: &[f32], (rows, task): (usize, Task)) -> f64 {
    let width = (wanted.len() / rows.max(1)).max(1);
    let top = |row: &[f32]| {
        let better = |best: usize, at: usize| if row[at] > row[best] { at } else { best };
        (0..row.len()).reduce(better)
    };
    let same = |(given, wanted): &(&[f32], &[f32])| match task {
        Task::SingleLabel => top(given) == top(wanted),
        Task::MultiLabel | Task::Binary => given
            .iter()
            .zip(*wanted)
            .all(|(g, w)| (*g > 0.0) == (*w > 0.0)),
    };
    let pairs = given.chunks(width).zip(wanted.chunks(width));
    pairs.filter(same).count() as f64 / rows.max(1) as f64
}
