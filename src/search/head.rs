//! What a head stands on and which classes it tells apart.

use crate::analysis::Analysis;
use crate::classifier::ModelCard;
use crate::data::Dataset;
use crate::graph::{Dim, Graph};
use crate::layout::Layout;
use crate::surgery::{Features, HeadKind};

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
    let (Some(height), Some(width)) = (backbone.height, backbone.width) else {
        if head == HeadKind::Keep {
            return Ok(None);
        }
        return Err(SearchError::Setting(format!(
            "the size of the feature map `{}` is not known; a head cannot be built on it",
            backbone.features
        )));
    };
    Ok(Some(Features {
        value: backbone.features.clone(),
        channels: backbone.channels,
        height,
        width,
        nhwc: backbone.layout == Layout::Nhwc,
    }))
}

/// Names of the classes, in the order of the outputs: those of the data, for a new head; a kept
/// head needs as many as it has outputs, or of an array at most as many.
pub(super) fn classes(
    graph: &Graph,
    dataset: &Dataset,
    card: &ModelCard,
    head: HeadKind,
) -> Result<Vec<String>, SearchError> {
    let of_data = dataset.classes();
    if head != HeadKind::Keep {
        return Ok(of_data.to_vec());
    }
    let outputs = graph.outputs.first().and_then(|o| o.dims.as_ref());
    let own = match outputs.and_then(|d| d.get(1)) {
        Some(Dim::Known(n)) => *n,
        _ => of_data.len(),
    };
    // Folders have names, so only a model of the same classes can be meant.
    if dataset.is_images() {
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
