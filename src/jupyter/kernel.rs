//! The kernel: requests one after the other, answered by the session of a prompt.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::cell::{Cell, CellOutput};
use super::connection::Connection;
use super::progress::CellStages;
use super::requests::{self, refusal};
use super::transport::{Outlet, Request, Transport, Work};
use crate::base::task::Progress;
use crate::common::*;
use crate::repl::stages::StageProgress;
use crate::repl::{LineFailure, PromptFlow, Repl};
use crate::report::terminal::codes::obeyed;
use crate::report::terminal::{Graphics, Screen};
use crate::script::engine::console::Console;

/// Columns of text in a cell.
const WIDTH: usize = 100;

/// A kernel that does not run yet: what a session needs of it is there, and its sockets are not.
pub struct Kernel {
    connection: Connection,
    transport: Transport,
    cell: Arc<Cell>,
    progress: Arc<StageProgress<CellStages>>,
}

impl Kernel {
    /// Makes a kernel, and the console of its session.
    pub fn new(connection: Connection) -> Result<(Self, Console)> {
        let (transport, typed) = Transport::new(&connection.key)?;
        let cell = Arc::new(Cell::new(transport.outlet.clone()));
        let progress = Arc::new(StageProgress::new(CellStages::new(cell.clone())));
        let screen = Screen { width: WIDTH, height: 40, colour: false, graphics: Graphics::Text };
        let console = Console::notebook(screen, Rc::new(CellOutput { cell: cell.clone(), typed }));
        Ok((Self { connection, transport, cell, progress }, console))
    }

    /// Returns the receiver of the session's progress.
    pub fn progress(&self) -> Arc<dyn Progress> {
        self.progress.clone()
    }

    /// Answers requests with a session until the kernel is shut down.
    pub fn run(self, mut repl: Repl) -> Result<()> {
        let Self { connection, transport, cell, progress } = self;
        let interrupted = repl.task().flag().clone();
        let outlet = transport.outlet.clone();
        let (work, running) = transport.start(connection, interrupted.clone())?;
        end_with_parent();
        repl.begin();
        let lines = repl.history();
        let mut answering = Answering { repl, lines, cell, progress, outlet, work, waiting: VecDeque::new(), count: 0 };
        while let Some(request) = answering.next() {
            // An interruption that came between two requests was meant for neither.
            interrupted.store(false, Ordering::Relaxed);
            if answering.answer(&request) == PromptFlow::Quit {
                break;
            }
        }
        drop(answering);
        running.finish()
    }
}

/// Ends the program when the one that started it is gone, if it asks for that as Jupyter does.
fn end_with_parent() {
    #[cfg(unix)]
    if std::env::var_os("JPY_PARENT_PID").is_some() {
        let parent = std::os::unix::process::parent_id();
        let watch = move || {
            while std::os::unix::process::parent_id() == parent {
                std::thread::sleep(Duration::from_secs(1));
            }
            crate::base::files::abandon();
            std::process::exit(0);
        };
        // Without the thread the kernel lives on until it is ended from outside.
        let _unwatched = std::thread::Builder::new().name("parent".into()).spawn(watch);
    }
}

/// The kernel while it runs.
struct Answering {
    repl: Repl,
    /// Lines of earlier sessions and cells of this one, oldest first.
    lines: Vec<String>,
    cell: Arc<Cell>,
    progress: Arc<StageProgress<CellStages>>,
    outlet: Arc<Outlet>,
    work: Receiver<Work>,
    /// Requests that came while others were looked through.
    waiting: VecDeque<Work>,
    /// Number of cells so far.
    count: usize,
}

impl Answering {
    /// Returns the next request; None at the end.
    fn next(&mut self) -> Option<Request> {
        match self.waiting.pop_front().or_else(|| self.work.recv().ok()) {
            Some(Work::Answer(request)) => Some(*request),
            Some(Work::End) | None => None,
        }
    }

    fn answer(&mut self, request: &Request) -> PromptFlow {
        self.outlet.status("busy", &request.message.header);
        let flow = self.answered(request);
        self.outlet.status("idle", &request.message.header);
        flow
    }

