//! The output of `print` and `show`: standard output, standard error when standard output is reserved for JSON, memory,
//! or a notebook.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, IsTerminal, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use rhai::Dynamic;

use super::typed_line;
use crate::common::*;
use crate::report::terminal::Screen;
use crate::report::terminal::codes::{obeyed, plain};

/// A notebook in place of a terminal: it takes values as well as text, and asks whoever writes in it.
pub trait Notebook {
    /// Takes text that is printed.
    fn print(&self, text: &str);
    /// Takes a line by the way, which a terminal has on standard error.
    fn remark(&self, line: &str);
    /// Takes a value and its text. The answer of a cell is told from what the cell shows on its way.
    fn value(&self, value: &Dynamic, text: String, is_answer: bool, task: &Task) -> Result<()>;
    /// Takes a page that was written and stands on its own: its title and its HTML.
    fn page(&self, title: &str, html: &str);
    /// Asks for a line; None if nobody answers.
    fn ask(&self, task: &Task) -> Result<Option<String>>;
}

/// Number of bytes that are written between two looks at the flag, at most.
const PIECE: usize = 1 << 14;

#[derive(Clone)]
enum Sink {
    Out,
    Err,
    Memory(Rc<RefCell<String>>),
    Notebook(Rc<dyn Notebook>),
}

pub struct Console {
    sink: Sink,
    screen: Screen,
    /// Flag of interruptions, which ends a long text between two pieces. It is raised when the reader has gone away, so
    /// that the script stops instead of writing to nobody.
    stop: Option<Arc<AtomicBool>>,
    /// Reason why the console cannot be written any more; known to all sessions that write there.
    closed: Rc<Cell<Option<ErrorKind>>>,
    /// Whether a terminal reads it, which would obey the control characters in a text.
    obeyed: bool,
    /// Copy of what was written, kept for the record of a run.
    kept: Option<RefCell<String>>,
    /// Whether somebody sits at a prompt, to whom words may be said as they come.
    conversation: Cell<bool>,
    /// Text that was spoken last.
    spoken: RefCell<String>,
}

impl Console {
    pub fn stdout(screen: Screen, stop: Arc<AtomicBool>) -> Self {
        let obeyed = std::io::stdout().is_terminal();
        Self { sink: Sink::Out, stop: Some(stop), obeyed, ..Self::memory(screen) }
    }

    /// Makes the console of `--json`, where standard output carries the result and nothing else.
    pub fn stderr(screen: Screen, stop: Arc<AtomicBool>) -> Self {
        Self { sink: Sink::Err, obeyed: std::io::stderr().is_terminal(), ..Self::stdout(screen, stop) }
    }

    /// Makes the console of a notebook, in which somebody writes.
    pub fn notebook(screen: Screen, notebook: Rc<dyn Notebook>) -> Self {
        Self { sink: Sink::Notebook(notebook), conversation: Cell::new(true), ..Self::memory(screen) }
    }

    /// Makes the console of a program that takes what a line says and shows when the line has ended.
    pub fn collecting(screen: Screen, notebook: Rc<dyn Notebook>) -> Self {
        Self { conversation: Cell::new(false), ..Self::notebook(screen, notebook) }
    }

    pub fn memory(screen: Screen) -> Self {
        Self {
            sink: Sink::Memory(Rc::default()),
            screen,
            stop: None,
            closed: Rc::default(),
            obeyed: false,
            kept: None,
            conversation: Cell::new(false),
            spoken: RefCell::default(),
        }
    }

    /// Makes a console that writes to the same place, for a session within the session.
    pub fn beside(&self) -> Self {
        Self {
            sink: self.sink.clone(),
            stop: self.stop.clone(),
            closed: self.closed.clone(),
            obeyed: self.obeyed,
            ..Self::memory(self.screen)
        }
    }

    /// Keeps a copy of everything that is written from now on.
    pub fn keeping(mut self) -> Self {
        self.kept = Some(RefCell::default());
        self
    }

    pub fn kept(&self) -> Option<String> {
        self.kept.as_ref().map(|kept| kept.borrow().clone())
    }

    /// Returns the notebook, where there is one.
    pub fn in_notebook(&self) -> Option<&dyn Notebook> {
        match &self.sink {
            Sink::Notebook(notebook) => Some(notebook.as_ref()),
            _ => None,
        }
    }

    /// Tells a line by the way: on standard error, or in the notebook.
    pub fn remark(&self, line: &str) {
        match self.in_notebook() {
            Some(notebook) => notebook.remark(&plain(line)),
            None => to_stderr(&format!("{line}\n")),
        }
    }

    /// Returns whether somebody is there to be asked.
    pub fn can_ask(&self) -> bool {
        self.in_notebook().is_some() || self.is_conversation() && std::io::stdin().is_terminal()
    }

    /// Reads the next line that somebody types; None at the end of what is typed.
    pub fn ask(&self, task: &Task) -> Result<Option<String>> {
        self.in_notebook().map_or_else(|| typed_line::line(task), |notebook| notebook.ask(task))
    }

    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Writes a text and ends the line. A terminal gets our own codes in it and no others, whoever wrote the text: a
    /// library that prints has no more power over the user's terminal than over the user's files. A pipe gets it as it is.
    pub fn say(&self, text: &str) {
        // In one piece: another thread may write to the same pipe.
        self.write(&[text, "\n"].concat());
    }

