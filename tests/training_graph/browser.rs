//! The page of `differentiate --format web` in headless Chromium: pictures are put into its boxes, it trains, and what it
//! gives to be downloaded is looked at.

use std::fs;
use std::path::{Path, PathBuf};

use ftsurgery::onnx::Model;
use ftsurgery::surgery::{Part, differences};
use ftsurgery::testing::skip;
use tempfile::TempDir;

use crate::chromium::{Visit, browser};
use crate::scene::ftsurgery;
use crate::server::Served;

/// Pictures of each digit that are trained on.
const TRAINED: usize = 10;
pub const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// What a user does: drops pictures, chooses pictures, trains, downloads.
const USER: &str = r#"
const report = (text) => fetch('said', { method: 'POST', body: text });
const wait = (time) => new Promise((resolve) => setTimeout(resolve, time));
const status = document.getElementById('status');
try {
  while (!document.querySelector('.box')) await wait(50);
  const pictures = await (await fetch('pictures.json')).json();
  const boxes = [...document.querySelectorAll('.box')];
  for (const [at, box] of boxes.entries()) {
    const given = new DataTransfer();
    const name = box.querySelector('input[type=text]').value;
    for (const file of pictures[name]) {
      const bytes = await (await fetch(`picture/${name}/${file}`)).arrayBuffer();
      given.items.add(new File([bytes], file, { type: 'image/png' }));
    }
    if (at % 2 === 0) {
      box.dispatchEvent(new DragEvent('drop', { dataTransfer: given, bubbles: true, cancelable: true }));
    } else {
      const chooser = box.querySelector('input[type=file]');
      chooser.files = given.files;
      chooser.dispatchEvent(new Event('change'));
    }
  }
  const form = document.getElementById('settings');
  for (const [name, value] of Object.entries(SETTINGS)) form[name].value = value;
  let file = null;
  const make = URL.createObjectURL;
  URL.createObjectURL = (blob) => { file = blob; return make(blob); };
  document.getElementById('train').click();
  while (!status.textContent.startsWith('Done') && !status.classList.contains('wrong')) await wait(100);
  document.getElementById('download').click();
  await fetch('downloaded', { method: 'POST', body: file });
  await report(`${status.textContent}; ${document.querySelectorAll('polyline').length} curves`);
} catch (error) {
  await report(`failed: ${error.stack}; ${status.textContent}`);
}
"#;

struct Scene {
    folder: TempDir,
}

