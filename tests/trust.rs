//! `docs/trust.md` says which test keeps which promise, and which keeps a mistake from coming back: each of them is there, and
//! the files about trust have none that is not named.

use std::collections::BTreeSet;
use std::path::Path;

/// The files all of whose tests keep a promise.
const FILES: [&str; 12] = [
    "core/src/net/objects/connection.rs",
    "core/src/net/tests.rs",
    "src/explorer/gate.rs",
    "src/explorer/tests.rs",
    "src/script/library/archive.rs",
    "tests/access.rs",
    "tests/extremes.rs",
    "tests/families/hostile.rs",
    "tests/formats/hostile.rs",
    "tests/hostile.rs",
    "tests/memory.rs",
    "tests/torture/tests.rs",
];

/// The tests below a folder, each behind the modules that it is in.
fn tests(root: &Path, folder: &str) -> Vec<String> {
    let sources = walkdir::WalkDir::new(root.join(folder)).into_iter().map(Result::unwrap);
    let sources = sources.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "rs"));
    sources.flat_map(|entry| of_file(root, entry.path())).collect()
}

fn of_file(root: &Path, path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let place = path.strip_prefix(root).unwrap().with_extension("");
    let module = place.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "::");
    // A file may have its unit tests in a module of its own.
    let within = if place.ends_with("tests") || place.starts_with("tests") { "" } else { "tests::" };
    let name = |test: &str| {
        let (_, behind) = test.split_once("fn ")?;
        Some(format!("{module}::{within}{}", behind.split('(').next()?))
    };
    text.split("#[test]").skip(1).filter_map(name).collect()
}

/// The tests that the last column of a table names, below the table's head.
fn named_below<'p>(page: &'p str, head: &str) -> BTreeSet<&'p str> {
    let (_, table) = page.split_once(head).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.trim_end_matches(" |").rsplit_once(" | ")).map(|(_, cell)| cell);
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|name| !name.starts_with(".ci/")).collect()
}

fn is(test: &str, name: &str) -> bool {
    test.ends_with(&format!("::{name}"))
}

/// The named tests that are nowhere.
fn gone<'p>(root: &Path, named: &BTreeSet<&'p str>) -> Vec<&'p str> {
    let folders = ["tests", "kernels/src", "core/src", "methods/src", "src"];
    let all: Vec<String> = folders.map(|folder| tests(root, folder)).concat();
    named.iter().copied().filter(|name| !all.iter().any(|test| is(test, name))).collect()
}

#[test]
fn every_mistake_that_was_found_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/trust.md")).unwrap();
    let head = "| finding | class | siblings that were found | kept by |";
    let named = named_below(&page, head);
    assert!(named.len() > 30, "{named:?}");
    assert_eq!(gone(root, &named), [""; 0]);
    let (_, table) = page.split_once(head).unwrap();
    let bare = table.lines().skip(2).take_while(|line| line.starts_with('|')).find(|row| !row.contains("::"));
    assert_eq!(bare, None, "a row without a test");
}

#[test]
fn every_promise_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/trust.md")).unwrap();
    let named = named_below(&page, "| promise | kept by |");
    assert!(named.len() > 40, "{named:?}");
    assert_eq!(gone(root, &named), [""; 0], "the page names tests that are not there");
    let kept = FILES.iter().flat_map(|file| of_file(root, &root.join(file)));
    let unsaid: Vec<String> = kept.filter(|test| !named.iter().any(|name| is(test, name))).collect();
    assert!(unsaid.is_empty(), "the page does not say which promise these keep: {unsaid:?}");
}
