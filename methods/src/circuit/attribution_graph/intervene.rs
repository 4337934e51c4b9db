//! Interventions on features in the model itself: with everything frozen the logits change as the edges of a graph
//! predict, with nothing frozen as the model does.
//!
//! A head of a Lorsa is changed as a feature of a transcoder is: the change of its code, along its direction, is added
//! to what the model's attention writes.

use super::dictionaries::GraphDictionaries;
use super::frozen::{self, recorded};
use super::layer_writes::{ActiveFeature, reading};
use super::mixing::Patterns;
use super::steps::LayerPart;
use crate::common::*;
use crate::model::hooks::{At, Hooks};
use crate::sae::lorsa::{Attended, Lorsa};
use crate::sae::transcoders::{Reads, Writes};

crate::choices! {
    /// Parts of a run that keep their values when features are changed.
    pub enum Freeze {
        /// Attention patterns, scales of norms and outputs of MLPs, and those of attention where Lorsas stand for it:
        /// what is left is the direct effect.
        All = "all",
        /// Attention patterns only.
        Patterns = "patterns",
        Nothing = "nothing",
    }
}

crate::options! {
    /// Changes of features, and what stays frozen.
    pub struct InterveneOptions {
        /// The value that each feature is set to.
        value: Option<f64> = None => usually("0, or what `factor` says");
        /// The factor that each feature's activation is multiplied by.
        factor: Option<f64> = None => usually("none");
        /// The parts of the run that keep their values.
        freeze: Freeze = Freeze::All;
    }
}

impl InterveneOptions {
    /// Returns the new value of a feature.
    pub fn new_value(&self, activation: f64) -> Result<f64> {
        match (self.value, self.factor) {
            (Some(_), Some(_)) => Err(err!(Argument, "expected a value or a factor, found both").about("factor")),
            (Some(value), None) => Ok(value),
            (None, Some(factor)) => Ok(factor * activation),
            (None, None) => Ok(0.0),
        }
    }
}

/// A feature at a position, and its new value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeatureChange {
    pub layer: usize,
    pub position: usize,
    pub feature: usize,
    pub value: f64,
}

/// A change of a feature of a transcoder, or of a head of a Lorsa.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeChange {
    /// The part of the layer that the dictionary stands for.
    pub part: LayerPart,
    pub change: FeatureChange,
}

impl ActiveFeature {
    /// Returns the change that sets it to another value.
    pub fn set_to(&self, value: f64) -> NodeChange {
        let Self { layer, part, position, feature, .. } = *self;
        NodeChange { part, change: FeatureChange { layer, position, feature, value } }
    }
}

impl From<FeatureChange> for NodeChange {
    fn from(change: FeatureChange) -> Self {
        Self { part: LayerPart::Mlp, change }
    }
}

/// A run with changed features.
#[derive(Debug, Clone)]
pub struct InterventionRun {
    /// Logits without the change at the positions asked for, `[positions, vocab]`; `after` has those with it.
    pub before: Tensor,
    pub after: Tensor,
    /// The pre-activations of all features with the change: `[pos, features]` for each layer.
    pub pre: Vec<Tensor>,
}

/// Runs a prompt with features of dictionaries set to other values: what each writes is changed by the difference.
/// Logits are computed at some positions.
pub fn intervene(
    model: &Model,
    dictionaries: impl Into<GraphDictionaries>,
    prompt: &[u32],
    changes: &[impl Copy + Into<NodeChange>],
    freeze: Freeze,
    positions: &[usize],
    task: &Task,
) -> Result<InterventionRun> {
    let decoder = &model.decoder;
    let given: GraphDictionaries = dictionaries.into();
    frozen::check(decoder, &model.name().to_string(), &given.transcoders)?;
    let dictionaries = &given.of_model(model)?;
    let changes: Vec<NodeChange> = changes.iter().map(|change| (*change).into()).collect();
    for change in &changes {
        check_change(change, dictionaries, prompt.len())?;
    }
    let batch = Batch::new(vec![prompt.to_vec()]).map_err(|e| e.about("prompt"))?;
    let mut places = frozen::places(decoder, dictionaries, Patterns::Held);
    if dictionaries.has_lorsas() && freeze == Freeze::Patterns {
        // A graph with Lorsas does not hold the model's own patterns, but such a run does.
        let sites = Site::all(decoder.config()).into_iter().filter(|site| site.kind == SiteKind::Pattern);
        places.extend(sites.map(|site| Place { site, head: None }));
    }
    let ask = Ask { places, ..Ask::default() };
    let points: Vec<(usize, usize)> = positions.iter().map(|position| (0, *position)).collect();
    let (cache, end) = decoder.run_to_end(&batch, ask, &points, task)?;
    let layers = dictionaries.transcoders.layers().len();
    let mut hooks = InterventionHooks {
        decoder,
        dictionaries,
        cache: &cache,
        changes: &changes,
        freeze,
        added: vec![None; layers],
        of_heads: vec![None; layers],
        skipped: None,
        hidden: None,
        pre: Vec::new(),
    };
    let pass = Pass { hooks: &mut hooks, past: None, logits: Logits::Points(&points), task };
    let after = decoder.forward(&batch, pass)?.ok_or_else(|| err!(Bug, "a run without logits"))?;
    let pre = hooks.pre;
    Ok(InterventionRun { before: decoder.logits_of(&end, 0..points.len(), task)?, after, pre })
}

