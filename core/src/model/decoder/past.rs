//! The key-value cache of the text that was read before.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::bail;
use crate::base::{Result, memory};
use crate::tensor::Tensor;
use kernels::Gap;
use kernels::memory::SMALL;

/// The state of a recurrent layer after the text before.
#[derive(Debug, Clone)]
pub(super) struct RecurrentState {
    /// Last columns, which the convolution reads, or the next mixture with the token before: `[batch, kernel - 1, channels]`,
    /// or `[batch, 1, d_model]`.
    pub recent: Tensor,
    /// Memory of each head: of a delta net `[batch * value_head, d_key, d_value]`, of a state space
    /// `[batch, head, d_head, d_state]`, of time mixing `[batch, head, d_head, d_head]`.
    pub memory: Tensor,
}

/// Keys and values of every layer with attention, `[batch, columns, kv_heads, d_head]`, with room to grow; and the states
/// of recurrent ones.
#[derive(Debug, Default)]
pub struct Past {
    layers: Vec<Option<(Tensor, Tensor)>>,
    states: BTreeMap<usize, RecurrentState>,
    /// The last inputs of MLPs that read mixtures with the token before, `[batch, 1, d_model]`.
    mlp_inputs: BTreeMap<usize, Tensor>,
    columns: usize,
    step: usize,
    gap: Option<Gap>,
    /// Bytes made since free memory was checked: a layer takes little, but there may be thousands.
    unchecked: u128,
}

impl Past {
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty cache, with its forward passes counted from `step`.
    pub fn from_step(step: usize) -> Self {
        Self { step, ..Self::default() }
    }

    /// Returns the number of columns read.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the number of forward passes.
    pub fn step(&self) -> usize {
        self.step
    }

    pub fn gap(&self) -> Option<&Gap> {
        self.gap.as_ref()
    }

    /// Returns the cache of the first columns of some of the texts, in some blocks, with capacity up to column `end`;
    /// None where there are no such columns.
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
        let is_recurrent = self.states.keys().chain(self.mlp_inputs.keys()).any(|layer| blocks.contains(layer));
        if is_recurrent {
            bail!(Bug, "a recurrent layer was asked for its state at column {columns}, and has the last one only");
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
        Ok(Some(Self { layers, columns, step: self.step, ..Self::default() }))
    }

    /// Returns the cache of the first columns; None where a recurrent layer was read, or an MLP that reads the token before:
    /// these have their last state only.
    pub fn first(&self, columns: usize) -> Result<Option<Self>> {
        let texts = self.layers.iter().flatten().map(|(keys, _)| keys.dims()[0]).next().unwrap_or_default();
        if self.states.is_empty() && self.mlp_inputs.is_empty() && self.gap.is_none() {
            let all: Vec<u32> = (0..texts as u32).collect();
            self.beginning(columns, Self::capacity(columns), &all, &(0..self.layers.len()))
        } else {
            Ok(None)
        }
    }

    /// Counts a finished forward pass over `width` columns.
    pub(super) fn advance(&mut self, width: usize, gap: Option<Gap>) {
        self.columns += width;
        self.step += 1;
        self.gap = gap;
    }

    /// Returns the state of a recurrent layer, if it has read anything.
    pub(super) fn state(&self, layer: usize) -> Option<&RecurrentState> {
        self.states.get(&layer)
    }

    pub(super) fn keep(&mut self, layer: usize, state: RecurrentState) {
        self.states.insert(layer, state);
    }

    /// Returns the last input of a layer's MLP, if it was kept.
    pub(super) fn mlp_input(&self, layer: usize) -> Option<&Tensor> {
        self.mlp_inputs.get(&layer)
    }

    pub(super) fn keep_mlp_input(&mut self, layer: usize, input: Tensor) {
        self.mlp_inputs.insert(layer, input);
    }

    /// Appends keys and values of a layer; returns all of them.
    pub(super) fn extend(&mut self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        if self.layers.len() <= layer {
            self.layers.resize(layer + 1, None);
        }
        let end = self.columns + k.dim(1)?;
        let (keys, values) = match self.layers[layer].take() {
            Some((keys, values)) => (self.grown(keys, end)?, self.grown(values, end)?),
            None => (self.room(k, end)?, self.room(v, end)?),
        };
        keys.slice_set(&k.contiguous()?, 1, self.columns)?;
        values.slice_set(&v.contiguous()?, 1, self.columns)?;
        let all = (keys.narrow(1, 0, end)?, values.narrow(1, 0, end)?);
        self.layers[layer] = Some((keys, values));
        Ok(all)
    }

    /// Returns the columns that a cache of `columns` has room for: as many again, so that a long text is copied a few
    /// times only.
    pub fn capacity(columns: usize) -> usize {
        columns.next_power_of_two().max(64)
    }

    /// Allocates capacity for at least `end` columns.
    fn room(&mut self, like: &Tensor, end: usize) -> Result<Tensor> {
        let (rows, _, heads, size) = like.dims4()?;
        let shape = (rows, Self::capacity(end), heads, size);
        self.unchecked += (rows * Self::capacity(end) * heads * size * like.dtype().size_in_bytes()) as u128;
        if self.unchecked >= SMALL {
            memory::check_on(like.device(), self.unchecked, || "the key-value cache".into())?;
            self.unchecked = 0;
        }
        Ok(Tensor::zeros(shape, like.dtype(), like.device())?)
    }

    fn grown(&mut self, kept: Tensor, end: usize) -> Result<Tensor> {
        if end <= kept.dim(1)? {
            return Ok(kept);
        }
        let larger = self.room(&kept, end)?;
        larger.slice_set(&kept.narrow(1, 0, self.columns)?.contiguous()?, 1, 0)?;
        Ok(larger)
    }
}
