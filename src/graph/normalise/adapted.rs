//! The operators that changed, and the opsets in which they did.

/// The oldest opset that is taken.
pub const OLDEST: i64 = 9;
/// The newest opset that is taken.
pub const NEWEST: i64 = 26;

/// Versions above all that there are: the operator is rewritten wherever it stands.
const ALWAYS: i64 = NEWEST + 1;

/// An operator that changed on the way to opset 21.
pub struct Adapted {
    /// The operator.
    pub op_type: &'static str,
    /// Nodes of an older opset than this are rewritten.
    pub below: i64,
    /// What was different there.
    pub change: &'static str,
}

impl Adapted {
    /// Whether nodes of every opset are rewritten.
    pub fn always(&self) -> bool {
        self.below == ALWAYS
    }
}

const fn adapted(op_type: &'static str, below: i64, change: &'static str) -> Adapted {
    Adapted {
        op_type,
        below,
        change,
    }
}

/// The operators that [`normalise`](super::normalise) rewrites; all others stand as they are.
pub const ADAPTED: &[Adapted] = &[
    adapted(
        "BatchNormalization",
        ALWAYS,
        "training outputs, which must be unused, go; of weights in training mode it becomes InstanceNormalization",
    ),
    adapted("Clip", 11, "bounds were attributes"),
    adapted("DFT", 20, ""),
    adapted("GridSample", 20, "modes had other names"),
    adapted("GroupNormalization", 21, "scale and bias were per group"),
    adapted("Hardmax", 13, "axes from `axis` on were one"),
    adapted("LogSoftmax", 13, "axes from `axis` on were one"),
    adapted("Pad", 11, "pads were an attribute"),
    adapted("RMSNormalization", ALWAYS, "becomes its formula"),
    adapted("ReduceL1", 18, "axes were an attribute"),
    adapted("ReduceL2", 18, "axes were an attribute"),
    adapted("ReduceLogSum", 18, "axes were an attribute"),
    adapted("ReduceLogSumExp", 18, "axes were an attribute"),
    adapted("ReduceMax", 18, "axes were an attribute"),
    adapted("ReduceMean", 18, "axes were an attribute"),
    adapted("ReduceMin", 18, "axes were an attribute"),
    adapted("ReduceProd", 18, "axes were an attribute"),
    adapted("ReduceSum", 13, "axes were an attribute"),
    adapted("ReduceSumSquare", 18, "axes were an attribute"),
    adapted(
        "Resize",
        13,
        "scales were input 1 (10); tf_half_pixel_for_nn is refused (11, 12)",
    ),
    adapted("RoiAlign", 16, "positions were not shifted by half a pixel"),
    adapted("Scatter", ALWAYS, "becomes ScatterElements"),
    adapted("Slice", 10, "starts, ends and axes were attributes"),
    adapted("Softmax", 13, "axes from `axis` on were one"),
    adapted(
        "Split",
        18,
        "sizes were an attribute (below 13) or equal by default",
    ),
    adapted("Squeeze", 13, "axes were an attribute"),
    adapted("Swish", ALWAYS, "becomes its formula"),
    adapted("TopK", 10, "k was an attribute"),
    adapted("Unsqueeze", 13, "axes were an attribute"),
    adapted("Upsample", ALWAYS, "becomes Resize"),
];
