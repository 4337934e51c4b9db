//! Built-in hooks: zero, mean, patch, add, scale, projections.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{At, Edit, Projection};
use crate::base::Result;
use crate::model::cache::Cache;
use crate::model::site::{Heads, Place};
use crate::tensor::Tensor;
use crate::{bail, err};

crate::options! {
    /// Options of a hook that puts a mean in place of activations.
    pub struct MeanOptions {
        /// Whether the mean is over texts, at each position, and not over all positions.
        by_position: bool = false;
    }
}

/// The source of a patch's values.
#[derive(Debug, Clone)]
pub enum PatchSource {
    /// Activations of another run: the same place at the same positions.
    Cache(Arc<Cache>),
    /// Values of the shape of the part, or one that broadcasts to it.
    Tensor(Tensor),
}

/// An action that does not depend on the model.
#[derive(Debug, Clone)]
pub enum Action {
    Zero,
    /// The mean of another run, over all its texts and positions, or over its texts at each position.
    Mean {
        cache: Arc<Cache>,
        by_position: bool,
    },
    Patch(PatchSource),
    /// x + scale * vector.
    Add {
        vector: Tensor,
        scale: f64,
    },
    /// factor * x.
    Scale(f64),
    /// x without some directions.
    Project(Projection),
}

/// A running action; means are computed once for each place.
#[derive(Debug)]
pub struct RunningAction {
    action: Action,
    means: BTreeMap<Place, Tensor>,
}

impl Action {
    pub fn begin(self) -> RunningAction {
        RunningAction { action: self, means: BTreeMap::new() }
    }
}

impl Edit for RunningAction {
    fn edit(&mut self, at: &At, place: Place, positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let changed = match &self.action {
            Action::Zero => x.zeros_like()?,
            Action::Scale(factor) => (x * *factor)?,
            Action::Project(projection) => projection.apply(x).map_err(|e| e.within(format!("`{place}`")))?,
            Action::Add { vector, scale } => (x + (stretched(place, vector, x)? * *scale)?)?,
            Action::Patch(PatchSource::Tensor(values)) => stretched(place, values, x)?,
            Action::Patch(PatchSource::Cache(cache)) => {
                let part = same_positions(at, place, cache, cache.at(place)?, cache.lengths(), positions)?;
                stretched(place, &part, x)?
            }
            Action::Mean { cache, by_position } => {
                let mean = match self.means.get(&place) {
                    Some(mean) => mean.clone(),
                    None => {
                        let mean = cache.mean(place, *by_position)?;
                        self.means.insert(place, mean.clone());
                        mean
                    }
                };
                // At each position the mean is over the texts that are long enough.
                let longest = cache.lengths().iter().copied().max().unwrap_or(0);
                let mean =
                    if *by_position { same_positions(at, place, cache, mean, &[longest], positions)? } else { mean };
                stretched(place, &mean, x)?
            }
        };
        Ok(Some(changed))
    }
}

/// Broadcasts values to the shape of `x`, in its dtype and on its device.
fn stretched(place: Place, values: &Tensor, x: &Tensor) -> Result<Tensor> {
    let found = values.dims();
    let wanted = x.dims();
    let fits = found.len() <= wanted.len()
        && found.iter().rev().zip(wanted.iter().rev()).all(|(have, want)| have == want || *have == 1);
    if !fits {
        bail!(Shape, "expected values that broadcast to {wanted:?} for `{place}`, found {found:?}");
    }
    Ok(values.to_device(x.device())?.to_dtype(x.dtype())?.broadcast_as(x.shape())?.contiguous()?)
}

