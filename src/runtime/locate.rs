//! Finding the shared library of onnxruntime on this machine.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::{RuntimeError, Version, library};

/// What stands behind the version in the name of a folder of the cache whose library is for GPUs.
pub(super) const FOR_CUDA: &str = "-cuda";

/// How a library was found, in the order of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The path the user gave (`--runtime PATH`).
    Flag,
    /// The environment variable `ORT_DYLIB_PATH`.
    Environment,
    /// What the program that this is a part of brings along: that of the wheel.
    Brought,
    /// Installed by `ftsurgery runtime install`.
    Cache,
    /// Part of an onnxruntime package of `python3`.
    Python,
    /// A library folder of the system.
    System,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "--runtime",
            Self::Environment => "ORT_DYLIB_PATH",
            Self::Brought => "the package onnxruntime beside ftsurgery",
            Self::Cache => "ftsurgery's cache",
            Self::Python => "python3's onnxruntime",
            Self::System => "the system's libraries",
        })
    }
}

/// A library that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The file.
    pub path: PathBuf,
    /// How it was found.
    pub origin: Origin,
}

/// A place that was searched in vain, or a library that was passed over.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Tried {
    /// The kind of place.
    pub origin: Origin,
    /// The file or folder, if there is one to name.
    #[serde(serialize_with = "shown")]
    pub path: Option<PathBuf>,
    /// Why it did not serve.
    pub reason: String,
}

/// A path in JSON for people to read, whose bytes need not be a text.
fn shown<S: serde::Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => to.collect_str(&path.display()),
        None => to.serialize_none(),
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if let Some(path) = &self.path {
            write!(f, "`{}`: ", path.display())?;
        }
        f.write_str(&self.reason)
    }
}

/// The outcome of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The first usable library.
    pub located: Located,
    /// The version it reports.
    pub version: Version,
    /// What came before it in the search and did not serve.
    pub tried: Vec<Tried>,
}

/// The folder of what the program brings along.
static BROUGHT: OnceLock<PathBuf> = OnceLock::new();

/// From now on [`locate`] looks into this folder before all others: for a program that brings a library along. Which
/// it is can be said once.
pub fn prefer(folder: PathBuf) {
    let _ = BROUGHT.set(folder);
}

/// Finds the library: `explicit`, then `ORT_DYLIB_PATH`, what the program [brings along](prefer), the cache, `python3`, the system.
///
/// # Errors
/// When `explicit` or `ORT_DYLIB_PATH` names something unusable (the search does not go on then), or
/// when there is no usable library anywhere.
pub fn locate(explicit: Option<&Path>) -> Result<Found, RuntimeError> {
    Search::of_this_machine(explicit).run()
}

/// The folder in which this program keeps what it downloads, and images that it has decoded: `$FTSURGERY_CACHE`, else
/// `$XDG_CACHE_HOME/ftsurgery`, else `.cache/ftsurgery` in the home folder.
pub fn cache_dir() -> Option<PathBuf> {
    cache_dir_from(|name| env::var_os(name).filter(|value| !value.is_empty()))
}

fn cache_dir_from(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(own) = var("FTSURGERY_CACHE") {
        return Some(own.into());
    }
    // The XDG specification has relative paths ignored.
    let base = var("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = base.or_else(|| {
        let home = var("HOME").or_else(|| var("USERPROFILE"))?;
        Some(Path::new(&home).join(".cache"))
    });
    base.map(|base| base.join("ftsurgery"))
}

/// Everything a search depends on, so that tests can replace it.
struct Search {
    explicit: Option<PathBuf>,
    environment: Option<PathBuf>,
    brought: Option<PathBuf>,
    cache: Option<PathBuf>,
    python: PathBuf,
    system: Vec<PathBuf>,
    probe: fn(&Path) -> Result<Version, String>,
}

