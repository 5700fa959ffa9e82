use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Runtime, RuntimeError, SessionOptions, cuda};

/// Where sessions compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// A CUDA device, by its number.
    Cuda(i32),
}

impl Device {
    /// Fails if the loaded library does not offer this device.
    ///
    /// # Errors
    /// As said; whether the device itself is there shows only when a session is made.
    pub fn check(self, runtime: &Runtime) -> Result<(), RuntimeError> {
        self.providers(runtime, &SessionOptions::default())
            .map(drop)
    }

    /// The execution providers a session registers for this device.
    ///
    /// # Errors
    /// When the loaded library does not offer the device.
    pub(super) fn providers(
        self,
        runtime: &Runtime,
        options: &SessionOptions,
    ) -> Result<Vec<ort::ep::ExecutionProviderDispatch>, RuntimeError> {
        let Self::Cuda(number) = self else {
            return Ok(Vec::new());
        };
        let offered = runtime.providers()?;
        if !offered.iter().any(|name| name == "CUDAExecutionProvider") {
            return Err(RuntimeError::Device {
                device: self.to_string(),
                reason: format!(
                    "onnxruntime {} at `{}` offers {}; `ftsurgery runtime install --cuda` fetches one that has it",
                    runtime.version(),
                    runtime.path().display(),
                    offered.join(", ")
                ),
            });
        }
        cuda::preload(runtime.path());
        // onnxruntime would take TF32 where it is not told otherwise, and of cuDNN's algorithms those that it measures to be
        // the fastest, which are others from one session to the next.
        let cuda = ort::ep::CUDA::default()
            .with_device_id(number)
            .with_conv_algorithm_search(ort::ep::cuda::ConvAlgorithmSearch::Heuristic)
            .with_tf32(options.tf32)
            .with_cuda_graph(options.replay);
        Ok(vec![cuda.build().error_on_failure()])
    }
}

impl FromStr for Device {
    type Err = RuntimeError;

    /// Reads `cpu`, `cuda` or `cuda:N`.
    fn from_str(text: &str) -> Result<Self, RuntimeError> {
        let number = match text {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => Some(0),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .filter(|n| *n >= 0),
        };
        number.map(Self::Cuda).ok_or_else(|| RuntimeError::Device {
            device: text.to_owned(),
            reason: "expected `cpu`, `cuda` or `cuda:N`".to_owned(),
        })
    }
}

impl TryFrom<String> for Device {
    type Error = RuntimeError;

    fn try_from(text: String) -> Result<Self, RuntimeError> {
        text.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_parse_and_print() {
        assert_eq!("cpu".parse::<Device>().unwrap(), Device::Cpu);
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        assert_eq!("cuda:3".parse::<Device>().unwrap().to_string(), "cuda:3");
        for wrong in ["gpu", "cuda:", "cuda:-1", "cuda:x", ""] {
            assert!(
                wrong.parse::<Device>().unwrap_err().is_bad_input(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_device_the_library_lacks_is_refused() {
        let Some(runtime) = crate::runtime::testing::runtime() else {
            return;
        };
        if runtime
            .providers()
            .unwrap()
            .iter()
            .any(|name| name.starts_with("CUDA"))
        {
            crate::testing::skip("cpu-only runtime", "this library offers CUDA");
            return;
        }
        let error = Device::Cuda(1).check(&runtime).err().unwrap();
        assert!(error.to_string().contains("cuda:1"), "{error}");
    }
}
