//! `serve` as its clients see it: what it says, what it refuses, and that nothing is lost or ends it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ftsurgery::classifier::{Inference, ModelCard};
use ftsurgery::onnx::Model;
use ftsurgery::runtime::Device;
use ftsurgery::runtime::testing::{has_runtime, runtime};
use serde_json::{Value, json};

use crate::models::Place;
use crate::scene::{SIZES, Subject, place, subjects};

/// What a client waits for.
const LIMIT: Duration = Duration::from_secs(120);

/// A server; it ends with its scope.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn of(place: &Place, arguments: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
            .args(["serve", "--port", "0", "--quiet"])
            .args(arguments.split_whitespace())
            .current_dir(place.at("."))
            .stdout(Stdio::piped())
            .stderr(fs::File::create(place.at("log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap_or_else(|| {
            panic!("{line}{}", fs::read_to_string(place.at("log")).unwrap());
        });
        Server {
            address: address.trim_end_matches('/').to_owned(),
            process,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Sends bytes and gives status and body of the answer.
    fn raw(&self, bytes: &[u8]) -> (u16, String) {
        let mut stream = self.connect();
        // It may answer, and close, before it has read all.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        answer(&mut stream)
    }

    fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.raw(&[head.as_bytes(), body].concat())
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, b"");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Whether it is there, and ready.
    fn is_well(&mut self) -> bool {
        let runs = self.process.try_wait().unwrap().is_none();
        runs && self.get("/v2/health/ready")["ready"] == true
    }

    /// The most memory that it has had, in bytes, where the system says it.
    fn most_memory(&self) -> Option<u64> {
        let path = format!("/proc/{}/status", self.process.id());
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib << 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or(0), body.to_owned())
}

#[test]
fn a_picture_has_the_classes_that_predict_says_for_models_of_every_kind() {
    if !has_runtime() {
        return;
    }
    for Subject { name, proto } in subjects() {
        let place = place(&proto);
        place
            .run("package model.onnx --format plain --out packed --embed-preprocessing")
            .well();
        for model in ["model.onnx", "packed/model.onnx"] {
            let server = Server::of(&place, model);
            for at in 0..SIZES.len() {
                let file = format!("pictures/{at}.png");
                let bytes = fs::read(place.at(&file)).unwrap();
                let (status, body) = server.ask("POST", "/classify", &bytes);
                assert_eq!(status, 200, "{name}, {model}: {body}");
                let said: Value = serde_json::from_str(&body).unwrap();
                let predicted = place.run(&format!("predict {model} --json {file}"));
                predicted.well();
                let predicted: Value = serde_json::from_str(&predicted.out()).unwrap();
                assert_eq!(said["classes"], predicted[0]["classes"], "{name}, {model}");
            }
        }
    }
}

