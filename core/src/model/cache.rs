//! The recorded activations of a run, by place.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::config::Config;
use super::hooks::{At, Hooks, SitePart};
use super::padding;
use super::site::{NAME_ONE, Place, Site, one_site};
use crate::base::{Result, names};
use crate::tensor::{DType, Tensor};
use crate::{bail, err};

crate::options! {
    /// Options of a mean of activations.
    #[derive(Debug, Clone, Copy)]
    pub struct MeanOptions {
        /// Whether each position has its own mean, over the texts that are long enough: [1, pos, ..].
        by_position: bool = false;
    }
}

/// Activations of one forward pass over a batch. Shorter rows are padded on the right, where activations are
/// meaningless; `lengths` has the length of each text.
#[derive(Debug, Clone)]
pub struct Cache {
    config: Arc<Config>,
    activations: BTreeMap<Place, Tensor>,
    lengths: Vec<usize>,
    /// Positions that were kept; None for all.
    positions: Option<Vec<i64>>,
}

impl Cache {
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    pub fn positions(&self) -> Option<&[i64]> {
        self.positions.as_deref()
    }

    /// Iterates over all recorded activations, in the order of the computation.
    pub fn iter(&self) -> impl Iterator<Item = (&Place, &Tensor)> {
        self.activations.iter()
    }

    pub fn len(&self) -> usize {
        self.activations.len()
    }

    pub fn is_empty(&self) -> bool {
        self.activations.is_empty()
    }

    /// Returns the activation of a place; a head is sliced out of a site that was recorded whole.
    pub fn at(&self, place: Place) -> Result<Tensor> {
        if let Some(found) = self.activations.get(&place) {
            return Ok(found.clone());
        }
        if let (Some(head), Some(whole)) = (place.head, self.activations.get(&Place { head: None, ..place })) {
            return super::hooks::one_head(place.site.kind, whole, head);
        }
        let known: Vec<String> = self.activations.keys().map(Place::to_string).collect();
        let wanted = place.to_string();
        let hint = match names::suggestion(&wanted, known.iter().map(String::as_str)) {
            Some(near) => near,
            None => format!("it holds {}", shortened(&known)),
        };
        Err(err!(Name, "`{wanted}` was not recorded").hint(hint))
    }

    /// Returns the recorded activation of a place, with NaN after the end of each text.
    pub fn blanked(&self, place: Place, recorded: &Tensor) -> Result<Tensor> {
        padding::blanked(recorded, &self.lengths, &padding::axes(place, self.positions.is_none()))
    }

    /// Returns the activation that a name stands for; one place only.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        self.at(self.named(name)?)
    }

    /// Returns the one place that a name stands for.
    pub fn named(&self, name: &str) -> Result<Place> {
        one_site(&self.config, name, NAME_ONE)
    }

    /// Computes the mean of a place over all texts and positions, or over the texts at each position. Padding does not
    /// count.
    pub fn mean(&self, place: Place, by_position: bool) -> Result<Tensor> {
        if place.site.kind.heads() == super::site::Heads::Square {
            bail!(Argument, "`{place}` has no mean over positions: its axes are queries and keys");
        }
        let recorded = self.at(place)?;
        let rows = recorded.dim(0)?;
        let columns = recorded.dim(1)?;
        if columns == 0 {
            bail!(Argument, "`{place}` has no mean: no positions of it were recorded");
        }
        // In half precision a sum over many tokens would lose precision or overflow.
        let wide = if recorded.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let x = recorded.to_dtype(wide)?;
        let real = |row: usize, column: usize| self.positions.is_some() || column < self.lengths[row];
        let weights: Vec<f32> = (0..rows)
            .flat_map(|row| (0..columns).map(move |column| (row, column)))
            .map(|(row, column)| f32::from(u8::from(real(row, column))))
            .collect();
        let mut shape = vec![rows, columns];
        shape.resize(x.rank(), 1);
        let weights = Tensor::from_vec(weights, shape, x.device())?.to_dtype(wide)?;
        let axes: &[usize] = if by_position { &[0] } else { &[0, 1] };
        let sum = x.broadcast_mul(&weights)?.sum_keepdim(axes)?;
        // Every column has a real token: that of the longest text.
        Ok(sum.broadcast_div(&weights.sum_keepdim(axes)?)?.to_dtype(recorded.dtype())?)
    }

    /// Forgets the activation of a place, so that its memory is free once nobody else has it.
    pub fn forget(&mut self, place: Place) {
        self.activations.remove(&place);
    }

    /// Returns a cache of this run and its positions that holds other activations, such as features of the recorded
    /// ones.
    pub fn holding(&self, activations: impl IntoIterator<Item = (Place, Tensor)>) -> Self {
        Self { activations: activations.into_iter().collect(), ..self.clone() }
    }

    /// Makes a cache of given activations, such as gradients, at all positions of a run.
    pub fn of(config: Arc<Config>, lengths: Vec<usize>, activations: BTreeMap<Place, Tensor>) -> Self {
        Self { config, activations, lengths, positions: None }
    }
}

fn shortened(names: &[String]) -> String {
    match names {
        [] => "nothing".into(),
        [first @ .., last] if names.len() > 8 => format!("{}, .. and {last}", first[..6].join(", ")),
        _ => names.join(", "),
    }
}

/// A recorder of places while a pass runs.
#[derive(Debug)]
pub struct Recorder {
    cache: Cache,
    wanted: Vec<Place>,
}

impl Recorder {
    /// Makes a recorder of the wanted places, at all positions or at the given ones; negative positions count from the
    /// end of each text.
    pub fn new(config: Arc<Config>, mut wanted: Vec<Place>, lengths: Vec<usize>, positions: Option<Vec<i64>>) -> Self {
        wanted.sort();
        wanted.dedup();
        Self { cache: Cache { config, activations: BTreeMap::new(), lengths, positions }, wanted }
    }

    pub fn finish(self) -> Cache {
        self.cache
    }
}

impl Hooks for Recorder {
    fn wants(&self, site: Site) -> bool {
        self.wanted.iter().any(|place| place.site == site)
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        for place in self.wanted.iter().filter(|place| place.site == at.site) {
            let whole = match &self.cache.positions {
                None => x.clone(),
                Some(positions) => SitePart::new(at, Some(positions), None)?.taken(x)?,
            };
            let kept = match place.head {
                Some(head) => super::hooks::one_head(at.site.kind, &whole, head)?.contiguous()?,
                None => whole,
            };
            self.cache.activations.insert(*place, kept);
        }
        Ok(None)
    }

    fn last(&self) -> Option<Site> {
        self.wanted.last().map(|place| place.site)
    }
}
