//! Reading data for fits: each batch is read, centred and scaled once, for any number of dictionaries.

use super::finish::Input;
use super::loss::Batch;
use super::rows::Rows;
use crate::base::{Result, Task};
use crate::err;
use crate::tensor::{DType, Tensor};

/// Rows from which centre and scale are computed.
pub(super) const LOOKED_AT: usize = 1 << 14;

/// Rows, and what is done to them before they are fitted.
pub struct Reading<'a> {
    rows: Box<dyn Rows + 'a>,
    batch: usize,
    pub read: Input,
    /// Of a transcoder's target.
    pub written: Option<Input>,
    pub d_in: usize,
    pub d_out: usize,
}

impl<'a> Reading<'a> {
    /// A reading in batches of this many rows, and the first rows, from which fits are initialised.
    pub fn new(mut rows: Box<dyn Rows + 'a>, batch: usize, is_scaled: bool, task: &Task) -> Result<(Self, Batch)> {
        let looked_at = rows.next(LOOKED_AT.max(batch), task)?;
        let (x, target) = match looked_at.as_slice() {
            [x] => (x, None),
            [x, target] => (x, Some(target)),
            other => return Err(err!(Bug, "expected the activations of one or two sites, found {}", other.len())),
        };
        let read = input(x, is_scaled)?;
        let written = target.map(|target| input(target, is_scaled)).transpose()?;
        let of_target = |target: &Tensor| written.as_ref().map(|written| written.of(target)).transpose();
        let first = Batch { x: read.of(x)?, target: target.map(of_target).transpose()?.flatten() };
        let (d_in, d_out) = (x.dims2()?.1, first.target().dims2()?.1);
        Ok((Self { rows, batch, read, written, d_in, d_out }, first))
    }

    /// The next batch.
    pub fn next(&mut self, task: &Task) -> Result<Batch> {
        let found = self.rows.next(self.batch, task)?;
        let target = match (found.get(1), &self.written) {
            (Some(target), Some(written)) => Some(written.of(target)?),
            _ => None,
        };
        let x = found.first().ok_or_else(|| err!(Bug, "rows of no site"))?;
        Ok(Batch { x: self.read.of(x)?, target })
    }

    /// Skips batches.
    pub fn skip(&mut self, batches: u64, task: &Task) -> Result<()> {
        self.rows.skip(batches.saturating_mul(self.batch as u64), task)
    }

    pub fn about(&self) -> String {
        self.rows.about()
    }
}

/// The mean of rows, and one over the root of their mean square about it, so that a coordinate has mean square 1.
pub(super) fn input(x: &Tensor, is_scaled: bool) -> Result<Input> {
    if !is_scaled {
        return Ok(Input { centre: Tensor::zeros(x.dims2()?.1, DType::F32, x.device())?, scale: 1.0 });
    }
    let wide = x.to_dtype(DType::F64)?;
    let centre = wide.mean(0)?;
    let spread = wide.broadcast_sub(&centre)?.sqr()?.mean_all()?.to_scalar::<f64>()?;
    if !spread.is_finite() {
        return Err(err!(Numeric, "expected finite activations to fit, found NaN or infinity"));
    }
    // Without variance there is nothing to scale.
    let scale = if spread > 0.0 { 1.0 / spread.sqrt() } else { 1.0 };
    Ok(Input { centre: centre.to_dtype(DType::F32)?, scale })
}
