//! Where `import` finds libraries: beside the importing file, in the user's folder, on `MICROTOME_PATH`, in the stdlib.

use std::path::Path;
use std::process::{Command, Output};

fn write(folder: &Path, name: &str, text: &str) {
    kit::write(folder.join(name), text);
}

/// Runs `main.rhai` in `folder`; its own `config` and `path` folders are the user's.
fn run(folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_microtome"))
        .args(["run", "main.rhai"])
        .current_dir(folder)
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .env("MICROTOME_PATH", std::env::join_paths([folder.join("path/a"), folder.join("path/b")]).unwrap())
        .output()
        .unwrap()
}

/// What running `main.rhai` in `folder` prints.
fn printed(folder: &Path) -> String {
    let output = run(folder);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_place_is_looked_at_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "main.rhai", "import \"tool\" as tool; print(tool::where_from());");
    for (place, name) in [
        ("path/b/tool.rhai", "second on the path"),
        ("path/a/tool.rhai", "first on the path"),
        ("config/microtome/lib/tool.rhai", "the user's library"),
        ("tool.rhai", "beside the script"),
    ] {
        write(folder, place, &format!("fn where_from() {{ \"{name}\" }}"));
        assert_eq!(printed(folder), format!("{name}\n"));
    }
}

#[test]
fn a_library_imports_from_its_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "main.rhai", "import \"deep/outer\" as outer; print(outer::both());");
    write(folder, "deep/outer.rhai", "import \"inner\" as inner; fn both() { \"outer \" + inner::name() }");
    write(folder, "deep/inner.rhai", "fn name() { \"inner\" }");
    write(folder, "inner.rhai", "fn name() { \"the wrong one\" }");
    assert_eq!(printed(folder), "outer inner\n");
}

/// A library sees nothing of the script that imports it, and the hint's way to give it a function works.
#[test]
fn a_function_of_the_script_is_passed_to_a_library() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let main = |call: &str| format!("import \"tool\" as tool;\nfn double(x) {{ 2 * x }}\nprint({call});");
    write(folder, "tool.rhai", "fn of_three() { double(3) }");
    write(folder, "main.rhai", &main("tool::of_three()"));
    let refused = run(folder);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("unknown function `double`: this module has none"), "{said}");
    let hint = "the script that imports it has one: pass it as an argument, `|f, x| f.call(x)` with `double`";
    assert!(said.split_whitespace().collect::<Vec<_>>().join(" ").contains(hint), "{said}");

    write(folder, "tool.rhai", "fn of_three(double) { let apply = |f, x| f.call(x); apply.call(double, 3) }");
    write(folder, "main.rhai", &main("tool::of_three(double)"));
    assert_eq!(printed(folder), "6\n");
}

#[test]
fn a_library_runs_once_and_its_closures_travel() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "counter.rhai", "print(\"loaded\"); fn adder(n) { |x| plus(x, n) } fn plus(a, b) { a + b }");
    write(folder, "other.rhai", "import \"counter\" as counter; fn three() { counter::adder(3) }");
    write(
        folder,
        "main.rhai",
        "import \"counter\" as counter; import \"other\" as other;\n\
         let add = counter::adder(10); print(add.call(1)); print([1, 2].map(other::three()));",
    );
    assert_eq!(printed(folder), "loaded\n11\n[4, 5]\n");
}

#[cfg(unix)]
#[test]
fn a_link_to_a_script_finds_what_stands_beside_the_script() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "deep/real.rhai", "import \"tool\" as tool; print(tool::answer());");
    write(folder, "deep/tool.rhai", "fn answer() { 42 }");
    std::os::unix::fs::symlink("deep/real.rhai", folder.join("main.rhai")).unwrap();
    assert_eq!(printed(folder), "42\n");
}
