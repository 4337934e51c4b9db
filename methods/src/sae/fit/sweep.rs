//! Several fits that share one reading of the data: each batch is read, centred and scaled once for all. A single fit is a
//! sweep of one.

use std::path::Path;

use super::course::{Course, Fitted, Member};
use super::history::FitStep;
use super::params::Shape;
use super::reading::Reading;
use super::recipe::Recipe;
use super::rows::Rows;
use crate::base::{Result, Task, memory};
use crate::sae::About;
use crate::tensor::Device;
use crate::training::{self, CheckpointFolder, Checkpoints, Trainer};
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
        room(&ready, first.x.device())?;
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
        training::run(&mut self, task)?;
        let Self { reading, courses, .. } = self;
        courses.into_iter().map(|course| course.finish(&reading, about.clone())).collect()
    }
}

impl Trainer for Sweep<'_> {
    fn label(&self) -> String {
        match self.courses.len() {
            1 => "fitting".into(),
            several => format!("fitting {several} dictionaries"),
        }
    }

    fn steps(&self) -> u64 {
        self.courses.iter().map(|course| course.recipe.steps).max().unwrap_or(0)
    }

    fn made(&self) -> u64 {
        self.at
    }

    fn is_going(&self) -> bool {
        self.courses.iter().any(Course::is_going)
    }

    fn advance(&mut self, task: &Task) -> Result<()> {
        let batch = self.reading.next(task)?;
        task.check()?;
        let at = self.at;
        // Those at a later step wait for the others. An interruption comes between steps: all have made as many.
        for course in self.courses.iter_mut().filter(|course| course.is_going() && course.made() == at) {
            course.advance(&batch)?;
        }
        if self.courses.iter().all(Course::has_failed)
            && let Some(error) = self.courses.iter_mut().find_map(Course::take_failure)
        {
            return Err(error);
        }
        self.at += 1;
        Ok(())
    }

    fn progress(&self, speed: f64) -> String {
        let recent: Vec<FitStep> = self.courses.iter().filter_map(Course::recent).collect();
        let rows = speed * self.courses.first().map_or(0.0, |course| course.recipe.batch as f64);
        let failed = self.courses.iter().filter(|course| course.has_failed()).count();
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        match recent.as_slice() {
            [] => String::new(),
            [FitStep { loss, l0, fve, dead, .. }] => {
                format!("loss {loss:.4}, L0 {l0:.1}, FVE {fve:.3}, {dead} dead, {rows:.0} rows/s")
            }
            several => {
                let [l0, fve] = [span(several, |step| step.l0), span(several, |step| step.fve)];
                format!("L0 {:.1} to {:.1}, FVE {:.3} to {:.3}, {rows:.0} rows/s{failed}", l0[0], l0[1], fve[0], fve[1])
            }
        }
    }

    /// That of the first dictionary which has one.
    fn folder(&self) -> Option<&Path> {
        self.courses.iter().find_map(|course| course.checkpoints.as_ref()).map(Checkpoints::folder)
    }

    fn is_due(&self) -> bool {
        self.courses.iter().any(Course::is_due)
    }

    fn save(&mut self) -> Result<()> {
        self.courses.iter_mut().try_for_each(|course| course.save(&self.data))
    }

    fn left(&self) -> String {
        match self.courses.iter().filter(|course| course.is_going()).count() {
            0 | 1 => "the dictionary as it is".into(),
            several => format!("{several} unfinished dictionaries as they are"),
        }
    }
}

/// A fit of one dictionary that is ready to run.
pub struct Fit<'a>(Sweep<'a>);

impl<'a> Fit<'a> {
    /// `rows` gives activations, or for a transcoder those that are read and those that are to be written.
    pub fn new(
        recipe: Recipe,
        d_sae: usize,
        rows: Box<dyn Rows + 'a>,
        keep: Option<CheckpointFolder<'a>>,
        task: &Task,
    ) -> Result<Self> {
        Ok(Self(Sweep::new(vec![Member { recipe, d_sae, keep }], rows, task)?))
    }

    /// Fits to the end. An interruption ends it early and is cleared: the result is the dictionary so far.
    pub fn run(self, about: About, task: &Task) -> Result<Fitted> {
        self.0.run(&about, task)?.pop().ok_or_else(|| err!(Bug, "a fit without a dictionary"))
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
fn room(members: &[(Member, Shape)], device: &Device) -> Result<()> {
    let weights = |shape: &Shape| shape.d_sae as u128 * (shape.d_in + shape.d_out) as u128;
    let all: u128 = members.iter().map(|(_, shape)| weights(shape)).sum();
    let batch = |(member, shape): &(Member, Shape)| member.recipe.batch as u128 * shape.d_sae as u128;
    let widest = members.iter().map(batch).max().unwrap_or(0);
    // Weights, two moments and gradients of all; pre-activations, codes and their gradient graph of one.
    memory::check_on(device, 4 * (4 * all + 6 * widest), || match members.len() {
        1 => "this fit".into(),
        several => format!("the fits of {several} dictionaries"),
    })
}

fn span(found: &[FitStep], of: fn(&FitStep) -> f64) -> [f64; 2] {
    let ends = found.iter().map(of);
    [ends.clone().fold(f64::INFINITY, f64::min), ends.fold(f64::NEG_INFINITY, f64::max)]
}

#[cfg(test)]
mod tests;
