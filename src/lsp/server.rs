//! The server: it takes one message after the other, answers requests from the texts as they are in the editor, and
//! checks a text once no message is waiting, so that of several changes the last one is checked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::TryRecvError;

use lsp_server::{ErrorCode, Message, Notification, Request, RequestId, Response, ResponseError};
use lsp_types::{
    DidChangeTextDocumentParams, DidOpenTextDocumentParams, MessageType, PublishDiagnosticsParams, Range,
    ReferenceContext, ShowMessageParams, TextDocumentIdentifier, TextDocumentPositionParams, TextEdit, Uri,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::capabilities::{self, Client};
use super::diagnostics::{self, MOST_BYTES, Mistake};
use super::documents::Documents;
use super::project::Project;
use super::scene::StandIns;
use super::transport::{self, CANCEL, Cancelled, Received};
use super::view::View;
use super::{calls, completion, hover, navigation, shapes};
use crate::base::Kind;
use crate::common::*;
use crate::script::Session;
use crate::script::engine::console::to_stderr;
use crate::script::engine::env::Env;
use crate::script::engine::failure::Failure;
use crate::script::engine::panics;

/// The way in which a client left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// An end that was announced, as the protocol has it.
    Announced,
    Sudden,
}

/// Answers a client on standard input and output until it is gone. An error says which of its headers was none.
pub fn serve(env: Env) -> Result<Ending> {
    let mut server = Server::new(env);
    let messages = transport::messages(server.cancelled.clone())?;
    loop {
        let message = match messages.try_recv() {
            Err(TryRecvError::Empty) if server.check_next() => continue,
            Err(TryRecvError::Empty) => messages.recv().ok(),
            other => other.ok(),
        };
        let Some(message) = message else { return Ok(server.left()) };
        if let Some(ending) = server.take(message?) {
            return Ok(ending);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No request has come yet that says what the client can do.
    Greeting,
    Answering,
    /// The client has announced that it leaves.
    Leaving,
}

/// A request that is not answered, and why.
struct Refusal {
    code: ErrorCode,
    message: String,
}

type Answer = std::result::Result<Value, Refusal>;

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let hint = error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        let is_ended = error.kind == Kind::Interrupted;
        let code = if is_ended { ErrorCode::RequestCanceled } else { ErrorCode::RequestFailed };
        Self::new(code, format!("{}{hint}", error.message))
    }
}

/// Refuses a request that nobody waits for.
fn expect_wanted(cancelled: &Cancelled, id: &RequestId) -> Result<()> {
    if cancelled.has(id) { Err(Error::interrupted()) } else { Ok(()) }
}

fn not_open(uri: &Uri) -> Refusal {
    Refusal::new(ErrorCode::InvalidParams, format!("expected a text that is open, found {}", uri.as_str()))
}

/// A request about a text as a whole.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfText {
    text_document: TextDocumentIdentifier,
}

/// A request about a part of a text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfPart {
    text_document: TextDocumentIdentifier,
    range: Range,
}

/// A request for the uses of a name.
#[derive(Deserialize)]
struct OfUses {
    #[serde(flatten)]
    at: TextDocumentPositionParams,
    context: ReferenceContext,
}

/// A request for another name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfName {
    #[serde(flatten)]
    at: TextDocumentPositionParams,
    new_name: String,
}

fn parsed<T: DeserializeOwned>(params: Value) -> std::result::Result<T, Refusal> {
    serde_json::from_value(params)
        .map_err(|e| Refusal::new(ErrorCode::InvalidParams, format!("the parameters are not those of the method: {e}")))
}

fn written(answer: impl Serialize) -> Answer {
    serde_json::to_value(answer).map_err(|e| Refusal::new(ErrorCode::InternalError, e.to_string()))
}

/// Runs work whose panics are mistakes of this program: the server lives on.
fn guarded<T>(work: impl FnOnce() -> T) -> std::result::Result<T, Failure> {
    panics::watch(|| catch_unwind(AssertUnwindSafe(work)))
}

struct Server {
    session: Session,
    /// A session that reads texts whatever their names mean, for their format.
    reader: Session,
    stand_ins: StandIns,
    documents: Documents,
    /// The mistakes of each text when it was checked last, by its URI.
    mistakes: BTreeMap<String, Vec<Mistake>>,
    phase: Phase,
    client: Client,
    cancelled: Cancelled,
    /// Whether the client still takes messages.
    is_heard: bool,
}

