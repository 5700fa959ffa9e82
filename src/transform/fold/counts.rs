//! What was folded, in words.

/// How much was folded.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub computed: usize,
    pub sizes: usize,
    pub hoisted: usize,
    pub identities: usize,
    pub dropouts: usize,
    pub branches: usize,
    pub norms: usize,
    /// Normalisations that could be folded.
    pub open_norms: usize,
    /// Nodes of constants that onnxruntime would have computed.
    pub left: usize,
}

impl Counts {
    /// In words; `no_runtime`: why there is no onnxruntime.
    pub fn told(&self, no_runtime: Option<String>) -> Vec<String> {
        let some = |count: usize, one: &str, more: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {more}")),
        };
        let folded = [
            some(self.computed, "node of constants", "nodes of constants"),
            some(self.sizes, "node of sizes", "nodes of sizes"),
            some(self.hoisted, "Constant node", "Constant nodes"),
            some(self.identities, "copy", "copies"),
            some(self.dropouts, "dropout", "dropouts"),
            some(self.branches, "If", "Ifs"),
            some(self.norms, "normalisation", "normalisations"),
        ];
        let folded: Vec<String> = folded.into_iter().flatten().collect();
        let mut notes = vec![match folded.as_slice() {
            [] => "nothing is there to fold".to_owned(),
            all => format!("folded: {}", all.join(", ")),
        }];
        if let Some(norms) = some(self.open_norms, "normalisation", "normalisations") {
            notes.push(format!(
                "{norms} could be folded into the layer before: --batch-norm does it"
            ));
        }
        if let (Some(reason), true) = (no_runtime, self.left > 0) {
            let left = some(self.left, "node", "nodes").unwrap_or_default();
            notes.push(format!("{left} of constants stay: {reason}"));
        }
        notes
    }
}
