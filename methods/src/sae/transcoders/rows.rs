//! Decoders, of which only some rows are read.

use std::fmt;
use std::sync::Arc;

use crate::base::disk::Mapping;
use crate::common::*;
use crate::tensor::files::safetensors::SafetensorsFile;

/// The decoder of all features: `[features, written layers, d]`, in memory or in a file.
#[derive(Clone)]
pub enum DecoderRows {
    Held(Tensor),
    Mapped {
        file: Arc<SafetensorsFile<Mapping>>,
        name: String,
        shape: [usize; 3],
        /// Number of layers that stand in a row of the file before the first that is written.
        before: usize,
    },
}

/// The hint where a file has a tensor that is not known.
pub(super) const STRAY: &str = "without it the transcoder would compute something else";

/// Reads one tensor of a file, in f32.
pub(super) fn one(file: &SafetensorsFile<Mapping>, name: &str) -> Result<Tensor> {
    let numbers: u128 = file.shape(name).unwrap_or(&[]).iter().map(|size| *size as u128).product();
    memory::check(4 * numbers, || format!("the tensor `{name}`"))?;
    file.tensor_as(name, DType::F32, &mut |_| Ok(()))
}

/// Number of rows of a file that are read at a time where all are.
const ROWS: usize = 1 << 10;

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

    /// Reads the rows of some features: `[n, written layers, d]`, in f32.
    pub fn rows(&self, features: &[u32]) -> Result<Tensor> {
        let [_, written, d] = self.shape();
        match self {
            DecoderRows::Held(all) => {
                let wanted = Tensor::new(features, all.device())?;
                Ok(all.index_select(&wanted, 0)?)
            }
            DecoderRows::Mapped { file, name, before, .. } => {
                let rows = file.rows(name, features, DType::F32)?;
                let rows = rows.reshape((features.len(), before + written, d))?;
                Ok(rows.narrow(1, *before, written)?.contiguous()?)
            }
        }
    }

    /// Returns what all features write to the first of their layers, which is their own: `[features, d]`, in f32.
    pub fn own_layer(&self) -> Result<Tensor> {
        let [features, _, d] = self.shape();
        if let DecoderRows::Held(all) = self {
            return Ok(all.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?);
        }
        memory::check(4 * features as u128 * d as u128, || format!("the decoder of {features} features"))?;
        let numbers: Vec<u32> = (0..features as u32).collect();
        let own = |some: &[u32]| Ok(self.rows(some)?.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?);
        let rows = numbers.chunks(ROWS).map(own).collect::<Result<Vec<Tensor>>>()?;
        Ok(Tensor::cat(&rows, 0)?)
    }
}
