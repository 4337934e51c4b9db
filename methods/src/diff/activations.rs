//! The mean difference of the activations of two models at the first tokens of a text, and what it promotes: the
//! activation difference lens (Minder et al. 2025b). Narrow fine-tuning leaves a bias that is there on any text, and most
//! legible at the first tokens.

use super::pair::ModelPair;
use crate::common::*;
use crate::features::logits::{extremes, promoted_along};

crate::options! {
    /// The positions of each row that have a mean of their own.
    pub struct FirstTokens {
        /// Number of first positions of each row that have a mean difference of their own; all later ones share one.
        first: usize = 5 => at_least(1.0);
    }
}

/// The difference of the activations of two models at one position of all rows, or at all later ones together.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionDifference {
    /// The position; none for all later ones.
    pub position: Option<usize>,
    /// The number of activations that the means are of.
    pub count: usize,
    /// The means of both models.
    pub base: Vec<f64>,
    pub tuned: Vec<f64>,
    /// The mean of the norms of the differences.
    pub each: f64,
    /// The means of the norms of either model's activations.
    pub norms: [f64; 2],
}

impl PositionDifference {
    /// Makes the sums of no activations.
    fn empty(position: Option<usize>, width: usize) -> Self {
        Self { position, count: 0, base: vec![0.0; width], tuned: vec![0.0; width], each: 0.0, norms: [0.0; 2] }
    }

    fn add(&mut self, base: &[f32], tuned: &[f32]) {
        let wide = |x: &f32| f64::from(*x);
        self.count += 1;
        self.base.iter_mut().zip(base).for_each(|(sum, x)| *sum += wide(x));
        self.tuned.iter_mut().zip(tuned).for_each(|(sum, x)| *sum += wide(x));
        self.each += norm(base.iter().zip(tuned).map(|(base, tuned)| wide(tuned) - wide(base)));
        self.norms[0] += norm(base.iter().map(wide));
        self.norms[1] += norm(tuned.iter().map(wide));
    }

    /// Turns the sums into means.
    fn finished(mut self) -> Self {
        let count = self.count as f64;
        self.base.iter_mut().chain(&mut self.tuned).chain(&mut self.norms).for_each(|sum| *sum /= count);
        self.each /= count;
        self
    }

    /// Returns the mean of the tuned model's activations less that of the base's.
    pub fn difference(&self) -> Vec<f64> {
        self.tuned.iter().zip(&self.base).map(|(tuned, base)| tuned - base).collect()
    }

    /// Returns the norm of the mean difference.
    pub fn norm(&self) -> f64 {
        norm(self.difference().into_iter())
    }

    fn name(&self) -> Cell {
        self.position.map_or_else(|| "later".into(), Cell::from)
    }
}

/// The mean differences at a site, by position.
#[derive(Debug, Clone)]
pub struct ActivationDifference {
    pub place: Place,
    /// The first positions in their order, then all later ones; those that no row has are left out.
    pub positions: Vec<PositionDifference>,
}

/// Computes the mean difference of the activations of two models at each of the first positions of some rows, and at all
/// later ones together.
pub fn activations(
    pair: ModelPair,
    rows: &[Vec<u32>],
    site: &str,
    options: &FirstTokens,
    task: &Task,
) -> Result<ActivationDifference> {
    let place = pair.place(site)?;
    let width = pair.width(place)?;
    let longest = rows.iter().map(Vec::len).max().unwrap_or_default();
    let first = options.first.min(longest);
    let mut sums: Vec<PositionDifference> =
        (0..first).map(Some).chain([None]).map(|position| PositionDifference::empty(position, width)).collect();
    let mut take = |_: usize, base: &Tensor, tuned: &Tensor| -> Result<()> {
        let of_base = base.to_vec2::<f32>()?;
        let of_tuned = tuned.to_vec2::<f32>()?;
        for (position, (base, tuned)) in of_base.iter().zip(&of_tuned).enumerate() {
            sums[position.min(first)].add(base, tuned);
        }
        Ok(())
    };
    pair.activations(rows, place, &mut take, task)?;
    let positions = sums.into_iter().filter(|sums| sums.count > 0).map(PositionDifference::finished).collect();
    Ok(ActivationDifference { place, positions })
}

