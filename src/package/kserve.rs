//! What KServe is given: Triton's repository, what the server will say of the model, and the resource that asks for one.

use serde_json::json;

use super::facts::Facts;
use super::{Format, Package, PackageError, protocol, readme, triton};

/// Triton's repository with `NAME/metadata.json`, `request.json` and `inferenceservice.yaml`.
pub(super) fn package(facts: &Facts) -> Result<Package, PackageError> {
    let mut package = triton::package(facts)?;
    let name = &facts.name;
    let metadata = serde_json::to_string_pretty(&protocol::metadata(facts)?)?;
    package.text(&format!("{name}/metadata.json"), metadata + "\n");
    package.text("request.json", request(facts)? + "\n");
    package.text("inferenceservice.yaml", resource(facts));
    package.text("README.md", readme::of(facts, Format::Kserve));
    Ok(package)
}

/// A request for one picture (for as many as a model of a fixed batch takes), all of zeros.
fn request(facts: &Facts) -> Result<String, PackageError> {
    let dims = facts.example_dims(1);
    let count: usize = dims.iter().product();
    Ok(serde_json::to_string(&json!({
        "inputs": [{
            "name": facts.input.name,
            "datatype": protocol::datatype(facts.input.dtype)?,
            "shape": dims,
            "data": vec![0; count],
        }],
        "outputs": [{ "name": facts.output.name }],
    }))?)
}

/// The name of a resource of Kubernetes: lower-case letters, digits and `-`.
fn resource_name(name: &str) -> String {
    let plain = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_lowercase(),
        false => '-',
    };
    let name: String = name.chars().map(plain).take(50).collect();
    let name = name.trim_matches('-');
    // A service's name begins with a letter.
    match name.starts_with(|c: char| c.is_ascii_lowercase()) {
        true => name.to_owned(),
        false => format!("model-{name}").trim_end_matches('-').to_owned(),
    }
}

fn resource(facts: &Facts) -> String {
    format!(
        "apiVersion: serving.kserve.io/v1beta1\n\
         kind: InferenceService\n\
         metadata:\n  name: \"{}\"\n\
         spec:\n  predictor:\n    model:\n      modelFormat:\n        name: onnx\n      runtime: kserve-tritonserver\n      \
         protocolVersion: v2\n      # Where the folder of this file was copied to: s3://, gs://, pvc://, https:// …\n      \
         storageUri: pvc://models/{}\n",
        resource_name(&facts.name),
        facts.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_have_names_that_kubernetes_takes() {
        for (name, expected) in [
            ("Flowers_v2.1", "flowers-v2-1"),
            ("5flowers", "model-5flowers"),
            ("a-", "a"),
            ("9_", "model-9"),
        ] {
            assert_eq!(resource_name(name), expected);
        }
    }
}
