//! The session of scripts of a page.

use std::rc::Rc;
use std::sync::Arc;

use microtome::base::clock::Instant;
use microtome::base::error::IN_PROGRAM;
use microtome::base::files::Files;
use microtome::base::settings::Settings;
use microtome::base::{Kind, Result, Task};
use microtome::err;
use microtome::repl::stages::{ShownStage, StageDisplay, StageProgress};
use microtome::repl::{LineFailure, Repl};
use microtome::report::terminal::Screen;
use microtome::script::Session;
use microtome::script::docs::site::ExampleForm;
use microtome::script::engine::console::{Console, Notebook};
use microtome::script::engine::env::Env;
use microtome::script::report::mime;
use microtome::tensor::Device;
use rhai::Dynamic;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use crate::patience::Patience;
use crate::tell;

/// The session of a page.
#[wasm_bindgen]
pub struct Engine {
    repl: Repl,
    patience: Patience,
    progress: Arc<StageProgress<Stages>>,
}

#[wasm_bindgen]
impl Engine {
    /// Begins a session. `width` is that of the page in characters.
    #[wasm_bindgen(constructor)]
    pub fn new(width: usize) -> std::result::Result<Engine, JsError> {
        let patience = Patience::default();
        let progress = Arc::new(StageProgress::new(Stages(patience.clone())));
        let session = Session::new(env(width, &patience, progress.clone())?);
        Ok(Self { repl: Repl::new(session, false).without_rc(), patience, progress })
    }

    /// Runs a text, and returns how it ended: `{ seconds, error: null | { kind, message, text } }`, where `text` is drawn as
    /// in the terminal.
    pub fn run(&mut self, text: &str) -> String {
        let begun = self.begun();
        let outcome = self.repl.submit(text).map(|_flow| ());
        self.ended(begun, outcome)
    }

    /// Runs an example of this form (`script`, `part`, `session` or `typed`) piece by piece; what an answer belongs to is told before it,
    /// as an output of the kind `typed`. Returns how it ended, as [`Engine::run`] does.
    pub fn example(&mut self, text: &str, form: &str) -> String {
        let begun = self.begun();
        let form = ExampleForm::named(form).unwrap_or(ExampleForm::Script);
        let outcome = self.repl.run_example(text, form, &|line: &str| tell(&json!({ "kind": "typed", "text": line })));
        self.ended(begun, outcome)
    }

    /// Returns what may stand at a place of a text, counted as JavaScript counts: `{ start, candidates: [{ text, shown }] }`.
    pub fn complete(&self, text: &str, cursor: usize) -> String {
        let (start, candidates) = self.repl.completed(text, byte_at(text, cursor));
        let start = text.get(..start).unwrap_or_default().encode_utf16().count();
        let candidates: Vec<Value> =
            candidates.iter().map(|one| json!({ "text": one.replacement, "shown": one.shown })).collect();
        json!({ "start": start, "candidates": candidates }).to_string()
    }

    /// Returns what the reference says of the name at a place of a text, or nothing.
    pub fn help(&self, text: &str, cursor: usize) -> Option<String> {
        self.repl.help_at(text, byte_at(text, cursor))
    }

    /// Returns whether more of the text is to come, so that a prompt goes on asking.
    pub fn is_unfinished(&self, text: &str) -> bool {
        self.repl.is_unfinished(text)
    }
}

impl Engine {
    /// Begins a text, with no stage of the one before, and returns the time.
    fn begun(&self) -> Instant {
        self.progress.forget();
        Instant::now()
    }

    /// Writes how a text ended that began then; what was refused on its way has not ended well.
    fn ended(&self, begun: Instant, outcome: std::result::Result<(), LineFailure>) -> String {
        let refusal = self.patience.take_refusal().map(LineFailure::from);
        let error = refusal.or(outcome.err()).map(|failure| {
            let mut drawn = self.repl.drawn(&failure);
            // The hint may be of those who asked for a file or for the network.
            let is_of_program = failure.kind() == Kind::File.name() || failure.message().contains("a page has no ");
            if is_of_program && !drawn.contains(IN_PROGRAM) {
                drawn.push_str(&format!("  a page has its own files and no network; {IN_PROGRAM}\n"));
            }
            json!({ "kind": failure.kind(), "message": failure.message(), "text": drawn })
        });
        json!({ "seconds": begun.elapsed().as_secs_f64(), "error": error }).to_string()
    }
}

/// Returns the byte at which a number of UTF-16 units of a text end.
fn byte_at(text: &str, units: usize) -> usize {
    let mut before = 0;
    let found = text.char_indices().find(|(_, letter)| {
        let is_there = before >= units;
        before += letter.len_utf16();
        is_there
    });
    found.map_or(text.len(), |(at, _)| at)
}

/// Makes an environment whose files lie in memory, and whose console is the page.
fn env(width: usize, patience: &Patience, progress: Arc<StageProgress<Stages>>) -> Result<Env> {
    let settings = Settings::default();
    let task = Task::new(patience.stop.clone(), progress);
    let files = Files::unrecorded(&settings.out)?.heeding(&task);
    let screen = Screen { width: width.clamp(40, 200), ..Screen::default() };
    Ok(Env::new(settings, task, files, Console::collecting(screen, Rc::new(Page)), Device::Cpu))
}

/// The page as a session sees it.
struct Page;

impl Notebook for Page {
    fn print(&self, text: &str) {
        tell(&json!({ "kind": "print", "text": text }));
    }

    fn remark(&self, line: &str) {
        tell(&json!({ "kind": "remark", "text": line }));
    }

    fn value(&self, value: &Dynamic, text: String, is_answer: bool, task: &Task) -> Result<()> {
        let html = mime::html(value, task)?;
        tell(&json!({ "kind": "value", "text": text, "html": html, "is_answer": is_answer }));
        Ok(())
    }

    fn page(&self, title: &str, html: &str) {
        tell(&json!({ "kind": "page", "text": title, "html": mime::frame(title, html) }));
    }

    fn ask(&self, _task: &Task) -> Result<Option<String>> {
        Err(err!(Argument, "expected somebody to ask, found a page, which takes no questions")
            .hint("the program asks: `microtome run`"))
    }
}

/// Stages of the work, shown while it runs, as long as the page has patience.
struct Stages(Patience);

impl StageDisplay for Stages {
    fn show(&self, stages: &[ShownStage]) {
        self.0.look_at(stages);
        let stages: Vec<Value> = stages
            .iter()
            .map(|stage| json!({ "line": stage.line, "done": stage.done, "total": stage.total, "ended": stage.has_ended }))
            .collect();
        tell(&json!({ "kind": "progress", "stages": stages }));
    }

    fn say(&self, line: &str) {
        tell(&json!({ "kind": "remark", "text": line }));
    }
}
