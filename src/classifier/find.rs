//! How a model wants its pixels, where neither the user nor its metadata say it.

use std::ops::Range;

use crate::data::{Dataset, Preprocess};
use crate::graph::Graph;
use crate::onnx::Model;
use crate::runtime::Runtime;

use super::guess::{Sign, likely, sign};
use super::headless::headless;
use super::witness::{Pictures, Subject, Witness, layers};
use super::{ClassifierError, DEFAULT_PREPROCESS, InputSpec, ModelInput, Origin};

impl ModelInput {
    /// That the preprocessing is a guess, and what speaks for others.
    pub(super) fn guessed(&self, model: &Model, graph: &Graph) -> String {
        let doubt = self.witness.as_ref().map(|witness| {
            let (images, doubt) = (some_images(witness.images), witness.doubt());
            format!(", and {images} cannot tell, because {doubt}")
        });
        let doubt = doubt.unwrap_or_default();
        let taken = format!(
            "nothing says how the model wants its pixels{doubt}: {DEFAULT_PREPROCESS} is taken, as \
             torchvision's models want them"
        );
        let presets = Preprocess::PRESETS.join(", ");
        let another = match self.witness.as_ref().is_some_and(Witness::is_of_few) {
            true => format!(
                "Say another with --preprocess ({presets}), or give {} images or more, which mostly tell",
                Pictures::TELLING
            ),
            false => format!("Another choice is made with --preprocess ({presets})"),
        };
        let choice = match likely(model, graph, &self.name, self.spec.layout) {
            Some(likely) => format!(
                "Likelier is {}, because {}. Choose with --preprocess",
                likely.presets, likely.because
            ),
            None => another,
        };
        let table = self.witness.as_ref().map(Witness::table);
        format!("{taken}. {choice}{}", table.unwrap_or_default())
    }

    /// What was found out of the preprocessing, if something was.
    pub fn found(&self) -> Option<String> {
        let preprocess = &self.spec.preprocess;
        match (self.origin, &self.because, &self.witness) {
            (Origin::Graph, Some(because), witness) => Some(format!(
                "the model wants its pixels by {preprocess}, because {because}{}",
                witness.as_ref().map(Witness::table).unwrap_or_default()
            )),
            (Origin::Found, _, Some(witness)) => Some(format!(
                "nothing says how the model wants its pixels; by {preprocess}, of what was tried on {}, its first {}:{}",
                some_images(witness.images),
                match witness.layers {
                    1 => "normalisation layer sees about the statistics that it stores".to_owned(),
                    n => format!("{} see about the statistics that they store", layers(n)),
                },
                witness.table()
            )),
            _ => None,
        }
    }

    /// What images said of the presets, where they were asked.
    pub fn witness(&self) -> Option<&Witness> {
        self.witness.as_ref()
    }

    /// Finds the preprocessing, where neither the user nor metadata say it: as the model itself does, else as a file beside
    /// it, else as the [presets](Preprocess::PRESETS) do on some images. It stays [`DEFAULT_PREPROCESS`] where none tells.
    ///
    /// # Errors
    /// When the pictures cannot be written.
    pub fn find_preprocess(
        &mut self,
        runtime: &Runtime,
        (model, graph): (&Model, &Graph),
        threads: usize,
        pictures: &mut Pictures<'_>,
    ) -> Result<(), ClassifierError> {
        if !self.is_open() {
            return Ok(());
        }
        let sign = sign(model, graph, &self.name);
        if self.origin == Origin::Beside {
            self.hold_against(sign.as_ref());
            return Ok(());
        }
        if let Some(sign) = &sign {
            self.scale_by(&sign.preprocess);
            self.because = Some(sign.because.clone());
            self.origin = Origin::Graph;
        }
        let colours = self.channels > 1;
        if pictures.count == 0 || sign.as_ref().is_some_and(|s| s.order.is_some() || !colours) {
            return Ok(());
        }
        let subject = Subject {
            runtime,
            model,
            sample: &self
                .spec
                .sample_dims([self.channels, self.height, self.width]),
            threads,
            colours,
            classifies: headless(model, graph, (self.height, self.width)).is_none(),
        };
        let known = sign.as_ref().map(|sign| &sign.preprocess);
        let (witness, found) = subject.weigh(known, pictures)?;
        if let Some(found) = found {
            self.scale_by(&found);
            if sign.is_none() {
                self.origin = Origin::Found;
            }
        }
        let is_said = sign.is_some() && witness.layers == 0;
        self.witness = (!is_said).then_some(witness);
        Ok(())
    }

