//! Values of flags that several subcommands share.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::autodiff::Operators;
use crate::choice::{AUTO, Choice};
use crate::classifier::parse_image_size;
use crate::data::{DataError, Preprocess, Resize};
use crate::onnx::is_same_file;
use crate::run::Settings;
use crate::runtime::Device;
use clap::Args;
use clap::builder::{NonEmptyStringValueParser, TypedValueParser};

use super::CliError;

/// How images become the model's input.
#[derive(Args)]
#[command(next_help_heading = "Images")]
pub struct ImageArgs {
    /// Scale pixels as the backbone expects: `unit` (0 to 1), `signed` (-1 to 1), `imagenet`
    /// (torchvision's mean and deviation), `caffe` (BGR less the ImageNet mean), `raw` (0 to 255), with `-bgr` (or
    /// `-rgb`) behind it for the other order of the colours; or `auto` [default: auto]
    ///
    /// `auto`: as the model's metadata say if ftsurgery wrote it; else as the model itself does by the type of its
    /// input or its first steps; else it is found by trying all of these on some images, for models that store the
    /// statistics of their normalisation layers; else `imagenet`, with a warning. With another value, metadata that
    /// say otherwise are overruled, with a warning; in a study they are not, as the flag is for models whose metadata
    /// say nothing.
    #[arg(long, value_name = "NAME", value_parser = auto_or(preprocess))]
    preprocess: Option<Choice<Preprocess>>,
    /// Subtract this from RGB in 0 to 1, by hand (with --std); e.g. 0.5,0.5,0.5
    #[arg(long, value_name = "R,G,B", value_parser = triple, requires = "std",
          conflicts_with = "preprocess", allow_hyphen_values = true)]
    pub mean: Option<[f32; 3]>,
    /// Divide RGB by this after --mean; e.g. 0.25,0.25,0.25
    #[arg(long, value_name = "R,G,B", value_parser = triple, requires = "mean")]
    pub std: Option<[f32; 3]>,
    /// How images come to the input's size: `squash` (the whole image, its aspect is not kept), `crop` (the
    /// middle: the short side comes to the input's / 0.875; `crop:SHARE` for another share, 0.5 to 1),
    /// `letterbox` (the whole image, its aspect kept, grey around it), or `auto` [default: auto]
    ///
    /// `auto`: as the model's metadata say. Where they do not, and a new head is trained: `crop`, or `squash` where the
    /// images have the input's shape anyway, unless heads that are solved on some of them are better by the other of
    /// the two; else `squash`. With another value, metadata that say otherwise are overruled, with a warning.
    #[arg(long, value_name = "RULE", value_parser = auto_or(option::<Resize>))]
    resize: Option<Choice<Resize>>,
    /// Image size in pixels where the model leaves it open: `224`, or HEIGHTxWIDTH
    #[arg(long, value_name = "SIZE", value_parser = parse_image_size)]
    pub image_size: Option<(usize, usize)>,
}

impl ImageArgs {
    /// The rule of resizing that is asked for; `None` where it is to be found.
    pub fn resize(&self) -> Option<Resize> {
        self.resize.and_then(Choice::given)
    }

    /// The preprocessing asked for; `None` where it is to be found.
    pub fn preprocess(&self) -> Result<Option<Preprocess>, CliError> {
        Ok(match (self.mean, self.std) {
            (Some(mean), Some(std)) => Some(Preprocess::custom(mean, std)?),
            _ => match &self.preprocess {
                Some(Choice::Given(preprocess)) => Some(preprocess.clone()),
                Some(Choice::Auto) | None => None,
            },
        })
    }
}

/// Where to compute.
#[derive(Args, Clone, Copy)]
pub struct DeviceArgs {
    /// Threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = count)]
    threads: Option<usize>,
    /// `cpu`, `cuda` or `cuda:N` [default: cpu]
    #[arg(long, value_name = "DEVICE")]
    device: Option<Device>,
}

impl DeviceArgs {
    /// Number of threads; 0 for one per core.
    pub fn threads(self) -> usize {
        self.threads.unwrap_or(0)
    }

    /// The device; the processor, where none is given.
    pub fn device(self) -> Device {
        self.device.unwrap_or_default()
    }

    /// Puts what is given into `settings`.
    pub fn apply(self, settings: &mut Settings) {
        set(&mut settings.threads, &self.threads);
        set(&mut settings.device, &self.device);
    }
}

/// Which value of a model is meant.
#[derive(Args, Clone)]
pub struct OutputArg {
    /// Take the class scores from this output of the model, or value inside of it, instead of the output that
    /// the most layers lead to
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
}

