//! Progress in a notebook: one output of the cell, which is updated in place while it works.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cell::Cell;
use crate::base::task::{Bar, Progress, human, time_left};
use crate::report::html::escape;
use crate::report::number::fixed;
use crate::report::visible_text::visible;

/// Time from which on a stage is shown; shorter ones only flicker.
const LONG: Duration = Duration::from_millis(500);

/// Time between two updates.
const AGAIN: Duration = Duration::from_millis(200);

/// Maximum number of stages that are shown, the newest ones.
const MOST: usize = 12;

/// Progress of the cell that runs.
pub struct CellProgress(Arc<Stages>);

struct Stages {
    cell: Arc<Cell>,
    shown: Mutex<ShownStages>,
}

#[derive(Default)]
struct ShownStages {
    stages: Vec<Stage>,
    begun: usize,
    /// The name of the output, once there is one.
    display: Option<String>,
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

impl CellProgress {
    pub fn new(cell: Arc<Cell>) -> Self {
        Self(Arc::new(Stages { cell, shown: Mutex::default() }))
    }

    /// Forgets the stages of the cell before.
    pub fn begin_cell(&self) {
        let mut shown = self.0.shown();
        *shown = ShownStages { begun: shown.begun, ..ShownStages::default() };
    }

    fn begun(&self, label: &str, total: Option<u64>, begun: Instant) -> Box<dyn Bar> {
        let mut shown = self.0.shown();
        let number = shown.begun;
        shown.begun += 1;
        let label = visible(label);
        shown.stages.push(Stage { number, label, total, done: 0, had: 0, note: String::new(), begun, took: None });
        drop(shown);
        self.0.update(false);
        Box::new(CellBar { stages: self.0.clone(), number })
    }
}

impl Progress for CellProgress {
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Bar> {
        self.begun(label, total, Instant::now())
    }

    fn begin_late(&self, label: &str, since: Instant) -> Box<dyn Bar> {
        self.begun(label, None, since)
    }

    fn say(&self, line: &str) {
        self.0.cell.remark(line);
    }
}

impl Stages {
    fn shown(&self) -> MutexGuard<'_, ShownStages> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a stage, and shows that if it is time.
    fn change(&self, number: usize, change: impl FnOnce(&mut Stage)) {
        let mut shown = self.shown();
        if let Some(stage) = shown.stages.iter_mut().rfind(|stage| stage.number == number) {
            change(stage);
            let has_ended = stage.took.is_some();
            drop(shown);
            self.update(has_ended);
        }
    }

    /// Shows the stages, unless they were shown a moment ago. What has ended is shown at once if it was seen before.
    fn update(&self, has_ended: bool) {
        let mut shown = self.shown();
        let now = Instant::now();
        let is_recent = shown.updated.is_some_and(|last| now.saturating_duration_since(last) < AGAIN);
        shown.stages.retain(|stage| stage.took.is_none_or(|took| took >= LONG));
        let surplus = shown.stages.len().saturating_sub(MOST);
        shown.stages.drain(..surplus);
        let long: Vec<&Stage> = shown.stages.iter().filter(|stage| stage.lasted(now) >= LONG).collect();
        if long.is_empty() || is_recent && !has_ended {
            return;
        }
        let text: Vec<String> = long.iter().map(|stage| stage.line(now)).collect();
        let html: String = long.iter().map(|stage| stage.html(now)).collect();
        let data = json!({ "text/plain": text.join("\n"), "text/html": html });
        let kind = if shown.display.is_some() { "update_display_data" } else { "display_data" };
        let display = shown.display.get_or_insert_with(|| self.cell.display()).clone();
        shown.updated = Some(now);
        let content: Value = json!({ "data": data, "metadata": {}, "transient": { "display_id": display } });
        self.cell.publish(kind, &content);
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

    fn line(&self, now: Instant) -> String {
        format!("{}: {}", self.label, self.state(now))
    }

    fn html(&self, now: Instant) -> String {
        let bar = match (self.took, self.total) {
            (Some(_), _) => String::new(),
            (None, Some(total)) => format!("<progress value=\"{}\" max=\"{}\"></progress> ", self.done, total.max(1)),
            (None, None) => "<progress></progress> ".into(),
        };
        format!("<div>{bar}{}</div>", escape::text(&self.line(now)))
    }
}

/// A stage that is shown until it is dropped.
struct CellBar {
    stages: Arc<Stages>,
    number: usize,
}

impl Bar for CellBar {
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

impl Drop for CellBar {
    fn drop(&mut self) {
        self.stages.change(self.number, |stage| stage.took = Some(stage.begun.elapsed()));
    }
}
