//! Decoders, of which only some rows are read.

use std::fmt;
use std::sync::Arc;

use memmap2::Mmap;

use crate::base::Result;
use crate::tensor::files::safetensors::Reader;
use crate::tensor::{DType, Tensor};

/// What each feature writes: `[features, written layers, d]`, in memory or in a file.
#[derive(Clone)]
pub enum DecoderRows {
    Held(Tensor),
    Mapped { file: Arc<Reader<Mmap>>, name: String, shape: [usize; 3] },
}

impl fmt::Debug for DecoderRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if matches!(self, DecoderRows::Held(_)) { "held" } else { "mapped" };
        write!(f, "{place} {:?}", self.shape())
    }
}

impl DecoderRows {
    pub fn shape(&self) -> [usize; 3] {
        match self {
            DecoderRows::Held(all) => match all.dims() {
                &[features, written, d] => [features, written, d],
                _ => [0; 3],
            },
            DecoderRows::Mapped { shape, .. } => *shape,
        }
    }

    /// The rows of some features: `[n, written layers, d]`, in f32.
    pub fn rows(&self, features: &[u32]) -> Result<Tensor> {
        let [_, written, d] = self.shape();
        match self {
            DecoderRows::Held(all) => {
                let wanted = Tensor::new(features, all.device())?;
                Ok(all.index_select(&wanted, 0)?)
            }
            DecoderRows::Mapped { file, name, .. } => {
                let rows = file.rows(name, features, DType::F32)?;
                Ok(rows.reshape((features.len(), written, d))?)
            }
        }
    }
}
