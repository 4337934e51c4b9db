//! Inputs of blocks beside the residual stream: inputs of every layer, which are made of tokens, and keys and values of earlier
//! layers (gemma 4), or values of the first one (RWKV-7).

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
    /// The values of the first layer, `[batch, pos, head, d_head]`, and their first column.
    pub first_values: Option<(Tensor, usize)>,
}

impl SideInputs {
    /// Selects these rows of the batch.
    pub fn of_rows(&self, rows: &[u32]) -> Result<Self> {
        let of = |x: &Tensor| -> Result<Tensor> { Ok(x.index_select(&Tensor::new(rows, x.device())?, 0)?) };
        let keys = self.keys.iter().map(|(layer, (k, v))| Ok((*layer, (of(k)?, of(v)?))));
        let of_columns =
            |all: &Option<(Tensor, usize)>| all.as_ref().map(|(x, first)| Ok::<_, Error>((of(x)?, *first))).transpose();
        let inputs = of_columns(&self.inputs)?;
        Ok(Self { inputs, keys: keys.collect::<Result<_>>()?, first_values: of_columns(&self.first_values)? })
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