/// Returns the part of a recorded activation `[batch, pos, ..]` that belongs to the positions of a hook, or to those of
/// this pass. `lengths` are those of the texts that it was recorded from.
fn same_positions(
    at: &At,
    place: Place,
    cache: &Cache,
    recorded: Tensor,
    lengths: &[usize],
    positions: Option<&[i64]>,
) -> Result<Tensor> {
    let is_square = place.site.kind.heads() == Heads::Square;
    let axis = if recorded.rank() == 4 && is_square { 2 } else { 1 };
    if is_square && !cache.config().causal {
        all_keys(at, place, lengths)?;
    }
    let wanted: Vec<i64> = match positions {
        Some(positions) => positions.to_vec(),
        None if at.columns.start > 0 && at.gap.is_some() => {
            return Err(err!(
                Argument,
                "texts of different lengths continue at different positions, and a cache has the same for all"
            )
            .hint("choose positions with #{ pos: [..] }, or continue the texts one by one"));
        }
        None => at.columns.clone().map(|column| column as i64).collect(),
    };
    let column = |position: &i64| match recorded_at(at, cache, lengths, *position)? {
        Some(column) => Ok(column as u32),
        None => Err(err!(Argument, "the cache has no position {position} of `{place}`: {}", extent(cache))
            .hint("choose positions that both have with #{ pos: [..] }")),
    };
    let columns = Tensor::new(wanted.iter().map(column).collect::<Result<Vec<_>>>()?, recorded.device())?;
    Ok(recorded.contiguous()?.index_select(&columns, axis)?)
}

/// Refuses to read keys behind the end of a recorded text, where queries look at all keys.
fn all_keys(at: &At, place: Place, lengths: &[usize]) -> Result<()> {
    for row in 0..at.batch.rows().len() {
        let wanted = at.read(row);
        let found = length_beside(at, lengths, row);
        if wanted > found {
            return Err(err!(
                Argument,
                "text {row} has {wanted} tokens, and the cache's has {found} keys of `{place}`"
            )
            .hint("record the site in texts of these lengths"));
        }
    }
    Ok(())
}

/// Returns the length of the recorded text that belongs to a row of this pass; of the shortest, where they are not as
/// many.
fn length_beside(at: &At, lengths: &[usize], row: usize) -> usize {
    let shortest = lengths.iter().copied().min().unwrap_or(0);
    lengths.get(row).copied().filter(|_| lengths.len() == at.batch.rows().len()).unwrap_or(shortest)
}

/// Finds the column of a position in the cache, if every text of this pass that has the position has it there, too:
/// after the end of a text, a cache has only padding.
fn recorded_at(at: &At, cache: &Cache, lengths: &[usize], position: i64) -> Result<Option<usize>> {
    if let Some(kept) = cache.positions() {
        return Ok(kept.iter().position(|other| *other == position));
    }
    let shortest = lengths.iter().copied().min().unwrap_or(0);
    let Ok(place) = usize::try_from(position) else {
        if cache.lengths().iter().any(|length| *length != shortest) {
            return Err(err!(
                Argument,
                "expected texts of one length for position {position} of the cache, found several"
            )
            .hint("patch them one by one"));
        }
        return Ok(usize::try_from(position + shortest as i64).ok());
    };
    let mut rows = 0..at.batch.rows().len();
    let is_there = rows.all(|row| place >= at.read(row) || place < length_beside(at, lengths, row));
    Ok(is_there.then_some(place))
}

