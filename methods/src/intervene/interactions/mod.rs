//! Sets of features: the effect of ablating several together beyond the sum of the effects of each alone.
//!
//! The effect e(S) of a set on a row of text is what zero-ablating its features at all positions, the reconstruction
//! error kept, adds to the loss of the row or to a metric, or KL(clean || ablated) there. The interaction of two units
//! is e(A and B) - e(A) - e(B). Above 0 they are redundant: either alone can do what both do. Below 0 they work
//! together: without one of them the other is worth less. The control subtracts the same activations at shuffled
//! positions.

#[cfg(test)]
mod tests;

use rand::seq::SliceRandom;

use super::features::{FeatureChoice, OnFeatures};
use super::metric::OwnMeasure;
use super::rerun::Reruns;
use crate::base::Grid;
use crate::base::results::MISSING;
use crate::common::*;
use crate::model::by_words::ReferencePredictions;
use crate::model::hooks::{At, BoundHook, Edit};
use crate::sae::splice::ErrorTreatment;
use crate::sae::{Sae, site_of};
use crate::tensor::gather;

/// Measures of ablations.
#[derive(Clone, Copy)]
pub enum SetMeasure<'a> {
    /// The cross-entropy of the next token, less that of the clean run.
    Loss,
    /// KL(clean || ablated).
    Kl,
    /// A number from the logits after the last token of a row, less that of the clean run.
    Of(OwnMeasure<'a>),
}

impl SetMeasure<'_> {
    /// Returns the quantity with its unit.
    fn quantity(self) -> &'static str {
        match self {
            SetMeasure::Loss => "loss, nats",
            SetMeasure::Kl => "KL, nats",
            SetMeasure::Of(_) => "metric",
        }
    }
}

crate::options! {
    /// Interactions of features.
    pub struct InteractionOptions {
        /// Maximum number of rows of the text.
        rows: usize = 50 => at_least(2.0);
        /// Number of tokens in a row.
        context: Option<usize> = None => usually("the model's, at most 1,024");
        /// Seed of the shuffled control and of the bootstrap.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// Features that are ablated together as one: those of dictionaries, each by its number and its index there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureUnit {
    pub name: String,
    pub features: Vec<(usize, usize)>,
}

/// The mean over rows of text, and its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowMean {
    pub mean: f64,
    pub interval: Option<[f64; 2]>,
}

impl RowMean {
    fn of(values: &[f64], seed: u64) -> Self {
        let mean = |sum: f64| sum / values.len() as f64;
        let interval = bootstrap(values.len(), seed, |drawn| mean(drawn.iter().map(|at| values[*at]).sum()));
        Self { mean: mean(values.iter().sum()), interval }
    }

    fn cells(&self) -> [Cell; 3] {
        let [low, high] = Cell::ends(self.interval);
        [self.mean.into(), low, high]
    }
}

/// The interaction of two units.
#[derive(Debug, Clone, PartialEq)]
pub struct PairInteraction {
    pub units: [usize; 2],
    /// e(A and B).
    pub joint: RowMean,
    /// e(A and B) - e(A) - e(B).
    pub interaction: RowMean,
    /// The interaction with activations at shuffled positions.
    pub control: RowMean,
}

/// Units, alone and in pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Interactions {
    pub units: Vec<FeatureUnit>,
    /// The name of the quantity that effects are measured in.
    pub quantity: &'static str,
    pub alone: Vec<RowMean>,
    pub pairs: Vec<PairInteraction>,
    /// e(all) less the sum of all effects.
    pub all: RowMean,
    pub rows: usize,
}

