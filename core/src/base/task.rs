//! A `Task`, which goes into every long loop: it carries the interruption flag, and receives progress.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::tracking::Tracker;
use super::{Error, Result};
use crate::base::clock::Instant;
use crate::base::locked;

/// The receiver of progress. The core reports; only the command line draws bars.
pub trait Progress: Send + Sync {
    /// Begins a piece of work; `total` is in the unit of later `advance` calls, where it is known.
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Bar>;

    /// Begins to report a piece of work that has lasted since a moment in the past.
    fn begin_late(&self, label: &str, _since: Instant) -> Box<dyn Bar> {
        self.begin(label, None)
    }

    /// Shows a line about the work, for whoever watches: an estimate before it begins, a stage that is done.
    fn say(&self, line: &str);
}

/// One running piece of work; dropping it ends its display.
pub trait Bar: Send {
    fn advance(&self, by: u64);
    /// Counts work that was done by an earlier run as done, but not for the speed.
    fn had(&self, by: u64) {
        self.advance(by);
    }
    /// Shows a short live note beside the bar, such as the current loss.
    fn note(&self, text: &str);
}

/// A display that shows nothing: for tests, for output that is not a terminal, and for `--quiet`.
pub struct Silent;

struct SilentBar;

impl Progress for Silent {
    fn begin(&self, _label: &str, _total: Option<u64>) -> Box<dyn Bar> {
        Box::new(SilentBar)
    }

    fn say(&self, _line: &str) {}
}

impl Bar for SilentBar {
    fn advance(&self, _by: u64) {}
    fn note(&self, _text: &str) {}
}

/// A piece of work that counts as running until it is dropped.
struct RunningBar {
    bar: Box<dyn Bar>,
    running: Arc<AtomicUsize>,
}

impl RunningBar {
    fn new(bar: Box<dyn Bar>, running: &Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Self { bar, running: running.clone() }
    }
}

impl Bar for RunningBar {
    fn advance(&self, by: u64) {
        self.bar.advance(by);
    }

    fn had(&self, by: u64) {
        self.bar.had(by);
    }

    fn note(&self, text: &str) {
        self.bar.note(text);
    }
}

impl Drop for RunningBar {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Work that cannot say how far it is, and that nothing else speaks of, is spoken of after so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Size of the stack of every thread. Readers of untrusted files may recurse as deep as the files are nested, so it is
/// large. It is only reserved: the system maps the pages of a stack when they are first touched.
const STACK: usize = 64 << 20;

/// Starts a thread of this name.
pub fn spawned(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.into()).stack_size(STACK).spawn(work);
    thread.map_err(|e| crate::err!(Memory, "cannot start a thread: {e}"))
}

thread_local! {
    /// The mark of a thread that works for [`Task::apart`].
    static IS_APART: Cell<bool> = const { Cell::new(false) };
}

#[derive(Clone)]
pub struct Task {
    interrupted: Arc<AtomicBool>,
    progress: Arc<dyn Progress>,
    /// Whether an interruption ends the whole task.
    is_whole: bool,
    early: Arc<Mutex<EarlyEnds>>,
    /// Number of pieces of work that are reported.
    running: Arc<AtomicUsize>,
    patience: Duration,
    /// Receivers of the numbers of trainings; most tasks have none.
    trackers: Arc<[Arc<dyn Tracker>]>,
}

/// Pieces of work that end early with what they have, by their numbers: those that are to, and those that did, each after
/// how many steps.
#[derive(Default)]
struct EarlyEnds {
    begun: u64,
    planned: BTreeMap<u64, u64>,
    ended: BTreeMap<u64, u64>,
}

impl Default for Task {
    fn default() -> Self {
        Self::new(Arc::new(AtomicBool::new(false)), Arc::new(Silent))
    }
}

impl Task {
    pub fn new(interrupted: Arc<AtomicBool>, progress: Arc<dyn Progress>) -> Self {
        let early = Arc::default();
        let running = Arc::default();
        let trackers = Arc::default();
        Self { interrupted, progress, is_whole: false, early, running, patience: PATIENCE, trackers }
    }

