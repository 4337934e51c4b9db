//! A fit from its beginning to its end.

use std::time::Instant;

use super::checkpoint::Keep;
use super::finish::{Input, finished};
use super::history::History;
use super::loss::Batch;
use super::params::Params;
use super::recipe::{Recipe, Shape};
use super::rows::Rows;
use super::state::State;
use crate::base::random::stream;
use crate::base::task::Bar;
use crate::base::{Error, Kind, Result, Task, memory, task};
use crate::err;
use crate::sae::{About, Sae};
use crate::tensor::{DType, Tensor};

/// Rows that tell how activations are centred and scaled.
const LOOKED_AT: usize = 1 << 14;

/// A fit that is ready to go.
pub struct Fit<'a> {
    recipe: Recipe,
    shape: Shape,
    rows: Box<dyn Rows + 'a>,
    keep: Option<Keep<'a>>,
    state: State,
    history: History,
    read: Input,
    written: Option<Input>,
}

/// What a fit gives.
pub struct Fitted {
    pub sae: Sae,
    pub history: History,
    /// Whether it came to its end, or was interrupted.
    pub is_whole: bool,
}

impl<'a> Fit<'a> {
    /// `rows` gives activations, or for a transcoder those that are read and those that are to be written.
    pub fn new(
        recipe: Recipe,
        d_sae: usize,
        mut rows: Box<dyn Rows + 'a>,
        keep: Option<Keep<'a>>,
        task: &Task,
    ) -> Result<Self> {
        let looked_at = rows.next(LOOKED_AT.max(recipe.batch), task)?;
        let (x, target) = match looked_at.as_slice() {
            [x] => (x, None),
            [x, target] => (x, Some(target)),
            other => return Err(err!(Bug, "expected the activations of one or two sites, found {}", other.len())),
        };
        let shape = Shape { d_in: x.dims()[1], d_sae, d_out: target.unwrap_or(x).dims()[1] };
        let recipe = recipe.checked(shape)?;
        let weights = shape.d_sae as u128 * (shape.d_in + shape.d_out) as u128;
        // Weights, two moments, gradients; pre-activations, codes and what leads from one to the other.
        let bytes = 4 * (4 * weights + 6 * recipe.batch as u128 * shape.d_sae as u128);
        memory::check(bytes, || "this fit".into())?;
        let (read, written) =
            (input(x, recipe.scaled)?, target.map(|target| input(target, recipe.scaled)).transpose()?);
        let params = Params::draw(&recipe, shape, &mut stream(recipe.seed, "dictionary", 0))?;
        let mut state = State::new(params, d_sae);
        let mut history = History { steps: Vec::new(), rows_per_step: recipe.batch as u64 };
        if let Some(keep) = &keep
            && keep.is_begun()?
        {
            keep.load(&mut state, &mut history, &recipe, &rows.about())?;
            rows.skip(state.step * recipe.batch as u64, task)?;
        } else {
            let first = written.as_ref().unwrap_or(&read).of(target.unwrap_or(x))?;
            state.start_at_median(&first, task)?;
        }
        Ok(Self { recipe, shape, rows, keep, state, history, read, written })
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many steps had been made before.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// Fits to the end. An interruption ends it early and is answered by that: the dictionary so far is kept.
    pub fn run(mut self, about: About, task: &Task) -> Result<Fitted> {
        let is_whole = match self.all_steps(task) {
            Ok(()) => true,
            Err(error) if error.kind == Kind::Interrupted => {
                task.answer_interruption();
                false
            }
            Err(error) => return Err(self.kept_before(error)),
        };
        self.save()?;
        let Self { recipe, state, read, written, history, .. } = self;
        let sae = finished(&recipe, &state.params, state.threshold, &read, written.as_ref(), about)?;
        Ok(Fitted { sae, history, is_whole })
    }

    fn all_steps(&mut self, task: &Task) -> Result<()> {
        let bar = task.begin("fitting", Some(self.recipe.steps));
        bar.advance(self.state.step);
        let (begun, from) = (Instant::now(), self.state.step);
        while self.state.step < self.recipe.steps {
            task.check()?;
            let batch = self.batch(task)?;
            let found = self.state.advance(&batch, &self.recipe)?;
            self.history.steps.push(found);
            let rows = (self.state.step - from) * self.recipe.batch as u64;
            let speed = rows as f64 / begun.elapsed().as_secs_f64();
            self.tell(bar.as_ref(), speed);
            if let Some(keep) = &self.keep
                && self.state.step.is_multiple_of(keep.every.max(1))
            {
                self.save()?;
                task.say(&self.stage(speed));
            }
        }
        Ok(())
    }

    fn batch(&mut self, task: &Task) -> Result<Batch> {
        let found = self.rows.next(self.recipe.batch, task)?;
        let target = match (found.get(1), &self.written) {
            (Some(target), Some(written)) => Some(written.of(target)?),
            _ => None,
        };
        let x = found.first().ok_or_else(|| err!(Bug, "rows of no site"))?;
        Ok(Batch { x: self.read.of(x)?, target })
    }

    fn told(&self, speed: f64) -> String {
        let Some(found) = self.history.recent(20) else { return String::new() };
        let (loss, l0, fve, dead) = (found.loss, found.l0, found.fve, found.dead);
        format!("loss {loss:.4}, L0 {l0:.1}, FVE {fve:.3}, {dead} dead, {speed:.0} rows/s")
    }

    fn tell(&self, bar: &dyn Bar, speed: f64) {
        bar.note(&self.told(speed));
        bar.advance(1);
    }

    /// How far the fit has come, in a line.
    fn stage(&self, speed: f64) -> String {
        let (step, steps) = (self.state.step, self.recipe.steps);
        let left = task::human((steps - step) as f64 * self.recipe.batch as f64 / speed);
        format!("step {step} of {steps}: {}, {left} left", self.told(speed))
    }

    fn save(&self) -> Result<()> {
        let Some(keep) = &self.keep else { return Ok(()) };
        keep.save(&self.state, &self.history, &self.recipe, &self.rows.about())
    }

    /// An error of a step, with what is left of the steps before it.
    fn kept_before(&self, error: Error) -> Error {
        let Some(keep) = &self.keep else { return error };
        match self.save() {
            Ok(()) => error.hint(format!("the {} steps before are kept in {}", self.state.step, keep.folder.display())),
            Err(failed) => error.hint(format!("and they could not be kept: {failed}")),
        }
    }
}

/// The mean of rows, and one over the root of their mean square about it, so that a coordinate has mean square 1.
fn input(x: &Tensor, is_scaled: bool) -> Result<Input> {
    if !is_scaled {
        return Ok(Input { centre: Tensor::zeros(x.dims()[1], DType::F32, x.device())?, scale: 1.0 });
    }
    let wide = x.to_dtype(DType::F64)?;
    let centre = wide.mean(0)?;
    let spread = wide.broadcast_sub(&centre)?.sqr()?.mean_all()?.to_scalar::<f64>()?;
    if !spread.is_finite() {
        return Err(err!(Numeric, "expected finite activations to fit, found NaN or infinity"));
    }
    // Where nothing varies there is nothing to scale.
    let scale = if spread > 0.0 { 1.0 / spread.sqrt() } else { 1.0 };
    Ok(Input { centre: centre.to_dtype(DType::F32)?, scale })
}
