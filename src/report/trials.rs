//! `trials.csv`: all trials, for spreadsheets.

use crate::run::TrialRecord;

const COLUMNS: [&str; 22] = [
    "trial",
    "strategy",
    "phase",
    "candidate",
    "layers",
    "trained_parameters",
    "validation_accuracy",
    "validation_balanced_accuracy",
    "validation_macro_f1",
    "validation_loss",
    "validation_samples",
    "ranking_accuracy",
    "ranking_loss",
    "ranking_samples",
    "best_epoch",
    "epochs",
    "found_learning_rate",
    "seconds",
    "clock",
    "same_as",
    "error",
    "validation_average_precision",
];

/// The trials as comma-separated values (RFC 4180), a line each below a line of names. Layers are
/// separated by blanks; what a trial has not stays empty. Accuracies of samples that may have several labels, which have
/// an average precision, are exact matches.
pub fn csv(trials: &[TrialRecord]) -> std::io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for trial in trials {
        let score = trial.validation;
        writer.write_record([
            trial.id.clone(),
            trial.strategy.to_string(),
            trial.phase.name().to_owned(),
            trial.candidate.clone(),
            trial.layers.join(" "),
            optional(trial.trained_parameters),
            optional(score.map(|s| s.accuracy)),
            optional(score.map(|s| s.balanced_accuracy)),
            optional(score.map(|s| s.macro_f1)),
            optional(score.map(|s| s.loss)),
            optional(score.map(|s| s.count)),
            optional(trial.ranking.map(|s| s.accuracy)),
            optional(trial.ranking.map(|s| s.loss)),
            optional(trial.ranking.map(|s| s.count)),
            trial.best_epoch.to_string(),
            trial.epochs.to_string(),
            optional(trial.rate),
            trial.seconds.to_string(),
            optional(trial.clock),
            trial.same_as.clone().unwrap_or_default(),
            trial.error.clone().unwrap_or_default(),
            optional(score.and_then(|s| s.average_precision)),
        ])?;
    }
    writer.into_inner().map_err(|e| e.into_error())
}

fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |v| v.to_string())
}
