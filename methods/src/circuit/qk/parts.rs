//! The parts of the residual stream at one position before a layer: what embeddings, heads, MLPs, features and errors
//! wrote, or the features of a dictionary of the stream itself.

use super::lorsas::LorsaCodes;
use super::rows::Rows;
use crate::circuit::attribution_graph::layer_writes::{reading, target};
use crate::model::hooks::checks::first_nan;
use crate::model::reading::attribution::ResidualWriter;
use crate::model::weights::{Attention, Block};
use crate::sae::prelude::*;
use crate::sae::transcoders::{Reads, TranscoderLayer, Transcoders, Writes};

/// A part of what a query or a key is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct QkPart {
    /// The name, without the position: `embed`, `head_out.1.3`, `mlp_in.2/44`.
    pub name: String,
    /// The activation of a feature.
    pub activation: Option<f64>,
}

impl QkPart {
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), activation: None }
    }
}

/// A position of the only text of a cache that recorded some of its positions.
#[derive(Debug, Clone, Copy)]
pub struct RecordedPosition<'a> {
    pub cache: &'a Cache,
    pub position: usize,
    /// The place among the recorded positions.
    pub row: usize,
}

impl RecordedPosition<'_> {
    /// Returns what is recorded of a site, without the axes of texts and positions, in f32.
    pub fn at(&self, kind: SiteKind, layer: usize) -> Result<Tensor> {
        self.of(Site::new(kind, layer))
    }

    pub fn of(&self, site: Site) -> Result<Tensor> {
        let found = self.cache.at(Place { site, head: None })?;
        Ok(found.get(0)?.get(self.row)?.to_dtype(DType::F32)?.contiguous()?)
    }

    fn row(&self, kind: SiteKind, layer: usize) -> Result<Tensor> {
        Ok(self.at(kind, layer)?.unsqueeze(0)?)
    }

    /// Takes this position out of what is there for all recorded ones.
    fn taken(&self, all: &Tensor) -> Result<Tensor> {
        Ok(all.narrow(0, self.row, 1)?)
    }
}

/// Dictionaries that stand for parts of the model in the stream.
#[derive(Default)]
pub struct StreamWriters {
    /// Transcoders for MLPs.
    pub transcoders: Option<Transcoders>,
    /// Lorsas for the attention of some layers, with the codes of their heads.
    pub lorsas: BTreeMap<usize, LorsaCodes>,
}

/// Returns whether a run has to record a site, so that the stream before a layer can be taken apart.
pub fn is_needed(model: &Decoder, site: Site, layer: usize, writers: &StreamWriters) -> bool {
    let config = model.config();
    let transcoders = writers.transcoders.as_ref();
    let has_lorsa = writers.lorsas.contains_key(&site.layer);
    if site.layer >= layer {
        return matches!(site.kind, SiteKind::Embed | SiteKind::PosEmbed);
    }
    let reads = transcoders.is_some_and(|transcoders| match transcoders.reads {
        Reads::ResidMid => site.kind == SiteKind::ResidMid,
        Reads::Normed => site.kind == if config.is_serial() { SiteKind::ResidMid } else { SiteKind::ResidPre },
        Reads::MlpIn => site.kind == SiteKind::MlpIn,
    });
    let inner = transcoders.is_some_and(|transcoders| transcoders.writes == Writes::Inner);
    match site.kind {
        SiteKind::Embed | SiteKind::PosEmbed | SiteKind::MlpOut | SiteKind::LayerOut => true,
        SiteKind::HeadOut => !has_lorsa,
        SiteKind::AttnOut => has_lorsa || !config.attends(site.layer),
        SiteKind::MlpHidden => inner,
        _ => reads,
    }
}

/// Parts and their vectors, group by group: a group is what is computed together.
#[derive(Default)]
struct Groups {
    parts: Vec<Vec<QkPart>>,
    vectors: Vec<Tensor>,
}

impl Groups {
    fn push(&mut self, parts: Vec<QkPart>, vectors: Tensor) {
        self.parts.push(parts);
        self.vectors.push(vectors);
    }

    fn one(&mut self, name: impl ToString, vector: Tensor) {
        self.push(vec![QkPart::named(name.to_string())], vector);
    }