impl Search {
    fn of_this_machine(explicit: Option<&Path>) -> Self {
        Self {
            explicit: explicit.map(Path::to_owned),
            environment: env::var_os("ORT_DYLIB_PATH")
                .filter(|v| !v.is_empty())
                .map(Into::into),
            brought: BROUGHT.get().cloned(),
            cache: cache_dir(),
            python: "python3".into(),
            system: system_folders(),
            probe: library::probe,
        }
    }

    fn run(self) -> Result<Found, RuntimeError> {
        let named = [
            (&self.explicit, Origin::Flag, "--runtime"),
            (&self.environment, Origin::Environment, "ORT_DYLIB_PATH"),
        ];
        for (path, origin, source_name) in named {
            if let Some(path) = path {
                return self.named(path, origin, source_name);
            }
        }
        let mut tried = Vec::new();
        let places = [
            (Origin::Brought, self.in_brought()),
            (Origin::Cache, self.in_cache()),
            (Origin::Python, self.in_python()),
            (Origin::System, self.in_system()),
        ];
        for (origin, candidates) in places {
            let candidates = match candidates {
                Ok(candidates) => candidates,
                Err((path, reason)) => {
                    tried.push(Tried {
                        origin,
                        path,
                        reason,
                    });
                    continue;
                }
            };
            for path in candidates {
                match self.usable(&path) {
                    Ok(version) => {
                        return Ok(Found {
                            located: Located { path, origin },
                            version,
                            tried,
                        });
                    }
                    Err(reason) => tried.push(Tried {
                        origin,
                        path: Some(path),
                        reason,
                    }),
                }
            }
        }
        Err(RuntimeError::NotFound(tried))
    }

    fn named(
        &self,
        path: &Path,
        origin: Origin,
        source_name: &'static str,
    ) -> Result<Found, RuntimeError> {
        let refused = |reason: String| RuntimeError::Named {
            source_name,
            path: path.to_owned(),
            reason,
        };
        match fs::metadata(path) {
            Err(error) => return Err(refused(error.to_string())),
            Ok(meta) if !meta.is_file() => return Err(refused("it is not a file".to_owned())),
            Ok(_) => {}
        }
        let path = std::path::absolute(path).map_err(|error| refused(error.to_string()))?;
        let version = self.usable(&path).map_err(refused)?;
        Ok(Found {
            located: Located { path, origin },
            version,
            tried: Vec::new(),
        })
    }

    fn usable(&self, path: &Path) -> Result<Version, String> {
        let version = (self.probe)(path)?;
        if version < Version::OLDEST {
            return Err(format!(
                "version {version} is too old, {} is needed",
                Version::OLDEST
            ));
        }
        Ok(version)
    }

    fn in_brought(&self) -> Candidates {
        let Some(folder) = &self.brought else {
            return Ok(Vec::new());
        };
        match libraries_in(folder) {
            found if found.is_empty() => {
                Err((Some(folder.clone()), "it has no shared library".to_owned()))
            }
            found => Ok(found),
        }
    }

