//! A new library: the files that `microtome new lib` makes, whose tests pass at once.

/// Makes the files of a new library of this name, by path.
pub fn files(name: &str) -> Vec<(&'static str, String)> {
    let version = env!("CARGO_PKG_VERSION");
    let files = [
        ("microtome.toml", MANIFEST),
        ("lib.rhai", MODULE),
        ("tests/lib.rhai", TESTS),
        ("README.md", README),
        (".gitignore", "/out/\n"),
    ];
    files.map(|(file, text)| (file, text.replace("NAME", name).replace("VERSION", version))).to_vec()
}

const MANIFEST: &str = r#"name = "NAME"
version = "0.1.0"
microtome = ">=VERSION"
licence = "MIT"
description = "What it is for, in one sentence."
authors = []

# What it may touch beside what it is given: nothing. Folders are relative: what it reads is below the user's working folder
# or output folder, what it writes below the output folder.
[touches]
read = []
write = []
net = []
"#;

const MODULE: &str = r#"// The main module: `import "NAME" as NAME;`.

/// Returns the share of values that are above a threshold.
///
/// # Example
/// ```
/// NAME::share_above([1.0, 2.0, 3.0, 4.0], 2.5)  //=> 0.5
/// ```
fn share_above(values, threshold) {
    if values.len() == 0 { throw "expected at least one value"; }
    values.filter(|value| value > threshold).len().to_float() / values.len()
}
"#;

const TESTS: &str = r#"// Run by `microtome test`: each function `test_..` in a session of its own.
import "NAME" as NAME;

fn test_all_or_nothing() {
    run::check(NAME::share_above([1.0, 2.0], 0.0) == 1.0, "all are above 0");
    run::check(NAME::share_above([1.0, 2.0], 9.0) == 0.0, "none is above 9");
}

fn test_nothing_to_count() {
    let refused = false;
    try { NAME::share_above([], 0.0); } catch { refused = true; }
    run::check(refused, "an empty array is refused");
}
"#;

const README: &str = r#"# NAME

What it is for, in one sentence.

    microtome add ../NAME           # a folder, or the address of a .tar.gz of a tag

    import "NAME" as NAME;
    NAME::share_above([1.0, 2.0, 3.0, 4.0], 2.5)   // 0.5

Its tests run with `microtome test`.
"#;