    fn answered(&mut self, request: &Request) -> PromptFlow {
        let kind = request.message.kind();
        let Some(reply) = request.message.reply_kind() else {
            // Channels to widgets, of which there are none.
            if kind == "comm_open" {
                let content = json!({ "comm_id": request.message.content.get("comm_id"), "data": {} });
                self.outlet.publish("comm_close", &request.message.header, &content);
            }
            return PromptFlow::Continue;
        };
        let content = match self.content(request) {
            Ok(content) => content,
            Err(error) => refusal(&error),
        };
        let has_failed = kind == "execute_request" && content["status"] == "error";
        // Those that wait by now, and not what a client sends once it knows of the failure.
        let waiting: Vec<Work> = if has_failed && request.message.setting("stop_on_error", true) {
            self.waiting.drain(..).chain(self.work.try_iter()).collect()
        } else {
            Vec::new()
        };
        self.outlet.reply(request, &reply, &content);
        self.abort(waiting);
        if kind == "shutdown_request" { PromptFlow::Quit } else { PromptFlow::Continue }
    }

    /// Returns the content of the answer.
    fn content(&mut self, request: &Request) -> Result<Value> {
        let kind = request.message.kind();
        // A client of any version may ask which one this is.
        if kind == "kernel_info_request" {
            return Ok(requests::kernel_info());
        }
        request.message.check_version()?;
        match kind {
            "execute_request" => self.execute(request),
            "complete_request" => self.complete(request),
            "inspect_request" => self.inspect(request),
            "is_complete_request" => Ok(self.is_complete(request.message.text("code")?)),
            "history_request" => Ok(self.history(request)),
            "comm_info_request" => Ok(json!({ "status": "ok", "comms": {} })),
            "shutdown_request" => Ok(json!({ "status": "ok", "restart": request.message.setting("restart", false) })),
            "interrupt_request" => Ok(json!({ "status": "ok" })),
            other => Err(err!(Name, "this kernel does not know the request {other:?}")),
        }
    }

    /// Answers cells as not run, since one before them failed, and leaves what else there is to be done.
    fn abort(&mut self, waiting: Vec<Work>) {
        for work in waiting {
            match work {
                Work::Answer(request) if request.message.kind() == "execute_request" => {
                    self.outlet.status("busy", &request.message.header);
                    let content = json!({ "status": "aborted", "execution_count": self.count });
                    self.outlet.reply(&request, "execute_reply", &content);
                    self.outlet.status("idle", &request.message.header);
                }
                other => self.waiting.push_back(other),
            }
        }
    }

    fn execute(&mut self, request: &Request) -> Result<Value> {
        let code = request.message.text("code")?.to_string();
        let is_silent = request.message.setting("silent", false);
        if !is_silent {
            self.count += 1;
        }
        self.cell.begin(request, self.count);
        self.progress.forget();
        self.progress.display().begin_cell();
        self.cell.publish("execute_input", &json!({ "code": code, "execution_count": self.count }));
        if !is_silent && request.message.setting("store_history", true) && !code.trim().is_empty() {
            self.repl.remember(&code);
            self.lines.push(code.clone());
        }
        let outcome = match self.repl.answer_cell(&code, self.count) {
            Ok(PromptFlow::Continue) => Ok(()),
            Ok(PromptFlow::Quit) => Err(err!(Argument, "a cell cannot end the session")
                .hint("shut the kernel down in the menu of the notebook")
                .into()),
            Err(failure) => Err(failure),
        };
        let mut reply = match outcome {
            Ok(()) => {
                let expressions = self.expressions(request);
                json!({ "status": "ok", "payload": [], "user_expressions": expressions })
            }
            Err(failure) => {
                let error = self.error(&failure);
                self.cell.publish("error", &error);
                failed(error)
            }
        };
        reply["execution_count"] = self.count.into();
        Ok(reply)
    }

    /// Returns a failure as clients show it: what the prompt draws, in colour.
    fn error(&self, failure: &LineFailure) -> Value {
        let drawn = obeyed(&self.repl.drawn(failure));
        json!({
            "ename": failure.kind(),
            "evalue": failure.message(),
            "traceback": drawn.trim_end().lines().collect::<Vec<_>>(),
        })
    }

    /// Evaluates what a client wants to know beside the cell; the session stays as it is.
    fn expressions(&mut self, request: &Request) -> Value {
        let wanted = request.message.content.get("user_expressions").and_then(Value::as_object);
        let mut found = Map::new();
        for (name, expression) in wanted.into_iter().flatten() {
            let code = expression.as_str().unwrap_or_default();
            let answer = match self.repl.aside(code) {
                Ok(text) => json!({ "status": "ok", "data": { "text/plain": text }, "metadata": {} }),
                Err(failure) => failed(self.error(&failure)),
            };
            found.insert(name.clone(), answer);
        }
        Value::Object(found)
    }

