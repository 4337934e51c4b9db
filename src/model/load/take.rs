//! Reading the weights from a source, one tensor at a time.

use std::collections::BTreeMap;

use super::{Loading, fit};
use crate::base::{Result, Task, memory};
use crate::err;
use crate::model::layout::{Layout, TensorSource};
use crate::model::weights::Weights;
use crate::tensor::Tensor;

/// How many rows are compared at once.
const ROWS: usize = 1024;

/// Every weight that the layout's config requires, in the requested dtype and on the requested device. `label` is the
/// user's name of the model.
pub fn weights(
    layout: &Layout,
    source: &dyn TensorSource,
    label: &str,
    loading: &Loading,
    task: &Task,
) -> Result<Weights> {
    let parameters = layout.config.parameters()?;
    fit::check(layout, &parameters, source)?;
    let width = loading.options.dtype.size_in_bytes();
    let size = |shape: &[usize]| shape.iter().product::<usize>() * width;
    let bytes: u128 = parameters.iter().map(|(_, shape)| size(shape) as u128).sum();
    memory::check(bytes, || format!("the weights of {label}"))?;
    let bar = task.begin(&format!("loading {label}"), u64::try_from(bytes).ok());
    let mut shelf = Shelf::new(layout, &parameters, source, loading)?;
    Weights::build(&layout.config, &mut |ours, shape| {
        task.check()?;
        let weight = shelf.take(ours)?;
        if ours == "embed" && layout.config.tied {
            same_unembedding(layout, source, &weight, loading, task)?;
        }
        bar.advance(size(shape) as u64);
        Ok(weight.to_device(&loading.device)?)
    })
}

/// Tensors of the file that are still needed for more of ours.
struct Shelf<'a> {
    layout: &'a Layout,
    source: &'a dyn TensorSource,
    loading: &'a Loading,
    /// The number of our weights still to be sliced from each.
    awaited: BTreeMap<&'a str, usize>,
    held: BTreeMap<&'a str, Tensor>,
}

impl<'a> Shelf<'a> {
    fn new(
        layout: &'a Layout,
        parameters: &[(String, Vec<usize>)],
        source: &'a dyn TensorSource,
        loading: &'a Loading,
    ) -> Result<Self> {
        let mut awaited = BTreeMap::new();
        for (ours, _) in parameters {
            *awaited.entry(fit::place(layout, ours)?.name()).or_insert(0) += 1;
        }
        Ok(Self { layout, source, loading, awaited, held: BTreeMap::new() })
    }

    fn take(&mut self, ours: &str) -> Result<Tensor> {
        let from = fit::place(self.layout, ours)?;
        let name = from.name();
        let whole = match self.held.remove(name) {
            Some(whole) => whole,
            None => self.source.tensor_as(name, self.loading.options.dtype)?,
        };
        let weight = from.cut(&whole)?;
        let awaited = self.awaited.entry(name).or_insert(1);
        *awaited = awaited.saturating_sub(1);
        if *awaited > 0 {
            self.held.insert(name, whole);
        }
        Ok(weight)
    }
}

/// A file may have an unembedding although the config says that it is tied. Then it must equal the embedding.
fn same_unembedding(
    layout: &Layout,
    source: &dyn TensorSource,
    embed: &Tensor,
    loading: &Loading,
    task: &Task,
) -> Result<()> {
    let Some(from) = layout.weights.get("unembed.weight") else { return Ok(()) };
    let Some(shape) = source.shape(from.name()) else { return Ok(()) };
    let differs = || {
        err!(Format, "tensor `{}` is not the embedding, and the config says that it is", from.name())
            .hint("set `tie_word_embeddings` to false in the config.json if the model was trained that way")
    };
    let expected = from.whole_shape(embed.dims(), layout.config.d_head, 0)?;
    if shape != expected {
        return Err(differs());
    }
    let unembed = from.cut(&source.tensor_as(from.name(), loading.options.dtype)?)?;
    let rows = embed.dim(0)?;
    for start in (0..rows).step_by(ROWS) {
        task.check()?;
        let count = ROWS.min(rows - start);
        let equal = embed.narrow(0, start, count)?.eq(&unembed.narrow(0, start, count)?)?;
        if equal.flatten_all()?.min(0)?.to_scalar::<u8>()? == 0 {
            return Err(differs());
        }
    }
    Ok(())
}
