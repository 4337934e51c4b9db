//! The cases that tests draw: the same ones in every `cargo test`, others in `.ci/search`. What is another in every process
//! reaches no result.

use std::path::{Path, PathBuf};

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

/// The sources in these folders, by their paths from the root of the repository.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = folders.iter().flat_map(|folder| walkdir::WalkDir::new(root.join(folder)).sort_by_file_name());
    let paths = files.map(|entry| entry.unwrap().into_path());
    let rust = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| (path.strip_prefix(root).unwrap().to_path_buf(), std::fs::read_to_string(&path).unwrap())).collect()
}

/// What draws from the system's randomness, and the two files that have to: one makes the word that opens the explorer, the other
/// the name of a kernel in its messages.
#[test]
fn nothing_else_draws_afresh() {
    const AFRESH: [&str; 6] = ["rand::rng()", "rand::random", "thread_rng", "SysRng", "OsRng", "getrandom::"];
    let folders = ["kernels/src", "core/src", "methods/src", "src", "tests", "benches", "examples"];
    let draws = |(path, text): &(PathBuf, String)| {
        AFRESH.iter().any(|word| text.contains(word)) && !path.ends_with("tests/cases.rs")
    };
    let found: Vec<PathBuf> = sources(&folders).into_iter().filter(draws).map(|(path, _)| path).collect();
    assert_eq!(found, ["src/explorer/gate.rs", "src/jupyter/message.rs"].map(Path::new));
}

/// The order of a hash map is another one in every process, so it must reach no result. In these files maps are only
/// looked up in, or what comes out of them is sorted, counted, put under its own key, or asked whether some entry is
/// there. Another file takes a `BTreeMap`, or is looked at in the same way and stands here.
#[test]
fn no_result_depends_on_the_order_of_a_hash_map() {
    const LOOKED_AT: [&str; 21] = [
        "core/src/checkpoint/second_opinion/weights.rs",
        "core/src/tokenizer/alphabet.rs",
        "core/src/tokenizer/bytelevel.rs",
        "core/src/tokenizer/gguf.rs",
        "core/src/tokenizer/json.rs",
        "core/src/tokenizer/lines.rs",
        "core/src/tokenizer/merges.rs",
        "core/src/tokenizer/token_list.rs",
        "core/src/tokenizer/train/bpe.rs",
        "core/src/tokenizer/vocab.rs",
        "core/src/tokenizer/world.rs",
        "kernels/src/tape/mod.rs",
        "methods/src/data/table/rows.rs",
        "methods/src/data/text/data_set/layout.rs",
        "methods/src/features/explain/recorded.rs",
        "methods/src/features/survey/windows.rs",
        "methods/src/intervene/steer/measure.rs",
        "methods/src/sae/metrics/universality.rs",
        "src/repl/history.rs",
        "src/report/point_thinning.rs",
        "src/script/engine/variable_reads.rs",
    ];
    let is_test = |path: &Path| path.components().any(|part| part.as_os_str().to_string_lossy().contains("test"));
    let hashes = |(path, text): &(PathBuf, String)| {
        ["HashMap", "HashSet"].iter().any(|word| text.contains(word)) && !is_test(path)
    };
    let sources = sources(&["kernels/src", "core/src", "methods/src", "src"]);
    let mut found: Vec<String> = sources.iter().filter(|of| hashes(of)).map(|of| of.0.display().to_string()).collect();
    found.sort();
    assert_eq!(found, LOOKED_AT);
}
