//! Going through a block: what both networks have at its end, and training.

use std::rc::Rc;
use std::time::Instant;

use crate::classifier::InputSpec;
use crate::data::{FeaturePrecision, FeatureStore, MemoryBudget};
use crate::onnx::{Model, Tensor};
use crate::surgery::{Latent, as_stored};
use crate::training::program::Prepared;
use crate::training::{Lesson, Parts, TrainingError, differentiable_of, relative_error};

use super::blocks::Block;
use super::{BlockFigures, DistilError, DistilOptions, Pictures, Stage, Watch};

/// What goes through blocks.
pub(super) struct Work<'a> {
    pub parts: Parts<'a>,
    pub budget: MemoryBudget,
    pub models: [&'a Model; 2],
    /// Tensors that the model's file holds as integers.
    pub latents: &'a [Latent],
    pub options: &'a DistilOptions,
    pub watch: &'a dyn Watch,
    pub train: &'a [usize],
    pub held: &'a [usize],
}

/// A block that is done.
pub(super) struct Done {
    pub figures: BlockFigures,
    /// What both networks have at its end.
    pub values: [Rc<FeatureStore>; 2],
    /// New values of its tensors, where it has such.
    pub change: Option<Change>,
}

/// New values of tensors.
pub(super) struct Change {
    /// Those of the network.
    network: Vec<(String, Vec<f32>)>,
    /// Of them those that the file has as floats, as it stores them.
    pub floats: Vec<(String, Vec<f32>)>,
    /// Integers of the file.
    pub integers: Vec<(String, Tensor)>,
}

impl Change {
    /// Puts the values into the initializers of a network.
    pub fn apply(&self, network: &mut Prepared) {
        for (name, values) in &self.network {
            if let Some(tensor) = network.graph.initializers.get_mut(name) {
                *tensor = Tensor::f32(&tensor.dims.clone(), values);
            }
        }
    }
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
    pub fn pixels(
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
    pub fn values(
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

    /// Trains a block of `network`, but where it is to be left as it was, and gives what both networks have at its end.
    pub fn block(
        &self,
        (number, block): (usize, &Block),
        network: &Prepared,
        reference: &Prepared,
        [own, original]: [Rc<FeatureStore>; 2],
        is_left: bool,
    ) -> Result<Done, DistilError> {
        let begin = Instant::now();
        let all: Vec<usize> = (0..own.rows()).collect();
        let part = reference.part(&block.original[0], &block.original[1])?;
        let wanted = self.values(&part, &original, &all, number)?;
        drop((part, original));
        let part = network.part(&block.own[0], &block.own[1])?;
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
        let learned = match trainable.is_empty() || is_left {
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
            outputs: 0.0,
            worse_outputs: None,
            epoch: 0,
            rate: learned.as_ref().map(|l| l.rate),
            seconds: 0.0,
        };
        let mut better = None;
        if let Some(learned) = learned.filter(|l| l.epoch > 0) {
            let change = self.as_stored(trainable.iter().cloned().zip(learned.values))?;
            let mut trained = part.clone();
            change.apply(&mut trained);
            let given = self.values(&trained, &own, &all, number)?;
            let after = held_error(&given)?;
            figures.before = learned.errors[0];
            // Rounding may have undone it.
            if after < figures.before {
                figures.after = after;
                figures.epoch = learned.epoch;
                better = Some((change, given));
            }
        }
        let (change, values) = match better {
            Some((change, values)) => (Some(change), values),
            None => {
                let values = self.values(&part, &own, &all, number)?;
                figures.before = held_error(&values)?;
                figures.after = figures.before;
                (None, values)
            }
        };
        if !figures.before.is_finite() {
            return Err(self.not_finite(block, &wanted, self.held)?);
        }
        figures.seconds = begin.elapsed().as_secs_f64();
        Ok(Done {
            figures,
            values: [values, wanted],
            change,
        })
    }

    /// Values of a network's tensors as the file stores them.
    fn as_stored(
        &self,
        values: impl Iterator<Item = (String, Vec<f32>)>,
    ) -> Result<Change, DistilError> {
        let (mut network, mut floats, mut integers) = (Vec::new(), Vec::new(), Vec::new());
        for (name, values) in values {
            let latent = self.latents.iter().find(|latent| latent.name == name);
            let stored = latent.map(|latent| latent.stored(&values)).transpose()?;
            match (latent, stored.flatten()) {
                (Some(latent), Some((tensor, values))) => {
                    network.push((name, values));
                    // Less than a step leaves them as they are.
                    if latent.integers() != Some(&tensor) {
                        integers.push((latent.stored.clone(), tensor));
                    }
                }
                _ => floats.push((name, values)),
            }
        }
        let floats = as_stored(self.models[0], floats)?;
        network.extend(floats.iter().cloned());
        Ok(Change {
            network,
            floats,
            integers,
        })
    }

    /// The scores of the pictures that are held back, of which `values` has at `from` those of all.
    pub fn scores(
        &self,
        network: &Prepared,
        (from, values): (&str, &FeatureStore),
        block: usize,
    ) -> Result<Vec<f32>, DistilError> {
        if from == network.scores {
            return rows(values, self.held);
        }
        let rest = network.part(from, &network.scores)?;
        let scores = self.values(&rest, values, self.held, block)?;
        rows(&scores, &(0..scores.rows()).collect::<Vec<_>>())
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

/// Some rows of a store, one behind the other.
fn rows(store: &FeatureStore, rows: &[usize]) -> Result<Vec<f32>, DistilError> {
    let width = store.row_lens().first().copied().unwrap_or(0);
    let mut values = vec![0.0; rows.len() * width];
    store.gather(0, rows, &mut values)?;
    Ok(values)
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
