//! The parts of activations that a grid patches, one by one.

use std::fmt;

use super::GridBy;
use crate::base::Result;
use crate::err;
use crate::model::config::Config;
use crate::model::site::{Heads, Place, SiteKind};

/// Which part of a place is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// All of it, at all positions.
    All,
    Position(usize),
    /// One head at all positions.
    Head(usize),
    /// One coordinate at all positions.
    Neuron(usize),
    /// One feature of the dictionary there, at all positions.
    Feature(usize),
}

/// A part of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PatchPart {
    pub place: Place,
    pub part: Part,
}

impl fmt::Display for PatchPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, number) = match self.part {
            Part::All => return write!(f, "`{}`", self.place),
            Part::Position(position) => ("position", position),
            Part::Head(head) => ("head", head),
            Part::Neuron(neuron) => ("neuron", neuron),
            Part::Feature(feature) => ("feature", feature),
        };
        write!(f, "{what} {number} of `{}`", self.place)
    }
}

impl PatchPart {
    /// The head that is replaced, where it is one alone.
    pub fn head(&self) -> Option<usize> {
        match self.part {
            Part::Head(head) => Some(head),
            _ => self.place.head,
        }
    }

    /// The same, called by its place among positions that begin so many earlier.
    pub fn later(self, by: usize) -> Self {
        match self.part {
            Part::Position(position) => Self { part: Part::Position(position + by), ..self },
            _ => self,
        }
    }

    pub fn is_position(&self) -> bool {
        matches!(self.part, Part::Position(_))
    }

    /// The first position that it changes, where activations are the same before `first`.
    pub fn start(&self, first: usize) -> usize {
        match self.part {
            Part::Position(position) => position,
            _ => first,
        }
    }
}

/// The parts of some places of prompts of this length; features are found by what is active.
pub fn parts_of(config: &Config, places: &[Place], by: GridBy, length: usize) -> Result<Vec<PatchPart>> {
    let mut all = Vec::new();
    for place in places {
        let of: Vec<Part> = match by {
            GridBy::Layer => vec![Part::All],
            GridBy::Position => (0..length).map(Part::Position).collect(),
            GridBy::Head => (0..heads(config, *place)?).map(Part::Head).collect(),
            GridBy::Neuron => (0..coordinates(config, *place)?).map(Part::Neuron).collect(),
            GridBy::Feature => Vec::new(),
        };
        all.extend(of.into_iter().map(|part| PatchPart { place: *place, part }));
    }
    Ok(all)
}

fn heads(config: &Config, place: Place) -> Result<usize> {
    match (place.head, place.site.kind.heads()) {
        (None, Heads::Queries | Heads::Square) => Ok(config.heads),
        (None, Heads::Keys) => Ok(config.kv_heads_of(place.site.layer)),
        _ => Err(err!(Argument, "expected sites with heads, found `{place}`")
            .hint("`z`, `head_out`, `q`, `k`, `v` and `pattern` have heads")
            .about("sites")),
    }
}

/// The width of a site without heads.
fn coordinates(config: &Config, place: Place) -> Result<usize> {
    use SiteKind::{
        AttnIn, AttnOut, ExpertsIn, ExpertsOut, LayerGate, LayerHidden, LayerInput, LayerOut, MlpHidden, MlpIn,
    };
    use SiteKind::{MlpOut, MlpOwn, MlpPre, MlpUp, ResidMid, ResidPost, ResidPre, Router};
    match place.site.kind {
        MlpPre | MlpUp | MlpHidden => Ok(config.d_mlp_of(place.site.layer)),
        LayerInput | LayerGate | LayerHidden => Ok(config.layer_inputs.unwrap_or(0)),
        ExpertsIn | ExpertsOut | MlpOwn | LayerOut => Ok(config.d_model),
        Router => Ok(config.experts.as_ref().map_or(0, |experts| experts.count)),
        ResidPre | AttnIn | AttnOut | ResidMid | MlpIn | MlpOut | ResidPost => Ok(config.d_model),
        _ => Err(err!(Argument, "expected sites of neurons, found `{place}`")
            .hint("`mlp_hidden` has the neurons of an MLP")
            .about("sites")),
    }
}
