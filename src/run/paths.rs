//! Paths in JSON: a text, or where the system's bytes are none, these bytes in hexadecimal.

use std::borrow::Cow;
#[cfg(unix)]
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hex;

/// The absolute path of a file, which need not exist; as it is where there is no folder to begin from.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written<'a> {
    Text(Cow<'a, str>),
    Bytes { hex: Cow<'a, str> },
}

pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    let written = match path.to_str() {
        Some(text) => Written::Text(text.into()),
        None => Written::Bytes {
            hex: hex::encode(path.as_os_str().as_encoded_bytes()).into(),
        },
    };
    written.serialize(to)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    match Written::deserialize(from)? {
        Written::Text(text) => Ok(text.into_owned().into()),
        Written::Bytes { hex: digits } => {
            let bytes = hex::decode(&digits)
                .ok_or_else(|| serde::de::Error::custom("not hexadecimal digits"))?;
            Ok(path_of_bytes(bytes))
        }
    }
}

/// The path that is written so in bytes, which may be any where the system allows it.
#[cfg(unix)]
pub fn path_of_bytes(bytes: Vec<u8>) -> PathBuf {
    let name: OsString = std::os::unix::ffi::OsStringExt::from_vec(bytes);
    name.into()
}

/// The path that is written so in bytes.
#[cfg(not(unix))]
pub fn path_of_bytes(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holds {
        #[serde(with = "super")]
        path: PathBuf,
    }

    #[test]
    fn any_path_comes_back_as_it_was() {
        let mut paths = vec![PathBuf::from("a/b.onnx"), PathBuf::from("caf\u{e9}")];
        #[cfg(unix)]
        paths.push(path_of_bytes(b"caf\xe9/\xff.onnx".to_vec()));
        for path in paths {
            let text = serde_json::to_string(&Holds { path: path.clone() }).unwrap();
            assert_eq!(
                serde_json::from_str::<Holds>(&text).unwrap().path,
                path,
                "{text}"
            );
        }
        assert!(serde_json::from_str::<Holds>(r#"{"path": {"hex": "zz"}}"#).is_err());
    }
}
