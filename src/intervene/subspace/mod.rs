//! Distributed alignment search: the subspace of a site that carries a variable (Geiger et al. 2023), and its boundless
//! form (Wu et al. 2023).
//!
//! An interchange replaces the part of the base's activation b that lies in the subspace by that of a source s:
//! b + (s - b) R M R^T, with the orthonormal columns of R. M keeps the first k coordinates, or in the boundless form
//! sigmoid(i / t) sigmoid((boundary d - i) / t) of coordinate i. R minimises the cross-entropy of the answer that the
//! variable of the source asks for, by Adam and a QR retraction after each step.

mod data;
mod interchange;
#[cfg(test)]
mod tests;

use candle_core::Var;
use kernels::{AdamW, Gradients, Taped};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

pub use data::Interchange;
pub use interchange::{InterchangeAccuracy, boundless_mask, interchanged};

use crate::base::random::stream;
use crate::base::{Cell, Result, Table, Task};
use crate::err;
use crate::model::decoder::Decoder;
use crate::model::site::{Place, one_site};
use crate::tensor::{DType, Tensor, create, floats, linalg};
use data::Prepared;

crate::options! {
    /// How a subspace is searched.
    #[derive(Debug, Clone)]
    pub struct DasOptions {
        /// The site of the interchange; it must be given.
        site: Option<String> = None => usually("none");
        /// The position of the interchange in both texts; a negative one counts from the end.
        pos: i64 = -1;
        /// Dimension of the subspace.
        k: usize = 1 => at_least(1.0);
        /// Whether the dimension is learned, too (boundless DAS); `k` is then not used.
        boundless: bool = false;
        /// Number of steps.
        steps: usize = 200 => at_least(1.0);
        /// Learning rate of Adam.
        lr: f64 = 0.01 => above(0.0);
        /// Pairs in a step.
        batch: usize = 32 => at_least(1.0);
        /// Share of the pairs that judge and do not fit.
        held_out: f64 = 0.25 => above(0.0).at_most(1.0);
        /// Seed of the first basis, of the order of pairs, and of the split.
        seed: i64 = 0;
    }
}

/// The temperature of the boundless mask, at the first step and at the last.
const TEMPERATURES: [f64; 2] = [50.0, 0.1];

/// The range of the boundary, as a share of the dimensions.
const BOUNDARIES: [f64; 2] = [1e-3, 1.0];

/// A subspace that was found.
#[derive(Debug, Clone)]
pub struct Subspace {
    pub place: Place,
    pub pos: i64,
    /// Orthonormal columns, `[d, k]`.
    pub basis: Tensor,
    /// The loss of each step.
    pub losses: Vec<f64>,
    /// On held-out pairs: the subspace, a random one of its dimension, the whole activation, and no interchange.
    pub accuracies: Vec<InterchangeAccuracy>,
}

impl Subspace {
    /// Interchange accuracy on held-out pairs, beside its controls.
    pub fn table(&self) -> Table {
        let row = |found: &InterchangeAccuracy| -> Vec<Cell> {
            let [low, high] = found.interval();
            vec![found.what.into(), found.share().into(), low.into(), high.into(), found.pairs.into()]
        };
        Table {
            title: format!(
                "interchange accuracy on held-out pairs, {} of {} dimensions",
                self.dimension(),
                self.width()
            ),
            columns: ["interchanged", "accuracy", "low", "high", "pairs"].map(String::from).into(),
            rows: self.accuracies.iter().map(row).collect(),
        }
    }

    pub fn dimension(&self) -> usize {
        self.basis.dims().last().copied().unwrap_or_default()
    }

    pub fn width(&self) -> usize {
        self.basis.dims().first().copied().unwrap_or_default()
    }

    /// The share of other pairs whose answer the interchange gives.
    pub fn accuracy(&self, model: &Decoder, pairs: &[Interchange], task: &Task) -> Result<InterchangeAccuracy> {
        let data = Prepared::new(model, self.place, self.pos, pairs, task)?;
        let all: Vec<usize> = (0..pairs.len()).collect();
        data.accuracy("subspace", &all, Some(&self.basis), task)
    }
}

/// Searches the subspace. An interruption ends the search, and the basis is the last one.
pub fn das(model: &Decoder, pairs: &[Interchange], options: &DasOptions, task: &Task) -> Result<Subspace> {
    let missing = || err!(Argument, "expected `site`, found none").hint("#{ site: \"resid_post.0\" }").about("site");
    let place = one_site(model.config(), options.site.as_deref().ok_or_else(missing)?, "a subspace is at one site")?;
    let data = Prepared::new(model, place, options.pos, pairs, task)?;
    let d = data.width();
    if options.k > d {
        return Err(
            err!(Argument, "expected at most {d} dimensions, those of `{place}`, found {}", options.k).about("k")
        );
    }
    let (fitted, held_out) = split(pairs.len(), options)?;
    let columns = if options.boundless { d } else { options.k };
    let random = |purpose: &str, columns: usize| random_basis(d, columns, options.seed, purpose);
    let mut search = Search {
        data: &data,
        basis: Learned::new(&random("das", columns)?)?,
        boundary: options.boundless.then(|| Learned::new(&Tensor::new(&[0.5_f32], model.device())?)).transpose()?,
        options,
        losses: Vec::new(),
    };
    search.run(&fitted, task)?;
    let (basis, losses) = (search.found()?, search.losses);
    let k = basis.dim(1)?;
    let accuracies = vec![
        data.accuracy("subspace", &held_out, Some(&basis), task)?,
        data.accuracy("random subspace", &held_out, Some(&random("random subspace", k)?), task)?,
        data.accuracy("whole activation", &held_out, Some(&create::eye(d, d, DType::F32)?), task)?,
        data.accuracy("nothing", &held_out, None, task)?,
    ];
    Ok(Subspace { place, pos: options.pos, basis, losses, accuracies })
}

