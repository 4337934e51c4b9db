//! The optimum of logistic and softmax regression, by Newton's method or by L-BFGS, in f64.
//!
//! The mean over rows of -log p(class of the row) + l2 / 2 * |w|^2 is minimised, without a penalty on the biases. Two
//! classes have one output s, with p = 1 / (1 + e^-s) for the second; more have an output each and the softmax.
//!
//! Columns are centred, and divided so that the curvature along each weight is at most about 1. Both solvers work on
//! these columns and stop where no component of the gradient is above [`TOLERANCE`], or [`ROUNDED`] if no more steps help.

use std::collections::VecDeque;

use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, MatRef, Side};

use super::matrix::{means, product};
use crate::common::*;

/// The largest component of the gradient at an optimum.
const TOLERANCE: f64 = 1e-9;

/// The largest component of the gradient where no step makes the loss fall any more: a loss that is known to 2e-16
/// tells gradients above about its root, 1.5e-8 for one weight of curvature 1; of hundreds of columns that are almost
/// the same the sums are rounded more.
const ROUNDED: f64 = 1e-7;

/// Number of weights up to which Newton's method is used, whose steps cost their cube.
const NEWTON_WEIGHTS: usize = 300;

/// Steps after which a search is given up.
const NEWTON_STEPS: usize = 200;
const LBFGS_STEPS: usize = 20_000;

/// Pairs of steps and gradients that L-BFGS remembers.
const MEMORY: usize = 30;

/// Number that is added to the diagonal of the Hessian relative to its largest entry, so that columns that depend on
/// others have one solution. The gradient vanishes along them, so that the optimum stays what it is.
const DAMPING: f64 = 1e-9;

/// Size, relative to the largest margin, up to which a negative margin counts as 0.
const TOUCHES: f64 = 1e-6;

crate::choices! {
    /// The method that finds the optimum.
    pub enum Solver {
        Newton = "newton",
        Lbfgs = "lbfgs",
    }
}

/// Weights `[columns, outputs]` and biases in the units of the rows.
#[derive(Debug, Clone)]
pub struct Optimum {
    pub weights: Mat<f64>,
    pub biases: Vec<f64>,
}

/// Finds the optimum for these rows, each with the number of its class.
pub fn optimum(
    x: MatRef<'_, f64>,
    of_row: &[usize],
    classes: usize,
    l2: f64,
    solver: Option<Solver>,
    task: &Task,
) -> Result<Optimum> {
    let outputs = if classes == 2 { 1 } else { classes };
    let columns = x.ncols() + 1;
    let bytes = x.nrows() as u128 * (columns as u128 + 6 * outputs as u128) * 16;
    memory::check(bytes, || format!("a probe of {} rows of {} numbers", x.nrows(), x.ncols()))?;
    let objective = Objective::new(x, of_row, outputs, l2);
    let solver = match solver {
        Some(solver) => solver,
        None if outputs * columns <= NEWTON_WEIGHTS => Solver::Newton,
        None => Solver::Lbfgs,
    };
    let found = match solver {
        Solver::Newton => {
            let side = (outputs * columns) as u128;
            memory::check(side * side * 24, || format!("the Hessian of {side} weights"))?;
            objective.minimised(NEWTON_STEPS, |at| objective.newton_step(at), task)
        }
        Solver::Lbfgs => {
            let mut memory = StepMemory::default();
            objective.minimised(LBFGS_STEPS, |at| Ok(memory.step(at)), task)
        }
    }?;
    Ok(objective.unscaled(&found))
}

/// The function that is minimised, on centred and scaled columns.
struct Objective<'a> {
    /// Columns of the rows, and a last one of ones.
    z: Mat<f64>,
    of_row: &'a [usize],
    outputs: usize,
    means: Vec<f64>,
    scales: Vec<f64>,
    /// The weight of the penalty on each column; 0 on the last.
    penalties: Vec<f64>,
    has_penalty: bool,
}

/// A point of the search: weights output by output, with their scores, probabilities and loss.
struct SearchPoint {
    weights: Vec<f64>,
    /// The score of each output, `[rows, outputs]`.
    scores: Mat<f64>,
    /// The probability of each output, `[rows, outputs]`.
    chances: Mat<f64>,
    loss: f64,
    gradient: Vec<f64>,
}

