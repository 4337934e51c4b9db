//! The sources of the graph: what active features, reconstruction errors and tokens write into the stream in one run.

use std::ops::Range;

use super::frozen::{Frozen, FrozenNorm, recorded};
use crate::base::{Result, memory};
use crate::err;
use crate::model::cache::Cache;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::hooks::checks::first_nan;
use crate::model::site::{Site, SiteKind};
use crate::sae::transcoders::{Reads, TranscoderLayer, Transcoders, Writes};
use crate::tensor::{DType, Device, Tensor, floats};

/// A feature that is active at a position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActiveFeature {
    pub layer: usize,
    pub position: usize,
    pub feature: usize,
    pub activation: f64,
}

/// A place where something is read: the input of features of a layer, or, for the layer behind the last one, the stream
/// that is unembedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub layer: usize,
    pub position: usize,
}

/// What all sources in a target's cone give to it: layer by layer the features and errors up to its position, and the
/// tokens up to it.
#[derive(Debug, Clone)]
pub struct Row {
    pub target: Target,
    pub values: Vec<f32>,
}

/// What is written in one layer, position by position.
struct Written {
    /// `[sources, d]`: what each adds to the stream.
    vectors: Tensor,
    /// Where the sources of each position begin, and the end of the last.
    starts: Vec<usize>,
    /// For each position the layers that its features are of, with their count; one error behind them.
    runs: Vec<Vec<(usize, usize)>>,
}

pub struct Sources {
    /// By layer, position and index.
    pub active: Vec<ActiveFeature>,
    pub tokens: usize,
    pub layers: usize,
    /// For each layer and position the index of its first active feature; one more behind the last.
    first: Vec<Vec<usize>>,
    /// The places of a layer's columns in a row: those of a position begin here, and end where those of the next begin.
    columns: Vec<Vec<usize>>,
    /// For each position of a target where the columns of each layer begin in its row, and those of tokens.
    offsets: Vec<Vec<usize>>,
    written: Vec<Written>,
    /// `[tokens, d]`
    embedded: Tensor,
}

/// What features read at a layer: `[tokens, d]`.
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

/// What features are to reconstruct at a layer: `[tokens, d]`.
fn target(model: &Decoder, cache: &Cache, writes: Writes, layer: usize) -> Result<Tensor> {
    let block = model.weights().blocks.get(layer);
    match (writes, block.and_then(|block| block.mlp.as_ref()).filter(|_| model.config().post_norm)) {
        (Writes::Inner, Some(mlp)) => {
            let hidden = recorded(cache, Site::new(SiteKind::MlpHidden, layer))?;
            let (weight, bias) = (mlp.down.weight.to_dtype(DType::F32)?, mlp.down.bias.as_ref());
            let bias = bias.map(|bias| bias.to_dtype(DType::F32)).transpose()?;
            Ok(kernels::linear(&hidden, &weight, bias.as_ref())?)
        }
        _ => recorded(cache, Site::new(SiteKind::MlpOut, layer)),
    }
}

/// The active features of one layer, by position, with what they write.
struct Layer {
    active: Vec<ActiveFeature>,
    /// `[active, written layers, d]`, times their activations.
    vectors: Tensor,
}

impl Layer {
    fn of(layer: usize, features: &TranscoderLayer, x: &Tensor) -> Result<Self> {
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
                let (position, feature) = (place / count, place % count);
                active.push(ActiveFeature { layer, position, feature, activation: f64::from(*activation) });
            }
        }
        let bytes = active.len() as u128 * features.written() as u128 * d as u128 * 8;
        memory::check(bytes, || format!("the decoder rows of {} active features of layer {layer}", active.len()))?;
        if active.is_empty() {
            let vectors = Tensor::zeros((0, features.written(), d), DType::F32, &Device::Cpu)?;
            return Ok(Self { active, vectors });
        }
        // A feature that is active at several positions is read once.
        let mut wanted: Vec<u32> = active.iter().map(|one| one.feature as u32).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let place = |one: &ActiveFeature| wanted.partition_point(|other| (*other as usize) < one.feature) as u32;
        let places = Tensor::from_vec(active.iter().map(place).collect(), active.len(), &Device::Cpu)?;
        let rows = features.decoder.rows(&wanted)?.index_select(&places, 0)?;
        let factors: Vec<f32> = active.iter().map(|one| one.activation as f32).collect();
        let vectors = rows.broadcast_mul(&Tensor::from_vec(factors, (active.len(), 1, 1), &Device::Cpu)?)?;
        Ok(Self { active, vectors })
    }

    /// What is written `later` layers after its own, with the positions; nothing if it writes to fewer.
    fn written(&self, later: usize) -> Result<Option<(Tensor, Vec<usize>)>> {
        if self.active.is_empty() || later >= self.vectors.dim(1)? {
            return Ok(None);
        }
        let positions = self.active.iter().map(|one| one.position).collect();
        Ok(Some((self.vectors.narrow(1, later, 1)?.squeeze(1)?.contiguous()?, positions)))
    }
}

