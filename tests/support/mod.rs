//! Helpers of several tests: sessions in memory, and code whose comments state its values.

pub mod browser;
pub mod hub;

use std::path::Path;

use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::script::Session;
use microtome::script::engine::drawing;
use microtome::script::engine::env::Env;
use microtome::script::engine::failure::Failure;
use microtome::script::engine::value;

/// A session that prints into memory and writes below `folder`.
pub fn session(folder: &Path) -> Session {
    session_with(folder, Rules::default())
}

pub fn session_with(folder: &Path, rules: Rules) -> Session {
    let out = folder.join("out");
    let env = Env::in_memory(&out).unwrap();
    Session::new(Env { files: Files::new(Access::new(&out, &rules).unwrap(), true).heeding(&env.task), ..env })
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

/// The expected result of a piece of code.
enum Expected {
    Nothing,
    Value(String),
    Error { message: String, hint: Option<String> },
}

/// Evaluates code piece by piece; a piece ends at a line with `//=> value` or `// Error: message`.
///
/// Returns a complaint for every result that differs.
pub fn run_stated(session: &mut Session, name: &str, code: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut piece = String::new();
    let mut pending: Vec<(usize, String, Expected)> = Vec::new();
    for (number, line) in code.lines().enumerate() {
        if let Some(hint) = line.trim().strip_prefix("// Hint: ") {
            if let Some((.., Expected::Error { hint: expected, .. })) = pending.last_mut() {
                *expected = Some(hint.to_string());
            }
            continue;
        }
        let (text, expected) = stated(line);
        piece.push_str(text);
        piece.push('\n');
        if let Some(expected) = expected {
            pending.push((number + 1, std::mem::take(&mut piece), expected));
        }
    }
    if !piece.trim().is_empty() {
        pending.push((code.lines().count(), piece, Expected::Nothing));
    }
    for (line, piece, expected) in pending {
        let outcome = session.eval(name, &piece);
        session.env().files.release();
        if let Some(complaint) = judge(session, outcome, expected) {
            complaints.push(format!("{name}, line {line}: {complaint}"));
        }
    }
    complaints
}

fn stated(line: &str) -> (&str, Option<Expected>) {
    if let Some((text, value)) = line.rsplit_once("//=>") {
        return (text, Some(Expected::Value(value.trim().to_string())));
    }
    if let Some((text, message)) = line.split_once("// Error: ") {
        return (text, Some(Expected::Error { message: message.trim().to_string(), hint: None }));
    }
    (line, None)
}

fn judge(session: &Session, outcome: Result<value::Value, Failure>, expected: Expected) -> Option<String> {
    match (outcome, expected) {
        (Ok(_), Expected::Nothing) => None,
        (Ok(found), Expected::Value(wanted)) => {
            let found = value::repr(&found);
            (found != wanted).then(|| format!("expected {wanted}, found {found}"))
        }
        (Ok(found), Expected::Error { message, .. }) => {
            Some(format!("expected the error `{message}`, found the value {}", value::repr(&found)))
        }
        (Err(failure), Expected::Error { message, hint }) => {
            if failure.message != message {
                return Some(format!("expected the error `{message}`, found `{}`", failure.message));
            }
            let said = failure.hint.unwrap_or_default();
            hint.filter(|wanted| *wanted != said).map(|wanted| format!("expected the hint `{wanted}`, found `{said}`"))
        }
        (Err(failure), _) => Some(drawing::draw(&failure, session.sources(), false)),
    }
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
