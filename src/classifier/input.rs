//! The image input of a model, with everything that is needed to open data for it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::analysis::image_input;
use crate::choice::Choice;
use crate::data::{Augment, Dataset, Limits, OpenOptions, Preprocess, Resize, Sources};
use crate::graph::{Dim, Graph};
use crate::layout::Layout;
use crate::runtime::locate;

use super::witness::Witness;
use super::{ClassifierError, ModelCard};

/// How pixels become the input of a model that does not say so itself.
pub const DEFAULT_PREPROCESS: Preprocess = Preprocess::IMAGENET;

/// Who says how pixels become the model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The user.
    Flag,
    /// The model's metadata.
    Metadata,
    /// A file [beside](crate::classifier::Beside) the model.
    Beside,
    /// The model itself: the type of its input, the range that it declares, or its first steps.
    Graph,
    /// Images, on which the presets were tried.
    Found,
    /// Nobody: it is [`DEFAULT_PREPROCESS`].
    Guess,
}

/// How samples become the model's input.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSpec {
    /// Pixel scaling; unused for arrays.
    pub preprocess: Preprocess,
    /// Axis order of the model's input.
    pub layout: Layout,
}

impl InputSpec {
    /// Dimensions of one sample of shape [channels, height, width] at the model's input.
    pub fn sample_dims(&self, [c, h, w]: [usize; 3]) -> Vec<usize> {
        self.layout.sample([c, h, w]).to_vec()
    }
}

/// The image input of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInput {
    /// Its name.
    pub name: String,
    /// 3 for colour, 4 for colour and alpha, 1 for grey; arrays may have others.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Preprocessing and axis order.
    pub spec: InputSpec,
    /// Who says so of the preprocessing.
    pub origin: Origin,
    /// Whether the model brings pictures to its size, which `height` and `width` are, and scales them itself, so that they are
    /// fed as they are.
    pub takes_pictures: bool,
    /// Whether the user says how images are resized.
    pub(super) resize_asked: bool,
    /// Whether nobody does.
    pub(crate) resize_is_open: bool,
    /// What is asked for otherwise than the metadata say, a sentence each.
    pub(super) overruled: Vec<String>,
    /// The file beside the model that says how images become its input, if one does.
    pub(super) beside: Option<PathBuf>,
    /// Whether it says how images come to its size.
    pub(super) resized_beside: bool,
    /// What else there is to say of files beside the model, a sentence each.
    pub(super) beside_notes: Vec<String>,
    /// Why the preprocessing is what it is, where the model itself says so: a clause.
    pub(super) because: Option<String>,
    /// What images said of it, where they were asked.
    pub(super) witness: Option<Witness>,
}

