//! Names of classes as tools write them in metadata: JSON or Python literals.

use super::composed;

/// Names of classes that a text gives, and in which form, so that others can be written in it.
///
/// The text is a list of names, or an object with a name for each number from 0 (`id2label`) or a number for each
/// name (`label2id`); in JSON, or as Python prints it: `{0: 'cat', 1: 'dog'}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassNames {
    /// In the order of their numbers.
    pub names: Vec<String>,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    kind: Kind,
    /// Texts in `"` rather than `'`.
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    /// Numbers before names, as texts or bare.
    Names {
        quoted: bool,
    },
    Numbers,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(String),
    Number(usize),
    Sign(char),
}

impl ClassNames {
    /// Reads a text; `None` where it gives no names, none for a number, or two for one.
    pub fn read(text: &str) -> Option<Self> {
        let json =
            !text.contains('\'') || text.find('"').is_some_and(|at| Some(at) < text.find('\''));
        let tokens = tokens(text)?;
        let inner = match tokens.as_slice() {
            [Token::Sign('['), inner @ .., Token::Sign(']')] => {
                let names = items(inner, 1)?.into_iter().map(|item| match item {
                    [Token::Text(name)] => Some(composed(name)),
                    _ => None,
                });
                let form = Form {
                    kind: Kind::List,
                    json,
                };
                return Self::of(names.collect::<Option<Vec<_>>>()?, form);
            }
            [Token::Sign('{'), inner @ .., Token::Sign('}')] => inner,
            _ => return None,
        };
        let mut kind = None;
        let mut pairs = Vec::new();
        for item in items(inner, 3)? {
            let (number, name, of) = match item {
                [Token::Number(number), Token::Sign(':'), Token::Text(name)] => {
                    (*number, name, Kind::Names { quoted: false })
                }
                [Token::Text(number), Token::Sign(':'), Token::Text(name)] => (
                    number.trim().parse().ok()?,
                    name,
                    Kind::Names { quoted: true },
                ),
                [Token::Text(name), Token::Sign(':'), Token::Number(number)] => {
                    (*number, name, Kind::Numbers)
                }
                _ => return None,
            };
            if *kind.get_or_insert(of) != of {
                return None;
            }
            pairs.push((number, composed(name)));
        }
        pairs.sort();
        let numbers = pairs.iter().map(|(number, _)| *number);
        if !numbers.eq(0..pairs.len()) {
            return None;
        }
        let kind = kind?;
        Self::of(
            pairs.into_iter().map(|(_, name)| name).collect(),
            Form { kind, json },
        )
    }

    /// The names of a text that only lists them, a name in each line or between commas; `None` where one is empty.
    pub fn plain(text: &str) -> Option<Vec<String>> {
        let text = text.trim();
        let between = if text.contains('\n') { '\n' } else { ',' };
        let names = text.split(between).map(|name| composed(name.trim()));
        let names: Vec<String> = names.collect();
        names.iter().all(|name| !name.is_empty()).then_some(names)
    }

    fn of(names: Vec<String>, form: Form) -> Option<Self> {
        (!names.is_empty()).then_some(Self { names, form })
    }

    /// Other names in the same form.
    pub fn written(&self, names: &[String]) -> String {
        let quote = |name: &str| match self.form.json {
            true => serde_json::Value::from(name).to_string(),
            false => format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'")),
        };
        let items = names
            .iter()
            .enumerate()
            .map(|(number, name)| match self.form.kind {
                Kind::List => quote(name),
                Kind::Names { quoted: true } => {
                    format!("{}: {}", quote(&number.to_string()), quote(name))
                }
                Kind::Names { quoted: false } => format!("{number}: {}", quote(name)),
                Kind::Numbers => format!("{}: {number}", quote(name)),
            });
        let items = items.collect::<Vec<_>>().join(", ");
        match self.form.kind {
            Kind::List => format!("[{items}]"),
            _ => format!("{{{items}}}"),
        }
    }
}

