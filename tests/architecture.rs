//! The table of rooms in `ARCHITECTURE.md` against the imports of the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Offers the library and test helpers to all; no room of the table.
const OUTSIDE: [&str; 2] = ["lib", "testing"];

type Rooms = BTreeMap<String, BTreeSet<String>>;

/// The column "may use" of the table of rooms, by room. `all` is every other room.
fn allowed() -> Rooms {
    let text = std::fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| room (`src/`)"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let cells: Vec<Vec<&str>> = rows
        .map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let rooms = |cell: &str| -> Vec<String> {
        let names = cell.split(',').map(|name| name.trim().trim_matches('`'));
        let bare = names.map(|name| name.trim_end_matches('/').trim_end_matches(".rs"));
        bare.map(str::to_owned).collect()
    };
    let all: BTreeSet<String> = cells.iter().flat_map(|row| rooms(row[0])).collect();
    assert!(all.len() > 10, "the table of rooms was not found");
    let mut allowed = Rooms::new();
    for row in &cells {
        let used: BTreeSet<String> = match row[2] {
            "–" => BTreeSet::new(),
            "all" => all.clone(),
            some => rooms(some).into_iter().collect(),
        };
        let unknown: Vec<_> = used.difference(&all).collect();
        assert!(unknown.is_empty(), "{} names {unknown:?}", row[0]);
        for room in rooms(row[0]) {
            allowed.insert(room, used.clone());
        }
    }
    allowed
}

/// The text of a source file without its test module, comments and attributes of documentation.
fn code(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = Vec::new();
    let mut for_tests = false;
    for line in text.lines() {
        let bare = line.trim();
        if bare.starts_with("//") {
            continue;
        }
        if for_tests && bare.starts_with("mod ") && bare.ends_with('{') {
            break;
        }
        lines.push(line.to_owned());
        for_tests = bare == "#[cfg(test)]" || for_tests && bare.starts_with("#[");
    }
    lines
}

/// The files of the module in `path`, and of those below it that are compiled without tests.
fn modules(path: &Path, found: &mut Vec<PathBuf>) {
    found.push(path.to_owned());
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let folder = match stem {
        "mod" | "lib" | "main" => path.parent().unwrap().to_owned(),
        _ => path.with_extension(""),
    };
    let mut attributes: Vec<String> = Vec::new();
    for line in code(path) {
        let bare = line.trim();
        if bare.starts_with("#[") {
            attributes.push(bare.to_owned());
            continue;
        }
        let words: Vec<&str> = bare.trim_end_matches(';').split(' ').collect();
        let for_tests = attributes.iter().any(|a| a == "#[cfg(test)]");
        if let [.., "mod", name] = words[..]
            && bare.ends_with(';')
            && !for_tests
            && name != "testing"
        {
            let given = attributes
                .iter()
                .find_map(|a| a.strip_prefix("#[path = \""));
            let candidates = match given {
                Some(file) => vec![path.with_file_name(file.trim_end_matches("\"]"))],
                None => vec![
                    folder.join(format!("{name}.rs")),
                    folder.join(name).join("mod.rs"),
                ],
            };
            // Of several files for platforms, those that are there.
            for file in candidates.iter().filter(|file| file.is_file()) {
                modules(file, found);
            }
        }
        attributes.clear();
    }
}

/// The names behind `crate::` and `ftsurgery::`, those of a braced list included.
fn imports(code: &[String]) -> BTreeSet<String> {
    let text = code.join("\n");
    let mut names = BTreeSet::new();
    for prefix in ["crate::", "ftsurgery::"] {
        for (at, _) in text.match_indices(prefix) {
            let rest = &text[at + prefix.len()..];
            let first = |part: &str| -> String {
                let name = part.trim_start().chars();
                name.take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect()
            };
            let Some(list) = rest.strip_prefix('{') else {
                names.insert(first(rest));
                continue;
            };
            let mut depth = 1;
            let mut start = 0;
            for (i, c) in list.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 || depth == 1 && c == ',' {
                    names.insert(first(&list[start..i]));
                    start = i + 1;
                }
                if depth == 0 {
                    break;
                }
            }
        }
    }
    names
}

