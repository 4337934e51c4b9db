//! Reading data for fits: each batch is read, centred and scaled once, for any number of dictionaries.

use super::finish::SiteScale;
use super::loss::FitBatch;
use super::rows::ActivationRows;
use crate::common::*;

/// Rows from which centre and scale are computed.
const LOOKED_AT: usize = 1 << 14;

/// Rows, and what is done to them before they are fitted. They are of one site, or of two for each layer: what is read
/// there and what is to be written.
pub struct FitReading<'a> {
    rows: Box<dyn ActivationRows + 'a>,
    batch: usize,
    /// Centre and scale of what is read in each layer.
    pub read: Vec<SiteScale>,
    /// Centre and scale of what is to be written in each layer; none where that is what is read.
    pub written: Vec<SiteScale>,
}

impl<'a> FitReading<'a> {
    /// Begins a reading in batches of this many rows; returns with it the first rows of each layer, from which fits are
    /// initialised.
    pub fn new(
        mut rows: Box<dyn ActivationRows + 'a>,
        batch: usize,
        is_scaled: bool,
        task: &Task,
    ) -> Result<(Self, Vec<FitBatch>)> {
        let looked_at = rows.next(LOOKED_AT.max(batch), task)?;
        let mut read = Vec::new();
        let mut written = Vec::new();
        for (number, x) in looked_at.iter().enumerate() {
            let side = if number % 2 == 0 { &mut read } else { &mut written };
            side.push(input(x, is_scaled)?);
        }
        if read.len() != written.len() && looked_at.len() != 1 {
            return Err(err!(Bug, "expected the activations of one site, or of pairs, found {}", looked_at.len()));
        }
        let reading = Self { rows, batch, read, written };
        let first = reading.scaled(&looked_at)?;
        Ok((reading, first))
    }

    fn scaled(&self, found: &[Tensor]) -> Result<Vec<FitBatch>> {
        let of_layer = |(layer, read): (usize, &SiteScale)| {
            let x = found.get(2 * layer).ok_or_else(|| err!(Bug, "rows of no site"))?;
            let target = found.get(2 * layer + 1).zip(self.written.get(layer));
            let target = target.map(|(target, written)| written.of(target)).transpose()?;
            Ok(FitBatch { x: read.of(x)?, target })
        };
        self.read.iter().enumerate().map(of_layer).collect()
    }

    /// Returns the next batch of each layer.
    pub fn next(&mut self, task: &Task) -> Result<Vec<FitBatch>> {
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

/// Returns how rows are centred and scaled, so that a coordinate has mean square 1.
fn input(x: &Tensor, is_scaled: bool) -> Result<SiteScale> {
    if !is_scaled {
        return Ok(SiteScale { centre: Tensor::zeros(x.dims2()?.1, DType::F32, x.device())?, scale: 1.0 });
    }
    let (centre, scale) = centre_and_scale(x)?;
    Ok(SiteScale { centre: centre.to_dtype(DType::F32)?, scale })
}

/// Computes the mean of rows, and one over the root of their mean square about it.
pub fn centre_and_scale(x: &Tensor) -> Result<(Tensor, f64)> {
    let wide = x.to_dtype(DType::F64)?;
    let centre = wide.mean(0)?;
    let spread = wide.broadcast_sub(&centre)?.sqr()?.mean_all()?.to_scalar::<f64>()?;
    if !spread.is_finite() {
        return Err(err!(Numeric, "expected finite activations to fit, found NaN or infinity"));
    }
    // Without variance there is nothing to scale.
    Ok((centre, if spread > 0.0 { 1.0 / spread.sqrt() } else { 1.0 }))
}
