//! Routes: the answer to each address.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::Value;

use super::answer_stream::{self, AnswerReceiver, AnswerSender};
use super::answers::{self, ASKS, Question};
use super::gate::{self, Gate};
use super::slots::{Slot, SlotQuestion, Slots};
use super::state::Explorer;
use super::{page, reply};
use crate::base::Result;
use crate::base::task::spawned;
use crate::err;

/// State that all connections share.
pub struct Service {
    pub(super) explorer: Arc<Explorer>,
    pub(super) slots: Arc<Slots>,
}

/// Name of the page and the slot that ask.
#[derive(Deserialize)]
struct Asker {
    page: String,
    slot: String,
}

impl Service {
    pub fn new(explorer: Explorer) -> Self {
        Self { explorer: Arc::new(explorer), slots: Arc::default() }
    }

    /// Cancels all that is computing.
    pub fn stop(&self) {
        self.slots.cancel();
    }

    /// Begins to answer, on a thread of its own.
    fn ask(&self, ask: &str, body: &[u8]) -> Result<AnswerReceiver> {
        let fields = answers::fields(body)?;
        let Asker { page, slot } = Asker::deserialize(&fields)
            .map_err(|e| err!(Format, "expected a question with a `page` and a `slot`, found another one: {e}"))?;
        let question = Question::parse(ask, fields)?;
        let turn = self.slots.take(Slot::new(page, slot)?)?;
        let (speaker, listener) = answer_stream::channel(turn.flag());
        let explorer = self.explorer.clone();
        spawned("answer", move || work(&explorer, question, &turn, &speaker))?;
        Ok(listener)
    }
}

/// Answers a question when its turn has come.
fn work(explorer: &Arc<Explorer>, question: Question, turn: &SlotQuestion, speaker: &AnswerSender) {
    let sender = speaker.clone();
    let carrier: reply::Carrier = Arc::new(move |line: &Value| sender.say(line));
    let _computing = turn.begin();
    let answer = || reply::answer(explorer, question, &carrier, turn.flag());
    let answered = std::panic::catch_unwind(AssertUnwindSafe(answer));
    speaker.end(answered.unwrap_or_else(|_| {
        Err(err!(Bug, "internal error: the terminal of the explorer shows where")
            .hint("this is a mistake in microtome; please report it with the question that shows it"))
    }));
}

/// Builds the router of all addresses, behind the gate.
pub fn router(gate: Gate, service: Arc<Service>) -> Router {
    Router::new()
        .route("/{token}/", get(async || ([(CONTENT_TYPE, "text/html; charset=utf-8")], page::INDEX)))
        .route("/{token}/page/{name}", get(file))
        .route("/{token}/start", get(start))
        .route("/{token}/{ask}", post(asked))
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(service)
        .layer(from_fn_with_state(gate, gate::watch))
}

async fn file(Path((_, name)): Path<(String, String)>) -> Response {
    match page::files().iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => ([(CONTENT_TYPE, *kind)], content.as_str()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn start(State(service): State<Arc<Service>>) -> Response {
    ([(CONTENT_TYPE, "application/json")], service.explorer.start().to_string()).into_response()
}

async fn asked(
    State(service): State<Arc<Service>>,
    Path((_, ask)): Path<(String, String)>,
    request: Request,
) -> Response {
    if !ASKS.contains(&ask.as_str()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let body = match gate::body(request.into_body()).await {
        Ok(body) => body,
        Err(status) => return status.into_response(),
    };
    match service.ask(&ask, &body) {
        Ok(listener) => listener.response().await,
        Err(error) => answer_stream::refusal(&error),
    }
}