    /// Whether [`ModelInput::find_preprocess`] has something to find: neither the user nor the model's metadata say it.
    pub fn is_open(&self) -> bool {
        matches!(self.origin, Origin::Guess | Origin::Beside)
    }

    /// Takes what the model itself says instead of what a file beside it does, where these differ: the file is of another
    /// export, without the first steps.
    fn hold_against(&mut self, sign: Option<&Sign>) {
        let said = self.spec.preprocess.clone();
        let Some(sign) = sign.filter(|sign| !sign.preprocess.scales_as(&said)) else {
            return;
        };
        let file = self.beside.clone().unwrap_or_default();
        self.overruled.push(format!(
            "{} names the preprocessing {said}, but {} is taken, because {}",
            file.display(),
            sign.preprocess,
            sign.because
        ));
        self.scale_by(&sign.preprocess);
        self.because = Some(sign.because.clone());
        self.origin = Origin::Graph;
    }

    /// As [`ModelInput::find_preprocess`], on samples spread evenly over a data set, which is for this input. Arrays say
    /// nothing.
    ///
    /// # Errors
    /// As there.
    pub fn find_preprocess_on(
        &mut self,
        runtime: &Runtime,
        (model, graph): (&Model, &Graph),
        threads: usize,
        dataset: &Dataset,
    ) -> Result<(), ClassifierError> {
        if !dataset.is_images() {
            return Ok(());
        }
        let spread = spread(dataset);
        let count = spread.len();
        let layout = self.spec.layout;
        let mut write = |preprocess: &Preprocess, range: Range<usize>, out: &mut [f32]| {
            Ok(dataset.write_batch(&spread[range], preprocess, layout, out)?)
        };
        let mut pictures = Pictures {
            count,
            write: &mut write,
        };
        self.find_preprocess(runtime, (model, graph), threads, &mut pictures)
    }

    /// How far what the first normalisation layers of a model see of samples spread evenly over a data set is from what
    /// they store, by the distance of a [`Witness`]: 0.04 to 0.11 of photos to networks that know photos; `None` where the
    /// model has no such layers.
    ///
    /// # Errors
    /// When a sample cannot be written.
    pub fn apart_on(
        &self,
        runtime: &Runtime,
        model: &Model,
        threads: usize,
        dataset: &Dataset,
    ) -> Result<Option<f64>, ClassifierError> {
        let subject = Subject {
            runtime,
            model,
            sample: &self.spec.sample_dims(dataset.sample_shape()),
            threads,
            colours: false,
            classifies: false,
        };
        let spread = spread(dataset);
        let InputSpec {
            preprocess, layout, ..
        } = &self.spec;
        subject.apart(spread.len(), &mut |range: Range<usize>, out: &mut [f32]| {
            Ok(dataset.write_batch(&spread[range], preprocess, *layout, out)?)
        })
    }

    /// Takes a way of scaling pixels; how images are resized stays.
    fn scale_by(&mut self, preprocess: &Preprocess) {
        self.spec.preprocess = Preprocess {
            resize: self.spec.preprocess.resize,
            ..preprocess.clone()
        };
    }
}

/// Samples spread evenly over a data set, as many as are looked at.
fn spread(dataset: &Dataset) -> Vec<usize> {
    let count = dataset.len().min(Pictures::MOST);
    let places = (0..count).map(|i| (2 * i + 1) * dataset.len() / (2 * count));
    places.collect()
}

/// `32 images`.
fn some_images(count: usize) -> String {
    match count {
        1 => "1 image".to_owned(),
        n => format!("{n} images"),
    }
}
