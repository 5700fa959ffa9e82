//! What is printed of what goes into the files and comes out.

use std::io::Write;

use crate::graph::{Dim, Value};
use crate::onnx::DataType;
use crate::report::plain_line;

use crate::cli::{CliError, Context};

/// Of tensors of which there may be hundreds so many are printed.
const FIRST: usize = 8;

/// Lines under a heading.
pub struct Section {
    pub heading: &'static str,
    /// Those that are always there.
    pub lines: Vec<String>,
    /// Those of tensors of which there may be hundreds: some, or all with --verbose.
    pub many: Vec<String>,
}

/// Prints them.
///
/// # Errors
/// When standard output cannot be written.
pub fn tell(sections: &[Section], context: &Context) -> Result<(), CliError> {
    let mut out = context.stdout();
    for Section {
        heading,
        lines,
        many,
    } in sections
    {
        writeln!(out, "{heading}")?;
        // One line is as long as saying that there is one more.
        let all = context.is_verbose() || many.len() <= FIRST + 1;
        let shown = if all { many.len() } else { FIRST };
        for line in lines.iter().chain(&many[..shown]) {
            writeln!(out, "  {line}")?;
        }
        if let rest @ 1.. = many.len() - shown {
            writeln!(out, "  and {rest} more (--verbose shows them)")?;
        }
    }
    out.flush()?;
    Ok(())
}

/// A line for an input or output.
pub fn entry(value: &Value) -> String {
    let dims = value.dims.iter().flatten().map(|dim| match dim {
        Dim::Known(size) => size.to_string(),
        Dim::Symbolic(name) if name.is_empty() => "?".to_owned(),
        Dim::Symbolic(name) => name.clone(),
    });
    let dims: Vec<String> = dims.collect();
    let dtype = format!("{:?}", value.dtype).to_lowercase();
    let name = plain_line(&value.name);
    format!("{name} [{}], {dtype}", dims.join(", "))
}

/// A line for a float tensor of these dimensions, none for a number.
pub fn floats(name: &str, dims: &[usize]) -> String {
    entry(&Value::fixed(name, DataType::Float, dims))
}