#[test]
fn tensors_come_back_as_the_model_makes_them_by_the_open_inference_protocol() {
    let Some(runtime) = runtime() else { return };
    for Subject { name, proto } in subjects() {
        let place = place(&proto);
        let path = place.at("model.onnx");
        place
            .run("package model.onnx --format kserve --name m --out repository")
            .well();
        let server = Server::of(&place, "model.onnx --name m");
        let written = fs::read(place.at("repository/m/metadata.json")).unwrap();
        let told = server.get("/v2/models/m");
        assert_eq!(
            told,
            serde_json::from_slice::<Value>(&written).unwrap(),
            "{name}"
        );
        assert_eq!(server.get("/v2/models/m/versions/1/ready")["ready"], true);

        let input = &told["inputs"][0];
        let sample: Vec<usize> = input["shape"].as_array().unwrap()[1..]
            .iter()
            .map(|dim| dim.as_u64().unwrap() as usize)
            .collect();
        let each: usize = sample.iter().product();
        let values: Vec<f32> = (0..2 * each).map(|i| ((i * 37) % 251) as f32).collect();
        let dims = [&[2], &sample[..]].concat();
        let request = json!({
            "id": "one",
            "inputs": [{ "name": input["name"], "datatype": input["datatype"], "shape": dims, "data": values }],
        });
        // The same in lists of lists.
        let mut nested = request.clone();
        let rows: Vec<Vec<Vec<Vec<f32>>>> = values
            .chunks(each)
            .map(|sample_of| {
                let planes = sample_of.chunks(sample[1] * sample[2]);
                planes
                    .map(|p| p.chunks(sample[2]).map(<[f32]>::to_vec).collect())
                    .collect()
            })
            .collect();
        nested["inputs"][0]["data"] = json!(rows);

        let model = Model::open(&path).unwrap();
        let card = ModelCard::read(&model).unwrap();
        let inference = Inference::new(&runtime, &model, Device::Cpu, 1).unwrap();
        let mut inference = inference.of_task(card.task);
        let expected = inference
            .run(&sample, 2, &mut |range, to| {
                to.copy_from_slice(&values[range.start * each..range.end * each]);
                Ok(())
            })
            .unwrap();
        let expected: Vec<f32> = match inference.is_single() {
            true => expected.values.chunks(2).map(|row| row[1]).collect(),
            false => expected.values,
        };
        for request in [request, nested] {
            let (status, body) =
                server.ask("POST", "/v2/models/m/infer", request.to_string().as_bytes());
            assert_eq!(status, 200, "{name}: {body}");
            let said: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(said["id"], "one");
            let output = &said["outputs"][0];
            assert_eq!(output["name"], told["outputs"][0]["name"]);
            assert_eq!(output["shape"][0], 2);
            let made = output["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_f64().unwrap());
            let apart = made.zip(&expected).map(|(a, b)| (a - f64::from(*b)).abs());
            assert_eq!(output["data"].as_array().unwrap().len(), expected.len());
            assert!(apart.fold(0.0, f64::max) < 1e-4, "{name}");
        }
    }
}

#[test]
fn bad_requests_are_refused_by_what_is_wrong_with_them_and_end_nothing() {
    if !has_runtime() {
        return;
    }
    let place = place(&subjects()[0].proto);
    let mut server = Server::of(&place, "model.onnx --name m");
    let infer = |input: Value| json!({ "inputs": [input] }).to_string();
    let tensor = |key: &str, value: Value| {
        let mut input = json!({ "name": "x", "datatype": "FP32", "shape": [1, 3, 16, 16], "data": vec![0; 768] });
        input[key] = value;
        infer(input)
    };
    let path = "/v2/models/m/infer";
    for (method, path, body, status, words) in [
        (
            "GET",
            "/nothing",
            String::new(),
            404,
            "there is no /nothing",
        ),
        ("GET", "/v2/models/other", String::new(), 404, "/v2/models"),
        (
            "GET",
            "/../../etc/passwd",
            String::new(),
            404,
            "there is no",
        ),
        ("POST", "/v2", String::new(), 405, "GET"),
        ("GET", "/classify", String::new(), 405, "POST"),
        ("DELETE", path, String::new(), 405, "POST"),
        (
            "POST",
            "/classify",
            "no picture".to_owned(),
            400,
            "none of JPEG, PNG",
        ),
        ("POST", "/classify", String::new(), 400, "the picture"),
        ("POST", path, "{".to_owned(), 400, "EOF"),
        (
            "POST",
            path,
            "[".repeat(100_000),
            400,
            "Open Inference Protocol",
        ),
        (
            "POST",
            path,
            json!({ "inputs": [] }).to_string(),
            400,
            "one input",
        ),
        (
            "POST",
            path,
            tensor("name", json!("y")),
            400,
            "its input is `x`",
        ),
        (
            "POST",
            path,
            tensor("datatype", json!("UINT8")),
            400,
            "is FP32",
        ),
        (
            "POST",
            path,
            tensor("shape", json!([1, 3, 16])),
            400,
            "does not fit",
        ),
        (
            "POST",
            path,
            tensor("shape", json!([0, 3, 16, 16])),
            400,
            "does not fit",
        ),
        (
            "POST",
            path,
            tensor("shape", json!([2, 3, 16, 16])),
            400,
            "does not have 768",
        ),
        (
            "POST",
            path,
            tensor("shape", json!([u64::MAX, 3, 16, 16])),
            400,
            "does not fit",
        ),
        (
            "POST",
            path,
            tensor("shape", json!([-1, 3, 16, 16])),
            400,
            "invalid value",
        ),
        (
            "POST",
            path,
            tensor("data", json!([[[[[0]]]]])),
            400,
            "too deep",
        ),
        ("POST", path, tensor("data", json!(["a"])), 400, "numbers"),
        ("POST", path, tensor("data", json!(null)), 400, "no `data`"),
    ] {
        let (own, said) = server.ask(method, path, body.as_bytes());
        assert_eq!(own, status, "{method} {path} {said}");
        let told: Value = serde_json::from_str(&said).unwrap();
        assert!(told["error"].as_str().unwrap().contains(words), "{said}");
    }
    // A picture that is cut off, and bytes of one that are turned over.
    let picture = fs::read(place.at("pictures/0.png")).unwrap();
    for at in (0..picture.len()).step_by(picture.len() / 40) {
        let mut broken = picture.clone();
        broken[at] ^= 0xff;
        let (status, said) = server.ask("POST", "/classify", &broken);
        assert!(status == 200 || status == 400, "{status} {said}");
        let (status, said) = server.ask("POST", "/classify", &picture[..at]);
        assert!(status == 200 || status == 400, "{status} {said}");
    }
    for (bytes, status) in [
        (&b"GET /v2 HTTP/1.1\r\nHost: evil.example\r\n\r\n"[..], 403),
        (b"GET /v2 HTTP/1.1\r\n\r\n", 403),
        (b"POST /classify HTTP/1.1\r\nHost: localhost\r\n\r\n", 411),
        (b"POST /classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 411),
        (b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nshort", 400),
        (b"nonsense\r\n\r\n", 400),
    ] {
        let (own, said) = server.raw(bytes);
        assert_eq!(own, status, "{} {said}", String::from_utf8_lossy(bytes));
    }
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a".repeat(1 << 20)
    );
    assert!([0, 400, 414, 431].contains(&server.raw(long.as_bytes()).0));
    assert!([0, 400].contains(&server.raw(&[0xff; 4096]).0));
    assert!(server.is_well());
    let log = fs::read_to_string(place.at("log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_thousand_requests_side_by_side_are_all_answered_and_alike() {
    if !has_runtime() {
        return;
    }
    let place = place(&subjects()[0].proto);
    let mut server = Server::of(&place, "model.onnx --name m");
    let picture = fs::read(place.at("pictures/0.png")).unwrap();
    let (_, expected) = server.ask("POST", "/classify", &picture);
    let start = Instant::now();
    let answers: Vec<(u16, String)> = thread::scope(|scope| {
        let ask = || server.ask("POST", "/classify", &picture);
        let small = || thread::Builder::new().stack_size(128 << 10);
        let all: Vec<_> = (0..1000)
            .map(|_| small().spawn_scoped(scope, ask).unwrap())
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    println!(
        "1000 requests side by side in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let lost = answers
        .iter()
        .filter(|answer| **answer != (200, expected.clone()));
    let lost: Vec<_> = lost.collect();
    assert!(
        lost.is_empty(),
        "{} of 1000, such as {:?}",
        lost.len(),
        lost.first()
    );
    assert!(server.is_well());
}

#[test]
fn slow_clients_keep_nobody_waiting_and_are_let_go() {
    if !has_runtime() {
        return;
    }
    let place = place(&subjects()[0].proto);
    let mut server = Server::of(&place, "model.onnx --name m");
    let picture = fs::read(place.at("pictures/0.png")).unwrap();
    // Some say nothing, some half a head, some stop within a body.
    let begun: [&[u8]; 3] = [
        b"",
        b"POST /classify HTTP/1.1\r\nHost: loc",
        b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc",
    ];
    let mut slow: Vec<TcpStream> = (0..150)
        .map(|at| {
            let mut stream = server.connect();
            stream.write_all(begun[at % 3]).unwrap();
            stream
        })
        .collect();
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(server.ask("POST", "/classify", &picture).0, 200);
    }
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    for (at, stream) in slow.iter_mut().enumerate() {
        let (status, _) = answer(stream);
        let expected: &[u16] = if at % 3 == 2 { &[408] } else { &[0, 408] };
        assert!(expected.contains(&status), "{at}: {status}");
    }
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{:?}",
        start.elapsed()
    );
    assert!(server.is_well());
}

#[test]
fn large_bodies_wait_for_room_and_take_no_more_memory_than_there_is_for_them() {
    if !has_runtime() {
        return;
    }
    let place = place(&subjects()[0].proto);
    let mut server = Server::of(&place, "model.onnx --name m");
    let before = server.most_memory();
    let body = vec![b'x'; 32 << 20];
    let answers: Vec<(u16, String)> = thread::scope(|scope| {
        let ask = || server.ask("POST", "/classify", &body);
        let all: Vec<_> = (0..40).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for (status, said) in answers {
        assert_eq!(status, 400, "{said}");
        assert!(said.contains("none of JPEG"), "{said}");
    }
    if let (Some(before), Some(most)) = (before, server.most_memory()) {
        println!("40 bodies of 32 MiB: {} MiB more", (most - before) >> 20);
        assert!(most - before < 800 << 20, "{} MiB", (most - before) >> 20);
    }
    assert!(server.is_well());
}

#[test]
fn what_is_served_is_told_with_where_to_go_from_here() {
    if !has_runtime() {
        return;
    }
    let place = place(&subjects()[0].proto);
    let server = Server::of(&place, "model.onnx");
    let (_, port) = server.address.split_once(':').unwrap();
    let ran = place.run(&format!("serve model.onnx --port {port}"));
    ran.refused(&["cannot listen", "--port"]);
    let (status, page) = server.ask("GET", "/", b"");
    assert!(status == 200 && page.contains("Drop pictures"));
    for file in ["/app.js", "/style.css"] {
        assert_eq!(server.ask("GET", file, b"").0, 200);
        assert!(page.contains(&file[1..]));
    }
    let help = place.run("serve --help").out();
    assert!(help.contains("package MODEL --format triton"), "{help}");
}
