//! What runtimes make of a model, by `verify`.

use ftsurgery::onnx::Tensor;
use ftsurgery::runtime::locate;
use ftsurgery::testing::{python, skip};
use serde_json::Value as Json;

use crate::scene::*;

fn verified(scene: &Scene, arguments: &str) -> (Option<i32>, Json) {
    let output = scene.run(&format!("verify {arguments} --json"));
    let told = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    (output.status.code(), told)
}

fn runtime<'j>(told: &'j Json, name: &str) -> &'j Json {
    let mut runtimes = told["outputs"]["runtimes"].as_array().unwrap().iter();
    runtimes.find(|r| r["runtime"] == name).unwrap()
}

fn has_runtime() -> bool {
    let found = locate::locate(None);
    if let Err(why) = &found {
        skip("runtime", why);
    }
    found.is_ok()
}

#[test]
fn runtimes_agree_on_a_model_and_one_that_is_not_there_is_told() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let (code, told) = verified(&scene, "a.onnx --dim N=3");
    assert_eq!((code, &told["holds"]), (Some(0), &true.into()), "{told:#}");
    let tract = runtime(&told, "tract");
    assert_eq!(tract["gaps"][0]["change"]["elements"], 15, "{tract:#}");
    let of_python = python(&["onnxruntime", "numpy"]).is_some();
    let other = runtime(&told, "onnxruntime of Python");
    match of_python {
        true => assert_eq!(other["gaps"][0]["holds"], true, "{other:#}"),
        false => assert!(
            other["trouble"].as_str().unwrap().starts_with("not there"),
            "{other:#}"
        ),
    }
    if python(&["openvino", "numpy"]).is_some() {
        assert_eq!(
            runtime(&told, "OpenVINO")["gaps"][0]["holds"],
            true,
            "{told:#}"
        );
    }
}

#[test]
fn another_model_is_held_against_the_first_within_the_tolerance() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    scene.with("b.onnx", |_, g| {
        let mut values = numbers(5);
        values[2] += 0.25;
        g.initializer[2] = Tensor::f32(&[5], &values).to_proto("fc.b");
    });
    let (code, told) = verified(&scene, "a.onnx --against b.onnx");
    assert_eq!((code, &told["holds"]), (Some(1), &false.into()), "{told:#}");
    for name in ["onnxruntime", "tract"] {
        let gap = &runtime(&told, name)["gaps"][0];
        let largest = gap["change"]["largest"].as_f64().unwrap();
        assert!((largest - 0.25).abs() < 1e-6, "{gap:#}");
        assert_eq!(gap["change"]["changed"], 1);
    }
    assert_eq!(
        verified(&scene, "a.onnx --against b.onnx --tolerance 0.3").0,
        Some(0)
    );
}

#[test]
fn latency_is_told_of_both_models() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let (code, told) = verified(
        &scene,
        "a.onnx --against a.onnx --latency --latency-seconds 1",
    );
    assert_eq!(code, Some(0), "{told:#}");
    for latency in runtime(&told, "onnxruntime")["latency"].as_array().unwrap() {
        let (median, p95) = (
            latency["median"].as_f64().unwrap(),
            latency["p95"].as_f64().unwrap(),
        );
        assert!(0.0 < median && median <= p95, "{latency}");
        assert!(latency["runs"].as_u64().unwrap() > 1);
    }
}

#[test]
fn what_does_not_fit_is_trouble() {
    let scene = Scene::new();
    for arguments in ["a.onnx --dim M=2", "a.onnx --inputs nothing.npz"] {
        let output = scene.run(&format!("verify {arguments}"));
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}
