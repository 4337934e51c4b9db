//! The kernel with the clients that people have: the tests that Jupyter has for kernels, jupyter_client, nbclient and
//! papermill. `MICROTOME_PYTHON` names a Python that has them; without it the tests say that they are skipped.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{self, client};

const PROGRAM: &str = env!("CARGO_BIN_EXE_microtome");

const NOTEBOOKS: [&str; 3] = ["first-hour", "dictionary", "circuit"];

fn notebook(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/notebooks/{name}.ipynb"))
}

/// The Python with the clients, or None and a word that the test is skipped.
fn python() -> Option<PathBuf> {
    let has_clients = |python: &PathBuf| {
        let modules = "import jupyter_client, jupyter_kernel_test, nbclient, papermill";
        Command::new(python).args(["-c", modules]).output().is_ok_and(|output| output.status.success())
    };
    let clients = "a Python that has jupyter_client, jupyter_kernel_test, nbclient and papermill";
    client("MICROTOME_PYTHON", clients, has_clients)
}

/// A user's machine on which the kernel was installed: a home, and a folder to work in.
struct UserMachine {
    folder: tempfile::TempDir,
}

impl UserMachine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(machine.work()).unwrap();
        let installed = machine.command(PROGRAM).args(["kernel", "install", "--user"]).output().unwrap();
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let place = String::from_utf8(installed.stdout).unwrap();
        assert!(Path::new(place.trim()).join("kernel.json").is_file(), "{place}");
        machine
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new(program);
        command.current_dir(self.work()).env("HOME", folder).env("JUPYTER_DATA_DIR", folder.join("jupyter"));
        command.env("JUPYTER_RUNTIME_DIR", folder.join("runtime")).env("JUPYTER_CONFIG_DIR", folder.join("config"));
        command.env("IPYTHONDIR", folder.join("ipython")).env("MICROTOME_HISTORY", folder.join("history"));
        command.env("MICROTOME_CACHE", folder.join("cache")).env("MICROTOME_RC", "");
        command.env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("python"));
        command
    }

    /// What a script of Python says, which must end well.
    fn said(&self, python: &Path, script: &str, arguments: &[String]) -> String {
        let output = self.command(python).args(["-W", "ignore", "-c", script]).args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let said = String::from_utf8_lossy(&output.stdout).trim().to_string();
        assert!(output.status.success(), "{said}\n{errors}");
        format!("{said}\n{errors}")
    }
}

#[test]
fn jupyters_own_tests_of_kernels_pass() {
    let Some(python) = python() else { return };
    let machine = UserMachine::new();
    std::fs::write(machine.work().join("stderr.rhai"), "run::check(false, \"on purpose\")").unwrap();
    let said = machine.said(&python, include_str!("jupyter/kernel.py"), &[]);
    assert!(said.contains("OK"), "{said}");
}

#[test]
fn a_client_gets_what_a_notebook_needs() {
    let Some(python) = python() else { return };
    let said = UserMachine::new().said(&python, include_str!("jupyter/client.py"), &["200".into()]);
    assert!(said.contains("answered"), "{said}");
}

#[test]
fn notebooks_of_the_pages_run_by_nbclient_and_papermill() {
    let Some(python) = python() else { return };
    let paths: Vec<String> = NOTEBOOKS.iter().map(|name| notebook(name).display().to_string()).collect();
    let said = UserMachine::new().said(&python, include_str!("jupyter/notebooks.py"), &paths);
    assert!(said.contains("run\n"), "{said}");
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let Some(python) = python() else { return };
    let said = UserMachine::new().said(&python, include_str!("jupyter/soak.py"), &["200".into()]);
    assert!(said.contains("soaked"), "{said}");
}

/// Runs `microtome` in a folder of its own, and returns what it printed and said.
fn program(folder: &Path, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder).env("MICROTOME_CACHE", folder.join("cache")).env("MICROTOME_RC", "");
    let output = command.args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_notebook_runs_like_a_script_and_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(notebook("first-hour"), folder.path().join("first.ipynb")).unwrap();
    let (is_well, printed, said) = program(folder.path(), &["run", "first.ipynb"]);
    assert!(is_well && printed.matches("check holds").count() == 2, "{printed}{said}");
    let record = std::fs::read_to_string(folder.path().join("out/first/run.json")).unwrap();
    assert!(record.contains("\"script\": \"first.ipynb\"") && record.contains("// %% cell 1"), "{record}");
    let (is_well, _, said) = program(folder.path(), &["run", "--again", "out/first/run.json"]);
    assert!(is_well && said.contains("identical") && !said.contains("note:"), "{said}");
}

#[test]
fn an_error_in_a_notebook_is_drawn_under_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(notebook("first-hour")).unwrap();
    std::fs::write(folder.path().join("a.ipynb"), text.replace("m.predict(text, 3)", "m.predict(nothing, 3)")).unwrap();
    let (is_well, _, said) = program(folder.path(), &["run", "a.ipynb"]);
    assert!(!is_well && said.contains("a.ipynb:6:11") && said.contains("m.predict(nothing, 3)"), "{said}");
    std::fs::write(folder.path().join("b.ipynb"), "print(1)").unwrap();
    let (is_well, _, said) = program(folder.path(), &["run", "b.ipynb"]);
    assert!(!is_well && said.contains("b.ipynb: expected a notebook"), "{said}");
}

#[test]
fn notebooks_of_the_pages_are_formatted_and_hold_no_outputs() {
    let folder = tempfile::tempdir().unwrap();
    for name in NOTEBOOKS {
        let place = notebook(name).display().to_string();
        let (is_well, printed, said) = program(folder.path(), &["fmt", "--check", &place]);
        assert!(is_well, "{printed}{said}");
        let text = std::fs::read_to_string(&place).unwrap();
        assert!(!text.contains("output_type") && text.len() < 20_000, "{name}");
    }
}

#[test]
fn what_a_kernel_cannot_do_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (is_well, _, said) = program(folder.path(), &["kernel", "run", "none.json"]);
    assert!(!is_well && said.contains("none.json"), "{said}");
    std::fs::write(folder.path().join("c.json"), "{}").unwrap();
    let (is_well, _, said) = program(folder.path(), &["kernel", "run", "c.json"]);
    assert!(!is_well && said.contains("c.json: expected a connection file of Jupyter"), "{said}");
    assert!(support::files("docs/notebooks", "ipynb").len() == NOTEBOOKS.len());
}
