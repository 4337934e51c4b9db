//! The order of the house: imports go down only, a few crates are at home on one floor, files are opened in one place.

use std::path::{Path, PathBuf};

/// Lowest first.
const FLOORS: &[&str] = &[
    "base",
    "tensor",
    "training",
    "model",
    "data",
    "sae",
    "intervene",
    "features",
    "circuit",
    "report",
    "script",
    "repl",
    "cli",
];

/// Crates and the floors that may name them.
const AT_HOME: &[(&str, &[&str])] = &[
    ("rhai", &["script", "repl"]),
    ("plotters", &["report"]),
    ("rustyline", &["repl"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("reqwest", &["base"]),
    ("hf_hub", &["model"]),
];

/// Ways of opening files and sockets, and the files that may use them.
const OPENING: &[&str] = &[
    "File::open",
    "File::create",
    "File::options",
    "fs::write",
    "fs::read(",
    "fs::read_to_string",
    "OpenOptions",
    "TcpStream",
    "UdpSocket",
    "reqwest::",
];
const MAY_OPEN: &[&str] = &[
    "base/files.rs",
    "base/files/lock.rs",
    "base/files/own.rs",
    "base/files/plain.rs",
    "base/net.rs",
    "base/net/partial.rs",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file without its comments and its unit tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_string();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    found.sort();
    assert!(found.len() > 20);
    found.iter().map(|p| (p.strip_prefix(&root).unwrap().display().to_string(), code(p))).collect()
}

fn floor_of(file: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| file.starts_with(&format!("{floor}/")))
}

#[test]
fn imports_go_down_only() {
    let mut arrows = Vec::new();
    for (file, code) in all() {
        let Some(floor) = floor_of(&file) else { continue };
        for (above, name) in FLOORS.iter().enumerate().skip(floor + 1) {
            if code.contains(&format!("crate::{name}::")) || code.contains(&format!("crate::{{{name}")) {
                arrows.push(format!("{file} (floor {floor}) imports from {name} (floor {above})"));
            }
        }
    }
    assert!(arrows.is_empty(), "\n{}", arrows.join("\n"));
}

#[test]
fn crates_stay_on_their_floor() {
    let mut strays = Vec::new();
    for (file, code) in all() {
        let floor = floor_of(&file).map_or("", |f| FLOORS[f]);
        for (name, homes) in AT_HOME {
            let named = code.contains(&format!("{name}::")) || code.contains(&format!("use {name};"));
            if named && !homes.contains(&floor) {
                strays.push(format!("{file} names {name}, which is at home in {homes:?}"));
            }
        }
    }
    assert!(strays.is_empty(), "\n{}", strays.join("\n"));
}

#[test]
fn files_and_sockets_are_opened_in_one_place() {
    let mut strays = Vec::new();
    for (file, code) in all() {
        if MAY_OPEN.contains(&file.as_str()) || file.ends_with("tests.rs") {
            continue;
        }
        for way in OPENING.iter().filter(|way| code.contains(**way)) {
            strays.push(format!("{file} uses {way}"));
        }
    }
    assert!(strays.is_empty(), "\n{}", strays.join("\n"));
}

/// JSON of others is read within a budget, which serde knows nothing of.
#[test]
fn json_is_read_in_one_place() {
    let mut strays = Vec::new();
    for (file, code) in all().into_iter().filter(|(file, _)| file != "base/json.rs" && !file.ends_with("tests.rs")) {
        let ways = ["serde_json::from_str", "serde_json::from_slice", "serde_json::from_reader"];
        strays.extend(ways.iter().filter(|way| code.contains(**way)).map(|way| format!("{file} uses {way}")));
    }
    assert!(strays.is_empty(), "\n{}", strays.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let silent: Vec<_> = found.iter().filter(|p| !std::fs::read_to_string(p).unwrap().starts_with("//!")).collect();
    assert!(silent.is_empty(), "{silent:?}");
}
