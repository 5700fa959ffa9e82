//! The feature map that a new classifier is grafted on.

use crate::analysis::Backbone;
use crate::layout::Layout;
use crate::surgery::Features;

/// The last feature map of a backbone, as a head is [grafted](crate::surgery::graft) on it; `None` while its size is open.
pub fn feature_map(backbone: &Backbone) -> Option<Features> {
    Some(Features {
        value: backbone.features.clone(),
        channels: backbone.channels,
        height: backbone.height?,
        width: backbone.width?,
        nhwc: backbone.layout == Layout::Nhwc,
    })
}