/// Where and with what to train.
#[derive(Args, Clone, Copy)]
pub struct ComputeArgs {
    #[command(flatten)]
    pub device: DeviceArgs,
    /// What is computed with: ftsurgery's own kernels where there are any (`kernels`, on the
    /// processor), or operators of the ONNX standard alone (`standard`) [default: kernels]
    #[arg(long, value_name = "KIND")]
    operators: Option<Operators>,
    /// Have the optimizer in the graph of a step, with parameters, gradients and moments on the device, of which the host
    /// reads the loss alone: `on`, `off` (a loop on the host), or `auto`, which is on where --device is not the processor
    /// [default: auto]
    #[arg(long, value_name = "on|off|auto", num_args = 0..=1, require_equals = true,
          default_missing_value = "on", value_parser = auto_or(on_or_off))]
    optimizer_in_graph: Option<Choice<bool>>,
    /// Let a GPU multiply in TF32, with 10 bits behind the point in place of 23
    #[arg(long)]
    tf32: bool,
}

impl ComputeArgs {
    /// Puts what is given into `settings`.
    ///
    /// # Errors
    /// As [`operators`].
    pub fn apply(self, settings: &mut Settings) -> Result<(), CliError> {
        self.device.apply(settings);
        if self.operators.is_some() {
            settings.operators = operators(self.operators, settings.device)?;
        }
        set(&mut settings.optimizer_in_graph, &self.optimizer_in_graph);
        settings.tf32 |= self.tf32;
        Ok(())
    }

    /// Whether the optimizer is in the graph of a step.
    pub fn optimizer_in_graph(self) -> bool {
        let found = self.device.device() != Device::Cpu;
        self.optimizer_in_graph.unwrap_or(Choice::Auto).or(found)
    }

    /// Whether a GPU may multiply in TF32.
    pub fn tf32(self) -> bool {
        self.tf32
    }

    /// Whether TF32 is asked for on a device that has none.
    pub fn tf32_elsewhere(self) -> bool {
        self.tf32 && self.device.device() == Device::Cpu
    }

    /// Whether the kernels are asked for on a device that has none.
    pub fn kernels_elsewhere(self) -> bool {
        self.operators().is_err()
    }

    /// See [`operators`].
    pub fn operators(self) -> Result<Operators, CliError> {
        operators(self.operators, self.device.device())
    }
}

/// Puts a value where one is given.
pub fn set<T: Clone>(place: &mut T, given: &Option<T>) {
    if let Some(value) = given {
        place.clone_from(value);
    }
}

/// What is computed with: the kernels, unless something else is asked for.
///
/// # Errors
/// When kernels are asked for on a device that has none.
pub fn operators(asked: Option<Operators>, device: Device) -> Result<Operators, CliError> {
    match asked {
        Some(Operators::Kernels) if device != Device::Cpu => Err(CliError::usage(format!(
            "--operators kernels does nothing here: the kernels run on the processor, not on {device}"
        ))),
        asked => Ok(asked.unwrap_or(Operators::Kernels)),
    }
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected `on` or `off`".to_owned()),
    }
}

/// Reads the name of a preprocessing.
pub fn preprocess(text: &str) -> Result<Preprocess, String> {
    text.parse().map_err(|_| {
        format!(
            "expected one of {}, with -bgr or -rgb behind it for the other order of the colours",
            Preprocess::PRESETS.join(", ")
        )
    })
}

fn triple(text: &str) -> Result<[f32; 3], String> {
    let numbers: Result<Vec<f32>, _> = text.split(',').map(|n| n.trim().parse()).collect();
    numbers
        .ok()
        .filter(|n| n.iter().all(|v| v.is_finite()))
        .and_then(|n| n.try_into().ok())
        .ok_or_else(|| "expected three numbers separated by commas".to_owned())
}

/// The first of some names, and how many more there are.
pub fn some(names: &[impl AsRef<str>]) -> String {
    const NAMED: usize = 8;
    let first: Vec<&str> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Reads a path that is a text, as files of settings hold it.
pub fn text_path() -> impl TypedValueParser<Value = PathBuf> {
    NonEmptyStringValueParser::new().map(PathBuf::from)
}

/// Fails where a file that is to be written is one that is read.
pub fn ensure_not_read(out: &Path, inputs: &[impl AsRef<Path>]) -> Result<(), CliError> {
    match inputs.iter().any(|input| is_same_file(input.as_ref(), out)) {
        true => Err(CliError::usage(format!(
            "{} is read here, and would be written over",
            out.display()
        ))),
        false => Ok(()),
    }
}

/// Fails where the file of a flag, which is to be written, is one that is read, or is there, unless that is `force`d.
pub fn ensure_new(
    out: &Path,
    flag: &str,
    inputs: &[impl AsRef<Path>],
    force: bool,
) -> Result<(), CliError> {
    ensure_not_read(out, inputs)?;
    let there = out.try_exists();
    match !force && there.map_err(|e| CliError::cannot_write(out, &e))? {
        true => Err(
            CliError::usage(format!("{} exists", out.display())).with_hint(format!(
                "choose another file with {flag}, or overwrite it with --force"
            )),
        ),
        false => Ok(()),
    }
}

/// As [`ensure_new`]; fails also where there is no folder for the file to be in.
pub fn ensure_writable(
    out: &Path,
    flag: &str,
    inputs: &[impl AsRef<Path>],
    force: bool,
) -> Result<(), CliError> {
    ensure_new(out, flag, inputs, force)?;
    match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => Err(CliError::usage(
            format!("there is no folder {} to write to", folder.display()),
        )),
        _ => Ok(()),
    }
}

