//! The cases that tests draw: the same ones in every `cargo test`, others in `.ci/search`.

use std::path::Path;

use proptest::prelude::any;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

#[test]
fn every_run_draws_the_same_cases() {
    let drawn = || {
        let mut runner = TestRunner::default();
        (0..8).map(|_| any::<u64>().new_tree(&mut runner).unwrap().current()).collect::<Vec<_>>()
    };
    let hint = "run cargo in a folder of the repository: its .cargo/config.toml sets the seed";
    assert_eq!(drawn(), drawn(), "proptest draws afresh; {hint}");
}

/// What draws from the system's randomness, and the one file that has to: it makes the word that opens the explorer.
#[test]
fn nothing_else_draws_afresh() {
    const AFRESH: [&str; 6] = ["rand::rng()", "rand::random", "thread_rng", "SysRng", "OsRng", "getrandom::"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["kernels/src", "core/src", "methods/src", "src", "tests", "benches", "examples"];
    let files = folders.iter().flat_map(|folder| walkdir::WalkDir::new(root.join(folder)));
    let sources = files.map(|entry| entry.unwrap().into_path());
    let mut found = Vec::new();
    for path in sources.filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let text = std::fs::read_to_string(&path).unwrap();
        if AFRESH.iter().any(|word| text.contains(word)) && !path.ends_with("tests/cases.rs") {
            found.push(path.strip_prefix(root).unwrap().to_path_buf());
        }
    }
    assert_eq!(found, [Path::new("src/explorer/gate.rs")]);
}
