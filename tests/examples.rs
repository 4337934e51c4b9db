//! Every step of the tour and every experiment runs, its checks hold, and the tour stays short.

mod support;

use std::process::Command;

/// Runs a script where a reader of the README stands, in the root of the repository; it writes elsewhere.
fn run(file: &std::path::Path) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("--out").arg(folder.path()).arg("run").arg(file);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}{}", file.display(), String::from_utf8_lossy(&output.stdout));
    let checked = Command::new(env!("CARGO_BIN_EXE_microtome")).arg("check").arg(file).output().unwrap();
    assert!(checked.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn every_step_of_the_tour_runs_and_is_short() {
    let steps = support::files("examples", "rhai");
    assert_eq!(steps.len(), 10, "the tour has ten steps");
    for step in steps {
        let lines = std::fs::read_to_string(&step).unwrap().lines().count();
        assert!(lines <= 30, "{} has {lines} lines", step.display());
        run(&step);
    }
}

#[test]
fn every_experiment_runs_and_its_checks_hold() {
    let scripts = support::files("scripts", "rhai");
    assert!(!scripts.is_empty());
    for script in scripts {
        run(&script);
    }
}

#[test]
fn the_library_embeds() {
    // Cargo builds examples beside the binary before it runs the tests.
    let built = std::path::Path::new(env!("CARGO_BIN_EXE_microtome")).with_file_name("examples").join("embed");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(built).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.starts_with("the sum is 10.0\n"), "{said}");
    assert!(said.contains("did you mean `tensor::arange`?"), "{said}");
}