/// Room by room, the rooms that its code names.
fn used() -> Rooms {
    let src = Path::new(ROOT).join("src");
    let mut files = Vec::new();
    modules(&src.join("lib.rs"), &mut files);
    modules(&src.join("main.rs"), &mut files);
    assert!(files.len() > 200, "only {} files were found", files.len());
    let mut used = Rooms::new();
    for file in files {
        let inner = file.strip_prefix(&src).unwrap();
        let room = inner.components().next().unwrap().as_os_str();
        let room = room.to_str().unwrap().trim_end_matches(".rs").to_owned();
        let names = imports(&code(&file));
        used.entry(room).or_default().extend(names);
    }
    used
}

#[test]
fn the_table_has_a_row_for_each_room_and_no_other() {
    let src = std::fs::read_dir(Path::new(ROOT).join("src")).unwrap();
    let names = src.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let rooms: BTreeSet<String> = names
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .filter(|name| !OUTSIDE.contains(&name.as_str()))
        .collect();
    let rows: BTreeSet<String> = allowed().into_keys().collect();
    assert_eq!(rows, rooms);
}

/// The folders in which ARCHITECTURE.md looks for what it names, and everything in them.
fn files() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let folders = [
        "src", "tests", "tools", "docs", "fixtures", "fuzz", "python",
    ];
    let mut open: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    while let Some(path) = open.pop() {
        let full = Path::new(ROOT).join(&path);
        if full.is_dir() && !path.ends_with("target") {
            let entries = std::fs::read_dir(full).unwrap();
            open.extend(entries.map(|entry| path.join(entry.unwrap().file_name())));
        }
        found.insert(path);
    }
    found
}

/// A file may be named by the end of its path: `rules/`, `search/opened.rs`.
#[test]
fn files_and_modules_that_architecture_md_names_are_there() {
    let text = std::fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let (files, rooms) = (files(), allowed());
    let plain = |c: char| c.is_alphanumeric() || "_./:".contains(c);
    let is_file = |end: &str| files.iter().any(|file| file.ends_with(end));
    let mut named = 0;
    for code in text.split('`').skip(1).step_by(2) {
        let is_path = code.ends_with(".rs") || code.ends_with('/');
        if !code.chars().all(plain) || !is_path && !code.contains("::") {
            continue;
        }
        named += 1;
        let is_there = match code.split_once("::") {
            Some((name, _)) if name.starts_with(char::is_uppercase) => true,
            Some((module, _)) => {
                rooms.contains_key(module) || is_file(module) || is_file(&format!("{module}.rs"))
            }
            None => is_file(code),
        };
        assert!(
            is_there,
            "ARCHITECTURE.md names `{code}`, which is not there"
        );
    }
    assert!(named > 40, "only {named} paths were found");
}

#[test]
fn rooms_use_what_architecture_md_allows_and_nothing_else() {
    let (allowed, mut used) = (allowed(), used());
    used.retain(|room, _| !OUTSIDE.contains(&room.as_str()));
    for (room, names) in &used {
        let Some(allowed) = allowed.get(room) else {
            panic!("`{room}` is no room of ARCHITECTURE.md");
        };
        let of_rooms = names.iter().filter(|n| used.contains_key(*n) && *n != room);
        let beyond: Vec<_> = of_rooms.filter(|name| !allowed.contains(*name)).collect();
        assert!(
            beyond.is_empty(),
            "ARCHITECTURE.md does not let `{room}` use {beyond:?}"
        );
    }
    for (room, allowed) in &allowed {
        let unused: Vec<_> = allowed
            .iter()
            .filter(|n| !used[room].contains(*n))
            .collect();
        let everything = room == "main" || room == "cli";
        assert!(
            everything || unused.is_empty(),
            "ARCHITECTURE.md says that `{room}` uses {unused:?}, which it does not"
        );
    }
}

#[test]
fn no_two_rooms_use_each_other_by_any_way() {
    let allowed = allowed();
    let mut free: BTreeSet<String> = BTreeSet::new();
    // Takes away rooms that use only rooms taken away before; what is left stands in a circle.
    loop {
        let next = allowed.iter().find(|(room, uses)| {
            let of_others = uses
                .iter()
                .filter(|n| n != room && *n != "main" && *n != "cli");
            !free.contains(*room) && of_others.into_iter().all(|name| free.contains(name))
        });
        match next {
            Some((room, _)) => free.insert(room.clone()),
            None => break,
        };
    }
    let left: Vec<_> = allowed
        .keys()
        .filter(|room| !free.contains(*room))
        .collect();
    assert!(left.is_empty(), "these rooms use each other: {left:?}");
}
