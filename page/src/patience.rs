//! The end of what a page does: work that would take it hours is stopped as soon as its pace is known, and refused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use microtome::base::error::IN_PROGRAM;
use microtome::base::{Error, locked};
use microtome::err;
use microtome::repl::stages::ShownStage;

/// Maximum number of seconds that a stage may have left.
const LONGEST: f64 = 3600.0;

/// The patience of a page, which the display of stages and the session share.
#[derive(Clone, Default)]
pub struct Patience {
    /// The flag that ends what runs.
    pub stop: Arc<AtomicBool>,
    /// The stage that takes too long, in words.
    ended_by: Arc<Mutex<Option<String>>>,
}

impl Patience {
    /// Looks at stages of the work, and ends it where one of them takes too long. A training that was ended so hands its
    /// script on, which is then ended, too.
    pub fn look_at(&self, stages: &[ShownStage]) {
        let mut ended_by = locked(&self.ended_by);
        if ended_by.is_none() {
            let is_too_long = |stage: &&ShownStage| stage.left().is_some_and(|left| left > LONGEST);
            *ended_by = stages.iter().find(is_too_long).map(|stage| stage.line.clone());
        }
        if ended_by.is_some() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Takes the refusal of what ended, if it was refused; the next text begins with new patience.
    pub fn take_refusal(&self) -> Option<Error> {
        self.stop.store(false, Ordering::Relaxed);
        let stage = locked(&self.ended_by).take()?;
        Some(err!(Argument, "this would take a page more than an hour: {stage}").hint(IN_PROGRAM))
    }
}
