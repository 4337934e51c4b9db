//! The loop of a training: steps, their progress, checkpoints, and what an interruption or an error leaves.

use super::recording::Recording;
use super::trainer::Trainer;
use crate::base::clock::Instant;
use crate::base::counts::count;
use crate::base::task::{InterruptibleWork, Task, human};
use crate::base::tracking::RunEnd;
use crate::base::{Error, Kind, Result};

/// The way in which a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainingEnd {
    Done,
    Interrupted,
}

/// Trains to the end. An interruption ends the training early and is cleared: the result is what was trained so far. An
/// error of a step says where the steps before are saved.
pub fn run(trainer: &mut impl Trainer, task: &Task) -> Result<TrainingEnd> {
    // A training within the loss of another takes its own gradients.
    let piece = task.piece();
    let mut recording = Recording::begin(&*trainer, task);
    let made = kernels::without_tape(|| all_steps(trainer, &mut recording, &piece, task));
    let end = match &made {
        Ok(()) => RunEnd::Done,
        Err(error) if error.kind == Kind::Interrupted => RunEnd::Interrupted,
        Err(_) => RunEnd::Failed,
    };
    recording.end(&*trainer, end);
    let ended = match made {
        Ok(()) => TrainingEnd::Done,
        Err(error) if error.kind == Kind::Interrupted => {
            piece.answer(trainer.made());
            let returns =
                if task.is_whole() { String::new() } else { format!("; the call returns {}", trainer.left()) };
            let made = trainer.made();
            let steps = count(trainer.steps() as usize, "step");
            task.say(&format!("stopped after {made} of {steps}{returns}"));
            TrainingEnd::Interrupted
        }
        Err(error) => return Err(after_saving(trainer, error)),
    };
    trainer.save()?;
    Ok(ended)
}

fn all_steps(
    trainer: &mut impl Trainer,
    recording: &mut Recording,
    piece: &InterruptibleWork,
    task: &Task,
) -> Result<()> {
    let bar = task.begin(&trainer.label(), Some(trainer.steps()));
    bar.had(trainer.made());
    let begun = Instant::now();
    let from = trainer.made();
    while trainer.is_going() {
        piece.check(trainer.made())?;
        trainer.advance(task)?;
        recording.catch_up(&*trainer);
        let speed = (trainer.made() - from) as f64 / begun.elapsed().as_secs_f64();
        bar.note(&trainer.progress(speed));
        bar.advance(1);
        if trainer.is_due() {
            trainer.save()?;
            let made = trainer.made();
            let steps = trainer.steps();
            let left = human((steps - made) as f64 / speed);
            task.say(&format!("step {made} of {steps}: {}, {left} left", trainer.stage(speed)));
        }
    }
    Ok(())
}

/// Adds a note on the checkpoint to an error of a step.
fn after_saving(trainer: &mut impl Trainer, error: Error) -> Error {
    let saved = trainer.save();
    let Some(folder) = trainer.folder() else { return error };
    match saved {
        Ok(()) => error.hint(format!("the {} steps before are saved in {}", trainer.made(), folder.display())),
        Err(failed) => error.hint(format!("and no checkpoint could be saved: {failed}")),
    }
}
