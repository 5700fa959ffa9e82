//! Bytes as hexadecimal digits, and the SHA-256 of a file in them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Two lower-case digits for each byte.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of two digits each, of either case; `None` where these are no digits.
pub fn decode(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    };
    digits.as_bytes().chunks(2).map(byte).collect()
}

/// SHA-256 of a file.
///
/// # Errors
/// When it cannot be read, or is no regular file: to read a pipe would wait for its other end.
pub fn file_sha256(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    Ok(encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_what_is_no_digits_does_not() {
        let bytes: Vec<u8> = (0..=255).collect();
        let digits = encode(&bytes);
        assert!(digits.starts_with("000102") && digits.ends_with("feff"));
        assert_eq!(decode(&digits), Some(bytes.clone()));
        assert_eq!(decode(&digits.to_uppercase()), Some(bytes));
        for wrong in ["0", "zz", "+1", "0x", "é"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
