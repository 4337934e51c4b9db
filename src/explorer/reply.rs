//! A reply: the lines of JSON that answer a question, whoever carries them. The server sends them (`answer_stream`), an
//! exported page hears them from its worker.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::answers::{self, Question};
use super::state::Explorer;
use crate::base::clock::Instant;
use crate::base::task::{Bar, Progress};
use crate::base::{Error, Kind, Result, Task, locked};

/// Minimum time between two lines of progress.
const PACE: Duration = Duration::from_millis(100);

/// A receiver of lines.
pub type Carrier = Arc<dyn Fn(&Value) + Send + Sync>;

/// Answers a question until the flag is raised: passes progress and the first lines to `carrier`, and returns the last line.
pub fn answer(explorer: &Explorer, question: Question, carrier: &Carrier, flag: &Arc<AtomicBool>) -> Result<Value> {
    let lines = Arc::new(ProgressLines { carrier: carrier.clone(), last: Mutex::default() });
    let task = Task::new(flag.clone(), Arc::new(AnswerProgress(lines)));
    task.check()?;
    answers::answer(explorer, question, &mut |line| carrier(&line), &task)
}

/// Returns the last line: the answer, or why there is none.
pub fn last(outcome: Result<Value>) -> Value {
    match outcome {
        Ok(mut answer) => {
            if let Some(fields) = answer.as_object_mut() {
                fields.insert("done".into(), true.into());
            }
            answer
        }
        Err(error) if error.kind == Kind::Interrupted => json!({ "cancelled": true }),
        Err(error) => failure(&error),
    }
}

/// Returns an error as the page is told it.
pub fn failure(error: &Error) -> Value {
    json!({ "error": { "message": error.message, "hint": error.hint } })
}

/// Progress as lines of the reply.
struct AnswerProgress(Arc<ProgressLines>);

struct ProgressLines {
    carrier: Carrier,
    last: Mutex<Option<Instant>>,
}

impl ProgressLines {
    fn tell(&self, done: u64, total: Option<u64>, what: &str) {
        let mut last = locked(&self.last);
        if last.is_none_or(|last| last.elapsed() >= PACE) {
            *last = Some(Instant::now());
            (self.carrier)(&json!({ "progress": [done, total, what] }));
        }
    }
}

impl Progress for AnswerProgress {
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Bar> {
        self.0.tell(0, total, label);
        Box::new(AnswerBar { pace: self.0.clone(), label: label.into(), done: Mutex::default(), total })
    }

    fn say(&self, _line: &str) {}
}

struct AnswerBar {
    pace: Arc<ProgressLines>,
    label: String,
    done: Mutex<u64>,
    total: Option<u64>,
}

impl Bar for AnswerBar {
    fn advance(&self, by: u64) {
        let mut done = locked(&self.done);
        *done = done.saturating_add(by);
        self.pace.tell(*done, self.total, &self.label);
    }

    fn note(&self, _text: &str) {}
}
