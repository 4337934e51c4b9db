//! The key-value cache of the text that was read before.

use std::ops::Range;

use crate::base::Result;
use crate::tensor::Tensor;
use kernels::Gap;

/// Keys and values of every layer, `[batch, columns, kv_heads, d_head]`, with room to grow.
#[derive(Debug, Default)]
pub struct Past {
    layers: Vec<Option<(Tensor, Tensor)>>,
    columns: usize,
    step: usize,
    gap: Option<Gap>,
}

impl Past {
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty cache, with its forward passes counted from here.
    pub fn from_step(step: usize) -> Self {
        Self { step, ..Self::default() }
    }

    /// The number of columns read.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The number of forward passes.
    pub fn step(&self) -> usize {
        self.step
    }

    pub fn gap(&self) -> Option<&Gap> {
        self.gap.as_ref()
    }

    /// The cache of the first columns of some of the texts, in some blocks, with capacity up to column `end`. None where
    /// there are no such columns.
    pub(super) fn beginning(
        &self,
        columns: usize,
        end: usize,
        texts: &[u32],
        blocks: &Range<usize>,
    ) -> Result<Option<Self>> {
        if columns == 0 {
            return Ok(None);
        }
        let part = |x: &Tensor| -> Result<Tensor> {
            let (_, _, heads, size) = x.dims4()?;
            let which = Tensor::new(texts, x.device())?;
            let kept = x.narrow(1, 0, columns)?.contiguous()?.index_select(&which, 0)?;
            let all = Tensor::zeros((texts.len(), end, heads, size), x.dtype(), x.device())?;
            all.slice_set(&kept, 1, 0)?;
            Ok(all)
        };
        let of_layer = |layer: &Option<(Tensor, Tensor)>| -> Result<_> {
            layer.as_ref().map(|(keys, values)| Ok((part(keys)?, part(values)?))).transpose()
        };
        let nothing = (0..blocks.start.min(self.layers.len())).map(|_| Ok(None));
        let wanted = self.layers.iter().take(blocks.end).skip(blocks.start).map(of_layer);
        let layers = nothing.chain(wanted).collect::<Result<_>>()?;
        Ok(Some(Self { layers, columns, step: self.step, gap: None }))
    }

    /// A forward pass over `width` columns is done.
    pub(super) fn advance(&mut self, width: usize, gap: Option<Gap>) {
        self.columns += width;
        self.step += 1;
        self.gap = gap;
    }

    /// Appends keys and values of a layer; returns all of them.
    pub(super) fn extend(&mut self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        if self.layers.len() <= layer {
            self.layers.resize(layer + 1, None);
        }
        let end = self.columns + k.dim(1)?;
        let (keys, values) = match self.layers[layer].take() {
            Some((keys, values)) => (grown(keys, self.columns, end)?, grown(values, self.columns, end)?),
            None => (room(k, end)?, room(v, end)?),
        };
        keys.slice_set(&k.contiguous()?, 1, self.columns)?;
        values.slice_set(&v.contiguous()?, 1, self.columns)?;
        let all = (keys.narrow(1, 0, end)?, values.narrow(1, 0, end)?);
        self.layers[layer] = Some((keys, values));
        Ok(all)
    }
}

/// Capacity for at least `end` columns and as many again, so that a long text is copied a few times only.
fn room(like: &Tensor, end: usize) -> Result<Tensor> {
    let (rows, _, heads, size) = like.dims4()?;
    Ok(Tensor::zeros((rows, end.next_power_of_two().max(64), heads, size), like.dtype(), like.device())?)
}

fn grown(kept: Tensor, used: usize, end: usize) -> Result<Tensor> {
    if end <= kept.dim(1)? {
        return Ok(kept);
    }
    let larger = room(&kept, end)?;
    larger.slice_set(&kept.narrow(1, 0, used)?.contiguous()?, 1, 0)?;
    Ok(larger)
}
