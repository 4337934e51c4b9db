//! Progress where there is no terminal: a line once a stage has lasted ten seconds, another each minute with its share and
//! the time left, and one at its end. A log of half an hour tells what the program is at, and shorter stages say nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::base::locked;
use crate::base::task::{Bar, Progress, human, time_left};
use crate::report::number::fixed;
use crate::report::visible_text::visible;
use crate::script::engine::console::to_stderr;

/// Time from which on a stage is reported.
const LONG: Duration = Duration::from_secs(10);

/// Time between two reports of a stage.
const AGAIN: Duration = Duration::from_secs(60);

/// Time between two looks at the clock.
const TICK: Duration = Duration::from_millis(500);

/// The stages that are running.
#[derive(Default)]
pub struct ProgressLog {
    stages: Arc<Mutex<Vec<Weak<Stage>>>>,
}

struct Stage {
    label: String,
    total: Option<u64>,
    done: AtomicU64,
    /// The part of the work that was done before.
    had: AtomicU64,
    begun: Instant,
    told: Mutex<LastReport>,
}

#[derive(Default)]
struct LastReport {
    note: String,
    last: Option<Instant>,
}

impl Progress for ProgressLog {
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Bar> {
        self.begun(label, total, Instant::now())
    }

    fn begin_late(&self, label: &str, since: Instant) -> Box<dyn Bar> {
        self.begun(label, None, since)
    }

    fn say(&self, line: &str) {
        to_stderr(&format!("{line}\n"));
    }
}

impl ProgressLog {
    fn begun(&self, label: &str, total: Option<u64>, begun: Instant) -> Box<dyn Bar> {
        let stage = Arc::new(Stage {
            label: visible(label),
            total,
            done: AtomicU64::new(0),
            had: AtomicU64::new(0),
            begun,
            told: Mutex::default(),
        });
        let mut stages = locked(&self.stages);
        let is_watched = !stages.is_empty();
        stages.push(Arc::downgrade(&stage));
        if !is_watched {
            let stages = Arc::downgrade(&self.stages);
            // Without a thread, stages that do not advance say nothing, and all else is as it was.
            let _unwatched = std::thread::Builder::new().name("log".into()).spawn(move || watch(&stages));
        }
        Box::new(StageBar(stage))
    }
}

/// Reports stages until none is left.
fn watch(stages: &Weak<Mutex<Vec<Weak<Stage>>>>) {
    while let Some(stages) = stages.upgrade() {
        let mut all = locked(&stages);
        all.retain(|stage| stage.strong_count() > 0);
        if all.is_empty() {
            return;
        }
        let lines: Vec<String> = all.iter().filter_map(|stage| stage.upgrade()?.due(Instant::now())).collect();
        drop(all);
        for line in lines {
            to_stderr(&format!("{line}\n"));
        }
        drop(stages);
        std::thread::sleep(TICK);
    }
}

impl Stage {
    /// Returns the line that is due by now.
    fn due(&self, now: Instant) -> Option<String> {
        let mut told = locked(&self.told);
        let lasted = now.saturating_duration_since(self.begun);
        let is_due = told.last.map_or(lasted >= LONG, |last| now.saturating_duration_since(last) >= AGAIN);
        if !is_due {
            return None;
        }
        told.last = Some(now);
        Some(self.line(lasted, &told.note))
    }

    fn line(&self, lasted: Duration, note: &str) -> String {
        let done = self.done.load(Ordering::Relaxed);
        let seconds = lasted.as_secs_f64();
        let count = |steps: u64| fixed(steps as f64, 0);
        if self.total.is_none() && done == 0 {
            let line = format!("{}: {} so far", self.label, human(seconds));
            return if note.is_empty() { line } else { format!("{line}, {note}") };
        }
        let mut line = format!("{}: {}", self.label, count(done));
        match self.total {
            Some(total) => {
                line += &format!(" of {}", count(total));
                let here = done.saturating_sub(self.had.load(Ordering::Relaxed));
                if let Some(left) = time_left(seconds, here, total.saturating_sub(done)) {
                    line += &format!(", {} left", human(left));
                }
            }
            None => line += &format!(" after {}", human(seconds)),
        }
        if note.is_empty() { line } else { format!("{line}, {note}") }
    }
}

/// A stage that is reported while it runs, and once more when it ends.
struct StageBar(Arc<Stage>);

impl Bar for StageBar {
    fn advance(&self, by: u64) {
        self.0.done.fetch_add(by, Ordering::Relaxed);
    }

    fn had(&self, by: u64) {
        self.0.had.fetch_add(by, Ordering::Relaxed);
        self.advance(by);
    }

    fn note(&self, text: &str) {
        locked(&self.0.told).note = visible(text);
    }
}

impl Drop for StageBar {
    fn drop(&mut self) {
        if locked(&self.0.told).last.is_some() {
            let ended = human(self.0.begun.elapsed().as_secs_f64());
            to_stderr(&format!("{}: ended after {ended}\n", self.0.label));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(total: Option<u64>) -> Stage {
        Stage {
            label: "reading".into(),
            total,
            done: AtomicU64::new(0),
            had: AtomicU64::new(0),
            begun: Instant::now(),
            told: Mutex::default(),
        }
    }

    #[test]
    fn a_long_stage_is_told_of_after_ten_seconds_and_each_minute() {
        let stage = stage(Some(4000));
        let after = |seconds| stage.due(stage.begun + Duration::from_secs(seconds));
        assert_eq!(after(9), None);
        stage.done.store(1000, Ordering::Relaxed);
        assert_eq!(after(10).unwrap(), "reading: 1000 of 4000, 30 s left");
        assert_eq!([after(11), after(69)], [None, None]);
        locked(&stage.told).note = "loss 3.2".into();
        stage.done.store(2000, Ordering::Relaxed);
        assert_eq!(after(70).unwrap(), "reading: 2000 of 4000, 70 s left, loss 3.2");
    }

    #[test]
    fn what_was_done_before_does_not_count_for_the_time_left() {
        let stage = stage(Some(4000));
        stage.had.store(2000, Ordering::Relaxed);
        stage.done.store(3000, Ordering::Relaxed);
        assert_eq!(stage.line(Duration::from_secs(20), ""), "reading: 3000 of 4000, 20 s left");
    }

    #[test]
    fn a_stage_without_an_end_tells_how_long_it_has_lasted() {
        let stage = stage(None);
        stage.done.store(7, Ordering::Relaxed);
        assert_eq!(stage.line(Duration::from_secs(200), ""), "reading: 7 after 3 min");
    }

    #[test]
    fn work_that_was_silent_for_long_is_told_of_at_once() {
        let lines = ProgressLog::default();
        let begun = Instant::now();
        let Some(since) = begun.checked_sub(Duration::from_secs(12)) else { return };
        let _computing = lines.begin_late("computing", since);
        let stage = locked(&lines.stages)[0].upgrade().unwrap();
        // The watching thread may have told of it by now.
        let line = stage.due(begun);
        assert!(line.is_none_or(|line| line == "computing: 12 s so far"));
        assert!(locked(&stage.told).last.is_some());
    }

    #[test]
    fn short_stages_are_forgotten() {
        let lines = ProgressLog::default();
        drop(lines.begin("one", Some(1)));
        let _second = lines.begin("two", None);
        let deadline = Instant::now() + Duration::from_secs(60);
        while locked(&lines.stages).len() > 1 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(locked(&lines.stages).len(), 1);
    }
}
