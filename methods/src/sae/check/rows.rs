//! Activations of a model at the places where a dictionary may read and write, on the first tokens of a text.

use std::fmt;
use std::ops::ControlFlow;

use crate::common::*;
use crate::data::Text;
use crate::data::harvest::{ActivationBlock, FunctionSink, HarvestOptions, TextReading, width};
use crate::model::config::Config;

/// Tokens in a row, each of which begins a text anew.
const CONTEXT: usize = 128;

/// The place that a dictionary reads, and the place that it should reconstruct: one place for all but transcoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DictionarySpot {
    pub reads: Place,
    pub writes: Place,
}

impl fmt::Display for DictionarySpot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reads == self.writes { self.reads.fmt(f) } else { write!(f, "{} to {}", self.reads, self.writes) }
    }
}

impl DictionarySpot {
    /// Returns the spot of a dictionary that writes what it reads.
    pub fn of(place: Place) -> Self {
        Self { reads: place, writes: place }
    }

    /// Lists the spots of a model where a dictionary of these widths could be, too: those of its own kinds in all
    /// layers, and for one that writes where it reads all other sites of its width.
    pub fn others(own: Option<DictionarySpot>, config: &Config, d_in: usize, d_out: usize) -> Vec<DictionarySpot> {
        let all = Site::all(config);
        let found: Vec<DictionarySpot> = match own {
            Some(own) if own.reads != own.writes => all.iter().filter_map(|site| moved(own, *site)).collect(),
            Some(DictionarySpot { reads: Place { head: Some(_), site }, .. }) => {
                let layers = all.iter().filter(|other| other.kind == site.kind);
                layers.flat_map(|site| heads(*site, config)).map(DictionarySpot::of).collect()
            }
            _ => all.iter().filter(|site| is_its_own(**site)).map(|site| DictionarySpot::of(place(*site))).collect(),
        };
        let fits = |place: Place, wanted: usize| width(config, place).is_ok_and(|width| width == wanted);
        let is_there = |spot: &DictionarySpot| fits(spot.reads, d_in) && fits(spot.writes, d_out);
        found.into_iter().filter(|spot| Some(*spot) != own && is_there(spot)).collect()
    }

    /// Returns whether this is a neighbour of another spot: of the same kind in the next layer, or in the residual
    /// stream of the same layer.
    pub fn is_near(&self, other: &DictionarySpot) -> bool {
        let site = self.reads.site;
        let of = other.reads.site;
        let in_stream = |kind: SiteKind| matches!(kind, SiteKind::ResidPre | SiteKind::ResidMid | SiteKind::ResidPost);
        if site.kind == of.kind {
            site.layer.abs_diff(of.layer) == 1 && self.reads.head == other.reads.head
        } else {
            site.layer == of.layer && in_stream(site.kind) && in_stream(of.kind)
        }
    }
}

fn place(site: Site) -> Place {
    Place { site, head: None }
}

fn heads(site: Site, config: &Config) -> impl Iterator<Item = Place> {
    (0..config.heads).map(move |head| Place { site, head: Some(head) })
}

/// Returns whether activations at a site are not those at another one: a layer's input is what the layer before has
/// written.
fn is_its_own(site: Site) -> bool {
    site.kind != SiteKind::ResidPre || site.layer == 0
}

/// Moves a transcoder's spot to another place to read: of the same kind or before the MLP in any layer, as far from
/// what is written.
fn moved(own: DictionarySpot, site: Site) -> Option<DictionarySpot> {
    let kinds = [own.reads.site.kind, SiteKind::ResidMid, SiteKind::MlpIn];
    let layer = (own.writes.site.layer + site.layer).checked_sub(own.reads.site.layer)?;
    let writes = Place { site: Site::new(own.writes.site.kind, layer), ..own.writes };
    kinds.contains(&site.kind).then(|| DictionarySpot { reads: place(site), writes })
}

/// Rows of activations that a dictionary reads, and those that it should write.
pub struct SpotRows {
    pub reads: Tensor,
    pub writes: Tensor,
}

/// Rows of activations at several places.
pub struct PlaceRows {
    places: Vec<Place>,
    activations: Vec<Tensor>,
    /// Rows that are not of the first token of a text, nor of a BOS token within one.
    rest: Vec<u32>,
    /// Whether every first token is BOS.
    pub begins_with_bos: bool,
}

impl PlaceRows {
    /// Reads the activations at the places of these spots on the first tokens of a text.
    pub fn read(model: &Model, spots: &[DictionarySpot], text: &Text, tokens: usize, task: &Task) -> Result<Self> {
        let mut places: Vec<Place> = spots.iter().flat_map(|spot| [spot.reads, spot.writes]).collect();
        places.sort_unstable();
        places.dedup();
        let names: Vec<String> = places.iter().map(Place::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let context = Some(CONTEXT.min(model.decoder.config().context));
        let reading = HarvestOptions { context, ..HarvestOptions::default() };
        let harvest = TextReading::new(model, &text.limited(tokens as u64), &reading).harvest(&names, task)?;
        let places = harvest.places().to_vec();
        let bos = model.text_tokenizer()?.bos();
        let mut blocks = vec![Vec::new(); places.len()];
        let mut rest = Vec::new();
        let mut begins_with_bos = true;
        let mut count = 0;
        let mut sink = FunctionSink(|block: ActivationBlock| {
            for (position, token) in block.positions.iter().zip(&block.tokens) {
                let is_bos = Some(*token) == bos;
                begins_with_bos &= is_bos || *position > 0;
                if *position > 0 && !is_bos {
                    rest.push(count);
                }
                count += 1;
            }
            for (all, one) in blocks.iter_mut().zip(block.activations) {
                all.push(one);
            }
            Ok(ControlFlow::Continue(()))
        });
        harvest.run(&mut sink, task)?;
        if rest.is_empty() {
            return Err(err!(Argument, "expected a text of several tokens to check a dictionary on, found {count}"));
        }
        let activations = blocks.iter().map(|blocks| Ok(Tensor::cat(blocks, 0)?)).collect::<Result<_>>()?;
        Ok(Self { places, activations, rest, begins_with_bos })
    }

    /// Returns the activations that are read and those that should be written at a spot, in all rows.
    pub fn all(&self, spot: &DictionarySpot) -> Result<SpotRows> {
        let at = |place: Place| {
            let found = self.places.iter().position(|other| *other == place).and_then(|at| self.activations.get(at));
            found.cloned().ok_or_else(|| err!(Bug, "activations at `{place}` that were not read"))
        };
        Ok(SpotRows { reads: at(spot.reads)?, writes: at(spot.writes)? })
    }

    /// Returns the activations at a spot without the first token of each text, and of at most so many rows.
    pub fn rest(&self, spot: &DictionarySpot, most: usize) -> Result<SpotRows> {
        let SpotRows { reads, writes } = self.all(spot)?;
        let kept = self.rest.get(..most.min(self.rest.len())).unwrap_or_default();
        let kept = Tensor::new(kept, &Device::Cpu)?;
        Ok(SpotRows { reads: reads.index_select(&kept, 0)?, writes: writes.index_select(&kept, 0)? })
    }
}