impl Interactions {
    /// Returns a table of the pairs, those of the largest interaction in size first.
    pub fn table(&self) -> Table {
        let mut pairs: Vec<&PairInteraction> = self.pairs.iter().collect();
        order::sort_descending(&mut pairs, |pair| pair.interaction.mean.abs());
        let row = |pair: &PairInteraction| -> Vec<Cell> {
            let name = |at: usize| Cell::from(self.units[pair.units[at]].name.as_str());
            let alone = |at: usize| Cell::from(self.alone[pair.units[at]].mean);
            let kind = match pair.interaction.interval {
                Some([low, _]) if low > 0.0 => "redundant",
                Some([_, high]) if high < 0.0 => "synergistic",
                _ => "unclear",
            };
            let mut cells = vec![name(0), name(1), alone(0), alone(1), pair.joint.mean.into()];
            cells.extend(pair.interaction.cells());
            cells.extend(pair.control.cells());
            cells.push(kind.into());
            cells
        };
        Table::new(
            format!("interactions by {}, {} rows", self.quantity, self.rows),
            COLUMNS,
            pairs.into_iter().map(row),
        )
    }

    /// Returns the interaction of each two units, or that of the control; on the diagonal the effects of units alone.
    pub fn matrix(&self, of_control: bool) -> Grid {
        let count = self.units.len();
        let mut values = vec![0.0; count * count];
        for (unit, alone) in self.alone.iter().enumerate() {
            values[unit * count + unit] = if of_control { MISSING } else { alone.mean };
        }
        for PairInteraction { units: [a, b], interaction, control, .. } in &self.pairs {
            let found = if of_control { control.mean } else { interaction.mean };
            values[a * count + b] = found;
            values[b * count + a] = found;
        }
        let names: Vec<String> = self.units.iter().map(|unit| unit.name.clone()).collect();
        Grid {
            title: if of_control { "interactions at shuffled positions" } else { "interactions" }.into(),
            row_axis: "ablated".into(),
            column_axis: "ablated".into(),
            rows: names.clone(),
            columns: names,
            quantity: format!("joint effect less the single ones ({})", self.quantity),
            values,
            ..Grid::default()
        }
    }
}

const COLUMNS: [&str; 12] = [
    "a",
    "b",
    "effect_a",
    "effect_b",
    "joint",
    "interaction",
    "low",
    "high",
    "control",
    "control_low",
    "control_high",
    "kind",
];

/// The number of tokens of one evaluation, about; `LOGITS` is the largest number of logits that a metric of one's own is given.
const TOKENS: usize = 1 << 13;
const LOGITS: usize = 1 << 23;

/// Computes interactions of units on rows of text. A user's own metric gets the number of the row among all that are
/// given.
pub fn interactions(
    model: &Decoder,
    saes: &[Sae],
    units: &[FeatureUnit],
    text: &[Vec<u32>],
    measure: SetMeasure,
    options: &InteractionOptions,
    task: &Task,
) -> Result<Interactions> {
    if matches!(measure, SetMeasure::Loss) {
        model.config().expect_next_token("an interaction in the loss")?;
    }
    let count = units.len();
    if count < 2 {
        return Err(err!(Argument, "expected at least two features or groups, found {count}").about("features"));
    }
    let text: Vec<(usize, &Vec<u32>)> =
        text.iter().enumerate().filter(|(_, ids)| ids.len() > 1).take(options.rows).collect();
    if text.len() < 2 {
        return Err(err!(Argument, "expected at least two rows of two tokens, found {}", text.len()).about("text"));
    }
    let levels = levels(model, saes, units)?;
    let sets = sets(count);
    let bar = task.begin("ablating sets of features", Some(text.len() as u64));
    let mut own = Vec::new();
    let mut shuffled = Vec::new();
    for (number, ids) in &text {
        let row = AblatedRow {
            model,
            levels: &levels,
            sets: &sets,
            ids,
            measure,
            seed: options.seed.draws(),
            number: *number,
        };
        own.push(row.effects(false, task)?);
        shuffled.push(row.effects(true, task)?);
        bar.advance(1);
    }
    let seed = options.seed.draws();
    let over = |of: &dyn Fn(usize) -> f64| RowMean::of(&(0..text.len()).map(of).collect::<Vec<_>>(), seed);
    let alone: Vec<RowMean> = (0..count).map(|unit| over(&|row| own[row][unit])).collect();
    let beyond = |effects: &[Vec<f64>], set: usize, row: usize| {
        effects[row][set] - sets[set].iter().map(|unit| effects[row][*unit]).sum::<f64>()
    };
    let pair = |(set, units): (usize, &Vec<usize>)| PairInteraction {
        units: [units[0], units[1]],
        joint: over(&|row| own[row][set]),
        interaction: over(&|row| beyond(&own, set, row)),
        control: over(&|row| beyond(&shuffled, set, row)),
    };
    let pairs = sets.iter().enumerate().filter(|(set, _)| (count..sets.len() - 1).contains(set)).map(pair).collect();
    let all = over(&|row| beyond(&own, sets.len() - 1, row));
    Ok(Interactions { units: units.to_vec(), quantity: measure.quantity(), alone, pairs, all, rows: text.len() })
}

