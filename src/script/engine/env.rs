//! The environment of bindings beside their arguments: files, the task, randomness, the console, the script's own
//! arguments.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use candle_core::Device;
use rhai::{Dynamic, ImmutableString, NativeCallContext};
use serde::{Deserialize, Serialize};

use crate::base::access::permissions::Permissions;
use crate::base::names;
use crate::base::random::{Caller, Randomness, Seed};
use crate::base::settings::Settings;
use crate::common::*;
use crate::report::terminal::{Graphics, Screen};
use crate::script::engine::console::Console;
pub use crate::script::engine::loaded_models::{LoadedModels, SharedModels};

#[derive(Clone)]
pub struct Env {
    pub settings: Settings,
    pub task: Task,
    pub files: Files,
    pub random: Rc<Randomness>,
    pub console: Rc<Console>,
    pub device: Device,
    pub arguments: Rc<Arguments>,
    pub checks: Rc<Checks>,
    /// The models that were loaded, for dictionaries that name one.
    pub models: Rc<LoadedModels>,
    /// Folder of the run's record and reports, below the output folder; empty where no script is run.
    pub folder: PathBuf,
    /// Texts that stand in for files of these names: a recorded run is repeated with its own sources.
    pub recorded: Rc<BTreeMap<String, String>>,
    /// The texts of the scripts that this one ran, for its record.
    pub ran: Rc<RefCell<BTreeMap<String, String>>>,
    /// Number of scripts that are running this one, each within the one before.
    pub depth: usize,
    /// Function that evaluates a script in a session of its own; set by the session.
    pub evaluate: OnceCell<ScriptEvaluator>,
    /// The names by which modules are imported, by those of their sources.
    pub imported: Rc<RefCell<BTreeMap<String, String>>>,
}

/// A whole script, by name and text, in a session of its own.
pub type ScriptEvaluator = fn(Env, &str, &str) -> ScriptResult;

/// The result of a script in a session of its own.
pub struct ScriptResult {
    pub env: Rc<Env>,
    /// The texts of the script and of what it imported.
    pub sources: BTreeMap<String, String>,
    /// Reason why the script ended early.
    pub error: Option<String>,
    /// Place of the error, as `file:line:column`.
    pub place: Option<String>,
}

impl Env {
    /// Makes an environment that has run nothing and was given no arguments.
    pub fn new(settings: Settings, task: Task, files: Files, console: Console, device: Device) -> Self {
        Self {
            random: Randomness::new(settings.seed).into(),
            settings,
            task,
            files,
            console: console.into(),
            device,
            arguments: Rc::default(),
            checks: Rc::default(),
            models: Rc::default(),
            folder: PathBuf::new(),
            recorded: Rc::default(),
            ran: Rc::default(),
            depth: 0,
            evaluate: OnceCell::new(),
            imported: Rc::default(),
        }
    }

    /// Makes an environment that prints into memory and writes below `out`: for tests, measurements, and programs that
    /// embed the library.
    pub fn in_memory(out: &Path) -> Result<Self> {
        let screen = Screen { width: 80, height: 24, colour: false, graphics: Graphics::Text };
        let settings = Settings { out: out.to_path_buf(), ..Settings::default() };
        let task = Task::default();
        let files = Files::unrecorded(out)?.heeding(&task);
        Ok(Self::new(settings, task, files, Console::memory(screen), Device::Cpu))
    }

    /// Makes an environment with the rights of this one for a script that this one runs: it writes below `out`, prints
    /// into memory, and is recorded. Ctrl-C ends the whole of it.
    pub fn within(&self, arguments: Arguments, seed: u64, out: Option<&Path>) -> Result<Self> {
        let access = match out {
            Some(out) => self.files.access().below(out)?,
            None => self.files.access().clone(),
        };
        let task = self.task.whole();
        let settings = Settings { seed, out: access.out().to_path_buf(), ..self.settings.clone() };
        let files = self.files.within(access, &task);
        let console = Console::memory(*self.console.screen()).keeping();
        Ok(Self {
            arguments: arguments.into(),
            recorded: self.recorded.clone(),
            depth: self.depth + 1,
            ..Self::new(settings, task, files, console, self.device.clone())
        })
    }

    /// Makes an environment with the rights, console and interruption of this one, for a script that a session runs
    /// beside itself: it has arguments, checks, locks and randomness of its own.
    pub fn beside(&self, arguments: Arguments) -> Self {
        let settings = self.settings.clone();
        let task = self.task.clone();
        let files = Files::new(self.files.access().clone(), false).heeding(&task);
        let fresh = Self::new(settings, task, files, self.console.beside(), self.device.clone());
        Self { arguments: arguments.into(), ..fresh }
    }