impl Server {
    fn new(env: Env) -> Self {
        Self {
            session: Session::new(env.clone()),
            reader: Session::for_reading(env),
            stand_ins: StandIns::default(),
            documents: Documents::default(),
            mistakes: BTreeMap::new(),
            phase: Phase::Greeting,
            client: Client::default(),
            cancelled: Cancelled::default(),
            is_heard: true,
        }
    }

    /// Returns how a client left that is gone.
    fn left(&self) -> Ending {
        if self.phase == Phase::Leaving { Ending::Announced } else { Ending::Sudden }
    }

    fn send(&mut self, message: &Message) {
        self.is_heard = transport::send(message) && self.is_heard;
    }

    /// Takes a message; returns how the client left if it was the last one.
    fn take(&mut self, received: Received) -> Option<Ending> {
        let misfit = match received {
            Ok(message) => return self.take_message(message),
            Err(misfit) => misfit,
        };
        match misfit.answer() {
            Some(is_heard) => self.is_heard = is_heard && self.is_heard,
            None => to_stderr(&format!("microtome lsp: {}\n", misfit.message)),
        }
        if self.is_heard { None } else { Some(self.left()) }
    }

    fn take_message(&mut self, message: Message) -> Option<Ending> {
        match message {
            Message::Request(request) => {
                let response = self.response(request);
                self.send(&response.into());
            }
            Message::Notification(note) if note.method == "exit" => return Some(self.left()),
            Message::Notification(note) if note.method == CANCEL => self.cancelled.forget(&note),
            Message::Notification(note) if self.phase == Phase::Answering => self.note(note),
            // The client was asked to watch files: without it, what is saved in the editor is noticed all the same.
            Message::Response(Response { id, response_result: Err(error) }) => {
                to_stderr(&format!("microtome lsp: the client refused {id}: {}\n", error.message));
            }
            // Nothing is told before the client has begun.
            Message::Notification(_) | Message::Response(_) => {}
        }
        if self.is_heard { None } else { Some(self.left()) }
    }

    fn response(&mut self, request: Request) -> Response {
        let Request { id, method, params } = request;
        let answer = match (self.phase, method.as_str()) {
            (Phase::Greeting, "initialize") => {
                self.phase = Phase::Answering;
                self.client = Client::of(&params);
                written(capabilities::initialized())
            }
            (Phase::Greeting, _) => {
                Err(Refusal::new(ErrorCode::ServerNotInitialized, "expected the request `initialize` first"))
            }
            (Phase::Answering, "shutdown") => {
                self.phase = Phase::Leaving;
                Ok(Value::Null)
            }
            (Phase::Answering, "initialize") | (Phase::Leaving, _) => {
                let message = format!("expected no request `{method}` at this time");
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            }
            (Phase::Answering, method) => {
                let cancelled = self.cancelled.clone();
                let check = || expect_wanted(&cancelled, &id);
                check().map_err(Refusal::from).and_then(|()| self.guarded_answer(method, params, &check))
            }
        };
        let response_result =
            answer.map_err(|refusal| ResponseError { code: refusal.code as i32, message: refusal.message, data: None });
        Response { id, response_result }
    }

    fn guarded_answer(&mut self, method: &str, params: Value, check: &dyn Fn() -> Result<()>) -> Answer {
        guarded(|| self.answer(method, params, check)).unwrap_or_else(|failure| {
            self.begin_anew();
            Err(Refusal::new(ErrorCode::InternalError, failure.message))
        })
    }

    /// Makes the sessions anew, which a panic may have left in the middle of something.
    fn begin_anew(&mut self) {
        self.session.reset();
        self.reader.reset();
    }

