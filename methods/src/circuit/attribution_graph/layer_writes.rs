//! Vectors that active features and reconstruction errors write into the residual stream, layer by layer.
//!
//! A head of a Lorsa is a feature of it, like that of a transcoder: its code is its activation, and it writes along its
//! direction.

use super::frozen::{FrozenNorm, recorded};
use super::steps::LayerPart;
use crate::model::hooks::checks::first_nan;
use crate::sae::prelude::*;
use crate::sae::transcoders::{DecoderRows, Reads, TranscoderLayer, Writes};

/// Number of positions whose pre-activations are in memory together.
const POSITIONS: usize = 256;

/// Number of active features whose writes are in memory together.
const WRITES: usize = 1 << 13;

/// A feature that is active at a position: of a transcoder, or a head of a Lorsa.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActiveFeature {
    pub layer: usize,
    /// The part of the layer that the feature's dictionary stands for.
    pub part: LayerPart,
    pub position: usize,
    pub feature: usize,
    pub activation: f64,
}

/// Features of one dictionary that write somewhere.
#[derive(Clone, Copy)]
pub struct Writer<'a> {
    /// The step of the dictionary.
    pub from: usize,
    /// The number of layers after their own that the features write in.
    pub later: usize,
    pub features: &'a Layer,
}

/// Features of one dictionary that are active at one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The step of the dictionary.
    pub from: usize,
    /// The number of layers after their own that the features write in.
    later: usize,
    /// The places among the active features of the dictionary.
    pub places: Range<usize>,
}

/// The writes of features and the error in the place of one part of a layer, position by position.
pub struct LayerWrites {
    /// The vector that the error at each position adds to the residual stream: `[tokens, d]`.
    errors: Tensor,
    /// The features that write at each position; the error follows them, but for the first position, which has none.
    pub runs: Vec<Vec<Run>>,
}

/// Returns the input of the features at a layer: `[tokens, d]`.
pub fn reading(config: &Config, cache: &Cache, reads: Reads, layer: usize) -> Result<Tensor> {
    let at = |kind: SiteKind| recorded(cache, Site::new(kind, layer));
    match reads {
        Reads::ResidMid => at(SiteKind::ResidMid),
        Reads::MlpIn => at(SiteKind::MlpIn),
        Reads::Normed => {
            let x = at(if config.is_serial() { SiteKind::ResidMid } else { SiteKind::ResidPre })?;
            let Some(kind) = config.norm.filter(|_| config.pre_norm) else { return Ok(x) };
            Ok(kernels::norm(&x, kind, config.norm_eps, None, false, None)?)
        }
    }
}

/// Returns what features are to reconstruct at a layer: `[tokens, d]`.
pub fn target(model: &Decoder, cache: &Cache, writes: Writes, layer: usize) -> Result<Tensor> {
    let block = model.weights().blocks.get(layer);
    match (writes, block.and_then(|block| block.mlp.as_ref()).filter(|_| model.config().post_norm)) {
        (Writes::Inner, Some(mlp)) => {
            let hidden = recorded(cache, Site::new(SiteKind::MlpHidden, layer))?;
            let weight = mlp.down.weight.floats()?;
            let bias = mlp.down.bias.as_ref();
            let bias = bias.map(|bias| bias.to_dtype(DType::F32)).transpose()?;
            Ok(kernels::linear(&hidden, &weight, bias.as_ref())?)
        }
        _ => recorded(cache, Site::new(SiteKind::MlpOut, layer)),
    }
}

/// The active features of one dictionary, by position and index. What they write is a decoder row times an activation, and
/// is made where it is asked for: written down, these would take most of the memory of a graph of a long prompt.
pub struct Layer {
    layer: usize,
    part: LayerPart,
    active: ActiveCodes,
    /// Decoder rows, `[rows, d]`, or none if no feature is active. Those of one feature, for each layer that it writes in,
    /// follow one another.
    table: Option<Tensor>,
    /// The number of layers that features write in.
    written: usize,
    /// The first of the decoder rows of each active feature.
    rows: Vec<u32>,
}

/// The indices of active features and their activations, by position. There are many: of each a few bytes are held.
#[derive(Default)]
struct ActiveCodes {
    features: Vec<u32>,
    activations: Vec<f32>,
    /// The place of the first active feature of each position.
    starts: Vec<usize>,
}

impl ActiveCodes {
    /// Adds what is active at the next positions, by activations `[positions, features]`.
    fn add(&mut self, fired: &Tensor) -> Result<()> {
        let count = fired.dim(1)?;
        let fired: Vec<f32> = fired.flatten_all()?.to_vec1()?;
        for row in fired.chunks(count.max(1)) {
            let is_first = self.starts.is_empty();
            self.starts.push(self.features.len());
            // What is active at the first position has no meaning of its own: its norm is an outlier in most models.
            if is_first {
                continue;
            }
            for (feature, activation) in row.iter().enumerate().filter(|(_, activation)| **activation != 0.0) {
                self.features.push(feature as u32);
                self.activations.push(*activation);
            }
        }
        Ok(())
    }
}