impl ModelInput {
    /// The input of `graph`: sizes as it declares them, else as asked for, else as in its
    /// metadata, else as files beside it say; preprocessing as asked for, else as in its metadata, else as files beside
    /// it say, else [`DEFAULT_PREPROCESS`]. How images are resized is decided apart from how pixels are scaled: by
    /// `resize`, else by a `preprocess` that names another rule than [`Resize::SQUASH`] (which all presets
    /// have), else by the metadata, else by files beside the model, else images are squashed.
    ///
    /// # Errors
    /// When the model has no image input, its size is open and not given, or another size is asked
    /// for than the model is made for.
    pub fn of(
        graph: &Graph,
        card: &ModelCard,
        image_size: Option<(usize, usize)>,
        preprocess: Option<&Preprocess>,
        resize: Option<Resize>,
    ) -> Result<Self, ClassifierError> {
        let input = image_input(graph).ok_or_else(|| {
            ClassifierError::Mismatch(
                "the model has no image input (of four dimensions)".to_owned(),
            )
        })?;
        let layout = input.layout;
        let [c, h, w] = layout.axes();
        let known = |axis: usize| match input.dims.get(axis) {
            Some(Dim::Known(n)) if *n > 0 => Some(*n),
            _ => None,
        };
        let side = |axis: usize, asked: Option<usize>, noted: Option<usize>| match (
            known(axis),
            asked,
        ) {
            (Some(own), Some(asked)) if own != asked => Err(ClassifierError::Mismatch(format!(
                "input `{}` of the model is fixed to {} × {} pixels; the image size asked for \
                     does not fit",
                input.name,
                known(h).map_or("any".to_owned(), |n| n.to_string()),
                known(w).map_or("any".to_owned(), |n| n.to_string()),
            ))),
            (own, asked) => own.or(asked).or(noted).ok_or_else(|| {
                ClassifierError::Mismatch(format!(
                    "input `{}` of the model leaves the image size open; give it with \
                         --image-size",
                    input.name
                ))
            }),
        };
        let beside = &card.beside;
        let is_whole = !input.dtype.is_float();
        // Pixels as they are do not fit another scale that a file says, which is then of other inputs.
        let said = beside.preprocess.as_ref();
        let said = said.filter(|said| !is_whole || keeps_bytes(said));
        let origin = match (preprocess, &card.preprocess, said) {
            (Some(_), _, _) => Origin::Flag,
            (None, Some(_), _) => Origin::Metadata,
            (None, None, Some(_)) => Origin::Beside,
            (None, None, None) => Origin::Guess,
        };
        let mut overruled = Vec::new();
        if let (Some(asked), Some(noted)) = (preprocess, &card.preprocess)
            && !asked.scales_as(noted)
        {
            overruled.push(format!(
                "the model's metadata name the preprocessing {noted}, but {asked} is asked for and taken"
            ));
        }
        let file = beside.pixels_of.display();
        if let (Some(asked), None, Some(said)) = (preprocess, &card.preprocess, said)
            && !asked.scales_as(said)
        {
            overruled.push(format!(
                "{file} names the preprocessing {said}, but {asked} is asked for and taken"
            ));
        }
        let asked = resize.or(preprocess
            .map(|p| p.resize)
            .filter(|r| *r != Resize::SQUASH));
        let noted = card.preprocess.as_ref().map(|noted| noted.resize);
        if let (Some(asked), Some(noted)) = (asked, noted)
            && asked != noted
        {
            overruled.push(format!(
                "by the model's metadata images are resized by {noted}, but {asked} is asked for and taken"
            ));
        }
        if let (Some(asked), Some(said)) = (asked, beside.resize)
            && asked != said
        {
            overruled.push(format!(
                "by {file} images are resized by {said}, but {asked} is asked for and taken"
            ));
        }
        let noted = noted.or(beside.resize);
        let unsaid = match is_whole {
            true => &Preprocess::RAW,
            false => &DEFAULT_PREPROCESS,
        };
        let scaled = preprocess.or(card.preprocess.as_ref()).or(said);
        let scaled = scaled.unwrap_or(unsaid);
        if is_whole && !keeps_bytes(scaled) {
            return Err(ClassifierError::Mismatch(format!(
                "input `{}` of the model is {:?}, which takes pixels as they are: the preprocessing is `raw`, not \
                 {scaled}",
                input.name, input.dtype
            )));
        }
        if let (Some((h, w)), Some(noted)) = (image_size, card.image_size)
            && (h, w) != noted
        {
            overruled.push(format!(
                "the model's metadata name images of {} × {} pixels, but {h} × {w} are asked for and \
                 taken",
                noted.0, noted.1
            ));
        }
        let noted_size = card.image_size.or(beside.image_size);
        let height = side(h, image_size.map(|s| s.0), noted_size.map(|s| s.0))?;
        let width = side(w, image_size.map(|s| s.1), noted_size.map(|s| s.1))?;
        let mut beside_notes = beside.notes.clone();
        if let Some((own_height, own_width)) = beside.image_size
            && (own_height, own_width) != (height, width)
        {
            beside_notes.push(format!(
                "{file} is of images of {own_height} × {own_width} pixels, and the model gets {height} × {width}"
            ));
        }
        let resized_beside = asked.is_none() && beside.resize.is_some();
        let is_followed = origin == Origin::Beside || resized_beside;
        Ok(ModelInput {
            name: input.name.clone(),
            origin,
            takes_pictures: card.embedded.is_some(),
            resize_asked: asked.is_some(),
            resize_is_open: asked.or(noted).is_none(),
            overruled,
            beside: is_followed.then(|| beside.pixels_of.clone()),
            resized_beside,
            beside_notes,
            because: None,
            witness: None,
            channels: known(c).unwrap_or(3),
            height,
            width,
            spec: InputSpec {
                preprocess: Preprocess {
                    resize: asked.or(noted).unwrap_or_default(),
                    ..scaled.clone()
                },
                layout,
            },
        })
    }

