//! Several fits that share one reading of the data: each batch is read, centred and scaled once for all.

use std::time::Instant;

use super::course::{Course, Member};
use super::reading::Reading;
use super::recipe::{Recipe, Shape};
use super::rows::Rows;
use super::run::Fitted;
use super::state::Found;
use crate::base::task::{Bar, human};
use crate::base::{Error, Kind, Result, Task, memory};
use crate::sae::About;
use crate::{bail, err};

/// Fits that are ready to run. Each ends bit for bit as it would alone on the same rows.
pub struct Sweep<'a> {
    reading: Reading<'a>,
    courses: Vec<Course<'a>>,
    /// The description of the data, as checkpoints have it.
    data: String,
    /// Batches that have been read or skipped.
    at: u64,
}

impl<'a> Sweep<'a> {
    /// `rows` gives activations, or for transcoders those that are read and those that are to be written. Members with
    /// a checkpoint resume from it, which need not be the same step for all.
    pub fn new(members: Vec<Member<'a>>, rows: Box<dyn Rows + 'a>, task: &Task) -> Result<Self> {
        let (batch, is_scaled) = shared(&members)?;
        let (mut reading, first) = Reading::new(rows, batch, is_scaled, task)?;
        let (d_in, d_out) = (reading.d_in, reading.d_out);
        let mut ready = Vec::with_capacity(members.len());
        for member in members {
            let shape = Shape { d_in, d_sae: member.d_sae, d_out };
            ready.push((Member { recipe: member.recipe.checked(shape)?, ..member }, shape));
        }
        room(&ready)?;
        let data = match ready.iter().any(|(member, _)| member.keep.is_some()) {
            true => reading.about(),
            false => String::new(),
        };
        let mut courses = Vec::with_capacity(ready.len());
        for (member, shape) in ready {
            task.check()?;
            courses.push(Course::begin(member, shape, &first, &data, task)?);
        }
        let at = courses.iter().map(Course::made).min().unwrap_or(0);
        if at > 0 {
            reading.skip(at, task)?;
        }
        Ok(Self { reading, courses, data, at })
    }

    /// Fits to the end. An interruption ends it early and is cleared: the result is the dictionaries so far. One whose
    /// loss becomes NaN ends in the state before; it is an error if all of them do.
    pub fn run(mut self, about: &About, task: &Task) -> Result<Vec<Fitted>> {
        match self.all_steps(task) {
            Ok(()) => {}
            Err(error) if error.kind == Kind::Interrupted => task.answer_interruption(),
            Err(error) => return Err(self.kept_before(error)),
        }
        if self.courses.iter().all(Course::has_failed)
            && let Some(error) = self.courses.iter_mut().find_map(Course::take_failure)
        {
            return Err(self.kept_before(error));
        }
        self.save()?;
        let Self { reading, courses, .. } = self;
        courses.into_iter().map(|course| course.finish(&reading, about.clone())).collect()
    }

    fn all_steps(&mut self, task: &Task) -> Result<()> {
        let label = match self.courses.len() {
            1 => "fitting".into(),
            several => format!("fitting {several} dictionaries"),
        };
        let bar = task.begin(&label, Some(self.steps()));
        bar.had(self.at);
        let (begun, from) = (Instant::now(), self.at);
        while self.courses.iter().any(Course::is_going) {
            task.check()?;
            let batch = self.reading.next(task)?;
            let at = self.at;
            // Those at a later step wait for the others.
            for course in self.courses.iter_mut().filter(|course| course.is_going() && course.made() == at) {
                task.check()?;
                course.advance(&batch)?;
            }
            self.at += 1;
            let speed = (self.at - from) as f64 / begun.elapsed().as_secs_f64();
            self.tell(bar.as_ref(), speed);
            if self.courses.iter().any(Course::is_due) {
                self.courses.iter_mut().filter(|course| course.is_due()).try_for_each(|c| c.save(&self.data))?;
                task.say(&self.stage(speed));
            }
        }
        Ok(())
    }

