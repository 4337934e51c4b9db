//! A request while it is answered: how long it may take, what is told meanwhile, and how it is stopped.

use std::time::{Duration, Instant};

use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{RequestContext, RoleServer};

use super::front::Limits;
use super::session_state::StopReason;
use super::session_thread::Ticket;
use super::sessions::Sessions;
use crate::base::memory;
use crate::common::*;

/// Time between two looks at a call that runs.
const GLANCE: Duration = Duration::from_millis(50);

/// Time after which a call that was stopped is stopped again: a training that ended early gives what it has, and the
/// script goes on with that.
const AGAIN: Duration = Duration::from_secs(2);

/// Time that a client has to take a notification.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request, and what the server that answers it has.
pub struct Asked<'a> {
    pub sessions: &'a Arc<Sessions>,
    pub limits: Limits,
    /// The output folder.
    pub out: &'a Path,
    /// The request of a client; none of a person who types into the page.
    pub context: Option<&'a RequestContext<RoleServer>>,
}

impl Asked<'_> {
    /// Waits for the answer to a call. Meanwhile its progress is told, and it is stopped when it is cancelled, or when it
    /// takes more than it may.
    pub async fn wait<T>(&self, mut ticket: Ticket<T>, time: Duration) -> Result<T> {
        let token = self.context.and_then(|context| context.meta.get_progress_token());
        let asked = Instant::now();
        let mut stopped: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                answer = &mut ticket.answer => return answer.map_err(|_| ticket.not_answered()),
                () = self.cancelled(), if stopped.is_none() => {
                    ticket.stop(StopReason::default());
                    stopped = Some(Instant::now());
                }
                () = tokio::time::sleep(GLANCE) => {}
            }
            if stopped.is_some_and(|since| since.elapsed() >= AGAIN) {
                ticket.stop(StopReason::default());
            }
            let reason = ticket.running().and_then(|running| {
                let grown = memory::taken().saturating_sub(running.memory);
                self.too_much(running.begun.elapsed(), time, grown)
            });
            if let Some(reason) = reason.filter(|_| stopped.is_none()) {
                ticket.stop(reason);
                stopped = Some(Instant::now());
            }
            if let (Some(token), Some(words)) = (&token, ticket.progress()) {
                self.tell(token, asked.elapsed(), words).await;
            }
        }
    }

    /// Waits until the client cancels the call.
    async fn cancelled(&self) {
        match self.context {
            Some(context) => context.ct.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Returns why a call is stopped that takes more than it may.
    fn too_much(&self, took: Duration, time: Duration, grown: u64) -> Option<StopReason> {
        let limits = self.limits;
        if took > time {
            let hint = "do less in a call, or let whoever starts the server give more with --time";
            let stopped = StopReason::keeping(&format!("the call was stopped after {} s", time.as_secs_f64()));
            return Some(StopReason { hint: Some(hint.into()), ..stopped });
        }
        (grown > limits.memory).then(|| StopReason {
            words: format!(
                "the call was stopped when the process had grown by {}, of {} that a call may take",
                memory::human(u128::from(grown)),
                memory::human(u128::from(limits.memory))
            ),
            hint: Some("do less in a call, or let whoever starts the server give more with --memory".into()),
        })
    }

    /// Tells how far a call is. The number that must rise is that of seconds; the words say what was done.
    async fn tell(&self, token: &ProgressToken, since: Duration, words: String) {
        let told = ProgressNotificationParam::new(token.clone(), since.as_secs_f64()).with_message(words);
        let Some(context) = self.context else { return };
        // A client that does not read is not waited for.
        let _unread = tokio::time::timeout(PATIENCE, context.peer.notify_progress(told)).await;
    }
}
