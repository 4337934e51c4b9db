//! The calls of all clients in their order, for a person who looks at what agents do.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rmcp::model::JsonObject;

use super::reply::Reply;
use super::results::CallResult;
use super::sessions::MAIN;
use crate::base::locked;

/// Number of calls that are kept.
const MOST: usize = 1_000;

/// Characters of what was asked.
const LONGEST: usize = 200;

/// A call that was answered.
#[derive(Clone)]
pub struct LoggedCall {
    /// Number of the call among those of all sessions.
    pub id: u64,
    pub tool: String,
    pub session: String,
    /// The question in a line; nothing where the result says it.
    pub words: String,
    /// Whether it was typed into the page, and not asked by an agent.
    pub by_person: bool,
    pub is_error: bool,
    pub took: Duration,
    /// The number of the result, among those of its session, of a call that ran a script. The session bounds what is kept.
    pub result: Option<usize>,
}

impl LoggedCall {
    /// Describes a call of an agent before it is answered.
    pub fn of_agent(tool: &str, arguments: &JsonObject) -> Self {
        let word = |name: &str| arguments.get(name).and_then(|value| value.as_str());
        // Help is of no session.
        let session = if tool == "help" { "" } else { word("session").unwrap_or(MAIN) };
        let words = word("query").unwrap_or_default().chars().take(LONGEST).collect();
        Self {
            id: 0,
            tool: tool.into(),
            session: session.into(),
            words,
            by_person: false,
            is_error: false,
            took: Duration::ZERO,
            result: None,
        }
    }

    /// Describes what a person ran.
    pub fn of_person(session: &str, result: &CallResult) -> Self {
        Self {
            id: 0,
            tool: "run".into(),
            session: session.into(),
            words: String::new(),
            by_person: true,
            is_error: result.error.is_some(),
            took: result.took,
            result: Some(result.number),
        }
    }

    /// Returns the call as it was answered.
    fn answered(self, reply: &Reply, took: Duration) -> Self {
        Self { is_error: reply.is_error(), result: reply.number(), took, ..self }
    }
}

/// A call that is being answered. One that is dropped before was given up by its client, and is in the list, too.
pub struct PendingCall<'a> {
    log: &'a CallLog,
    call: Option<LoggedCall>,
    begun: Instant,
}

impl PendingCall<'_> {
    /// Adds the call to the list as it was answered.
    pub fn answer(mut self, reply: &Reply) {
        if let Some(call) = self.call.take() {
            self.log.add(call.answered(reply, self.begun.elapsed()));
        }
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            let words = "given up by its client".into();
            self.log.add(LoggedCall { words, is_error: true, took: self.begun.elapsed(), ..call });
        }
    }
}

/// The calls that were answered, the newest last.
#[derive(Default)]
pub struct CallLog(Mutex<VecDeque<LoggedCall>>);

impl CallLog {
    fn held(&self) -> MutexGuard<'_, VecDeque<LoggedCall>> {
        locked(&self.0)
    }

    /// Begins to answer a call.
    pub fn begin(&self, call: LoggedCall) -> PendingCall<'_> {
        PendingCall { log: self, call: Some(call), begun: Instant::now() }
    }

    /// Adds a call, and gives it its number.
    pub fn add(&self, call: LoggedCall) {
        let mut calls = self.held();
        let id = calls.back().map_or(1, |last| last.id + 1);
        calls.push_back(LoggedCall { id, ..call });
        if calls.len() > MOST {
            let _oldest = calls.pop_front();
        }
    }

    /// Returns the calls behind one of them.
    pub fn since(&self, id: u64) -> Vec<LoggedCall> {
        self.held().iter().filter(|call| call.id > id).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_numbered_in_their_order_and_the_oldest_are_left_out() {
        let log = CallLog::default();
        for _ in 0..MOST + 5 {
            log.add(LoggedCall::of_agent("look", &JsonObject::default()));
        }
        let ids: Vec<u64> = log.since(0).iter().map(|call| call.id).collect();
        assert_eq!(ids, (6..=MOST as u64 + 5).collect::<Vec<_>>());
        assert_eq!(log.since(MOST as u64 + 4).len(), 1);
        drop(log.begin(LoggedCall::of_agent("run", &JsonObject::default())));
        let given_up = &log.since(MOST as u64 + 5)[0];
        assert!(given_up.is_error && given_up.words.contains("given up"));
    }
}
