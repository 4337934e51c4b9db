//! The indirect effect of every node on the metric: (other - own) . gradient, or the metric of a run.

use super::ablated_values::AblatedValues;
use super::cases::{Cases, Portion};
use super::deltas::{Deltas, Products};
use super::gradients::{GradientSites, WriteGradients, noted};
use super::placed::{DictionaryValues, PlacedDictionary};
use super::units::Units;
use super::{EffectMethod, SparseFeatureOptions};
use crate::intervene::rerun::Reruns;
use crate::model::hooks::{Action, BoundHook};
use crate::sae::prelude::*;

/// Number of tokens of the copies of a batch in which one node each is moved.
const TOKENS: usize = 1 << 11;

/// The constants of a search.
pub struct SearchInputs<'a> {
    pub model: &'a Model,
    pub placed: &'a [PlacedDictionary],
    pub cases: &'a Cases<'a>,
    pub others: &'a AblatedValues,
    pub units: &'a Units,
    pub options: &'a SparseFeatureOptions,
}

/// Changes of the nodes of one pass, with the gradients that edges are made of.
pub struct NodeChanges {
    pub part: usize,
    pub batch: Batch,
    /// The changes by dictionary.
    pub deltas: Vec<Deltas>,
    /// The gradient that effects are products with, by dictionary; none for exact ones.
    pub gradients: Vec<Tensor>,
}

/// The effects of all units.
pub struct UnitEffects {
    /// The mean over cases, unit by unit.
    pub effects: Vec<f64>,
    /// The mean activation of each unit; of an error its mean length.
    pub activity: Vec<f64>,
    /// The mean of the metric without a change.
    pub metric: f64,
    pub passes: Vec<NodeChanges>,
    /// The divisor of sums over the cases of these passes.
    pub weight: f64,
    /// Whether all cases were read, and no interruption ended the work.
    pub is_whole: bool,
}

/// Sums over cases and positions.
struct CaseSums {
    effects: Vec<f64>,
    activity: Vec<f64>,
    /// The number of positions that activations were read at, by row of units.
    read: Vec<f64>,
    metric: f64,
}

impl CaseSums {
    fn of(count: usize, rows: usize) -> Self {
        Self { effects: vec![0.0; count], activity: vec![0.0; count], read: vec![0.0; rows], metric: 0.0 }
    }
}