/// Describes the positions of a cache.
fn extent(cache: &Cache) -> String {
    match (cache.positions(), cache.lengths()) {
        (Some(kept), _) => format!("it holds {kept:?}"),
        (None, [first, rest @ ..]) if rest.iter().all(|other| other == first) => {
            format!("its texts have {first} tokens")
        }
        (None, lengths) => format!("its texts have {lengths:?} tokens"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Task;
    use crate::model::batch::Batch;
    use crate::model::decoder::Decoder;
    use crate::model::fixtures::{config, decoder};
    use crate::model::generate::SamplingSettings;
    use crate::model::hooks::BoundHook;
    use crate::model::run::Ask;
    use crate::model::site::select;
    use crate::tensor::DType;

    const SITE: &str = "mlp_out.1";

    fn recorded(model: &Decoder, rows: &[&[u32]], positions: Option<Vec<i64>>, hooks: Vec<BoundHook>) -> Result<Cache> {
        let batch = Batch::new(rows.iter().map(|row| row.to_vec()).collect())?;
        model.cache(&batch, Ask { hooks, places: select(model.config(), SITE)?, positions }, &Task::default())
    }

    /// Returns the activations of a run that a cache was patched into.
    fn patched(model: &Decoder, rows: &[&[u32]], action: Action, positions: Option<Vec<i64>>) -> Result<Tensor> {
        let hook = BoundHook::new(model.config(), SITE, None, positions, Box::new(action.begin()))?;
        recorded(model, rows, None, vec![hook])?.get(SITE)
    }

    fn numbers(x: &Tensor, row: usize, column: usize) -> Vec<f32> {
        x.get(row).unwrap().get(column).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn what_fills_up_a_shorter_text_is_never_patched_in() {
        let model = decoder(config(), DType::F32);
        let of = |rows: &[&[u32]]| Arc::new(recorded(&model, rows, None, vec![]).unwrap());
        let patch = |cache: &Arc<Cache>| Action::Patch(PatchSource::Cache(cache.clone()));
        let ragged = of(&[&[1, 2, 3], &[4]]);
        let error = patched(&model, &[&[5, 6, 7], &[8, 9, 10]], patch(&ragged), None).unwrap_err();
        assert_eq!(error.message, "the cache has no position 1 of `mlp_out.1`: its texts have [3, 1] tokens");
        // Each text has a recorded one that is long enough.
        let found = patched(&model, &[&[5, 6, 7], &[8]], patch(&ragged), None).unwrap();
        let before = ragged.get(SITE).unwrap();
        assert_eq!([0, 1, 2].map(|column| numbers(&found, 0, column)), [0, 1, 2].map(|c| numbers(&before, 0, c)));
        assert_eq!(numbers(&found, 1, 0), numbers(&before, 1, 0));
    }

    #[test]
    fn kept_positions_are_those_that_they_were() {
        let model = decoder(config(), DType::F32);
        let last = Arc::new(recorded(&model, &[&[1, 2, 3]], Some(vec![2]), vec![]).unwrap());
        let patch = || Action::Patch(PatchSource::Cache(last.clone()));
        let error = patched(&model, &[&[5]], patch(), None).unwrap_err();
        assert_eq!(error.message, "the cache has no position 0 of `mlp_out.1`: it holds [2]");
        let found = patched(&model, &[&[5, 6, 7]], patch(), Some(vec![2])).unwrap();
        assert_eq!(numbers(&found, 0, 2), numbers(&last.get(SITE).unwrap(), 0, 0));
    }

    #[test]
    fn a_mean_by_position_is_over_the_texts_that_have_it() {
        let model = decoder(config(), DType::F32);
        let cache = Arc::new(recorded(&model, &[&[1, 2, 3], &[4]], None, vec![]).unwrap());
        let mean = Action::Mean { cache: cache.clone(), by_position: true };
        let found = patched(&model, &[&[5, 6]], mean, None).unwrap();
        assert_eq!(numbers(&found, 0, 1), numbers(&cache.get(SITE).unwrap(), 0, 1));
    }

    #[test]
    fn texts_that_go_on_at_different_positions_are_patched_where_it_is_said() {
        let model = decoder(config(), DType::F32);
        let cache = Arc::new(recorded(&model, &[&[1; 20]], None, vec![]).unwrap());
        let speak = |positions: Option<Vec<i64>>| {
            let patch = Box::new(Action::Patch(PatchSource::Cache(cache.clone())).begin());
            let hook = BoundHook::new(model.config(), SITE, None, positions, patch).unwrap();
            let batch = Batch::new(vec![vec![1, 2, 3], vec![4]]).unwrap();
            let choice = SamplingSettings::greedy(3);
            model.generate(&batch, &choice, vec![hook], &mut |_, _| Ok(true), &Task::default())
        };
        assert!(speak(None).unwrap_err().message.starts_with("texts of different lengths continue"));
        assert_eq!(speak(Some(vec![0])).unwrap()[0].len(), 3);
    }
}
