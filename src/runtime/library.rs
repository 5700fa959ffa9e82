use std::{
    ffi::CStr,
    path::{Path, PathBuf},
    ptr,
    sync::{Arc, Mutex, PoisonError},
};

use ort::{environment::Environment, logging::LogLevel};

use super::{Located, Origin, RuntimeError, Version};

/// The onnxruntime library of this process. Cloning it is cheap.
///
/// The library and its environment stay until the process ends, whoever holds a `Runtime`.
#[derive(Debug, Clone)]
pub struct Runtime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    origin: Origin,
    version: Version,
    environment: Environment,
}

static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads the library, or returns the one loaded before.
    ///
    /// # Errors
    /// When the library cannot be loaded, is older than [`Version::OLDEST`], or another one is
    /// loaded already.
    pub fn load(located: &Located) -> Result<Self, RuntimeError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            if same_file(runtime.path(), &located.path) {
                return Ok(runtime.clone());
            }
            return Err(RuntimeError::AlreadyLoaded {
                loaded: runtime.path().to_owned(),
                wanted: located.path.clone(),
            });
        }
        // A relative path would be looked up beside the executable, a bare name by the linker.
        let path = std::path::absolute(&located.path).map_err(|source| RuntimeError::Io {
            action: "cannot resolve",
            path: located.path.clone(),
            source,
        })?;
        let failed = |reason: String| RuntimeError::Load {
            path: path.clone(),
            reason,
        };
        let version = probe(&path).map_err(&failed)?;
        if version < Version::OLDEST {
            return Err(RuntimeError::TooOld {
                version: version.to_string(),
                path,
            });
        }
        let environment = ort::init_from(&path)
            .map_err(|error| failed(error.to_string()))?
            .with_name("ftsurgery")
            .with_telemetry(false)
            .with_logger(Arc::new(forward_log))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        let inner = Inner {
            path,
            origin: located.origin,
            version,
            environment,
        };
        Ok(loaded.insert(Self(Arc::new(inner))).clone())
    }

    /// True once a library is loaded; until then no tensor can be made.
    pub(super) fn is_loaded() -> bool {
        LOADED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// The library's file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// How the library was found.
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// The version the library reports.
    pub fn version(&self) -> Version {
        self.0.version
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.0.environment
    }

    /// The execution providers compiled into the library, in its order of preference.
    ///
    /// # Errors
    /// When onnxruntime fails to list them.
    #[allow(unsafe_code)]
    pub fn providers(&self) -> Result<Vec<String>, RuntimeError> {
        let failed = |message: String| RuntimeError::Session {
            of_model: false,
            label: "onnxruntime".to_owned(),
            action: "list its execution providers".to_owned(),
            message,
        };
        let api = ort::api();
        let mut names = ptr::null_mut();
        let mut count = 0;
        // SAFETY: both out-pointers are live; the status is consumed once. The array and its C
        // strings are valid until they are released below, after they have been copied.
        unsafe {
            ort::Error::result_from_status((api.GetAvailableProviders)(&mut names, &mut count))
                .map_err(|error| failed(error.to_string()))?;
            let length = if names.is_null() {
                0
            } else {
                usize::try_from(count).unwrap_or(0)
            };
            let list = (0..length)
                .map(|i| CStr::from_ptr(*names.add(i)).to_string_lossy().into_owned())
                .collect();
            ort::Error::result_from_status((api.ReleaseAvailableProviders)(names, count))
                .map_err(|error| failed(error.to_string()))?;
            Ok(list)
        }
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// onnxruntime reports the same failures as errors to the caller, so nothing here is above `warn`.
fn forward_log(level: LogLevel, category: &str, id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => {
            tracing::debug!(target: "onnxruntime", category, id, location, "error: {message}");
        }
        LogLevel::Warning => {
            tracing::debug!(target: "onnxruntime", category, id, location, "{message}");
        }
        _ => tracing::trace!(target: "onnxruntime", category, id, location, "{message}"),
    }
}

/// Opens a shared library, asks it for its onnxruntime version and closes it again.
///
/// # Errors
/// A sentence saying why it is not a usable onnxruntime library.
#[allow(unsafe_code)]
pub(super) fn probe(path: &Path) -> Result<Version, String> {
    // SAFETY: loading a library runs its initializers; this one was named by the user or found
    // where onnxruntime libraries are installed, and is about to be used as one.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| {
        std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
    })?;
    type GetBase = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;
    // SAFETY: the symbol has had this signature in every release of onnxruntime's C API.
    let text = unsafe {
        let get_base: libloading::Symbol<'_, GetBase> = library
            .get(b"OrtGetApiBase")
            .map_err(|_| "it is not an onnxruntime library (no symbol OrtGetApiBase)")?;
        let base = get_base();
        if base.is_null() {
            return Err("its OrtGetApiBase returned nothing".to_owned());
        }
        let text = ((*base).GetVersionString)();
        if text.is_null() {
            return Err("it reports no version".to_owned());
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    };
    text.parse()
        .map_err(|()| format!("it reports the unreadable version `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_library_says_why() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let located = Located {
            path: file.path().to_owned(),
            origin: Origin::Flag,
        };
        if Runtime::is_loaded() {
            assert!(matches!(
                Runtime::load(&located),
                Err(RuntimeError::AlreadyLoaded { .. })
            ));
        }
        let reason = probe(file.path()).unwrap_err();
        assert!(!reason.is_empty());
    }

    #[test]
    fn loading_twice_gives_the_same_library() {
        let Some(runtime) = crate::runtime::testing::runtime() else {
            return;
        };
        let located = Located {
            path: runtime.path().to_owned(),
            origin: Origin::Flag,
        };
        let again = Runtime::load(&located).unwrap();
        assert!(Arc::ptr_eq(&runtime.0, &again.0));
        assert!(runtime.version() >= Version::OLDEST);
        assert!(
            runtime
                .providers()
                .unwrap()
                .iter()
                .any(|name| name == "CPUExecutionProvider")
        );
    }
}
