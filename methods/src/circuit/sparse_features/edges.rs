//! Edges between kept nodes: dm/db . db/da . (other a - own a) (Marks et al. 2024, section 3.2).
//!
//! With a node's value weighted by its mean gradient, one backward pass from the node gives the products with all nodes
//! that reach it. Gradients stop at the dictionaries between, so that a path counts for the node that it comes to
//! first: everything after a dictionary of the residual stream passes through it. A node at all positions is pulled
//! back from all of them at once, since what is summed over them is linear. Several nodes are pulled back in copies of
//! the batch, whose pass is computed once.

use super::deltas::Deltas;
use super::effects::{NodeChanges, SearchInputs, UnitEffects};
use super::gradients::{GradientSites, Pullback, WriteGradients};
use super::placed::PlacedDictionary;
use super::units::Unit;
use crate::base::task::{Bar, InterruptibleWork};
use crate::sae::prelude::*;

/// Number of tokens in a batch of copies.
const TOKENS: usize = 1 << 11;

/// The numbers that a layer keeps for its backward pass, in widths of the residual stream for each token; an estimate.
const KEPT: usize = 24;

/// Edges between units by their numbers; the number after all units stands for the metric.
pub struct Edges {
    pub effects: BTreeMap<(usize, usize), f64>,
    pub is_whole: bool,
}

/// Returns the dictionaries that reach one directly, or, for none, the metric: from the last dictionary of the residual
/// stream before it on.
pub fn reaching(placed: &[PlacedDictionary], to: Option<usize>) -> Range<usize> {
    let before = to.unwrap_or(placed.len());
    let stream = placed[..before].iter().rposition(PlacedDictionary::is_stream);
    stream.unwrap_or(0)..before
}

/// The work on edges, and the number of parts that are done.
struct EdgeWork<'t> {
    piece: InterruptibleWork<'t>,
    done: u64,
    bar: &'t dyn Bar,
}

