//! The cell that runs: what it prints, shows and asks goes to the clients as its own.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rhai::Dynamic;
use serde_json::{Map, Value, json};

use super::transport::{Outlet, Request};
use crate::base::locked;
use crate::common::*;
use crate::report::visible_text::harmless;
use crate::script::engine::console::Notebook;
use crate::script::report::mime;

/// Time between two looks for an interruption while somebody types.
const GLANCE: Duration = Duration::from_millis(20);

/// The request that is answered, as far as others must know it.
#[derive(Default)]
struct Answered {
    parent: Map<String, Value>,
    identity: Vec<u8>,
    can_ask: bool,
    is_silent: bool,
    number: usize,
    /// Number of outputs that are updated in place, of all cells.
    displays: usize,
}

/// The cell that runs, known to whatever speaks for it on any thread.
pub struct Cell {
    outlet: Arc<Outlet>,
    answered: Mutex<Answered>,
}

impl Cell {
    pub fn new(outlet: Arc<Outlet>) -> Self {
        Self { outlet, answered: Mutex::default() }
    }

    fn answered(&self) -> MutexGuard<'_, Answered> {
        locked(&self.answered)
    }

    /// Begins to answer a request. `number` is that of the cell.
    pub fn begin(&self, request: &Request, number: usize) {
        let mut answered = self.answered();
        answered.parent = request.message.header.clone();
        answered.identity = request.identity.clone();
        answered.can_ask = request.message.setting("allow_stdin", true);
        answered.is_silent = request.message.setting("silent", false);
        answered.number = number;
    }

    /// Tells all clients, unless the cell is to be silent.
    pub fn publish(&self, kind: &str, content: &Value) {
        let answered = self.answered();
        if !answered.is_silent {
            self.outlet.publish(kind, &answered.parent, content);
        }
    }

    /// Tells a line by the way.
    pub fn remark(&self, line: &str) {
        self.print("stderr", &format!("{line}\n"));
    }

    fn print(&self, stream: &'static str, text: &str) {
        let answered = self.answered();
        if !answered.is_silent {
            self.outlet.print(stream, &answered.parent, text);
        }
    }

    /// Shows an output of these forms.
    fn show(&self, data: Value) {
        self.publish("display_data", &json!({ "data": data, "metadata": {}, "transient": {} }));
    }

    /// Returns a new name for an output that is updated in place.
    pub fn display(&self) -> String {
        let mut answered = self.answered();
        answered.displays += 1;
        format!("microtome-{}", answered.displays)
    }
}

/// The notebook that a session prints to.
pub struct CellOutput {
    pub cell: Arc<Cell>,
    /// Lines that were typed; None where nobody types.
    pub typed: Receiver<Option<String>>,
}

impl Notebook for CellOutput {
    fn print(&self, text: &str) {
        self.cell.print("stdout", text);
    }

    fn remark(&self, line: &str) {
        self.cell.remark(line);
    }

    fn value(&self, value: &Dynamic, text: String, is_answer: bool, task: &Task) -> Result<()> {
        let data = mime::bundle(value, text, task)?;
        if is_answer {
            let number = self.cell.answered().number;
            let content = json!({ "data": data, "metadata": {}, "execution_count": number });
            self.cell.publish("execute_result", &content);
        } else {
            self.cell.show(data);
        }
        Ok(())
    }

    fn page(&self, title: &str, html: &str) {
        self.cell.show(json!({ "text/plain": harmless(title), "text/html": mime::frame(title, html) }));
    }

    fn ask(&self, task: &Task) -> Result<Option<String>> {
        {
            let answered = self.cell.answered();
            if !answered.can_ask {
                return Err(err!(Argument, "expected somebody to ask, found a client that takes no questions")
                    .hint("run the cell in a notebook that is open, and not by a program"));
            }
            // What was typed before belongs to another question.
            while self.typed.try_recv().is_ok() {}
            let content = json!({ "prompt": "", "password": false });
            self.cell.outlet.ask(&answered.identity, &answered.parent, &content);
        }
        loop {
            match self.typed.recv_timeout(GLANCE) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Timeout) => task.check()?,
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}
