//! The sources of the graph, active features, reconstruction errors and tokens, and their places in the rows of targets.

use std::ops::Range;

use super::dictionaries::GraphDictionaries;
use super::frozen::{FrozenModel, FrozenNorm, recorded};
use super::layer_writes::{ActiveFeature, Layer, LayerWrites, Writer, reading, target};
use super::steps::{GraphSteps, LayerPart};
use crate::base::Result;
use crate::model::cache::Cache;
use crate::model::decoder::Decoder;
use crate::model::site::{Site, SiteKind};
use crate::tensor::Tensor;

/// A place where something is read: the input of the features of a step, or, for the step after the last one, the
/// residual stream that is unembedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPosition {
    pub step: usize,
    pub position: usize,
}

/// Contributions of all sources in a target's cone: step by step the features and errors up to its position, and the
/// tokens up to it.
#[derive(Debug, Clone)]
pub struct ContributionRow {
    pub target: ReadPosition,
    pub values: Vec<f32>,
}

pub struct GraphSources {
    /// The active features by step, position and index.
    pub active: Vec<ActiveFeature>,
    pub tokens: usize,
    pub steps: GraphSteps,
    /// The index of the first active feature for each step and position, and one more after the last.
    first: Vec<Vec<usize>>,
    /// The offsets of a step's columns in a row: those of a position begin there, and end where those of the next
    /// begin.
    columns: Vec<Vec<usize>>,
    /// The offsets in a target's row, for each position of a target: those of each step's columns, and that of the
    /// tokens.
    offsets: Vec<Vec<usize>>,
    written: Vec<LayerWrites>,
    features: Vec<Layer>,
    /// The embeddings of the tokens: `[tokens, d]`.
    embedded: Tensor,
}

