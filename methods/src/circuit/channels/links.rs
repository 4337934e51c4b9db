//! The links between channels: the weights that are not 0, and the coordinates of the residual stream.
//!
//! A weight leads from the channel that it reads to the one that it writes. What is written to a coordinate of the stream is
//! read from it by all later layers, times the weight of their norm. A query and a key of one head meet in its scores.

use super::sites::Channels;
use crate::common::*;
use crate::model::weights::{Block, Linear, Norm};

/// A link between two channels, by their numbers among those that are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    pub from: usize,
    pub to: usize,
    pub weight: f64,
}

/// The links of some channels, and the weights of tokens that are predicted.
pub struct Links {
    pub links: Vec<Link>,
    /// The number of weights among the links: the stream's own coordinates, and queries with keys, are none.
    pub weights: usize,
    /// Links from a kept channel, by its place, to a token, by its place.
    pub logits: Vec<Link>,
}

/// Finds the links between the kept channels, given in ascending order, and from the last of them to some tokens.
pub fn links(decoder: &Decoder, channels: &Channels, kept: &[usize], tokens: &[u32]) -> Result<Links> {
    let mut found = Links { links: Vec::new(), weights: 0, logits: Vec::new() };
    let by_site = KeptChannels { channels, kept };
    for block in 0..decoder.config().layers {
        found.block(decoder, &by_site, block)?;
    }
    found.stream(decoder, &by_site)?;
    let last = channels.sites.len() - 1;
    let unembed = Matrix::of(&decoder.weights().unembed)?;
    for (from, channel) in by_site.of(last) {
        for (to, token) in tokens.iter().enumerate() {
            let weight = unembed.at(*token as usize, channel);
            if weight != 0.0 {
                found.logits.push(Link { from, to, weight });
                found.weights += 1;
            }
        }
    }
    found.links.sort_by_key(|link| (link.from, link.to));
    Ok(found)
}

/// The kept channels by their sites.
struct KeptChannels<'a> {
    channels: &'a Channels,
    kept: &'a [usize],
}

impl KeptChannels<'_> {
    /// Returns the place among all kept channels and the channel, for each that is kept of a site.
    fn of(&self, index: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
        let one = &self.channels.sites[index];
        let first = one.first;
        let begin = self.kept.partition_point(|number| *number < first);
        let end = self.kept.partition_point(|number| *number < first + one.width());
        self.kept[begin..end].iter().enumerate().map(move |(place, number)| (begin + place, number - first))
    }

    fn at(&self, kind: SiteKind, layer: usize) -> Vec<(usize, usize)> {
        self.channels.index(Site::new(kind, layer)).map_or_else(Vec::new, |index| self.of(index).collect())
    }
}

/// The numbers of a linear map, `[out, in]`.
struct Matrix {
    numbers: Vec<f64>,
    columns: usize,
}

impl Matrix {
    fn of(linear: &Linear) -> Result<Self> {
        let weight = linear.weight.tensor()?.to_dtype(DType::F32)?;
        Ok(Self { columns: weight.dim(1)?, numbers: floats(&weight)? })
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        self.numbers[row * self.columns + column]
    }
}

impl Links {
    /// Adds the weights of one map: `weight(to, from)` between channels of two sites.
    fn map(&mut self, from: &[(usize, usize)], to: &[(usize, usize)], weight: impl Fn(usize, usize) -> f64) {
        for (read, input) in from {
            for (write, output) in to {
                let weight = weight(*output, *input);
                if weight != 0.0 {
                    self.links.push(Link { from: *read, to: *write, weight });
                    self.weights += 1;
                }
            }
        }
    }

