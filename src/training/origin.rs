//! Where the first values of parameters come from.

use crate::surgery::Rewrite;

use super::{Lab, TrainingError};

impl Lab<'_> {
    /// Of each of these parameters of the network after a rewrite, the tensor of the network without it with whose values
    /// it begins: itself, or what it is a copy of. `None` of those of a new head and of what a rewrite adds besides, which
    /// were not pretrained.
    ///
    /// # Errors
    /// When the rewrite does not fit the network.
    pub(super) fn origins(
        &self,
        rewrite: &Rewrite,
        names: &[String],
    ) -> Result<Vec<Option<String>>, TrainingError> {
        let rewritten = self.rewritten(rewrite)?;
        let (copies, added) = match &rewritten {
            Some(rewritten) => (rewritten.copies.as_slice(), rewritten.added.as_slice()),
            None => Default::default(),
        };
        let head = &self.network.head_parameters;
        let is_new = |name: &String| {
            added.contains(name) || head.contains(name) && self.network.manifest.adds_tensor(name)
        };
        let origin = |name: &String| match copies.iter().find(|(copy, _)| copy == name) {
            Some((_, original)) => Some(original.clone()),
            None => Some(name.clone()).filter(|name| !is_new(name)),
        };
        Ok(names.iter().map(origin).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surgery::rewrite::{AdaFilter, FilterGate, GateStart, LowRank};
    use crate::training::bank::scene::{Scene, network};

    #[test]
    fn a_tuned_copy_begins_with_pretrained_values_and_what_chooses_or_updates_does_not() {
        let Some(scene) = Scene::new(network(), 3, 8) else {
            return;
        };
        let lab = scene.lab(|_| ());
        let gated = Rewrite::AdaFilter(AdaFilter {
            weights: vec!["c5.w".to_owned()],
            gate: FilterGate::Learned,
            start: GateStart::Half,
            width: 2,
            share: None,
            seed: 1,
            dependent: None,
        });
        let low_rank = Rewrite::LowRank(LowRank {
            weights: vec!["c3.w".to_owned()],
            rank: 2,
            alpha: 2,
            seed: 1,
        });
        let [a, b] = LowRank::parameters_of("c3.w");
        let part = |part: &str| format!("ftsurgery/adafilter/c5.w/{part}");
        let own = "c1.w".to_owned();
        for (rewrite, names, expected) in [
            (&Rewrite::None, vec![own.clone()], vec![Some("c1.w")]),
            (
                &gated,
                vec![part("weight"), own, part("logits/weight")],
                vec![Some("c5.w"), Some("c1.w"), None],
            ),
            (&low_rank, vec![a, b], vec![None, None]),
        ] {
            let found = lab.origins(rewrite, &names).unwrap();
            let found: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
            assert_eq!(found, expected);
        }
    }
}
