//! A value that several questions wait for: a survey of a text, made once.
//!
//! Whoever needs it first starts it, on a thread of its own. A question that is cancelled stops waiting; the work goes on
//! if another one takes over within a moment, as when a person goes from card to card, and stops where none does.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::task::{Bar, Progress, spawned};
use crate::base::{Kind, Result, Task, locked};
use crate::err;

/// Time that the work goes on without anybody who waits for it.
const GRACE: Duration = Duration::from_secs(1);

/// Time between two looks of whoever waits.
const GLANCE: Duration = Duration::from_millis(20);

/// A value that is made when it is first needed.
pub struct SharedValue<T>(Arc<Mutex<ValueState<T>>>);

enum ValueState<T> {
    Missing,
    Made(Arc<T>),
    Making(Arc<Computation<T>>),
}

/// Work that goes on.
struct Computation<T> {
    flag: Arc<AtomicBool>,
    now: Arc<Mutex<WorkProgress>>,
    outcome: Mutex<Option<Result<Arc<T>>>>,
    ended: Condvar,
    /// Number of those who wait, and the time since when it has not changed.
    waiting: Mutex<(usize, Instant)>,
}

impl<T> Default for SharedValue<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(ValueState::Missing)))
    }
}

impl<T: Send + Sync + 'static> SharedValue<T> {
    /// Returns the value, which `make` makes if nobody has. Its progress is that of the task.
    pub fn get(&self, make: impl FnOnce(&Task) -> Result<T> + Clone + Send + 'static, task: &Task) -> Result<Arc<T>> {
        loop {
            task.check()?;
            let making = {
                let mut state = locked(&self.0);
                match &*state {
                    ValueState::Made(value) => return Ok(value.clone()),
                    ValueState::Making(making) => making.clone(),
                    ValueState::Missing => {
                        let making = self.start(make.clone())?;
                        *state = ValueState::Making(making.clone());
                        making
                    }
                }
            };
            match making.wait(task) {
                // It was stopped just before this question came.
                Err(error) if error.kind == Kind::Interrupted && !task.is_interrupted() => {}
                outcome => return outcome,
            }
        }
    }

    /// Returns whether nothing is made, nor being made.
    #[cfg(test)]
    pub fn is_missing(&self) -> bool {
        matches!(*locked(&self.0), ValueState::Missing)
    }

    fn start(&self, make: impl FnOnce(&Task) -> Result<T> + Send + 'static) -> Result<Arc<Computation<T>>> {
        let making = Arc::new(Computation {
            flag: Arc::default(),
            now: Arc::default(),
            outcome: Mutex::new(None),
            ended: Condvar::new(),
            waiting: Mutex::new((0, Instant::now())),
        });
        let place = self.0.clone();
        let own = making.clone();
        let work = move || {
            let task = Task::new(own.flag.clone(), Arc::new(SharedProgress(own.now.clone())));
            let made = std::panic::catch_unwind(AssertUnwindSafe(|| make(&task).map(Arc::new)));
            let made =
                made.unwrap_or_else(|_| Err(err!(Bug, "internal error: the terminal of the explorer shows where")));
            *locked(&place) = made.as_ref().map_or(ValueState::Missing, |value| ValueState::Made(value.clone()));
            *locked(&own.outcome) = Some(made);
            own.ended.notify_all();
        };
        spawned("survey", work)?;
        let watched = making.clone();
        spawned("survey watch", move || watched.watch())?;
        Ok(making)
    }
}