    fn joined(self) -> Result<(Vec<QkPart>, Tensor)> {
        Ok((self.parts.concat(), Tensor::cat(&self.vectors, 0)?))
    }
}

/// The features of one layer that are active at the position.
struct ActiveHere {
    /// The group of their parts.
    group: usize,
    activations: Tensor,
    /// The decoder rows of the features: `[features, layers, d]`.
    rows: Tensor,
}

/// Returns the parts of the residual stream before a layer, and their vectors: `[parts, d]`. They sum to it.
pub fn stream_parts(
    model: &Decoder,
    at: RecordedPosition,
    layer: usize,
    writers: &StreamWriters,
) -> Result<(Vec<QkPart>, Tensor)> {
    let config = model.config();
    let mut groups = Groups::default();
    groups.one(ResidualWriter::Embed, at.row(SiteKind::Embed, 0)?);
    if SiteKind::PosEmbed.exists(config) {
        groups.one(ResidualWriter::PosEmbed, at.row(SiteKind::PosEmbed, 0)?);
    }
    // What is active at the first position has no meaning of its own, as in attribution graphs.
    let has_features = at.position > 0;
    let transcoders = writers.transcoders.as_ref().filter(|_| has_features);
    let mut active = Vec::new();
    for (layer, block) in model.weights().blocks.iter().enumerate().take(layer) {
        match (writers.lorsas.get(&layer), &block.attn) {
            (Some(lorsa), _) if has_features => lorsa_heads(at, layer, lorsa, &mut groups)?,
            (None, Some(attn)) => heads(model, at, layer, block, attn, &mut groups)?,
            _ => groups.one(ResidualWriter::Attention(layer), at.row(SiteKind::AttnOut, layer)?),
        }
        match transcoders.and_then(|all| Some((all, all.layers().get(layer)?))) {
            Some((all, own)) => {
                let placed = TranscoderAt { model, at, layer, transcoders: all, own };
                placed.write(block, &mut active, &mut groups).map_err(|e| e.within(format!("layer {layer}")))?;
            }
            None if config.has_mlp() => groups.one(ResidualWriter::Mlp(layer), at.row(SiteKind::MlpOut, layer)?),
            None => {}
        }
        if block.layer_input.is_some() {
            groups.one(ResidualWriter::LayerInput(layer), at.row(SiteKind::LayerOut, layer)?);
        }
        if let Some(scale) = &block.scale {
            let scale = scale.to_dtype(DType::F32)?;
            let scaled = |vectors: &Tensor| Ok(vectors.broadcast_mul(&scale)?);
            groups.vectors = groups.vectors.iter().map(scaled).collect::<Result<_>>()?;
        }
    }
    groups.joined()
}

/// Adds what the heads of a layer write, and the biases behind them, which belong to no head.
fn heads(
    model: &Decoder,
    at: RecordedPosition,
    layer: usize,
    block: &Block,
    attn: &Attention,
    groups: &mut Groups,
) -> Result<()> {
    let config = model.config();
    let written = Rows::of(&at.at(SiteKind::HeadOut, layer)?)?;
    let factor = config.write_scale.unwrap_or(1.0);
    let bias = attn.o.bias.as_ref().map(|bias| Ok::<_, crate::base::Error>((bias.to_dtype(DType::F32)? * factor)?));
    let written = written.shifted(bias.transpose()?.as_ref())?.normed(config, block.attn_post_norm.as_ref())?;
    let has_bias = attn.o.bias.is_some() || block.attn_post_norm.as_ref().is_some_and(|norm| norm.bias.is_some());
    let names = (0..config.heads).map(|head| ResidualWriter::Head(layer, head));
    let names = names.chain(has_bias.then_some(ResidualWriter::AttentionBias(layer)));
    let parts: Vec<QkPart> = names.map(|writer| QkPart::named(writer.to_string())).collect();
    let vectors = written.tensor().narrow(0, 0, parts.len())?;
    groups.push(parts, vectors);
    Ok(())
}