    /// Runs the work of a call of `function`, as the reference names it, with the seed that it states, or with its own:
    /// see [`Randomness`].
    pub fn drawing<T, E>(
        &self,
        ctx: &NativeCallContext,
        function: &str,
        seed: Seed,
        work: impl FnOnce(Seed) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let place = ctx.call_source().and_then(|source| self.imported.borrow().get(source).cloned());
        let caller = Caller { function: function.into(), place: place.unwrap_or_default() };
        self.random.drawing(caller, seed, work)
    }
}

/// A text that a session compiled, and what its code may reach. Each call of a script is part of one: the engine's tag says of
/// which, and the frames of functions keep it right ([`super::lexical`]).
pub struct Code {
    /// Name of the text in errors.
    pub source: ImmutableString,
    /// Number of the text, unlike that of all others.
    pub number: u64,
    env: Rc<Env>,
    /// Permissions that a library was granted; other code has those of the run.
    permissions: Option<Arc<Permissions>>,
    /// Environments with those permissions, by the function that is called, which refusals name.
    narrowed: RefCell<BTreeMap<String, Rc<Env>>>,
}

impl Code {
    /// Makes a text with the permissions of the run, or with those that a library was granted.
    pub fn new(source: &str, env: &Rc<Env>, permissions: Option<Arc<Permissions>>) -> Rc<Self> {
        thread_local!(static COMPILED: Cell<u64> = const { Cell::new(0) });
        Rc::new(Self {
            source: source.into(),
            number: COMPILED.replace(COMPILED.get() + 1),
            env: env.clone(),
            permissions,
            narrowed: RefCell::default(),
        })
    }

    /// Returns the mark of a call as one of this text.
    pub fn tag(self: &Rc<Self>) -> Dynamic {
        Dynamic::from(self.clone())
    }

    pub fn is_running(self: &Rc<Self>, tag: &Dynamic) -> bool {
        tag.read_lock::<Rc<Self>>().is_some_and(|running| Rc::ptr_eq(&running, self))
    }

    /// Returns the environment for a call of this function.
    fn calling(&self, function: &str) -> Rc<Env> {
        let Some(permissions) = &self.permissions else { return self.env.clone() };
        let mut narrowed = self.narrowed.borrow_mut();
        if let Some(there) = narrowed.get(function) {
            return there.clone();
        }
        let files = self.env.files.under(permissions.calling(function).into());
        // Its reports stand where it was granted to write, below the output folder itself.
        let made = Rc::new(Env { files, folder: PathBuf::new(), ..Env::clone(&self.env) });
        narrowed.insert(function.into(), made.clone());
        made
    }
}

/// Returns the environment of a running call.
///
/// The text that a call is written in travels as the engine's tag; a call outside of such an engine is a mistake in
/// this program, answered as one. A call that is written in a library gets the environment with that library's
/// permissions; what it makes of it (a text that reads its files later) keeps them.
pub fn env(ctx: &NativeCallContext) -> Result<Rc<Env>> {
    Ok(running(ctx)?.calling(ctx.fn_name()))
}

/// Returns the text that a call is written in.
fn running(ctx: &NativeCallContext) -> Result<Rc<Code>> {
    let code = ctx.tag().and_then(|tag| tag.read_lock::<Rc<Code>>().map(|code| code.clone()));
    code.ok_or_else(|| err!(Bug, "this call belongs to no text"))
}

/// Returns the environment of a call that only the script itself, and modules of its user, may make: its arguments, its
/// checks and the sequence of its draws are no library's business.
pub fn of_script(ctx: &NativeCallContext) -> Result<Rc<Env>> {
    let code = running(ctx)?;
    if code.permissions.is_some() {
        return Err(err!(Access, "`{}` is for scripts, and {} is a library", ctx.fn_name(), code.source)
            .hint("the script that imports it passes what it needs as an argument of a function"));
    }
    Ok(code.calling(ctx.fn_name()))
}

/// Beginnings of the line of a check that holds, and of one that does not.
pub const CHECK_HOLDS: &str = "check holds: ";
pub const CHECK_FAILED: &str = "check FAILED: ";

/// Puts a library's name before each line that it prints and that would look like a check of the script.
pub fn signed(ctx: &NativeCallContext, text: ImmutableString) -> ImmutableString {
    let is_check = |line: &str| [CHECK_HOLDS, CHECK_FAILED].iter().any(|mark| line.trim_start().starts_with(mark));
    let permissions = running(ctx).ok().and_then(|code| code.permissions.clone());
    let Some(permissions) = permissions.filter(|_| text.lines().any(is_check)) else { return text };
    let line = |line: &str| if is_check(line) { format!("{}: {line}", permissions.library()) } else { line.into() };
    text.split('\n').map(line).collect::<Vec<String>>().join("\n").into()
}

