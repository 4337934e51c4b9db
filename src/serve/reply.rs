//! An answer on its way from the thread that computes it: one value, or frames of server-sent events. Whoever stops
//! listening cancels it.

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

use super::refusal::{Answered, Refusal, as_json};
use crate::base::Error;
use crate::err;

/// A part of an answer.
enum Part {
    Frame(Bytes),
    Whole(Value),
    Refused(Refusal),
}

/// Sender of an answer, frame by frame where it is streamed.
pub struct Frames(UnboundedSender<Part>);

/// Receiver of an answer. What nobody hears need not be computed.
pub struct Reply {
    parts: UnboundedReceiver<Part>,
    flag: Arc<AtomicBool>,
    first: Option<Bytes>,
}

/// Makes both ends of an answer, which this flag cancels.
pub fn channel(flag: &Arc<AtomicBool>) -> (Frames, Reply) {
    let (sender, parts) = unbounded_channel();
    (Frames(sender), Reply { parts, flag: flag.clone(), first: None })
}

impl Frames {
    /// Sends the answer so far.
    pub fn say(&self, value: &Value) {
        self.send(Part::Frame(Bytes::from(format!("data: {value}\n\n"))));
    }

    /// Sends what is left: the whole answer, or why there is none.
    pub fn end(&self, answered: Answered) {
        match answered {
            Ok(Some(value)) => self.send(Part::Whole(value)),
            Ok(None) => {}
            Err(refusal) => self.send(Part::Refused(refusal)),
        }
    }

    fn send(&self, part: Part) {
        // Nobody may be listening any more.
        let _unheard = self.0.send(part);
    }
}

impl Reply {
    /// Returns the response, whose status and form follow from the first part.
    pub async fn response(mut self) -> Response {
        match self.parts.recv().await {
            Some(Part::Whole(value)) => as_json(StatusCode::OK, &value),
            Some(Part::Refused(refusal)) => refusal.into_response(),
            Some(Part::Frame(frame)) => {
                self.first = Some(frame);
                ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(self)).into_response()
            }
            None => Refusal::from(err!(Bug, "the request was not answered")).into_response(),
        }
    }
}

/// The frames. An error breaks the connection off, so that a cut answer does not pass for a whole one.
impl Stream for Reply {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.parts.poll_recv(context).map(|part| match part {
            Some(Part::Frame(frame)) => Some(Ok(frame)),
            Some(Part::Refused(Refusal::Request(error))) => Some(Err(error)),
            Some(Part::Refused(Refusal::Form { message, .. })) => Some(Err(err!(Bug, "{message}"))),
            Some(Part::Whole(_)) | None => None,
        })
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::Relaxed);
    }
}