impl<'a> Objective<'a> {
    fn new(x: MatRef<'_, f64>, of_row: &'a [usize], outputs: usize, l2: f64) -> Self {
        let rows = x.nrows();
        let width = x.ncols();
        let means = means(x);
        let variance = |j: usize| (0..rows).map(|i| (x[(i, j)] - means[j]).powi(2)).sum::<f64>() / rows as f64;
        // A column that never changes, up to rounding, has no weight.
        let scale = |j: usize| {
            let variance = variance(j);
            let is_constant = variance.sqrt() <= 1e-14 * means[j].abs();
            if is_constant { 0.0 } else { (variance / 4.0 + l2).sqrt().recip() }
        };
        let scales: Vec<f64> = (0..width).map(scale).collect();
        let z = Mat::from_fn(rows, width + 1, |i, j| if j == width { 1.0 } else { (x[(i, j)] - means[j]) * scales[j] });
        let penalties = scales.iter().map(|scale| l2 * scale * scale).chain([0.0]).collect();
        Self { z, of_row, outputs, means, scales, penalties, has_penalty: l2 > 0.0 }
    }

    fn columns(&self) -> usize {
        self.z.ncols()
    }

    /// Computes the scores that weights, or a change of weights, give.
    fn scores(&self, weights: &[f64]) -> Mat<f64> {
        product(self.z.as_ref(), MatRef::from_column_major_slice(weights, self.columns(), self.outputs))
    }

    fn penalty(&self, weights: &[f64]) -> f64 {
        let of_output =
            |output: &[f64]| output.iter().zip(&self.penalties).map(|(w, penalty)| penalty * w * w).sum::<f64>();
        weights.chunks(self.columns()).map(of_output).sum::<f64>() / 2.0
    }

    /// Computes the mean of -log p, without the penalty.
    fn mean_loss(&self, scores: MatRef<'_, f64>) -> f64 {
        let of_row = |i: usize| {
            let class = self.of_row[i];
            if self.outputs == 1 {
                let score = if class == 1 { scores[(i, 0)] } else { -scores[(i, 0)] };
                return softplus(-score);
            }
            let most = (0..self.outputs).map(|a| scores[(i, a)]).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = (0..self.outputs).map(|a| (scores[(i, a)] - most).exp()).sum();
            most + sum.ln() - scores[(i, class)]
        };
        (0..scores.nrows()).map(of_row).sum::<f64>() / scores.nrows() as f64
    }

    fn point(&self, weights: Vec<f64>, scores: Mat<f64>) -> SearchPoint {
        let rows = scores.nrows() as f64;
        let chances = chances(scores.as_ref());
        // Of two classes the one output is that of the second.
        let is_of = |i: usize, a: usize| self.of_row[i] == if self.outputs == 1 { 1 } else { a };
        let errors = Mat::from_fn(scores.nrows(), self.outputs, |i, a| {
            (chances[(i, a)] - f64::from(u8::from(is_of(i, a)))) / rows
        });
        let slopes = product(self.z.transpose(), errors.as_ref());
        let columns = self.columns();
        let slope = |at: usize| slopes[(at % columns, at / columns)] + self.penalties[at % columns] * weights[at];
        let gradient = (0..weights.len()).map(slope).collect();
        let loss = self.mean_loss(scores.as_ref()) + self.penalty(&weights);
        SearchPoint { weights, scores, chances, loss, gradient }
    }

