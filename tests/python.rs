//! Data frames: the table of a script on standard output, and the Python package in `python/` with the program.
//! `MICROTOME_PYTHON` names a Python that has pandas, polars, pyarrow and safetensors, and `MICROTOME_LOADERS` one that has
//! SAELens, dictionary_learning and sparsify; without them the tests say that they are skipped.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use microtome::base::files::Files;
use microtome::base::{Cell, Task};
use microtome::data::table;

use crate::support::{microtome, named};

const BINARY: &str = env!("CARGO_BIN_EXE_microtome");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Exit code, standard output and standard error.
fn run(folder: &Path, words: &[&str]) -> (Option<i32>, Vec<u8>, String) {
    let Output { status, stdout, stderr } = microtome(folder).args(words).output().unwrap();
    (status.code(), stdout, String::from_utf8_lossy(&stderr).into_owned())
}

const SCRIPT: &str = "print(\"printed\"); let n = arg(\"n\", 2);
    let runs = table((0..n).map(|i| #{ i: i, name: `run ${i}` })); let gone = runs; let rows = [#{ a: 1 }];
    let f = || gone.len; run::check(n < 10_000, \"few\");";

#[test]
fn the_table_of_a_script_goes_to_standard_output_and_all_else_to_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.rhai"), SCRIPT).unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    for (words, code, rows) in [
        (vec!["run", "--table", "runs", "x.rhai"], 0, 2),
        (vec!["run", "x.rhai", "--table", "runs", "--n", "3"], 0, 3),
        // A variable that a closure shares, and a check that fails: the table is there.
        (vec!["run", "x.rhai", "--table=gone", "--n", "20000"], 3, 20_000),
    ] {
        let (found, stdout, stderr) = run(folder.path(), &words);
        assert_eq!(found, Some(code), "{words:?}: {stderr}");
        assert!(stderr.starts_with("printed\n"), "{stderr}");
        let path = folder.path().join("found.arrows");
        std::fs::write(&path, stdout).unwrap();
        let table = table::load(&files, &path, &Task::default()).unwrap();
        assert_eq!((table.columns.join(" "), table.rows.len()), ("i name".into(), rows));
        assert_eq!(table.rows[1], [Cell::Int(1), "run 1".into()]);
    }
    for (words, code, said) in [
        (
            vec!["run", "x.rhai", "--table", "run"],
            2,
            "error: this script has no variable `run`\n  hint: did you mean `runs`?\n",
        ),
        (
            vec!["-q", "run", "x.rhai", "--table", "rows"],
            2,
            "printed\ncheck holds: few\nerror: expected a table in the variable `rows`, found array\n  hint: its tables are runs, gone\n",
        ),
        (
            vec!["run", "x.rhai", "--n", "3", "--table", "runs"],
            2,
            "error: this script never asks for `--table`\n  hint: it takes --n; microtome's own `--table` stands before all arguments of the script\n",
        ),
        (
            vec!["--json", "run", "x.rhai", "--table", "runs"],
            2,
            "error: expected either `--json` or `--table`, found both\n",
        ),
        (vec!["run", "x.rhai", "--table", "runs", "--n", "x"], 1, "printed\n"),
    ] {
        let (found, stdout, stderr) = run(folder.path(), &words);
        assert_eq!(found, Some(code), "{words:?}: {stderr}");
        assert!(stdout.is_empty() && stderr.starts_with(said), "{words:?}: {stderr}");
    }
    std::fs::write(folder.path().join("own.rhai"), "let t = table([#{ a: arg(\"table\", \"x\") }]);").unwrap();
    let (code, _, stderr) = run(folder.path(), &["run", "own.rhai", "--table", "t"]);
    assert!(code == Some(2) && stderr.contains("has an argument `--table` of its own"), "{stderr}");
    assert_eq!(run(folder.path(), &["run", "own.rhai", "--", "--table", "t"]).0, Some(0));
}

#[test]
fn a_reader_that_hangs_up_ends_the_stream_quietly() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.rhai"), SCRIPT).unwrap();
    let words = ["run", "x.rhai", "--table", "runs", "--n", "9000"];
    let mut child = microtome(folder.path()).args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.as_ref()), (Some(141), "printed\ncheck holds: few\n"));
}

/// The Python that a variable of the environment names; none where it is not set, which is said.
pub fn python(variable: &str, has: &str) -> Option<String> {
    let found = named(variable, &format!("a Python that has {has}"), |_| true)?;
    found.into_os_string().into_string().ok()
}

/// Runs a script of `tests/python` in an empty folder; returns the last line of what it printed.
fn said(python: &str, script: &str, argument: PathBuf) -> String {
    let folder = tempfile::tempdir().unwrap();
    // `python` and `microtome` in the page's commands are these.
    let bin = Path::new(BINARY).parent().unwrap();
    let beside = Path::new(python).parent().unwrap();
    let before = std::env::var_os("PATH").unwrap_or_default();
    let path = [bin.into(), beside.into()].into_iter().chain(std::env::split_paths(&before));
    let output = Command::new(python)
        .args([root().join("tests/python").join(script), argument])
        .current_dir(folder.path())
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("PYTHONPATH", root().join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("MICROTOME_CACHE", folder.path().join("cache"))
        .env("XDG_CONFIG_HOME", folder.path())
        .output()
        .unwrap_or_else(|error| panic!("{python}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().into()
}

const CLIENTS: &str = "pandas, polars, pyarrow and safetensors";

#[test]
fn the_page_of_data_frames_is_followed_line_by_line() {
    let Some(python) = python("MICROTOME_PYTHON", CLIENTS) else {
        assert!(std::env::var_os("CI").is_none(), "MICROTOME_PYTHON is not set, and .ci/run sets it");
        return;
    };
    assert_eq!(said(&python, "follow.py", root().join("docs/data-frames.md")), "followed");
}

#[test]
fn the_python_package_and_the_program_read_each_other() {
    let Some(python) = python("MICROTOME_PYTHON", CLIENTS) else { return };
    assert_eq!(said(&python, "package.py", root().join("tests/fixtures")), "right");
}

#[test]
fn other_libraries_train_from_our_stores_and_we_from_theirs() {
    let Some(python) =
        python("MICROTOME_LOADERS", "sae-lens, dictionary-learning, eai-sparsify, pyarrow and safetensors")
    else {
        return;
    };
    assert_eq!(said(&python, "loaders.py", PathBuf::new()), "right");
}
