//! The source of a fit's activations: the trait, and tensors in memory.

use std::cell::OnceCell;

use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};

use crate::base::files::hex;
use crate::base::random::stream;
use crate::common::*;
use crate::tensor::dtype;

/// An endless stream of rows of activations, in its own order.
pub trait ActivationRows {
    /// Reads the next rows: `[rows, width]` in f32, of each site.
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>>;

    /// Skips rows, as if they had been read.
    fn skip(&mut self, rows: u64, task: &Task) -> Result<()>;

    /// Describes the data, so that a fit resumes only with the same data.
    fn about(&self) -> String;
}

/// Two sources in the same order, side by side.
pub struct PairedRows {
    first: Box<dyn ActivationRows>,
    second: Box<dyn ActivationRows>,
}

impl PairedRows {
    pub fn new(first: Box<dyn ActivationRows>, second: Box<dyn ActivationRows>) -> Self {
        Self { first, second }
    }
}

impl ActivationRows for PairedRows {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        let mut sites = self.first.next(rows, task)?;
        sites.extend(self.second.next(rows, task)?);
        Ok(sites)
    }

    fn skip(&mut self, rows: u64, task: &Task) -> Result<()> {
        self.first.skip(rows, task)?;
        self.second.skip(rows, task)
    }

    fn about(&self) -> String {
        format!("{}, beside {}", self.first.about(), self.second.about())
    }
}

/// A source whose rows are copied to a device, a batch at a time. Rows that are there already are not copied.
pub struct OnDevice<'a> {
    rows: Box<dyn ActivationRows + 'a>,
    device: Device,
}

impl<'a> OnDevice<'a> {
    pub fn new(rows: Box<dyn ActivationRows + 'a>, device: Device) -> Self {
        Self { rows, device }
    }
}

impl ActivationRows for OnDevice<'_> {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        self.rows.next(rows, task)?.iter().map(|x| Ok(x.to_device(&self.device)?)).collect()
    }

    fn skip(&mut self, rows: u64, task: &Task) -> Result<()> {
        self.rows.skip(rows, task)
    }

    fn about(&self) -> String {
        self.rows.about()
    }
}

/// Rows hashed at a time.
const HASHED: usize = 1 << 12;

/// The rows of tensors in memory: each once an epoch, every epoch in another order.
pub struct OfTensor {
    /// The activations of the same positions at each site.
    sites: Vec<Tensor>,
    count: u64,
    seed: u64,
    position: u64,
    /// The epoch whose order is drawn, and that order.
    order: Option<(u64, Vec<u32>)>,
    about: OnceCell<String>,
}

impl OfTensor {
    /// Reads one site, `[.., width]`.
    pub fn new(x: &Tensor, seed: u64) -> Result<Self> {
        Self::several(std::slice::from_ref(x), seed)
    }

    /// Reads several sites, whose rows are of the same positions, row by row.
    pub fn several(sites: &[Tensor], seed: u64) -> Result<Self> {
        let sites = sites.iter().map(matrix).collect::<Result<Vec<_>>>()?;
        let counts: Vec<usize> = sites.iter().map(|x| x.dims()[0]).collect();
        let count = match counts.as_slice() {
            [first, others @ ..] if others.iter().all(|count| count == first) => *first,
            _ => return Err(err!(Shape, "expected activations of the same rows at each site, found {counts:?} rows")),
        };
        if u32::try_from(count).is_err() {
            return Err(err!(Argument, "expected less than 2^32 rows in memory, found {count}")
                .hint("harvest into a store, and fit on that"));
        }
        Ok(Self { sites, count: count as u64, seed, position: 0, order: None, about: OnceCell::new() })
    }

    fn drawn(&mut self, epoch: u64) -> &[u32] {
        if self.order.as_ref().is_none_or(|(drawn, _)| *drawn != epoch) {
            let mut order: Vec<u32> = (0..self.count as u32).collect();
            order.shuffle(&mut stream(self.seed, "rows of a tensor", epoch));
            self.order = Some((epoch, order));
        }
        self.order.as_ref().map(|(_, order)| order.as_slice()).unwrap_or_default()
    }

    /// Hashes all numbers.
    fn hash(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for x in &self.sites {
            let rows = x.dims()[0];
            for start in (0..rows).step_by(HASHED) {
                let part = x.narrow(0, start, HASHED.min(rows - start))?.flatten_all()?.to_vec1::<f32>()?;
                part.iter().for_each(|number| hash.update(number.to_le_bytes()));
            }
        }
        Ok(hex(&hash.finalize()))
    }
}

/// Returns activations as rows in f32, detached.
fn matrix(x: &Tensor) -> Result<Tensor> {
    let width = x.dims().last().copied().unwrap_or_default();
    if x.rank() < 2 || x.elem_count() == 0 {
        return Err(err!(Shape, "expected rows of activations to fit, found the shape {:?}", x.dims()));
    }
    if !dtype::is_float(x.dtype()) {
        return Err(err!(Argument, "expected activations in floats, found {}", x.dtype().as_str()));
    }
    Ok(x.detach().to_dtype(DType::F32)?.reshape(((), width))?.contiguous()?)
}

impl ActivationRows for OfTensor {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        let mut chosen = Vec::with_capacity(rows);
        while chosen.len() < rows {
            task.check()?;
            let epoch = self.position / self.count;
            let at = (self.position % self.count) as usize;
            let taken = (rows - chosen.len()).min(self.count as usize - at);
            chosen.extend_from_slice(self.drawn(epoch).get(at..at + taken).unwrap_or_default());
            self.position += taken as u64;
        }
        self.sites.iter().map(|x| Ok(kernels::picked(x, &chosen)?)).collect()
    }

    fn skip(&mut self, rows: u64, _task: &Task) -> Result<()> {
        self.position = self.position.saturating_add(rows);
        Ok(())
    }

    fn about(&self) -> String {
        let about = || {
            let shapes: Vec<_> = self.sites.iter().map(|x| x.dims()).collect();
            let numbers = self.hash().unwrap_or_else(|e| format!("(that cannot be read: {e})"));
            format!("tensors {shapes:?} of the numbers {numbers}, seed {}", self.seed)
        };
        self.about.get_or_init(about).clone()
    }
}
