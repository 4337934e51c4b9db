//! Rows of crosscoders: several sites of a model, or the same sites of several models, concatenated row by row.

use super::reading::centre_and_scale;
use super::rows::ActivationRows;
use crate::common::*;
use crate::sae::Span;
use crate::sae::crosscoder::factors;

/// Rows from which the scale of each site is computed.
const LOOKED_AT: usize = 1 << 14;

/// The concatenated rows of several sites, each scaled so that none counts more than another.
pub struct JoinedRows<'a> {
    rows: Box<dyn ActivationRows + 'a>,
    spans: Vec<Span>,
    factors: Tensor,
}

impl<'a> JoinedRows<'a> {
    /// Consumes the first rows to compute the scales: a coordinate of each site gets mean square 1 about its mean.
    pub fn new(mut rows: Box<dyn ActivationRows + 'a>, task: &Task) -> Result<Self> {
        let span = |x: &Tensor| -> Result<Span> {
            let (_, scale) = centre_and_scale(x)?;
            // In single precision, like the multiplication.
            Ok(Span { width: x.dims()[1], scale: f64::from(scale as f32) })
        };
        let first = rows.next(LOOKED_AT, task)?;
        let spans = first.iter().map(span).collect::<Result<Vec<_>>>()?;
        let device = first.first().map_or(&Device::Cpu, Tensor::device);
        Ok(Self { rows, factors: factors(&spans)?.to_device(device)?, spans })
    }

    pub fn spans(&self) -> &[Span] {
        &self.spans
    }
}

impl ActivationRows for JoinedRows<'_> {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        Ok(vec![Tensor::cat(&self.rows.next(rows, task)?, 1)?.broadcast_mul(&self.factors)?])
    }

    fn skip(&mut self, rows: u64, task: &Task) -> Result<()> {
        self.rows.skip(rows, task)
    }

    fn about(&self) -> String {
        format!("{}, joined", self.rows.about())
    }
}