    /// Answers a request; `check` fails when nobody waits for it any more.
    fn answer(&mut self, method: &str, params: Value, check: &dyn Fn() -> Result<()>) -> Answer {
        match method {
            "textDocument/completion" => {
                self.at(params, |view, byte| written(completion::complete(view, byte, check)?))
            }
            "textDocument/hover" => self.at(params, |view, byte| written(hover::hover(view, byte))),
            "textDocument/signatureHelp" => self.at(params, |view, byte| written(calls::signatures(view, byte))),
            "textDocument/definition" => self.at(params, |view, byte| written(navigation::definition(view, byte))),
            "textDocument/references" => {
                let OfUses { at, context } = parsed(params)?;
                let mut left_out = Vec::new();
                let answer = self.viewed(&at.text_document.uri, |view| {
                    let byte = view.lines.byte(at.position);
                    let with_definition = context.include_declaration;
                    let found = navigation::references(view, byte, with_definition, &self.project(check))?;
                    left_out = found.left_out;
                    written(found.places)
                });
                left_out.into_iter().for_each(|why| self.warn(&format!("{why}: not all uses are listed")));
                answer
            }
            "textDocument/prepareRename" => self.at(params, |view, byte| {
                let (token, name) = navigation::renamable(view, byte)?;
                Ok(json!({ "range": view.range(token), "placeholder": name }))
            }),
            "textDocument/rename" => {
                let OfName { at, new_name } = parsed(params)?;
                self.viewed(&at.text_document.uri, |view| {
                    let byte = view.lines.byte(at.position);
                    let changed = navigation::renamed(view, byte, &new_name, &self.project(check))?;
                    Ok(self.client.edit(&changed))
                })
            }
            "textDocument/documentSymbol" => {
                let OfText { text_document } = parsed(params)?;
                self.viewed(&text_document.uri, |view| written(navigation::outline(view)))
            }
            "textDocument/formatting" => {
                let OfText { text_document } = parsed(params)?;
                self.viewed(&text_document.uri, |view| written(self.formatted(view)))
            }
            "textDocument/codeAction" => {
                let OfPart { text_document, range } = parsed(params)?;
                self.check_if_changed(&text_document.uri);
                let mistakes = self.mistakes.get(text_document.uri.as_str()).map(Vec::as_slice).unwrap_or_default();
                self.viewed(&text_document.uri, |view| {
                    Ok(Value::from(diagnostics::actions(view.document, &view.lines, mistakes, range)))
                })
            }
            "textDocument/inlayHint" => {
                let OfPart { text_document, range } = parsed(params)?;
                self.viewed(&text_document.uri, |view| written(shapes::known(view, range)))
            }
            _ => Err(Refusal::new(ErrorCode::MethodNotFound, format!("this server has no method `{method}`"))),
        }
    }

    /// Answers a request about a position.
    fn at(&self, params: Value, look: impl FnOnce(&View, usize) -> Answer) -> Answer {
        let TextDocumentPositionParams { text_document, position } = parsed(params)?;
        self.viewed(&text_document.uri, |view| look(view, view.lines.byte(position)))
    }

    /// Answers a request about an open text; of one that is too long nothing is said.
    fn viewed(&self, uri: &Uri, look: impl FnOnce(&View) -> Answer) -> Answer {
        let document = self.documents.get(uri).ok_or_else(|| not_open(uri))?;
        if document.text.len() > MOST_BYTES {
            return Ok(Value::Null);
        }
        look(&View::new(&self.session, document, &self.stand_ins))
    }

    /// Returns the project around the open texts.
    fn project<'a>(&'a self, check: &'a dyn Fn() -> Result<()>) -> Project<'a> {
        Project { session: &self.session, documents: &self.documents, folders: &self.client.folders, check }
    }

    /// Returns the change that formats a text; none where it is formatted, or is no script.
    fn formatted(&self, view: &View) -> Vec<TextEdit> {
        self.reader.forget_texts();
        let Ok(new) = self.reader.formatted(&view.document.name, view.text()) else { return Vec::new() };
        // Line ends stay as they are.
        let has_returns = view.text().contains("\r\n");
        let new = if has_returns { new.replace("\r\n", "\n").replace('\n', "\r\n") } else { new };
        if new == view.text() { Vec::new() } else { vec![TextEdit::new(view.lines.whole(), new)] }
    }

