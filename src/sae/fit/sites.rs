//! Rows of several sites: cut apart, as a transcoder takes them, and joined, as a crosscoder does.

use super::rows::{OfTensor, Rows};
use crate::base::{Result, Task};
use crate::err;
use crate::sae::Span;
use crate::sae::crosscoder::factors;
use crate::tensor::{DType, Tensor, dtype};

/// Rows that tell how each site is scaled.
const LOOKED_AT: usize = 1 << 14;

/// The rows of several tensors in memory, which belong together: those of the same place come at the same time.
pub struct Apart {
    rows: OfTensor,
    widths: Vec<usize>,
}

impl Apart {
    /// Each is `[.., width]`, all with equally many rows.
    pub fn new(all: &[Tensor], seed: u64) -> Result<Self> {
        let flat = |x: &Tensor| -> Result<Tensor> {
            match x.dims() {
                [_, .., width] if *width > 0 => Ok(dtype::convert(x, DType::F32)?.reshape(((), *width))?),
                dims => Err(err!(Shape, "expected rows of activations to fit, found the shape {dims:?}")),
            }
        };
        let all = all.iter().map(flat).collect::<Result<Vec<_>>>()?;
        let counts: Vec<usize> = all.iter().map(|x| x.dims()[0]).collect();
        if counts.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(err!(Shape, "expected as many rows of each site, found {counts:?}"));
        }
        let widths = all.iter().map(|x| x.dims()[1]).collect();
        Ok(Self { rows: OfTensor::new(&Tensor::cat(&all, 1)?, seed)?, widths })
    }
}

impl Rows for Apart {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        let whole = Tensor::cat(&self.rows.next(rows, task)?, 1)?;
        let mut start = 0;
        let part = |width: &usize| {
            let part = whole.narrow(1, start, *width)?.contiguous()?;
            start += width;
            Ok(part)
        };
        self.widths.iter().map(part).collect()
    }

    fn skip(&mut self, rows: u64, task: &Task) -> Result<()> {
        self.rows.skip(rows, task)
    }

    fn about(&self) -> String {
        format!("{} in parts {:?}", self.rows.about(), self.widths)
    }
}

/// The rows of several sites one behind the other, each site scaled so that none counts more than another.
pub struct Joined<'a> {
    rows: Box<dyn Rows + 'a>,
    spans: Vec<Span>,
    factors: Tensor,
}

impl<'a> Joined<'a> {
    /// Looks at the first rows, which are gone then: a coordinate of each site is to have mean square 1 about its mean.
    pub fn new(mut rows: Box<dyn Rows + 'a>, task: &Task) -> Result<Self> {
        let span = |x: &Tensor| -> Result<Span> {
            let wide = x.to_dtype(DType::F64)?;
            let spread = wide.broadcast_sub(&wide.mean_keepdim(0)?)?.sqr()?.mean_all()?.to_scalar::<f64>()?;
            if !spread.is_finite() {
                return Err(err!(Numeric, "expected finite activations to fit, found NaN or infinity"));
            }
            // In single precision, as it is multiplied with. Where nothing varies there is nothing to scale.
            let scale = if spread > 0.0 { f64::from((1.0 / spread.sqrt()) as f32) } else { 1.0 };
            Ok(Span { width: x.dims()[1], scale })
        };
        let spans = rows.next(LOOKED_AT, task)?.iter().map(span).collect::<Result<Vec<_>>>()?;
        Ok(Self { rows, factors: factors(&spans)?, spans })
    }

    pub fn spans(&self) -> &[Span] {
        &self.spans
    }
}

impl Rows for Joined<'_> {
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
