//! The program in a folder, and what programs say.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Returns the program in a folder, where it finds nobody's settings and no cache, and nothing is typed.
pub fn microtome(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
    command.current_dir(folder).env("XDG_CONFIG_HOME", folder).env("MICROTOME_CACHE", "").stdin(Stdio::null());
    command
}

/// Returns exit code, standard output and standard error.
pub fn ended(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Runs a program that has to succeed, and returns what it prints.
#[track_caller]
pub fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (_, stdout, stderr) = ended(&output);
    assert!(output.status.success(), "{command:?}\n{stdout}\n{stderr}");
    stdout
}