/// The words after the file on the command line, and those of them that the script asked for.
#[derive(Debug, Default)]
pub struct Arguments {
    given: BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
}

impl From<BTreeMap<String, String>> for Arguments {
    fn from(given: BTreeMap<String, String>) -> Self {
        Self { given, asked: RefCell::default() }
    }
}

impl Arguments {
    /// Reads `--name value`, `--name=value`, and `--name` alone, which is `true`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut given = BTreeMap::new();
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--").filter(|name| !name.is_empty()) else {
                return Err(err!(Argument, "expected `--name value` after the script, found `{word}`")
                    .hint("microtome's own options stand before the word `run`"));
            };
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, value.to_string()),
                None => match words.next_if(|next| !next.starts_with("--")) {
                    Some(value) => (name, value.clone()),
                    None => (name, "true".to_string()),
                },
            };
            if given.insert(name.to_string(), value).is_some() {
                return Err(err!(Argument, "`--{name}` is given twice"));
            }
        }
        Ok(given.into())
    }

    /// Returns the text given for `name`, which counts as asked for from now on.
    pub fn ask(&self, name: &str) -> Option<&str> {
        self.asked.borrow_mut().insert(name.to_string());
        self.given.get(name).map(String::as_str)
    }

    pub fn given(&self) -> &BTreeMap<String, String> {
        &self.given
    }

    /// Refuses arguments that are not among `asked` (names read from the script before it runs).
    pub fn refuse_unknown<'a>(&self, asked: impl IntoIterator<Item = &'a str> + Clone) -> Result<()> {
        match self.given.keys().find(|name| !asked.clone().into_iter().any(|a| a == name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let hint = match names::nearest(name, asked.clone()) {
                    Some(near) => format!("did you mean `--{near}`?"),
                    None => {
                        let all: Vec<String> = asked.into_iter().map(|a| format!("--{a}")).collect();
                        if all.is_empty() {
                            "it takes no arguments".into()
                        } else {
                            format!("it takes {}", all.join(", "))
                        }
                    }
                };
                let own = if name == "table" {
                    "; microtome's own `--table` stands before all arguments of the script".into()
                } else if OPTIONS.contains(&name.as_str()) {
                    format!("; microtome's own `--{name}` stands before the word `run`")
                } else {
                    String::new()
                };
                Err(err!(Argument, "this script never asks for `--{name}`").hint(format!("{hint}{own}")))
            }
        }
    }

    /// Refuses arguments, after the run, that the script did not ask for.
    pub fn refuse_unasked(&self) -> Result<()> {
        let asked = self.asked.borrow();
        self.refuse_unknown(asked.iter().map(String::as_str))
    }
}

/// Options of the command line that are easily written after the script, where they are the script's.
const OPTIONS: &[&str] = &["json", "seed", "out", "threads", "device", "fresh", "quiet", "track"];

/// The outcomes of the `run::check` lines of a run.
#[derive(Debug, Default)]
pub struct Checks {
    passed: Cell<usize>,
    failed: Cell<usize>,
    words: RefCell<Vec<Check>>,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub held: bool,
    pub words: String,
}

impl Checks {
    pub fn count(&self, held: bool) {
        let counter = if held { &self.passed } else { &self.failed };
        counter.set(counter.get() + 1);
    }

    pub fn note(&self, held: bool, words: &str) {
        self.count(held);
        self.words.borrow_mut().push(Check { held, words: words.into() });
    }

    /// Returns all checks that said something, in their order.
    pub fn all(&self) -> Vec<Check> {
        self.words.borrow().clone()
    }

    pub fn passed(&self) -> usize {
        self.passed.get()
    }

    pub fn failed(&self) -> usize {
        self.failed.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments> {
        Arguments::parse(&words.iter().map(|w| w.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_in_all_their_spellings() {
        let arguments = parse(&["--n", "-3", "--name=a=b", "--fast", "--last", "x"]).unwrap();
        assert_eq!(arguments.ask("n"), Some("-3"));
        assert_eq!(arguments.ask("name"), Some("a=b"));
        assert_eq!(arguments.ask("fast"), Some("true"));
        assert_eq!(arguments.refuse_unasked().unwrap_err().message, "this script never asks for `--last`");
        assert_eq!(arguments.ask("last"), Some("x"));
        assert_eq!(arguments.refuse_unasked(), Ok(()));
        assert!(parse(&["stray"]).is_err());
        assert!(parse(&["--a", "1", "--a", "2"]).is_err());
    }

    #[test]
    fn a_misspelt_argument_is_answered_with_the_right_one() {
        let error = parse(&["--layre", "3"]).unwrap().refuse_unknown(["layer", "model"]).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `--layer`?"));
    }
}
