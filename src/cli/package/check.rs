//! A packaged model against the one that it was made of, on pictures that are made here.

use std::path::Path;

use crate::classifier::{Inference, ModelCard, ModelInput, Outputs};
use crate::data::ImageFile;
use crate::graph::Graph;
use crate::onnx::{Model, encode};
use crate::package::Facts;
use crate::runtime::{Device, Runtime};

use crate::cli::CliError;
use crate::cli::classifier::Classifier;

/// Widths and heights of pictures, of which some are higher than wide, and some smaller than what networks see.
const SIZES: [[usize; 2]; 3] = [[320, 213], [97, 131], [24, 20]];
/// What probabilities may differ by.
const TOLERANCE: f64 = 1e-3;

/// A picture of soft colours with some grain, always the same: a bitmap file.
fn picture([width, height]: [usize; 2], seed: u32) -> Vec<u8> {
    let row = (3 * width).next_multiple_of(4);
    let size = 54 + row * height;
    let mut file = b"BM".to_vec();
    let words = [size as u32, 0, 54, 40, width as u32, height as u32];
    file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    file.extend([1, 0, 24, 0]);
    file.resize(54, 0);
    let mut grain = seed.wrapping_mul(2_654_435_761) | 1;
    for y in 0..height {
        for x in 0..width {
            for c in 0..3 {
                grain = grain.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
                let wave = (7.0 * x + 3.0 * c as f32 + seed as f32).sin() * (5.0 * y + 1.0).cos();
                let value = 128.0 + 90.0 * wave + (grain >> 27) as f32;
                file.push(value.clamp(0.0, 255.0) as u8);
            }
        }
        file.resize(54 + row * (y + 1), 0);
    }
    file
}

/// What a model makes of the pictures.
pub fn outputs(inference: &mut Inference, input: &ModelInput) -> Result<Outputs, CliError> {
    let name = Path::new("a picture");
    let files = SIZES
        .iter()
        .zip(1..)
        .map(|(size, seed)| picture(*size, seed));
    let files: Vec<Vec<u8>> = files.collect();
    let mut all: Option<Outputs> = None;
    let pictures = files
        .iter()
        .map(|bytes| input.picture_of(&ImageFile::new(name, bytes)));
    let pictures = pictures.collect::<Result<Vec<_>, _>>()?;
    // Those of one size together, so that it is seen whether the model keeps them apart.
    let apart = pictures
        .windows(2)
        .any(|two| two[0].sample != two[1].sample);
    let groups = pictures.chunks(if apart { 1 } else { pictures.len() });
    for group in groups {
        let made = inference.run(&group[0].sample, group.len(), &mut |range, values| {
            let each = values.len() / range.len().max(1);
            for (picture, values) in group[range].iter().zip(values.chunks_exact_mut(each)) {
                picture.write(values)?;
            }
            Ok(())
        })?;
        match &mut all {
            Some(all) => all.values.extend(made.values),
            None => all = Some(made),
        }
    }
    all.ok_or_else(|| CliError::failure("no picture was run"))
}

/// Holds a packaged model against the one that it was made of.
pub fn same(
    runtime: &Runtime,
    (packaged, facts): (&Model, &Facts),
    (inference, original): (&mut Inference, &Classifier),
) -> Result<(), CliError> {
    let expected = outputs(inference, &original.input)?;
    // As it will be read from its file; where that cannot hold the weights, as it is.
    let read = match encode(&packaged.proto) {
        Ok(bytes) => Some(Model::decode(bytes.into(), packaged.path())?),
        Err(_) => None,
    };
    let model = read.as_ref().unwrap_or(packaged);
    let card = ModelCard::read(model)?;
    let graph = Graph::from_model(model)?;
    let input = ModelInput::of(&graph, &card, Some((facts.height, facts.width)), None, None)?;
    let mut inference = Inference::new(runtime, model, Device::Cpu, 0)?.of_task(card.task);
    let made = outputs(&mut inference, &input)?;
    let rows = expected.probabilities().zip(made.probabilities());
    let apart = rows.flat_map(|(one, other)| {
        let pairs = one.into_iter().zip(other);
        pairs.map(|(a, b)| (a - b).abs()).collect::<Vec<f64>>()
    });
    // Not a number is apart from all.
    let apart = apart.fold(0.0, |most: f64, apart| match apart <= TOLERANCE {
        true => most,
        false => most.max(if apart.is_nan() { 1.0 } else { apart }),
    });
    match apart {
        0.0 => Ok(()),
        apart => Err(CliError::failure(format!(
            "the packaged model does not say the same as {}: probabilities differ by up to {apart:.1e}; nothing is written",
            packaged.path().display()
        ))),
    }
}
