//! The parts of activations that a grid patches, one by one.

use std::fmt;

use super::GridBy;
use crate::common::*;
use crate::model::site::Heads;

/// The part of a site that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SitePart {
    /// The whole site, at all positions.
    All,
    Position(usize),
    /// A head at all positions.
    Head(usize),
    /// A coordinate at all positions.
    Neuron(usize),
    /// A feature of the dictionary there, at all positions.
    Feature(usize),
}

/// A part of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PatchPart {
    pub place: Place,
    pub part: SitePart,
}

impl fmt::Display for PatchPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, number) = match self.part {
            SitePart::All => return write!(f, "`{}`", self.place),
            SitePart::Position(position) => ("position", position),
            SitePart::Head(head) => ("head", head),
            SitePart::Neuron(neuron) => ("neuron", neuron),
            SitePart::Feature(feature) => ("feature", feature),
        };
        write!(f, "{what} {number} of `{}`", self.place)
    }
}

impl PatchPart {
    /// Returns the head that is replaced, where it is one alone.
    pub fn head(&self) -> Option<usize> {
        match self.part {
            SitePart::Head(head) => Some(head),
            _ => self.place.head,
        }
    }

    /// Returns the part with its position counted from `by` positions earlier.
    pub fn later(self, by: usize) -> Self {
        match self.part {
            SitePart::Position(position) => Self { part: SitePart::Position(position + by), ..self },
            _ => self,
        }
    }

    pub fn is_position(&self) -> bool {
        matches!(self.part, SitePart::Position(_))
    }

    /// Returns the first position that the part changes, where activations are the same before `first`.
    pub fn start(&self, first: usize) -> usize {
        match self.part {
            SitePart::Position(position) => position,
            _ => first,
        }
    }
}

/// Returns the parts of some sites of prompts of a length; features are found by which are active.
pub fn parts_of(config: &Config, places: &[Place], by: GridBy, length: usize) -> Result<Vec<PatchPart>> {
    let mut all = Vec::new();
    for place in places {
        let of: Vec<SitePart> = match by {
            GridBy::Layer => vec![SitePart::All],
            GridBy::Position => (0..length).map(SitePart::Position).collect(),
            GridBy::Head => (0..heads(config, *place)?).map(SitePart::Head).collect(),
            GridBy::Neuron => (0..coordinates(config, *place)?).map(SitePart::Neuron).collect(),
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

/// Returns the width of a site without heads.
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
