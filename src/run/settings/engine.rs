//! What an engine cannot do.

use crate::choice::Choice;
use crate::runtime::Device;
use crate::training::{BatchNormMode, Engine, OptimizerKind};

use super::Settings;

const NOT_THERE: &str = "onnxruntime's training API (`engine`) does not have it";

impl Settings {
    /// Fields that [`Settings::engine`](#structfield.engine) may not know: whether each can be used, and why it cannot.
    pub(super) fn of_engine(&self) -> [(&'static str, bool, &'static str); 11] {
        let can = |used: bool| self.engine == Engine::Graph || !used;
        let optimizer = &self.optimizer;
        let is_sgd = optimizer.kind == OptimizerKind::Sgd;
        let gates = self.strategies.iter().map(|strategy| strategy.rule());
        let gates = gates.filter(|rule| rule.gates_filters() || rule.gates_blocks());
        [
            (
                "device",
                can(self.device != Device::Cpu),
                "onnxruntime's training API (`engine`) is used on the processor alone",
            ),
            (
                "optimizer_in_graph",
                can(self.updates_in_graph()),
                "onnxruntime's training API (`engine`) has its own",
            ),
            (
                "optimizer.momentum",
                can(is_sgd && optimizer.momentum != 0.0),
                "onnxruntime's training API (`engine`) has SGD without momentum alone: give 0",
            ),
            (
                "optimizer.weight_decay",
                can(optimizer.kind != OptimizerKind::Adamw && optimizer.weight_decay != 0.0),
                "onnxruntime's training API (`engine`) has that of AdamW alone",
            ),
            ("head_lr", can(self.head_factor() != 1.0), NOT_THERE),
            ("layer_decay", can(self.layer_decay != 1.0), NOT_THERE),
            ("ema", can(self.ema.is_some()), NOT_THERE),
            ("l2_sp", can(self.l2_sp.is_some()), NOT_THERE),
            (
                "group_filters",
                can(self.group_filters.is_some()),
                NOT_THERE,
            ),
            (
                "bn",
                can(self.bn == Choice::Given(BatchNormMode::Batch)),
                "onnxruntime's training API (`engine`) has no running statistics",
            ),
            (
                "strategies",
                can(gates.count() > 0),
                "what `adafilter` and `spottune` draw and add to the loss, onnxruntime's training API (`engine`) does not \
                 know",
            ),
        ]
    }
}