    /// Hears what happens to texts in the editor. What is none of these is passed over, as the protocol has it.
    fn note(&mut self, note: Notification) {
        let Notification { method, params } = note;
        match method.as_str() {
            "initialized" => {
                if let Some(request) = self.client.watching() {
                    self.send(&request.into());
                }
                // Made now, the reference is there for the first key.
                drop(self.session.docs());
            }
            "textDocument/didOpen" => {
                if let Some(DidOpenTextDocumentParams { text_document }) = heard(&method, params) {
                    self.documents.open(text_document);
                }
            }
            "textDocument/didChange" => {
                if let Some(DidChangeTextDocumentParams { text_document, content_changes }) = heard(&method, params) {
                    let uri = text_document.uri;
                    if !self.documents.change(&uri, text_document.version, content_changes) {
                        complain(&method, &not_open(&uri));
                    }
                }
            }
            "textDocument/didClose" => {
                if let Some(OfText { text_document }) = heard(&method, params) {
                    match self.documents.close(&text_document.uri) {
                        Some(closed) => self.session.forget_imports(&closed.name),
                        None => complain(&method, &not_open(&text_document.uri)),
                    }
                    self.mistakes.remove(text_document.uri.as_str());
                    self.publish(PublishDiagnosticsParams::new(text_document.uri, Vec::new(), None));
                }
            }
            // A file that others import may have changed.
            "textDocument/didSave" | "workspace/didChangeWatchedFiles" => self.documents.doubt_all(),
            _ => {}
        }
    }

    /// Tells whoever writes about an answer that is not whole.
    fn warn(&mut self, message: &str) {
        let params = ShowMessageParams { typ: MessageType::WARNING, message: message.into() };
        self.send(&Notification::new("window/showMessage".into(), params).into());
    }

    fn publish(&mut self, mistakes: PublishDiagnosticsParams) {
        let method = "textDocument/publishDiagnostics".to_string();
        self.send(&Notification::new(method, mistakes).into());
    }

    /// Checks a text that was changed since it was checked last; returns whether there was one.
    fn check_next(&mut self) -> bool {
        let Some(uri) = self.documents.next_unchecked() else { return false };
        self.check(&uri);
        true
    }

    fn check_if_changed(&mut self, uri: &Uri) {
        if self.documents.get(uri).is_some_and(|document| document.is_unchecked) {
            self.documents.settle(uri);
            self.check(uri);
        }
    }

    fn check(&mut self, uri: &Uri) {
        let Some(document) = self.documents.get(uri) else { return };
        let version = document.version;
        let mistakes = match guarded(|| diagnostics::of(&self.session, document)) {
            Ok(mistakes) => mistakes,
            Err(failure) => {
                to_stderr(&format!("microtome lsp: {}\n", failure.message));
                self.begin_anew();
                Vec::new()
            }
        };
        let shown = mistakes.iter().map(|mistake| mistake.diagnostic.clone()).collect();
        self.mistakes.insert(uri.as_str().to_string(), mistakes);
        self.publish(PublishDiagnosticsParams::new(uri.clone(), shown, Some(version)));
    }
}

/// Returns what a notification says; one that cannot be read has no answer, so standard error tells of it.
fn heard<T: DeserializeOwned>(method: &str, params: Value) -> Option<T> {
    match parsed(params) {
        Ok(said) => Some(said),
        Err(refusal) => {
            complain(method, &refusal);
            None
        }
    }
}

fn complain(method: &str, refusal: &Refusal) {
    to_stderr(&format!("microtome lsp: {method}: {}\n", refusal.message));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_nobody_waits_for_is_not_begun() {
        let mut server = Server::new(Env::in_memory(Path::new("out")).unwrap());
        let ask = |server: &mut Server, id: i32, method: &str| {
            let params = json!({ "textDocument": { "uri": "file:///a" }, "position": { "line": 0, "character": 0 } });
            let response = server.response(Request { id: id.into(), method: method.into(), params });
            response.response_result.map_err(|error| error.code)
        };
        assert!(ask(&mut server, 1, "initialize").is_ok());
        let cancel = Notification::new(CANCEL.into(), json!({ "id": 2 }));
        server.cancelled.hear(&cancel);
        assert_eq!(ask(&mut server, 2, "textDocument/hover"), Err(ErrorCode::RequestCanceled as i32));
        assert_eq!(ask(&mut server, 3, "textDocument/hover"), Err(ErrorCode::InvalidParams as i32));
        // Its turn is over, and another request may have its number.
        assert_eq!(server.take_message(cancel.into()), None);
        assert_eq!(ask(&mut server, 2, "textDocument/hover"), Err(ErrorCode::InvalidParams as i32));
    }
}
