//! What a head stands on and which classes it tells apart.

use crate::analysis::Analysis;
use crate::classifier::{ModelCard, feature_map};
use crate::data::Dataset;
use crate::surgery::{Features, HeadKind, Scores};
use crate::task::Task;
use crate::training::OwnHead;

use super::SearchError;

/// The feature map that a new head is grafted on. The model's own head does without.
pub(super) fn features(
    analysis: &Analysis,
    head: HeadKind,
) -> Result<Option<Features>, SearchError> {
    let backbone = match analysis.backbone() {
        Ok(backbone) => backbone,
        Err(_) if head == HeadKind::Keep => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match feature_map(backbone) {
        Some(features) => Ok(Some(features)),
        None if head == HeadKind::Keep => Ok(None),
        None => Err(SearchError::Setting(format!(
            "the size of the feature map `{}` is not known; a head cannot be built on it",
            backbone.features
        ))),
    }
}

/// What is told of a sample: as the data look, or, of two classes, as the model's own head does.
///
/// # Errors
/// When data, model and what is asked for do not go together.
pub(super) fn task(
    dataset: &Dataset,
    (head, asked): (HeadKind, Option<Task>),
    own: Option<OwnHead>,
) -> Result<Task, SearchError> {
    let refuse = |reason: String| Err(SearchError::Setting(reason));
    let way_out = "a new head (--head linear or paper) fits any";
    let classes = dataset.classes().len();
    if dataset.task() == Task::MultiLabel {
        return Ok(Task::MultiLabel);
    }
    let Some(own) = own.filter(|_| head == HeadKind::Keep) else {
        return Ok(match asked {
            Some(Task::Binary) => Task::Binary,
            _ => Task::SingleLabel,
        });
    };
    match (own.outputs, asked) {
        (1, Some(Task::SingleLabel)) => refuse(format!(
            "the model has one output, which tells two classes apart (--task binary); {way_out}"
        )),
        (1, _) if classes != 2 => refuse(format!(
            "the model has one output, which tells two classes apart, and the data have {classes}; {way_out}"
        )),
        (1, _) => Ok(Task::Binary),
        (outputs, Some(Task::Binary)) => refuse(format!(
            "the model has {outputs} outputs; one that tells two classes apart (--task binary) has 1; {way_out}"
        )),
        (_, None) if own.scores == Some(Scores::Independent) => refuse(format!(
            "the model's output is a sigmoid for each class by itself, and every sample has one class: with --task \
             multi-label each class is trained by itself, of its samples and of the others; {way_out}"
        )),
        _ => Ok(Task::SingleLabel),
    }
}

/// A sentence on a task that nobody asked for.
pub(super) fn told_task(task: Task, asked: Option<Task>, kept: bool) -> Option<String> {
    match (task, asked) {
        (Task::MultiLabel, None) => Some(format!(
            "samples may have several labels: {}, trained by binary cross-entropy, and `accuracy` is the exact match of \
             all labels (--task multi-label says so)",
            match kept {
                true => "the model's outputs tell each class by itself",
                false => "the new head has a sigmoid for each class",
            }
        )),
        (Task::Binary, None) => Some(
            "the model tells two classes apart by one output, whose sigmoid is the probability of the second (--task \
             binary says so)"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Names of the classes, in the order of the outputs: those of the data, for a new head; a kept
/// head needs as many as it tells (`outputs`), or of an array at most as many.
pub(super) fn classes(
    outputs: Option<usize>,
    task: Task,
    dataset: &Dataset,
    card: &ModelCard,
) -> Result<Vec<String>, SearchError> {
    let of_data = dataset.classes();
    let Some(outputs) = outputs else {
        return Ok(of_data.to_vec());
    };
    let own = match task {
        Task::Binary => 2,
        Task::SingleLabel | Task::MultiLabel => outputs,
    };
    // They have names, so only a model of the same classes can be meant.
    if dataset.has_class_names() {
        let fits = match &card.classes {
            Some(names) => names == of_data,
            None => of_data.len() == own,
        };
        if fits {
            return Ok(of_data.to_vec());
        }
        let names = card
            .classes
            .as_ref()
            .map(|n| format!(" ({})", n.join(", ")));
        return Err(SearchError::Setting(format!(
            "the model has {own} classes{}, the data {} ({}); a new head (--head paper or linear) \
             fits any",
            names.unwrap_or_default(),
            of_data.len(),
            of_data.join(", ")
        )));
    }
    if of_data.len() > own {
        return Err(SearchError::Setting(format!(
            "the largest label of the data is {}, but the model has {own} classes (0 to {})",
            of_data.len() - 1,
            own.saturating_sub(1)
        )));
    }
    Ok(match &card.classes {
        Some(names) if names.len() == own => names.clone(),
        _ => (0..own).map(|c| c.to_string()).collect(),
    })
}
