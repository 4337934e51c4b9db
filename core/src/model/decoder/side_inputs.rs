//! Inputs of blocks beside the residual stream (gemma 4): inputs of every layer, which are made of tokens, and keys and
//! values of earlier layers.

use std::collections::BTreeMap;

use crate::base::{Error, Result};
use crate::err;
use crate::tensor::Tensor;

#[derive(Debug, Clone, Default)]
pub struct SideInputs {
    /// The inputs of all layers, `[batch, pos, layers * width]`, and their first column.
    pub inputs: Option<(Tensor, usize)>,
    /// Keys and values of the layers that others read, of all columns from the first one on.
    keys: BTreeMap<usize, (Tensor, Tensor)>,
}

impl SideInputs {
    /// Selects these rows of the batch.
    pub fn of_rows(&self, rows: &[u32]) -> Result<Self> {
        let of = |x: &Tensor| -> Result<Tensor> { Ok(x.index_select(&Tensor::new(rows, x.device())?, 0)?) };
        let keys = self.keys.iter().map(|(layer, (k, v))| Ok((*layer, (of(k)?, of(v)?))));
        let inputs = self.inputs.as_ref().map(|(x, first)| Ok::<_, Error>((of(x)?, *first)));
        Ok(Self { inputs: inputs.transpose()?, keys: keys.collect::<Result<_>>()? })
    }

    pub fn keep(&mut self, layer: usize, k: &Tensor, v: &Tensor) {
        self.keys.insert(layer, (k.clone(), v.clone()));
    }

    /// Returns the keys and values of a layer up to a column.
    pub fn keys_of(&self, layer: usize, end: usize) -> Result<(Tensor, Tensor)> {
        let (k, v) = self.keys.get(&layer).ok_or_else(|| err!(Bug, "the keys of layer {layer} were not kept"))?;
        let part = |x: &Tensor| -> Result<Tensor> {
            if x.dim(1)? == end { Ok(x.clone()) } else { Ok(x.narrow(1, 0, end)?.contiguous()?) }
        };
        Ok((part(k)?, part(v)?))
    }
}
