//! The end of a session on its thread: the session of a prompt, with its script and record in the output folder.

use std::rc::Rc;
use std::time::Instant;

use serde_json::{Value, json};

use super::front::{EnvMaker, FrontEnd};
use super::output::{Collector, Output, ProgressWords};
use super::results::CallResult;
use super::session_state::{SessionLook, SessionState};
use crate::common::*;
use crate::repl::commands::inspect::brief;
use crate::repl::stages::StageProgress;
use crate::repl::{LineFailure, Repl};
use crate::report::terminal::{Graphics, Screen};
use crate::script::Session;
use crate::script::docs::text;
use crate::script::engine::console::Console;
use crate::script::engine::drawing;
use crate::script::engine::failure::{Failure, Sources};
use crate::script::engine::value::type_name;
use crate::script::session::record::{self, Record};

/// Screen of the texts of values.
const SCREEN: Screen = Screen { width: 100, height: 40, colour: false, graphics: Graphics::Text };

/// Largest number of bytes of what was printed that the record has.
const MOST_PRINTED: usize = 16 << 20;

/// Largest number of variables that are listed.
const MOST_VARIABLES: usize = 500;

/// Characters of a value in the list of variables.
const BRIEF: usize = 80;

/// The name of a text that is checked, in errors.
const CHECKED: &str = "<script>";

/// A session on its thread.
pub struct Desk {
    repl: Repl,
    output: Rc<Collector>,
    progress: Arc<StageProgress<ProgressWords>>,
    state: Arc<SessionState>,
    /// Printed text of all scripts, as the record has it.
    printed: String,
    /// Files in which the session itself was saved: no script wrote them.
    own: BTreeSet<PathBuf>,
    /// Whether something was evaluated since the script and the record were written.
    is_newer: bool,
}

/// The script and the record of a session, as they were written.
pub struct SavedSession {
    pub script: PathBuf,
    pub record: PathBuf,
    /// Remarks on parts of the session that no script can have.
    pub remarks: Vec<String>,
}

impl Desk {
    pub fn new(make: &EnvMaker, state: Arc<SessionState>) -> Result<Self> {
        let output = Collector::new();
        let progress = Arc::new(StageProgress::new(state.progress.clone()));
        let env = make(FrontEnd {
            console: Console::collecting(SCREEN, output.clone()),
            progress: progress.clone(),
            interrupted: state.interrupted.clone(),
            folder: state.folder.clone(),
        })?;
        let repl = Repl::new(Session::new(env), false).without_rc();
        Ok(Self { repl, output, progress, state, printed: String::new(), own: BTreeSet::new(), is_newer: false })
    }

    /// Evaluates a text as the next line of the session.
    pub fn run(&mut self, code: &str) -> Arc<CallResult> {
        let begun = Instant::now();
        let number = self.state.results().next();
        self.progress.forget();
        let outcome = match refused_line(code) {
            Some(refusal) => Err(refusal.into()),
            None => {
                self.is_newer = true;
                self.repl.answer_cell(code, number).map(drop)
            }
        };
        let Output { mut text, is_cut, printed, pictures, value } = self.output.take();
        let room = MOST_PRINTED.saturating_sub(self.printed.len());
        self.printed.push_str(&printed[..printed.floor_char_boundary(room.min(printed.len()))]);
        if is_cut {
            text.push_str("\n.. what was printed after this is not kept\n");
        }
        let error = outcome.err().map(|failure| {
            let (drawn, data) = self.drawn(&failure);
            text.push_str(&drawn);
            data
        });
        if let Some(reason) = self.state.reason().filter(|_| error.is_none()) {
            // A training that ends early gives what it has, and the script goes on.
            text.push_str(&format!("stopped early: {}\n", reason.words));
        }
        let took = begun.elapsed();
        let result = Arc::new(CallResult { number, code: code.into(), text, error, value, pictures, took });
        self.state.results().add(result.clone());
        self.look();
        result
    }

    /// Draws a failure, and returns it as data, too.
    fn drawn(&self, failure: &LineFailure) -> (String, Value) {
        let mut data = error_data(failure.failure(), self.repl.session().sources());
        if failure.failure().is_interrupted() {
            let reason = self.state.reason().unwrap_or_default();
            data["message"] = reason.words.clone().into();
            data["hint"] = reason.hint.clone().map_or(Value::Null, Value::from);
            let hint = reason.hint.map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
            return (format!("interrupted: {}{hint}\n", reason.words), data);
        }
        (self.repl.drawn(failure), data)
    }

    /// Answers with what the reference and the guide know of words.
    pub fn help(&self, words: &str) -> Result<String> {
        let session = self.repl.session();
        let docs = session.docs();
        if words.trim().is_empty() {
            let modules = docs.modules().join(", ");
            return Ok(format!(
                "help(query: NAME) explains a function (model::load), a method (Model.run), a type (Sae) or a module;\n\
                 help(query: WORDS) finds the places of the reference and the guide that speak of something.\n\n\
                 modules: {modules}\n\nResources have whole pages: microtome://guide, microtome://reference, \
                 microtome://experiments, microtome://glossary, microtome://skill.\n"
            ));
        }
        text::answer(&docs, words.trim(), |name| format!("help(query: \"{name}\")"), &SCREEN)
    }