impl GraphSources {
    pub fn of(model: &Decoder, cache: &Cache, dictionaries: &GraphDictionaries, frozen: &FrozenModel) -> Result<Self> {
        let config = model.config();
        let GraphDictionaries { transcoders, lorsas } = dictionaries;
        let steps = dictionaries.steps();
        let embedded = recorded(cache, Site::new(SiteKind::Embed, 0))?;
        let tokens = embedded.dim(0)?;
        // Features and writes of each step.
        let mut layers: Vec<Layer> = Vec::new();
        let mut written = Vec::new();
        for (layer, features) in transcoders.layers().iter().enumerate() {
            let within = |e: crate::base::Error| e.within(format!("layer {layer}"));
            if let Some(lorsa) = lorsas.get(layer) {
                let x = recorded(cache, Site::new(SiteKind::AttnIn, layer))?;
                let heads = Layer::of_lorsa(layer, lorsa, &x).map_err(within)?;
                let wanted = recorded(cache, Site::new(SiteKind::AttnOut, layer))?;
                let writer = Writer { from: steps.of(layer, LayerPart::Attention), later: 0, features: &heads };
                written.push(LayerWrites::of_attention(layer, writer, lorsa, &wanted)?);
                layers.push(heads);
            }
            let x = reading(config, cache, transcoders.reads, layer)?;
            layers.push(Layer::of(layer, features, &x).map_err(within)?);
            let wanted = target(model, cache, transcoders.writes, layer)?;
            let writer = |earlier: usize| {
                let from = steps.of(earlier, LayerPart::Mlp);
                Writer { from, later: layer - earlier, features: &layers[from] }
            };
            let writers: Vec<Writer> = (0..=layer).map(writer).collect();
            let writing = &frozen.blocks[layer].writing;
            written.push(LayerWrites::of_mlp(layer, &writers, features, &x, &wanted, writing)?);
        }
        let mut all = Self {
            active: layers.iter().flat_map(|layer| layer.active.iter().copied()).collect(),
            tokens,
            steps,
            first: Vec::new(),
            columns: Vec::new(),
            offsets: Vec::new(),
            written,
            features: Vec::new(),
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
        all.features = layers;
        Ok(all)
    }

    /// Returns the active features of a step and position.
    fn features_at(&self, step: usize, position: usize) -> Range<usize> {
        self.first[step][position]..self.first[step][position + 1]
    }

    /// Returns where a feature reads.
    pub fn read_position(&self, one: &ActiveFeature) -> ReadPosition {
        ReadPosition { step: self.steps.of(one.layer, one.part), position: one.position }
    }

    /// Returns the place of a feature among the active ones.
    pub fn place(&self, feature: &ActiveFeature) -> Option<usize> {
        let key = |one: &ActiveFeature| (one.layer, one.part, one.position, one.feature);
        self.active.binary_search_by_key(&key(feature), key).ok()
    }

    /// Returns what an active feature of a transcoder adds to the residual stream in the MLP of a layer, `[1, d]`, if
    /// it writes there.
    pub fn feature_write(&self, place: usize, layer: usize, writing: &FrozenNorm) -> Result<Option<Tensor>> {
        let one = self.active[place];
        let step = self.steps.of(one.layer, one.part);
        let of_step = place - self.first[step][0];
        let Some(later) = layer.checked_sub(one.layer) else { return Ok(None) };
        let Some(rows) = self.features[step].one_written(of_step, later)? else { return Ok(None) };
        Ok(Some(writing.scaled(&writing.forward(&rows)?, &[one.position])?))
    }

    /// Returns what the error at a position adds to the residual stream in the MLP of a layer: `[1, d]`; the first
    /// position has none.
    pub fn error_write(&self, layer: usize, position: usize) -> Result<Option<Tensor>> {
        let step = self.steps.of(layer, LayerPart::Mlp);
        if position == 0 { Ok(None) } else { Ok(Some(self.written[step].error(position)?)) }
    }

    /// Returns the embedding of the token at a position: `[1, d]`.
    pub fn embedding(&self, position: usize) -> Result<Tensor> {
        Ok(self.embedded.narrow(0, position, 1)?)
    }

    /// Returns the offset of a step's columns in the row of a target; for the step after the last one, that of the
    /// tokens.
    fn offset(&self, target: ReadPosition, step: usize) -> usize {
        self.offsets[target.position][step]
    }

    /// Returns the length of the row of a target.
    pub fn row_length(&self, target: ReadPosition) -> usize {
        self.offset(target, target.step) + target.position + 1
    }

    pub fn empty_row(&self, target: ReadPosition) -> ContributionRow {
        ContributionRow { target, values: vec![0.0; self.row_length(target)] }
    }

    /// Fills rows with the contributions of the sources that write in the place of a step's part at a position, from
    /// the targets' gradients there: `[targets, d]`.
    pub fn take(
        &self,
        step: usize,
        position: usize,
        writing: &FrozenNorm,
        gradients: &Tensor,
        rows: &mut [ContributionRow],
    ) -> Result<()> {
        let written = &self.written[step];
        let Some(vectors) = written.at(position, &self.features, writing)? else { return Ok(()) };
        let found = kernels::linear(gradients, &vectors, None)?;
        let found: Vec<f32> = found.flatten_all()?.to_vec1()?;
        for (row, found) in rows.iter_mut().zip(found.chunks(vectors.dim(0)?)) {
            // A batch has gradients of 0 after a target's own position.
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
            for run in &written.runs[position] {
                add(run.from, 0, run.places.len());
            }
            // The first position has no error.
            add(step, self.features_at(step, position).len(), usize::from(position > 0));
        }
        Ok(())
    }

    /// Fills rows with the contribution of the token at a position.
    pub fn take_token(&self, position: usize, gradients: &Tensor, rows: &mut [ContributionRow]) -> Result<()> {
        let found: Vec<f32> =
            kernels::linear(gradients, &self.embedded.narrow(0, position, 1)?, None)?.flatten_all()?.to_vec1()?;
        for (row, found) in rows.iter_mut().zip(found) {
            if row.target.position >= position {
                let begin = self.offset(row.target, row.target.step);
                row.values[begin + position] = found;
            }
        }
        Ok(())
    }

    /// Calls `visit` with the index and value of each source: features, then errors by step and position, then tokens.
    pub fn each_source(&self, row: &ContributionRow, visit: &mut dyn FnMut(usize, f32)) {
        let mut values = row.values.iter();
        let errors = self.active.len();
        for step in 0..row.target.step {
            for position in 0..=row.target.position {
                for feature in self.features_at(step, position) {
                    visit(feature, values.next().copied().unwrap_or(0.0));
                }
                if position > 0 {
                    visit(errors + step * self.tokens + position, values.next().copied().unwrap_or(0.0));
                }
            }
        }
        let tokens = errors + self.steps.count() * self.tokens;
        for (position, value) in values.enumerate() {
            visit(tokens + position, *value);
        }
    }

    /// Returns the number of all sources: features, errors and tokens.
    pub fn count(&self) -> usize {
        self.active.len() + (self.steps.count() + 1) * self.tokens
    }
}
