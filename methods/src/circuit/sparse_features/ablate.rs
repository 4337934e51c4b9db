//! Runs in which all dictionaries are spliced in at once: ablated units have other values than their own.

use candle_core::Var;
use kernels::TapedTensor;

use super::ablated_values::AblatedValues;
use super::cases::Cases;
use super::gradients::noted;
use super::placed::{DictionaryValues, PlacedDictionary};
use super::units::Units;
use crate::model::hooks::{At, Hooks};
use crate::sae::prelude::*;

/// The kept share of each unit of one dictionary, from 0 to 1, in all rows alike or in each: `[1 or rows, 1 or pos,
/// features]` and `[1 or rows, 1 or pos, 1]`.
pub struct KeptShares {
    pub features: Tensor,
    pub error: Tensor,
}

impl KeptShares {
    /// Takes the kept shares from the numbers of all units of a dictionary, `[1 or rows, 1 or pos, features + 1]`.
    pub fn of(shares: &Tensor) -> Result<Self> {
        let features = shares.dim(2)? - 1;
        Ok(Self { features: shares.narrow(2, 0, features)?, error: shares.narrow(2, features, 1)? })
    }

    /// Extends the shares to a run of more positions: those after the last are kept as they are.
    fn of_width(&self, width: usize) -> Result<Self> {
        let long = |x: &Tensor| -> Result<Tensor> {
            let (rows, positions, wide) = x.dims3()?;
            if positions == 1 || positions >= width {
                return Ok(x.clone());
            }
            let more = Tensor::ones((rows, width - positions, wide), x.dtype(), x.device())?;
            Ok(Tensor::cat(&[x, &more], 1)?)
        };
        Ok(Self { features: long(&self.features)?, error: long(&self.error)? })
    }
}

/// A hook that splices dictionaries into a pass. The formula, with k the kept share of each unit and c, e the values of
/// the run itself:
///
///     x' = x + sum over j of (1 - k_j) (other_j - c_j) d_j + (1 - k_e) (other_e - e)
///
/// so that gradients pass through the dictionaries, and reach k.
pub struct Splices<'a> {
    placed: &'a [PlacedDictionary],
    others: Vec<DictionaryValues>,
    /// The kept shares by dictionary; none for a dictionary that is kept whole, and left out.
    keeping: Vec<Option<KeptShares>>,
    read: BTreeMap<Site, Tensor>,
}

impl Splices<'_> {
    fn changed(&self, level: usize, read: &Tensor, x: &Tensor) -> Result<Option<Tensor>> {
        let Some(keeping) = &self.keeping[level] else { return Ok(None) };
        let placed = &self.placed[level];
        let other = &self.others[level];
        let keeping = keeping.of_width(x.dim(1)?)?;
        let own = placed.values(read, x)?;
        let lost = |kept: &Tensor| -> Result<Tensor> { Ok(kept.affine(-1.0, 1.0)?) };
        let codes = other.codes.broadcast_sub(&own.codes)?.broadcast_mul(&lost(&keeping.features)?)?;
        let error = other.error.broadcast_sub(&own.error)?.broadcast_mul(&lost(&keeping.error)?)?;
        let added = placed.added(&placed.input(read)?, &codes, &error)?;
        Ok(Some((x + dtype::convert(&added, x.dtype())?)?))
    }
}

impl Hooks for Splices<'_> {
    fn wants(&self, site: Site) -> bool {
        self.placed.iter().any(|placed| [placed.reads.site, placed.writes.site].contains(&site))
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        // A dictionary that reads here what another writes reads what that leaves.
        let mut x = x.clone();
        let mut is_changed = false;
        self.read.insert(at.site, x.clone());
        for level in 0..self.placed.len() {
            if self.placed[level].writes.site != at.site {
                continue;
            }
            let read = self.read.get(&self.placed[level].reads.site);
            let read = read.ok_or_else(|| err!(Bug, "`{}` was not passed", self.placed[level].reads))?;
            if let Some(changed) = self.changed(level, read, &x)? {
                (x, is_changed) = (changed, true);
            }
        }
        Ok(is_changed.then_some(x))
    }
}

/// The metric and its derivatives by the kept share of each unit, summed over all rows of the runs.
pub struct UnitSlopes {
    pub sum: f64,
    pub signed: Vec<f64>,
    /// The sizes of the derivatives, summed over rows.
    pub sizes: Vec<f64>,
}

/// The values of all dictionaries in the corrupt runs, by pass, since they are the same in every run with units
/// ablated.
pub struct CorruptValues(Vec<Option<Vec<DictionaryValues>>>);

impl CorruptValues {
    /// The largest number of bytes of the held values; those of further passes are computed in each run.
    pub const MOST: usize = 1 << 30;

    /// Runs the corrupt prompts where ablated units have their values there.
    pub fn new(
        model: &Model,
        placed: &[PlacedDictionary],
        cases: &Cases,
        others: &AblatedValues,
        most: usize,
        task: &Task,
    ) -> Result<Self> {
        let mut held = Vec::new();
        let mut free = most;
        for part in 0..cases.parts() {
            let run = cases.portion(part, Prompt::Clean, task)?;
            let numbers: usize = placed.iter().map(|placed| placed.features() + placed.sae.d_out()).sum();
            let bytes = 4 * numbers * run.batch().rows().len() * run.batch().width();
            let is_held = matches!(others, AblatedValues::Corrupt) && bytes <= free;
            held.push(is_held.then(|| corrupt(model, placed, cases, part, task)).transpose()?);
            free -= if is_held { bytes } else { 0 };
        }
        Ok(Self(held))
    }
}