/// Adds what active heads of a Lorsa, its error and its bias write in the place of a layer's attention.
fn lorsa_heads(at: RecordedPosition, layer: usize, found: &LorsaCodes, groups: &mut Groups) -> Result<()> {
    let site = Site::new(SiteKind::AttnIn, layer);
    let lorsa = &found.lorsa;
    let device = lorsa.decoder.device();
    let codes = floats(&at.taken(&found.codes)?.flatten_all()?)?;
    let active: Vec<(u32, f64)> = (0..).zip(codes).filter(|(_, code)| *code != 0.0).collect();
    let part = |(head, code): &(u32, f64)| QkPart { name: format!("{site}/{head}"), activation: Some(*code) };
    let mut parts: Vec<QkPart> = active.iter().map(part).collect();
    let mut vectors = Vec::new();
    let bias = lorsa.decoder_bias.unsqueeze(0)?;
    let mut written = bias.clone();
    if !active.is_empty() {
        let count = active.len();
        let heads: Vec<u32> = active.iter().map(|(head, _)| *head).collect();
        let codes: Vec<f32> = active.iter().map(|(_, code)| *code as f32).collect();
        let rows = lorsa.decoder.index_select(&Tensor::from_vec(heads, count, device)?, 0)?;
        let rows = rows.broadcast_mul(&Tensor::from_vec(codes, (count, 1), device)?)?;
        written = (written + rows.sum_keepdim(0)?)?;
        vectors.push(rows);
    }
    parts.push(QkPart::named(format!("{site}/error")));
    vectors.push((at.row(SiteKind::AttnOut, layer)? - written)?);
    parts.push(QkPart::named(format!("{site}/bias")));
    vectors.push(bias);
    groups.push(parts, Tensor::cat(&vectors, 0)?);
    Ok(())
}

/// The transcoder of one layer at a position.
struct TranscoderAt<'a> {
    model: &'a Decoder,
    at: RecordedPosition<'a>,
    layer: usize,
    transcoders: &'a Transcoders,
    own: &'a TranscoderLayer,
}

impl TranscoderAt<'_> {
    /// Adds what features, the error, the skip connection and the bias write in this layer.
    fn write(&self, block: &Block, active: &mut Vec<ActiveHere>, groups: &mut Groups) -> Result<()> {
        let config = self.model.config();
        let layer = self.layer;
        let x = self.at.taken(&reading(config, self.at.cache, self.transcoders.reads, layer)?)?;
        let wanted = self.at.taken(&target(self.model, self.at.cache, self.transcoders.writes, layer)?)?;
        active.push(self.activate(&x, groups)?);
        let mut found = Vec::new();
        let mut writers = Vec::new();
        for (from, features) in active.iter().enumerate() {
            if layer - from < features.rows.dim(1)? && features.rows.dim(0)? > 0 {
                let rows = features.rows.narrow(1, layer - from, 1)?.squeeze(1)?;
                found.push(rows.broadcast_mul(&features.activations)?);
                writers.push(features.group);
            }
        }
        let mut reconstruction = Tensor::zeros((1, x.dim(1)?), DType::F32, x.device())?;
        for rows in &found {
            reconstruction = (reconstruction + rows.sum_keepdim(0)?)?;
        }
        let mut others = Vec::new();
        if let Some(skip) = &self.own.skip {
            let skipped = kernels::linear(&x, skip, None)?;
            reconstruction = (reconstruction + &skipped)?;
            others.push((format!("{}/skip", self.site()), skipped));
        }
        if let Some(bias) = &self.own.decoder_bias {
            reconstruction = reconstruction.broadcast_add(bias)?;
        }
        others.push((format!("{}/error", self.site()), (wanted - reconstruction)?));
        let vectors: Vec<&Tensor> = found.iter().chain(others.iter().map(|(_, vector)| vector)).collect();
        let mut written = Rows::of(&Tensor::cat(&vectors, 0)?)?.shifted(self.own.decoder_bias.as_ref())?;
        if self.transcoders.writes == Writes::Inner && config.post_norm {
            let factor = config.write_scale.unwrap_or(1.0);
            written = written.scaled(factor)?.normed(config, block.mlp_post_norm.as_ref())?;
        }
        let mut start = 0;
        for (group, rows) in writers.iter().zip(&found) {
            let count = rows.dim(0)?;
            groups.vectors[*group] = (&groups.vectors[*group] + written.tensor().narrow(0, start, count)?)?;
            start += count;
        }
        let names = others.into_iter().map(|(name, _)| name).chain([format!("{}/bias", self.site())]);
        let parts: Vec<QkPart> = names.map(QkPart::named).collect();
        let vectors = written.tensor().narrow(0, start, parts.len())?;
        groups.push(parts, vectors);
        Ok(())
    }

    /// Finds the features that are active, as a group of parts that have written nothing yet.
    fn activate(&self, x: &Tensor, groups: &mut Groups) -> Result<ActiveHere> {
        let pre = self.own.pre(x)?;
        // Not every activation function passes it on.
        if first_nan(&pre)?.is_some() {
            return Err(err!(Numeric, "expected activations that are numbers, found NaN")
                .hint("the model's activations or the transcoder's weights have NaN"));
        }
        let fired = floats(&self.own.fired(&pre)?.flatten_all()?)?;
        let active: Vec<(u32, f64)> = (0..).zip(fired).filter(|(_, activation)| *activation != 0.0).collect();
        let features: Vec<u32> = active.iter().map(|(feature, _)| *feature).collect();
        let count = features.len();
        let d = x.dim(1)?;
        let written = self.own.written();
        memory::check(8 * count as u128 * written as u128 * d as u128, || format!("the rows of {count} features"))?;
        let rows = match count {
            0 => Tensor::zeros((0, written, d), DType::F32, x.device())?,
            _ => self.own.decoder.rows(&features)?.to_device(x.device())?,
        };
        let activations: Vec<f32> = active.iter().map(|(_, activation)| *activation as f32).collect();
        let part = |(feature, activation): &(u32, f64)| QkPart {
            name: format!("{}/{feature}", self.site()),
            activation: Some(*activation),
        };
        let group = groups.parts.len();
        groups.push(active.iter().map(part).collect(), Tensor::zeros((count, d), DType::F32, x.device())?);
        Ok(ActiveHere { group, activations: Tensor::from_vec(activations, (count, 1), x.device())?, rows })
    }

    /// Returns the site that features of this layer are named by, as in attribution graphs.
    fn site(&self) -> Site {
        let kind = if self.transcoders.reads == Reads::ResidMid { SiteKind::ResidMid } else { SiteKind::MlpIn };
        Site::new(kind, self.layer)
    }
}

