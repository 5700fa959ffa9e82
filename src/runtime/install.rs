//! Fetching the shared library of onnxruntime from the Python package index.
//!
//! `pip` picks and downloads the wheel for this machine; the library is taken out of it and kept in
//! `runtime/VERSION/` of the [cache](super::locate::cache_dir). Nothing is installed into Python. For GPUs it is
//! `runtime/VERSION-cuda/`, of the wheel that has the provider of CUDA, with the libraries of the packages that this
//! wheel names for it in a folder beside.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use fs4::FileExt;
use sha2::{Digest, Sha256};

use super::{RuntimeError, Version, cuda, locate};

/// The version installed when none is asked for.
pub const DEFAULT_VERSION: &str = "1.32.0";

/// Takes the libraries, their licences and the wheel's own list of hashes out of a wheel, without
/// its folders.
const UNPACK: &str = r#"
import re, shutil, sys, zipfile
wheel, target = sys.argv[1:]
wanted = re.compile(
    r"onnxruntime/capi/(libonnxruntime[^/]*|onnxruntime[^/]*\.dll)"
    r"|onnxruntime/(LICENSE|ThirdPartyNotices\.txt)"
    r"|[^/]*\.dist-info/(RECORD|LICENSE)")
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if wanted.fullmatch(name):
            with archive.open(name) as source:
                with open(target + "/" + name.rsplit("/", 1)[1], "wb") as file:
                    shutil.copyfileobj(source, file)
"#;

/// Prints what a wheel of onnxruntime needs for CUDA.
const NEEDED: &str = r#"
import re, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    name = next(n for n in archive.namelist() if re.fullmatch(r"[^/]*\.dist-info/METADATA", n))
    for line in archive.read(name).decode().splitlines():
        found = re.fullmatch(r'Requires-Dist: ([^;]*);\s*extra == "(cuda|cudnn)"', line)
        if found:
            print(found[1].strip())
"#;

/// Takes the libraries out of the wheels in a folder, each held against its hash in its wheel's list, and prints how many.
const UNPACK_CUDA: &str = r#"
import base64, csv, hashlib, io, pathlib, re, sys, zipfile
wheels, target = sys.argv[1:]
wanted = re.compile(r"nvidia/.*/(lib[^/]*\.so[^/]*|[^/]*\.dll)")
count = 0
for wheel in sorted(pathlib.Path(wheels).glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        record = next(n for n in names if re.fullmatch(r"[^/]*\.dist-info/RECORD", n))
        rows = csv.reader(io.StringIO(archive.read(record).decode()))
        listed = {row[0]: row[1] for row in rows if len(row) > 1}
        for name in filter(wanted.fullmatch, names):
            digest, path = hashlib.sha256(), pathlib.Path(target, name.rsplit("/", 1)[1])
            with archive.open(name) as source, open(path, "wb") as file:
                while piece := source.read(1 << 22):
                    digest.update(piece)
                    file.write(piece)
            own = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
            if listed.get(name) != "sha256=" + own:
                sys.exit(f"`{name}` does not match the hash in {wheel.name}")
            count += 1
print(count)
"#;

/// Loads a library in a process of its own and prints its version.
const LOAD: &str = r#"
import ctypes, sys
class Base(ctypes.Structure):
    _fields_ = [("api", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)),
                ("version", ctypes.CFUNCTYPE(ctypes.c_char_p))]
library = ctypes.CDLL(sys.argv[1])
library.OrtGetApiBase.restype = ctypes.POINTER(Base)
print(library.OrtGetApiBase().contents.version().decode())
"#;