/// The pairs that fit, and those that judge.
fn split(count: usize, options: &DasOptions) -> Result<(Vec<usize>, Vec<usize>)> {
    let held = ((count as f64 * options.held_out).round() as usize).max(1);
    if held >= count {
        return Err(err!(Argument, "expected pairs to fit and pairs to judge, found {count}")
            .hint("give more pairs, or another `held_out`")
            .about("pairs"));
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut stream(options.seed as u64, "das, held out", 0));
    let judging = order.split_off(count - held);
    Ok((order, judging))
}

fn random_basis(d: usize, k: usize, seed: i64, purpose: &str) -> Result<Tensor> {
    let drawn = create::randn(&[d, k], DType::F32, &mut stream(seed as u64, purpose, 0))?;
    Ok(linalg::qr(&drawn)?.0)
}

/// A variable with its moments.
struct Learned {
    value: Var,
    moments: [Var; 2],
}

impl Learned {
    fn new(first: &Tensor) -> Result<Self> {
        let value = Var::from_tensor(&first.copy()?)?;
        let zeros = || Var::from_tensor(&value.zeros_like()?);
        Ok(Self { moments: [zeros()?, zeros()?], value })
    }

    fn step(&self, gradients: &Gradients, rate: f64, step: usize) -> Result<()> {
        let Some(gradient) = gradients.get(&self.value) else { return Ok(()) };
        let betas = [0.9, 0.999];
        let begun = betas.map(|beta: f64| 1.0 - beta.powf((step + 1) as f64));
        let settings = AdamW { rate, betas, eps: 1e-8, decay: 0.0, shrink: 1.0, begun };
        let [mean, square] = &self.moments;
        Ok(kernels::adamw_step(&self.value, &gradient.contiguous()?, [mean, square], settings)?)
    }
}

/// A running search.
struct Search<'a> {
    data: &'a Prepared<'a>,
    basis: Learned,
    boundary: Option<Learned>,
    options: &'a DasOptions,
    losses: Vec<f64>,
}

impl Search<'_> {
    fn run(&mut self, fitted: &[usize], task: &Task) -> Result<()> {
        let mut random: ChaCha8Rng = stream(self.options.seed as u64, "das, order", 0);
        let bar = task.begin("searching a subspace", Some(self.options.steps as u64));
        let mut order: Vec<usize> = Vec::new();
        for step in 0..self.options.steps {
            if task.is_interrupted() && step > 0 {
                task.answer_interruption();
                return Ok(());
            }
            task.check()?;
            if order.len() < self.options.batch.min(fitted.len()) {
                order = fitted.to_vec();
                order.shuffle(&mut random);
            }
            let rows = order.split_off(order.len() - self.options.batch.min(order.len()));
            let loss = self.step(step, &rows, task)?;
            self.losses.push(loss);
            bar.advance(1);
            bar.note(&format!("loss {loss:.4}"));
        }
        Ok(())
    }

    fn step(&self, step: usize, rows: &[usize], task: &Task) -> Result<f64> {
        let (d, temperature) = (self.data.width(), self.temperature(step));
        let taped = Taped::of(|| -> Result<Tensor> {
            let boundary = self.boundary.as_ref().map(|boundary| boundary.value.as_tensor());
            let mask = boundary.map(|boundary| boundless_mask(boundary, d, temperature)).transpose()?;
            let loss = self.data.loss(rows, self.basis.value.as_tensor(), mask.as_ref(), task)?;
            match boundary {
                // The boundary itself is what dimensions cost (Wu et al. 2023).
                Some(boundary) => Ok((loss + boundary.sum_all()?)?),
                None => Ok(loss),
            }
        })?;
        let loss = floats(&taped.number())?.first().copied().unwrap_or(f64::NAN);
        if !loss.is_finite() {
            return Err(err!(Numeric, "the loss of step {step} is {loss}").hint("a smaller `lr` may help").about("lr"));
        }
        let gradients = taped.backward()?;
        self.basis.step(&gradients, self.options.lr, step)?;
        self.basis.value.set(&linalg::qr(&self.basis.value.as_detached_tensor())?.0)?;
        if let Some(boundary) = &self.boundary {
            boundary.step(&gradients, self.options.lr, step)?;
            boundary.value.set(&boundary.value.as_detached_tensor().clamp(BOUNDARIES[0], BOUNDARIES[1])?)?;
        }
        Ok(loss)
    }

    /// The temperature of a step, from the first to the last on a straight line.
    fn temperature(&self, step: usize) -> f64 {
        let [first, last] = TEMPERATURES;
        first + (last - first) * step as f64 / (self.options.steps - 1).max(1) as f64
    }

    /// The basis, in the boundless form its columns up to the boundary.
    fn found(&self) -> Result<Tensor> {
        let basis = self.basis.value.as_detached_tensor();
        let Some(boundary) = &self.boundary else { return Ok(basis) };
        let d = self.data.width();
        let end = floats(&boundary.value.as_detached_tensor())?.first().copied().unwrap_or(1.0) * d as f64;
        Ok(basis.narrow(1, 0, (end.ceil() as usize).clamp(1, d))?.contiguous()?)
    }
}