    /// Returns this task with trackers of its trainings.
    pub fn tracked_by(self, trackers: Vec<Arc<dyn Tracker>>) -> Self {
        Self { trackers: trackers.into(), ..self }
    }

    pub fn trackers(&self) -> &[Arc<dyn Tracker>] {
        &self.trackers
    }

    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Returns the flag itself, for the signal handler that raises it and the prompt that lowers it.
    pub fn flag(&self) -> &Arc<AtomicBool> {
        &self.interrupted
    }

    /// Checks for an interruption; call it in every long loop, at least twenty times a second.
    pub fn check(&self) -> Result<()> {
        if self.is_interrupted() { Err(Error::interrupted()) } else { Ok(()) }
    }

    /// Begins a piece of work that an interruption ends early: it returns what it has, and the script continues. Pieces
    /// are numbered, so that one may be ended again where an interruption ended it; those of a [`Task::whole`] are not,
    /// since an interruption ends the whole.
    pub fn piece(&self) -> InterruptibleWork<'_> {
        if self.is_whole {
            return InterruptibleWork { task: self, number: None, end: None };
        }
        let mut early = self.early();
        let number = early.begun;
        early.begun += 1;
        InterruptibleWork { task: self, number: Some(number), end: early.planned.remove(&number) }
    }

    /// Returns whether the next piece is to end early.
    pub fn ends_next_piece(&self) -> bool {
        let early = self.early();
        !self.is_whole && early.planned.contains_key(&early.begun)
    }

    /// Returns the number of the next piece.
    pub fn pieces(&self) -> u64 {
        self.early().begun
    }

    /// Ends the next pieces after so many steps; those without a number go on to their end.
    pub fn end_early(&self, steps: &[Option<u64>]) {
        let mut early = self.early();
        let begun = early.begun;
        early.planned = steps.iter().zip(begun..).filter_map(|(steps, number)| Some((number, (*steps)?))).collect();
    }

    /// Returns after how many steps the pieces since one number ended early, up to the last that did, as
    /// [`Task::end_early`] takes them.
    pub fn ended_early(&self, since: u64) -> Vec<Option<u64>> {
        let early = self.early();
        let last = early.ended.range(since..).next_back().map_or(since, |(number, _)| number + 1);
        (since..last).map(|number| early.ended.get(&number).copied()).collect()
    }

    fn early(&self) -> MutexGuard<'_, EarlyEnds> {
        locked(&self.early)
    }

    /// Returns this task for one script or one fit among several, which an interruption ends as a whole: a training
    /// that was cut short must not pass for a result.
    pub fn whole(&self) -> Self {
        Self { is_whole: true, ..self.clone() }
    }

    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Bar> {
        Box::new(RunningBar::new(self.progress.begin(label, total), &self.running))
    }

    pub fn say(&self, line: &str) {
        self.progress.say(line);
    }

    /// Runs work that cannot poll (one large SVD, one matrix product) on a thread of its own, so that Ctrl-C is
    /// answered at once. The interrupted work runs to its end in the background, and its result is dropped. Nested work
    /// is done in place, and so is all work in a build without the feature `threads`.
    pub fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        self.apart_by(Box::new(work))
    }

    /// Runs work as [`Task::apart`] does. It is generic over the result alone, so that it is compiled once for each type.
    fn apart_by<T: Send + 'static>(&self, work: Box<dyn FnOnce() -> Result<T> + Send>) -> Result<T> {
        self.check()?;
        if IS_APART.get() {
            return work();
        }
        if cfg!(not(feature = "threads")) {
            return Self::in_place(work);
        }
        let place = Arc::new(Mutex::new(None));
        let kept = place.clone();
        self.outwait(Box::new(move || *locked(&kept) = Some(work())))?;
        let result = locked(&place).take();
        result.unwrap_or_else(|| Err(crate::err!(Bug, "a worker ended without a result")))
    }

    /// Waits for work on a thread of its own, or for Ctrl-C. It is not generic over the result, so that it is compiled
    /// once.
    fn outwait(&self, work: Box<dyn FnOnce() + Send>) -> Result<()> {
        let (sender, receiver) = mpsc::sync_channel::<()>(1);
        let worker = spawned("apart", move || {
            IS_APART.set(true);
            work();
            // The receiver is gone after an interruption; the result is then dropped.
            let _unheard = sender.send(());
        })?;
        let begun = Instant::now();
        let mut spoken_of = None;
        loop {
            match receiver.recv_timeout(Duration::from_millis(20)) {
                Ok(()) => return Ok(()),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.check()?;
                    let is_silent = spoken_of.is_none() && self.running.load(Ordering::Relaxed) == 0;
                    if is_silent && begun.elapsed() >= self.patience {
                        spoken_of = Some(RunningBar::new(self.progress.begin_late("computing", begun), &self.running));
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => match worker.join() {
                    Err(panic) => std::panic::resume_unwind(panic),
                    Ok(()) => return Ok(()),
                },
            }
        }
    }

    /// Runs work within which [`Task::apart`] works in place. This is required on the threads of a pool: one that waits
    /// for another thread does nothing else, so when all of them wait, no thread is left to run their work: a deadlock.
    pub fn in_place<T>(work: impl FnOnce() -> T) -> T {
        struct ApartGuard(bool);
        impl Drop for ApartGuard {
            fn drop(&mut self) {
                IS_APART.set(self.0);
            }
        }
        let _before = ApartGuard(IS_APART.replace(true));
        work()
    }

    /// Runs work by [`Task::apart`] when it is large (an estimate in elementary operations), in place when it is small:
    /// a thread costs some 20 microseconds, and a hundred million operations some hundredths of a second.
    pub fn heavy<T: Send + 'static>(&self, cost: f64, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        if cost < 1e7 { work() } else { self.apart(work) }
    }
}