fn check_change(change: &NodeChange, dictionaries: &GraphDictionaries, tokens: usize) -> Result<()> {
    let NodeChange { part, change: FeatureChange { layer, position, feature, value } } = *change;
    let GraphDictionaries { transcoders, lorsas } = dictionaries;
    let (features, layers, what) = match part {
        LayerPart::Attention => (lorsas.get(layer).map(Lorsa::heads), lorsas.len(), "head of the Lorsa"),
        LayerPart::Mlp => {
            let layers = transcoders.layers();
            (layers.get(layer).map(|layer| layer.features()), layers.len(), "feature")
        }
    };
    let Some(features) = features else {
        return Err(err!(Argument, "expected a layer below {layers}, found {layer}"));
    };
    if feature >= features {
        return Err(err!(Argument, "expected a {what} of layer {layer} below {features}, found {feature}"));
    }
    if position >= tokens {
        return Err(err!(Argument, "expected a position below {tokens}, the tokens of the prompt, found {position}"));
    }
    if !value.is_finite() {
        return Err(err!(Numeric, "expected a finite value for feature {feature}, found {value}"));
    }
    Ok(())
}

/// The hooks of one run.
struct InterventionHooks<'a> {
    decoder: &'a Decoder,
    dictionaries: &'a GraphDictionaries,
    /// The run without the change.
    cache: &'a Cache,
    changes: &'a [NodeChange],
    freeze: Freeze,
    /// The sum of all changes to the output of each MLP: `[pos, d]`.
    added: Vec<Option<Tensor>>,
    /// The sum of all changes to the output of each layer's attention: `[pos, d]`.
    of_heads: Vec<Option<Tensor>>,
    /// The change of the skip connection's output in this layer.
    skipped: Option<Tensor>,
    /// The hidden activations of this layer's MLP.
    hidden: Option<Tensor>,
    pre: Vec<Tensor>,
}