impl Scene {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Digits to train on, and the others, as folders of classes.
    fn of_digits() -> Self {
        let scene = Scene {
            folder: tempfile::tempdir().unwrap(),
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for digit in DIGITS {
            let files = fs::read_dir(root.join("fixtures/digits").join(digit)).unwrap();
            let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
            files.sort();
            for (at, file) in files.iter().enumerate() {
                let part = if at < TRAINED { "train" } else { "rest" };
                let to = scene.at(part).join(digit);
                fs::create_dir_all(&to).unwrap();
                fs::copy(file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
        scene
    }

    /// The page, of digits, and what else `flags` say.
    fn page(&self, flags: &str) {
        ftsurgery(&["differentiate"])
            .arg(backbone())
            .args(["--format", "web", "--classes", &DIGITS.join(",")])
            .args(flags.split_whitespace())
            .arg("--out")
            .arg(self.at("page"))
            .assert()
            .success();
    }

    /// The share of the digits that were not trained on that a model has right.
    fn accuracy(&self, model: &Path) -> f64 {
        let ran = ftsurgery(&["evaluate", "--json"])
            .arg(model)
            .arg("--data")
            .arg(self.at("rest"))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stdout);
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        told["accuracy"].as_f64().unwrap()
    }

    /// What the page says when it has trained with these settings; its file is `tuned.onnx`.
    fn trains(&self, chromium: &Path, settings: &str) -> String {
        let pictures = self.at("train");
        let visit = Visit::of(
            chromium,
            &self.at("profile"),
            Served {
                page: self.at("page"),
                user: USER.replace("SETTINGS", settings),
                more: Box::new(move |path| of_pictures(&pictures, path)),
            },
        );
        let mut said = visit.post();
        if said.path == "/downloaded" {
            fs::write(self.at("tuned.onnx"), &said.body).unwrap();
            said = visit.post();
        }
        visit.end();
        String::from_utf8(said.body).unwrap()
    }
}

pub fn backbone() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx-models/fashion_mobilenet.onnx")
}

/// The list of the pictures of each digit, and each of them.
fn of_pictures(folder: &Path, path: &str) -> Option<Vec<u8>> {
    if path != "/pictures.json" {
        return fs::read(folder.join(path.strip_prefix("/picture/")?)).ok();
    }
    let names = |digit: &&str| {
        let files = fs::read_dir(folder.join(digit)).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> = files
            .map(|e| name(e).to_string_lossy().into_owned())
            .collect();
        names.sort();
        ((*digit).to_owned(), names.into())
    };
    let all: serde_json::Map<String, serde_json::Value> = DIGITS.iter().map(names).collect();
    Some(serde_json::to_vec(&all).unwrap())
}

/// That a file is the page's model but for what was trained and the names of the classes, and that runtimes agree on it.
fn is_tuned(scene: &Scene) {
    let contract = fs::read(scene.at("page/contract.json")).unwrap();
    let contract: serde_json::Value = serde_json::from_slice(&contract).unwrap();
    let trained = contract["trained"].as_array().unwrap().len();
    let [made, tuned] =
        ["page/model.onnx", "tuned.onnx"].map(|name| Model::open(&scene.at(name)).unwrap());
    let found = differences(&made, &tuned).unwrap();
    let (tensors, others): (Vec<_>, Vec<_>) = found.iter().partition(|d| d.part == Part::Tensor);
    assert_eq!(tensors.len(), trained);
    let others: Vec<&str> = others.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(others, ["ftsurgery.classes"]);
    let tuned = scene.at("tuned.onnx");
    ftsurgery(&["verify"]).arg(tuned).assert().success();
}

/// A page with these flags that has trained for so many epochs at a rate, and the accuracy of its file beside that of
/// `tune`'s with its flags.
fn compared(flags: &str, (epochs, rate): (usize, f64), by_tune: &str) -> Option<[f64; 2]> {
    let chromium = browser()?;
    if let Err(error) = ftsurgery::runtime::locate::locate(None) {
        skip("runtime", error);
        return None;
    }
    let scene = Scene::of_digits();
    scene.page(flags);
    let settings = format!("{{ epochs: {epochs}, rate: {rate}, batch: 16, heldOut: '0' }}");
    let said = scene.trains(&chromium, &settings);
    let whole = format!("Done, epoch {epochs} of {epochs}: loss ");
    assert!(
        said.starts_with(&whole) && said.ends_with("accuracy 100.0 %; 3 curves"),
        "{said}"
    );
    is_tuned(&scene);
    ftsurgery(&["tune"])
        .arg(backbone())
        .args([
            "--data",
            "train",
            "--validation",
            "train",
            "--test",
            "rest",
            "--out",
            "run",
        ])
        .args(["--head-init", "random", "--augment", "none"])
        .args(["--lr", &rate.to_string(), "--epochs", &epochs.to_string()])
        .args(by_tune.split_whitespace())
        .current_dir(scene.folder.path())
        .assert()
        .success();
    let winners = fs::read_dir(scene.at("run/winners")).unwrap();
    let winners: Vec<PathBuf> = winners.map(|entry| entry.unwrap().path()).collect();
    let mut models = winners
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"));
    Some([scene.at("tuned.onnx"), models.next().unwrap()].map(|model| scene.accuracy(&model)))
}

#[test]
fn a_page_trains_a_head_on_a_hundred_digits_as_well_as_tune() {
    let flags = "--trainable ftsurgery/head/**";
    let Some([page, tune]) = compared(flags, (60, 0.01), "--strategies head --operators standard")
    else {
        return;
    };
    assert!(
        (page - tune).abs() <= 0.02,
        "{page} in the page, {tune} by tune"
    );
}

#[test]
fn a_page_trains_all_layers_on_a_hundred_digits_about_as_well_as_tune() {
    let by_tune = "--strategies full --bn batch --ema 0.98 --operators standard";
    let Some([page, tune]) = compared(
        "--bn batch --optimizer adamw --ema 0.98",
        (30, 0.003),
        by_tune,
    ) else {
        return;
    };
    // By the seed alone `tune` differs by four points.
    assert!(
        (page - tune).abs() <= 0.06,
        "{page} in the page, {tune} by tune"
    );
}
