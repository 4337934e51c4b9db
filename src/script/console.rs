//! Where `print` and `show` write: standard output, standard error when standard output is reserved for JSON, or memory.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::report::terminal::Screen;

#[derive(Clone)]
enum Sink {
    Out,
    Err,
    Memory(Rc<RefCell<String>>),
}

pub struct Console {
    sink: Sink,
    screen: Screen,
    /// Raised when the reader has gone away, so that the script stops instead of writing to nobody.
    stop: Option<Arc<AtomicBool>>,
    /// Why it could not be written any more.
    closed: Cell<Option<ErrorKind>>,
    /// What was written, kept for the record of a run.
    kept: Option<RefCell<String>>,
}

impl Console {
    pub fn stdout(screen: Screen, stop: Arc<AtomicBool>) -> Self {
        Self { sink: Sink::Out, screen, stop: Some(stop), closed: Cell::new(None), kept: None }
    }

    /// For `--json`, where standard output carries the result and nothing else.
    pub fn stderr(screen: Screen, stop: Arc<AtomicBool>) -> Self {
        Self { sink: Sink::Err, ..Self::stdout(screen, stop) }
    }

    pub fn memory(screen: Screen) -> Self {
        Self { sink: Sink::Memory(Rc::default()), screen, stop: None, closed: Cell::new(None), kept: None }
    }

    /// A console that writes to the same place, for a session within the session.
    pub fn beside(&self) -> Self {
        Self {
            sink: self.sink.clone(),
            screen: self.screen,
            stop: self.stop.clone(),
            closed: self.closed.clone(),
            kept: None,
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

    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Writes the text and ends the line.
    pub fn line(&self, text: &str) {
        self.write(text);
        self.write("\n");
    }

    pub fn write(&self, text: &str) {
        if let Some(kept) = &self.kept {
            kept.borrow_mut().push_str(text);
        }
        let written = match &self.sink {
            Sink::Memory(buffer) => {
                buffer.borrow_mut().push_str(text);
                Ok(())
            }
            Sink::Out => std::io::stdout().lock().write_all(text.as_bytes()),
            Sink::Err => std::io::stderr().lock().write_all(text.as_bytes()),
        };
        // A pipe whose reader left (`| head`), or a terminal that was closed: nobody reads on, so the script ends.
        if let Err(error) = written {
            self.closed.set(Some(error.kind()));
            if let Some(stop) = &self.stop {
                stop.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Why nothing can be written any more: the reader has gone away, or the disk is full.
    pub fn closed(&self) -> Option<ErrorKind> {
        self.closed.get()
    }

    /// What a console in memory has taken so far; empties it.
    pub fn take(&self) -> String {
        match &self.sink {
            Sink::Memory(buffer) => std::mem::take(&mut *buffer.borrow_mut()),
            _ => String::new(),
        }
    }
}