impl Layer {
    pub fn of(layer: usize, features: &TranscoderLayer, x: &Tensor, task: &Task) -> Result<Self> {
        let (tokens, d) = x.dims2()?;
        memory::check(8 * tokens.min(POSITIONS) as u128 * features.features() as u128, || {
            format!("the activations of layer {layer}")
        })?;
        let mut active = ActiveCodes::default();
        for first in (0..tokens).step_by(POSITIONS) {
            task.check()?;
            let pre = features.pre(&x.narrow(0, first, POSITIONS.min(tokens - first))?)?;
            // Not every activation function passes it on.
            if first_nan(&pre)?.is_some() {
                return Err(err!(Numeric, "expected activations that are numbers, found NaN")
                    .hint("the model's activations or the transcoder's weights have NaN"));
            }
            active.add(&features.fired(&pre)?)?;
        }
        let written = features.written();
        let (table, rows): (Option<Tensor>, Vec<u32>) = match &features.decoder {
            _ if active.features.is_empty() => (None, Vec::new()),
            DecoderRows::Held(all) => (Some(all.reshape(((), d))?), active.features.clone()),
            mapped @ DecoderRows::Mapped { .. } => {
                let wanted = indices(&active.features);
                let bytes = wanted.len() as u128 * written as u128 * d as u128 * 8;
                memory::check(bytes, || format!("the decoder rows of {} features of layer {layer}", wanted.len()))?;
                let table = mapped.rows(&wanted)?.to_device(x.device())?.reshape(((), d))?;
                let place = |feature: &u32| wanted.partition_point(|other| other < feature) as u32;
                (Some(table), active.features.iter().map(place).collect())
            }
        };
        let rows = rows.into_iter().map(|row| row * written as u32).collect();
        Ok(Self { layer, part: LayerPart::Mlp, active, table, written, rows })
    }

    /// Finds the active heads of a Lorsa by what it reads in a text: `[tokens, d]`.
    pub fn of_lorsa(layer: usize, lorsa: &Lorsa, x: &Tensor) -> Result<Self> {
        let mut active = ActiveCodes::default();
        active.add(&lorsa_codes(layer, lorsa, x)?)?;
        let rows = active.features.clone();
        Ok(Self { layer, part: LayerPart::Attention, active, table: Some(lorsa.decoder.clone()), written: 1, rows })
    }

    /// Returns the number of active features, each position's counted on its own.
    pub fn count(&self) -> usize {
        self.active.features.len()
    }

    /// Returns the places of the features that are active at a position.
    pub fn at(&self, position: usize) -> Range<usize> {
        let start = |position: usize| self.active.starts.get(position).copied().unwrap_or(self.count());
        start(position)..start(position + 1)
    }

    /// Returns an active feature by its place, which is one of those at the position.
    pub fn feature(&self, place: usize, position: usize) -> ActiveFeature {
        let feature = self.active.features[place] as usize;
        let activation = f64::from(self.active.activations[place]);
        ActiveFeature { layer: self.layer, part: self.part, position, feature, activation }
    }

    /// Returns the place of a feature that is active at a position.
    pub fn place(&self, feature: usize, position: usize) -> Option<usize> {
        let places = self.at(position);
        let found = self.active.features[places.clone()].binary_search(&(feature as u32)).ok()?;
        Some(places.start + found)
    }

    /// Returns the position of each active feature.
    fn positions(&self) -> Vec<u32> {
        let of = |position: usize| std::iter::repeat_n(position as u32, self.at(position).len());
        (0..self.active.starts.len()).flat_map(of).collect()
    }

    /// Returns what some active features write `later` layers after their own: `[features, d]`.
    fn written(&self, some: Range<usize>, later: usize) -> Result<Tensor> {
        let Some(table) = &self.table else { return Err(err!(Bug, "decoder rows of no features")) };
        let count = some.len();
        let device = table.device();
        let rows: Vec<u32> = self.rows[some.clone()].iter().map(|row| row + later as u32).collect();
        let rows = table.index_select(&Tensor::from_vec(rows, count, device)?, 0)?;
        let factors = Tensor::from_slice(&self.active.activations[some], (count, 1), device)?;
        Ok(rows.broadcast_mul(&factors)?)
    }

    /// Returns what one active feature writes `later` layers after its own, `[1, d]`, if it writes there.
    pub fn one_written(&self, place: usize, later: usize) -> Result<Option<Tensor>> {
        if self.reaches(later) { Ok(Some(self.written(place..place + 1, later)?)) } else { Ok(None) }
    }

    /// Returns whether features write in the layer so many layers after their own.
    fn reaches(&self, later: usize) -> bool {
        self.table.is_some() && later < self.written
    }
}

