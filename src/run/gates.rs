//! What of a network is the tuned one, for which images: the filters of `adafilter`, the blocks of `spottune`.

use serde::{Deserialize, Serialize};

/// What a gate chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gated {
    /// A filter of a convolution.
    Filters,
    /// A block.
    Blocks,
}

/// What the gates of a winner make of some samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// Number of samples: those of the validation part, or without one of the held-out part.
    pub samples: usize,
    /// What is gated.
    pub of: Gated,
    /// The gated convolutions or blocks, from input to output.
    pub layers: Vec<LayerGates>,
    /// Where constant gates are taken out of the model that leaves, the number of filters that still have one there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<usize>,
    /// The samples that take the most of what is tuned, the most first.
    pub most: Vec<SampleGates>,
    /// Those that take the fewest, the fewest first.
    pub fewest: Vec<SampleGates>,
}

/// The gates of one convolution or block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerGates {
    /// Name of the layer or block.
    pub layer: String,
    /// Number of gates: one for each filter, or one.
    pub gates: usize,
    /// The share of open ones, in the mean over samples.
    pub mean: f64,
    /// Standard deviation of that share over samples.
    pub spread: f64,
    /// Gates that are open for all samples.
    pub always: usize,
    /// Gates that are open for none.
    pub never: usize,
    /// The mean share of the samples of each class, in the order of the classes; `None` of a class without samples.
    pub by_class: Vec<Option<f64>>,
}

/// The gates of one sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleGates {
    /// Name of the sample.
    pub name: String,
    /// The share of open gates, of all.
    pub share: f64,
}

/// How many samples are named at each end.
const NAMED: usize = 5;

impl Gates {
    /// What `rows` tell: of each sample its gates, 0 or 1, layer after layer. `layers` are name and number of gates of
    /// each, `labels` and `names` those of the samples.
    pub fn of(
        of: Gated,
        layers: &[(String, usize)],
        rows: &[Vec<f32>],
        (labels, classes): (&[i64], usize),
        names: &[String],
    ) -> Self {
        let open = |row: &[f32]| row.iter().map(|&g| f64::from(g)).sum::<f64>();
        let mut first = 0;
        let layers = layers.iter().map(|(layer, gates)| {
            let own = first..first + gates;
            first = own.end;
            let parts = rows.iter().map(|row| row.get(own.clone()));
            let parts: Vec<&[f32]> = parts.map(Option::unwrap_or_default).collect();
            let shares: Vec<f64> = parts
                .iter()
                .map(|p| open(p) / (*gates).max(1) as f64)
                .collect();
            let of_all = |value: f32| {
                let constant = |f: &usize| parts.iter().all(|p| p.get(*f) == Some(&value));
                (0..*gates).filter(constant).count()
            };
            let share = mean(shares.iter().copied()).unwrap_or(0.0);
            let off = shares.iter().map(|s| (s - share) * (s - share));
            let of_class = |class: usize| {
                let own = shares.iter().zip(labels);
                mean(own.filter(|(_, l)| **l == class as i64).map(|(s, _)| *s))
            };
            LayerGates {
                layer: layer.clone(),
                gates: *gates,
                mean: share,
                spread: mean(off).unwrap_or(0.0).sqrt(),
                always: of_all(1.0),
                never: of_all(0.0),
                by_class: (0..classes).map(of_class).collect(),
            }
        });
        let layers = layers.collect();
        let all = |row: &Vec<f32>| open(row) / row.len().max(1) as f64;
        let of_sample = |(row, name): (&Vec<f32>, &String)| SampleGates {
            name: name.clone(),
            share: all(row),
        };
        let mut samples: Vec<SampleGates> = rows.iter().zip(names).map(of_sample).collect();
        samples.sort_by(|a, b| {
            b.share
                .total_cmp(&a.share)
                .then_with(|| a.name.cmp(&b.name))
        });
        Gates {
            samples: rows.len(),
            of,
            layers,
            left: None,
            most: samples.iter().take(NAMED).cloned().collect(),
            fewest: samples.iter().rev().take(NAMED).cloned().collect(),
        }
    }

    /// The share of open gates, of all gates and samples.
    pub fn share(&self) -> f64 {
        let gates: usize = self.layers.iter().map(|l| l.gates).sum();
        let open: f64 = self.layers.iter().map(|l| l.mean * l.gates as f64).sum();
        open / gates.max(1) as f64
    }

    /// Whether some samples take more of what is tuned than others.
    pub fn differ(&self) -> bool {
        let share = |named: &[SampleGates]| named.first().map(|s| s.share);
        share(&self.most) != share(&self.fewest)
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), v| (sum + v, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_by_layer_class_and_sample() {
        let layers = [("a".to_owned(), 2), ("b".to_owned(), 1)];
        let rows = [
            vec![1.0, 0.0, 1.0],
            vec![1.0, 1.0, 0.0],
            vec![1.0, 0.0, 0.0],
        ];
        let names = ["x", "y", "z"].map(str::to_owned);
        let gates = Gates::of(Gated::Filters, &layers, &rows, (&[0, 1, 0], 3), &names);
        let [a, b] = gates.layers.as_slice() else {
            panic!("{gates:?}")
        };
        assert!((a.mean - 2.0 / 3.0).abs() < 1e-12 && (b.mean - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((a.always, a.never, b.always, b.never), (1, 0, 0, 0));
        assert_eq!(a.by_class, [Some(0.5), Some(1.0), None]);
        assert_eq!(b.by_class, [Some(0.5), Some(0.0), None]);
        assert!((a.spread - (1.0f64 / 18.0).sqrt()).abs() < 1e-12);
        let named = |list: &[SampleGates]| list.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
        assert_eq!(named(&gates.most), ["x", "y", "z"]);
        assert_eq!(named(&gates.fewest), ["z", "y", "x"]);
        assert!((gates.share() - 5.0 / 9.0).abs() < 1e-12);
        let swapped = |row: &[f32]| row.iter().rev().copied().collect::<Vec<_>>();
        let alike = [rows[0].clone(), swapped(&rows[1]), rows[0].clone()];
        let alike = Gates::of(Gated::Filters, &layers, &alike, (&[0, 1, 0], 3), &names);
        assert!(gates.differ() && !alike.differ());
    }
}
