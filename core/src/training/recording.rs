//! The recording of a training for trackers: its settings as it begins, the numbers of each step, and how it ended.

use std::mem;

use super::trainer::Trainer;
use crate::base::tracking::{RunEnd, TrackedRun, TrackedTraining};
use crate::common::*;

/// The runs that trackers have of a training. Without trackers there are none, and nothing is done.
pub struct Recording<'t> {
    task: &'t Task,
    runs: Vec<MemberRun>,
}

/// A member of a training, as one tracker has it.
struct MemberRun {
    run: Box<dyn TrackedRun>,
    member: usize,
    /// Number of steps that were recorded.
    recorded: u64,
}

impl<'t> Recording<'t> {
    /// Begins to track all members of a training, with the steps that an earlier run made of it.
    pub fn begin(trainer: &dyn Trainer, task: &'t Task) -> Self {
        let mut runs = Vec::new();
        for tracker in task.trackers() {
            for member in 0..trainer.members() {
                let settings = settings(trainer, member);
                match tracker.begin(&TrackedTraining { label: trainer.label_of(member), settings }) {
                    Ok(run) => runs.push(MemberRun { run, member, recorded: 0 }),
                    Err(error) => give_up(task, &error),
                }
            }
        }
        let mut recording = Self { task, runs };
        recording.catch_up(trainer);
        recording
    }

    /// Records the steps that were made since the last call. A training goes on without a tracker that fails.
    pub fn catch_up(&mut self, trainer: &dyn Trainer) {
        let task = self.task;
        self.runs.retain_mut(|run| match run.catch_up(trainer) {
            Ok(()) => true,
            Err(error) => {
                give_up(task, &error);
                run.fail();
                false
            }
        });
    }

    /// Records what is left, and how the training ended.
    pub fn end(mut self, trainer: &dyn Trainer, end: RunEnd) {
        self.catch_up(trainer);
        for mut member in mem::take(&mut self.runs) {
            let end = if trainer.has_failed(member.member) { RunEnd::Failed } else { end };
            if let Err(error) = member.run.end(end) {
                give_up(self.task, &error);
            }
        }
    }
}

/// A training that panics ends its runs here.
impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.runs.iter_mut().for_each(MemberRun::fail);
    }
}

impl MemberRun {
    /// Ends the run as one that failed: for whoever looks at it, it would be running for ever.
    fn fail(&mut self) {
        // What kept a step from being recorded may keep this from it, too.
        let _as_far_as_it_can = self.run.end(RunEnd::Failed);
    }

    fn catch_up(&mut self, trainer: &dyn Trainer) -> Result<()> {
        loop {
            let numbers = trainer.numbers_of(self.member, self.recorded + 1);
            if numbers.is_empty() {
                return Ok(());
            }
            self.recorded += 1;
            self.run.record(self.recorded, &numbers)?;
        }
    }
}

fn give_up(task: &Task, error: &Error) {
    task.say(&format!("a training is no longer tracked: {}", error.message));
}

/// Lists the settings of a member; those within a map have names with a point, as `options.k`.
fn settings(trainer: &dyn Trainer, member: usize) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    flatten("", trainer.settings_of(member), &mut found);
    if !found.iter().any(|(name, _)| name == "steps") {
        found.push(("steps".into(), trainer.steps().into()));
    }
    found
}