/// What stands between commas, `length` tokens each; a comma may stand at the end.
fn items(tokens: &[Token], length: usize) -> Option<Vec<&[Token]>> {
    let mut items = Vec::new();
    let mut rest = tokens;
    while !rest.is_empty() {
        let (item, behind) = rest.split_at_checked(length)?;
        items.push(item);
        rest = match behind {
            [] => behind,
            [Token::Sign(','), behind @ ..] => behind,
            _ => return None,
        };
    }
    Some(items)
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            c if c.is_whitespace() => {}
            '[' | ']' | '{' | '}' | ':' | ',' => tokens.push(Token::Sign(next)),
            '\'' | '"' => tokens.push(Token::Text(quoted(&mut rest, next)?)),
            '0'..='9' => {
                let mut digits = next.to_string();
                while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                }
                tokens.push(Token::Number(digits.parse().ok()?));
            }
            _ => return None,
        }
    }
    Some(tokens)
}

/// The text up to the closing quote.
fn quoted(rest: &mut impl Iterator<Item = char>, quote: char) -> Option<String> {
    // Of UTF-16, since JSON writes characters beyond it in two halves.
    let mut units: Vec<u16> = Vec::new();
    loop {
        let next = rest.next()?;
        if next == quote {
            return String::from_utf16(&units).ok();
        }
        let plain = match next {
            '\\' => match rest.next()? {
                'n' => '\n',
                't' => '\t',
                digits @ ('x' | 'u') => {
                    let count = if digits == 'x' { 2 } else { 4 };
                    let hex: String = rest.by_ref().take(count).collect();
                    units.push(u16::from_str_radix(&hex, 16).ok()?);
                    continue;
                }
                c @ ('\\' | '\'' | '"' | '/') => c,
                _ => return None,
            },
            c => c,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_form_and_others_written_in_it() {
        for (text, same, other) in [
            (
                "{0: 'cat', 1: \"dog's\"}",
                "{0: 'cat', 1: 'dog\\'s'}",
                "{0: 'a', 1: 'b', 2: 'c'}",
            ),
            (
                r#"["cat", "dog's"]"#,
                r#"["cat", "dog's"]"#,
                r#"["a", "b", "c"]"#,
            ),
            (
                "['cat', 'dog\\'s',]",
                "['cat', 'dog\\'s']",
                "['a', 'b', 'c']",
            ),
            (
                r#"{"1":"dog's","0":"cat"}"#,
                r#"{"0": "cat", "1": "dog's"}"#,
                r#"{"0": "a", "1": "b", "2": "c"}"#,
            ),
            (
                r#"{"cat":0,"dog's":1}"#,
                r#"{"cat": 0, "dog's": 1}"#,
                r#"{"a": 0, "b": 1, "c": 2}"#,
            ),
        ] {
            let read = ClassNames::read(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(read.names, ["cat", "dog's"], "{text}");
            assert_eq!(read.written(&read.names), same, "{text}");
            assert_eq!(
                read.written(&["a", "b", "c"].map(str::to_owned)),
                other,
                "{text}"
            );
        }
        let read = ClassNames::read(r#"["caf\u00e9", "\ud83d\ude00", "cafe\u0301s"]"#).unwrap();
        assert_eq!(read.names, ["caf\u{e9}", "\u{1f600}", "caf\u{e9}s"]);
        assert_eq!(
            ClassNames::read("['caf\\xe9', 'b']").unwrap().names[0],
            "caf\u{e9}"
        );
    }

    #[test]
    fn names_between_lines_or_commas_are_listed() {
        for text in ["cat\ndog", "cat\r\ndog\r\n", "cat,dog", "cat, dog"] {
            assert_eq!(ClassNames::plain(text).unwrap(), ["cat", "dog"], "{text:?}");
        }
        assert_eq!(
            ClassNames::plain("cat, tabby\ndog").unwrap(),
            ["cat, tabby", "dog"]
        );
        for text in ["", "cat,,dog", "cat\n\ndog"] {
            assert_eq!(ClassNames::plain(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_names_no_classes_is_none() {
        for text in [
            "",
            "cat, dog",
            "[]",
            "{}",
            "[1, 2]",
            "{0: 'a', 2: 'b'}",
            "{0: 'a', 0: 'b'}",
            "{0: 'a', 'b': 1}",
            "['a' 'b']",
            "['a",
            "{0: 'a', 1}",
            "[[32, 32]]",
            "{0: 'a', 99999999999999999999999: 'b'}",
            r#"["\ud800"]"#,
        ] {
            assert_eq!(ClassNames::read(text), None, "{text}");
        }
    }
}
