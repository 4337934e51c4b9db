//! Floor 21: the prompt. Line editor, completion, colours, hints, history, and the commands that begin with a colon.

mod candidates;
pub mod choices;
pub mod commands;
pub mod complete;
pub mod cursor;
mod definitions;
#[cfg(feature = "terminal")]
mod editor;
mod example;
#[cfg(feature = "terminal")]
mod highlight;
mod history;
mod inspection;
pub mod known_variables;
mod saving;
pub mod signature;
pub mod stages;
pub mod value_shape;

use std::cell::{Ref, RefCell, RefMut};
use std::io::BufRead;
use std::rc::Rc;
#[cfg(feature = "terminal")]
use std::sync::atomic::Ordering;

use crate::base;
use crate::common::*;
use crate::script::Session;
use crate::script::engine::drawing;
use crate::script::engine::failure::{Failure, Sources};
use crate::script::engine::show;
use crate::script::engine::tokens;
use crate::script::engine::value::Value;
use crate::script::session::resolver;
use candidates::Candidate;
#[cfg(feature = "terminal")]
use editor::{Input, LineEditor};
use saving::{EvaluatedText, LineOutcome};

pub use saving::SessionScript;

#[cfg(feature = "terminal")]
const PROMPT: &str = "> ";
const RC: &str = "MICROTOME_RC";

/// The way in which a session at the prompt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Done,
    /// A failed line, which nobody sat there to see.
    Failed,
    /// A `run::check` that failed.
    CheckFailed,
    Interrupted,
    /// A reader of our output that went away.
    Closed,
}

/// The prompt's next step: another line, or the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptFlow {
    Continue,
    Quit,
}

/// The failure of a line, and the texts to draw it under.
pub struct LineFailure {
    failure: Box<Failure>,
    /// Sources of a session beside this one; None means the session's own.
    sources: Option<Sources>,
}

impl LineFailure {
    /// Returns one word for the kind of the failure.
    pub fn kind(&self) -> &str {
        &self.failure.kind
    }

    pub fn message(&self) -> &str {
        &self.failure.message
    }

    pub fn failure(&self) -> &Failure {
        &self.failure
    }
}

impl From<Failure> for LineFailure {
    fn from(failure: Failure) -> Self {
        Self { failure: failure.into(), sources: None }
    }
}

impl From<Error> for LineFailure {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

/// A session at the prompt: the session itself, and what `:save` and `??` know of its lines.
pub struct Repl {
    session: Rc<RefCell<Session>>,
    done: Vec<EvaluatedText>,
    /// Number of lines so far; errors call a line by its number.
    lines: usize,
    /// Whether errors are drawn in colour.
    colour: bool,
    /// The user's own beginning of every session.
    rc: Option<PathBuf>,
}

impl Repl {
    /// Starts a session; `colour` says whether standard error, where failures are drawn, takes colours.
    pub fn new(session: Session, colour: bool) -> Self {
        Self { session: Rc::new(RefCell::new(session)), done: Vec::new(), lines: 0, colour, rc: rc_place() }
    }

    /// Leaves out the user's own beginning, for a session that is nobody's.
    pub fn without_rc(self) -> Self {
        Self { rc: None, ..self }
    }

    /// Runs the prompt on a terminal, until Ctrl-D or `:quit`.
    #[cfg(feature = "terminal")]
    pub fn converse(mut self) -> Result<Ending> {
        let (screen, quiet) = {
            let session = self.session();
            session.env().console.converse();
            (*session.env().console.screen(), session.env().settings.quiet)
        };
        let (mut editor, remark) = LineEditor::new(self.session.clone(), &screen)?;
        if !quiet {
            self.say(&format!("microtome {} (? for help, Ctrl-D to leave)", env!("CARGO_PKG_VERSION")));
        }
        if let Some(remark) = remark {
            self.remark(&remark);
        }
        self.begin();
        loop {
            let line = match editor.ask(PROMPT)? {
                Input::Line(line) => line,
                Input::Cleared => continue,
                Input::End => return Ok(Ending::Done),
            };
            if line.trim().is_empty() {
                continue;
            }
            if let Err(error) = editor.remember(line.trim_end()) {
                self.remark(&error.message);
            }
            // An interruption that came between the lines was meant for none of them.
            self.session().env().task.flag().store(false, Ordering::Relaxed);
            let outcome = self.submit(&line);
            if self.session().env().console.closed().is_some() {
                return Ok(Ending::Closed);
            }
            match outcome {
                Ok(PromptFlow::Continue) => {}
                Ok(PromptFlow::Quit) => return Ok(Ending::Done),
                Err(trouble) => self.draw(&trouble),
            }
        }
    }