impl InterventionHooks<'_> {
    /// Returns the changes of features of one dictionary.
    fn changes_of(&self, part: LayerPart, layer: usize) -> Vec<FeatureChange> {
        let is_own = |one: &&NodeChange| one.part == part && one.change.layer == layer;
        self.changes.iter().filter(is_own).map(|one| one.change).collect()
    }

    /// Returns the site from which the input of the transcoders' features is computed.
    fn source(&self) -> SiteKind {
        match self.dictionaries.transcoders.reads {
            Reads::ResidMid => SiteKind::ResidMid,
            Reads::MlpIn => SiteKind::MlpIn,
            Reads::Normed if self.decoder.config().is_serial() => SiteKind::ResidMid,
            Reads::Normed => SiteKind::ResidPre,
        }
    }

    /// Returns the input of the features of a layer, from the activations of its source.
    fn read(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let config = self.decoder.config();
        let reads = self.dictionaries.transcoders.reads;
        let Some(kind) = config.norm.filter(|_| reads == Reads::Normed && config.pre_norm) else {
            return Ok(x.clone());
        };
        if self.freeze != Freeze::All {
            return Ok(kernels::norm(x, kind, config.norm_eps, None, false, None)?);
        }
        let own = self.decoder.weights().blocks.get(layer).is_some_and(|block| block.mlp_norm.is_some());
        let scale = if own { SiteKind::MlpNormScale } else { SiteKind::NormScale };
        let scale = recorded(self.cache, Site::new(scale, layer))?;
        Ok(kernels::norm_with_scale(x, kind, &scale, None, false, None)?)
    }

    /// Notes how what the changed features of a layer write differs from before.
    fn look(&mut self, layer: usize, x: &Tensor) -> Result<()> {
        let transcoders = &self.dictionaries.transcoders;
        let features = &transcoders.layers()[layer];
        let x = self.read(layer, &x.squeeze(0)?.to_dtype(DType::F32)?)?;
        let pre = features.pre(&x)?;
        let clean = || reading(self.decoder.config(), self.cache, transcoders.reads, layer);
        let fired = match self.freeze {
            Freeze::All => features.fired(&features.pre(&clean()?)?)?,
            Freeze::Patterns | Freeze::Nothing => features.fired(&pre)?,
        };
        self.pre.push(pre);
        if let Some(skip) = features.skip.as_ref().filter(|_| self.freeze == Freeze::All) {
            self.skipped = Some(kernels::linear(&(&x - clean()?)?, skip, None)?);
        }
        let tokens = x.dim(0)?;
        for change in self.changes_of(LayerPart::Mlp, layer) {
            let row = features.decoder.rows(&[change.feature as u32])?.to_device(x.device())?;
            let rows = (row.squeeze(0)? * (change.value - activation(&fired, change)?))?;
            for later in 0..rows.dim(0)? {
                let Some(added) = self.added.get_mut(layer + later) else { continue };
                *added = Some(with_row(added.take(), tokens, change.position, &rows.narrow(0, later, 1)?)?);
            }
        }
        Ok(())
    }

    /// Notes how what the changed heads of a layer's Lorsa write differs from before.
    fn look_at_heads(&mut self, layer: usize, x: &Tensor) -> Result<()> {
        let changes = self.changes_of(LayerPart::Attention, layer);
        let Some(lorsa) = self.dictionaries.lorsas.get(layer).filter(|_| !changes.is_empty()) else { return Ok(()) };
        let x = x.to_dtype(DType::F32)?;
        let clean = || -> Result<Attended> {
            let x = recorded(self.cache, Site::new(SiteKind::AttnIn, layer))?;
            lorsa.attended(&x.unsqueeze(0)?, None)
        };
        let read = match self.freeze {
            Freeze::All => clean()?,
            Freeze::Patterns => Attended { values: lorsa.attended(&x, None)?.values, ..clean()? },
            Freeze::Nothing => lorsa.attended(&x, None)?,
        };
        let codes = lorsa.chosen(&lorsa.mixed(&read, None)?)?.squeeze(0)?;
        let tokens = codes.dim(0)?;
        for change in changes {
            let row = (lorsa.decoder.narrow(0, change.feature, 1)? * (change.value - activation(&codes, change)?))?;
            let Some(added) = self.of_heads.get_mut(layer) else { continue };
            *added = Some(with_row(added.take(), tokens, change.position, &row)?);
        }
        Ok(())
    }

    /// Returns the output of the attention of a layer with all changes of its Lorsa's heads added to it.
    fn attended(&mut self, layer: usize, x: &Tensor) -> Result<Option<Tensor>> {
        let before = match self.freeze {
            Freeze::All => recorded(self.cache, Site::new(SiteKind::AttnOut, layer))?,
            Freeze::Patterns | Freeze::Nothing => x.squeeze(0)?.to_dtype(DType::F32)?,
        };
        let changed = plus(before, self.of_heads[layer].take())?;
        Ok(Some(changed.unsqueeze(0)?.to_dtype(self.decoder.dtype())?))
    }

    /// Returns the output of the MLP of a layer with all changes added to it.
    fn written(&mut self, layer: usize, x: &Tensor) -> Result<Option<Tensor>> {
        let config = self.decoder.config();
        let block = &self.decoder.weights().blocks[layer];
        let hidden = self.hidden.take();
        let added = match (self.added[layer].take(), self.skipped.take()) {
            (Some(added), skipped) => Some(plus(added, skipped)?),
            (None, skipped) => skipped,
        };
        let writes = self.dictionaries.transcoders.writes;
        let inner = block.mlp_post_norm.as_ref().filter(|_| writes == Writes::Inner);
        let before = match self.freeze {
            Freeze::All => recorded(self.cache, Site::new(SiteKind::MlpOut, layer))?,
            Freeze::Patterns | Freeze::Nothing => x.squeeze(0)?.to_dtype(DType::F32)?,
        };
        let changed = match (inner.zip(config.norm), self.freeze) {
            (None, _) => plus(before, added)?,
            // The norm is linear as long as its scale is frozen.
            (Some((norm, kind)), Freeze::All) => {
                let scale = recorded(self.cache, Site::new(SiteKind::MlpPostScale, layer))?;
                let weight = norm.weight.as_ref().map(|weight| weight.to_dtype(DType::F32)).transpose()?;
                let normed = |added: Tensor| {
                    kernels::norm_with_scale(&added, kind, &scale, weight.as_ref(), config.norm_plus_one, None)
                };
                plus(before, added.map(normed).transpose()?)?
            }
            (Some((norm, kind)), Freeze::Patterns | Freeze::Nothing) => {
                let (Some(added), Some(hidden), Some(mlp)) = (added, hidden, &block.mlp) else { return Ok(None) };
                let out = mlp.down.weight.map(&hidden.squeeze(0)?, mlp.down.bias.as_ref(), None)?;
                let out = (out.to_dtype(DType::F32)? + added)?.to_dtype(self.decoder.dtype())?;
                let weight = norm.weight.as_ref();
                let bias = norm.bias.as_ref();
                kernels::norm(&out, kind, config.norm_eps, weight, config.norm_plus_one, bias)?
            }
        };
        Ok(Some(changed.unsqueeze(0)?.to_dtype(self.decoder.dtype())?))
    }
}

