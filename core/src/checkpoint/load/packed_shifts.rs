//! Shares of the token before as the first files of RWKV-7 have them: the six of a layer in one tensor, where later files have
//! a tensor each.

use crate::common::*;
use crate::model::layout::TensorSource;
use crate::tensor::{DType, Tensor, dtype};

/// The family whose files are meant.
const FAMILY: &str = "rwkv7";

/// End of the name of the tensor of all six, `[6, d_model]` or `[6, 1, 1, d_model]`.
const PACKED: &str = ".attn.x_x";

/// Ends of the names of the six in later files, in their order there, `[1, 1, d_model]` each.
const APART: [&str; 6] = [".attn.x_r", ".attn.x_w", ".attn.x_k", ".attn.x_v", ".attn.x_a", ".attn.x_g"];

/// A source that has shares apart whose file has them packed.
pub struct PackedShifts<'a> {
    source: &'a dyn TensorSource,
}

impl<'a> PackedShifts<'a> {
    /// Returns a source with a tensor for each share where a file has them packed.
    pub fn of(config_json: &Value, source: &'a dyn TensorSource) -> Option<Self> {
        let is_meant = config_json.get("model_type").is_some_and(|family| family == FAMILY);
        (is_meant && source.names().iter().any(|name| name.ends_with(PACKED))).then_some(Self { source })
    }

    /// Returns the name of the packed tensor that a share is in, and its place there.
    fn packed_in(&self, name: &str) -> Option<(String, usize)> {
        let (place, end) = APART.iter().enumerate().find(|(_, end)| name.ends_with(**end))?;
        let packed = format!("{}{PACKED}", name.strip_suffix(end)?);
        self.source.shape(&packed).map(|_| (packed, place))
    }
}

impl TensorSource for PackedShifts<'_> {
    fn names(&self) -> Vec<String> {
        let apart = |name: String| match name.strip_suffix(PACKED) {
            Some(layer) => APART.iter().map(|end| format!("{layer}{end}")).collect(),
            None => vec![name],
        };
        self.source.names().into_iter().flat_map(apart).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match self.packed_in(name) {
            Some((packed, _)) => Some(vec![1, 1, *self.source.shape(&packed)?.last()?]),
            None => self.source.shape(name),
        }
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        let Some((packed, place)) = self.packed_in(name) else { return self.source.tensor(name) };
        let all = self.source.tensor(&packed)?;
        match *all.dims() {
            [6, width] | [6, 1, 1, width] => Ok(all.get(place)?.reshape((1, 1, width))?),
            ref found => Err(err!(Shape, "tensor `{packed}`: expected six vectors, found {found:?}")),
        }
    }

    fn accept(&self) -> Result<()> {
        self.source.accept()
    }

    fn tensor_as(&self, name: &str, wanted: DType) -> Result<Tensor> {
        match self.packed_in(name) {
            Some(_) => dtype::convert(&self.tensor(name)?, wanted),
            None => self.source.tensor_as(name, wanted),
        }
    }
}