    fn steps(&self) -> u64 {
        self.courses.iter().map(|course| course.recipe.steps).max().unwrap_or(0)
    }

    fn tell(&self, bar: &dyn Bar, speed: f64) {
        bar.note(&self.told(speed));
        bar.advance(1);
    }

    /// The progress line, at this many steps a second.
    fn told(&self, speed: f64) -> String {
        let recent: Vec<Found> = self.courses.iter().filter_map(Course::recent).collect();
        let rows = speed * self.courses.first().map_or(0.0, |course| course.recipe.batch as f64);
        let failed = self.courses.iter().filter(|course| course.has_failed()).count();
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        match recent.as_slice() {
            [] => String::new(),
            [Found { loss, l0, fve, dead, .. }] => {
                format!("loss {loss:.4}, L0 {l0:.1}, FVE {fve:.3}, {dead} dead, {rows:.0} rows/s")
            }
            several => {
                let [l0, fve] = [span(several, |found| found.l0), span(several, |found| found.fve)];
                format!("L0 {:.1} to {:.1}, FVE {:.3} to {:.3}, {rows:.0} rows/s{failed}", l0[0], l0[1], fve[0], fve[1])
            }
        }
    }

    /// The progress, in a line.
    fn stage(&self, speed: f64) -> String {
        let (step, steps) = (self.at, self.steps());
        format!("step {step} of {steps}: {}, {} left", self.told(speed), human((steps - step) as f64 / speed))
    }

    fn save(&mut self) -> Result<()> {
        self.courses.iter_mut().try_for_each(|course| course.save(&self.data))
    }

    /// An error that ends the fit, with a note on the checkpoint.
    fn kept_before(&mut self, error: Error) -> Error {
        let made = self.courses.iter().map(Course::made).max().unwrap_or(0);
        let Some(folder) = self.courses.iter().find_map(|course| course.keep.as_ref()).map(|keep| keep.folder.clone())
        else {
            return error;
        };
        match self.save() {
            Ok(()) => error.hint(format!("the {made} steps before are saved in {}", folder.display())),
            Err(failed) => error.hint(format!("and no checkpoint could be saved: {failed}")),
        }
    }
}

/// Batch and scaling, which members that read together have in common.
fn shared(members: &[Member]) -> Result<(usize, bool)> {
    let Some(first) = members.first() else {
        bail!(Argument, "expected at least one dictionary to fit, found none");
    };
    let of = |recipe: &Recipe| (recipe.batch, recipe.scaled);
    match members.iter().all(|member| of(&member.recipe) == of(&first.recipe)) {
        true => Ok(of(&first.recipe)),
        false => Err(err!(Argument, "the fits of a sweep share one `batch` and one `scaled`")),
    }
}

/// Refuses fits that do not fit into memory.
fn room(members: &[(Member, Shape)]) -> Result<()> {
    let weights = |shape: &Shape| shape.d_sae as u128 * (shape.d_in + shape.d_out) as u128;
    let all: u128 = members.iter().map(|(_, shape)| weights(shape)).sum();
    let batch = |(member, shape): &(Member, Shape)| member.recipe.batch as u128 * shape.d_sae as u128;
    let widest = members.iter().map(batch).max().unwrap_or(0);
    // Weights, two moments and gradients of all; pre-activations, codes and their gradient graph of one.
    memory::check(4 * (4 * all + 6 * widest), || match members.len() {
        1 => "this fit".into(),
        several => format!("the fits of {several} dictionaries"),
    })
}

fn span(found: &[Found], of: fn(&Found) -> f64) -> [f64; 2] {
    let ends = found.iter().map(of);
    [ends.clone().fold(f64::INFINITY, f64::min), ends.fold(f64::NEG_INFINITY, f64::max)]
}

#[cfg(test)]
mod tests;