    /// Follows the steps that `next` proposes, each shortened until the loss falls by enough (Armijo's condition).
    fn minimised(
        &self,
        most: usize,
        mut next: impl FnMut(&SearchPoint) -> Result<Vec<f64>>,
        task: &Task,
    ) -> Result<Vec<f64>> {
        let size = self.columns() * self.outputs;
        let mut at = self.point(vec![0.0; size], Mat::zeros(self.z.nrows(), self.outputs));
        for _ in 0..most {
            task.check()?;
            if largest(&at.gradient) <= TOLERANCE {
                return Ok(at.weights);
            }
            let mut step = next(&at)?;
            if dot(&step, &at.gradient) >= 0.0 {
                step = at.gradient.iter().map(|slope| -slope).collect();
            }
            let change = self.scores(&step);
            if !self.has_penalty && (self.separates(at.scores.as_ref()) || self.separates(change.as_ref())) {
                return Err(separable());
            }
            let Some(length) = self.length(&at, &step, &change) else { break };
            let weights = at.weights.iter().zip(&step).map(|(w, step)| w + length * step).collect();
            let scores = &at.scores + faer::Scale(length) * &change;
            at = self.point(weights, scores);
        }
        let slope = largest(&at.gradient);
        if slope <= ROUNDED {
            return Ok(at.weights);
        }
        Err(err!(Numeric, "the probe does not converge: a component of its gradient is still {slope:.1e}").hint(
            "raise `l2`; columns of very different size, or classes that are almost separable, have no stable optimum",
        ))
    }

    /// Returns how far to go along a step; None if no length makes the loss fall, up to its rounding.
    fn length(&self, at: &SearchPoint, step: &[f64], change: &Mat<f64>) -> Option<f64> {
        let slope = dot(step, &at.gradient);
        let rounding = 4.0 * f64::EPSILON * at.loss.abs().max(1e-3);
        (0..60).map(|halvings| 0.5_f64.powi(halvings)).find(|length| {
            let weights: Vec<f64> = at.weights.iter().zip(step).map(|(w, step)| w + length * step).collect();
            let scores = &at.scores + faer::Scale(*length) * change;
            let loss = self.mean_loss(scores.as_ref()) + self.penalty(&weights);
            loss <= at.loss + 1e-4 * length * slope + rounding
        })
    }

    /// Returns whether these scores have every row on the right side, or on the border: then the loss falls along them
    /// forever (Albert & Anderson 1984), and there is no optimum.
    fn separates(&self, scores: MatRef<'_, f64>) -> bool {
        let margin = |i: usize| {
            let class = self.of_row[i];
            match self.outputs {
                1 if class == 1 => scores[(i, 0)],
                1 => -scores[(i, 0)],
                outputs => {
                    let others = (0..outputs).filter(|a| *a != class).map(|a| scores[(i, a)]);
                    scores[(i, class)] - others.fold(f64::NEG_INFINITY, f64::max)
                }
            }
        };
        let margins = || (0..scores.nrows()).map(margin);
        let least = margins().fold(f64::INFINITY, f64::min);
        let most = margins().fold(0.0, f64::max);
        most > 0.0 && least >= -TOUCHES * most
    }

    /// Computes -H^-1 g. With several outputs the same vector added to all of them changes no probability: H gets that
    /// direction added, along which the gradient is 0.
    fn newton_step(&self, at: &SearchPoint) -> Result<Vec<f64>> {
        let columns = self.columns();
        let rows = self.z.nrows();
        let size = columns * self.outputs;
        let mut hessian = Mat::<f64>::zeros(size, size);
        for a in 0..self.outputs {
            for b in 0..=a {
                let weight = |i: usize| {
                    let p = at.chances[(i, a)];
                    let q = at.chances[(i, b)];
                    (if a == b { p * (1.0 - p) } else { -p * q }) / rows as f64
                };
                let weights: Vec<f64> = (0..rows).map(weight).collect();
                let weighted = Mat::from_fn(rows, columns, |i, j| weights[i] * self.z[(i, j)]);
                let block = product(self.z.transpose(), weighted.as_ref());
                for i in 0..columns {
                    for j in 0..columns {
                        hessian[(a * columns + i, b * columns + j)] = block[(i, j)];
                        hessian[(b * columns + j, a * columns + i)] = block[(i, j)];
                    }
                }
            }
        }
        let most = (0..size).map(|i| hessian[(i, i)]).fold(0.0, f64::max);
        for i in 0..size {
            hessian[(i, i)] += self.penalties[i % columns] + DAMPING * most.max(f64::MIN_POSITIVE);
            for other in (0..self.outputs).filter(|_| self.outputs > 1) {
                hessian[(i, other * columns + i % columns)] += 1.0;
            }
        }
        let unsolvable = || err!(Numeric, "the Hessian of the probe is not positive definite").hint("raise `l2`");
        let factors = Llt::new(hessian.as_ref(), Side::Lower).map_err(|_| unsolvable())?;
        let mut step = Mat::from_fn(size, 1, |i, _| -at.gradient[i]);
        factors.solve_in_place(step.as_mut());
        let step: Vec<f64> = (0..size).map(|i| step[(i, 0)]).collect();
        if step.iter().all(|x| x.is_finite()) { Ok(step) } else { Err(unsolvable()) }
    }

