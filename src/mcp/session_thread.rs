//! A session on a thread of its own: jobs for it wait in a line, and each can be cancelled.

use std::sync::{Mutex, mpsc};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::desk::Desk;
use super::front::EnvMaker;
use super::results::Results;
use super::session_state::{RunningCall, SessionState, StopReason};
use crate::common::*;
use crate::script::engine::thread;

/// The answer to a job, once the session has come to it.
pub struct Ticket<T> {
    number: u64,
    state: Arc<SessionState>,
    pub answer: oneshot::Receiver<T>,
}

impl<T> Ticket<T> {
    /// Returns the call, while it runs.
    pub fn running(&self) -> Option<RunningCall> {
        self.state.running_as(self.number)
    }

    pub fn stop(&self, reason: StopReason) {
        self.state.stop(self.number, reason);
    }

    /// Returns the error of a call that the session did not answer, with the reason where there is one.
    pub fn not_answered(&self) -> Error {
        let hint = "call again; the results of earlier calls are kept";
        match self.state.why_unanswered(self.number) {
            Some(reason) => err!(Interrupted, "{}", reason.before_it_began()).hint(reason.hint.unwrap_or(hint.into())),
            None => err!(Interrupted, "the call was not answered: its session has ended").hint(hint),
        }
    }

    /// Returns new words on how far the call is.
    pub fn progress(&self) -> Option<String> {
        self.running().and_then(|_| self.state.progress.take())
    }
}

/// An answer that nobody waits for any more need not be computed, and would be watched by nobody. One that was given has
/// ended its call.
impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        self.state.abandon(self.number);
    }
}

/// Work for a session, with the number of its call.
struct Job {
    number: u64,
    work: Work,
}

/// The work itself, which gives back how its answer is told once the call has ended.
type Work = Box<dyn FnOnce(&mut Desk) -> Box<dyn FnOnce()> + Send>;

/// A session and its thread.
pub struct SessionThread {
    pub state: Arc<SessionState>,
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

impl SessionThread {
    /// Starts a session; an error of its environment is that of the first who asks.
    pub fn start(make: &EnvMaker, state: SessionState) -> Result<Self> {
        let state = Arc::new(state);
        let (jobs, work) = mpsc::channel::<Job>();
        let make = make.clone();
        let own = state.clone();
        let (made, is_made) = mpsc::channel();
        let thread = thread::start("session", move || {
            let mut desk = match Desk::new(&make, own.clone()) {
                Ok(desk) => {
                    // Whoever started this waits for it.
                    let _heard = made.send(Ok(()));
                    desk
                }
                Err(error) => {
                    let _heard = made.send(Err(error));
                    return;
                }
            };
            for job in work {
                if own.begin(job.number) {
                    let tell = (job.work)(&mut desk);
                    own.end();
                    tell();
                    desk.keep();
                }
            }
            desk.keep();
        })?;
        is_made.recv().map_err(|e| err!(Bug, "the thread of a session ended: {e}"))??;
        Ok(Self { state, jobs, thread })
    }

    /// Gives the session a job; its answer comes when the jobs before it are done.
    pub fn ask<T: Send + 'static>(&self, job: impl FnOnce(&mut Desk) -> T + Send + 'static) -> Result<Ticket<T>> {
        let (sender, answer) = oneshot::channel();
        let number = self.state.add()?;
        let work: Work = Box::new(move |desk| {
            let found = job(desk);
            // Whoever asked may be gone.
            Box::new(move || drop(sender.send(found)))
        });
        // A session that ended drops the job, and whoever waits for its answer hears that.
        let _ended = self.jobs.send(Job { number, work });
        Ok(Ticket { number, state: self.state.clone(), answer })
    }

    /// Returns the results, for a session in place of this one.
    pub fn results(&self) -> Arc<Mutex<Results>> {
        self.state.shared_results()
    }

    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the session: what runs is stopped, and its script and record are written. Returned is its thread.
    pub fn end(self) -> (Arc<SessionState>, JoinHandle<()>) {
        self.state.stop_all();
        (self.state, self.thread)
    }
}
