//! An answer on its way from the thread that computes it: one value, or frames of server-sent events. Whoever stops
//! listening cancels it.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel as bounded};

use super::refusal::{Answered, Refusal, as_json};
use super::requests::KeyCase;
use crate::common::*;

/// A part of an answer.
enum Part {
    Frame(Bytes),
    Whole(Value),
    Refused(Refusal),
}

/// Number of frames that wait for a client that reads slowly.
const WAITING: usize = 64;

/// Number of places behind these: for the last frame and the end.
const LAST: usize = 2;

/// Sender of an answer, frame by frame where it is streamed. Each frame has all that was written so far, so those that
/// come while a client lags behind are left out, but for the last one.
pub struct Frames {
    parts: Sender<Part>,
    left_out: RefCell<Option<Bytes>>,
    keys: KeyCase,
}

/// Receiver of an answer. What nobody hears need not be computed.
pub struct Reply {
    parts: Receiver<Part>,
    flag: Arc<AtomicBool>,
    first: Option<Bytes>,
}

/// Makes both ends of an answer with keys of this case, which this flag cancels.
pub fn channel(flag: &Arc<AtomicBool>, keys: KeyCase) -> (Frames, Reply) {
    let (sender, parts) = bounded(WAITING + LAST);
    let frames = Frames { parts: sender, left_out: RefCell::default(), keys };
    (frames, Reply { parts, flag: flag.clone(), first: None })
}

impl Frames {
    /// Sends the answer so far.
    pub fn say(&self, value: Value) {
        let frame = Bytes::from(format!("data: {}\n\n", self.keys.written(value)));
        if self.parts.capacity() > LAST {
            self.left_out.take();
            self.send(Part::Frame(frame));
        } else {
            self.left_out.replace(Some(frame));
        }
    }

    /// Sends what is left: the whole answer, or why there is none.
    pub fn end(&self, answered: Answered) {
        if let Some(frame) = self.left_out.take() {
            self.send(Part::Frame(frame));
        }
        match answered {
            Ok(Some(value)) => self.send(Part::Whole(self.keys.written(value))),
            Ok(None) => {}
            Err(refusal) => self.send(Part::Refused(refusal)),
        }
    }

    fn send(&self, part: Part) {
        // Nobody may be listening any more.
        let _unheard = self.parts.try_send(part);
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