/// Returns the active features of a dictionary of the stream itself, its error and its bias, and their vectors.
pub fn dictionary_parts(sae: &Sae, site: Site, at: RecordedPosition) -> Result<(Vec<QkPart>, Tensor)> {
    let x = at.of(site)?.unsqueeze(0)?;
    let input = dtype::convert(&x, sae.parts().encoder.dtype())?;
    let (codes, found) = sae.encode_and_reconstruct(&input)?;
    let found = found.to_dtype(DType::F32)?;
    let codes = floats(&codes.flatten_all()?)?;
    let active: Vec<(u32, f64)> = (0..).zip(codes).filter(|(_, activation)| *activation != 0.0).collect();
    let part = |(feature, activation): &(u32, f64)| QkPart {
        name: format!("{site}/{feature}"),
        activation: Some(*activation),
    };
    let mut parts: Vec<QkPart> = active.iter().map(part).collect();
    let mut vectors = Vec::new();
    let mut written = Tensor::zeros(x.dims(), DType::F32, x.device())?;
    if !active.is_empty() {
        let features: Vec<u32> = active.iter().map(|(feature, _)| *feature).collect();
        let activations: Vec<f64> = active.iter().map(|(_, activation)| *activation).collect();
        let activations = Tensor::from_vec(activations, active.len(), x.device())?.to_dtype(input.dtype())?;
        // Where a dictionary scales its inputs, each feature is scaled as this one.
        let copies = input.broadcast_as((active.len(), input.dim(1)?))?.contiguous()?;
        let rows = sae.written_by(&copies, &features, &activations)?.to_dtype(DType::F32)?;
        written = rows.sum_keepdim(0)?;
        vectors.push(rows);
    }
    parts.push(QkPart::named(format!("{site}/error")));
    vectors.push((&x - &found)?);
    parts.push(QkPart::named(format!("{site}/bias")));
    vectors.push((found - written)?);
    Ok((parts, Tensor::cat(&vectors, 0)?))
}
