//! The thread that has the model.

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::classifier::{Inference, ModelCard, ModelInput, Ranked};
use crate::data::ImageFile;
use crate::package::Facts;
use crate::panics;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::infer::{self, Request};

/// What is asked of the model.
pub enum Question {
    /// The classes of a picture, of which these are the bytes of the file.
    Picture(Bytes),
    /// The body of a request of the Open Inference Protocol.
    Tensors(Bytes),
}

/// Why there is no answer: the status of HTTP, and a sentence.
#[derive(Debug)]
pub struct Refusal(pub u16, pub String);

/// What the model says.
pub type Reply = Result<Value, Refusal>;

type Job = (Question, oneshot::Sender<Reply>);

/// Asks the model one question after the other.
#[derive(Clone)]
pub struct Worker(Sender<Job>);

/// The model with what is known of it.
struct Model {
    inference: Inference,
    card: ModelCard,
    input: ModelInput,
    facts: Facts,
}

impl Worker {
    /// Starts it.
    pub fn start(inference: Inference, card: ModelCard, input: ModelInput, facts: Facts) -> Self {
        let (sender, questions) = channel::<Job>();
        let mut model = Model {
            inference,
            card,
            input,
            facts,
        };
        thread::spawn(move || {
            for (question, reply) in questions {
                // Who asked may be gone by now.
                if reply.is_closed() {
                    continue;
                }
                let gave_up = || {
                    let said = "the model or what was sent to it made the server give up on it";
                    Err(Refusal(500, said.to_owned()))
                };
                let said = panics::caught(|| model.answer(question)).unwrap_or_else(gave_up);
                let _ = reply.send(said);
            }
        });
        Worker(sender)
    }

    /// What the model says.
    pub async fn ask(&self, question: Question) -> Reply {
        let (reply, answer) = oneshot::channel();
        let gone = || Refusal(500, "the model has ended".to_owned());
        self.0.send((question, reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Model {
    fn answer(&mut self, question: Question) -> Reply {
        match question {
            Question::Picture(bytes) => self.classify(&bytes),
            Question::Tensors(bytes) => self.infer(&bytes),
        }
    }

    fn classify(&mut self, bytes: &[u8]) -> Reply {
        let file = ImageFile::new(Path::new("the picture"), bytes);
        let picture = self.input.picture_of(&file);
        let picture = picture.map_err(|error| Refusal(400, error.to_string()))?;
        let outputs = self
            .inference
            .run(&picture.sample, 1, &mut |_, values| {
                Ok(picture.write(values)?)
            })
            .map_err(|error| Refusal(500, error.to_string()))?;
        if !outputs.not_finite().is_empty() {
            let said = "the model's output is not a finite number";
            return Err(Refusal(500, said.to_owned()));
        }
        let probabilities = outputs.probabilities().next().unwrap_or_default();
        let classes = self.card.ranked(&probabilities, None);
        let classes: Vec<Value> = classes.iter().map(Ranked::json).collect();
        Ok(json!({ "classes": classes, "task": self.facts.task }))
    }

    fn infer(&mut self, bytes: &[u8]) -> Reply {
        let Request {
            id,
            count,
            sample,
            values,
        } = Request::read(bytes, &self.facts)?;
        let each: usize = sample.iter().product();
        let outputs = self.inference.run(&sample, count, &mut |range, to| {
            to.copy_from_slice(&values[range.start * each..range.end * each]);
            Ok(())
        });
        let outputs = outputs.map_err(|error| Refusal(400, error.to_string()))?;
        infer::reply(id, count, &outputs, &self.facts)
    }
}
