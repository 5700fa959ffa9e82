//! The header of an `.npy` file.
//!
//! Source: NumPy's `numpy.lib.format`. After a magic string, a version and a length stands a Python
//! dictionary of three keys, for instance
//! `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`. Only that is read here, in one pass
//! without recursion: a header costs no more than its length, whatever it holds.

use std::io::Read;

/// Headers of plain arrays are far shorter.
const MAX_BYTES: usize = 1024;
const MAGIC: &[u8] = b"\x93NUMPY";

/// What the header of a plain array says.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    /// The NumPy type string, such as `<f4`; a list or tuple, which describes records, as it stands.
    pub(super) kind: String,
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
    /// The bytes from the beginning of the file to the first element.
    pub(super) bytes: u64,
}

impl Header {
    /// Reads the header from the beginning of an `.npy` file.
    pub(super) fn read(file: &mut impl Read) -> Result<Self, String> {
        let cut_off = |error: std::io::Error| format!("its header is cut off: {error}");
        let mut start = [0; 8];
        file.read_exact(&mut start).map_err(cut_off)?;
        if !start.starts_with(MAGIC) {
            return Err("it does not begin as an .npy file".to_owned());
        }
        if !(1..=3).contains(&start[6]) {
            return Err(format!(
                "version {} of the .npy format is not known",
                start[6]
            ));
        }
        let mut length = [0; 4];
        let length_bytes = if start[6] < 2 { 2 } else { 4 };
        file.read_exact(&mut length[..length_bytes])
            .map_err(cut_off)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_BYTES {
            return Err(format!(
                "its header of {length} bytes is too long for a plain array"
            ));
        }
        let mut text = vec![0; length];
        file.read_exact(&mut text).map_err(cut_off)?;
        let text = std::str::from_utf8(&text).map_err(|_| "its header is no text".to_owned())?;
        let (kind, fortran, shape) =
            dictionary(text).ok_or_else(|| format!("its header is damaged: {}", excerpt(text)))?;
        Ok(Self {
            kind,
            fortran,
            shape,
            bytes: (start.len() + length_bytes + length) as u64,
        })
    }
}

/// The first characters of `text`, quoted.
pub(super) fn excerpt(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?} …", &text[..end]),
        None => format!("{text:?}"),
    }
}

fn dictionary(text: &str) -> Option<(String, bool, Vec<usize>)> {
    let (mut kind, mut fortran, mut shape) = (None, None, None);
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    while !rest.is_empty() {
        let (key, after) = string(rest)?;
        rest = after.trim_start().strip_prefix(':')?.trim_start();
        let after = match key {
            "descr" => replace(&mut kind, descr(rest)?)?,
            "fortran_order" => replace(&mut fortran, truth(rest)?)?,
            "shape" => replace(&mut shape, sides(rest)?)?,
            _ => return None,
        };
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => {}
            None => return None,
        }
    }
    Some((kind?, fortran?, shape?))
}

/// Fills `slot` and gives the rest of the text; a key that stands twice is damage.
fn replace<'t, T>(slot: &mut Option<T>, (value, rest): (T, &'t str)) -> Option<&'t str> {
    slot.replace(value).is_none().then_some(rest)
}

/// A quoted string, without escapes, and what follows it.
fn string(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// A type string; or a list that describes records, up to its last bracket.
fn descr(text: &str) -> Option<(String, &str)> {
    if let Some((kind, rest)) = string(text) {
        return Some((kind.to_owned(), rest));
    }
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            let end = at + c.len_utf8();
            return (at > 0).then(|| (text[..end].to_owned(), &text[end..]));
        }
    }
    None
}

fn truth(text: &str) -> Option<(bool, &str)> {
    let known = [("True", true), ("False", false)];
    known
        .into_iter()
        .find_map(|(word, value)| Some((value, text.strip_prefix(word)?)))
}

/// A tuple of whole numbers; Python 2 wrote an `L` behind some.
fn sides(text: &str) -> Option<(Vec<usize>, &str)> {
    let (inside, rest) = text.strip_prefix('(')?.split_once(')')?;
    let inside = inside.trim();
    let inside = inside.strip_suffix(',').unwrap_or(inside);
    if inside.is_empty() {
        return Some((Vec::new(), rest));
    }
    let side = |part: &str| part.trim().trim_end_matches('L').parse().ok();
    let sides: Option<Vec<usize>> = inside.split(',').map(side).collect();
    Some((sides?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Header, String> {
        let mut file = b"\x93NUMPY\x01\0".to_vec();
        file.extend((text.len() as u16).to_le_bytes());
        file.extend(text.as_bytes());
        Header::read(&mut file.as_slice())
    }

    #[test]
    fn headers_of_plain_arrays_are_read_however_they_are_spaced() {
        for text in [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n",
            "{'descr':'<f4','fortran_order':False,'shape':(2,3)}",
            "{ \"shape\" : ( 2L , 3L , ) , \"descr\" : \"<f4\" , \"fortran_order\" : False }",
        ] {
            let header = read(text).unwrap();
            assert_eq!((header.kind.as_str(), header.fortran), ("<f4", false));
            assert_eq!(header.shape, [2, 3]);
            assert_eq!(header.bytes, 10 + text.len() as u64);
        }
        let scalar = read("{'descr': '<i8', 'fortran_order': True, 'shape': ()}").unwrap();
        assert!(scalar.fortran && scalar.shape.is_empty());
        let row = read("{'descr': '<i8', 'fortran_order': True, 'shape': (7,)}").unwrap();
        assert_eq!(row.shape, [7]);
    }

    #[test]
    fn versions_that_numpy_does_not_write_are_refused() {
        for version in [0, 4, 255] {
            let file = [MAGIC, &[version, 0, 2, 0, 0, 0, b'{', b'}']].concat();
            let error = Header::read(&mut file.as_slice()).unwrap_err();
            assert!(error.contains(&format!("version {version}")), "{error}");
        }
    }

    #[test]
    fn records_keep_their_description_for_the_message() {
        let header =
            read("{'descr': [('a', '<i8', (2,))], 'fortran_order': False, 'shape': (2,)}").unwrap();
        assert_eq!(header.kind, "[('a', '<i8', (2,))]");
        assert_eq!(header.shape, [2]);
    }

    #[test]
    fn any_nesting_is_refused_at_once() {
        for brackets in ["[]", "()", "{}"] {
            let (open, close) = brackets.split_at(1);
            for depth in [1, 15, 400] {
                let nested = open.repeat(depth) + &close.repeat(depth);
                for text in [
                    nested.clone(),
                    format!("{{'descr': {nested}, 'fortran_order': False}}"),
                    format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {nested}}}"),
                    format!("{{'descr': {}", open.repeat(depth)),
                ] {
                    let plain = brackets == "()" && depth == 1 && text.contains("shape");
                    assert_eq!(read(&text).is_ok(), plain, "{text}");
                }
            }
        }
    }

    #[test]
    fn damaged_headers_are_refused() {
        for text in [
            "",
            "{}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}",
            "{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("damaged"), "{text}: {error}");
        }
    }
}