impl ActivationDifference {
    /// Returns the number of positions that have a mean of their own.
    pub fn first(&self) -> usize {
        self.positions.iter().filter(|one| one.position.is_some()).count()
    }

    /// Returns what was found at one of the first positions, or at all later ones for none.
    pub fn at(&self, position: Option<usize>) -> Result<&PositionDifference> {
        self.positions.iter().find(|one| one.position == position).ok_or_else(|| {
            let error = match position {
                Some(found) => err!(Argument, "expected one of the first {} positions, found {found}", self.first())
                    .hint("`first` says how many have a mean of their own: #{ first: 5 }"),
                None => err!(Argument, "expected rows of more than {} tokens, found none", self.first())
                    .hint("ask for fewer first positions: #{ first: 2 }"),
            };
            error.about("position")
        })
    }

    /// Returns the mean norm of the tuned model's activations behind the first positions, where a first token's unusual
    /// norm does not count; of all positions if no row goes on.
    pub fn stream_norm(&self) -> f64 {
        match self.at(None) {
            Ok(later) => later.norms[1],
            Err(_) => {
                let count: usize = self.positions.iter().map(|one| one.count).sum();
                let sum: f64 = self.positions.iter().map(|one| one.norms[1] * one.count as f64).sum();
                sum / count.max(1) as f64
            }
        }
    }

    /// Returns the mean difference at a position, as long as the tuned model's activations are on average, which is how it
    /// is added or read by a patchscope: `[width]`.
    pub fn vector(&self, position: Option<usize>) -> Result<Tensor> {
        let found = self.at(position)?;
        let norm = found.norm();
        if norm == 0.0 {
            return Err(err!(
                Argument,
                "expected models that differ at `{}`, found a mean difference of 0",
                self.place
            )
            .about("position"));
        }
        let factor = self.stream_norm() / norm;
        let scaled: Vec<f32> = found.difference().into_iter().map(|x| (x * factor) as f32).collect();
        Ok(Tensor::new(scaled.as_slice(), &Device::Cpu)?)
    }

    /// Returns the mean differences of all positions, a row for each: `[positions, width]`.
    pub fn matrix(&self) -> Result<Tensor> {
        let numbers: Vec<f32> =
            self.positions.iter().flat_map(PositionDifference::difference).map(|x| x as f32).collect();
        let width = numbers.len() / self.positions.len().max(1);
        Ok(Tensor::from_vec(numbers, (self.positions.len(), width), &Device::Cpu)?)
    }

    /// Tabulates how large the differences are: their mean's norm, that norm as a share of the base's activations, and as
    /// a share of the mean norm of single differences, which is 1 if all differ alike.
    pub fn table(&self) -> Table {
        let share = |part: f64, whole: f64| if whole > 0.0 { Cell::from(part / whole) } else { Cell::Missing };
        let row = |one: &PositionDifference| -> Vec<Cell> {
            let norm = one.norm();
            vec![
                one.name(),
                norm.into(),
                share(norm, one.norms[0]),
                share(norm, one.each),
                one.norms[0].into(),
                one.norms[1].into(),
                one.count.into(),
            ]
        };
        let columns =
            ["position", "norm", "share of the base", "alike", "norm of the base", "norm of the tuned", "rows"];
        Table::new(format!("mean differences at {}", self.place), columns, self.positions.iter().map(row))
    }

    /// Tabulates the tokens that the mean difference at each position raises and lowers most, through the final norm's
    /// weights and the unembedding of the tuned model.
    pub fn tokens(&self, tuned: &Model, count: usize, name: &dyn Fn(u32) -> String) -> Result<Table> {
        let logits = promoted_along(tuned, &self.matrix()?)?;
        let mut found = Table::default();
        for (one, logits) in self.positions.iter().zip(&logits) {
            let part = extremes("", logits, name, count);
            found.columns = ["position".to_string()].into_iter().chain(part.columns).collect();
            found.rows.extend(part.rows.into_iter().map(|row| [vec![one.name()], row].concat()));
        }
        found.title = format!("tokens along the mean difference at {}", self.place);
        Ok(found)
    }
}

fn norm(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.map(|x| x * x).sum::<f64>().sqrt()
}