/// Returns the activation of a feature that is changed, by activations `[pos, features]`.
fn activation(fired: &Tensor, change: FeatureChange) -> Result<f64> {
    match change.position {
        // At the first position no feature counts as active.
        0 => Ok(0.0),
        position => Ok(floats(&fired.get(position)?.get(change.feature)?)?.first().copied().unwrap_or(0.0)),
    }
}

/// Adds a row at a position to what is added already.
fn with_row(added: Option<Tensor>, tokens: usize, position: usize, row: &Tensor) -> Result<Tensor> {
    let width = row.dim(1)?;
    let nothing = || Tensor::zeros((tokens, width), DType::F32, row.device());
    let added = added.map_or_else(nothing, Ok)?;
    let place = Tensor::new(&[position as u32], row.device())?;
    Ok(added.index_add(&place, row, 0)?)
}

fn plus(x: Tensor, more: Option<Tensor>) -> Result<Tensor> {
    match more {
        Some(more) => Ok((x + more)?),
        None => Ok(x),
    }
}

impl Hooks for InterventionHooks<'_> {
    fn wants(&self, site: Site) -> bool {
        match site.kind {
            SiteKind::MlpOut => true,
            SiteKind::AttnIn | SiteKind::AttnOut => self.dictionaries.has_lorsas(),
            SiteKind::MlpHidden => self.dictionaries.transcoders.writes == Writes::Inner,
            // Where Lorsas stand for attention, all that it writes is held with everything else.
            SiteKind::Pattern if self.dictionaries.has_lorsas() => self.freeze == Freeze::Patterns,
            SiteKind::Pattern => self.freeze != Freeze::Nothing,
            SiteKind::NormScale | SiteKind::AttnPostScale | SiteKind::MlpNormScale => self.freeze == Freeze::All,
            SiteKind::MlpPostScale | SiteKind::FinalNormScale => self.freeze == Freeze::All,
            kind => kind == self.source(),
        }
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        let kind = at.site.kind;
        let layer = at.site.layer;
        match kind {
            SiteKind::MlpOut => self.written(layer, x),
            SiteKind::AttnOut => self.attended(layer, x),
            SiteKind::AttnIn => {
                self.look_at_heads(layer, x)?;
                Ok(None)
            }
            SiteKind::MlpHidden => {
                self.hidden = Some(x.clone());
                Ok(None)
            }
            kind if kind == self.source() => {
                self.look(layer, x)?;
                Ok(None)
            }
            _ => Ok(Some(recorded(self.cache, at.site)?.unsqueeze(0)?.to_dtype(x.dtype())?)),
        }
    }
}
