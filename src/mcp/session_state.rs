//! The state of a session that others see while it works: its calls, its results, and what it has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use serde_json::Value;

use super::output::ProgressWords;
use super::results::Results;
use crate::base::{locked, memory};
use crate::common::*;

/// Number of jobs that wait for one session at most.
const MOST_WAITING: usize = 2_000;

/// Variables and files of a session after its last call.
#[derive(Debug, Clone, Default)]
pub struct SessionLook {
    pub variables: Vec<Value>,
    pub models: Vec<Value>,
    pub dictionaries: Vec<Value>,
    /// Files that it wrote, from the output folder.
    pub written: Vec<String>,
}

/// Words that follow on the reason why a running call was stopped.
const KEPT: &str = "; what it had done by then is kept";

/// Reason why a call was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopReason {
    pub words: String,
    pub hint: Option<String>,
}

impl StopReason {
    /// Makes the reason that a call was stopped as these words say, and keeps what it did.
    pub fn keeping(words: &str) -> Self {
        Self { words: format!("{words}{KEPT}"), hint: None }
    }

    /// Returns the reason in words about a call that had not begun.
    pub fn before_it_began(&self) -> String {
        format!("{} before it began", self.words.strip_suffix(KEPT).unwrap_or(&self.words))
    }
}

impl Default for StopReason {
    fn default() -> Self {
        Self::keeping("the call was cancelled")
    }
}

/// The call that runs, and those that are not to.
#[derive(Default)]
struct Calls {
    count: u64,
    running: Option<RunningCall>,
    waiting: BTreeSet<u64>,
    /// Calls that are not to begin, with the reason where somebody waits for their answer.
    cancelled: BTreeMap<u64, Option<StopReason>>,
    /// Reasons why calls did not begin, for those who wait for their answers.
    unanswered: BTreeMap<u64, StopReason>,
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

/// State that a session shares with whoever waits for it.
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

impl SessionState {
    /// Makes the state of a session that goes on with the results of an earlier one.
    pub fn new(folder: PathBuf, results: Arc<Mutex<Results>>) -> Self {
        Self { folder, results, ..Self::default() }
    }

    pub fn results(&self) -> MutexGuard<'_, Results> {
        locked(&self.results)
    }

    /// Returns the results themselves, for a session in place of this one.
    pub fn shared_results(&self) -> Arc<Mutex<Results>> {
        self.results.clone()
    }

    /// Numbers a new call, which waits from now on.
    pub fn add(&self) -> Result<u64> {
        let mut calls = locked(&self.calls);
        if calls.waiting.len() >= MOST_WAITING {
            return Err(err!(Memory, "expected at most {MOST_WAITING} calls that wait for a session")
                .hint("wait for answers, or use another session"));
        }
        calls.count += 1;
        let number = calls.count;
        let _is_new = calls.waiting.insert(number);
        Ok(number)
    }

    pub fn look(&self) -> SessionLook {
        locked(&self.look).clone()
    }

    pub fn set_look(&self, look: SessionLook) {
        *locked(&self.look) = look;
    }

    /// Returns the reason why the running call was stopped, if it was.
    pub fn reason(&self) -> Option<StopReason> {
        locked(&self.calls).reason.clone()
    }

    /// Returns the call that runs.
    pub fn running(&self) -> Option<RunningCall> {
        locked(&self.calls).running
    }

    /// Returns the call of this number, if it is the one that runs.
    pub fn running_as(&self, number: u64) -> Option<RunningCall> {
        self.running().filter(|running| running.number == number)
    }

    /// Stops a call: at once if it runs, else before it begins.
    pub fn stop(&self, number: u64, reason: StopReason) {
        let mut calls = locked(&self.calls);
        if calls.running.is_some_and(|running| running.number == number) {
            let _first = calls.reason.get_or_insert(reason);
            self.interrupted.store(true, Ordering::Relaxed);
        } else if calls.waiting.contains(&number) {
            let _first = calls.cancelled.entry(number).or_insert(Some(reason));
        }
    }

    /// Stops a call for whose answer nobody waits any more.
    pub fn abandon(&self, number: u64) {
        self.stop(number, StopReason::default());
        let mut calls = locked(&self.calls);
        if let Some(reason) = calls.cancelled.get_mut(&number) {
            *reason = None;
        }
        let _nobody_asks = calls.unanswered.remove(&number);
    }

    /// Returns the reason why a call did not begin, if it was cancelled before.
    pub fn why_unanswered(&self, number: u64) -> Option<StopReason> {
        locked(&self.calls).unanswered.get(&number).cloned()
    }

    /// Stops the call that runs, for a person who looks at it.
    pub fn stop_running(&self) {
        if let Some(running) = self.running() {
            self.stop(running.number, StopReason::keeping("a person stopped the call"));
        }
    }

    /// Stops the call that runs, and all that wait, since the session ends or its client has gone.
    pub fn stop_all(&self) {
        let reason = || StopReason::keeping("the call was stopped with its session");
        let mut calls = locked(&self.calls);
        for number in std::mem::take(&mut calls.waiting) {
            let _first = calls.cancelled.entry(number).or_insert_with(|| Some(reason()));
        }
        if calls.running.is_some() {
            let _first = calls.reason.get_or_insert_with(reason);
            self.interrupted.store(true, Ordering::Relaxed);
        }
    }

    /// Begins a call, unless it was cancelled before.
    pub fn begin(&self, number: u64) -> bool {
        let mut calls = locked(&self.calls);
        let _was_waiting = calls.waiting.remove(&number);
        if let Some(reason) = calls.cancelled.remove(&number) {
            calls.unanswered.extend(reason.map(|reason| (number, reason)));
            return false;
        }
        // An interruption that came between two calls was meant for neither.
        self.interrupted.store(false, Ordering::Relaxed);
        let _words_of_before = self.progress.take();
        calls.reason = None;
        calls.running = Some(RunningCall { number, begun: Instant::now(), memory: memory::taken() });
        true
    }

    /// Ends the call that runs; what stopped it is not meant for what follows, such as writing its record.
    pub fn end(&self) {
        let mut calls = locked(&self.calls);
        calls.running = None;
        self.interrupted.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_told_why_a_call_did_not_begin() {
        let state = SessionState::default();
        let numbers: Vec<u64> = (0..4).map(|_| state.add().unwrap()).collect();
        assert!(state.begin(numbers[0]));
        state.stop(numbers[1], StopReason::default());
        state.stop(numbers[2], StopReason::default());
        state.abandon(numbers[2]);
        state.stop_all();
        assert_eq!(
            state.reason().unwrap().words,
            "the call was stopped with its session; what it had done by then is kept"
        );
        state.end();
        assert!(numbers[1..].iter().all(|number| !state.begin(*number)));
        let why = |number: u64| state.why_unanswered(number).map(|reason| reason.before_it_began());
        assert_eq!(why(numbers[1]).unwrap(), "the call was cancelled before it began");
        assert_eq!(why(numbers[2]), None);
        assert_eq!(why(numbers[3]).unwrap(), "the call was stopped with its session before it began");
        state.abandon(numbers[3]);
        assert_eq!(why(numbers[3]), None);
    }
}