    /// Reads lines from a pipe or a file, without a prompt; returns whether any of them failed. Failures do not stop
    /// it.
    pub fn read(mut self, mut input: impl BufRead) -> Result<Ending> {
        let mut failed = false;
        self.begin();
        while let Some(text) = self.next_text(&mut input)? {
            let outcome = text.map_err(LineFailure::from).and_then(|text| self.submit(&text));
            if self.session().env().console.closed().is_some() {
                return Ok(Ending::Closed);
            }
            match outcome {
                Ok(PromptFlow::Continue) => {}
                Ok(PromptFlow::Quit) => break,
                Err(trouble) => {
                    self.draw(&trouble);
                    if trouble.failure.is_interrupted() {
                        return Ok(Ending::Interrupted);
                    }
                    failed = true;
                }
            }
        }
        let checks_failed = self.session().env().checks.failed() > 0;
        Ok(match (failed, checks_failed) {
            (true, _) => Ending::Failed,
            (false, true) => Ending::CheckFailed,
            (false, false) => Ending::Done,
        })
    }

    /// Reads lines until they are whole, or an error where they are no text; None at the end of the input.
    fn next_text(&self, input: &mut impl BufRead) -> Result<Option<Result<String>>> {
        let mut text = String::new();
        // How many brackets are open, where that is all that is: while some are, no look at the whole text is needed.
        let mut open = Some(0);
        loop {
            let mut bytes = Vec::new();
            let length = input.read_until(b'\n', &mut bytes).map_err(|e| err!(File, "cannot read the lines: {e}"))?;
            let Ok(line) = String::from_utf8(bytes) else {
                let refused = err!(Format, "expected UTF-8 text, found a line with other bytes");
                return Ok(Some(Err(refused.hint("encode the input as UTF-8"))));
            };
            text.push_str(&line);
            let change = open.zip(tokens::brackets(&line));
            open = change.map(|(open, (more, _))| open + more);
            if length > 0 && change.is_some_and(|(open, (more, least))| open + least > 0 && open + more > 0) {
                continue;
            }
            let is_blank = text.trim().is_empty();
            if length == 0 {
                return Ok((!is_blank).then_some(Ok(text)));
            }
            if !is_blank && !is_unfinished(text.trim_end(), &self.session()) {
                return Ok(Some(Ok(text)));
            }
        }
    }

    /// Borrows the session for a look at it.
    pub fn session(&self) -> Ref<'_, Session> {
        self.session.borrow()
    }

    /// Returns the session as a script that runs, as `:save` writes it.
    pub fn script(&self) -> SessionScript {
        saving::script(&self.done, self.session().env().settings.seed)
    }

