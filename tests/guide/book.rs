//! Links and anchors, the summary, and what the pages quote of the program.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use ftsurgery::testing::guide::{Page, SUMMARY, pages, root};

/// Other Markdown that README.md and the guide link to, and that links to them.
const BESIDE: [&str; 6] = [
    SUMMARY,
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "fixtures/README.md",
    "fuzz/README.md",
    "tools/README.md",
];

fn all() -> Vec<Page> {
    pages().into_iter().chain(BESIDE.map(Page::read)).collect()
}

/// The targets of a page's links and pictures.
fn links(page: &Page) -> Vec<String> {
    let prose = page.prose();
    let rest = prose.split("](").skip(1);
    rest.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(page: &Page) -> BTreeSet<String> {
    // With what is code in a heading.
    let mut blank = page.clone();
    for block in page.blocks() {
        blank.text = blank.text.replacen(&block.code, "", 1);
    }
    let mut anchors = BTreeSet::new();
    for heading in blank.text.lines().filter(|line| line.starts_with('#')) {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
        let anchor: String = text.chars().filter(kept).collect();
        anchors.insert(anchor.replace(' ', "-"));
    }
    anchors
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            part => path.push(part),
        }
        path
    })
}

#[test]
fn every_link_leads_somewhere() {
    let (mut dead, mut tried) = (Vec::new(), 0);
    for page in all() {
        let folder = page.path.parent().unwrap();
        for link in links(&page) {
            if link.contains("://") {
                continue;
            }
            tried += 1;
            let mut fault =
                |why: &str| dead.push(format!("{}: {link}: {why}", page.path.display()));
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.path.clone(),
                path => normal(&folder.join(path)),
            };
            if !root().join(&target).exists() {
                fault("is not there");
            } else if page.path.starts_with("docs") && !target.starts_with("docs") {
                fault("is not in the book");
            } else if !anchor.is_empty() && !anchors(&Page::read(target)).contains(anchor) {
                fault("no such heading");
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
    assert!(tried > 150, "{tried} links");
}

#[test]
fn the_summary_has_every_page_once() {
    let mut listed = links(&Page::read(SUMMARY));
    let pages = pages().into_iter().filter_map(|page| {
        let name = page.path.strip_prefix("docs").ok()?;
        Some(name.display().to_string())
    });
    let mut pages: Vec<String> = pages.collect();
    listed.sort();
    pages.sort();
    assert_eq!(listed, pages);
}

#[test]
fn the_readme_is_short() {
    let length = Page::read("README.md").text.len();
    assert!(length < 9000, "{length} bytes");
}

/// All Rust code, with texts that go on in a next line in one.
fn code() -> String {
    let mut code = String::new();
    for entry in walkdir::WalkDir::new(root().join("src")) {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|e| e == "rs") {
            code += &std::fs::read_to_string(path).unwrap();
        }
    }
    let mut lines = code.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |code, line| code + line.trim_start())
}

#[test]
fn messages_of_troubleshooting_are_those_of_the_program() {
    let page = Page::read("docs/troubleshooting.md");
    let code = code();
    let (messages, _) = page.text.split_once("## What happens when").unwrap();
    let mut tried = 0;
    for row in messages.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.trim_start_matches("| ").split(" | ").next().unwrap();
        let message = cell.trim_matches('`');
        for part in message.split('…').map(str::trim) {
            assert!(code.contains(part), "no text of the program: {part}");
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
}

#[test]
fn the_page_of_the_library_shows_code_of_its_examples() {
    let library = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let shown = library.replace("\n//! ", "\n").replace("\n//!\n", "\n\n");
    let mut blocks = Page::read("docs/library.md").blocks();
    blocks.retain(|block| block.language == "rust");
    assert!(!blocks.is_empty());
    for block in blocks {
        assert!(shown.contains(&block.code), "{}", block.code);
    }
}