fn flatten(name: &str, value: Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(settings) => {
            for (inner, value) in settings {
                let name = if name.is_empty() { inner } else { format!("{name}.{inner}") };
                flatten(&name, value, found);
            }
        }
        Value::Null => {}
        value => found.push((name.into(), value)),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;

    use serde_json::json;

    use super::super::run::run;
    use super::*;
    use crate::base::locked;
    use crate::base::tracking::Tracker;
    use crate::err;

    /// Lines that a tracker received.
    type Lines = Arc<Mutex<Vec<String>>>;

    /// A tracker that writes down what it receives, and whose disk is full after so many steps.
    struct Heard {
        lines: Lines,
        room: u64,
    }

    struct HeardRun {
        label: String,
        lines: Lines,
        room: u64,
    }

    impl Tracker for Heard {
        fn begin(&self, training: &TrackedTraining) -> Result<Box<dyn TrackedRun>> {
            let TrackedTraining { label, settings } = training.clone();
            locked(&self.lines).push(format!("{label} {settings:?}"));
            Ok(Box::new(HeardRun { label, lines: self.lines.clone(), room: self.room }))
        }
    }

    impl TrackedRun for HeardRun {
        fn record(&mut self, step: u64, numbers: &[(&'static str, f64)]) -> Result<()> {
            if step > self.room {
                return Err(err!(File, "the disk is full"));
            }
            locked(&self.lines).push(format!("{} {step} {numbers:?}", self.label));
            Ok(())
        }

        fn end(&mut self, end: RunEnd) -> Result<()> {
            locked(&self.lines).push(format!("{} {end:?}", self.label));
            Ok(())
        }
    }

    /// Two members, of which the second was one step ahead when the training resumed at step 1.
    struct Pair {
        made: u64,
        fails_at: u64,
        panics: bool,
    }

    impl Trainer for Pair {
        fn label(&self) -> String {
            "training a pair".into()
        }

        fn steps(&self) -> u64 {
            3
        }

        fn made(&self) -> u64 {
            self.made
        }

        fn advance(&mut self, _: &Task) -> Result<()> {
            if self.made == self.fails_at {
                assert!(!self.panics, "the step panics");
                return Err(err!(Numeric, "the loss is NaN"));
            }
            self.made += 1;
            Ok(())
        }

        fn progress(&self, _: f64) -> String {
            String::new()
        }

        fn members(&self) -> usize {
            2
        }

        fn label_of(&self, member: usize) -> String {
            ["a", "b"][member].into()
        }

        fn settings_of(&self, member: usize) -> Value {
            json!({ "k": member, "of": { "l1": 0.5, "none": null } })
        }

        fn numbers_of(&self, member: usize, step: u64) -> Vec<(&'static str, f64)> {
            let made = self.made.max(2 * member as u64);
            if step <= made { vec![("loss", step as f64)] } else { Vec::new() }
        }

        fn left(&self) -> String {
            "the pair".into()
        }
    }

    /// Trains a pair whose tracker has room for so many steps. Returns whether it ended well, and what was received.
    fn trained(mut pair: Pair, room: u64) -> (bool, Vec<String>) {
        let lines = Lines::default();
        let task = Task::default().tracked_by(vec![Arc::new(Heard { lines: lines.clone(), room })]);
        let ended = catch_unwind(AssertUnwindSafe(|| run(&mut pair, &task).is_ok()));
        let lines = locked(&lines).clone();
        (ended.unwrap_or(false), lines)
    }

    fn heard(fails_at: u64, room: u64) -> (bool, Vec<String>) {
        trained(Pair { made: 1, fails_at, panics: false }, room)
    }

    #[test]
    fn each_member_is_recorded_from_its_first_step_to_its_last() {
        let (is_done, lines) = heard(u64::MAX, u64::MAX);
        let step = |label: &str, step: u64| format!("{label} {step} [(\"loss\", {step}.0)]");
        let settings = |k: u8| format!("[(\"k\", Number({k})), (\"of.l1\", Number(0.5)), (\"steps\", Number(3))]");
        assert!(is_done);
        let expected = [
            format!("a {}", settings(0)),
            format!("b {}", settings(1)),
            step("a", 1),
            step("b", 1),
            step("b", 2),
            step("a", 2),
            step("a", 3),
            step("b", 3),
            "a Done".into(),
            "b Done".into(),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_training_that_fails_says_so_and_one_whose_tracker_fails_goes_on() {
        let (is_done, lines) = heard(2, u64::MAX);
        assert!(!is_done && lines.ends_with(&["a Failed".into(), "b Failed".into()]), "{lines:?}");
        // Its runs have failed, each once, as far as the tracker knows.
        let (is_done, lines) = heard(u64::MAX, 0);
        assert!(is_done && lines.len() == 4 && lines.ends_with(&["a Failed".into(), "b Failed".into()]), "{lines:?}");
    }

    #[test]
    fn a_training_that_panics_has_failed() {
        let (is_done, lines) = trained(Pair { made: 1, fails_at: 2, panics: true }, u64::MAX);
        assert!(!is_done && lines.len() == 8 && lines.ends_with(&["a Failed".into(), "b Failed".into()]), "{lines:?}");
    }
}