impl<T> Computation<T> {
    /// Stops the work when nobody has waited for it for a while.
    fn watch(&self) {
        let mut outcome = locked(&self.outcome);
        while outcome.is_none() {
            let (waiting, since) = *locked(&self.waiting);
            if waiting == 0 && since.elapsed() > GRACE {
                self.flag.store(true, Ordering::Relaxed);
                return;
            }
            outcome = self.ended.wait_timeout(outcome, GLANCE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait(&self, task: &Task) -> Result<Arc<T>> {
        let _waiting = WaiterCount::of(&self.waiting);
        let mut shown = WaiterBar::default();
        let mut outcome = locked(&self.outcome);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            task.check()?;
            shown.follow(&locked(&self.now), task);
            outcome = self.ended.wait_timeout(outcome, GLANCE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A count of one more who waits, until it is dropped.
struct WaiterCount<'a>(&'a Mutex<(usize, Instant)>);

impl<'a> WaiterCount<'a> {
    fn of(count: &'a Mutex<(usize, Instant)>) -> Self {
        let mut held = locked(count);
        *held = (held.0 + 1, Instant::now());
        Self(count)
    }
}

impl Drop for WaiterCount<'_> {
    fn drop(&mut self) {
        let mut held = locked(self.0);
        *held = (held.0.saturating_sub(1), Instant::now());
    }
}

/// The progress of the work.
#[derive(Debug, Clone, Default, PartialEq)]
struct WorkProgress {
    label: String,
    done: u64,
    total: Option<u64>,
}

/// Progress that is looked at from elsewhere.
struct SharedProgress(Arc<Mutex<WorkProgress>>);

impl Progress for SharedProgress {
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Bar> {
        *locked(&self.0) = WorkProgress { label: label.into(), done: 0, total };
        Box::new(SharedBar(self.0.clone()))
    }

    fn say(&self, _line: &str) {}
}

struct SharedBar(Arc<Mutex<WorkProgress>>);

impl Bar for SharedBar {
    fn advance(&self, by: u64) {
        let mut now = locked(&self.0);
        now.done = now.done.saturating_add(by);
    }

    fn note(&self, _text: &str) {}
}

/// The bar of one who waits.
#[derive(Default)]
struct WaiterBar {
    now: WorkProgress,
    bar: Option<Box<dyn Bar>>,
}

impl WaiterBar {
    fn follow(&mut self, now: &WorkProgress, task: &Task) {
        if *now == self.now {
            return;
        }
        let is_another = (&now.label, now.total) != (&self.now.label, self.now.total) || now.done < self.now.done;
        if is_another || self.bar.is_none() {
            self.bar = Some(task.begin(&now.label, now.total));
            self.now.done = 0;
        }
        if let Some(bar) = &self.bar {
            bar.advance(now.done.saturating_sub(self.now.done));
        }
        self.now = now.clone();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Work that goes on until it is released or stopped, and counts how often it was begun.
    #[derive(Clone, Default)]
    struct Work {
        begun: Arc<AtomicUsize>,
        is_free: Arc<AtomicBool>,
        stopped: Arc<AtomicBool>,
    }

    impl Work {
        fn make(&self) -> impl FnOnce(&Task) -> Result<usize> + Clone + Send + 'static {
            let own = self.clone();
            move |task| {
                let turn = own.begun.fetch_add(1, Ordering::Relaxed) + 1;
                while !own.is_free.load(Ordering::Relaxed) {
                    if let Err(stopped) = task.check() {
                        own.stopped.store(true, Ordering::Relaxed);
                        return Err(stopped);
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
                Ok(turn)
            }
        }
    }

    fn patiently(until: impl Fn() -> bool) {
        let begin = Instant::now();
        while !until() {
            assert!(begin.elapsed() < Duration::from_secs(20), "it never came");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn it_is_made_once_for_all_who_wait() {
        let shared = SharedValue::default();
        let work = Work::default();
        let found: Vec<usize> = std::thread::scope(|scope| {
            let ask = || *shared.get(work.make(), &Task::default()).unwrap();
            let asking: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            patiently(|| work.begun.load(Ordering::Relaxed) == 1);
            work.is_free.store(true, Ordering::Relaxed);
            asking.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(found, [1; 4]);
        assert_eq!(*shared.get(work.make(), &Task::default()).unwrap(), 1);
    }

    #[test]
    fn who_is_cancelled_leaves_at_once_and_the_work_goes_on_for_the_next() {
        let shared = SharedValue::default();
        let work = Work::default();
        let first = Task::default();
        let second = Task::default();
        std::thread::scope(|scope| {
            let flag = first.flag().clone();
            let leaving = scope.spawn(|| shared.get(work.make(), &first));
            patiently(|| work.begun.load(Ordering::Relaxed) == 1);
            flag.store(true, Ordering::Relaxed);
            assert_eq!(leaving.join().unwrap().unwrap_err().kind, Kind::Interrupted);
            let staying = scope.spawn(|| shared.get(work.make(), &second));
            std::thread::sleep(GRACE + GLANCE * 5);
            work.is_free.store(true, Ordering::Relaxed);
            assert_eq!(*staying.join().unwrap().unwrap(), 1);
        });
        assert!(!work.stopped.load(Ordering::Relaxed));
    }

    #[test]
    fn work_that_nobody_waits_for_stops_and_is_begun_anew() {
        let shared = SharedValue::default();
        let work = Work::default();
        let task = Task::default();
        let flag = task.flag().clone();
        std::thread::scope(|scope| {
            let leaving = scope.spawn(|| shared.get(work.make(), &task));
            patiently(|| work.begun.load(Ordering::Relaxed) == 1);
            flag.store(true, Ordering::Relaxed);
            assert!(leaving.join().unwrap().is_err());
        });
        patiently(|| work.stopped.load(Ordering::Relaxed));
        work.is_free.store(true, Ordering::Relaxed);
        assert_eq!(*shared.get(work.make(), &Task::default()).unwrap(), 2);
    }

    #[test]
    fn an_error_and_a_panic_are_told_and_another_try_is_made() {
        let shared = SharedValue::<usize>::default();
        let wrong = |_: &Task| Err(err!(Argument, "wrong"));
        assert_eq!(shared.get(wrong, &Task::default()).unwrap_err().message, "wrong");
        let panics = |_: &Task| panic!("expected by the test");
        assert_eq!(shared.get(panics, &Task::default()).unwrap_err().kind, Kind::Bug);
        assert_eq!(*shared.get(|_: &Task| Ok(7), &Task::default()).unwrap(), 7);
    }
}