/// Returns the units alone, then in pairs, then all of them.
fn sets(count: usize) -> Vec<Vec<usize>> {
    let alone = (0..count).map(|unit| vec![unit]);
    let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| vec![a, b]));
    alone.chain(pairs).chain([(0..count).collect()]).collect()
}

/// A dictionary at its site, with the features that are ablated there and the unit of each.
struct AblatedLevel {
    sae: Sae,
    place: Place,
    features: Vec<usize>,
    units: Vec<usize>,
}

fn levels(model: &Decoder, saes: &[Sae], units: &[FeatureUnit]) -> Result<Vec<AblatedLevel>> {
    let mut levels = Vec::new();
    for (number, sae) in saes.iter().enumerate() {
        sae.check_writes_what_it_reads()?;
        let mut features = Vec::new();
        let mut of = Vec::new();
        for (unit, FeatureUnit { features: given, .. }) in units.iter().enumerate() {
            for (_, feature) in given.iter().filter(|(sae, _)| *sae == number) {
                if features.contains(feature) {
                    return Err(
                        err!(Argument, "expected each feature once, found feature {feature} twice").about("features")
                    );
                }
                features.push(*feature);
                of.push(unit);
            }
        }
        let site = site_of(sae)?;
        let place = one_site(model.config(), &site, "features are ablated at one site each")?;
        levels.push(AblatedLevel { sae: sae.clone(), place, features, units: of });
    }
    Ok(levels)
}

/// A row of text.
struct AblatedRow<'a> {
    model: &'a Decoder,
    levels: &'a [AblatedLevel],
    sets: &'a [Vec<usize>],
    ids: &'a [u32],
    measure: SetMeasure<'a>,
    seed: u64,
    number: usize,
}

/// The clean run of a row: its value, or the predictions that others are compared with.
struct CleanRow {
    value: f64,
    predictions: Option<ReferencePredictions>,
}