    /// Lists what can be seen to be wrong with a script without running it, each as it is drawn and as data.
    pub fn check(&self, script: &str) -> (String, Vec<Value>) {
        let session = self.repl.session();
        let failures = session.check(CHECKED, script);
        let drawn: String = failures.iter().map(|failure| drawing::draw(failure, session.sources(), false)).collect();
        let data = failures.iter().map(|failure| error_data(failure, session.sources())).collect();
        (drawn, data)
    }

    /// Returns the pages of the reference.
    pub fn reference(&self) -> Vec<(String, String)> {
        let session = self.repl.session();
        crate::script::docs::reference::markdown(&session.docs(), &crate::repl::commands::summaries())
    }

    /// Returns the files of the session, for reading what runs have written.
    pub fn files(&self) -> crate::base::files::Files {
        self.repl.session().env().files.clone()
    }

    /// Returns the cheat sheet for agents.
    pub fn skill(&self) -> String {
        crate::script::docs::skill::text(&self.repl.session().docs())
    }

    /// Writes down what the session has, for whoever looks at it while it works.
    fn look(&self) {
        let session = self.repl.session();
        let mut look = SessionLook::default();
        for (name, value) in session.variables().into_iter().take(MOST_VARIABLES) {
            let kind = type_name(value);
            let about = json!({ "name": name, "type": kind, "value": brief(value, BRIEF) });
            match kind {
                "Model" => look.models.push(about),
                "Sae" | "Transcoders" => look.dictionaries.push(about),
                _ => look.variables.push(about),
            }
        }
        let files = &session.env().files;
        let out = files.access().out();
        let written = files.ledger().written;
        let below = |path: &PathBuf| path.strip_prefix(out).unwrap_or(path).display().to_string();
        look.written = written.keys().map(below).collect();
        self.state.set_look(look);
    }

    /// Writes the session as a script and its record, if there is something new.
    pub fn keep(&mut self) {
        if self.is_newer {
            // Where nothing may be written, nothing is kept; `save` says so.
            let _kept = self.save();
        }
    }

    /// Writes the session as a script and its record.
    pub fn save(&mut self) -> Result<SavedSession> {
        if self.repl.is_empty() {
            return Err(err!(Argument, "there is nothing to save").hint("nothing was run in this session"));
        }
        let script = self.repl.script();
        let session = self.repl.session();
        let env = session.env();
        let folder = &self.state.folder;
        let file = folder.join(format!("{}.rhai", folder.display()));
        let text = script.text();
        let place = env.files.save_whole(&file, &text)?;
        let name = env.settings.out.join(&file).display().to_string();
        let mut sources = session.sources().all();
        // The script has the texts of all calls.
        sources.retain(|name, _| !name.starts_with('<'));
        sources.insert(name.clone(), text);
        let mut record = Record::of(env, sources, &name, None);
        let record_file = folder.join(record::FILE);
        let own = [&file, &record_file].into_iter().chain(&self.own);
        for name in own.map(|path| path.display().to_string()) {
            let _hash = record.written.remove(&name);
        }
        let printed = record::without_out(&self.printed, env.files.access().out());
        record.printed = record::hash(&printed);
        record.printed_text = Some(printed);
        let record = env.files.save_whole(&record_file, record.text()?)?;
        drop(session);
        self.is_newer = false;
        Ok(SavedSession { script: place, record, remarks: script.remarks })
    }

    /// Writes the session as a script or a notebook of this name, too.
    pub fn save_as(&mut self, file: &str) -> Result<String> {
        if let Ok(place) = self.files().access().to_write(Path::new(file)) {
            let below = place.strip_prefix(self.files().access().out()).map_or(place.clone(), PathBuf::from);
            let _is_new = self.own.insert(below);
        }
        let saved = self.repl.submit(&format!(":save \"{file}\""));
        let said = self.output.take().text;
        match saved {
            Ok(_) => Ok(said),
            Err(failure) => {
                let Failure { message, hint, .. } = failure.failure().clone();
                Err(err!(File, "{message}").maybe_hint(hint))
            }
        }
    }
}

/// Returns a failure as data, with the place at which its drawing has the arrow.
fn error_data(failure: &Failure, sources: &Sources) -> Value {
    let arrow = drawing::arrow(failure, sources).or_else(|| failure.place.clone());
    let place = arrow.as_ref();
    json!({
        "kind": failure.kind,
        "message": failure.message,
        "hint": failure.hint,
        "source": place.map(|place| &place.source),
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
    })
}

/// Refuses lines that are commands of the prompt.
fn refused_line(code: &str) -> Option<crate::base::Error> {
    let line = code.trim_start();
    line.starts_with([':', '?']).then(|| {
        err!(Argument, "expected a script, found a command of the prompt")
            .hint("help, look, history, save and reset are tools of their own")
    })
}
