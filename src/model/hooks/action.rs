//! The hooks that need no code of the user's: zero, mean, patch, add, scale.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{At, Edit};
use crate::bail;
use crate::base::Result;
use crate::model::cache::Cache;
use crate::model::site::Place;
use crate::tensor::Tensor;

/// Where the values of a patch come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Another run: the same place at the same positions.
    Cache(Arc<Cache>),
    /// Values of the part's own shape, or one that broadcasts to it.
    Tensor(Tensor),
}

/// A change that is the same in every model.
#[derive(Debug, Clone)]
pub enum Action {
    Zero,
    /// The mean of another run, over all its texts and positions, or over its texts at each position.
    Mean {
        cache: Arc<Cache>,
        by_position: bool,
    },
    Patch(Source),
    /// x + scale * vector
    Add {
        vector: Tensor,
        scale: f64,
    },
    /// factor * x
    Scale(f64),
}

/// An action at work: means are computed once a place.
#[derive(Debug)]
pub struct Acting {
    action: Action,
    means: BTreeMap<Place, Tensor>,
}

impl Action {
    pub fn begin(self) -> Acting {
        Acting { action: self, means: BTreeMap::new() }
    }
}

impl Edit for Acting {
    fn edit(&mut self, at: &At, place: Place, positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let changed = match &self.action {
            Action::Zero => x.zeros_like()?,
            Action::Scale(factor) => (x * *factor)?,
            Action::Add { vector, scale } => (x + (stretched(place, vector, x)? * *scale)?)?,
            Action::Patch(Source::Tensor(values)) => stretched(place, values, x)?,
            Action::Patch(Source::Cache(cache)) => {
                let whole = cache.at(place)?;
                let part = same_positions(at, place, cache, whole, positions)?;
                stretched(place, &part, x)?
            }
            Action::Mean { cache, by_position } => {
                let mean = match self.means.get(&place) {
                    Some(mean) => mean.clone(),
                    None => cache.mean(place, *by_position)?,
                };
                self.means.insert(place, mean.clone());
                let mean = if *by_position { same_positions(at, place, cache, mean, positions)? } else { mean };
                stretched(place, &mean, x)?
            }
        };
        Ok(Some(changed))
    }
}

/// The values in the shape, dtype and place of `x`.
fn stretched(place: Place, values: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (found, wanted) = (values.dims(), x.dims());
    let fits = found.len() <= wanted.len()
        && found.iter().rev().zip(wanted.iter().rev()).all(|(have, want)| have == want || *have == 1);
    if !fits {
        bail!(Shape, "expected values that broadcast to {wanted:?} for `{place}`, found {found:?}");
    }
    Ok(values.to_device(x.device())?.to_dtype(x.dtype())?.broadcast_as(x.shape())?.contiguous()?)
}

/// The part of a recorded activation `[batch, pos, ..]` that belongs to the positions of a hook.
fn same_positions(at: &At, place: Place, cache: &Cache, recorded: Tensor, positions: Option<&[i64]>) -> Result<Tensor> {
    let axis = if recorded.rank() == 4 && place.site.kind.heads() == crate::model::site::Heads::Square { 2 } else { 1 };
    let wanted: Vec<i64> = match positions {
        Some(positions) => positions.to_vec(),
        // Without positions the texts must be equally long.
        None if at.columns.start == 0 && recorded.dim(axis)? == at.batch.width() => return Ok(recorded),
        None => at.columns.clone().map(|column| column as i64).collect(),
    };
    let length = cache.lengths().iter().copied().min().unwrap_or(0);
    let ragged = cache.lengths().iter().any(|other| *other != length);
    let mut columns = Vec::new();
    for position in wanted {
        let found = match cache.positions() {
            Some(kept) => kept.iter().position(|other| *other == position),
            None if position < 0 && ragged => bail!(
                Argument,
                "position {position} of the cache is another one in each of its texts: patch them one by one"
            ),
            None => {
                let place = if position < 0 { position + length as i64 } else { position };
                usize::try_from(place).ok().filter(|place| *place < length)
            }
        };
        match found {
            Some(column) => columns.push(column as u32),
            None => {
                return Err(crate::err!(
                    Argument,
                    "the cache has no position {position} of `{place}`: its texts have {length} tokens"
                )
                .hint("choose positions that both have with #{ pos: [..] }"));
            }
        }
    }
    let columns = Tensor::new(columns, recorded.device())?;
    Ok(recorded.contiguous()?.index_select(&columns, axis)?)
}