    /// Returns whether no line was evaluated yet.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Borrows the session for evaluating; nothing that was borrowed from it may still be held.
    fn session_mut(&self) -> RefMut<'_, Session> {
        self.session.borrow_mut()
    }

    /// Answers a cell of a notebook as a line of this number, unless there have been more lines already.
    pub fn answer_cell(&mut self, text: &str, number: usize) -> std::result::Result<PromptFlow, LineFailure> {
        self.lines = self.lines.max(number.saturating_sub(1));
        self.submit(text)
    }

    /// Returns a value as it is shown, evaluated beside the session.
    pub fn aside(&mut self, code: &str) -> std::result::Result<String, LineFailure> {
        let name = self.next_name();
        let ast = self.session().compile(&name, code)?;
        let value = self.session_mut().aside(&name, &ast)?.0;
        let session = self.session();
        Ok(show::shown(&value, session.env().console.screen(), &session.env().task)?)
    }

    /// Returns the candidates for the text at a byte, and where it begins; none after an interruption.
    pub fn completed(&self, code: &str, cursor: usize) -> (usize, Vec<Candidate>) {
        let session = self.session();
        let found = complete::complete(code, cursor, &session, &|| session.env().task.check());
        found.unwrap_or((cursor, Vec::new()))
    }

    /// Returns what the reference says of the name at a byte, or of the function that is called there.
    pub fn help_at(&self, code: &str, cursor: usize) -> Option<String> {
        let name = inspection::name_at(code, cursor, &self.session())?;
        commands::help::known(self, &name)
    }

    /// Returns whether more text could follow.
    pub fn is_unfinished(&self, text: &str) -> bool {
        is_unfinished(text, &self.session())
    }

    /// Returns whether a text can be read, whatever its names mean.
    pub fn is_valid(&self, text: &str) -> bool {
        let is_question = text.trim_start().starts_with(['?', ':']);
        is_question || self.session().is_readable(text)
    }

    /// Adds a line to the history of the user.
    pub fn remember(&mut self, line: &str) {
        let added = history::place().map(|place| history::append(&place, line.trim_end()));
        if let Some(Err(error)) = added {
            self.remark(&format!("the history cannot be written: {error}"));
        }
    }

    /// Returns the lines of this session and of earlier ones, oldest first.
    pub fn history(&self) -> Vec<String> {
        history::place().and_then(|place| history::read(&place).ok()).unwrap_or_default()
    }

    pub fn task(&self) -> Task {
        self.session().env().task.clone()
    }

    /// Runs the user's own beginning of every session. Its errors are drawn, and the session goes on.
    pub fn begin(&mut self) {
        let asked_for = std::env::var_os(RC).is_some();
        let Some(place) = self.rc.clone().filter(|place| asked_for || place.exists()) else { return };
        let text = self.session().env().files.text(&place);
        let outcome = match text {
            Ok(text) => self.evaluate(&place.display().to_string(), &text).map(drop),
            Err(error) => Err(error.into()),
        };
        if let Err(trouble) = outcome {
            self.draw(&trouble);
        }
    }

    /// Answers one line: a question, a command, or code.
    pub fn submit(&mut self, input: &str) -> std::result::Result<PromptFlow, LineFailure> {
        let line = input.trim();
        let outcome = if let Some(question) = line.strip_prefix('?') {
            commands::help::answer(self, question).map(|()| PromptFlow::Continue)
        } else if let Some(command) = line.strip_prefix(':') {
            commands::run(self, command)
        } else {
            self.answer(line).map(|()| PromptFlow::Continue)
        };
        self.session().env().files.release();
        outcome
    }

    /// Evaluates code and shows its value, unless a semicolon mutes it.
    fn answer(&mut self, text: &str) -> std::result::Result<(), LineFailure> {
        let name = self.next_name();
        let outcome = self.evaluate(&name, text);
        let spoken = self.session().env().console.take_spoken();
        if outcome? == LineOutcome::Answered && !is_muted(text) {
            self.show_answer(&spoken)?;
        }
        Ok(())
    }

    /// Evaluates a text in the session and keeps book of it; `ans` becomes its value, if it has one. The value is not
    /// copied, which may take long, and is nowhere else.
    fn evaluate(&mut self, name: &str, text: &str) -> std::result::Result<LineOutcome, LineFailure> {
        let (drawn, pieces) = {
            let session = self.session();
            (session.env().random.counts(), session.env().task.pieces())
        };
        let outcome = self.session_mut().eval(name, text);
        let (how, failure) = match outcome {
            Err(failure) => (self.failed_as(&failure, name, text), Some(failure)),
            Ok(value) if value.is_unit() => (LineOutcome::Silent, None),
            Ok(value) => {
                self.session_mut().set_variable("ans", value);
                (LineOutcome::Answered, None)
            }
        };
        let (ended, drawn) = {
            let session = self.session();
            let mut now = self.session().env().random.counts();
            now.retain(|caller, count| drawn.get(caller) != Some(count));
            (session.env().task.ended_early(pieces), now)
        };
        self.done.push(EvaluatedText { text: text.into(), outcome: how, ended, drawn });
        failure.map_or(Ok(how), |failure| Err(failure.into()))
    }

    /// Tells how a text failed.
    fn failed_as(&self, failure: &Failure, name: &str, text: &str) -> LineOutcome {
        // A text that cannot be compiled has not run.
        if self.session().compile(name, text).is_err() {
            return LineOutcome::Refused;
        }
        let calls = failure.frames.iter().map(|frame| &frame.place).chain(&failure.place);
        let at = calls.into_iter().find(|place| place.source == name).map_or(0, |place| place.offset(text));
        LineOutcome::Failed { at, is_catchable: !failure.is_interrupted() && failure.kind != base::Kind::Memory.name() }
    }

    /// Returns the name that errors in the next line call it by.
    fn next_name(&mut self) -> String {
        self.lines += 1;
        format!("<{}>", self.lines)
    }

    /// Shows the last value, unless it is this text, which has been seen as it came.
    fn show_answer(&self, spoken: &str) -> Result<()> {
        let session = self.session();
        match session.variable("ans").filter(|value| !is_text(value, spoken)) {
            Some(value) => show::tell(value, &session.env().console, &session.env().task),
            None => Ok(()),
        }
    }

    /// Prints text that was asked for.
    fn say(&self, text: &str) {
        self.session().env().console.say(text.trim_end_matches('\n'));
    }

    /// Tells something by the way.
    fn remark(&self, text: &str) {
        if !self.session().env().settings.quiet {
            self.session().env().console.remark(text);
        }
    }

    fn draw(&self, trouble: &LineFailure) {
        self.session().env().console.remark(self.drawn(trouble).trim_end_matches('\n'));
    }

    /// Draws a failure as the prompt does.
    pub fn drawn(&self, trouble: &LineFailure) -> String {
        if trouble.failure.is_interrupted() {
            return "interrupted\n".into();
        }
        let session = self.session();
        let sources = trouble.sources.as_ref().unwrap_or(session.sources());
        drawing::draw(&trouble.failure, sources, self.colour)
    }
}

