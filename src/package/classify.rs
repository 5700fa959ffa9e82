// Classifies pictures: cargo run -- PICTURE…
// In Cargo.toml: ftsurgery = { path = "…", default-features = false }, without what only its command needs. It decodes, resizes
// and scales as the model's metadata say, and finds the onnxruntime library as the command does.
use std::error::Error;
use std::path::Path;

use ftsurgery::classifier::{Inference, ModelCard, ModelInput};
use ftsurgery::graph::Graph;
use ftsurgery::onnx::Model;
use ftsurgery::runtime::{Device, Runtime, locate};

fn main() -> Result<(), Box<dyn Error>> {
    let pictures: Vec<String> = std::env::args().skip(1).collect();
    print!("{}", classify(Path::new("model.onnx"), &pictures)?);
    Ok(())
}

fn classify(model: &Path, pictures: &[String]) -> Result<String, Box<dyn Error>> {
    let runtime = Runtime::load(&locate::locate(None)?.located)?;
    let model = Model::open(model)?;
    let card = ModelCard::read(&model)?;
    let input = ModelInput::of(&Graph::from_model(&model)?, &card, None, None, None)?;
    let mut inference = Inference::new(&runtime, &model, Device::Cpu, 0)?.of_task(card.task);
    let mut said = String::new();
    for path in pictures {
        let picture = input.picture(Path::new(path))?;
        let outputs = inference.run(&picture.sample, 1, &mut |_, to| Ok(picture.write(to)?))?;
        said += &format!("{path}\n");
        let probabilities = outputs.probabilities().next().unwrap_or_default();
        for class in card.ranked(&probabilities, None) {
            said += &format!("  {:6.2} %  {}\n", 100.0 * class.probability, class.name);
        }
    }
    Ok(said)
}
