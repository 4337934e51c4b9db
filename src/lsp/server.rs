//! The server: it takes one message after the other, answers requests from the texts as they are in the editor, and
//! checks a text once no message is waiting, so that of several changes the last one is checked.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::TryRecvError;

use lsp_server::{ErrorCode, Message, Notification, Request, Response, ResponseError};
use lsp_types::{
    DidChangeTextDocumentParams, DidOpenTextDocumentParams, PublishDiagnosticsParams, Range, ReferenceContext,
    TextDocumentIdentifier, TextDocumentPositionParams, TextEdit, Uri,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::diagnostics::{self, MOST_BYTES, Mistake};
use super::documents::Documents;
use super::scene::StandIns;
use super::view::View;
use super::{calls, capabilities, completion, hover, navigation, shapes, transport};
use crate::base::{Error, Result};
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

/// Answers a client on standard input and output until it is gone. An error says which of its messages was none.
pub fn serve(env: Env) -> Result<Ending> {
    let mut server = Server::new(env);
    let messages = transport::messages()?;
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
        Self::new(ErrorCode::RequestFailed, format!("{}{hint}", error.message))
    }
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
    fn take(&mut self, message: Message) -> Option<Ending> {
        match message {
            Message::Request(request) => {
                let response = self.response(request);
                self.send(&response.into());
            }
            Message::Notification(note) if note.method == "exit" => return Some(self.left()),
            Message::Notification(note) if self.phase == Phase::Answering => self.note(note),
            // Nothing was asked of the client, and nothing is told before it has begun.
            Message::Notification(_) | Message::Response(_) => {}
        }
        if self.is_heard { None } else { Some(self.left()) }
    }

    fn response(&mut self, request: Request) -> Response {
        let Request { id, method, params } = request;
        let answer = match (self.phase, method.as_str()) {
            (Phase::Greeting, "initialize") => {
                self.phase = Phase::Answering;
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
            (Phase::Answering, method) => self.guarded_answer(method, params),
        };
        let response_result =
            answer.map_err(|refusal| ResponseError { code: refusal.code as i32, message: refusal.message, data: None });
        Response { id, response_result }
    }

    fn guarded_answer(&mut self, method: &str, params: Value) -> Answer {
        guarded(|| self.answer(method, params)).unwrap_or_else(|failure| {
            self.begin_anew();
            Err(Refusal::new(ErrorCode::InternalError, failure.message))
        })
    }

    /// Makes the sessions anew, which a panic may have left in the middle of something.
    fn begin_anew(&mut self) {
        self.session.reset();
        self.reader.reset();
    }

    fn answer(&mut self, method: &str, params: Value) -> Answer {
        match method {
            "textDocument/completion" => self.at(params, |view, byte| written(completion::complete(view, byte))),
            "textDocument/hover" => self.at(params, |view, byte| written(hover::hover(view, byte))),
            "textDocument/signatureHelp" => self.at(params, |view, byte| written(calls::signatures(view, byte))),
            "textDocument/definition" => self.at(params, |view, byte| written(navigation::definition(view, byte))),
            "textDocument/references" => {
                let OfUses { at, context } = parsed(params)?;
                self.viewed(&at.text_document.uri, |view| {
                    let byte = view.lines.byte(at.position);
                    written(navigation::references(view, byte, context.include_declaration))
                })
            }
            "textDocument/prepareRename" => self.at(params, |view, byte| {
                let (token, name) = navigation::renamable(view, byte)?;
                Ok(json!({ "range": view.range(token), "placeholder": name }))
            }),
            "textDocument/rename" => {
                let OfName { at, new_name } = parsed(params)?;
                self.viewed(&at.text_document.uri, |view| {
                    let edits = navigation::renamed(view, view.lines.byte(at.position), &new_name)?;
                    Ok(json!({ "changes": { view.document.uri.as_str(): edits } }))
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
        let document = self.documents.get(uri).ok_or_else(|| {
            Refusal::new(ErrorCode::InvalidParams, format!("expected a text that is open, found {}", uri.as_str()))
        })?;
        if document.text.len() > MOST_BYTES {
            return Ok(Value::Null);
        }
        look(&View::new(&self.session, document, &self.stand_ins))
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
            // Made now, the reference is there for the first key.
            "initialized" => drop(self.session.docs()),
            "textDocument/didOpen" => {
                if let Some(DidOpenTextDocumentParams { text_document }) = heard(&method, params) {
                    self.documents.open(text_document);
                }
            }
            "textDocument/didChange" => {
                if let Some(DidChangeTextDocumentParams { text_document, content_changes }) = heard(&method, params) {
                    self.documents.change(&text_document.uri, text_document.version, content_changes);
                }
            }
            "textDocument/didClose" => {
                if let Some(OfText { text_document }) = heard(&method, params) {
                    self.documents.close(&text_document.uri);
                    self.mistakes.remove(text_document.uri.as_str());
                    self.publish(PublishDiagnosticsParams::new(text_document.uri, Vec::new(), None));
                }
            }
            // A file that others import may have changed.
            "textDocument/didSave" | "workspace/didChangeWatchedFiles" => self.documents.doubt_all(),
            _ => {}
        }
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
            to_stderr(&format!("microtome lsp: {method}: {}\n", refusal.message));
            None
        }
    }
}
