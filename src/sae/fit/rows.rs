//! Where a fit gets its activations from.

use rand::seq::SliceRandom;

use crate::base::random::stream;
use crate::base::{Result, Task};
use crate::err;
use crate::tensor::{DType, Tensor, dtype};

/// Rows of activations without end, in an order of their own.
pub trait Rows {
    /// The next ones: `[rows, width]` in f32, of each site.
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>>;

    /// Leaves out so many rows, as if they had been read.
    fn skip(&mut self, rows: u64, task: &Task) -> Result<()>;

    /// What they are, so that a fit goes on only with the same ones.
    fn about(&self) -> String;
}

/// The rows of a tensor in memory: each once an epoch, every epoch in another order.
pub struct OfTensor {
    x: Tensor,
    seed: u64,
    position: u64,
    /// The epoch whose order is drawn, and that order.
    order: Option<(u64, Vec<u32>)>,
}

impl OfTensor {
    /// `x` is `[.., width]`.
    pub fn new(x: &Tensor, seed: u64) -> Result<Self> {
        let width = x.dims().last().copied().unwrap_or_default();
        if x.rank() < 2 || x.elem_count() == 0 {
            return Err(err!(Shape, "expected rows of activations to fit, found the shape {:?}", x.dims()));
        }
        if !dtype::is_float(x.dtype()) {
            return Err(err!(Argument, "expected activations in floats, found {}", x.dtype().as_str()));
        }
        let x = x.detach().to_dtype(DType::F32)?.reshape(((), width))?.contiguous()?;
        Ok(Self { x, seed, position: 0, order: None })
    }

    fn drawn(&mut self, epoch: u64) -> &[u32] {
        if self.order.as_ref().is_none_or(|(drawn, _)| *drawn != epoch) {
            let mut order: Vec<u32> = (0..self.x.dims()[0] as u32).collect();
            order.shuffle(&mut stream(self.seed, "rows of a tensor", epoch));
            self.order = Some((epoch, order));
        }
        self.order.as_ref().map(|(_, order)| order.as_slice()).unwrap_or_default()
    }
}

impl Rows for OfTensor {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        let count = self.x.dims()[0] as u64;
        let mut chosen = Vec::with_capacity(rows);
        while chosen.len() < rows {
            task.check()?;
            let (epoch, at) = (self.position / count, (self.position % count) as usize);
            let taken = (rows - chosen.len()).min(count as usize - at);
            chosen.extend_from_slice(&self.drawn(epoch)[at..at + taken]);
            self.position += taken as u64;
        }
        let chosen = Tensor::new(chosen, self.x.device())?;
        Ok(vec![self.x.index_select(&chosen, 0)?])
    }

    fn skip(&mut self, rows: u64, _task: &Task) -> Result<()> {
        self.position = self.position.saturating_add(rows);
        Ok(())
    }

    fn about(&self) -> String {
        let sum: f64 = self.x.to_dtype(DType::F64).and_then(|x| x.sum_all()?.to_scalar()).unwrap_or(f64::NAN);
        format!("a tensor {:?} whose numbers sum to {sum:e}, seed {}", self.x.dims(), self.seed)
    }
}