/// A piece of work that an interruption ends early.
pub struct InterruptibleWork<'t> {
    task: &'t Task,
    number: Option<u64>,
    end: Option<u64>,
}

impl InterruptibleWork<'_> {
    /// Checks for an interruption before the next step, `made` of which have been made.
    pub fn check(&self, made: u64) -> Result<()> {
        if self.end.is_some_and(|end| made >= end) { Err(Error::interrupted()) } else { self.task.check() }
    }

    /// Clears the flag after an interruption, and notes it, unless it was planned. Within a [`Task::whole`] the flag stays
    /// raised, and the script ends.
    pub fn answer(&self, made: u64) {
        if let Some(number) = self.number {
            self.task.interrupted.store(false, Ordering::Relaxed);
            if self.end != Some(made) {
                self.task.early().ended.insert(number, made);
            }
        }
    }
}

/// Estimates the seconds that are left of a piece of work: `seconds` / `done` * `left`, as if each step that is left
/// took as long as those that are done did on average. Steps may be few and of very different cost, so that the pace of
/// the last ones says little, and nothing is said before three of them, a twentieth of all, and a second.
pub fn time_left(seconds: f64, done: u64, left: u64) -> Option<f64> {
    let is_enough = done >= 3 && left <= done.saturating_mul(19) && seconds >= 1.0;
    is_enough.then(|| seconds / done as f64 * left as f64)
}