/// Returns the values of all dictionaries in the corrupt run of a pass.
fn corrupt(
    model: &Model,
    placed: &[PlacedDictionary],
    cases: &Cases,
    part: usize,
    task: &Task,
) -> Result<Vec<DictionaryValues>> {
    task.check()?;
    let run = cases.portion(part, Prompt::Corrupt, task)?;
    let found = noted(&model.decoder, placed, run.batch(), task)?;
    placed.iter().map(|placed| found.values(placed)).collect()
}

/// Runs of cases with units ablated.
pub struct AblationRuns<'a> {
    pub model: &'a Model,
    pub placed: &'a [PlacedDictionary],
    pub cases: &'a Cases<'a>,
    pub others: &'a AblatedValues,
    pub held: &'a CorruptValues,
    pub units: &'a Units,
}

impl AblationRuns<'_> {
    /// Computes the metric of the cases of one pass, `[cases]`, with gradients where the kept shares have some.
    /// `keeping` has one for each dictionary.
    pub fn pass(&self, part: usize, keeping: Vec<Option<KeptShares>>, task: &Task) -> Result<Tensor> {
        task.check()?;
        let run = self.cases.portion(part, Prompt::Clean, task)?;
        let others = self.others(part, run.batch().width(), task)?;
        let mut splices = Splices { placed: self.placed, others, keeping, read: BTreeMap::new() };
        let model = &self.model.decoder;
        run.values(model, &model.end_at(run.batch(), &run.points(), &mut splices, None, task)?, task)
    }

    /// Returns the values of ablated units in a pass with a given number of positions.
    fn others(&self, part: usize, width: usize, task: &Task) -> Result<Vec<DictionaryValues>> {
        match (self.others, self.held.0.get(part)) {
            (AblatedValues::Corrupt, Some(Some(held))) => Ok(held.clone()),
            (AblatedValues::Corrupt, _) => corrupt(self.model, self.placed, self.cases, part, task),
            (AblatedValues::Fixed(_), _) => {
                let each = self.placed.iter().enumerate();
                each.map(|(level, placed)| self.others.of(level, placed, None, width)).collect()
            }
        }
    }

    /// Returns the metric of each case with the units that are not kept ablated.
    pub fn values(&self, kept: &[bool], task: &Task) -> Result<Vec<f64>> {
        let shares: Vec<f32> = kept.iter().map(|kept| f32::from(u8::from(*kept))).collect();
        let mut found = vec![0.0; self.cases.count()];
        for part in 0..self.cases.parts() {
            let values = floats(&self.pass(part, self.keeping(&shares)?, task)?)?;
            for (number, value) in self.cases.numbers(part).iter().zip(values) {
                found[*number] = value;
            }
        }
        Ok(found)
    }

    /// Computes the sum of the metric over all cases, and its derivatives by the kept share of each unit.
    pub fn slopes(&self, shares: &[f32], task: &Task) -> Result<UnitSlopes> {
        let mut all = UnitSlopes { sum: 0.0, signed: vec![0.0; shares.len()], sizes: vec![0.0; shares.len()] };
        for part in 0..self.cases.parts() {
            let rows = self.cases.portion(part, Prompt::Clean, task)?.batch().rows().len();
            let variables = (0..self.units.levels()).map(|level| {
                let (_, positions, wide) = self.shares(level, shares)?.dims3()?;
                let in_rows = self.shares(level, shares)?.broadcast_as((rows, positions, wide))?.contiguous()?;
                Ok(Var::from_tensor(&in_rows)?)
            });
            let variables: Vec<Var> = variables.collect::<Result<_>>()?;
            let taped = TapedTensor::of_tensor(|| -> Result<Tensor> {
                let keeping = variables.iter().map(|of| KeptShares::of(of.as_tensor()).map(Some));
                Ok(self.pass(part, keeping.collect::<Result<_>>()?, task)?.sum_all()?)
            })?;
            all.sum += floats(&taped.number())?.iter().sum::<f64>();
            let found = task.apart(move || Ok(taped.backward()?))?;
            for (level, variable) in variables.iter().enumerate() {
                let Some(gradient) = found.get(variable) else { continue };
                let of = self.units.numbers(level);
                let added = |to: &mut [f64], from: Tensor| -> Result<()> {
                    to.iter_mut().zip(floats(&from)?).for_each(|(to, from)| *to += from);
                    Ok(())
                };
                added(&mut all.signed[of.clone()], gradient.sum(0)?)?;
                added(&mut all.sizes[of], gradient.abs()?.sum(0)?)?;
            }
        }
        Ok(all)
    }

    /// Returns the kept share of each unit, dictionary by dictionary; none where all is kept.
    fn keeping(&self, shares: &[f32]) -> Result<Vec<Option<KeptShares>>> {
        let of_level = |level: usize| {
            if shares[self.units.numbers(level)].iter().all(|share| *share == 1.0) {
                Ok(None)
            } else {
                KeptShares::of(&self.shares(level, shares)?).map(Some)
            }
        };
        (0..self.units.levels()).map(of_level).collect()
    }

    /// Returns the kept share of each unit of a dictionary: `[1, 1 or pos, features + 1]`.
    fn shares(&self, level: usize, shares: &[f32]) -> Result<Tensor> {
        let shape = (1, self.units.rows(), self.units.features(level) + 1);
        Ok(Tensor::from_slice(&shares[self.units.numbers(level)], shape, self.model.decoder.device())?)
    }
}