    fn in_cache(&self) -> Candidates {
        let Some(cache) = &self.cache else {
            return Err((None, "there is no home folder".to_owned()));
        };
        let folder = cache.join("runtime");
        let nothing = || {
            (
                Some(folder.clone()),
                "nothing is installed there".to_owned(),
            )
        };
        // One for GPUs was asked for, and serves without one, too.
        let mut versions: Vec<(bool, Version, PathBuf)> = fs::read_dir(&folder)
            .map_err(|_| nothing())?
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let name = name.to_str()?;
                let version = name.parse().ok()?;
                Some((name.ends_with(FOR_CUDA), version, entry.path()))
            })
            .collect();
        versions.sort();
        let found: Vec<_> = versions
            .iter()
            .rev()
            .flat_map(|(.., folder)| libraries_in(folder))
            .collect();
        if found.is_empty() {
            Err(nothing())
        } else {
            Ok(found)
        }
    }

    /// Asks Python where the package is, without importing it.
    fn in_python(&self) -> Candidates {
        const ASK: &str = "import importlib.util as u\n\
            s = u.find_spec('onnxruntime')\n\
            print(*(s.submodule_search_locations or []) if s else [], sep='\\n')";
        let asked = Command::new(&self.python).args(["-c", ASK]).output();
        let output = asked.map_err(|error| {
            (
                None,
                format!("`{}` does not run: {error}", self.python.display()),
            )
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.trim().lines().last().unwrap_or("it failed").to_owned();
            return Err((None, last));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let packages: Vec<_> = text
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect();
        let Some(first) = packages.first() else {
            return Err((None, "it has no package onnxruntime".to_owned()));
        };
        let found: Vec<_> = packages
            .iter()
            .flat_map(|package| libraries_in(&Path::new(package).join("capi")))
            .collect();
        if found.is_empty() {
            return Err((
                Some(first.into()),
                "the package has no shared library".to_owned(),
            ));
        }
        Ok(found)
    }

    fn in_system(&self) -> Candidates {
        let found: Vec<_> = self
            .system
            .iter()
            .flat_map(|folder| libraries_in(folder))
            .collect();
        if found.is_empty() {
            return Err((None, "none of the library folders has one".to_owned()));
        }
        Ok(found)
    }
}

/// Paths to try, or the place and the reason there are none.
type Candidates = Result<Vec<PathBuf>, (Option<PathBuf>, String)>;

/// True for the file name of onnxruntime's main library on Linux, macOS or Windows.
pub(super) fn is_library_name(name: &str) -> bool {
    let versioned = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '.');
    if let Some(rest) = name.strip_prefix("libonnxruntime.so") {
        return versioned(rest);
    }
    let mac = name
        .strip_prefix("libonnxruntime.")
        .and_then(|rest| rest.strip_suffix("dylib"));
    name == "onnxruntime.dll" || mac.is_some_and(versioned)
}

/// The main libraries of onnxruntime in a folder, the newest by name first.
pub(super) fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_library_name))
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    found.sort_by_key(|path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let digits = name
            .find(|c: char| c.is_ascii_digit())
            .map_or("", |at| &name[at..]);
        std::cmp::Reverse(digits.parse::<Version>().unwrap_or(Version::new(0, 0, 0)))
    });
    found
}

fn system_folders() -> Vec<PathBuf> {
    let split = |name: &str| {
        env::var_os(name)
            .map(|paths| env::split_paths(&paths).collect::<Vec<_>>())
            .unwrap_or_default()
    };
    let mut folders = if cfg!(windows) {
        split("PATH")
    } else if cfg!(target_os = "macos") {
        split("DYLD_LIBRARY_PATH")
    } else {
        split("LD_LIBRARY_PATH")
    };
    if cfg!(unix) {
        let usual = [
            "/usr/local/lib",
            "/usr/local/lib64",
            "/opt/onnxruntime/lib",
            "/opt/homebrew/lib",
            "/usr/lib",
            "/usr/lib64",
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
        ];
        folders.extend(usual.map(PathBuf::from));
        folders.extend(ldconfig_folders());
    }
    folders.retain(|folder| folder.is_absolute());
    let mut seen = std::collections::HashSet::new();
    folders.retain(|folder| seen.insert(folder.canonicalize().unwrap_or(folder.clone())));
    folders
}

/// Folders in which the linker's cache knows an onnxruntime library.
fn ldconfig_folders() -> Vec<PathBuf> {
    let listed = ["ldconfig", "/sbin/ldconfig"]
        .into_iter()
        .find_map(|program| Command::new(program).arg("-p").output().ok());
    let Some(output) = listed else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.contains("libonnxruntime.so"))
        .filter_map(|line| line.split("=> ").nth(1)?.trim().rsplit_once('/'))
        .map(|(folder, _)| folder.into())
        .collect()
}

#[cfg(test)]
#[path = "locate_tests.rs"]
mod tests;