/// Writes seconds as people say them: `40 s`, `12 min`, `2.5 h`.
pub fn human(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_apart_returns_its_result() {
        assert_eq!(Task::default().apart(|| Ok(3)), Ok(3));
    }

    /// Notes what begins, and says so to the work.
    struct LabelRecorder {
        labels: Mutex<Vec<String>>,
        heard: mpsc::SyncSender<()>,
    }

    impl Progress for LabelRecorder {
        fn begin(&self, label: &str, _total: Option<u64>) -> Box<dyn Bar> {
            self.labels.lock().unwrap().push(label.into());
            let _full = self.heard.try_send(());
            Box::new(SilentBar)
        }

        fn say(&self, _line: &str) {}
    }

    #[test]
    fn long_work_that_nothing_speaks_of_is_spoken_of() {
        let (heard, told) = mpsc::sync_channel(1);
        let noting = Arc::new(LabelRecorder { labels: Mutex::default(), heard });
        let task =
            Task { patience: Duration::from_millis(1), ..Task::new(Arc::new(AtomicBool::new(false)), noting.clone()) };
        let waited = task.apart(move || Ok(told.recv_timeout(Duration::from_secs(60)).is_ok()));
        assert_eq!((waited, task.running.load(Ordering::Relaxed)), (Ok(true), 0));
        // A stage that is running says enough.
        let stage = task.begin("reading", None);
        task.apart(|| {
            std::thread::sleep(Duration::from_millis(100));
            Ok(())
        })
        .unwrap();
        drop(stage);
        assert_eq!(*noting.labels.lock().unwrap(), ["computing", "reading"]);
        assert_eq!(task.running.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn work_in_place_stays_on_its_thread() {
        let here = std::thread::current().id();
        let of = |task: Task| task.apart(|| Ok(std::thread::current().id())).unwrap();
        assert_eq!(Task::in_place(|| of(Task::default())), here);
        assert_ne!(of(Task::default()), here);
    }

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        assert_eq!([0.4, 89.0, 91.0, 5399.0, 9000.0].map(human), ["0 s", "89 s", "2 min", "90 min", "2.5 h"]);
    }

    #[test]
    fn what_is_left_takes_as_long_as_what_is_done_on_average() {
        assert_eq!(time_left(60.0, 6, 2), Some(20.0));
        // Nothing is said of two steps, of less than a twentieth, or in the first second.
        assert_eq!([time_left(60.0, 2, 2), time_left(60.0, 4, 96), time_left(0.9, 50, 50)], [None; 3]);
        assert_eq!(time_left(60.0, 5, 95), Some(1140.0));
        assert_eq!(time_left(60.0, 8, 0), Some(0.0));
    }

    #[test]
    fn a_slow_step_among_fast_ones_does_not_make_the_estimate_jump() {
        // Every tenth step takes a hundred times as long as the others: 10.9 seconds of each ten steps, 218 in all.
        let seconds = |step: u64| if step % 10 == 9 { 10.0 } else { 0.1 };
        let mut gone = 0.0;
        for step in 0..200 {
            gone += seconds(step);
            if let Some(left) = time_left(gone, step + 1, 199 - step).filter(|_| step >= 19) {
                let whole = gone + left;
                assert!((140.0..230.0).contains(&whole), "{whole} seconds in all after step {step}");
            }
        }
    }

    #[test]
    fn an_interruption_of_the_whole_is_not_answered_by_a_part() {
        let task = Task::default();
        for (part, is_over) in [(task.whole(), true), (task.clone(), false)] {
            task.flag().store(true, Ordering::Relaxed);
            part.piece().answer(0);
            assert_eq!((task.is_interrupted(), part.is_interrupted()), (is_over, is_over));
        }
    }

    #[test]
    fn pieces_end_again_where_they_ended() {
        let task = Task::default();
        let _first = task.piece();
        let since = task.pieces();
        let whole = task.piece();
        let interrupted = task.piece();
        interrupted.answer(3);
        assert!(whole.check(9).is_ok());
        let ended = task.ended_early(since);
        assert_eq!(ended, [None, Some(3)]);
        task.end_early(&ended);
        let _not_numbered = task.whole().piece();
        let first = task.piece();
        let second = task.piece();
        let third = task.piece();
        assert_eq!([first.check(3), second.check(2), third.check(3)], [Ok(()), Ok(()), Ok(())]);
        assert_eq!(second.check(3), Err(Error::interrupted()));
    }

    #[test]
    fn an_interruption_does_not_wait_for_the_work() {
        let task = Task::default();
        let (release, held) = mpsc::channel::<()>();
        kit::raise_after(task.flag(), 30);
        // The work waits until it is released, so only the interruption can end the call.
        let result = task.apart(move || {
            let _released = held.recv();
            Ok(())
        });
        assert_eq!(result, Err(Error::interrupted()));
        drop(release);
    }

    #[test]
    fn a_panic_in_the_work_is_a_panic_of_the_caller() {
        let caught = std::panic::catch_unwind(|| Task::default().apart::<()>(|| panic!("inside")));
        assert!(caught.is_err());
    }
}