impl SearchInputs<'_> {
    /// Computes all edges between kept units, and from them to the metric. An interruption leaves those found so far.
    pub fn edges(&self, found: &UnitEffects, kept: &[bool], task: &Task) -> Result<Edges> {
        let mut edges = Edges { effects: BTreeMap::new(), is_whole: true };
        let count = kept.iter().filter(|kept| **kept).count();
        let bar = task.begin("edges of features", Some((count * found.passes.len()) as u64));
        let mut parts = EdgeWork { piece: task.piece(), done: 0, bar: bar.as_ref() };
        let scale = self.cases.scale() / found.weight;
        for pass in &found.passes {
            let all = [None].into_iter().chain((0..self.placed.len()).map(Some));
            for to in all {
                match self.into(pass, to, kept, &mut edges, &mut parts, task) {
                    Err(error) if error.kind == Kind::Interrupted => {
                        parts.piece.answer(parts.done);
                        edges.is_whole = false;
                        break;
                    }
                    done => done?,
                }
            }
            if !edges.is_whole {
                break;
            }
        }
        edges.effects.values_mut().for_each(|effect| *effect *= scale);
        Ok(edges)
    }

    /// Adds the edges of one pass into the kept nodes of a dictionary, or into the metric.
    fn into(
        &self,
        pass: &NodeChanges,
        to: Option<usize>,
        kept: &[bool],
        edges: &mut Edges,
        parts: &mut EdgeWork,
        task: &Task,
    ) -> Result<()> {
        let from = reaching(self.placed, to);
        // What of each dictionary before is kept and moves.
        let mut deltas = BTreeMap::new();
        for level in from.clone() {
            if let Some(only) = self.kept_of(pass, level, kept)? {
                deltas.insert(level, only);
            }
        }
        let Some(to) = to else {
            if deltas.is_empty() {
                return Ok(());
            }
            parts.piece.check(parts.done)?;
            let run = self.cases.portion(pass.part, Prompt::Clean, task)?;
            let tapping = GradientSites { tapped: from, cuts: true, moved: None };
            let slopes = WriteGradients::of(&self.model.decoder, self.placed, &run, tapping, task)?;
            let rows = 0..run.batch().rows().len();
            self.note(&slopes.gradients, &deltas, rows, kept, self.units.count(), edges)?;
            parts.done += 1;
            return Ok(());
        };
        let targets: Vec<usize> = self.units.numbers(to).filter(|number| kept[*number]).collect();
        if targets.is_empty() || deltas.is_empty() {
            parts.bar.advance(targets.len() as u64);
            return Ok(());
        }
        let rows = pass.batch.rows().len();
        let width = pass.batch.width();
        let copies = (TOKENS / (rows * width)).clamp(1, targets.len());
        let config = self.model.decoder.config();
        let wide = config.layers * KEPT * config.d_model + 6 * self.placed[to].features();
        memory::check(4 * (copies * rows * width * wide) as u128, || "the copies of a pass".into())?;
        let texts = (0..copies).flat_map(|_| pass.batch.rows().iter().cloned()).collect();
        let pullback = Pullback::of(&self.model.decoder, self.placed, &Batch::new(texts)?, from, to, task)?;
        let weights = NodeWeights::of(self, pass, to)?;
        for targets in targets.chunks(copies) {
            parts.piece.check(parts.done)?;
            let seeds = weights.seeds(targets.iter().map(|number| self.units.unit(*number)), copies)?;
            let pulled = {
                let pullback = pullback.clone();
                task.apart(move || pullback.back(&seeds))?
            };
            for (copy, target) in targets.iter().enumerate() {
                self.note(&pulled, &deltas, copy * rows..(copy + 1) * rows, kept, *target, edges)?;
            }
            parts.done += 1;
            parts.bar.advance(targets.len() as u64);
        }
        Ok(())
    }

    /// Returns the changes of the kept features of a dictionary; none where nothing is kept.
    fn kept_of(&self, pass: &NodeChanges, level: usize, kept: &[bool]) -> Result<Option<Deltas>> {
        let wide = self.units.features(level) + 1;
        let mut features = vec![false; wide];
        let mut is_any = false;
        for number in self.units.numbers(level).filter(|number| kept[*number]) {
            features[(number - self.units.start(level)) % wide] = true;
            is_any = true;
        }
        if !is_any {
            return Ok(None);
        }
        let chosen = (0_u32..).zip(&features[..wide - 1]).filter(|(_, kept)| **kept).map(|(feature, _)| feature);
        Ok(Some(pass.deltas[level].only(&chosen.collect::<Vec<_>>())?))
    }

    /// Adds the products of the gradients of some rows to the edges from kept units to `target`.
    fn note(
        &self,
        gradients: &BTreeMap<usize, Tensor>,
        deltas: &BTreeMap<usize, Deltas>,
        rows: Range<usize>,
        kept: &[bool],
        target: usize,
        edges: &mut Edges,
    ) -> Result<()> {
        for (level, deltas) in deltas {
            // What is not in the gradients is not reached: in parallel blocks the MLP does not read attention.
            let Some(gradient) = gradients.get(level) else { continue };
            let products = deltas.products(&gradient.narrow(0, rows.start, rows.len())?)?;
            let start = self.units.start(*level);
            let wide = self.units.features(*level) + 1;
            let codes = products.codes.sum(0)?.to_vec2::<f32>()?;
            let errors = products.error.sum(0)?.to_vec1::<f32>()?;
            for (position, (codes, error)) in codes.iter().zip(&errors).enumerate() {
                let Some(row) = self.row(position) else { continue };
                let of_row = start + row * wide;
                let features = deltas.features.iter().map(|feature| *feature as usize).chain([wide - 1]);
                for (part, effect) in features.zip(codes.iter().chain([error])) {
                    if kept[of_row + part] && *effect != 0.0 {
                        *edges.effects.entry((of_row + part, target)).or_default() += f64::from(*effect);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The weights of the nodes of a dictionary when they are pulled back: the mean gradient of the metric.
struct NodeWeights {
    /// The slopes of the features that have one: `[rows, pos, features]`.
    slopes: Vec<f32>,
    features: Vec<u32>,
    /// The gradient at the activation: `[rows, pos, d]`.
    gradient: Vec<f32>,
    rows: usize,
    width: usize,
    d: usize,
    d_sae: usize,
    device: crate::tensor::Device,
}

impl NodeWeights {
    fn of(search: &SearchInputs, pass: &NodeChanges, level: usize) -> Result<Self> {
        let deltas = &pass.deltas[level];
        let gradient = &pass.gradients[level];
        let (rows, width, d) = gradient.dims3()?;
        Ok(Self {
            slopes: deltas.slopes(gradient)?.flatten_all()?.to_vec1()?,
            features: deltas.features.clone(),
            gradient: gradient.flatten_all()?.to_vec1()?,
            rows,
            width,
            d,
            d_sae: search.units.features(level),
            device: gradient.device().clone(),
        })
    }

    /// Returns the weights of one unit in each of some copies, `[copies * rows, pos, d_sae + d]`; 0 in the remaining
    /// copies.
    fn seeds(&self, units: impl Iterator<Item = Unit>, copies: usize) -> Result<Tensor> {
        let wide = self.d_sae + self.d;
        let mut seeds = vec![0.0_f32; copies * self.rows * self.width * wide];
        for (copy, unit) in units.enumerate() {
            for at in 0..self.rows * self.width {
                if unit.position.is_some_and(|position| position != at % self.width) {
                    continue;
                }
                let seed = &mut seeds[(copy * self.rows * self.width + at) * wide..][..wide];
                match unit.feature {
                    None => seed[self.d_sae..].copy_from_slice(&self.gradient[at * self.d..(at + 1) * self.d]),
                    Some(feature) => {
                        // A feature that moves nowhere in this pass has no effect here, and no edges.
                        let Ok(place) = self.features.binary_search(&(feature as u32)) else { continue };
                        seed[feature] = self.slopes[at * self.features.len() + place];
                    }
                }
            }
        }
        let shape = (copies * self.rows, self.width, wide);
        Ok(Tensor::from_vec(seeds, shape, &self.device)?.to_dtype(DType::F32)?)
    }
}
