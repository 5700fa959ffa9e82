//! The messages of event files, as far as scalars need them.
//! Source: `tensorboard/compat/proto/event.proto` and `summary.proto`.

/// An event.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    /// Seconds.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    #[prost(int64, tag = "2")]
    pub step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    pub what: Option<What>,
}

/// What happened.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

/// Values of a step.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

/// A scalar. In the original it is one of several kinds of values, which looks the same in bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    #[prost(string, tag = "1")]
    pub tag: String,
    #[prost(float, optional, tag = "2")]
    pub simple_value: Option<f32>,
}

impl Event {
    /// The first event of every file.
    pub fn version() -> Self {
        Event {
            wall_time: 0.0,
            step: 0,
            what: Some(What::FileVersion("brain.Event:2".to_owned())),
        }
    }

    /// The values of a step, by their tags.
    pub fn scalars(wall_time: f64, step: usize, values: &[(&str, f32)]) -> Self {
        let value = |&(tag, value): &(&str, f32)| Value {
            tag: tag.to_owned(),
            simple_value: Some(value),
        };
        Event {
            wall_time,
            step: i64::try_from(step).unwrap_or(i64::MAX),
            what: Some(What::Summary(Summary {
                value: values.iter().map(value).collect(),
            })),
        }
    }
}