    /// Opens a data set for this input, of which more may be said than where it is, with `classes` in their order where
    /// they are the data's, to be changed by `augment` while it is trained on; see
    /// [`Dataset::open_within`].
    ///
    /// # Errors
    /// When it cannot be used, or the model takes [pictures](ModelInput::takes_pictures) as they are, which are of a size of
    /// their own.
    pub fn open(
        &self,
        (data, sources): (&Path, &Sources),
        classes: Option<&[String]>,
        limits: &Limits,
        augment: Choice<Augment>,
        progress: Option<&(dyn Fn(usize, usize) -> bool + Sync)>,
    ) -> Result<Dataset, ClassifierError> {
        if self.takes_pictures {
            return Err(ClassifierError::Mismatch(
                "the model has its preprocessing inside (`package --embed-preprocessing`) and takes pictures of any size, one by \
                 one, which only `predict` and `serve` give it: take the model that it was packaged of"
                    .to_owned(),
            ));
        }
        let options = OpenOptions {
            height: self.height,
            width: self.width,
            channels: self.channels,
            resize: self.spec.preprocess.resize,
            augment,
            sources: Some(sources),
            classes,
            progress,
        };
        Ok(Dataset::open_within(data, &options, limits)?)
    }
}

/// Whether pixels stay the whole numbers that they are.
fn keeps_bytes(preprocess: &Preprocess) -> bool {
    let raw = Preprocess::RAW;
    preprocess.scales_as(&raw) || preprocess.scales_as(&raw.swapped())
}

/// Where decoded images are kept for later runs; `None` where there is no home folder.
pub fn image_folder() -> Option<PathBuf> {
    locate::cache_dir().map(|dir| dir.join("images"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ResizeMode;
    use crate::graph::{Builder, Value};

    #[test]
    fn pixels_are_scaled_and_images_resized_by_whoever_says_so_each_for_itself() {
        let mut graph = Graph {
            inputs: vec![Value::batched("x", &[3, 8, 8])],
            ..Graph::new(17)
        };
        let output = Builder::new(&mut graph).op("y", "GlobalAveragePool", &["x"], vec![]);
        graph.outputs = vec![Value::batched(&output, &[3, 1, 1])];
        let by = |preprocess: Preprocess, resize| Preprocess {
            resize,
            ..preprocess
        };
        let other = Resize::by(ResizeMode::Crop { share: 0.9 });
        let signed = Preprocess::SIGNED;
        let noted = Some(by(Preprocess::CAFFE, Resize::CROP));
        let guess = DEFAULT_PREPROCESS;
        // What the card says, what is asked for, and what is taken, with the number of things overruled.
        for (card, preprocess, resize, taken, overruled) in [
            (None, None, None, guess.clone(), 0),
            (None, None, Some(other), by(guess, other), 0),
            (None, Some(signed.clone()), None, signed.clone(), 0),
            (noted.clone(), None, None, noted.clone().unwrap(), 0),
            (
                noted.clone(),
                Some(signed.clone()),
                None,
                by(signed.clone(), Resize::CROP),
                1,
            ),
            (
                noted.clone(),
                None,
                Some(Resize::SQUASH),
                Preprocess::CAFFE,
                1,
            ),
            (
                noted.clone(),
                Some(by(signed.clone(), other)),
                None,
                by(signed.clone(), other),
                2,
            ),
            (
                noted,
                Some(by(signed.clone(), other)),
                Some(Resize::SQUASH),
                signed,
                2,
            ),
        ] {
            let card = ModelCard {
                preprocess: card,
                ..ModelCard::default()
            };
            let input = ModelInput::of(&graph, &card, None, preprocess.as_ref(), resize).unwrap();
            assert_eq!(input.spec.preprocess, taken);
            assert_eq!(input.overruled.len(), overruled, "{:?}", input.overruled);
        }
    }
}
