//! The page of a package in headless Chromium, on twenty photos, against `predict`.

use std::fs;
use std::path::PathBuf;

use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::testing::shared;
use serde_json::Value;

use crate::chromium::{Visit, browser};
use crate::models::Place;
use crate::scene::{SIZES, Subject, place, subjects};
use crate::server::Served;

/// What a user does: drops some pictures, chooses the others, and reads what is said of them.
const USER: &str = r#"
const wait = (time) => new Promise((resolve) => setTimeout(resolve, time));
const status = document.getElementById('status');
try {
  while (status.textContent !== 'Drop pictures.') await wait(50);
  const names = NAMES;
  const [dropped, chosen] = [new DataTransfer(), new DataTransfer()];
  for (const [at, name] of names.entries()) {
    const bytes = await (await fetch(`given/${name}`)).arrayBuffer();
    (at % 2 === 0 ? dropped : chosen).items.add(new File([bytes], name));
  }
  document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: dropped, bubbles: true, cancelable: true }));
  const chooser = document.getElementById('choose');
  chooser.files = chosen.files;
  chooser.dispatchEvent(new Event('change'));
  const done = `Done: ${names.length} pictures.`;
  while (status.textContent !== done && !status.classList.contains('wrong')) await wait(50);
  const said = [...document.querySelectorAll('.result table')].map((table) => ({
    name: table.caption.textContent,
    classes: [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent)),
  }));
  await fetch('said', { method: 'POST', body: JSON.stringify({ status: status.textContent, said }) });
} catch (error) {
  await fetch('said', { method: 'POST', body: JSON.stringify({ status: error.stack, said: [] }) });
}
"#;

/// Packages the model as a page, has it classify pictures, and holds that against `predict`.
fn classifies(
    subject: &str,
    place: &Place,
    chromium: &std::path::Path,
    files: &[PathBuf],
    tolerance: f64,
) {
    place
        .run("package model.onnx --format web --out page --force")
        .well();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let names: Vec<String> = files.iter().map(name).collect();
    let served = Served {
        page: place.at("page"),
        user: USER.replace("NAMES", &serde_json::to_string(&names).unwrap()),
        more: Box::new({
            let files = files.to_vec();
            move |path| {
                let asked = path.strip_prefix("/given/")?;
                let file = files
                    .iter()
                    .find(|file| file.file_name().unwrap() == asked)?;
                fs::read(file).ok()
            }
        }),
    };
    let visit = Visit::of(chromium, &place.at("profile"), served);
    let post = visit.post();
    visit.end();
    assert_eq!(post.path, "/said");
    let told: Value = serde_json::from_slice(&post.body).unwrap();
    let said = told["said"].as_array().unwrap();
    assert_eq!(said.len(), files.len(), "{subject}: {}", told["status"]);
    for file in files {
        let ran = place.run(&format!("predict model.onnx --json {}", file.display()));
        ran.well();
        let expected: Value = serde_json::from_str(&ran.out()).unwrap();
        let own = said
            .iter()
            .find(|s| s["name"] == name(file).as_str())
            .unwrap();
        let rows = own["classes"].as_array().unwrap();
        for class in expected[0]["classes"].as_array().unwrap() {
            let percent = |row: &Value| -> f64 {
                let text = row[0].as_str().unwrap();
                text.trim_end_matches(" %").parse().unwrap()
            };
            let own = rows.iter().find(|row| row[1] == class["name"]);
            let own = own.or(rows.last()).map_or(0.0, percent);
            let expected = 100.0 * class["probability"].as_f64().unwrap();
            assert!(
                (own - expected).abs() < tolerance,
                "{subject}, {}: {own} for {expected} of {}",
                file.display(),
                class["name"]
            );
        }
    }
}

fn photos(place: &Place) -> Vec<PathBuf> {
    (0..SIZES.len())
        .map(|at| place.at(&format!("pictures/{at}.png")))
        .collect()
}

#[test]
fn a_page_says_what_predict_says_of_models_of_every_kind() {
    let Some(chromium) = browser().filter(|_| has_runtime()) else {
        return;
    };
    for Subject { name, proto } in subjects() {
        let place = place(&proto);
        classifies(name, &place, &chromium, &photos(&place), 2.0);
    }
}

#[test]
fn a_page_says_what_predict_says_of_twenty_digits() {
    let Some(chromium) = browser().filter(|_| has_runtime()) else {
        return;
    };
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = place(&subjects()[0].proto);
    fs::copy(
        root.join("onnx-models/fashion_mobilenet.onnx"),
        place.at("model.onnx"),
    )
    .unwrap();
    let mut files = Vec::new();
    for digit in 0..10 {
        let entries = fs::read_dir(root.join(format!("fixtures/digits/{digit}"))).unwrap();
        let mut own: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        own.sort();
        files.extend(own.into_iter().take(2));
    }
    classifies("digits", &place, &chromium, &files, 1.0);
}

#[test]
fn a_page_says_what_predict_says_of_twenty_photos() {
    let Some(folder) = shared() else { return };
    let Some(chromium) = browser().filter(|_| has_runtime()) else {
        return;
    };
    let place = place(&subjects()[0].proto);
    let model = folder.join("models/mobilenet_v2.onnx");
    let flowers = folder.join("data/tf_flowers/roses");
    if !model.is_file() || !flowers.is_dir() {
        return ftsurgery::testing::skip("shared", "mobilenet_v2.onnx and tf_flowers");
    }
    let model = ftsurgery::onnx::Model::open(&model).unwrap();
    let names: Vec<String> = (0..19).map(|i| format!("kind {i}")).collect();
    let proto = crate::scene::told(model.proto.clone(), &names, "signed crop", &[]);
    ftsurgery::onnx::save(&proto, &place.at("model.onnx")).unwrap();
    let entries = fs::read_dir(flowers).unwrap();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path().canonicalize().unwrap())
        .collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "jpg"));
    files.sort();
    files.truncate(20);
    assert_eq!(files.len(), 20);
    // A browser decodes some pixels of JPEG otherwise.
    classifies("flowers", &place, &chromium, &files, 3.0);
}
