//! Interventions on features in the model itself: with everything frozen the logits change as the edges of a graph
//! predict, with nothing frozen as the model does.

use super::frozen::{self, recorded};
use super::layer_writes::reading;
use crate::base::{Result, Task};
use crate::err;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::cache::Cache;
use crate::model::decoder::{Decoder, Logits, Pass};
use crate::model::hooks::{At, Hooks};
use crate::model::run::Ask;
use crate::model::site::{Site, SiteKind};
use crate::sae::Transcoders;
use crate::sae::transcoders::{Reads, Writes};
use crate::tensor::{DType, Tensor, floats};

crate::choices! {
    /// Parts of a run that keep their values when features are changed.
    pub enum Freeze {
        /// Attention patterns, scales of norms and outputs of MLPs: what is left is the direct effect.
        All = "all",
        /// Attention patterns only.
        Patterns = "patterns",
        Nothing = "nothing",
    }
}

crate::options! {
    /// Changes of features, and what stays frozen.
    #[derive(Debug, Clone)]
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

/// A run with changed features.
#[derive(Debug, Clone)]
pub struct InterventionRun {
    /// Logits without the change at the positions asked for, `[positions, vocab]`; `after` has those with it.
    pub before: Tensor,
    pub after: Tensor,
    /// The pre-activations of all features with the change: `[pos, features]` for each layer.
    pub pre: Vec<Tensor>,
}

/// Runs a prompt with features of transcoders set to other values: what each writes is changed by the difference. Logits are
/// computed at some positions.
pub fn intervene(
    model: &Model,
    transcoders: &Transcoders,
    prompt: &[u32],
    changes: &[FeatureChange],
    freeze: Freeze,
    positions: &[usize],
    task: &Task,
) -> Result<InterventionRun> {
    let decoder = &model.decoder;
    let transcoders = &transcoders.to_device(decoder.device())?;
    frozen::check(decoder, &model.name().to_string(), transcoders)?;
    for change in changes {
        check_change(change, transcoders, prompt.len())?;
    }
    let batch = Batch::new(vec![prompt.to_vec()]).map_err(|e| e.about("prompt"))?;
    let ask = Ask { places: frozen::places(decoder, transcoders), ..Ask::default() };
    let points: Vec<(usize, usize)> = positions.iter().map(|position| (0, *position)).collect();
    let (cache, end) = decoder.run_to_end(&batch, ask, &points, task)?;
    let mut hooks = InterventionHooks {
        decoder,
        transcoders,
        cache: &cache,
        changes,
        freeze,
        added: vec![None; transcoders.layers().len()],
        skipped: None,
        hidden: None,
        pre: Vec::new(),
    };
    let pass = Pass { hooks: &mut hooks, past: None, logits: Logits::Points(&points), task };
    let after = decoder.forward(&batch, pass)?.ok_or_else(|| err!(Bug, "a run without logits"))?;
    let pre = hooks.pre;
    Ok(InterventionRun { before: decoder.logits_of(&end, 0..points.len(), task)?, after, pre })
}

fn check_change(change: &FeatureChange, transcoders: &Transcoders, tokens: usize) -> Result<()> {
    let FeatureChange { layer, position, feature, value } = *change;
    let layers = transcoders.layers();
    let Some(features) = layers.get(layer).map(|layer| layer.features()) else {
        return Err(err!(Argument, "expected a layer below {}, found {layer}", layers.len()));
    };
    if feature >= features {
        return Err(err!(Argument, "expected a feature of layer {layer} below {features}, found {feature}"));
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
    transcoders: &'a Transcoders,
    /// The run without the change.
    cache: &'a Cache,
    changes: &'a [FeatureChange],
    freeze: Freeze,
    /// The sum of all changes to the output of each layer: `[pos, d]`.
    added: Vec<Option<Tensor>>,
    /// The change of the skip connection's output in this layer.
    skipped: Option<Tensor>,
    /// The hidden activations of this layer's MLP.
    hidden: Option<Tensor>,
    pre: Vec<Tensor>,
}

impl InterventionHooks<'_> {
    /// Returns the site from which the input of the features is computed.
    fn source(&self) -> SiteKind {
        match self.transcoders.reads {
            Reads::ResidMid => SiteKind::ResidMid,
            Reads::MlpIn => SiteKind::MlpIn,
            Reads::Normed if self.decoder.config().is_serial() => SiteKind::ResidMid,
            Reads::Normed => SiteKind::ResidPre,
        }
    }

    /// Returns the input of the features of a layer, from the activations of its source.
    fn read(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let config = self.decoder.config();
        let Some(kind) = config.norm.filter(|_| self.transcoders.reads == Reads::Normed && config.pre_norm) else {
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
        let features = &self.transcoders.layers()[layer];
        let x = self.read(layer, &x.squeeze(0)?.to_dtype(DType::F32)?)?;
        let pre = features.pre(&x)?;
        let clean = || reading(self.decoder.config(), self.cache, self.transcoders.reads, layer);
        let fired = match self.freeze {
            Freeze::All => features.fired(&features.pre(&clean()?)?)?,
            Freeze::Patterns | Freeze::Nothing => features.fired(&pre)?,
        };
        self.pre.push(pre);
        if let Some(skip) = features.skip.as_ref().filter(|_| self.freeze == Freeze::All) {
            self.skipped = Some(kernels::linear(&(&x - clean()?)?, skip, None)?);
        }
        let (tokens, d) = x.dims2()?;
        for change in self.changes.iter().filter(|change| change.layer == layer) {
            // At the first position no feature counts as active.
            let active = match change.position {
                0 => 0.0,
                position => floats(&fired.get(position)?.get(change.feature)?)?.first().copied().unwrap_or(0.0),
            };
            let row = features.decoder.rows(&[change.feature as u32])?.to_device(x.device())?;
            let rows = (row.squeeze(0)? * (change.value - active))?;
            let place = Tensor::new(&[change.position as u32], x.device())?;
            for (later, row) in (0..rows.dim(0)?).map(|later| (later, rows.narrow(0, later, 1))) {
                let Some(added) = self.added.get_mut(layer + later) else { continue };
                let nothing = || Tensor::zeros((tokens, d), DType::F32, x.device());
                let before = added.take().map_or_else(nothing, Ok)?;
                *added = Some(before.index_add(&place, &row?, 0)?);
            }
        }
        Ok(())
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
        let inner = block.mlp_post_norm.as_ref().filter(|_| self.transcoders.writes == Writes::Inner);
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
            SiteKind::MlpHidden => self.transcoders.writes == Writes::Inner,
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

    fn last(&self) -> Option<Site> {
        None
    }
}
