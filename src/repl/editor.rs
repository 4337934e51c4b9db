//! The line editor: rustyline with our completion, colours, hints, and history.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use rustyline::completion::{self, Completer};
use rustyline::config::BellStyle;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::history::{History, MemHistory};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, Helper};

use super::{candidates, complete, highlight, history, is_unfinished, signature};
use crate::base::clock::Instant;
use crate::common::*;
use crate::report::terminal::Screen;
use crate::report::visible_text::elided;
use crate::script::Session;
use crate::script::engine::typed_line;

/// Maximum number of candidates, more than anybody reads through; the editor cannot list more than 65535.
const MOST_CANDIDATES: usize = 2_000;

/// Time after which a completion is given up for what is typed next, such as Ctrl-C; before, it is finished first.
const PATIENCE: Duration = Duration::from_millis(50);

/// The system's number for an input or output error, which reading from a terminal that was closed gives.
const EIO: i32 = 5;

/// The answer of the user to a prompt.
pub enum Input {
    Line(String),
    /// A line that was thrown away by Ctrl-C.
    Cleared,
    /// The end of the input: Ctrl-D, or a terminal that is gone.
    End,
}

pub struct LineEditor {
    editor: Editor<Help, MemHistory>,
    /// The entries that are remembered, oldest first.
    entries: Vec<String>,
    place: Option<PathBuf>,
}

impl LineEditor {
    /// Builds an editor that completes from `session`; the second value is a remark about a history that cannot be
    /// read.
    pub fn new(session: Rc<RefCell<Session>>, screen: &Screen) -> Result<(Self, Option<String>)> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .color_mode(if screen.colour { ColorMode::Enabled } else { ColorMode::Disabled })
            .bell_style(BellStyle::None)
            .auto_add_history(false)
            .max_history_size(history::ENTRIES)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(trouble)?
            .build();
        let remembered = MemHistory::with_config(&config);
        let mut editor = Editor::with_history(config, remembered).map_err(trouble)?;
        editor.set_helper(Some(Help { session, width: screen.width, sent: Cell::new(false) }));
        let place = history::place();
        let (entries, remark) = match place.as_deref().map(history::read) {
            None => (Vec::new(), None),
            Some(Ok(entries)) => (entries, None),
            Some(Err(error)) => (Vec::new(), Some(format!("the history cannot be read: {error}"))),
        };
        let mut editor = Self { editor, entries, place };
        editor.recall()?;
        Ok((editor, remark))
    }

    /// Asks for a line; it may be several, until it is whole.
    pub fn ask(&mut self, prompt: &str) -> Result<Input> {
        match self.editor.readline(prompt) {
            Ok(line) => Ok(Input::Line(line)),
            Err(ReadlineError::Interrupted) => Ok(Input::Cleared),
            Err(ReadlineError::Eof) => Ok(Input::End),
            Err(error) if is_hangup(&error) => Ok(Input::End),
            Err(error) => Err(trouble(error)),
        }
    }

    /// Remembers a line, in this session and in the file.
    pub fn remember(&mut self, line: &str) -> Result<()> {
        match self.entries.iter().position(|entry| entry == line) {
            Some(earlier) => {
                self.entries.remove(earlier);
                self.entries.push(line.into());
                self.recall()?;
            }
            None => {
                self.entries.push(line.into());
                self.editor.add_history_entry(line).map_err(trouble)?;
            }
        }
        let Some(place) = self.place.take() else { return Ok(()) };
        history::append(&place, line)
            .map_err(|error| Error::io("write", &place, &error).within("the history is not saved"))?;
        // After a failure the place stays empty: said once is enough, and the session itself goes on remembering.
        self.place = Some(place);
        Ok(())
    }

    /// Gives the editor all entries that are remembered; it cannot forget a single one.
    fn recall(&mut self) -> Result<()> {
        let remembered = self.editor.history_mut();
        remembered.clear().map_err(trouble)?;
        for entry in &self.entries {
            remembered.add(entry).map_err(trouble)?;
        }
        Ok(())
    }
}

fn trouble(error: ReadlineError) -> Error {
    err!(File, "the terminal cannot be read: {error}").hint("pipe the lines in, or run a script with `microtome run`")
}

fn is_hangup(error: &ReadlineError) -> bool {
    match error {
        ReadlineError::Io(error) => error.raw_os_error() == Some(EIO) || error.kind() == io::ErrorKind::UnexpectedEof,
        #[cfg(unix)]
        ReadlineError::Errno(errno) => *errno as i32 == EIO,
        _ => false,
    }
}

/// Helper that rustyline asks while a line is typed.
struct Help {
    session: Rc<RefCell<Session>>,
    width: usize,
    /// Whether the line has been sent off, so that neither cursor nor hint belong to it any more.
    sent: Cell<bool>,
}

impl Helper for Help {}

impl completion::Candidate for candidates::Candidate {
    fn display(&self) -> &str {
        &self.shown
    }

    fn replacement(&self) -> &str {
        &self.replacement
    }
}

impl Completer for Help {
    type Candidate = candidates::Candidate;

    fn complete(
        &self,
        line: &str,
        cursor: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<candidates::Candidate>)> {
        let begun = Instant::now();
        // The editor takes Ctrl-C as a key: it raises no flag.
        let check = || {
            let is_over = begun.elapsed() >= PATIENCE && typed_line::is_waiting();
            if is_over { Err(Error::interrupted()) } else { Ok(()) }
        };
        let found = complete::complete(line, cursor, &self.session.borrow(), &check);
        let (start, mut candidates) = found.unwrap_or((cursor, Vec::new()));
        candidates.truncate(MOST_CANDIDATES);
        for candidate in &mut candidates {
            candidate.shown = elided(&candidate.shown, self.width.saturating_sub(2));
        }
        Ok((start, candidates))
    }
}

/// A hint to be read, not to be taken into the line.
struct PromptHint(String);

impl Hint for PromptHint {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Help {
    type Hint = PromptHint;

    fn hint(&self, line: &str, cursor: usize, _: &Context<'_>) -> Option<PromptHint> {
        let before = line.get(..cursor)?;
        if before.trim_start().starts_with('?') {
            return None;
        }
        let hint = signature::hint(before, &self.session.borrow())?;
        Some(PromptHint(format!("\n{}", elided(&hint, self.width.saturating_sub(1)))))
    }
}

impl Validator for Help {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let unfinished = is_unfinished(context.input(), &self.session.borrow());
        Ok(if unfinished { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Highlighter for Help {
    fn highlight<'l>(&self, line: &'l str, cursor: usize) -> Cow<'l, str> {
        if line.is_empty() {
            return Cow::Borrowed(line);
        }
        let cursor = (!self.sent.get()).then_some(cursor);
        Cow::Owned(highlight::painted(line, cursor, &self.session.borrow()))
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        Cow::Owned(format!("\x1b[1;34m{prompt}\x1b[0m"))
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        let bold = hint.replace('‹', "\x1b[0;1m‹").replace('›', "›\x1b[0;2m");
        Cow::Owned(format!("\x1b[2m{bold}\x1b[0m"))
    }

    fn highlight_char(&self, _line: &str, _cursor: usize, kind: CmdKind) -> bool {
        self.sent.set(kind == CmdKind::ForcedRefresh);
        true
    }
}
