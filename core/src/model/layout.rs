//! Layouts: where each of our weights is in a third-party file.

use std::collections::BTreeMap;

use kernels::PackedMatrix;
use serde_json::Value;

use super::config::Config;
use crate::base::Result;
use crate::err;
use crate::tensor::{DType, Device, Tensor, dtype};

/// Tensors by name, as a file has them, read one at a time.
pub trait TensorSource {
    fn names(&self) -> Vec<String>;

    /// Returns the shape of a tensor, if it exists.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;

    /// Reads one tensor into CPU memory, in the dtype of the file; quantised ones as f32.
    fn tensor(&self, name: &str) -> Result<Tensor>;

    /// Reads one tensor in the dtype that is computed in. A source that can convert piece by piece needs less memory
    /// for it.
    fn tensor_as(&self, name: &str, wanted: DType) -> Result<Tensor> {
        let found = self.tensor(name)?;
        holds_floats(name, found.dtype())?;
        dtype::convert(&found, wanted)
    }

    /// Accepts the tensors as those that are wanted, before the first of them is read. Files are hashed then.
    fn accept(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the blocks of a quantised matrix `[out, in]`, or of those of all experts, `[experts * out, in]`, if it is one
    /// that can compute as it is.
    fn packed(&self, _name: &str) -> Option<PackedMatrix> {
        None
    }
}

/// Tensors in memory. What they are still part of, as variables of candle are, is left behind.
impl TensorSource for BTreeMap<String, Tensor> {
    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.get(name)?.dims().to_vec())
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        let found = self.get(name).ok_or_else(|| err!(Name, "this file has no array `{name}`"))?;
        Ok(found.detach().to_device(&Device::Cpu)?)
    }
}

/// Refuses integer weights: they are quantised, and the file does not say how.
pub fn holds_floats(name: &str, found: DType) -> Result<()> {
    if dtype::is_float(found) {
        return Ok(());
    }
    Err(err!(Format, "expected floats in tensor `{name}`, found {}", found.as_str())
        .hint("quantised weights are read from GGUF files only"))
}

/// The way in which one of our weights is made from a tensor of the file. Ours are `[out, in]`, with heads
/// concatenated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightFrom {
    Same(String),
    /// Transpose of `[in, out]`.
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
    /// Rows `start..start + count` of every group of `group` rows, as Falcon has them: the queries that share a head of keys,
    /// its keys and its values.
    OfEachGroup {
        name: String,
        groups: usize,
        group: usize,
        start: usize,
        count: usize,
    },
    /// A part of the weights of all experts, `[experts, in, out * parts]` or `[experts, out * parts]`: the columns of
    /// one expert that belong to one of several parts, which take turns.
    OfExpert {
        name: String,
        expert: usize,
        experts: usize,
        part: usize,
        parts: usize,
    },
    /// A part of the weights of all experts, `[experts, parts * out, in]` or `[experts, parts * out]`: the rows of
    /// one expert that belong to one of several parts, which follow one another.
    RowsOfExpert {
        name: String,
        expert: usize,
        experts: usize,
        part: usize,
        parts: usize,
    },
    /// A weight that a converter has rewritten: the shape of the tensor in the file, and the steps back from it.
    Rewritten {
        name: String,
        whole: Vec<usize>,
        back: Vec<StepBack>,
    },
    /// Weights `[heads, in, d_head]`: TransformerLens' `W_Q`.
    HeadsOut(String),
    /// Weights `[heads, d_head, out]`: TransformerLens' `W_O`.
    HeadsIn(String),
    /// Weights `[heads, d_head, in]`: `W_Q` in the code that TransformerLens grew out of.
    HeadRows(String),
    /// Biases `[heads, d_head]`: TransformerLens' `b_Q`.
    Flat(String),
}

/// A step from a tensor that a converter has rewritten to our weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepBack {
    /// Rows `start..start + count`.
    Rows { start: usize, count: usize },
    /// An axis of size 1, which the file leaves out.
    Unsqueezed(usize),
    /// Heads of `width` entries each along an axis, from entry `start` on: the file has the first head of each of several
    /// groups, then the second of each; ours are group by group.
    Grouped { axis: usize, start: usize, groups: usize, each: usize, width: usize },
    /// The logarithm of what the file has with the opposite sign.
    LogOfOpposite,
    /// The first two axes as one.
    Joined,
    /// The last two axes in each other's place.
    Turned,
    /// The first axis as one of heads and one of a head's entries.
    ByHead { heads: usize },
}

/// A config, and where a file has the weights that it requires.
#[derive(Debug, Clone)]
pub struct Layout {
    pub config: Config,
    /// Places in the file by our name of the weight. For a tied model they may include `unembed.weight`, which some
    /// files contain anyway.
    pub weights: BTreeMap<String, WeightFrom>,
    /// Known names without learned weights (mask buffers, rotary tables). `*` stands for a layer.
    pub ignored: Vec<String>,
}

/// The published form of a model, in which it can be saved again.
#[derive(Debug, Clone)]
pub struct PublishedForm {
    pub config_json: Value,
    pub layout: Layout,
}
