//! Accumulates metrics batch by batch.

use super::dimensions::{DimensionSums, PositionSums};
use super::features::Features;
use super::measures::{MeasureSums, Measures};
use crate::common::*;
use crate::sae::rows;

crate::options! {
    /// Options of all metrics. `dead_at_most` is 10 in Cunningham et al. 2023.
    #[derive(Debug, Clone, Copy)]
    pub struct MeasureOptions {
        /// A feature is dead if it is active in at most this many rows.
        dead_at_most: u64 = 0;
    }
}

/// A batch: activations, codes and reconstructions. All axes but the last are flattened to rows.
#[derive(Debug, Clone, Copy)]
pub struct CodedBatch<'a> {
    /// The activations; for a transcoder its target.
    pub x: &'a Tensor,
    pub codes: &'a Tensor,
    pub x_hat: &'a Tensor,
    /// The position of each row in its text, for errors by position.
    pub positions: Option<&'a [u32]>,
}

/// Rows processed at a time.
const ROWS: usize = 256;

/// No text that a model reads is longer.
const POSITIONS: u32 = 1 << 24;

/// The sums of the metrics, which are added up row by row and in f64.
#[derive(Debug, Clone)]
pub struct Meter {
    options: MeasureOptions,
    along: Vec<DimensionSums>,
    fired: Vec<u64>,
    positions: Vec<PositionSums>,
    sums: MeasureSums,
}

impl Meter {
    pub fn new(width: usize, features: usize, options: MeasureOptions) -> Result<Self> {
        if width == 0 || features == 0 {
            return Err(err!(Argument, "expected a width and features to measure, found {width} and {features}"));
        }
        let bytes = size_of::<DimensionSums>() as u128 * width as u128 + 8 * features as u128;
        memory::check(bytes, || format!("the measures of {width} dimensions and {features} features"))?;
        Ok(Self {
            options,
            along: vec![DimensionSums::default(); width],
            fired: vec![0; features],
            positions: Vec::new(),
            sums: MeasureSums::default(),
        })
    }

    /// Adds a batch. NaN and infinity are refused with their position among all rows so far.
    pub fn add(&mut self, seen: CodedBatch, task: &Task) -> Result<()> {
        let x = rows::matrix(seen.x, self.along.len(), "activations")?;
        let x_hat = rows::matrix(seen.x_hat, self.along.len(), "reconstructions")?;
        let codes = rows::matrix(seen.codes, self.fired.len(), "codes")?;
        let count = x.dim(0)?;
        for (what, found) in [("reconstructions", x_hat.dim(0)?), ("codes", codes.dim(0)?)] {
            same(what, count, found)?;
        }
        if let Some(positions) = seen.positions {
            same("positions", count, positions.len())?;
            self.make_room(positions)?;
        }
        for start in (0..count).step_by(ROWS) {
            task.check()?;
            let size = ROWS.min(count - start);
            let part = |t: &Tensor, what| rows::finite(&t.narrow(0, start, size)?, what, self.sums.rows);
            let part = PlainRows {
                x: part(&x, "activations")?,
                codes: part(&codes, "codes")?,
                x_hat: part(&x_hat, "reconstructions")?,
            };
            self.add_part(&part, seen.positions.and_then(|positions| positions.get(start..start + size)));
        }
        Ok(())
    }

    fn add_part(&mut self, part: &PlainRows, positions: Option<&[u32]>) {
        let width = self.along.len();
        let pairs = part.x.chunks_exact(width).zip(part.x_hat.chunks_exact(width));
        for (row, (x, x_hat)) in pairs.enumerate() {
            let error = self.add_row(x, x_hat);
            let place = positions.and_then(|positions| positions.get(row)).map(|position| *position as usize);
            if let Some(group) = place.and_then(|place| self.positions.get_mut(place)) {
                group.add(x, error);
            }
        }
        for codes in part.codes.chunks_exact(self.fired.len()) {
            for (fired, code) in self.fired.iter_mut().zip(codes).filter(|(_, code)| **code != 0.0) {
                *fired += 1;
                self.sums.l1 += f64::from(code.abs());
            }
        }
    }

    /// Gives |x - x_hat|².
    fn add_row(&mut self, x: &[f32], x_hat: &[f32]) -> f64 {
        self.sums.rows += 1;
        let share = 1.0 / self.sums.rows as f64;
        let mut size = 0.0;
        let mut size_hat = 0.0;
        let mut product = 0.0;
        let mut error = 0.0;
        for (along, (x, x_hat)) in self.along.iter_mut().zip(x.iter().zip(x_hat)) {
            let x = f64::from(*x);
            let x_hat = f64::from(*x_hat);
            along.add(x, x_hat, share);
            size += x * x;
            size_hat += x_hat * x_hat;
            product += x * x_hat;
            error += (x - x_hat) * (x - x_hat);
        }
        self.sums.add(size, size_hat, product);
        error
    }

    fn make_room(&mut self, positions: &[u32]) -> Result<()> {
        let Some(last) = positions.iter().max() else { return Ok(()) };
        if *last >= POSITIONS {
            return Err(err!(Argument, "expected positions below {POSITIONS}, found {last}"));
        }
        let needed = (*last as usize + 1).max(self.positions.len());
        let bytes = 8 * (needed - self.positions.len()) as u128 * self.along.len() as u128;
        memory::check(bytes, || format!("the measures of {needed} positions"))?;
        self.positions.resize_with(needed, PositionSums::default);
        Ok(())
    }

    /// Computes the metrics.
    pub fn finish(self) -> Result<Measures> {
        if self.sums.rows == 0 {
            return Err(err!(Argument, "expected activations to measure, found none"));
        }
        let features = Features { fired: self.fired, rows: self.sums.rows, dead_at_most: self.options.dead_at_most };
        Ok(Measures::of(&self.sums, &self.along, &self.positions, features))
    }
}

/// Rows as plain numbers.
struct PlainRows {
    x: Vec<f32>,
    codes: Vec<f32>,
    x_hat: Vec<f32>,
}

fn same(what: &str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(err!(Shape, "expected {what} for each of {expected} activations, found {found}"))
}
