//! The sources of the graph, active features, reconstruction errors and tokens, and their places in the rows of targets.

use super::dictionaries::GraphDictionaries;
use super::frozen::{FrozenBlock, FrozenNorm, FrozenRun, recorded};
use super::layer_writes::{ActiveFeature, Layer, LayerWrites, Writer, reading, target};
use super::steps::{GraphSteps, LayerPart};
use crate::common::*;

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
    /// Whether each of the active features, which stand in the order of steps, positions and indices, has its value in the row;
    /// none if all have.
    pub kept: Option<Arc<[bool]>>,
}

/// The features and writes of the steps of a run that were read so far.
#[derive(Default)]
pub struct ReadSteps {
    features: Vec<Layer>,
    written: Vec<LayerWrites>,
}

impl ReadSteps {
    /// Reads the steps of a layer, whose `cache` has what was recorded there.
    pub fn read(
        &mut self,
        run: FrozenRun,
        cache: &Cache,
        layer: usize,
        block: &FrozenBlock,
        task: &Task,
    ) -> Result<()> {
        let FrozenRun { model, dictionaries, .. } = run;
        let GraphDictionaries { transcoders, lorsas } = dictionaries;
        let steps = dictionaries.steps();
        let within = |e: Error| e.within(format!("layer {layer}"));
        if let Some(lorsa) = lorsas.get(layer) {
            let x = recorded(cache, Site::new(SiteKind::AttnIn, layer))?;
            let heads = Layer::of_lorsa(layer, lorsa, &x).map_err(within)?;
            let wanted = recorded(cache, Site::new(SiteKind::AttnOut, layer))?;
            let writer = Writer { from: steps.of(layer, LayerPart::Attention), later: 0, features: &heads };
            self.written.push(LayerWrites::of_attention(layer, writer, lorsa, &wanted)?);
            self.features.push(heads);
        }
        let Some(features) = transcoders.layers().get(layer) else { return Err(err!(Bug, "no layer {layer}")) };
        let x = reading(model.config(), cache, transcoders.reads, layer)?;
        self.features.push(Layer::of(layer, features, &x, task).map_err(within)?);
        let wanted = target(model, cache, transcoders.writes, layer)?;
        let writer = |earlier: usize| {
            let from = steps.of(earlier, LayerPart::Mlp);
            Writer { from, later: layer - earlier, features: &self.features[from] }
        };
        let writers: Vec<Writer> = (0..=layer).map(writer).collect();
        // What passes the model's own MLP is no error.
        let wanted = match &block.mlp {
            Some(mlp) => (wanted - &mlp.written)?,
            None => wanted,
        };
        self.written.push(LayerWrites::of_mlp(layer, &writers, features, &x, &wanted, &block.writing)?);
        Ok(())
    }
}

pub struct GraphSources {
    /// The number of active features, which stand in the order of steps, positions and indices.
    pub active: usize,
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
    /// Puts the sources of all steps in their order; `embedded` are the embeddings of the tokens.
    pub fn of(read: ReadSteps, steps: GraphSteps, embedded: Tensor) -> Result<Self> {
        let ReadSteps { features, written } = read;
        let tokens = embedded.dim(0)?;
        let mut active = 0;
        let mut first: Vec<Vec<usize>> = Vec::new();
        let mut columns: Vec<Vec<usize>> = Vec::new();
        for layer in &features {
            let starts = (0..=tokens).map(|position| layer.at(position).start);
            first.push(starts.clone().map(|start| active + start).collect());
            // One error at each position but the first.
            columns.push(starts.enumerate().map(|(position, start)| start + position.saturating_sub(1)).collect());
            active += layer.count();
        }
        let offsets = (0..tokens).map(|position| {
            let mut begin = 0;
            let ends = columns.iter().map(|starts| {
                begin += starts[position + 1];
                begin
            });
            std::iter::once(0).chain(ends).collect()
        });
        let offsets: Vec<Vec<usize>> = offsets.collect();
        Ok(Self { active, tokens, steps, first, columns, offsets, written, features, embedded })
    }

    /// Returns the active features of a step and position.
    fn features_at(&self, step: usize, position: usize) -> Range<usize> {
        self.first[step][position]..self.first[step][position + 1]
    }

    /// Returns the step and the position of an active feature.
    fn place_of(&self, feature: usize) -> ReadPosition {
        let step = self.first.partition_point(|starts| starts[0] <= feature).saturating_sub(1);
        let position = self.first[step].partition_point(|start| *start <= feature).saturating_sub(1);
        ReadPosition { step, position }
    }

    /// Returns an active feature by its place among all of them.
    pub fn feature(&self, feature: usize) -> ActiveFeature {
        let ReadPosition { step, position } = self.place_of(feature);
        self.features[step].feature(feature - self.first[step][0], position)
    }

    /// Returns where a feature reads.
    pub fn read_position(&self, one: &ActiveFeature) -> ReadPosition {
        ReadPosition { step: self.steps.of(one.layer, one.part), position: one.position }
    }

    /// Returns the place of a feature among the active ones.
    pub fn place(&self, feature: &ActiveFeature) -> Option<usize> {
        let step = self.steps.of(feature.layer, feature.part);
        let found = self.features.get(step)?.place(feature.feature, feature.position)?;
        Some(self.first[step][0] + found)
    }

    /// Returns what an active feature of a transcoder adds to the residual stream in the MLP of a layer, `[1, d]`, if
    /// it writes there.
    pub fn feature_write(&self, place: usize, layer: usize, writing: &FrozenNorm) -> Result<Option<Tensor>> {
        let ReadPosition { step, position } = self.place_of(place);
        let (own, _) = self.steps.at(step);
        let Some(later) = layer.checked_sub(own) else { return Ok(None) };
        let rows = self.features[step].one_written(place - self.first[step][0], later)?;
        rows.map(|rows| writing.scaled(&writing.forward(&rows)?, &[position])).transpose()
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

    /// Returns the lengths of the rows of all active features.
    pub fn row_lengths(&self) -> Vec<usize> {
        let at = |step: usize| (0..self.tokens).map(move |position| ReadPosition { step, position });
        let of_place = |place: ReadPosition| {
            let count = self.features_at(place.step, place.position).len();
            std::iter::repeat_n(self.row_length(place), count)
        };
        (0..self.steps.count()).flat_map(at).flat_map(of_place).collect()
    }

    pub fn empty_row(&self, target: ReadPosition) -> ContributionRow {
        ContributionRow { target, values: vec![0.0; self.row_length(target)], kept: None }
    }

    /// Returns a row with the values of all errors and tokens, and of some of the active features.
    pub fn restricted(&self, row: &ContributionRow, kept: &Arc<[bool]>) -> ContributionRow {
        let mut values = Vec::new();
        self.each_source(row, &mut |source, value| {
            if kept.get(source).is_none_or(|is_kept| *is_kept) {
                values.push(value);
            }
        });
        values.shrink_to_fit();
        ContributionRow { target: row.target, values, kept: Some(kept.clone()) }
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

    /// Calls `visit` with the index and value of each source in a row: features, then errors by step and position, then
    /// tokens.
    pub fn each_source(&self, row: &ContributionRow, visit: &mut dyn FnMut(usize, f32)) {
        let mut values = row.values.iter();
        let is_there = |feature: &usize| row.kept.as_ref().is_none_or(|kept| kept[*feature]);
        let errors = self.active;
        for step in 0..row.target.step {
            for position in 0..=row.target.position {
                for feature in self.features_at(step, position).filter(is_there) {
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
        self.active + (self.steps.count() + 1) * self.tokens
    }
}
