//! Lorsas on a text whose scores are split: the codes of their heads, which are parts of the stream, and scores of their groups.

use crate::circuit::attribution_graph::layer_writes::lorsa_codes;
use crate::sae::prelude::*;

/// A layer's Lorsa, with what it reads in the only text: `[tokens, d]`.
pub struct ReadingLorsa {
    layer: usize,
    lorsa: Lorsa,
    x: Tensor,
}

/// A layer's Lorsa, with the codes of its heads at the positions that a cache has recorded: `[positions, heads]`.
pub struct LorsaCodes {
    pub lorsa: Lorsa,
    pub codes: Tensor,
}

/// Runs a model on the only text of a batch, and takes what Lorsas of some layers read there.
pub fn reading(
    model: &Decoder,
    lorsas: &BTreeMap<usize, &Lorsa>,
    batch: &Batch,
    task: &Task,
) -> Result<BTreeMap<usize, ReadingLorsa>> {
    if lorsas.is_empty() {
        return Ok(BTreeMap::new());
    }
    let place = |layer: usize| Place { site: Site::new(SiteKind::AttnIn, layer), head: None };
    let places = lorsas.keys().map(|layer| place(*layer)).collect();
    let cache = model.cache(batch, Ask { places, ..Ask::default() }, task)?;
    let of_layer = |(layer, lorsa): (&usize, &&Lorsa)| -> Result<(usize, ReadingLorsa)> {
        let x = cache.at(place(*layer))?.get(0)?.to_dtype(DType::F32)?.contiguous()?;
        Ok((*layer, ReadingLorsa { layer: *layer, lorsa: lorsa.to_device(model.device())?, x }))
    };
    lorsas.iter().map(of_layer).collect()
}

impl ReadingLorsa {
    /// Computes the codes of heads at some positions.
    pub fn codes(&self, positions: &[usize]) -> Result<LorsaCodes> {
        let codes = lorsa_codes(self.layer, &self.lorsa, &self.x).map_err(|e| e.about("text"))?;
        let rows: Vec<u32> = positions.iter().map(|position| *position as u32).collect();
        let rows = Tensor::from_vec(rows, positions.len(), codes.device())?;
        Ok(LorsaCodes { lorsa: self.lorsa.clone(), codes: codes.index_select(&rows, 0)? })
    }

    /// Computes the scores of a group from a position to each one up to it.
    pub fn scores(&self, group: usize, from: usize) -> Result<Vec<f64>> {
        let read = self.lorsa.attended(&self.x.unsqueeze(0)?, None).map_err(|e| e.about("text"))?;
        self.lorsa.scores_from(&read, group, from)
    }
}
