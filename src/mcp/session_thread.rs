//! A session on a thread of its own: jobs for it wait in a line, and each can be cancelled.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;
use tokio::sync::oneshot;

use super::desk::Desk;
use super::output::ProgressWords;
use super::results::Results;
use super::sessions::EnvMaker;
use crate::base::{Result, memory};
use crate::err;
use crate::script::engine::thread;

/// Number of jobs that wait for one session at most.
const MOST_WAITING: usize = 2_000;

/// What a session has, as it was after its last call.
#[derive(Debug, Clone, Default)]
pub struct SessionLook {
    pub variables: Vec<Value>,
    pub models: Vec<Value>,
    pub dictionaries: Vec<Value>,
    /// Files that it wrote, from the output folder.
    pub written: Vec<String>,
}

/// Reason why a call was stopped.
#[derive(Debug, Clone)]
pub struct StopReason {
    pub words: String,
    pub hint: Option<String>,
}

impl Default for StopReason {
    fn default() -> Self {
        Self { words: "the call was cancelled; what it had done by then is kept".into(), hint: None }
    }
}

/// The call that runs, and those that are not to.
#[derive(Default)]
struct Calls {
    count: u64,
    running: Option<RunningCall>,
    waiting: BTreeSet<u64>,
    cancelled: BTreeSet<u64>,
    reason: Option<StopReason>,
}

/// A call while it runs.
#[derive(Debug, Clone, Copy)]
pub struct RunningCall {
    number: u64,
    pub begun: Instant,
    /// Resident memory of the process when it began.
    pub memory: u64,
}

/// What a session shares with whoever waits for it.
#[derive(Default)]
pub struct SessionState {
    /// Folder of its script, record and reports, below the output folder.
    pub folder: PathBuf,
    pub interrupted: Arc<AtomicBool>,
    pub progress: ProgressWords,
    results: Arc<Mutex<Results>>,
    look: Mutex<SessionLook>,
    calls: Mutex<Calls>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SessionState {
    /// Makes the state of a session that goes on with the results of an earlier one.
    pub fn new(folder: PathBuf, results: Arc<Mutex<Results>>) -> Self {
        Self { folder, results, ..Self::default() }
    }

    pub fn results(&self) -> MutexGuard<'_, Results> {
        held(&self.results)
    }

    pub fn look(&self) -> SessionLook {
        held(&self.look).clone()
    }

    pub fn set_look(&self, look: SessionLook) {
        *held(&self.look) = look;
    }

    /// Returns the reason why the running call was stopped, if it was.
    pub fn reason(&self) -> Option<StopReason> {
        held(&self.calls).reason.clone()
    }

    /// Returns the call that runs.
    pub fn running(&self) -> Option<RunningCall> {
        held(&self.calls).running
    }

    /// Returns the call of this number, if it is the one that runs.
    fn running_as(&self, number: u64) -> Option<RunningCall> {
        self.running().filter(|running| running.number == number)
    }

    /// Stops a call: at once if it runs, else before it begins.
    fn stop(&self, number: u64, reason: StopReason) {
        let mut calls = held(&self.calls);
        if calls.running.is_some_and(|running| running.number == number) {
            let _first = calls.reason.get_or_insert(reason);
            self.interrupted.store(true, Ordering::Relaxed);
        } else if calls.waiting.contains(&number) {
            let _is_new = calls.cancelled.insert(number);
        }
    }

    /// Stops the call that runs, and all that wait.
    pub fn stop_all(&self) {
        let mut calls = held(&self.calls);
        let waiting = std::mem::take(&mut calls.waiting);
        calls.cancelled.extend(waiting);
        if calls.running.is_some() {
            self.interrupted.store(true, Ordering::Relaxed);
        }
    }

    /// Begins a call, unless it was cancelled before.
    fn begin(&self, number: u64) -> bool {
        let mut calls = held(&self.calls);
        let _was_waiting = calls.waiting.remove(&number);
        if calls.cancelled.remove(&number) {
            return false;
        }
        // An interruption that came between two calls was meant for neither.
        self.interrupted.store(false, Ordering::Relaxed);
        let _words_of_before = self.progress.take();
        calls.reason = None;
        calls.running = Some(RunningCall { number, begun: Instant::now(), memory: memory::taken() });
        true
    }

    fn end(&self) {
        held(&self.calls).running = None;
    }
}

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

    /// Returns new words on how far the call is.
    pub fn progress(&self) -> Option<String> {
        self.running().and_then(|_| self.state.progress.take())
    }
}

/// Work for a session, with the number of its call.
struct Job {
    number: u64,
    work: Box<dyn FnOnce(&mut Desk) + Send>,
}

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
                    (job.work)(&mut desk);
                    own.end();
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
        let number = {
            let mut calls = held(&self.state.calls);
            if calls.waiting.len() >= MOST_WAITING {
                return Err(err!(Memory, "expected at most {MOST_WAITING} calls that wait for a session")
                    .hint("wait for answers, or use another session"));
            }
            calls.count += 1;
            let number = calls.count;
            let _is_new = calls.waiting.insert(number);
            number
        };
        let work: Box<dyn FnOnce(&mut Desk) + Send> = Box::new(move |desk| {
            // Whoever asked may be gone.
            let _unheard = sender.send(job(desk));
        });
        // A session that ended drops the job, and whoever waits for its answer hears that.
        let _ended = self.jobs.send(Job { number, work });
        Ok(Ticket { number, state: self.state.clone(), answer })
    }

    /// Returns the results, for a session in place of this one.
    pub fn results(&self) -> Arc<Mutex<Results>> {
        self.state.results.clone()
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