/// A number of bytes: `1GiB`, `512MiB`, `64KiB`, `2GB`, or bytes alone.
#[derive(Clone, Copy)]
pub struct Bytes(pub u64);

impl std::str::FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        bytes(text).map(Bytes)
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1_048_576.0,
        "g" | "gib" => 1_073_741_824.0,
        "t" | "tib" => 1_099_511_627_776.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(format!("`{unit}` is no unit; use KiB, MiB or GiB")),
    };
    match number.parse::<f64>() {
        Ok(n) if n.is_finite() => Ok((n * factor) as u64),
        _ => Err("expected a size such as 1GiB or 512MiB".to_owned()),
    }
}

/// Reads `auto`, or what `read` does.
pub fn auto_or<T>(
    read: impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static,
) -> impl Fn(&str) -> Result<Choice<T>, String> + Clone + Send + Sync + 'static
where
    T: 'static,
{
    move |text| match text {
        AUTO => Ok(Choice::Auto),
        text => match read(text) {
            Ok(value) => Ok(Choice::Given(value)),
            Err(expected) => Err(format!("{expected}, or `{AUTO}`")),
        },
    }
}

/// Reads an option of the data.
pub fn option<T: FromStr<Err = DataError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: DataError| error.to_string())
}

/// Reads a share, 0 to 1.
pub fn fraction(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    match (0.0..=1.0).contains(&number) {
        true => Ok(number),
        false => Err("expected a number from 0 to 1".to_owned()),
    }
}

/// Reads a share above 0, at most 1.
pub fn part(text: &str) -> Result<f64, String> {
    match fraction(text)? {
        0.0 => Err("expected a number above 0, at most 1".to_owned()),
        part => Ok(part),
    }
}

/// Reads a finite number that is 0 or more.
pub fn at_least_0(text: &str) -> Result<f32, String> {
    let number: f32 = text.parse().map_err(|_| "expected a number".to_owned())?;
    match number.is_finite() && number >= 0.0 {
        true => Ok(number),
        false => Err("expected a number of 0 or more".to_owned()),
    }
}

/// Reads a finite number above 0.
pub fn above_0(text: &str) -> Result<f32, String> {
    match at_least_0(text)? {
        0.0 => Err("expected a number above 0".to_owned()),
        number => Ok(number),
    }
}

/// Reads a number of 0 or more that is below 1.
pub fn below_1(text: &str) -> Result<f32, String> {
    match at_least_0(text)? {
        number if number < 1.0 => Ok(number),
        _ => Err("expected a number of 0 or more, below 1".to_owned()),
    }
}

/// Reads a number above 0 and below 1.
pub fn inside_1(text: &str) -> Result<f32, String> {
    match above_0(text)? {
        number if number < 1.0 => Ok(number),
        _ => Err("expected a number above 0, below 1".to_owned()),
    }
}

/// Reads a number above 0 and at most 1.
pub fn to_1(text: &str) -> Result<f32, String> {
    match above_0(text)? {
        number if number <= 1.0 => Ok(number),
        _ => Err("expected a number above 0, at most 1".to_owned()),
    }
}

/// Reads a count of 1 or more.
pub fn count(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("expected a whole number of 1 or more".to_owned()),
    }
}

/// Reads a number of epochs, or `off`.
pub fn patience(text: &str) -> Result<Option<usize>, String> {
    match text {
        "off" => Ok(None),
        text => Ok(Some(count(text).map_err(|e| format!("{e}, or `off`"))?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        assert_eq!(bytes("1.5 MiB"), Ok(3 << 19));
        assert_eq!(bytes("2GB"), Ok(2_000_000_000));
        assert_eq!(bytes("0"), Ok(0));
        for wrong in ["", "GiB", "1XB", "-1", "1..2G"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        assert!(fraction("1.1").is_err() && fraction("nan").is_err());
        assert!(above_0("0").is_err() && above_0("inf").is_err());
        assert!(below_1("1").is_err() && below_1("-0.1").is_err());
        assert!(count("0").is_err());
        let rate = auto_or(above_0);
        assert_eq!(rate("auto"), Ok(Choice::Auto));
        assert_eq!(rate("0.5"), Ok(Choice::Given(0.5)));
        assert!(rate("0").is_err() && rate("fast").is_err());
        assert_eq!(triple("0.5, 1,2"), Ok([0.5, 1.0, 2.0]));
        assert!(triple("1,2").is_err());
    }
}
