//! The commands of README.md and of the guide: each parses.

use crate::testing::guide::{Page, pages};
use clap::error::ErrorKind;

/// The words of a line that a shell would give to `ftsurgery`, for each time it calls it.
fn calls(line: &str) -> Vec<Vec<String>> {
    // As the checkout's own program is called before it is installed, and in `$(…)`.
    let line = line.replace("cargo run --release -- ", "ftsurgery ");
    let line = line.replace("$(", " ; ");
    let Some(words) = shlex::split(&line) else {
        panic!("quotes that do not end: {line}");
    };
    let ends = |word: &String| {
        ["|", "||", "&&", ";", "&"].contains(&word.as_str())
            || word.starts_with(['<', '>'])
            || word.starts_with("2>")
    };
    let mut calls = Vec::new();
    for (at, _) in words.iter().enumerate().filter(|(_, w)| *w == "ftsurgery") {
        // Of cargo it is the name of a program.
        if at == 0 || words[at - 1] != "--bin" {
            let call = words[at..].iter().take_while(|w| !ends(w));
            calls.push(call.cloned().collect());
        }
    }
    calls
}

/// The lines of a page that may call `ftsurgery`, with a place for messages: those of its blocks, those that begin
/// behind a prompt among them, and what its prose has as code.
fn lines(page: &Page) -> Vec<(String, String)> {
    let path = page.path.display();
    let mut lines = Vec::new();
    for block in page.blocks() {
        if !["", "sh"].contains(&block.language.as_str()) {
            continue;
        }
        let prompts = block.code.lines().any(|l| l.starts_with("$ "));
        for line in block.code.replace("\\\n", " ").lines() {
            let said = match prompts {
                true => line.strip_prefix("$ "),
                false => Some(line),
            };
            if let Some(line) = said.filter(|l| l.contains("ftsurgery ") || l.contains(" -- ")) {
                lines.push((format!("{path}:{}", block.line), line.to_owned()));
            }
        }
    }
    let codes = page.code().into_iter();
    let calls = codes.filter(|code| code.starts_with("ftsurgery ") && !code.contains('…'));
    lines.extend(calls.map(|code| (path.to_string(), code)));
    lines
}

#[test]
fn every_command_of_the_guide_parses() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for page in pages() {
        for (place, line) in lines(&page) {
            for words in calls(&line) {
                tried += 1;
                // Where only a command is named it says nothing of its flags.
                let bare =
                    words[1..].iter().all(|word| !word.starts_with('-')) && !place.contains(':');
                let error = super::command().try_get_matches_from(&words).err();
                let is_named = |kind| bare && kind == ErrorKind::MissingRequiredArgument;
                if let Some(error) = error.filter(|e| !is_named(e.kind())) {
                    wrong.push(format!("{place}: {line}\n{error}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 60, "{tried} commands");
}

#[test]
fn every_command_is_in_the_guide() {
    let page = Page::read("docs/commands.md").text;
    for command in super::command().get_subcommands() {
        let name = format!("`{}", command.get_name());
        assert!(page.contains(&name), "{name}");
    }
}

#[test]
fn calls_end_where_the_shell_ends_them() {
    let line = "while ids=$(ftsurgery collect RUN | jq -r 'a | b') && [ x ]; do # ftsurgery c";
    assert_eq!(calls(line), [["ftsurgery", "collect", "RUN"]]);
    assert_eq!(
        calls("A=1 ftsurgery predict m 'a b' > x").concat(),
        ["ftsurgery", "predict", "m", "a b"]
    );
}
