//! README.md and the pages of the guide, `docs/*.md`, as tests read them.

use std::path::{Path, PathBuf};

/// The summary of the guide, which is no page of it.
pub const SUMMARY: &str = "docs/SUMMARY.md";

/// The folder of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page of Markdown.
#[derive(Clone, Debug)]
pub struct Page {
    /// Below the folder of the project.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// A fenced block of a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// What stands behind its fence: `sh`, or nothing.
    pub language: String,
    /// Its lines.
    pub code: String,
    /// The number of its first line, from 1.
    pub line: usize,
    /// The line above its fence.
    pub above: String,
}

/// README.md and the pages of the guide, by their names.
///
/// # Panics
/// When they cannot be read.
pub fn pages() -> Vec<Page> {
    let docs = std::fs::read_dir(root().join("docs")).expect("docs");
    let names = docs.map(|entry| Path::new("docs").join(entry.expect("docs").file_name()));
    let mut paths: Vec<PathBuf> = names
        .filter(|path| path.extension().is_some_and(|e| e == "md") && path != Path::new(SUMMARY))
        .chain(["README.md".into()])
        .collect();
    paths.sort();
    paths.into_iter().map(Page::read).collect()
}

impl Page {
    /// The page at this path below the folder of the project.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let text = std::fs::read_to_string(root().join(&path));
        let text = text.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Page { path, text }
    }

    /// Its fenced blocks.
    pub fn blocks(&self) -> Vec<Block> {
        self.parts().1
    }

    /// Its text without code: with empty lines for fenced blocks, and nothing between the marks of code in lines.
    pub fn prose(&self) -> String {
        spans(&self.parts().0).0
    }

    /// What its lines have as code.
    pub fn code(&self) -> Vec<String> {
        spans(&self.parts().0).1
    }

    fn parts(&self) -> (String, Vec<Block>) {
        let (mut prose, mut blocks) = (String::new(), Vec::new());
        let (mut open, mut above): (Option<Block>, &str) = (None, "");
        for (number, line) in (1..).zip(self.text.lines()) {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(language)) => {
                    open = Some(Block {
                        language: language.to_owned(),
                        line: number + 1,
                        above: above.to_owned(),
                        ..Block::default()
                    });
                }
                (None, None) => prose += line,
                (Some(_), Some("")) => blocks.extend(open.take()),
                (Some(block), _) => {
                    block.code += line;
                    block.code.push('\n');
                }
            }
            prose.push('\n');
            above = line;
        }
        assert!(open.is_none(), "{}: an open fence", self.path.display());
        (prose, blocks)
    }
}

/// Text with nothing between the marks of code, and what stands between them, with single blanks.
fn spans(text: &str) -> (String, Vec<String>) {
    let (mut bare, mut codes, mut rest) = (String::new(), Vec::new(), text);
    while let Some(start) = rest.find('`') {
        let width = rest[start..].bytes().take_while(|&b| b == b'`').count();
        let (before, marked) = rest.split_at(start + width);
        bare += before;
        let mark = &rest[start..start + width];
        // Code ends in its paragraph, or is none.
        let paragraph = &marked[..marked.find("\n\n").unwrap_or(marked.len())];
        let is_mark = |&(at, _): &(usize, &str)| {
            !paragraph[..at].ends_with('`') && !paragraph[at + width..].starts_with('`')
        };
        let end = paragraph
            .match_indices(mark)
            .find(is_mark)
            .map(|(at, _)| at);
        rest = match end {
            Some(end) => {
                let words: Vec<&str> = paragraph[..end].split_whitespace().collect();
                codes.push(words.join(" "));
                bare += mark;
                &marked[end + width..]
            }
            None => marked,
        };
    }
    (bare + rest, codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_in_lines_is_told_from_what_surrounds_it() {
        let (bare, codes) = spans("a `b\n c` d ``e `f` g`` [h](i) `open\n\n`j`");
        assert_eq!(bare, "a `` d ```` [h](i) `open\n\n``");
        assert_eq!(codes, ["b c", "e `f` g", "j"]);
    }

    #[test]
    fn a_page_is_prose_and_blocks() {
        let page = Page {
            path: "a.md".into(),
            text: "one\n<!-- not run -->\n```sh\nls `a`\n```\n\ntwo\n".to_owned(),
        };
        assert_eq!(page.prose(), "one\n<!-- not run -->\n\n\n\n\ntwo\n");
        let block = Block {
            language: "sh".to_owned(),
            code: "ls `a`\n".to_owned(),
            line: 4,
            above: "<!-- not run -->".to_owned(),
        };
        assert_eq!(page.blocks(), [block]);
    }
}
