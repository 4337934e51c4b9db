//! Tasks that tests watch, and interrupt where a piece of work begins or advances.

#![allow(dead_code, reason = "the tests of the methods and those of the program use their own parts")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::base::Task;
use crate::base::task::{Bar, Progress};

/// Moment at which a task is interrupted.
#[derive(Clone, Copy)]
pub enum Moment {
    /// Beginning of a piece of work whose label begins so, when there were so many of them.
    Begins(&'static str, usize),
    /// Progress of a piece of work whose label begins so.
    Advances(&'static str),
}

/// Listener that keeps the labels of what was begun and the lines that were said.
#[derive(Default)]
pub struct Watch {
    begun: Mutex<Vec<String>>,
    said: Mutex<Vec<String>>,
    moment: Option<Moment>,
    flag: Arc<AtomicBool>,
}

/// Piece of work, with the flag that it raises.
struct WatchedBar(Option<Arc<AtomicBool>>);

impl Watch {
    /// Begins to watch a task.
    pub fn task() -> (Task, Arc<Self>) {
        Self::until(None)
    }

    /// Begins to watch a task, which is interrupted at a moment.
    pub fn until(moment: Option<Moment>) -> (Task, Arc<Self>) {
        let watch = Arc::new(Self { moment, ..Self::default() });
        (Task::new(watch.flag.clone(), watch.clone()), watch)
    }

    /// Returns the labels of what was begun.
    pub fn begun(&self) -> Vec<String> {
        self.begun.lock().unwrap().clone()
    }

    /// Returns the lines that were said.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Takes the lines that were said.
    pub fn take_said(&self) -> Vec<String> {
        std::mem::take(&mut *self.said.lock().unwrap())
    }
}

impl Progress for Watch {
    fn begin(&self, label: &str, _total: Option<u64>) -> Box<dyn Bar> {
        self.begun.lock().unwrap().push(label.into());
        let raised = match self.moment {
            Some(Moment::Begins(start, times)) if label.starts_with(start) => {
                let count = self.begun().iter().filter(|begun| begun.starts_with(start)).count();
                self.flag.fetch_or(count >= times, Ordering::Relaxed);
                None
            }
            Some(Moment::Advances(start)) if label.starts_with(start) => Some(self.flag.clone()),
            _ => None,
        };
        Box::new(WatchedBar(raised))
    }

    fn say(&self, line: &str) {
        self.said.lock().unwrap().push(line.into());
    }
}

impl Bar for WatchedBar {
    fn advance(&self, _by: u64) {
        self.0.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
    }

    fn note(&self, _text: &str) {}
}