/// Returns the user's rc file: the path in `MICROTOME_RC`, none if that is empty, or `rc.rhai` in the configuration
/// folder.
fn rc_place() -> Option<PathBuf> {
    match std::env::var_os(RC) {
        Some(place) => (!place.is_empty()).then(|| place.into()),
        None => resolver::config_folder().map(|folder| folder.join("rc.rhai")),
    }
}

/// Returns whether the prompt should go on asking. Questions and commands end with their line, but for the code that
/// some take.
fn is_unfinished(text: &str, session: &Session) -> bool {
    let line = text.trim_start();
    if line.starts_with('?') {
        return false;
    }
    match line.strip_prefix(':') {
        Some(command) => commands::code_of(command).is_some_and(|code| session.is_unfinished(code)),
        None => session.is_unfinished(text),
    }
}

/// Returns whether the value is this text, which has been seen as it came.
fn is_text(value: &Value, spoken: &str) -> bool {
    !spoken.is_empty() && value.is_string() && value.to_string() == spoken
}

/// Returns whether the code ends in a semicolon, a comment after it not counted.
fn is_muted(text: &str) -> bool {
    use crate::script::engine::tokens::{TokenKind, tokens};
    tokens(text).iter().rfind(|token| token.kind != TokenKind::Comment).is_some_and(|token| token.of(text) == ";")
}

/// Suggests "did you mean ..?" among names that need not stand in one list.
fn suggestion(name: &str, candidates: &[String]) -> Option<String> {
    base::names::suggestion(name, candidates.iter().map(String::as_str))
}

#[cfg(test)]
mod tests;