/// Computes the codes of a layer's Lorsa by what it reads in a text, `[tokens, d]`: `[tokens, heads]`.
pub fn lorsa_codes(layer: usize, lorsa: &Lorsa, x: &Tensor) -> Result<Tensor> {
    let tokens = x.dim(0)?;
    memory::check(8 * tokens as u128 * lorsa.heads() as u128, || format!("the codes of layer {layer}"))?;
    let mixed = lorsa.mixed(&lorsa.attended(&x.unsqueeze(0)?, None)?, None)?;
    // Heads are chosen by comparisons, which do not pass it on.
    if first_nan(&mixed)?.is_some() {
        return Err(err!(Numeric, "expected codes that are numbers, found NaN")
            .hint("the model's activations or the Lorsa's scores are too large"));
    }
    Ok(lorsa.chosen(&mixed)?.squeeze(0)?)
}

/// Returns the features that are active anywhere, by index: one that is active at several positions is read once.
fn indices(active: &[u32]) -> Vec<u32> {
    let mut wanted = active.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

impl LayerWrites {
    /// Builds what features and the error write in the place of a layer's MLP, which reads `x` and writes `wanted`.
    pub fn of_mlp(
        layer: usize,
        writers: &[Writer],
        features: &TranscoderLayer,
        x: &Tensor,
        wanted: &Tensor,
        writing: &FrozenNorm,
    ) -> Result<Self> {
        let skipped = features.skip.as_ref().map(|skip| kernels::linear(x, skip, None)).transpose()?;
        let constant = [features.decoder_bias.as_ref(), skipped.as_ref()];
        Self::of(layer, writers, constant, wanted, writing)
    }

    /// Builds what heads of a Lorsa and the error write in the place of its attention, which writes `wanted`.
    pub fn of_attention(layer: usize, heads: Writer, lorsa: &Lorsa, wanted: &Tensor) -> Result<Self> {
        Self::of(layer, &[heads], [Some(&lorsa.decoder_bias), None], wanted, &FrozenNorm::default())
    }

    /// Builds what some features write in a layer, and the error that they and what is written beside them leave.
    fn of(
        layer: usize,
        writers: &[Writer],
        beside: [Option<&Tensor>; 2],
        wanted: &Tensor,
        writing: &FrozenNorm,
    ) -> Result<Self> {
        let (tokens, d) = wanted.dims2()?;
        let device = wanted.device();
        let mut reconstruction = Tensor::zeros((tokens, d), DType::F32, device)?;
        let mut runs = vec![Vec::new(); tokens];
        let not_finite =
            || err!(Numeric, "expected what layer {layer} writes as finite numbers, found NaN or infinity");
        for Writer { from, later, features } in writers.iter().copied() {
            if !features.reaches(later) {
                continue;
            }
            let positions = features.positions();
            let most = positions.len().min(WRITES);
            memory::check(8 * most as u128 * d as u128, || {
                format!("what {most} active features write in layer {layer}")
            })?;
            for begin in (0..positions.len()).step_by(WRITES) {
                let some = begin..positions.len().min(begin + WRITES);
                let rows = features.written(some.clone(), later)?;
                if !is_finite(&rows)? {
                    return Err(not_finite());
                }
                let places = Tensor::from_slice(&positions[some.clone()], some.len(), device)?;
                reconstruction = reconstruction.index_add(&places, &rows, 0)?;
            }
            for (position, runs) in runs.iter_mut().enumerate() {
                let places = features.at(position);
                if !places.is_empty() {
                    runs.push(Run { from, later, places });
                }
            }
        }
        for more in beside.into_iter().flatten() {
            reconstruction = reconstruction.broadcast_add(more)?;
        }
        let positions: Vec<usize> = (0..tokens).collect();
        let errors = writing.scaled(&writing.forward(&(wanted - reconstruction)?)?, &positions)?;
        // The error at the first position is constant, like all else that is written there.
        if tokens > 1 && !is_finite(&errors.narrow(0, 1, tokens - 1)?)? {
            return Err(not_finite());
        }
        Ok(Self { errors, runs })
    }

    /// Returns what the error at a position adds to the residual stream: `[1, d]`.
    pub fn error(&self, position: usize) -> Result<Tensor> {
        Ok(self.errors.narrow(0, position, 1)?)
    }

    /// Returns what each source at a position adds to the residual stream, features and then the error, `[sources, d]`, or
    /// none where nothing is a source; `features` are those of each step.
    pub fn at(&self, position: usize, features: &[Layer], writing: &FrozenNorm) -> Result<Option<Tensor>> {
        let runs = &self.runs[position];
        let mut each = Vec::new();
        for run in runs {
            each.push(features[run.from].written(run.places.clone(), run.later)?);
        }
        let mut parts = Vec::new();
        if !each.is_empty() {
            let rows = Tensor::cat(&each, 0)?;
            let positions = vec![position; rows.dim(0)?];
            parts.push(writing.scaled(&writing.forward(&rows)?, &positions)?);
        }
        if position > 0 {
            parts.push(self.errors.narrow(0, position, 1)?);
        }
        Ok(if parts.is_empty() { None } else { Some(Tensor::cat(&parts, 0)?) })
    }
}

/// Returns whether the sum of some numbers is finite.
fn is_finite(x: &Tensor) -> Result<bool> {
    Ok(floats(&x.sum_all()?)?.first().is_none_or(|sum| sum.is_finite()))
}
