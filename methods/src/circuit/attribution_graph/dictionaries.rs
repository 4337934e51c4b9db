//! The dictionaries that stand for parts of a model in an attribution graph: transcoders for its MLPs, and, where a
//! graph is without the model's attention, Lorsas.

use super::mixing::{Patterns, QUERIES};
use super::steps::GraphSteps;
use crate::sae::Transcoders;
use crate::sae::prelude::*;
use crate::sae::text_rows::dictionary::TextDictionary;

/// The dictionaries of an attribution graph.
#[derive(Debug, Clone)]
pub struct GraphDictionaries {
    /// Transcoders for the MLPs of all layers.
    pub transcoders: Transcoders,
    /// Lorsas for the attention of all layers, or none: then edges pass the model's attention heads, whose patterns are
    /// held.
    pub lorsas: Vec<Lorsa>,
}

impl From<&Transcoders> for GraphDictionaries {
    fn from(transcoders: &Transcoders) -> Self {
        Self { transcoders: transcoders.clone(), lorsas: Vec::new() }
    }
}

impl From<&GraphDictionaries> for GraphDictionaries {
    fn from(dictionaries: &GraphDictionaries) -> Self {
        dictionaries.clone()
    }
}

impl GraphDictionaries {
    pub fn has_lorsas(&self) -> bool {
        !self.lorsas.is_empty()
    }

    /// Returns the order of the dictionaries.
    pub fn steps(&self) -> GraphSteps {
        GraphSteps { layers: self.transcoders.layers().len(), has_lorsas: self.has_lorsas() }
    }

    /// Moves the dictionaries to the device of a model, Lorsas in the order of its layers. Refuses Lorsas unless each
    /// layer has one.
    pub fn of_model(&self, model: &Model) -> Result<Self> {
        let device = model.decoder.device();
        let transcoders = self.transcoders.to_device(device)?;
        let lorsas = by_layer(model, &self.lorsas).map_err(|e| e.about("lorsas"))?;
        let lorsas = lorsas.into_iter().map(|lorsa| lorsa.to_device(device)).collect::<Result<_>>()?;
        Ok(Self { transcoders, lorsas })
    }

    /// Refuses a run of so many tokens whose attention patterns, inputs and errors do not fit in memory.
    pub(super) fn check_run(&self, config: &Config, patterns: Patterns, tokens: usize) -> Result<()> {
        let squares = 4 * self.patterns(config, patterns) as u128 * (tokens as u128).pow(2);
        // Scores and pattern of a block of queries, of one layer at a time.
        let block = 8 * (config.heads * QUERIES.min(tokens)) as u128 * tokens as u128;
        let lines = 8 * (config.layers * config.d_model) as u128 * tokens as u128;
        memory::check(squares + block + lines, || {
            format!("the attention patterns, inputs and errors of {tokens} tokens")
        })
    }

    /// Returns the largest number of whole attention patterns that are in memory at a time: those of all layers, and of one
    /// of them the steps to what is held in their place. Patterns of Lorsas are always held.
    fn patterns(&self, config: &Config, patterns: Patterns) -> usize {
        let of_layers: Vec<usize> = if self.has_lorsas() {
            self.lorsas.iter().map(|lorsa| lorsa.groups).collect()
        } else if patterns == Patterns::Held {
            vec![config.heads; config.layers]
        } else {
            Vec::new()
        };
        let most = of_layers.iter().copied().max().unwrap_or(0);
        of_layers.iter().sum::<usize>() + 3 * most
    }
}

/// Returns Lorsas by the layers of a model whose attention they stand for, and refuses two of one layer.
pub(in crate::circuit) fn of_layers<'a>(model: &Model, lorsas: &'a [Lorsa]) -> Result<BTreeMap<usize, &'a Lorsa>> {
    let mut found = BTreeMap::new();
    for lorsa in lorsas {
        let places = lorsa.places(model)?;
        let layer = places[0].site.layer;
        let attention = |kind: SiteKind| Place { site: Site::new(kind, layer), head: None };
        if places != [SiteKind::AttnIn, SiteKind::AttnOut].map(attention) {
            let [reads, writes] = places;
            return Err(err!(
                Argument,
                "expected a Lorsa that reads `attn_in` and writes `attn_out` of one layer, found one that reads `{reads}` and writes `{writes}`"
            ));
        }
        if found.insert(layer, lorsa).is_some() {
            return Err(err!(Argument, "expected one Lorsa for each layer, found two for layer {layer}"));
        }
    }
    Ok(found)
}

/// Returns the Lorsas in the order of layers.
fn by_layer<'a>(model: &Model, lorsas: &'a [Lorsa]) -> Result<Vec<&'a Lorsa>> {
    if lorsas.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = of_layers(model, lorsas)?;
    let name = model.name().to_string();
    let count = model.decoder.config().layers;
    let of_layer = |layer: usize| {
        found.remove(&layer).ok_or_else(|| {
            err!(Argument, "expected Lorsas for the {count} layers of {name}, found none for layer {layer}")
                .hint("no edge of such a graph passes the model's own attention, so that each layer needs one")
        })
    };
    (0..count).map(of_layer).collect()
}
