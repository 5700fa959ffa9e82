//! What is refused, and how it is named.

use ftsurgery::onnx::Tensor;
use ftsurgery::runtime::testing::has_runtime;

use crate::networks::{attention, changed, noisy, plain, residual};
use crate::scene::{Scene, digits};

#[test]
fn another_architecture_is_refused_by_what_differs() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new(&attention(), &residual());
    let said = scene.refused(&digits(), "--pictures 20");
    for part in [
        "model.onnx",
        "original.onnx",
        "`patches`",
        "`c0`",
        "--against",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let mut fewer = plain();
    let rows = Tensor::f32(&[7, 12], &[0.5; 84]);
    fewer.initializers.insert("fc.w".to_owned(), rows);
    let bias = Tensor::f32(&[7], &[0.5; 7]);
    fewer.initializers.insert("fc.b".to_owned(), bias);
    fewer.outputs = vec![ftsurgery::graph::Value::batched("y", &[7])];
    let scene = Scene::new(&fewer, &plain());
    let said = scene.refused(&digits(), "--pictures 20");
    assert!(
        said.contains("`y`") && said.contains("[7]") && said.contains("[10]"),
        "{said}"
    );
}

#[test]
fn what_is_no_number_is_named_with_its_model() {
    if !has_runtime() {
        return;
    }
    let network = plain();
    let broken = changed(&network, |name, values| match name {
        "fc.w" => vec![f32::NAN; values.len()],
        _ => values.to_vec(),
    });
    let scene = Scene::new(&broken, &network);
    let said = scene.refused(&digits(), "--pictures 20");
    assert!(said.contains("model.onnx: the values of `y`"), "{said}");
    let scene = Scene::new(&network, &broken);
    let said = scene.refused(&digits(), "--pictures 20");
    assert!(said.contains("original.onnx: the values of `y`"), "{said}");
}

#[test]
fn too_few_pictures_and_files_that_would_be_lost_are_refused() {
    if !has_runtime() {
        return;
    }
    let network = plain();
    let scene = Scene::new(&noisy(&network, 0.1), &network);
    let said = scene.refused(&digits(), "--pictures 3");
    assert!(said.contains("3 pictures, and at least 4"), "{said}");
    std::fs::create_dir(scene.at("empty")).unwrap();
    scene.refused(&scene.at("empty"), "");
    let before = std::fs::read(scene.at("original.onnx")).unwrap();
    let said = scene.refused(&digits(), "--force --out original.onnx");
    assert!(said.contains("would be written over"), "{said}");
    let said = scene.refused(&digits(), "--out nowhere/out.onnx");
    assert!(said.contains("no folder nowhere"), "{said}");
    std::fs::write(scene.at("there.onnx"), "mine").unwrap();
    let said = scene.refused(&digits(), "--out there.onnx");
    assert!(said.contains("--force"), "{said}");
    assert_eq!(std::fs::read(scene.at("there.onnx")).unwrap(), b"mine");
    assert_eq!(std::fs::read(scene.at("original.onnx")).unwrap(), before);
    let words = "externalize original.onnx --least 1 --out model.onnx --force";
    let moved = scene.run(&words.split(' ').collect::<Vec<_>>());
    assert!(moved.status.success());
    let said = scene.refused(&digits(), "--force --out model.onnx.data");
    assert!(said.contains("would be written over"), "{said}");
}