    /// Begins a conversation: from now on somebody sits at a prompt.
    pub fn converse(&self) {
        self.conversation.set(true);
    }

    pub fn is_conversation(&self) -> bool {
        self.conversation.get()
    }

    /// Writes a piece of what a script says, and lets it be seen at once.
    pub fn speak(&self, piece: &str) {
        self.write(piece);
        self.spoken.borrow_mut().push_str(piece);
        if let Sink::Out = self.sink {
            // One that cannot be flushed cannot be written either, which `send` has seen to.
            let _flushed = std::io::stdout().flush();
        }
    }

    /// Ends the line of what was spoken.
    pub fn end_speech(&self) {
        self.write("\n");
    }

    /// Takes what was spoken since the last call; the prompt does not say it once more.
    pub fn take_spoken(&self) -> String {
        self.spoken.take()
    }

    fn write(&self, text: &str) {
        let plain = plain(text);
        if let Some(kept) = &self.kept {
            kept.borrow_mut().push_str(&plain);
        }
        if self.obeyed { self.send(&obeyed(text)) } else { self.send(&plain) }
    }

    fn send(&self, text: &str) {
        let written = match &self.sink {
            Sink::Memory(buffer) => {
                buffer.borrow_mut().push_str(text);
                Ok(())
            }
            Sink::Notebook(notebook) => {
                notebook.print(text);
                Ok(())
            }
            Sink::Out => self.write_pieces(&mut std::io::stdout().lock(), text),
            Sink::Err => self.write_pieces(&mut std::io::stderr().lock(), text),
        };
        // A pipe whose reader left (`| head`), or a terminal that was closed: nobody reads on, so the script ends.
        if let Err(error) = written {
            self.closed.set(Some(error.kind()));
            if let Some(stop) = &self.stop {
                stop.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Writes a text, or whole characters of it up to an interruption and then the end of a line.
    fn write_pieces(&self, out: &mut dyn Write, text: &str) -> std::io::Result<()> {
        let mut left = text;
        while !left.is_empty() {
            // What is short is said whatever happens.
            let is_begun = left.len() < text.len();
            if is_begun && self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                let end: &[u8] = if self.obeyed { b"\x1b[0m\n" } else { b"\n" };
                return out.write_all(end);
            }
            let (piece, behind) = left.split_at(left.floor_char_boundary(PIECE));
            out.write_all(piece.as_bytes())?;
            left = behind;
        }
        Ok(())
    }

    /// Returns the reason why nothing can be written any more: the reader has gone away, or the disk is full.
    pub fn closed(&self) -> Option<ErrorKind> {
        self.closed.get()
    }

    /// Takes what a console in memory has received so far; empties it.
    pub fn take(&self) -> String {
        match &self.sink {
            Sink::Memory(buffer) => std::mem::take(&mut *buffer.borrow_mut()),
            _ => String::new(),
        }
    }
}

/// Writes to standard error. One that nobody reads is no reason to stop: what it had to say is only told, never asked.
/// Names of files stand in it, which may hold anything.
pub fn to_stderr(text: &str) {
    let _nobody_reads = std::io::stderr().lock().write_all(obeyed(text).as_bytes());
}

/// Returns the text as standard output is to get it, which a terminal may be.
pub fn for_stdout(text: &str) -> String {
    if std::io::stdout().is_terminal() { obeyed(text) } else { plain(text).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_characters_and_the_record_all_of_them() {
        let console = Console { obeyed: true, ..Console::memory(Screen::default()) }.keeping();
        console.say("\x1b[2Jhello");
        assert_eq!(console.take(), "␛[2Jhello\n");
        assert_eq!(console.kept().as_deref(), Some("\x1b[2Jhello\n"));
        let bold = Screen { colour: true, ..Screen::default() }.bold("ours\x1b[2J");
        console.say(&bold);
        assert_eq!(console.take(), "\x1b[1mours␛[2J\x1b[0m\n");
        assert!(console.kept().unwrap().ends_with("\x1b[1mours\x1b[2J\x1b[0m\n"));
    }

    #[test]
    fn a_long_text_is_interrupted_between_pieces() {
        let stop = Arc::new(AtomicBool::new(false));
        let console = Console { stop: Some(stop.clone()), ..Console::memory(Screen::default()) };
        let written = |text: &str| {
            let mut out: Vec<u8> = Vec::new();
            console.write_pieces(&mut out, text).unwrap();
            String::from_utf8(out).unwrap()
        };
        let long = "a".repeat(2 * PIECE + 1);
        assert_eq!(written(&long), long);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(written(&long), format!("{}\n", &long[..PIECE]));
        // No character is cut.
        let wide = format!("a{}", "é".repeat(PIECE));
        assert_eq!(written(&wide), format!("{}\n", &wide[..PIECE - 1]));
        assert_eq!(written("short"), "short");
    }
}