impl SearchInputs<'_> {
    /// Computes the effects of all units. An interruption after the first pass ends the work with those of the passes
    /// so far.
    pub fn effects(&self, task: &Task) -> Result<UnitEffects> {
        let count = self.units.count();
        memory::check(24 * count as u128, || "the effects of all nodes".into())?;
        let CaseSums { mut effects, mut activity, mut read, mut metric } = CaseSums::of(count, self.units.rows());
        let mut weight = 0.0;
        let mut passes = Vec::new();
        let mut is_whole = true;
        let bar = task.begin("effects of features", Some(self.cases.count() as u64));
        let piece = task.piece();
        for part in 0..self.cases.parts() {
            let mut sums = CaseSums::of(count, self.units.rows());
            match piece.check(part as u64).and_then(|()| self.pass(part, &mut sums, task)) {
                Err(error) if error.kind == Kind::Interrupted && part > 0 => {
                    piece.answer(part as u64);
                    is_whole = false;
                    break;
                }
                found => passes.push(found?),
            }
            let joined = |to: &mut [f64], from: &[f64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            joined(&mut effects, &sums.effects);
            joined(&mut activity, &sums.activity);
            joined(&mut read, &sums.read);
            metric += sums.metric;
            weight += self.cases.weight(part);
            bar.advance(self.cases.numbers(part).len() as u64);
        }
        let scale = self.cases.scale() / weight;
        effects.iter_mut().for_each(|effect| *effect *= scale);
        if let Some(number) = effects.iter().position(|effect| !effect.is_finite()) {
            let place = self.units.unit(number).level;
            let site = self.placed[place].name();
            let found = effects[number];
            return Err(err!(Numeric, "expected finite effects, found {found} at `{site}`")
                .hint("NaN or infinity in the model's weights or activations has this effect"));
        }
        let activity = self.means(activity, &read);
        Ok(UnitEffects { effects, activity, metric: metric / weight, passes, weight, is_whole })
    }

    /// Computes the mean activation of each unit alone.
    pub fn activity(&self, task: &Task) -> Result<Vec<f64>> {
        let count = self.units.count();
        let mut sums = CaseSums::of(count, self.units.rows());
        for part in 0..self.cases.parts() {
            task.check()?;
            let run = self.cases.portion(part, Prompt::Clean, task)?;
            let noted = noted(&self.model.decoder, self.placed, run.batch(), task)?;
            for (level, placed) in self.placed.iter().enumerate() {
                self.add_activity(&mut sums, level, &noted.values(placed)?, &run)?;
            }
        }
        Ok(self.means(sums.activity, &sums.read))
    }

    fn means(&self, mut activity: Vec<f64>, read: &[f64]) -> Vec<f64> {
        for (number, sum) in activity.iter_mut().enumerate() {
            let row = self.units.unit(number).position.unwrap_or(0);
            *sum /= read[row].max(1.0);
        }
        activity
    }

    fn pass(&self, part: usize, sums: &mut CaseSums, task: &Task) -> Result<NodeChanges> {
        let model = self.model.decoder.as_ref();
        let run = self.cases.portion(part, Prompt::Clean, task)?;
        let rows = run.batch().rows().len();
        let width = run.batch().width();
        let numbers: usize = self.placed.iter().map(|placed| 3 * placed.features() + 6 * placed.sae.d_out()).sum();
        memory::check(4 * (rows * width * numbers) as u128, || "the codes of a pass".into())?;
        let from = match self.others {
            AblatedValues::Corrupt => {
                let corrupt = self.cases.portion(part, Prompt::Corrupt, task)?;
                Some(noted(model, self.placed, corrupt.batch(), task)?)
            }
            AblatedValues::Fixed(_) => None,
        };
        let all = 0..self.placed.len();
        let is_exact = self.options.method == EffectMethod::Exact;
        let tapped = if self.options.needs_gradient() { all.clone() } else { 0..0 };
        let (values, noted, mut gradients) = if tapped.is_empty() {
            let noted = noted(model, self.placed, run.batch(), task)?;
            (self.unchanged(&run, task)?, noted, Vec::new())
        } else {
            let tapping = GradientSites { tapped, cuts: false, moved: None };
            let WriteGradients { values, noted, gradients } =
                WriteGradients::of(model, self.placed, &run, tapping, task)?;
            (values, noted, gradients.into_values().collect())
        };
        sums.metric = self.reported_sum(part, &values);
        let mut deltas = Vec::new();
        for (level, placed) in self.placed.iter().enumerate() {
            task.check()?;
            let own = noted.values(placed)?;
            let other = self.others.of(level, placed, from.as_ref(), width)?;
            let moving = Deltas::new(placed, noted.read(placed)?, &own, &other)?;
            self.add_activity(sums, level, &own, &run)?;
            if is_exact {
                self.exact(&run, level, &moving, &values, sums, task)?;
            } else {
                if self.options.method == EffectMethod::Integrated {
                    gradients[level] = self.along(&run, level, &moving, &gradients[level], task)?;
                }
                self.add(&mut sums.effects, level, &moving.features, &moving.products(&gradients[level])?)?;
            }
            deltas.push(moving);
        }
        Ok(NodeChanges { part, batch: run.batch().clone(), deltas, gradients })
    }

    /// Returns the metric of each case without a change.
    fn unchanged(&self, run: &Portion, task: &Task) -> Result<Vec<f64>> {
        let points = run.points();
        let reruns = Reruns::new(&self.model.decoder, run.batch(), &[self.placed[0].writes], task)?;
        floats(&run.values(&self.model.decoder, &reruns.end(Vec::new(), &points, task)?, task)?)
    }

    /// Sums the metric over cases, as it is reported.
    fn reported_sum(&self, part: usize, values: &[f64]) -> f64 {
        self.cases.numbers(part).iter().zip(values).map(|(number, value)| self.cases.reported(*number, *value)).sum()
    }

    /// Averages the gradient at `steps` points on the way, activations and error moved together. `once` is that of the
    /// first.
    fn along(&self, run: &Portion, level: usize, moving: &Deltas, once: &Tensor, task: &Task) -> Result<Tensor> {
        let steps = self.options.steps;
        let way = moving.way()?;
        let mut sum = once.clone();
        for step in 1..steps {
            let moved = (&way * (step as f64 / steps as f64))?;
            let tapping = GradientSites { tapped: level..level + 1, cuts: false, moved: Some((level, &moved)) };
            let mut slopes = WriteGradients::of(&self.model.decoder, self.placed, run, tapping, task)?;
            let more = slopes.gradients.remove(&level).ok_or_else(|| err!(Bug, "a pass without its gradient"))?;
            sum = (sum + more)?;
        }
        Ok((sum / steps as f64)?)
    }

    /// Computes the change of the metric where each unit is moved alone, in copies of the batch.
    fn exact(
        &self,
        run: &Portion,
        level: usize,
        moving: &Deltas,
        values: &[f64],
        sums: &mut CaseSums,
        task: &Task,
    ) -> Result<()> {
        let placed = &self.placed[level];
        let reruns = Reruns::new(&self.model.decoder, run.batch(), &[placed.writes], task)?;
        let rows: Vec<Option<usize>> = match self.units.positions() {
            None => vec![None],
            Some(positions) => (0..positions).map(Some).collect(),
        };
        let parts = (0..moving.features.len()).map(Some).chain([None]);
        let all: Vec<_> = parts.flat_map(|part| rows.iter().map(move |row| (part, *row))).collect();
        let points = run.points();
        let texts = run.batch().rows().len();
        let before: f64 = values.iter().sum();
        for some in all.chunks(reruns.copies(TOKENS)) {
            task.check()?;
            let ways = some.iter().map(|(part, row)| moving.way_of(*part, *row)).collect::<Result<Vec<_>>>()?;
            let vector = Tensor::cat(&ways, 0)?.to_dtype(self.model.decoder.dtype())?;
            let action = Action::Add { vector, scale: 1.0 };
            let site = placed.writes.to_string();
            let hook = BoundHook::new(self.model.decoder.config(), &site, None, None, Box::new(action.begin()))?;
            let of_copy = |copy: usize| points.iter().map(move |(row, column)| (copy * texts + row, *column));
            let wanted: Vec<(usize, usize)> = (0..some.len()).flat_map(of_copy).collect();
            let end = reruns.end_of_copies(some.len(), vec![hook], &wanted, task)?;
            let found = run.values_of_copies(&self.model.decoder, &end, some.len(), task)?;
            for ((part, row), found) in some.iter().zip(found) {
                let feature = part.map_or(placed.features(), |part| moving.features[part] as usize);
                let wide = placed.features() + 1;
                let number = self.units.start(level) + row.unwrap_or(0) * wide + feature;
                sums.effects[number] += found.iter().sum::<f64>() - before;
            }
        }
        Ok(())
    }

    /// Adds products of one dictionary to the sums of its units.
    pub fn add(&self, sums: &mut [f64], level: usize, features: &[u32], products: &Products) -> Result<()> {
        let start = self.units.start(level);
        let wide = self.units.features(level) + 1;
        let codes = products.codes.sum(0)?.to_vec2::<f32>()?;
        let errors = products.error.sum(0)?.to_vec1::<f32>()?;
        for (position, (codes, error)) in codes.iter().zip(errors).enumerate() {
            let Some(row) = self.row(position) else { continue };
            let of_row = &mut sums[start + row * wide..start + (row + 1) * wide];
            features.iter().zip(codes).for_each(|(feature, x)| of_row[*feature as usize] += f64::from(*x));
            of_row[wide - 1] += f64::from(error);
        }
        Ok(())
    }

    /// Returns the row of units of a position; none after the prompts.
    pub fn row(&self, position: usize) -> Option<usize> {
        match self.units.positions() {
            None => Some(0),
            Some(positions) => (position < positions).then_some(position),
        }
    }

    /// Adds activations, and lengths of errors, at the positions of texts.
    fn add_activity(&self, sums: &mut CaseSums, level: usize, own: &DictionaryValues, run: &Portion) -> Result<()> {
        let start = self.units.start(level);
        let wide = self.units.features(level) + 1;
        let codes = own.codes.to_vec3::<f32>()?;
        let lengths = own.error.sqr()?.sum(2)?.sqrt()?.to_vec2::<f32>()?;
        for (text, length) in run.batch().lengths().into_iter().enumerate() {
            for position in 0..length {
                let Some(row) = self.row(position) else { continue };
                if level == 0 {
                    sums.read[row] += 1.0;
                }
                let of_row = &mut sums.activity[start + row * wide..start + (row + 1) * wide];
                of_row.iter_mut().zip(&codes[text][position]).for_each(|(sum, code)| *sum += f64::from(*code));
                of_row[wide - 1] += f64::from(lengths[text][position]);
            }
        }
        Ok(())
    }
}
