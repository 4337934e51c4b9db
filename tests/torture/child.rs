//! The process in which cases run. It reports the current case, so that a crash is attributed, and the next case
//! continues.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use microtome::base::Task;
use microtome::base::access::{Access, Rules};
use microtome::base::files::Files as Opened;
use microtome::base::settings::Settings;
use microtome::base::task::Silent;
use microtome::script::Session;
use microtome::script::engine::env::Env;
use microtome::script::engine::failure::Failure;
use microtome::script::engine::thread;

use super::binary::binary;
use super::calls::Calls;
use super::dice::Dice;
use super::examples::{Examples, root};
use super::readers::{FileReader, Files, READERS};
use super::values::PRELUDE;

/// The prefix of lines that are meant for the parent.
pub const MARK: char = '\u{1e}';

/// A case that is run alone, from the files of a finding.
pub const REPLAY: &str = "replay";

/// The past findings, one after the other.
pub const FOUND: &str = "found";

/// The folders of the past findings.
pub fn found() -> Vec<PathBuf> {
    let kept = std::fs::read_dir(root().join("tests/torture/found")).unwrap();
    let mut found: Vec<PathBuf> = kept.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// The first line of a script that is run after the prelude.
const BEHIND_PRELUDE: &str = "// behind the prelude\n";

/// The cases that a child runs, in its working directory.
pub struct ChildOrder {
    pub part: String,
    pub seed: u64,
    pub from: u64,
    pub to: u64,
    pub memory: u64,
}

impl ChildOrder {
    pub fn text(&self) -> String {
        format!("{} {} {} {} {}", self.part, self.seed, self.from, self.to, self.memory)
    }

    pub fn parse(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        let number = |at: usize| words[at].parse().unwrap();
        Self { part: words[0].into(), seed: number(1), from: number(2), to: number(3), memory: number(4) }
    }
}

/// Panics that a session does not catch: on threads of a pool, or while a result is displayed.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether the parent's timeout has passed; the flag that scripts see may have been cleared since.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Runs the cases of an order.
pub fn obey(order: ChildOrder) {
    microtome::base::memory::keep_freed();
    limit_memory(order.memory);
    std::panic::set_hook(Box::new(|info| {
        eprintln!("{info}");
        PANICS.lock().unwrap().push(info.to_string());
    }));
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    ctrlc::set_handler(move || {
        INTERRUPTED.store(true, Ordering::Relaxed);
        raised.store(true, Ordering::Relaxed);
    })
    .unwrap();
    thread::with_large_stack(move || Child::new(flag, &order).run(&order)).unwrap();
    println!("{MARK}bye");
}

/// How one case ended.
enum CaseEnd {
    Ran,
    Refused,
    Interrupted,
    Panicked(String),
}

/// The source of the scripts of a part.
enum ScriptSource {
    Calls(Calls),
    Examples(Examples),
    Reader(&'static FileReader, Vec<Files>),
    Replay,
    Found(Vec<PathBuf>),
}

struct Child {
    flag: Arc<AtomicBool>,
    session: Session,
    source: ScriptSource,
}

impl Child {
    fn new(flag: Arc<AtomicBool>, order: &ChildOrder) -> Self {
        let mut session = session(&flag);
        let source = match order.part.as_str() {
            "calls" => ScriptSource::Calls(Calls::all(&session.docs())),
            "tensors" => ScriptSource::Calls(Calls::on_odd_tensors(&session.docs())),
            "examples" => ScriptSource::Examples(Examples::of(&session.docs())),
            REPLAY => ScriptSource::Replay,
            FOUND => ScriptSource::Found(found()),
            name => {
                let reader = READERS.iter().find(|reader| reader.name == name).unwrap();
                succeed(&mut session, "made", reader.makes);
                let whole = reader.whole(files_below(Path::new("out/case")));
                ScriptSource::Reader(reader, whole)
            }
        };
        let text = std::fs::read_to_string("case.rhai").unwrap_or_default();
        if matches!(source, ScriptSource::Calls(_) | ScriptSource::Found(_))
            || text.starts_with(BEHIND_PRELUDE) && order.part == REPLAY
        {
            succeed(&mut session, "prelude", PRELUDE);
        }
        Self { flag, session, source }
    }

    fn run(mut self, order: &ChildOrder) {
        for number in order.from..order.to {
            let mut dice = Dice::new(order.seed, &order.part, number);
            let (about, files, text) = match &self.source {
                ScriptSource::Calls(calls) => {
                    let (about, code) = calls.case(number, &mut dice);
                    (about, Files::new(), format!("{BEHIND_PRELUDE}{code}"))
                }
                ScriptSource::Examples(examples) => {
                    let (about, text) = examples.case(&mut dice);
                    (about, Files::new(), text)
                }
                ScriptSource::Reader(reader, whole) => {
                    let (files, text) = reader.case(whole, number, &mut dice);
                    (order.part.clone(), files, text)
                }
                ScriptSource::Replay => finding(Path::new("")),
                ScriptSource::Found(found) => {
                    let (name, files, text) = finding(&found[number as usize]);
                    // Braces keep its variables from the next one.
                    (name, files, format!("{{\n{text}\n}}"))
                }
            };
            write_case(&files, &text);
            println!("{MARK}begin {number} {about}");
            let start = Instant::now();
            let is_record = files.iter().any(|(name, _)| name == "x/run.json");
            let (end, said) = if is_record { run_again() } else { self.eval(number, &text) };
            // If the undamaged files are refused, damaged ones prove nothing.
            let is_whole = matches!(&self.source, ScriptSource::Reader(_, whole) if number < whole.len() as u64);
            let end = match end {
                CaseEnd::Refused if is_whole => CaseEnd::Panicked(format!("whole files are refused: {said}")),
                end => end,
            };
            let millis = start.elapsed().as_millis();
            let said = said.replace('\n', " ");
            let (word, said) = match end {
                CaseEnd::Ran => ("ran", said),
                CaseEnd::Refused => ("refused", said),
                CaseEnd::Interrupted => ("interrupted", said),
                CaseEnd::Panicked(what) => ("panic", what.replace('\n', " ")),
            };
            println!("{MARK}end {number} {word} {} {millis} {said}", peak());
            if word == "panic" || INTERRUPTED.load(Ordering::Relaxed) {
                // The state after a panic is not used for the next case, and the parent looks at this one's files.
                return;
            }
        }
    }

    /// Evaluates the script, and prints and saves its result.
    fn eval(&mut self, number: u64, text: &str) -> (CaseEnd, String) {
        self.flag.store(false, Ordering::Relaxed);
        self.session.env().random.restart(number);
        let (end, said) = match self.session.eval("case", text) {
            Ok(value) => {
                self.session.set_variable("it", value);
                let mut end = CaseEnd::Ran;
                for follow in ["show(it)", "repr(it).len()", "to_json(it).len()"] {
                    let flag = self.flag.load(Ordering::Relaxed);
                    if flag || matches!(end, CaseEnd::Panicked(_)) {
                        break;
                    }
                    if let Err(failure) = self.session.eval("follow", follow)
                        && let (CaseEnd::Panicked(what), _) = judged(&failure)
                    {
                        end = CaseEnd::Panicked(format!("{what} in {follow}"));
                    }
                }
                self.session.set_variable("it", rhai::Dynamic::UNIT);
                (end, String::new())
            }
            Err(failure) => judged(&failure),
        };
        let session = &mut self.session;
        let _what_was_printed = session.env().console.take();
        let cleared = catch_unwind(AssertUnwindSafe(|| session.env().files.release()));
        let panics = std::mem::take(&mut *PANICS.lock().unwrap());
        match (panics.first(), cleared) {
            (Some(first), _) => (CaseEnd::Panicked(first.clone()), String::new()),
            (None, Err(_)) => (CaseEnd::Panicked("while locks were given back".into()), String::new()),
            _ => (end, said),
        }
    }
}

fn judged(failure: &Failure) -> (CaseEnd, String) {
    let said = format!("{}: {}", failure.kind, failure.message);
    match failure.kind.as_str() {
        "bug" => (CaseEnd::Panicked(failure.message.clone()), said),
        "interrupted" => (CaseEnd::Interrupted, said),
        _ => (CaseEnd::Refused, said),
    }
}

/// A session like the program's, without network, whose cache is below `case`.
fn session(flag: &Arc<AtomicBool>) -> Session {
    let out = Path::new("out");
    let rules = Rules { deny_net: vec!["*".into()], ..Rules::default() };
    let env = Env::in_memory(out).unwrap();
    let settings =
        Settings { cache: Some(std::env::current_dir().unwrap().join("out/case/cache")), ..env.settings.clone() };
    let files = Opened::new(Access::new(out, &rules).unwrap(), true);
    Session::new(Env { task: Task::new(flag.clone(), Arc::new(Silent)), files, settings, ..env })
}

fn succeed(session: &mut Session, name: &str, text: &str) {
    if let Err(failure) = session.eval(name, text) {
        panic!("{name}: {} {:?}", failure.message, failure.place);
    }
    session.env().files.release();
}

/// What a finding is about, its files and its script.
fn finding(folder: &Path) -> (String, Files, String) {
    let text = std::fs::read_to_string(folder.join("case.rhai")).unwrap();
    let name = folder.file_name().map_or(REPLAY.into(), |name| name.to_string_lossy().into_owned());
    (name, files_below(&folder.join("case")), with_fixtures(&text))
}

/// Writes the files of a case where it reads them, and its script and files where the parent finds them.
fn write_case(files: &Files, text: &str) {
    let below = Path::new("out/case");
    if below.exists() {
        std::fs::remove_dir_all(below).unwrap();
    }
    for (name, bytes) in files {
        kit::write(below.join(name), bytes);
    }
    std::fs::write("case.rhai", text).unwrap();
}

/// Files below a folder, by their paths in it.
pub fn files_below(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if !entry.file_name().to_string_lossy().starts_with('.') {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                files.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// A script with paths of fixtures that work in every folder.
pub fn with_fixtures(text: &str) -> String {
    text.replace("tests/fixtures", &root().join("tests/fixtures").display().to_string())
}

/// The record of a run, read by the program itself.
fn run_again() -> (CaseEnd, String) {
    let mut command = Command::new(binary());
    command.args(["run", "--again", "out/case/x/run.json"]).env("MICROTOME_CACHE", "").stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        _ if said.contains("panicked") || said.contains("mistake in microtome") => {
            (CaseEnd::Panicked(said), String::new())
        }
        Some(0) => (CaseEnd::Ran, said),
        Some(130) => (CaseEnd::Interrupted, said),
        Some(1..=3) => (CaseEnd::Refused, said),
        _ => (CaseEnd::Panicked(format!("{}: {said}", output.status)), String::new()),
    }
}

/// The peak memory of this process so far, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// A case that needs more gets an error or crashes, without harm to the machine.
#[cfg(unix)]
fn limit_memory(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read their arguments.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &limit), 0);
        libc::setrlimit(libc::RLIMIT_CORE, &none);
        // If the harness is killed, its children end, too.
        #[cfg(target_os = "linux")]
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
}
