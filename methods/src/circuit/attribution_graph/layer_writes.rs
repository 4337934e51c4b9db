//! Vectors that active features and reconstruction errors write into the residual stream, layer by layer.

use super::frozen::{FrozenNorm, recorded};
use crate::base::{Result, memory};
use crate::err;
use crate::model::cache::Cache;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::hooks::checks::first_nan;
use crate::model::site::{Site, SiteKind};
use crate::sae::transcoders::{Reads, TranscoderLayer, Writes};
use crate::tensor::{DType, Tensor, floats};

/// A feature that is active at a position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActiveFeature {
    pub layer: usize,
    pub position: usize,
    pub feature: usize,
    pub activation: f64,
}

/// Vectors that are written in one layer, position by position.
pub struct LayerWrites {
    /// `[sources, d]`: what each source adds to the residual stream.
    pub vectors: Tensor,
    /// The index of the first source of each position, and the end of the last.
    pub starts: Vec<usize>,
    /// The layers of the features at each position, with their counts; one error follows them.
    pub runs: Vec<Vec<(usize, usize)>>,
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

/// The active features of one layer, by position, with what they write.
pub struct Layer {
    pub active: Vec<ActiveFeature>,
    /// Decoder vectors times activations: `[active, written layers, d]`.
    vectors: Tensor,
}

impl Layer {
    pub fn of(layer: usize, features: &TranscoderLayer, x: &Tensor) -> Result<Self> {
        let (tokens, d) = x.dims2()?;
        memory::check(8 * tokens as u128 * features.features() as u128, || {
            format!("the activations of layer {layer}")
        })?;
        let pre = features.pre(x)?;
        // Not every activation function passes it on.
        if first_nan(&pre)?.is_some() {
            return Err(err!(Numeric, "expected activations that are numbers, found NaN")
                .hint("the model's activations or the transcoder's weights have NaN"));
        }
        let fired: Vec<f32> = features.fired(&pre)?.flatten_all()?.to_vec1()?;
        let count = features.features();
        let mut active = Vec::new();
        // What is active at the first position has no meaning of its own: its norm is an outlier in most models.
        for (place, activation) in fired.iter().enumerate().skip(count) {
            if *activation != 0.0 {
                let position = place / count;
                let feature = place % count;
                active.push(ActiveFeature { layer, position, feature, activation: f64::from(*activation) });
            }
        }
        let bytes = active.len() as u128 * features.written() as u128 * d as u128 * 8;
        memory::check(bytes, || format!("the decoder rows of {} active features of layer {layer}", active.len()))?;
        if active.is_empty() {
            let vectors = Tensor::zeros((0, features.written(), d), DType::F32, x.device())?;
            return Ok(Self { active, vectors });
        }
        // A feature that is active at several positions is read once.
        let mut wanted: Vec<u32> = active.iter().map(|one| one.feature as u32).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let place = |one: &ActiveFeature| wanted.partition_point(|other| (*other as usize) < one.feature) as u32;
        let places = Tensor::from_vec(active.iter().map(place).collect(), active.len(), x.device())?;
        let rows = features.decoder.rows(&wanted)?.to_device(x.device())?.index_select(&places, 0)?;
        let factors: Vec<f32> = active.iter().map(|one| one.activation as f32).collect();
        let vectors = rows.broadcast_mul(&Tensor::from_vec(factors, (active.len(), 1, 1), x.device())?)?;
        Ok(Self { active, vectors })
    }

    /// Drops the vectors after the last layer that they are written in.
    pub fn let_go(&mut self, later: usize) -> Result<()> {
        let written = self.vectors.dim(1)?;
        if later + 1 >= written {
            self.vectors = Tensor::zeros((0, written, 1), DType::F32, self.vectors.device())?;
        }
        Ok(())
    }

    /// Returns the vectors that are written `later` layers after the features' own, with the positions, or none if the
    /// features write to fewer layers.
    fn written(&self, later: usize) -> Result<Option<(Tensor, Vec<usize>)>> {
        if self.active.is_empty() || later >= self.vectors.dim(1)? {
            return Ok(None);
        }
        let positions = self.active.iter().map(|one| one.position).collect();
        Ok(Some((self.vectors.narrow(1, later, 1)?.squeeze(1)?.contiguous()?, positions)))
    }
}

impl LayerWrites {
    /// Builds what the features of some layers, and the error, write in the last of these layers.
    pub fn of(
        layers: &[Layer],
        features: &TranscoderLayer,
        x: &Tensor,
        wanted: &Tensor,
        writing: &FrozenNorm,
    ) -> Result<Self> {
        let (tokens, d) = x.dims2()?;
        let own = layers.len() - 1;
        let mut reconstruction = Tensor::zeros((tokens, d), DType::F32, x.device())?;
        let mut vectors = Vec::new();
        let mut order = Vec::new();
        let mut runs = vec![Vec::new(); tokens];
        let mut count = 0;
        for (from, layer) in layers.iter().enumerate() {
            let Some((rows, positions)) = layer.written(own - from)? else { continue };
            let places: Vec<u32> = positions.iter().map(|position| *position as u32).collect();
            reconstruction =
                reconstruction.index_add(&Tensor::from_vec(places, positions.len(), x.device())?, &rows, 0)?;
            for together in positions.chunk_by(|a, b| a == b) {
                runs[together[0]].push((from, together.len()));
            }
            order.extend(positions.iter().enumerate().map(|(index, position)| (*position, from, count + index)));
            count += positions.len();
            vectors.push(rows);
        }
        if let Some(bias) = &features.decoder_bias {
            reconstruction = reconstruction.broadcast_add(bias)?;
        }
        if let Some(skip) = &features.skip {
            reconstruction = (reconstruction + kernels::linear(x, skip, None)?)?;
        }
        // The error at the first position is constant, like all else that is written there.
        order.extend((1..tokens).map(|position| (position, own + 1, count + position)));
        vectors.push((wanted - reconstruction)?);
        order.sort_unstable();
        if order.is_empty() {
            let vectors = Tensor::zeros((0, d), DType::F32, x.device())?;
            return Ok(Self { vectors, starts: vec![0; tokens + 1], runs });
        }
        let positions: Vec<usize> = order.iter().map(|(position, ..)| *position).collect();
        let starts = (0..=tokens).map(|position| positions.partition_point(|other| *other < position)).collect();
        let places: Vec<u32> = order.iter().map(|(.., place)| *place as u32).collect();
        let places = Tensor::from_vec(places, order.len(), x.device())?;
        let sorted = Tensor::cat(&vectors, 0)?.index_select(&places, 0)?;
        let vectors = writing.scaled(&writing.forward(&sorted)?, &positions)?;
        let bad = floats(&vectors.sum_all()?)?.first().is_some_and(|sum| !sum.is_finite());
        if bad {
            return Err(err!(Numeric, "expected what layer {own} writes as finite numbers, found NaN or infinity"));
        }
        Ok(Self { vectors, starts, runs })
    }
}
