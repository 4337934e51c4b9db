//! Reading data for cross-layer transcoders: what is read and what is written in each layer, centred and scaled.

use super::batch::{CrossLayerBatch, CrossLayerShape};
use crate::base::{Result, Task};
use crate::sae::fit::finish::Input;
use crate::sae::fit::reading::{LOOKED_AT, input};
use crate::sae::fit::rows::Rows;
use crate::tensor::Tensor;

/// Rows, and what is done to them before they are fitted.
pub struct CrossLayerReading {
    rows: Box<dyn Rows>,
    batch: usize,
    /// How what is read in each layer is centred and scaled.
    pub read: Vec<Input>,
    pub written: Vec<Input>,
}

impl CrossLayerReading {
    /// A reading in batches of this many rows, and the first rows.
    pub fn new(
        mut rows: Box<dyn Rows>,
        (batch, is_scaled): (usize, bool),
        task: &Task,
    ) -> Result<(Self, CrossLayerBatch)> {
        let looked_at = rows.next(LOOKED_AT.max(batch), task)?;
        let inputs = looked_at.iter().map(|x| input(x, is_scaled)).collect::<Result<Vec<_>>>()?;
        let (mut read, mut written) = (Vec::new(), Vec::new());
        for (number, input) in inputs.into_iter().enumerate() {
            if number % 2 == 0 { read.push(input) } else { written.push(input) }
        }
        let reading = Self { rows, batch, read, written };
        let first = reading.scaled(&looked_at)?;
        Ok((reading, first))
    }

    /// The widths, without the number of features.
    pub fn shape(&self, first: &CrossLayerBatch) -> Result<CrossLayerShape> {
        let width = |all: &[Tensor]| all.first().map_or(Ok(0), |x| Ok::<_, crate::base::Error>(x.dims2()?.1));
        let (d_in, d_out) = (width(&first.x)?, width(&first.targets)?);
        Ok(CrossLayerShape { layers: first.x.len(), d_in, d_sae: 0, d_out })
    }

    fn scaled(&self, found: &[Tensor]) -> Result<CrossLayerBatch> {
        let mut batch = CrossLayerBatch { x: Vec::new(), targets: Vec::new() };
        for (pair, (read, written)) in found.chunks_exact(2).zip(self.read.iter().zip(&self.written)) {
            batch.x.push(read.of(&pair[0])?);
            batch.targets.push(written.of(&pair[1])?);
        }
        Ok(batch)
    }

    /// The next batch.
    pub fn next(&mut self, task: &Task) -> Result<CrossLayerBatch> {
        let found = self.rows.next(self.batch, task)?;
        self.scaled(&found)
    }

    /// Skips batches.
    pub fn skip(&mut self, batches: u64, task: &Task) -> Result<()> {
        self.rows.skip(batches.saturating_mul(self.batch as u64), task)
    }

    pub fn about(&self) -> String {
        self.rows.about()
    }
}
