//! Where each weight of ours lies in a file of someone else's.

use std::collections::BTreeMap;

use super::config::Config;
use crate::base::Result;
use crate::err;
use crate::tensor::{DType, Tensor, dtype};

/// Tensors by name, as a file has them, read one at a time.
pub trait TensorSource {
    fn names(&self) -> Vec<String>;

    /// The shape of a tensor that is there.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;

    /// One tensor in the processor's memory, in the dtype of the file; what is quantised comes as f32.
    fn tensor(&self, name: &str) -> Result<Tensor>;

    /// The same in the dtype that is computed in. A source that can convert piece by piece needs less memory for it.
    fn tensor_as(&self, name: &str, wanted: DType) -> Result<Tensor> {
        let found = self.tensor(name)?;
        holds_floats(name, found.dtype())?;
        dtype::convert(&found, wanted)
    }
}

/// Refuses weights of whole numbers: somebody has quantised them, and what they stand for is not said.
pub fn holds_floats(name: &str, found: DType) -> Result<()> {
    if dtype::is_float(found) {
        return Ok(());
    }
    Err(err!(Format, "expected floats in tensor `{name}`, found {}", found.as_str())
        .hint("quantised weights are read from GGUF files only"))
}

/// How a weight of ours is made of a tensor of the file. Ours are `[out, in]`, heads one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightFrom {
    Same(String),
    /// WeightFrom `[in, out]`.
    Transposed(String),
    /// Rows `start..start + count` of a fused `[out, in]` or `[out]`.
    Rows {
        name: String,
        start: usize,
        count: usize,
    },
    /// Columns `start..start + count` of a fused `[in, out]`, transposed.
    Columns {
        name: String,
        start: usize,
        count: usize,
    },
    /// Part `part` of `parts` of every head: the rows are ordered (head, part, d_head), as GPT-NeoX has them.
    OfEachHead {
        name: String,
        heads: usize,
        parts: usize,
        part: usize,
    },
    /// WeightFrom `[heads, in, d_head]`: TransformerLens' `W_Q`.
    HeadsOut(String),
    /// WeightFrom `[heads, d_head, out]`: TransformerLens' `W_O`.
    HeadsIn(String),
    /// WeightFrom `[heads, d_head, in]`: `W_Q` in the code that TransformerLens grew out of.
    HeadRows(String),
    /// WeightFrom `[heads, d_head]`: TransformerLens' `b_Q`.
    Flat(String),
}

/// A config, and where a file has the weights that it calls for.
#[derive(Debug, Clone)]
pub struct Layout {
    pub config: Config,
    /// By our name of the weight. For a tied model it may name `unembed.weight`, too, which a file may have all the same.
    pub weights: BTreeMap<String, WeightFrom>,
    /// Names that are known and hold nothing to be learned (mask buffers, rotary tables). `*` stands for a layer.
    pub ignored: Vec<String>,
}