impl Sources {
    pub fn of(model: &Decoder, cache: &Cache, transcoders: &Transcoders, frozen: &Frozen) -> Result<Self> {
        let config = model.config();
        let embedded = recorded(cache, Site::new(SiteKind::Embed, 0))?;
        let tokens = embedded.dim(0)?;
        let (mut layers, mut written) = (Vec::new(), Vec::new());
        for (layer, features) in transcoders.layers().iter().enumerate() {
            let within = |e: crate::base::Error| e.within(format!("layer {layer}"));
            let x = reading(config, cache, transcoders.reads, layer)?;
            layers.push(Layer::of(layer, features, &x).map_err(within)?);
            let wanted = target(model, cache, transcoders.writes, layer)?;
            written.push(Written::of(&layers, features, (&x, &wanted), &frozen.blocks[layer].writing)?);
        }
        let mut all = Self {
            active: layers.iter().flat_map(|layer| layer.active.iter().copied()).collect(),
            tokens,
            layers: layers.len(),
            first: Vec::new(),
            columns: Vec::new(),
            offsets: Vec::new(),
            written,
            embedded,
        };
        let mut start = 0;
        for layer in &layers {
            let counts = (0..=tokens).map(|position| layer.active.partition_point(|one| one.position < position));
            let first: Vec<usize> = counts.map(|count| start + count).collect();
            // One error at each position but the first.
            all.columns.push((0..=tokens).map(|at| first[at] - start + at.saturating_sub(1)).collect());
            all.first.push(first);
            start += layer.active.len();
        }
        let offsets = (0..tokens).map(|position| {
            let mut begin = 0;
            let ends = all.columns.iter().map(|starts| {
                begin += starts[position + 1];
                begin
            });
            std::iter::once(0).chain(ends).collect()
        });
        all.offsets = offsets.collect();
        Ok(all)
    }

    /// The active features of a layer and position.
    fn features_at(&self, layer: usize, position: usize) -> Range<usize> {
        self.first[layer][position]..self.first[layer][position + 1]
    }

    /// Where the columns of a layer begin in the row of a target; for the layer behind the last one, those of tokens.
    fn offset(&self, target: Target, layer: usize) -> usize {
        self.offsets[target.position][layer]
    }

    /// The numbers in the row of a target.
    pub fn row_length(&self, target: Target) -> usize {
        self.offset(target, target.layer) + target.position + 1
    }

    pub fn empty_row(&self, target: Target) -> Row {
        Row { target, values: vec![0.0; self.row_length(target)] }
    }

    /// What the sources that write in a layer at a position give to targets with these gradients there: `[targets, d]`.
    pub fn take(&self, layer: usize, position: usize, gradients: &Tensor, rows: &mut [Row]) -> Result<()> {
        let written = &self.written[layer];
        let (start, end) = (written.starts[position], written.starts[position + 1]);
        if start == end {
            return Ok(());
        }
        let found = kernels::linear(gradients, &written.vectors.narrow(0, start, end - start)?, None)?;
        let found: Vec<f32> = found.flatten_all()?.to_vec1()?;
        for (row, found) in rows.iter_mut().zip(found.chunks(end - start)) {
            // A batch has gradients of 0 behind a target's own position.
            if row.target.position < position {
                continue;
            }
            let mut found = found.iter();
            let mut add = |from: usize, place: usize, count: usize| {
                let begin = self.offset(row.target, from) + self.columns[from][position] + place;
                for (value, found) in row.values[begin..begin + count].iter_mut().zip(&mut found) {
                    *value += found;
                }
            };
            for (from, count) in &written.runs[position] {
                add(*from, 0, *count);
            }
            add(layer, self.features_at(layer, position).len(), 1);
        }
        Ok(())
    }

    /// What the token of a position gives.
    pub fn take_token(&self, position: usize, gradients: &Tensor, rows: &mut [Row]) -> Result<()> {
        let found: Vec<f32> =
            kernels::linear(gradients, &self.embedded.narrow(0, position, 1)?, None)?.flatten_all()?.to_vec1()?;
        for (row, found) in rows.iter_mut().zip(found) {
            if row.target.position >= position {
                let begin = self.offset(row.target, row.target.layer);
                row.values[begin + position] = found;
            }
        }
        Ok(())
    }

    /// Calls with the index of each source and its value: features, then errors by layer and position, then tokens.
    pub fn each_source(&self, row: &Row, visit: &mut dyn FnMut(usize, f32)) {
        let mut values = row.values.iter();
        let errors = self.active.len();
        for layer in 0..row.target.layer {
            for position in 0..=row.target.position {
                for feature in self.features_at(layer, position) {
                    visit(feature, values.next().copied().unwrap_or(0.0));
                }
                if position > 0 {
                    visit(errors + layer * self.tokens + position, values.next().copied().unwrap_or(0.0));
                }
            }
        }
        let tokens = errors + self.layers * self.tokens;
        for (position, value) in values.enumerate() {
            visit(tokens + position, *value);
        }
    }

    /// All sources: features, errors and tokens.
    pub fn count(&self) -> usize {
        self.active.len() + (self.layers + 1) * self.tokens
    }
}

impl Written {
    /// What the features of these layers, the last of which is this one, and the error write in it.
    fn of(
        layers: &[Layer],
        features: &TranscoderLayer,
        (x, wanted): (&Tensor, &Tensor),
        writing: &FrozenNorm,
    ) -> Result<Self> {
        let (tokens, d) = x.dims2()?;
        let own = layers.len() - 1;
        let mut reconstruction = Tensor::zeros((tokens, d), DType::F32, x.device())?;
        let (mut vectors, mut order, mut runs) = (Vec::new(), Vec::new(), vec![Vec::new(); tokens]);
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