/// Installs onnxruntime into the cache, unless it is there already, and returns its library.
///
/// Without a `version`, it is [`DEFAULT_VERSION`], or when the index does not serve that, the newest
/// one it serves from [`Version::OLDEST`] on. With `cuda` it is one for GPUs, with the libraries of CUDA and cuDNN (some
/// 2 GB); the driver is the system's. `progress` is told every step in a few words.
///
/// Concurrent installations wait for one another; the folder appears complete or not at all.
///
/// # Errors
/// When Python or pip is missing, the index does not answer or lacks the version, or what it
/// serves is damaged or does not load.
pub fn install(
    version: Option<&str>,
    cuda: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, RuntimeError> {
    let cache = locate::cache_dir().ok_or_else(|| {
        RuntimeError::Install("there is no home folder; set FTSURGERY_CACHE".to_owned())
    })?;
    Installer {
        folder: cache.join("runtime"),
        python: "python3".into(),
        cuda,
    }
    .install(version, progress)
}

struct Installer {
    folder: PathBuf,
    python: PathBuf,
    /// Whether it is for GPUs.
    cuda: bool,
}

impl Installer {
    fn install(
        &self,
        version: Option<&str>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<PathBuf, RuntimeError> {
        let wanted = version.unwrap_or(DEFAULT_VERSION);
        check_version(wanted)?;
        fs::create_dir_all(&self.folder).map_err(io_error("cannot create", &self.folder))?;
        let lock_path = self.folder.join(".lock");
        let lock = fs::File::create(&lock_path).map_err(io_error("cannot create", &lock_path))?;
        FileExt::lock(&lock).map_err(io_error("cannot lock", &lock_path))?;
        if let Some(library) = self.installed(wanted) {
            progress(&format!("{} {wanted} is installed already", self.package()));
            return Ok(library);
        }
        let temporary = tempfile::Builder::new()
            .prefix(".tmp-")
            .tempdir_in(&self.folder)
            .map_err(io_error("cannot create a folder in", &self.folder))?;
        let wheel = self.download(version, temporary.path(), progress)?;
        progress("verifying and unpacking");
        let unpacked = temporary.path().join("unpacked");
        fs::create_dir(&unpacked).map_err(io_error("cannot create", &unpacked))?;
        self.python(
            &[UNPACK.as_ref(), wheel.as_ref(), unpacked.as_ref()],
            "unpack the wheel",
        )?;
        verify_hashes(&unpacked)?;
        if self.cuda {
            self.add_cuda(&wheel, &unpacked, progress)?;
        }
        let library = first_library(&unpacked)
            .ok_or_else(|| failed("the wheel has no shared library".to_owned()))?;
        let printed = self.python(&[LOAD.as_ref(), library.as_ref()], "load the library")?;
        let actual = printed.trim();
        if actual.parse::<Version>().is_err() || actual.contains(['/', '\\']) {
            return Err(failed(format!(
                "the library reports the version `{actual}`"
            )));
        }
        self.publish(&unpacked, actual)
    }

    /// Its name in the index.
    fn package(&self) -> &'static str {
        match self.cuda {
            true => "onnxruntime-gpu",
            false => "onnxruntime",
        }
    }

    /// Where a version is kept.
    fn place(&self, version: &str) -> PathBuf {
        self.folder.join(match self.cuda {
            true => format!("{version}{}", locate::FOR_CUDA),
            false => version.to_owned(),
        })
    }

    /// Fetches the libraries that `wheel` needs for CUDA and puts them beside what is unpacked.
    fn add_cuda(
        &self,
        wheel: &Path,
        unpacked: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), RuntimeError> {
        let needed = self.python(&[NEEDED.as_ref(), wheel.as_ref()], "read the wheel")?;
        let needed: Vec<&str> = needed.lines().collect();
        if needed.is_empty() {
            let reason = "the wheel does not say what it needs for CUDA; a newer version does";
            return Err(failed(reason.to_owned()));
        }
        progress(&format!("downloading {} (some 2 GB)", needed.join(", ")));
        let wheels = wheel.with_file_name("wheels");
        fs::create_dir(&wheels).map_err(io_error("cannot create", &wheels))?;
        // With what these need in turn.
        let output = self.pip(&needed, &wheels)?;
        if !output.status.success() {
            return Err(pip_failure(
                &String::from_utf8_lossy(&output.stderr),
                "with CUDA",
            ));
        }
        progress("verifying and unpacking these");
        let libraries = unpacked.join(cuda::FOLDER);
        fs::create_dir(&libraries).map_err(io_error("cannot create", &libraries))?;
        let script = [UNPACK_CUDA.as_ref(), wheels.as_ref(), libraries.as_ref()];
        match self.python(&script, "unpack the libraries of CUDA")?.trim() {
            "0" => Err(failed("the packages of CUDA have no library".to_owned())),
            _ => Ok(()),
        }
    }

    fn installed(&self, version: &str) -> Option<PathBuf> {
        let library = first_library(&self.place(version))?;
        self.python(&[LOAD.as_ref(), library.as_ref()], "load the library")
            .ok()?;
        Some(library)
    }

    /// Moves the finished folder to its place. The lock is held, so what is there is damaged or
    /// the same.
    fn publish(&self, unpacked: &Path, version: &str) -> Result<PathBuf, RuntimeError> {
        let target = self.place(version);
        if target.exists() {
            if let Some(library) = self.installed(version) {
                return Ok(library);
            }
            fs::remove_dir_all(&target).map_err(io_error("cannot remove", &target))?;
        }
        fs::rename(unpacked, &target).map_err(io_error("cannot create", &target))?;
        first_library(&target).ok_or_else(|| failed("the library has vanished".to_owned()))
    }

    /// Has pip fetch a wheel into `folder`.
    fn download(
        &self,
        version: Option<&str>,
        folder: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<PathBuf, RuntimeError> {
        let wanted = version.unwrap_or(DEFAULT_VERSION);
        let package = self.package();
        progress(&format!("downloading {package} {wanted}"));
        let alone = |requirement: String| self.pip(&["--no-deps", &requirement], folder);
        let mut output = alone(format!("{package}=={wanted}"))?;
        let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
        let lacks = |text: &str| {
            text.contains("No matching distribution") && !text.contains("(from versions: none)")
        };
        if !output.status.success() && version.is_none() && lacks(&said(&output)) {
            progress(&format!(
                "the index has no {wanted} for this machine: taking its newest"
            ));
            output = alone(format!("{package}>={}", Version::OLDEST))?;
        }
        if !output.status.success() {
            return Err(pip_failure(&said(&output), wanted));
        }
        let entries = fs::read_dir(folder).map_err(io_error("cannot read", folder))?;
        entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension() == Some(OsStr::new("whl")))
            .ok_or_else(|| failed("pip reported success but left no wheel".to_owned()))
    }

    fn pip(&self, wanted: &[&str], folder: &Path) -> Result<Output, RuntimeError> {
        let mut command = Command::new(&self.python);
        command
            .args(["-m", "pip", "download"])
            .args(wanted)
            .args([
                "--only-binary=:all:",
                "--disable-pip-version-check",
                "--no-input",
                "-d",
            ])
            .arg(folder);
        command.output().map_err(|error| self.no_python(&error))
    }

    /// Runs a script (the first argument) and returns what it prints.
    fn python(&self, arguments: &[&OsStr], purpose: &str) -> Result<String, RuntimeError> {
        let output = Command::new(&self.python)
            .arg("-c")
            .args(arguments)
            .output()
            .map_err(|error| self.no_python(&error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said
                .trim()
                .lines()
                .last()
                .unwrap_or("no message")
                .to_owned();
            return Err(failed(format!("python3 could not {purpose}: {last}")));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn no_python(&self, error: &io::Error) -> RuntimeError {
        failed(format!("`{}` does not run: {error}", self.python.display()))
    }
}

/// Refuses what is not the number of a version that can serve.
fn check_version(wanted: &str) -> Result<(), RuntimeError> {
    let plain = wanted
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '.');
    match wanted.parse::<Version>() {
        Ok(number) if plain && number >= Version::OLDEST => Ok(()),
        Ok(_) if plain => Err(no_such_version(
            wanted,
            format!("at least {} is needed", Version::OLDEST),
        )),
        _ => Err(no_such_version(
            wanted,
            "a version looks like 1.32.0".to_owned(),
        )),
    }
}

/// Names the usual reasons pip fails, else quotes its last words.
fn pip_failure(said: &str, wanted: &str) -> RuntimeError {
    if said.contains("No module named pip") {
        let reason = "python3 has no pip; install it (`python3 -m ensurepip`, or your system's \
                      package python3-pip)";
        return failed(reason.to_owned());
    }
    if said.contains("(from versions: none)") {
        let reason = "the package index does not answer, or has no onnxruntime for this machine; \
                      is the network up?";
        return failed(reason.to_owned());
    }
    if said.contains("No matching distribution") {
        let reason = "the package index does not have it for this machine";
        return no_such_version(wanted, reason.to_owned());
    }
    let lines: Vec<_> = said.trim().lines().rev().take(3).collect();
    failed(format!(
        "pip failed: {}",
        lines.into_iter().rev().collect::<Vec<_>>().join("; ")
    ))
}

/// Compares every library in the folder with the hash in the wheel's RECORD there; the main one
/// must be listed.
///
/// RECORD has lines `path,sha256=HASH,size`, the hash in URL-safe base64 without padding
/// (<https://packaging.python.org/en/latest/specifications/recording-installed-packages/>).
fn verify_hashes(folder: &Path) -> Result<(), RuntimeError> {
    let record = folder.join("RECORD");
    let record = fs::read_to_string(&record).map_err(io_error("cannot read", &record))?;
    let mut main_library = false;
    for line in record.lines() {
        let mut fields = line.splitn(3, ',');
        let (Some(path), Some(hash)) = (fields.next(), fields.next()) else {
            continue;
        };
        let Some((parent, name)) = path.rsplit_once('/') else {
            continue;
        };
        let file = folder.join(name);
        if parent != "onnxruntime/capi" || !file.is_file() {
            continue;
        }
        let expected = hash.strip_prefix("sha256=").unwrap_or_default();
        let content = fs::read(&file).map_err(io_error("cannot read", &file))?;
        if base64_url(&Sha256::digest(content)) != expected {
            return Err(failed(format!(
                "`{name}` does not match the hash in its wheel"
            )));
        }
        main_library |= locate::is_library_name(name);
    }
    if main_library {
        return Ok(());
    }
    Err(failed("the wheel lists no hash for its library".to_owned()))
}

/// URL-safe base64 without padding (RFC 4648, section 5).
fn base64_url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        let group = group << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[group >> (18 - 6 * digit) & 63]));
        }
    }
    text
}

fn first_library(folder: &Path) -> Option<PathBuf> {
    locate::libraries_in(folder).into_iter().next()
}

fn no_such_version(version: &str, reason: String) -> RuntimeError {
    RuntimeError::Version {
        version: version.to_owned(),
        reason,
    }
}

fn failed(reason: String) -> RuntimeError {
    RuntimeError::Install(reason)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RuntimeError {
    let path = path.to_owned();
    move |source| RuntimeError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
#[path = "install_tests.rs"]
mod tests;
