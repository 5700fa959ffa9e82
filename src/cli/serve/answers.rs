//! Which address gives what.

use std::collections::HashMap;

use crate::package::{Facts, metadata};
use bytes::Bytes;
use serde_json::{Value, json};

use super::worker::{Question, Refusal, Worker};
use crate::cli::CliError;

const PAGE: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/app.js");
const STYLE: &str = include_str!("../../package/page/style.css");

/// What is answered.
pub struct Answer {
    pub status: u16,
    pub kind: &'static str,
    pub body: Bytes,
}

impl Answer {
    fn of(kind: &'static str, text: &'static str) -> Self {
        Answer {
            status: 200,
            kind,
            body: Bytes::from_static(text.as_bytes()),
        }
    }

    fn json(value: &Value) -> Self {
        Answer {
            status: 200,
            kind: "application/json",
            body: value.to_string().into(),
        }
    }
}

impl From<Refusal> for Answer {
    fn from(Refusal(status, reason): Refusal) -> Self {
        Answer {
            status,
            ..Answer::json(&json!({ "error": reason }))
        }
    }
}

/// What needs no model.
pub struct Service {
    /// By address.
    fixed: HashMap<String, Answer>,
    infer: Vec<String>,
}

/// What a request is answered by.
pub enum Route<'s> {
    /// This.
    Fixed(&'s Answer),
    /// What is said of its body.
    Model(fn(Bytes) -> Question),
}

impl Service {
    pub fn new(facts: &Facts) -> Result<Self, CliError> {
        let mut fixed = HashMap::new();
        let page = [
            ("/", "text/html; charset=utf-8", PAGE),
            ("/app.js", "text/javascript; charset=utf-8", SCRIPT),
            ("/style.css", "text/css; charset=utf-8", STYLE),
        ];
        for (path, kind, text) in page {
            fixed.insert(path.to_owned(), Answer::of(kind, text));
        }
        let server = json!({
            "name": "ftsurgery serve",
            "version": env!("CARGO_PKG_VERSION"),
            "extensions": [],
        });
        fixed.insert("/v2".to_owned(), Answer::json(&server));
        let name = &facts.name;
        fixed.insert(
            "/v2/health/live".to_owned(),
            Answer::json(&json!({ "live": true })),
        );
        fixed.insert(
            "/v2/health/ready".to_owned(),
            Answer::json(&json!({ "ready": true })),
        );
        let model = [
            format!("/v2/models/{name}"),
            format!("/v2/models/{name}/versions/1"),
        ];
        for path in &model {
            fixed.insert(path.clone(), Answer::json(&metadata(facts)?));
            let ready = json!({ "name": name, "ready": true });
            fixed.insert(format!("{path}/ready"), Answer::json(&ready));
        }
        Ok(Service {
            fixed,
            infer: model.map(|path| format!("{path}/infer")).to_vec(),
        })
    }

    /// What a method on a path is answered by.
    pub fn route(&self, method: &str, path: &str) -> Result<Route<'_>, Refusal> {
        let asks: Option<fn(Bytes) -> Question> = match path {
            "/classify" => Some(Question::Picture),
            path if self.infer.iter().any(|own| own == path) => Some(Question::Tensors),
            _ => None,
        };
        let wanted = match (asks, self.fixed.get(path)) {
            (Some(asks), _) if method == "POST" => return Ok(Route::Model(asks)),
            (None, Some(answer)) if method == "GET" || method == "HEAD" => {
                return Ok(Route::Fixed(answer));
            }
            (Some(_), _) => "POST",
            (None, Some(_)) => "GET",
            (None, None) => {
                return Err(Refusal(
                    404,
                    format!("there is no {path} here; the models are below /v2/models"),
                ));
            }
        };
        Err(Refusal(405, format!("{path} is asked by {wanted}")))
    }
}

/// What the model says of a body.
pub async fn answer(worker: &Worker, question: Question) -> Answer {
    match worker.ask(question).await {
        Ok(said) => Answer::json(&said),
        Err(refusal) => refusal.into(),
    }
}