    /// Returns the weights for rows as they were given.
    fn unscaled(&self, found: &[f64]) -> Optimum {
        let columns = self.columns();
        let width = columns - 1;
        let weights = Mat::from_fn(width, self.outputs, |j, a| found[a * columns + j] * self.scales[j]);
        let bias =
            |a: usize| found[a * columns + width] - (0..width).map(|j| weights[(j, a)] * self.means[j]).sum::<f64>();
        Optimum { biases: (0..self.outputs).map(bias).collect(), weights }
    }
}

/// Memory of L-BFGS (Nocedal & Wright 2006, algorithm 7.4).
#[derive(Default)]
struct StepMemory {
    last: Option<(Vec<f64>, Vec<f64>)>,
    /// Changes of the weights and of the gradient, oldest first.
    pairs: VecDeque<(Vec<f64>, Vec<f64>)>,
}

impl StepMemory {
    fn step(&mut self, at: &SearchPoint) -> Vec<f64> {
        if let Some((weights, gradient)) = &self.last {
            let moved = difference(&at.weights, weights);
            let turned = difference(&at.gradient, gradient);
            if dot(&moved, &turned) > f64::EPSILON * dot(&moved, &moved).sqrt() * dot(&turned, &turned).sqrt() {
                self.pairs.push_back((moved, turned));
            }
            if self.pairs.len() > MEMORY {
                self.pairs.pop_front();
            }
        }
        self.last = Some((at.weights.clone(), at.gradient.clone()));
        let mut step: Vec<f64> = at.gradient.iter().map(|slope| -slope).collect();
        let mut shares = Vec::with_capacity(self.pairs.len());
        for (moved, turned) in self.pairs.iter().rev() {
            let share = dot(moved, &step) / dot(moved, turned);
            step.iter_mut().zip(turned).for_each(|(x, turned)| *x -= share * turned);
            shares.push(share);
        }
        if let Some((moved, turned)) = self.pairs.back() {
            let scale = dot(moved, turned) / dot(turned, turned);
            step.iter_mut().for_each(|x| *x *= scale);
        }
        for ((moved, turned), share) in self.pairs.iter().zip(shares.into_iter().rev()) {
            let back = dot(turned, &step) / dot(moved, turned);
            step.iter_mut().zip(moved).for_each(|(x, moved)| *x += (share - back) * moved);
        }
        step
    }
}

/// Computes the probability of each output: of the second class for one output, of each class for several.
pub fn chances(scores: MatRef<'_, f64>) -> Mat<f64> {
    let outputs = scores.ncols();
    let most = |i: usize| (0..outputs).map(|a| scores[(i, a)]).fold(f64::NEG_INFINITY, f64::max);
    let mut found = Mat::from_fn(scores.nrows(), outputs, |i, a| match outputs {
        1 => (-softplus(-scores[(i, 0)])).exp(),
        _ => (scores[(i, a)] - most(i)).exp(),
    });
    if outputs > 1 {
        for i in 0..found.nrows() {
            let sum: f64 = (0..outputs).map(|a| found[(i, a)]).sum();
            (0..outputs).for_each(|a| found[(i, a)] /= sum);
        }
    }
    found
}

fn separable() -> crate::base::Error {
    err!(Numeric, "the classes can be separated, or touch, so that no weights are the best with `l2: 0`")
        .hint("set `l2` above 0, or leave it out")
        .about("l2")
}

/// Computes log(1 + e^x), without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |most: f64, x| if x.is_nan() { f64::NAN } else { most.max(x.abs()) })
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}