impl AblatedRow<'_> {
    /// Returns the effect of each set.
    fn effects(&self, is_shuffled: bool, task: &Task) -> Result<Vec<f64>> {
        let batch = Batch::new(vec![self.ids.to_vec()])?;
        let places: Vec<Place> = self.levels.iter().map(|level| level.place).collect();
        let reruns = Reruns::new(self.model, &batch, &places, task)?;
        let copies = reruns.copies(TOKENS);
        let length = self.ids.len();
        let (columns, at_once) = match self.measure {
            // A metric reads the end of the row alone.
            SetMeasure::Of(_) => {
                (length - 1..length, copies.min((LOGITS / self.model.config().outputs().max(1)).max(1)))
            }
            SetMeasure::Kl => (0..length, copies),
            // Behind the last token there is none that has a loss.
            SetMeasure::Loss => (0..length - 1, copies),
        };
        let points = |copies: usize| -> Vec<(usize, usize)> {
            (0..copies).flat_map(|copy| columns.clone().map(move |column| (copy, column))).collect()
        };
        let end = reruns.end(Vec::new(), &points(1), task)?;
        let clean = match self.measure {
            SetMeasure::Kl => CleanRow { value: 0.0, predictions: Some(self.model.reference(&end, task)?) },
            _ => CleanRow { value: self.measured(&end, None, task)?[0], predictions: None },
        };
        let mut effects = Vec::with_capacity(self.sets.len());
        for sets in self.sets.chunks(at_once) {
            task.check()?;
            let hooks = self.levels.iter().map(|level| self.hook(level, sets, is_shuffled));
            let hooks = hooks.collect::<Result<_>>()?;
            let end = reruns.end_of_copies(sets.len(), hooks, &points(sets.len()), task)?;
            let found = self.measured(&end, clean.predictions.as_ref(), task)?;
            effects.extend(found.into_iter().map(|value| value - clean.value));
        }
        Ok(effects)
    }

    /// Returns the loss of the row in each of some copies, its divergence from the clean one, or its metric, from the end of a
    /// pass at the positions of one copy after the other.
    fn measured(&self, end: &PassEnd, clean: Option<&ReferencePredictions>, task: &Task) -> Result<Vec<f64>> {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        match self.measure {
            SetMeasure::Kl => {
                let clean = clean.ok_or_else(|| err!(Bug, "a divergence from nothing"))?;
                let found = floats(&self.model.divergences_from(clean, end, task)?)?;
                Ok(found.chunks(self.ids.len()).map(mean).collect())
            }
            SetMeasure::Loss => {
                let next = &self.ids[1..];
                let targets = next.repeat(end.points()? / next.len());
                Ok(floats(&self.model.losses_of(end, &targets, task)?)?.chunks(next.len()).map(mean).collect())
            }
            SetMeasure::Of(own) => {
                let logits = self.model.logits_of(end, 0..end.points()?, task)?;
                let each = (0..end.points()?).map(|copy| Ok(mean(&floats(&own(self.number, &logits.get(copy)?)?)?)));
                each.collect()
            }
        }
    }

    /// Returns the ablations of one dictionary, a set in each copy.
    fn hook(&self, level: &AblatedLevel, sets: &[Vec<usize>], is_shuffled: bool) -> Result<BoundHook<'static>> {
        let device = level.sae.directions().device();
        let copies = sets.len();
        let count = level.features.len();
        let taken =
            sets.iter().flat_map(|set| level.units.iter().map(move |unit| f32::from(u8::from(set.contains(unit)))));
        let taken = Tensor::from_vec(taken.collect::<Vec<f32>>(), (copies, 1, count), device)?;
        let order = if is_shuffled { Some(self.order(level, copies)?) } else { None };
        let edit = CodeSubtraction { taken, order };
        let features = FeatureChoice::Only(level.features.clone());
        OnFeatures::new(level.sae.clone(), &features, ErrorTreatment::Kept, Box::new(edit))?.at(
            self.model.config(),
            &level.place.to_string(),
            None,
        )
    }

    /// Returns for each copy, position and feature the position whose activation is subtracted: an order of its own for
    /// each feature, the same in all copies.
    fn order(&self, level: &AblatedLevel, copies: usize) -> Result<Tensor> {
        let width = self.ids.len();
        let orders: Vec<Vec<u32>> = level
            .features
            .iter()
            .map(|feature| {
                let mut order: Vec<u32> = (0..width as u32).collect();
                let purpose = format!("row {} at {}", self.number, level.place);
                order.shuffle(&mut stream(self.seed, &purpose, *feature as u64));
                order
            })
            .collect();
        let one: Vec<u32> = (0..width).flat_map(|at| orders.iter().map(move |order| order[at])).collect();
        let one = Tensor::from_vec(one, (1, width, orders.len()), level.sae.directions().device())?;
        Ok(one.repeat((copies, 1, 1))?)
    }
}

/// A hook that subtracts activations, or those of other positions.
struct CodeSubtraction {
    taken: Tensor,
    order: Option<Tensor>,
}

impl Edit for CodeSubtraction {
    fn edit(&mut self, _: &At, _: Place, _: Option<&[i64]>, codes: &Tensor) -> Result<Option<Tensor>> {
        let off = match &self.order {
            Some(order) => gather::gather(codes, 1, order)?,
            None => codes.clone(),
        };
        Ok(Some((codes - off.broadcast_mul(&self.taken.to_dtype(codes.dtype())?)?)?))
    }
}
