//! Stages of the work of a line, for front ends that show them in words: a cell of a notebook, an agent.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::base::clock::Instant;
use crate::base::locked;
use crate::base::task::{Bar, Progress, human, time_left};
use crate::report::number::fixed;
use crate::report::visible_text::visible;

/// Time from which on a stage is shown; shorter ones only flicker.
const LONG: Duration = Duration::from_millis(500);

/// Time between two updates.
const AGAIN: Duration = Duration::from_millis(200);

/// Maximum number of stages that are shown, the newest ones.
const MOST: usize = 12;

/// A front end that shows the stages of a line, and changes what it shows.
pub trait StageDisplay: Send + Sync + 'static {
    /// Shows these stages in place of those that were shown before.
    fn show(&self, stages: &[ShownStage]);
    /// Tells a line by the way.
    fn say(&self, line: &str);
}

/// A stage as it is shown.
pub struct ShownStage {
    /// The label, and what is known of the stage.
    pub line: String,
    pub done: u64,
    pub total: Option<u64>,
    pub has_ended: bool,
    /// Number of seconds that it took so far.
    pub seconds: f64,
}

impl ShownStage {
    /// Returns the number of seconds that are left at the pace so far, which a few steps of some seconds tell roughly.
    pub fn left(&self) -> Option<f64> {
        let left = self.total?.saturating_sub(self.done);
        let is_known = !self.has_ended && self.done >= 3 && self.seconds >= 10.0;
        is_known.then(|| self.seconds / self.done as f64 * left as f64)
    }
}

/// Progress of the line that runs, in stages.
pub struct StageProgress<D>(Arc<Stages<D>>);

struct Stages<D> {
    display: D,
    known: Mutex<KnownStages>,
}

#[derive(Default)]
struct KnownStages {
    stages: Vec<Stage>,
    begun: usize,
    updated: Option<Instant>,
}

/// A piece of work.
struct Stage {
    number: usize,
    label: String,
    total: Option<u64>,
    done: u64,
    /// The part of the work that was done before.
    had: u64,
    note: String,
    begun: Instant,
    /// Time that it took, once it has ended.
    took: Option<Duration>,
}

impl<D: StageDisplay> StageProgress<D> {
    pub fn new(display: D) -> Self {
        Self(Arc::new(Stages { display, known: Mutex::default() }))
    }

    pub fn display(&self) -> &D {
        &self.0.display
    }

    /// Forgets the stages of the line before.
    pub fn forget(&self) {
        let mut known = self.0.known();
        *known = KnownStages { begun: known.begun, ..KnownStages::default() };
    }

    fn begun(&self, label: &str, total: Option<u64>, begun: Instant) -> Box<dyn Bar> {
        let mut known = self.0.known();
        let number = known.begun;
        known.begun += 1;
        let label = visible(label);
        known.stages.push(Stage { number, label, total, done: 0, had: 0, note: String::new(), begun, took: None });
        drop(known);
        self.0.update(false);
        Box::new(StageBar { stages: self.0.clone(), number })
    }
}

impl<D: StageDisplay> Progress for StageProgress<D> {
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Bar> {
        self.begun(label, total, Instant::now())
    }

    fn begin_late(&self, label: &str, since: Instant) -> Box<dyn Bar> {
        self.begun(label, None, since)
    }

    fn say(&self, line: &str) {
        self.0.display.say(line);
    }
}

impl<D: StageDisplay> Stages<D> {
    fn known(&self) -> MutexGuard<'_, KnownStages> {
        locked(&self.known)
    }

    /// Changes a stage, and shows that if it is time.
    fn change(&self, number: usize, change: impl FnOnce(&mut Stage)) {
        let mut known = self.known();
        if let Some(stage) = known.stages.iter_mut().rfind(|stage| stage.number == number) {
            change(stage);
            let has_ended = stage.took.is_some();
            drop(known);
            self.update(has_ended);
        }
    }

    /// Shows the stages, unless they were shown a moment ago. What has ended is shown at once if it was seen before.
    fn update(&self, has_ended: bool) {
        let mut known = self.known();
        let now = Instant::now();
        let is_recent = known.updated.is_some_and(|last| now.saturating_duration_since(last) < AGAIN);
        known.stages.retain(|stage| stage.took.is_none_or(|took| took >= LONG));
        let surplus = known.stages.len().saturating_sub(MOST);
        known.stages.drain(..surplus);
        let long = known.stages.iter().filter(|stage| stage.lasted(now) >= LONG);
        let shown: Vec<ShownStage> = long.map(|stage| stage.shown(now)).collect();
        if shown.is_empty() || is_recent && !has_ended {
            return;
        }
        known.updated = Some(now);
        self.display.show(&shown);
    }
}

impl Stage {
    fn lasted(&self, now: Instant) -> Duration {
        self.took.unwrap_or_else(|| now.saturating_duration_since(self.begun))
    }

    /// Writes what is known of the stage, without its label.
    fn state(&self, now: Instant) -> String {
        let seconds = self.lasted(now).as_secs_f64();
        let count = |steps: u64| fixed(steps as f64, 0);
        let mut parts = match (self.total, self.done) {
            (Some(total), done) => vec![format!("{} of {}", count(done), count(total))],
            (None, 0) => Vec::new(),
            (None, done) => vec![count(done)],
        };
        if self.took.is_some() || self.total.is_none() {
            parts.push(human(seconds));
        } else if let Some(left) =
            time_left(seconds, self.done.saturating_sub(self.had), self.total.unwrap_or(0).saturating_sub(self.done))
        {
            parts.push(format!("{} left", human(left)));
        }
        if !self.note.is_empty() {
            parts.push(self.note.clone());
        }
        parts.join(", ")
    }

    fn shown(&self, now: Instant) -> ShownStage {
        ShownStage {
            line: format!("{}: {}", self.label, self.state(now)),
            done: self.done,
            total: self.total,
            has_ended: self.took.is_some(),
            seconds: self.lasted(now).as_secs_f64(),
        }
    }
}

/// A stage that is shown until it is dropped.
struct StageBar<D: StageDisplay> {
    stages: Arc<Stages<D>>,
    number: usize,
}

impl<D: StageDisplay> Bar for StageBar<D> {
    fn advance(&self, by: u64) {
        self.stages.change(self.number, |stage| stage.done = stage.done.saturating_add(by));
    }

    fn had(&self, by: u64) {
        self.stages.change(self.number, |stage| {
            stage.done = stage.done.saturating_add(by);
            stage.had = stage.had.saturating_add(by);
        });
    }

    fn note(&self, text: &str) {
        self.stages.change(self.number, |stage| stage.note = visible(text));
    }
}

impl<D: StageDisplay> Drop for StageBar<D> {
    fn drop(&mut self) {
        self.stages.change(self.number, |stage| stage.took = Some(stage.begun.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_is_told_once_a_few_steps_of_some_seconds_are_done() {
        let stage = |done, seconds, has_ended| {
            let line = String::new();
            ShownStage { line, done, total: Some(100), has_ended, seconds }
        };
        assert_eq!(stage(4, 20.0, false).left(), Some(480.0));
        let untold = [stage(2, 20.0, false), stage(50, 9.0, false), stage(100, 20.0, true)];
        assert_eq!(untold.map(|stage| stage.left()), [None; 3]);
        assert_eq!(ShownStage { total: None, ..stage(4, 20.0, false) }.left(), None);
    }
}
