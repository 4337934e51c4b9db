//! Helpers of several tests: sessions in memory, and code whose comments state its values.

pub mod browser;
pub mod bucket;
pub mod firefox;
pub mod host;
pub mod hub;
mod program;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::report::page_engine::VARIABLE;
use microtome::script::Session;
use microtome::script::docs::Docs;
use microtome::script::engine::env::Env;
use microtome::script::session::stated_results;
use microtome::tensor::Device;

pub use program::{ended, microtome, printed};

/// The program, file or folder that a variable of the environment names; none where it is not there, which is said.
pub fn named(variable: &str, what: &str, is_it: impl Fn(&PathBuf) -> bool) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from).filter(is_it);
    if found.is_none() {
        // The output of a test that passes is not shown, what is written to standard error itself is.
        writeln!(std::io::stderr().lock(), "skipped: set {variable} to {what}").unwrap();
    }
    found
}

/// The program or folder of a client that a variable of the environment names, which has to be there where `CI` is set.
pub fn client(variable: &str, what: &str, is_it: impl Fn(&PathBuf) -> bool) -> Option<PathBuf> {
    let found = named(variable, what, is_it);
    let is_expected = std::env::var_os("CI").is_some();
    assert!(found.is_some() || !is_expected, "{variable} names no {what}, and .ci/run installs it");
    found
}

/// The folder of the built engine. It is not asked for where `CI` is set: `.ci/page` builds it, and `.ci/run` does not.
pub fn page_engine() -> Option<PathBuf> {
    named(VARIABLE, "a folder that `page/build` has made", |folder| folder.join("worker.js").is_file())
}

/// A session that prints into memory and writes below `folder`.
pub fn session(folder: &Path) -> Session {
    session_with(folder, Rules::default())
}

/// A session in a folder of its own.
pub fn alone() -> (tempfile::TempDir, Session) {
    let folder = tempfile::tempdir().unwrap();
    let session = session(folder.path());
    (folder, session)
}

/// The reference.
pub fn docs() -> Rc<Docs> {
    alone().1.docs()
}

/// One that computes on a device.
pub fn session_on(folder: &Path, device: &Device) -> Session {
    session_of(folder, Rules::default(), device)
}

pub fn session_with(folder: &Path, rules: Rules) -> Session {
    session_of(folder, rules, &Device::Cpu)
}

fn session_of(folder: &Path, rules: Rules, device: &Device) -> Session {
    let out = folder.join("out");
    let env = Env::in_memory(&out).unwrap();
    let files = Files::new(Access::new(&out, &rules).unwrap(), true).heeding(&env.task);
    Session::new(Env { files, device: device.clone(), ..env })
}

/// The kind and message of the failure of a line.
pub fn failure(code: &'static str, rules: Rules) -> (String, String) {
    on_large_stack(move || {
        let folder = tempfile::tempdir().unwrap();
        let failure = session_with(folder.path(), rules).eval("line", code).unwrap_err();
        (failure.kind, failure.message)
    })
}

/// Runs `work` where scripts run: on a thread with a large stack.
pub fn on_large_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    microtome::script::engine::thread::with_large_stack(work).unwrap()
}

/// Evaluates code whose comments state its values; a complaint for every result that differs.
pub fn run_stated(session: &mut Session, name: &str, code: &str) -> Vec<String> {
    let complaints = stated_results::run_stated(session, name, code).into_iter();
    complaints.map(|complaint| format!("{name}, line {}: {}", complaint.line, complaint.words)).collect()
}

/// Files with an extension in a folder, sorted by name.
pub fn files(folder: &str, extension: &str) -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).map(|entries| entries.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|e| e == extension));
    files.sort();
    files
}

/// Runs a test, named `module::test`, in a process of its own: for tests that measure or limit their process. Returns
/// true in that process, where the test continues, and false in the one that waited for it.
pub fn apart(name: &str) -> bool {
    const APART: &str = "MICROTOME_TEST_APART";
    if std::env::var_os(APART).is_some() {
        return true;
    }
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    let status = test.args(["--exact", name, "--nocapture"]).env(APART, "1").status().unwrap();
    assert!(status.success(), "{name}: {status}");
    false
}
