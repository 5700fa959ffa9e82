//! The values that a graph may read.

use std::collections::HashMap;

/// Names and, where they are known, types of values: those of a graph, and of the graphs around it.
#[derive(Default)]
pub(super) struct Scope<'s> {
    own: HashMap<String, Option<String>>,
    around: Option<&'s Scope<'s>>,
}

impl<'s> Scope<'s> {
    /// The scope of a graph inside.
    pub fn inside(around: &'s Scope<'s>) -> Self {
        Scope {
            own: HashMap::new(),
            around: Some(around),
        }
    }

    /// Whether the graph itself has a value.
    pub fn has_itself(&self, name: &str) -> bool {
        self.own.contains_key(name)
    }

    /// Whether the graph or one around it has a value.
    pub fn has(&self, name: &str) -> bool {
        self.has_itself(name) || self.around.is_some_and(|around| around.has(name))
    }

    /// The type of a value, where it is known.
    pub fn kind(&self, name: &str) -> Option<&str> {
        match (self.own.get(name), self.around) {
            (Some(kind), _) => kind.as_deref(),
            (None, Some(around)) => around.kind(name),
            (None, None) => None,
        }
    }

    /// Adds a value.
    pub fn add(&mut self, name: &str, kind: Option<String>) {
        self.own.insert(name.to_owned(), kind);
    }
}