    fn complete(&self, request: &Request) -> Result<Value> {
        let code = request.message.text("code")?;
        let cursor = byte_at(code, request.message.number("cursor_pos"));
        let (start, candidates) = self.repl.completed(code, cursor);
        let [start, end] = [start, cursor].map(|byte| code[..byte].chars().count());
        let described = candidates.iter().map(|candidate| {
            json!({ "start": start, "end": end, "text": candidate.replacement, "type": "", "signature": candidate.shown })
        });
        Ok(json!({
            "status": "ok",
            "matches": candidates.iter().map(|candidate| &candidate.replacement).collect::<Vec<_>>(),
            "cursor_start": start,
            "cursor_end": end,
            "metadata": { "_jupyter_types_experimental": described.collect::<Vec<_>>() },
        }))
    }

    fn inspect(&self, request: &Request) -> Result<Value> {
        let code = request.message.text("code")?;
        let cursor = byte_at(code, request.message.number("cursor_pos"));
        let found = self.repl.help_at(code, cursor);
        let data = found.as_ref().map_or_else(|| json!({}), |text| json!({ "text/plain": text }));
        Ok(json!({ "status": "ok", "found": found.is_some(), "data": data, "metadata": {} }))
    }

    fn is_complete(&self, code: &str) -> Value {
        if self.repl.is_unfinished(code) {
            let open = crate::script::engine::tokens::brackets(code).map_or(0, |(open, _)| open.max(0));
            return json!({ "status": "incomplete", "indent": " ".repeat(4 * open as usize) });
        }
        json!({ "status": if self.repl.is_valid(code) { "complete" } else { "invalid" } })
    }

    /// Returns lines of this session and of those before: the last ones, a range, or those like a pattern.
    fn history(&self, request: &Request) -> Value {
        let message = &request.message;
        let text = |name: &str| message.content.get(name).and_then(Value::as_str).unwrap_or_default();
        let count = message.number("n").unwrap_or(self.lines.len());
        let mut found: Vec<(usize, &String)> =
            self.lines.iter().enumerate().map(|(index, line)| (index + 1, line)).collect();
        match text("hist_access_type") {
            "range" => {
                let [start, stop] = ["start", "stop"].map(|name| message.number(name));
                found.retain(|(number, _)| *number >= start.unwrap_or(0) && stop.is_none_or(|stop| *number < stop));
            }
            "search" => {
                found.retain(|(_, line)| is_like(text("pattern"), line));
                if message.setting("unique", false) {
                    let last: BTreeMap<&String, usize> = found.iter().map(|(number, line)| (*line, *number)).collect();
                    found.retain(|(number, line)| last.get(line) == Some(number));
                }
                found.drain(..found.len().saturating_sub(count));
            }
            _ => drop(found.drain(..found.len().saturating_sub(count))),
        }
        let has_output = message.setting("output", false);
        let entry = |(number, line): (usize, &String)| {
            if has_output { json!([0, number, [line, null]]) } else { json!([0, number, line]) }
        };
        json!({ "status": "ok", "history": found.into_iter().map(entry).collect::<Vec<_>>() })
    }
}

/// Returns the answer to what has failed with this error.
fn failed(mut error: Value) -> Value {
    error["status"] = "error".into();
    error
}

/// Returns the byte of a cursor that is counted in characters; without one the end.
fn byte_at(code: &str, characters: Option<usize>) -> usize {
    let byte = characters.and_then(|characters| code.char_indices().nth(characters));
    byte.map_or(code.len(), |(byte, _)| byte)
}

/// Returns whether a line is like a pattern, in which `*` stands for any text and `?` for one character.
fn is_like(pattern: &str, line: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let line: Vec<char> = line.chars().collect();
    // The last star, and where what it stands for ends so far.
    let mut star = None;
    let mut p = 0;
    let mut l = 0;
    while l < line.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, l));
                p += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == line[l] => {
                p += 1;
                l += 1;
            }
            _ => {
                let Some((at, end)) = star else { return false };
                star = Some((at, end + 1));
                (p, l) = (at + 1, end + 1);
            }
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_lines() {
        assert!(is_like("*", "") && is_like("a*c", "abbc") && is_like("a?c", "abc") && is_like("*b*", "abc"));
        assert!(is_like("a*b*c", "a1b2b3c") && is_like("*ü", "aü"));
        assert!(!is_like("a*c", "abd") && !is_like("", "a") && !is_like("a?", "a") && !is_like("a", "ab"));
    }

    #[test]
    fn cursors_are_counted_in_characters() {
        assert_eq!([Some(0), Some(1), Some(2), Some(9), None].map(|at| byte_at("éa", at)), [0, 2, 3, 3, 3]);
    }
}
