//! `winners/STRATEGY.predictions.csv`: what a winner makes of every held-out sample.

use std::io;

use crate::classifier::{Predictions, Several, sigmoid};

const COLUMNS: [&str; 5] = [
    "image",
    "label",
    "predicted",
    "probability_of_label",
    "probability_of_predicted",
];

/// The predictions as comma-separated values (RFC 4180), a line per sample in their order: its name as
/// `name` gives it, its class and the class it is taken for by their names in `classes`, and the
/// probabilities that the model gives to the two.
pub(crate) fn csv(
    predictions: &Predictions,
    classes: &[String],
    name: &dyn Fn(usize) -> String,
) -> io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    if let Some(several) = &predictions.several {
        return of_several(writer, (predictions, several), classes, name);
    }
    writer.write_record(COLUMNS)?;
    let class = |index: usize| match classes.get(index) {
        Some(class) => class.clone(),
        None => index.to_string(),
    };
    for (place, sample) in predictions.samples.iter().enumerate() {
        let label = usize::try_from(sample.label).unwrap_or(usize::MAX);
        let of_label = match label < predictions.classes {
            true => sample.log_probability.exp().to_string(),
            false => String::new(),
        };
        writer.write_record([
            name(place),
            class(label),
            class(sample.predicted),
            of_label,
            sample.probability.to_string(),
        ])?;
    }
    writer.into_inner().map_err(|e| e.into_error())
}

/// Where samples may have several labels: the classes that a sample is of and those that it is taken for, with `|`
/// between them, and the probability of each class.
fn of_several(
    mut writer: csv::Writer<Vec<u8>>,
    (predictions, several): (&Predictions, &Several),
    classes: &[String],
    name: &dyn Fn(usize) -> String,
) -> io::Result<Vec<u8>> {
    let class = |index: usize| match classes.get(index) {
        Some(class) => class.clone(),
        None => index.to_string(),
    };
    let all = 0..predictions.classes;
    let columns = ["image", "labels", "predicted"].map(str::to_owned);
    let of_classes = all.map(|index| format!("probability_of_{}", class(index)));
    writer.write_record(columns.into_iter().chain(of_classes))?;
    let joined = |set: Vec<usize>| set.into_iter().map(class).collect::<Vec<_>>().join("|");
    let rows = several.logits.chunks(predictions.classes.max(1));
    for (place, row) in rows.enumerate() {
        let sets = [
            name(place),
            joined(several.own(place, predictions.classes)),
            joined(several.taken(place, predictions.classes)),
        ];
        let probabilities = row.iter().map(|&z| sigmoid(f64::from(z)).to_string());
        writer.write_record(sets.into_iter().chain(probabilities))?;
    }
    writer.into_inner().map_err(|e| e.into_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_labels_each_class_has_its_probability() {
        let logits = [3f32.ln(), 0.0, -3f32.ln(), -3f32.ln()];
        let predictions = Predictions::of_sets(&logits, &[&[0, 1], &[]], 2);
        let classes = ["a".to_owned(), "b".to_owned()];
        let bytes = csv(&predictions, &classes, &|i| format!("{i}.png")).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "image,labels,predicted,probability_of_a,probability_of_b"
        );
        assert!(lines[1].starts_with("0.png,a|b,a|b,0.7"), "{text}");
        assert!(lines[2].starts_with("1.png,,,0.2"), "{text}");
    }

    #[test]
    fn every_sample_has_its_line_with_both_probabilities() {
        let logits = [0.0, 3f32.ln(), 1.0, 1.0];
        let predictions = Predictions::of(&logits, &[0, 1], 2);
        let classes = ["a, b".to_owned(), "c".to_owned()];
        let bytes = csv(&predictions, &classes, &|i| format!("{i}.png")).unwrap();
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let rows: Vec<(String, String, String, f64, f64)> =
            reader.deserialize().map(Result::unwrap).collect();
        assert_eq!(
            (&*rows[0].0, &*rows[0].1, &*rows[0].2),
            ("0.png", "a, b", "c")
        );
        assert!((rows[0].3 - 0.25).abs() < 1e-6 && (rows[0].4 - 0.75).abs() < 1e-6);
        assert_eq!((&*rows[1].1, &*rows[1].2), ("c", "a, b"));
        assert!((rows[1].3 - 0.5).abs() < 1e-6);
    }
}
