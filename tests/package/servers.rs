//! Packages for Triton and KServe: by protobuf's reader of its own schema, and against what onnxruntime says of the model.

use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::testing::{python as found, skip};
use serde_json::Value;

use crate::scene::{place, python, subjects};

/// Holds `config.pbtxt` and `metadata.json` against the model, and prints the labels that it has for them.
const CHECK: &str = r#"
import json, os
import numpy as np
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

name = "made.v1"
text = open(f"repository/{name}/config.pbtxt", encoding="utf-8").read()
config = text_format.Parse(text, triton.ModelConfig())
session = onnxruntime.InferenceSession(f"repository/{name}/1/model.onnx")
types = {"tensor(float)": ("FP32", np.float32), "tensor(uint8)": ("UINT8", np.uint8)}
known = lambda dims: [dim if isinstance(dim, int) else -1 for dim in dims]
told = json.load(open(f"repository/{name}/metadata.json"))

assert config.name == name and config.backend == "onnxruntime"
assert not config.instance_group[0].gpus and config.instance_group[0].count == 1
for own, entry, metadata in [
    (session.get_inputs(), config.input, told["inputs"]),
    (session.get_outputs(), config.output, told["outputs"]),
]:
    by_name = {value.name: value for value in own}
    (entry,), (metadata,) = entry, metadata
    value = by_name[entry.name]
    assert metadata["name"] == entry.name
    assert "TYPE_" + types[value.type][0] == triton.DataType.Name(entry.data_type)
    assert types[value.type][0] == metadata["datatype"]
    whole = ([] if config.max_batch_size == 0 else [-1]) + list(entry.dims)
    assert whole == known(value.shape), (whole, value.shape)
    assert whole == metadata["shape"]
assert len(session.get_inputs()) == 1
free = known(session.get_inputs()[0].shape)[0] == -1
assert (config.max_batch_size > 1) == free == config.HasField("dynamic_batching")

(warm,) = config.model_warmup
(key, value), = warm.inputs.items()
dims = ([] if config.max_batch_size == 0 else [1]) + list(value.dims)
dtype = types[session.get_inputs()[0].type][1]
output, = config.output
scores, = session.run([output.name], {key: np.zeros(dims, dtype)})
assert warm.batch_size == 1 and value.zero_data

request = json.load(open("repository/request.json"))
(asked,) = request["inputs"]
data = np.array(asked["data"], dtype).reshape(asked["shape"])
assert np.allclose(session.run([output.name], {asked["name"]: data})[0], scores)

labels = open(f"repository/{name}/labels.txt", encoding="utf-8").read().split("\n")
assert labels.pop() == ""
if output.label_filename:
    assert output.label_filename == "labels.txt" and len(labels) == scores.shape[1]
print(json.dumps({"labels": labels, "batch": config.max_batch_size, "labelled": bool(output.label_filename)}))
"#;

#[test]
fn servers_are_told_of_models_of_every_kind_what_is_true() {
    let Some(program) = found(&["tritonclient.grpc", "onnxruntime"]) else {
        return skip(
            "python",
            "a Python with tritonclient[grpc] and onnxruntime (FTSURGERY_PYTHON)",
        );
    };
    if !has_runtime() {
        return;
    }
    for subject in subjects() {
        for embedded in ["", "--embed-preprocessing", "--embed-preprocessing=nchw"] {
            let place = place(&subject.proto);
            let said = place.run(&format!(
                "package model.onnx --format kserve --name made.v1 --out repository {embedded}"
            ));
            said.well();
            let told: Value = serde_json::from_str(&python(&place, &program, CHECK)).unwrap();
            let model = ftsurgery::onnx::Model::open(&place.at("model.onnx")).unwrap();
            let classes: Vec<String> =
                serde_json::from_str(model.metadata("ftsurgery.classes").unwrap()).unwrap();
            let lines: Vec<String> = classes
                .iter()
                .map(|name| name.replace(['\n', '\t'], " "))
                .collect();
            assert_eq!(told["labels"], Value::from(lines), "{}", subject.name);
            let is_fixed = subject.name == "a batch of four";
            assert_eq!(told["batch"] == 0, is_fixed, "{}", subject.name);
            let is_single = subject.name == "one output for two classes" && embedded.is_empty();
            assert_eq!(told["labelled"], !is_single, "{}", subject.name);
        }
    }
}

#[test]
fn a_repository_of_triton_is_that_of_kserve_without_what_is_kserves() {
    if !has_runtime() {
        return;
    }
    let place = place(&subjects()[0].proto);
    for format in ["triton", "kserve"] {
        place
            .run(&format!(
                "package model.onnx --format {format} --name m --out {format}"
            ))
            .well();
    }
    let read = |path: &str| std::fs::read(place.at(path)).unwrap();
    for file in ["m/1/model.onnx", "m/config.pbtxt", "m/labels.txt"] {
        assert_eq!(
            read(&format!("triton/{file}")),
            read(&format!("kserve/{file}")),
            "{file}"
        );
    }
    assert!(!place.at("triton/m/metadata.json").exists());
    let yaml = String::from_utf8(read("kserve/inferenceservice.yaml")).unwrap();
    assert!(yaml.contains("name: \"m\"") && yaml.contains("kserve-tritonserver"));
}
