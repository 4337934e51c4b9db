//! An answer as it is sent: lines of JSON, each at once. Whoever stops listening cancels it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::reply;
use crate::base::{Error, Kind, Result};

/// A line, and whether it says that there is no answer.
struct AnswerLine {
    text: Bytes,
    is_failure: bool,
}

/// Sender of the lines of an answer.
#[derive(Clone)]
pub struct AnswerSender(UnboundedSender<AnswerLine>);

/// Receiver of the lines of an answer. What is not heard need not be computed.
pub struct AnswerReceiver {
    lines: UnboundedReceiver<AnswerLine>,
    flag: Arc<AtomicBool>,
    first: Option<Bytes>,
}

/// Makes both ends of an answer, which is cancelled by this flag.
pub fn channel(flag: &Arc<AtomicBool>) -> (AnswerSender, AnswerReceiver) {
    let (sender, lines) = unbounded_channel();
    (AnswerSender(sender), AnswerReceiver { lines, flag: flag.clone(), first: None })
}

impl AnswerSender {
    pub fn say(&self, line: &Value) {
        self.send(line, false);
    }

    /// Sends the last line: the answer, or why there is none.
    pub fn end(&self, outcome: Result<Value>) {
        let is_failure = outcome.as_ref().is_err_and(|error| error.kind != Kind::Interrupted);
        self.send(&reply::last(outcome), is_failure);
    }

    fn send(&self, line: &Value, is_failure: bool) {
        // Nobody may be listening any more.
        let _unheard = self.0.send(AnswerLine { text: Bytes::from(format!("{line}\n")), is_failure });
    }
}

/// Returns the response to an error that came before any line.
pub fn refusal(error: &Error) -> Response {
    let kind = [(CONTENT_TYPE, "application/json")];
    (StatusCode::BAD_REQUEST, kind, format!("{}\n", reply::failure(error))).into_response()
}

impl AnswerReceiver {
    /// Returns the response, which begins with the first line: its status says whether that is a failure.
    pub async fn response(mut self) -> Response {
        let first = self.lines.recv().await;
        let status = match &first {
            Some(line) if line.is_failure => StatusCode::BAD_REQUEST,
            _ => StatusCode::OK,
        };
        self.first = first.map(|line| line.text);
        (status, [(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(self)).into_response()
    }
}

impl Stream for AnswerReceiver {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.lines.poll_recv(context).map(|line| line.map(|line| Ok(line.text)))
    }
}

impl Drop for AnswerReceiver {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::Relaxed);
    }
}
