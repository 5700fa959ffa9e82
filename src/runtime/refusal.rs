//! What onnxruntime says when it refuses something, for people.

use ort::ErrorCode;

use super::RuntimeError;

/// The error for what onnxruntime said while it was to do `action`.
pub(super) fn refused(label: &str, action: &str, error: &ort::Error) -> RuntimeError {
    RuntimeError::Session {
        label: label.to_owned(),
        action: action.to_owned(),
        message: plain(error.message()),
        of_model: is_of_model(error.code(), error.message()),
    }
}

/// Whether the model is at fault, and would be on another machine, too.
fn is_of_model(code: ErrorCode, message: &str) -> bool {
    /// What memory, devices and our own kernels say.
    const MACHINE: [&str; 7] = [
        "bad_alloc",
        "bad allocation",
        "Failed to allocate",
        "out of memory",
        "CUDA",
        "its kernel failed",
        "threads failed",
    ];
    /// Bytes of one tensor that are a mistake of the model on any machine: 1 TiB.
    const BEYOND: u64 = 1 << 40;
    let by_machine = matches!(
        code,
        ErrorCode::EngineError | ErrorCode::ExecutionProviderFailure | ErrorCode::DeviceReset
    );
    let wanted = message.split_once("buffer of size ").map(|(_, rest)| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|d| d.parse::<u64>().ok()).unwrap_or(0)
    });
    match wanted {
        Some(bytes) if bytes >= BEYOND => true,
        _ => !by_machine && !MACHINE.iter().any(|word| message.contains(word)),
    }
}

/// `message` without the places in onnxruntime's sources, which stand before some reasons as
/// `/src/file.cc:123 void onnxruntime::Some::Function(const T&, int) const `.
fn plain(message: &str) -> String {
    let mut text = message.trim().to_owned();
    while let Some((start, end)) = place(&text) {
        let end = end + signature(&text[end..]);
        text = format!("{}{}", &text[..start], text[end..].trim_start());
    }
    text
}

/// Where a word `path.ext:line` stands, with the space behind it.
fn place(text: &str) -> Option<(usize, usize)> {
    let mut start = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let trimmed = word.trim_end();
        let is_place = trimmed.rsplit_once(':').is_some_and(|(path, line)| {
            let source = [".cc", ".cpp", ".h", ".hpp", ".cu"];
            source.iter().any(|ext| path.ends_with(ext))
                && !line.is_empty()
                && line.bytes().all(|b| b.is_ascii_digit())
        });
        if is_place {
            return Some((start, start + word.len()));
        }
        start += word.len();
    }
    None
}

/// The length of the function's signature with which `text` begins, if it does.
fn signature(text: &str) -> usize {
    let Some(open) = text.find('(') else { return 0 };
    // A reason in parentheses would have other characters before them.
    let head = &text[..open];
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_:<>,&*~ =[]".contains(c);
    if !head.contains("::") || !head.chars().all(is_name) {
        return 0;
    }
    let mut depth = 0usize;
    let mut end = text.len();
    for (i, c) in text[open..].char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        let rest = &text[open + i + c.len_utf8()..];
        if depth == 0 && (rest.is_empty() || rest.starts_with(' ')) {
            end = text.len() - rest.len();
            break;
        }
    }
    for suffix in [" const", " noexcept"] {
        if text[end..].starts_with(suffix) {
            end += suffix.len();
        }
    }
    if text[end..].starts_with(" [with ") {
        end += text[end..].find(']').map_or(0, |i| i + 1);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_sources_are_left_out_and_reasons_stay() {
        for (said, plain_text) in [
            (
                "Node (pool) Op (MaxPool) [ShapeInferenceError] zero stride",
                "Node (pool) Op (MaxPool) [ShapeInferenceError] zero stride",
            ),
            (
                "/onnxruntime_src/onnxruntime/core/graph/model.cc:181 onnxruntime::Model::Model(onnx::ModelProto&&, \
                 const onnxruntime::PathString&) Unsupported model IR version: 99\n",
                "Unsupported model IR version: 99",
            ),
            (
                "Non-zero status code returned while running Reshape node. Name:'r' Status Message: \
                 /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:45 \
                 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, bool) size == 4 was false. \
                 It (the input) has 3",
                "Non-zero status code returned while running Reshape node. Name:'r' Status Message: \
                 size == 4 was false. It (the input) has 3",
            ),
            (
                "a.cc:7 onnxruntime::common::Status onnxruntime::F<T>::Compute(onnxruntime::OpKernelContext*) const \
                 [with T = float] bad",
                "bad",
            ),
            ("b.h:3 no function (here)", "no function (here)"),
            ("c.cc:9 ", ""),
        ] {
            assert_eq!(plain(said), plain_text);
        }
    }

    #[test]
    fn memory_is_the_machines_fault_and_a_graph_the_models() {
        use is_of_model as of_model;
        assert!(of_model(ErrorCode::InvalidGraph, "cycle"));
        assert!(of_model(ErrorCode::GenericFailure, "ShapeInferenceError"));
        assert!(!of_model(ErrorCode::RuntimeException, "std::bad_alloc"));
        let wants = |bytes: u64| {
            let said = format!("Failed to allocate memory for requested buffer of size {bytes}");
            of_model(ErrorCode::GenericFailure, &said)
        };
        assert!(!wants(1 << 33) && wants(1 << 43));
        assert!(!of_model(
            ErrorCode::GenericFailure,
            "node `c`: its kernel failed: index"
        ));
        assert!(!of_model(ErrorCode::ExecutionProviderFailure, "no device"));
    }
}