    fn block(&mut self, decoder: &Decoder, kept: &KeptChannels, layer: usize) -> Result<()> {
        let config = decoder.config();
        let block: &Block = &decoder.weights().blocks[layer];
        let attention = block.attention()?;
        let inputs = kept.at(SiteKind::AttnIn, layer);
        let ports = [
            (SiteKind::Q, Some(&attention.q)),
            (SiteKind::K, attention.k.as_ref()),
            (SiteKind::V, attention.v.as_ref()),
        ];
        for (kind, map) in ports {
            let Some(map) = map else { continue };
            let matrix = Matrix::of(map)?;
            self.map(&inputs, &kept.at(kind, layer), |to, from| matrix.at(to, from));
        }
        let out = Matrix::of(&attention.o)?;
        let size = config.d_head_of(layer);
        let heads = config.heads;
        let of_heads = |value: usize| (0..heads).filter(move |head| config.kv_head(layer, *head) == value / size);
        // A value that several heads share is written by each; the largest weight stands for them.
        let written = |to: usize, value: usize| {
            let each = of_heads(value).map(|head| out.at(to, head * size + value % size));
            each.fold(0.0, |largest: f64, weight| if weight.abs() > largest.abs() { weight } else { largest })
        };
        self.map(&kept.at(SiteKind::V, layer), &kept.at(SiteKind::AttnOut, layer), written);
        self.scores(config, kept, layer);
        if let Some(mlp) = &block.mlp {
            let up = Matrix::of(&mlp.up)?;
            let gate = mlp.gate.as_ref().map(Matrix::of).transpose()?;
            // Of a gated neuron's two weights the larger.
            let read = |to: usize, from: usize| {
                let own = up.at(to, from);
                let gated = gate.as_ref().map_or(0.0, |gate| gate.at(to, from));
                if gated.abs() > own.abs() { gated } else { own }
            };
            let hidden = kept.at(SiteKind::MlpHidden, layer);
            self.map(&kept.at(SiteKind::MlpIn, layer), &hidden, read);
            let down = Matrix::of(&mlp.down)?;
            self.map(&hidden, &kept.at(SiteKind::MlpOut, layer), |to, from| down.at(to, from));
        }
        Ok(())
    }

    /// Adds a link between each query and key that are multiplied in a score; rotations mix others, too, and have none.
    fn scores(&mut self, config: &Config, kept: &KeptChannels, layer: usize) {
        if config.rotary.is_some() {
            return;
        }
        let size = config.d_head_of(layer);
        for (from, query) in kept.at(SiteKind::Q, layer) {
            for (to, key) in kept.at(SiteKind::K, layer) {
                if query % size == key % size && config.kv_head(layer, query / size) == key / size {
                    self.links.push(Link { from, to, weight: 1.0 });
                }
            }
        }
    }

    /// Adds a link along each coordinate of the stream, from where it is written to where it is read.
    fn stream(&mut self, decoder: &Decoder, kept: &KeptChannels) -> Result<()> {
        let config = decoder.config();
        let sites = &kept.channels.sites;
        for (reader, read) in sites.iter().enumerate().filter(|(_, one)| is_reader(one.site)) {
            let gains = gains(decoder, read.site)?;
            for (writer, written) in sites.iter().enumerate().filter(|(_, one)| is_writer(one.site)) {
                let beside = written.site.kind == SiteKind::AttnOut
                    && read.site == Site::new(SiteKind::MlpIn, written.site.layer);
                if writer > reader || (beside && !config.is_serial()) {
                    continue;
                }
                for (from, channel) in kept.of(writer) {
                    let to = kept.of(reader).find(|(_, other)| *other == channel);
                    let weight = gains.as_ref().map_or(1.0, |gains| gains[channel]);
                    if let Some((to, _)) = to
                        && weight != 0.0
                    {
                        self.links.push(Link { from, to, weight });
                    }
                }
            }
        }
        Ok(())
    }
}

fn is_writer(site: Site) -> bool {
    matches!(site.kind, SiteKind::Embed | SiteKind::PosEmbed | SiteKind::AttnOut | SiteKind::MlpOut)
}

fn is_reader(site: Site) -> bool {
    matches!(site.kind, SiteKind::AttnIn | SiteKind::MlpIn | SiteKind::FinalNorm | SiteKind::ResidPost)
}

/// Returns the weights of the norm through which a site reads the stream, if it has one with weights.
pub fn gains(decoder: &Decoder, site: Site) -> Result<Option<Vec<f64>>> {
    let weights = decoder.weights();
    let norm: Option<&Norm> = match site.kind {
        SiteKind::AttnIn => weights.blocks[site.layer].attn_norm.as_ref(),
        SiteKind::MlpIn => {
            let block = &weights.blocks[site.layer];
            block.mlp_norm.as_ref().or(block.attn_norm.as_ref())
        }
        SiteKind::FinalNorm => weights.final_norm.as_ref(),
        _ => None,
    };
    let Some(weight) = norm.and_then(|norm| norm.weight.as_ref()) else { return Ok(None) };
    let offset = if decoder.config().norm_plus_one { 1.0 } else { 0.0 };
    let gains: Tensor = weight.to_dtype(DType::F32)?;
    Ok(Some(floats(&gains)?.into_iter().map(|gain| gain + offset).collect()))
}
