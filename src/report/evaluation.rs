//! What a model made of samples, as tables for the terminal.

use crate::classifier::{ClassScore, Predictions, Score};

use super::confusions::{commonest, rows};
use super::text::{TextTable, none, percent, thousands};

/// Up to so many classes, a confusion matrix is printed in full.
const FEW: usize = 20;
/// Classes beyond which those that are told apart worst have a line, and no others.
const MANY: usize = 200;
/// Confusions, and classes, that are listed of more.
const LISTED: usize = 15;

/// The figures of all samples and of each class, and the confusion matrix (of many classes, those of the
/// lowest F1, and the commonest confusions). `names`: the classes, in the order of the labels.
pub fn evaluation(predictions: &Predictions, names: &[String], fit: bool) -> String {
    let score = predictions.score();
    let mut classes = TextTable::fitted(fit);
    let scores = predictions.class_scores();
    let mut shown: Vec<usize> = (0..names.len().min(scores.len())).collect();
    let mut first = "class".to_owned();
    if shown.len() > MANY {
        shown.retain(|&class| scores[class].support > 0);
        shown.sort_by(|&a, &b| scores[a].f1.total_cmp(&scores[b].f1));
        shown.truncate(LISTED);
        first = format!("the lowest F1 of {} classes", thousands(names.len()));
    }
    if predictions.several.is_some() {
        return several(&score, (&scores, names), (&shown, &first), fit);
    }
    classes.header([&*first, "precision", "recall", "F1", "samples"]);
    for class in shown {
        let s = scores[class];
        classes.row([
            names[class].clone(),
            format!("{:.4}", s.precision),
            format!("{:.4}", s.recall),
            format!("{:.4}", s.f1),
            s.support.to_string(),
        ]);
    }
    classes.align_right(1..5);
    format!(
        "accuracy {} on {} samples, cross-entropy {:.4}\nbalanced accuracy {}, macro F1 {:.4}\n\n\
         {classes}\n\n{}",
        percent(score.accuracy),
        score.count,
        score.loss,
        percent(score.balanced_accuracy),
        score.macro_f1,
        confusion(&predictions.confusion(), names, fit)
    )
}

/// The same of samples that may have several labels: those of each class by its threshold.
fn several(
    score: &Score,
    (scores, names): (&[ClassScore], &[String]),
    (shown, first): (&[usize], &str),
    fit: bool,
) -> String {
    let mut classes = TextTable::fitted(fit);
    classes.header([
        first,
        "precision",
        "recall",
        "F1",
        "average precision",
        "threshold",
        "samples",
    ]);
    let figure = |figure: Option<f64>| figure.map_or_else(none, |f| format!("{f:.4}"));
    for &class in shown {
        let s = scores[class];
        classes.row([
            names[class].clone(),
            format!("{:.4}", s.precision),
            format!("{:.4}", s.recall),
            format!("{:.4}", s.f1),
            figure(s.average_precision),
            figure(s.threshold),
            s.support.to_string(),
        ]);
    }
    classes.align_right(1..7);
    format!(
        "mean average precision {} on {} samples, binary cross-entropy {:.4}\nmacro F1 {:.4}, micro F1 {}, exact match \
         {} (all labels of a sample right, and no other)\n\n{classes}",
        figure(score.average_precision),
        score.count,
        score.loss,
        score.macro_f1,
        figure(score.micro_f1),
        percent(score.accuracy)
    )
}

fn confusion(counts: &[[usize; 3]], names: &[String], fit: bool) -> String {
    let mut table = TextTable::fitted(fit);
    if names.len() <= FEW {
        let mut header = vec!["true \\ predicted".to_owned()];
        header.extend(names.iter().cloned());
        table.header(header);
        for (name, row) in names.iter().zip(rows(counts, names.len())) {
            let mut cells = vec![name.clone()];
            cells.extend(row.iter().map(usize::to_string));
            table.row(cells);
        }
        table.align_right(1..names.len() + 1);
        return table.to_string();
    }
    let common = commonest(counts, LISTED);
    if common.is_empty() {
        return "no sample is taken for another class".to_owned();
    }
    table.header(["the commonest confusions", "taken for", "samples", "of"]);
    let name = |class: usize| names.get(class).cloned().unwrap_or_else(none);
    for c in common {
        let numbers = [c.samples, c.of].map(thousands);
        table.row(
            [name(c.label), name(c.predicted)]
                .into_iter()
                .chain(numbers),
        );
    }
    table.align_right(2..4);
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::Prediction;

    #[test]
    fn of_thousands_of_classes_the_worst_are_shown_and_no_matrix() {
        let classes = 10_000;
        let names: Vec<String> = (0..classes).map(|i| format!("class{i}")).collect();
        let of = |label: usize, predicted: usize| {
            let mut logits = vec![0.0; 2 * classes];
            logits[predicted] = 1.0;
            Prediction::of(&logits, label as i64)
        };
        let mut samples: Vec<Prediction> = (0..classes - 1).map(|i| of(i, i)).collect();
        samples[4321].predicted = 7;
        let text = evaluation(
            &Predictions {
                samples,
                classes,
                several: None,
            },
            &names,
            false,
        );
        assert!(text.lines().count() < 30, "{text}");
        let first = text.lines().find(|line| line.contains("class4321"));
        assert!(first.is_some_and(|l| l.contains("0.0000")), "{text}");
        // Nothing is known of a class without samples.
        assert!(!text.contains("class9999"), "{text}");
        assert!(text.contains("the lowest F1 of 10,000 classes"), "{text}");
        let pair = text.lines().last().unwrap_or_default();
        assert!(
            pair.contains("class4321") && pair.contains("class7"),
            "{text}"
        );
    }

    #[test]
    fn of_several_labels_each_class_has_average_precision_and_threshold() {
        let logits = [2.0, -3.0, 0.5, -1.0, -0.5, -2.0, -4.0, 1.0];
        let sets: [&[u32]; 4] = [&[0], &[0, 1], &[], &[0]];
        let predictions = Predictions::of_sets(&logits, &sets, 2);
        let names = ["cat", "dog"].map(str::to_owned);
        let text = evaluation(&predictions, &names, false);
        assert!(
            text.starts_with("mean average precision 0.7083 on 4 samples"),
            "{text}"
        );
        assert!(
            text.contains("micro F1 0.5714, exact match 50.00 %"),
            "{text}"
        );
        let dog = text.lines().last().unwrap();
        let cells: Vec<&str> = dog.split_whitespace().collect();
        assert_eq!(
            cells,
            ["dog", "0.0000", "0.0000", "0.0000", "0.5000", "0.5000", "1"]
        );
        assert!(
            !text.contains("accuracy") && !text.contains("predicted"),
            "{text}"
        );
    }
}
