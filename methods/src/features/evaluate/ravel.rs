//! Cause and isolation on the facts of the labelled language, after RAVEL (Huang et al. 2024; SAEBench, Karvonen et al.
//! 2025): whether there are features that carry one attribute of an entity and no other.
//!
//! A pair of prompts asks for one attribute of two entities. Features of the attribute take their activations at the
//! entity's tokens from the other prompt: x' = x + sum over the features of (c' - c) d_f. The cause is the share of
//! pairs of that attribute whose answer becomes the other entity's, and the isolation the share of pairs of the
//! entities' other attributes whose answer stays. RAVEL learns a mask of features; here they are those with the largest
//! estimated effect on the attribute less that on the others (gradient times difference of activations), on half of the
//! pairs. Pairs that the model does not answer right in both prompts are left out.

use super::ablated::written;
use super::reading::{DictionaryCodes, EvaluationReading};
use crate::common::*;
use crate::data::pairs::PairOptions;
use crate::data::pairs::tokens::{PairTokenOptions, Prompt, TokenPair, token_pairs};
use crate::intervene::metric::{Measure, MetricPlan, values};
use crate::model::hooks::{At, BoundHook, Chain, Edit};

/// The attributes of one kind of entity.
const GROUPS: [&[&str]; 3] = [&["trade", "home", "friend"], &["capital", "language"], &["country", "river"]];

/// Numbers of features that take their activations from the other entity.
pub const PATCHED: [usize; 4] = [5, 20, 100, 500];

/// The number of pairs that an attribute needs to choose features on, and as many to judge them on.
const FEWEST: usize = 5;

/// Cause and isolation of one attribute.
#[derive(Debug, Clone)]
pub struct Attribute {
    pub name: &'static str,
    /// The numbers of judged pairs: of the attribute, and of the entities' other attributes.
    pub pairs: [usize; 2],
    /// Cause and isolation by the number of features; `random` has those of random directions.
    pub own: Vec<[f64; 2]>,
    pub random: Vec<[f64; 2]>,
    /// Cause and isolation where the whole activation is patched.
    pub whole: [f64; 2],
}

/// A pair with the activations of both of its prompts at the entity's tokens.
struct Facts {
    pair: TokenPair,
    /// The entity's tokens, at the same positions of both prompts.
    positions: Vec<usize>,
    /// The activations `[positions, d]` of the clean prompt; `other` has those of the other one, and `slopes` the
    /// gradient of the logit difference.
    clean: Tensor,
    other: Tensor,
    slopes: Vec<f64>,
}

/// A hook that adds numbers to an activation.
struct ActivationShift(Tensor);

impl Edit for ActivationShift {
    fn edit(&mut self, _at: &At, _place: Place, _positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let added = dtype::convert(&self.0, x.dtype())?.reshape(x.shape())?;
        Ok(Some((x + added)?))
    }
}

/// Measures the attributes that the model knows of enough entities; none for another text than the labelled language's.
pub fn of_attributes(
    reading: &EvaluationReading,
    model: &Model,
    n: usize,
    seed: i64,
    task: &Task,
) -> Result<Vec<Attribute>> {
    if n == 0 || reading.tokens.text.label("fact").is_none() {
        return Ok(Vec::new());
    }
    let known = known(reading, model, n, seed, task)?;
    let mut found = Vec::new();
    for group in GROUPS {
        for name in group {
            let others: Vec<&str> =
                group.iter().copied().filter(|other| other != name && known.contains_key(other)).collect();
            if !known.contains_key(name) || others.is_empty() {
                continue;
            }
            let [chosen_on, judged_on] = [0, 1].map(|half| half_of(&known[name], half));
            let of_others = |half| others.iter().map(|other| half_of(&known[other], half)).collect::<Vec<_>>().concat();
            let chosen_apart = of_others(0);
            let judged_apart = of_others(1);
            let judge = |change: &dyn Fn(&Facts) -> Result<Tensor>| -> Result<[f64; 2]> {
                let cause = flipped(reading, model, &judged_on, change, task)?;
                Ok([cause, 1.0 - flipped(reading, model, &judged_apart, change, task)?])
            };
            let of_dictionary = |coded: &DictionaryCodes| -> Result<Vec<[f64; 2]>> {
                let ranked = ranked(coded, &chosen_on, &chosen_apart)?;
                let of_number = |n: &usize| judge(&|facts| change(coded, facts, &ranked[..(*n).min(ranked.len())]));
                PATCHED.iter().map(of_number).collect()
            };
            found.push(Attribute {
                name,
                pairs: [judged_on.len(), judged_apart.len()],
                own: of_dictionary(&reading.own)?,
                random: of_dictionary(&reading.random)?,
                whole: judge(&|facts| Ok((&facts.other - &facts.clean)?))?,
            });
        }
    }
    Ok(found)
}

/// Returns every second of some pairs.
fn half_of(all: &[Facts], half: usize) -> Vec<&Facts> {
    all.iter().skip(half).step_by(2).collect()
}

/// Returns the pairs that the model answers right in both prompts, by their attribute: attributes with enough of them.
fn known(
    reading: &EvaluationReading,
    model: &Model,
    n: usize,
    seed: i64,
    task: &Task,
) -> Result<BTreeMap<&'static str, Vec<Facts>>> {
    let options = PairOptions { n: n.saturating_mul(4), seed, ..PairOptions::default() };
    let drawn = token_pairs("facts", &options, &PairTokenOptions::default(), model.text_tokenizer()?, task)?;
    let all: Vec<TokenPair> = drawn.iter().map(|(_, tokens)| tokens.clone()).collect();
    let decoder = model.decoder.as_ref();
    let said = |which| floats(&values(Measure::LogitDiff, decoder, decoder, &all, which, Vec::new(), task)?);
    let clean = said(Prompt::Clean)?;
    let corrupt = said(Prompt::Corrupt)?;
    let bar = task.begin("facts", Some(all.len() as u64));
    let mut found: BTreeMap<&'static str, Vec<Facts>> = BTreeMap::new();
    for ((pair, tokens), (clean, corrupt)) in drawn.into_iter().zip(clean.into_iter().zip(corrupt)) {
        task.check()?;
        bar.advance(1);
        let of_kind = found.entry(pair.kind).or_default();
        if let Some(positions) = tokens.spans.get("changed").cloned()
            && of_kind.len() < n
            && clean > 0.0
            && corrupt < 0.0
        {
            of_kind.push(Facts::of(reading.tokens.place, model, tokens, positions, task)?);
        }
    }
    found.retain(|_, pairs| pairs.len() >= 2 * FEWEST);
    Ok(found)
}

impl Facts {
    fn of(place: Place, model: &Model, pair: TokenPair, positions: Vec<usize>, task: &Task) -> Result<Self> {
        let wanted: Vec<u32> = positions.iter().map(|position| *position as u32).collect();
        let wanted = Tensor::new(wanted, &Device::Cpu)?;
        let at_entity = |x: &Tensor| -> Result<Tensor> {
            let x = x.get(0)?.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.contiguous()?;
            let length = x.dim(0)?;
            Ok(x.reshape((length, ()))?.index_select(&wanted, 0)?)
        };
        let read = |ids: &Vec<u32>| -> Result<Tensor> {
            let ask = Ask { places: vec![place], ..Ask::default() };
            at_entity(&model.decoder.cache(&Batch::new(vec![ids.clone()])?, ask, task)?.at(place)?)
        };
        let clean = read(&pair.clean)?;
        let other = read(&pair.corrupt)?;
        let one = std::slice::from_ref(&pair);
        let plan = MetricPlan::new(Measure::LogitDiff, &model.decoder, one, Prompt::Clean, &[0], task)?;
        let mut metric = |end: &PassEnd| Ok(plan.values(&model.decoder, end, task)?.sum_all()?);
        let points = plan.points();
        let found = model.decoder.grads_of_end(plan.batch(), Vec::new(), &[place], points, &mut metric, task)?;
        // Answers of several tokens are texts of their own, which all have the entity.
        let slopes = found.cache.at(place)?;
        let mut sum = vec![0.0; clean.elem_count()];
        for row in 0..slopes.dim(0)? {
            let of_row = floats(&at_entity(&slopes.narrow(0, row, 1)?)?)?;
            sum.iter_mut().zip(of_row).for_each(|(sum, slope)| *sum += slope);
        }
        Ok(Self { pair, positions, clean, other, slopes: sum })
    }
}

/// Returns (c' - c) of every feature at each of the entity's tokens, `[positions, features]`.
fn difference(coded: &DictionaryCodes, facts: &Facts) -> Result<Tensor> {
    let read = |x: &Tensor| coded.sae.encode(&dtype::convert(x, coded.sae.parts().encoder.dtype())?);
    Ok((read(&facts.other)? - read(&facts.clean)?)?)
}

/// Returns what features write in the other prompt less what they write in the clean one, `[positions, d]`.
fn change(coded: &DictionaryCodes, facts: &Facts, features: &[u32]) -> Result<Tensor> {
    if features.is_empty() {
        return Ok(facts.clean.zeros_like()?);
    }
    let features = Tensor::new(features, &Device::Cpu)?;
    let part = difference(coded, facts)?.contiguous()?.index_select(&features, 1)?;
    coded.sae.writes(&dtype::convert(&facts.clean, coded.sae.parts().encoder.dtype())?, &features, &part)
}

/// Ranks the features by their estimated effect on the attribute, the loss of the right answer, less the mean size of
/// that on the others; those above 0.
fn ranked(coded: &DictionaryCodes, of_it: &[&Facts], of_others: &[&Facts]) -> Result<Vec<u32>> {
    let directions = written(coded)?.to_dtype(DType::F64)?.t()?.contiguous()?;
    let mean = |all: &[&Facts]| -> Result<Vec<f64>> {
        let mut sums = vec![0.0; coded.sae.d_sae()];
        for facts in all {
            let slopes = Tensor::from_slice(&facts.slopes, facts.clean.shape(), &Device::Cpu)?;
            let along = slopes.matmul(&directions)?;
            let effects = (dtype::convert(&difference(coded, facts)?, DType::F64)? * along)?.sum(0)?;
            let effects = floats(&effects)?;
            sums.iter_mut().zip(effects).for_each(|(sum, effect)| *sum += effect / all.len() as f64);
        }
        Ok(sums)
    };
    let own = mean(of_it)?;
    let others = mean(of_others)?;
    let score: Vec<f64> = own.iter().zip(&others).map(|(own, other)| -own - other.abs()).collect();
    let mut ranked: Vec<u32> =
        (0..).zip(&score).filter(|(_, score)| **score > 0.0).map(|(feature, _)| feature).collect();
    order::sort_descending(&mut ranked, |feature| score[*feature as usize]);
    Ok(ranked)
}

/// Returns the share of pairs whose answer becomes the other one's where the entity's tokens are changed.
fn flipped(
    reading: &EvaluationReading,
    model: &Model,
    all: &[&Facts],
    change: &dyn Fn(&Facts) -> Result<Tensor>,
    task: &Task,
) -> Result<f64> {
    let config = model.decoder.config();
    let site = reading.tokens.place.to_string();
    let pairs: Vec<TokenPair> = all.iter().map(|facts| facts.pair.clone()).collect();
    let numbers: Vec<usize> = (0..pairs.len()).collect();
    let plan = MetricPlan::new(Measure::LogitDiff, &model.decoder, &pairs, Prompt::Clean, &numbers, task)?;
    let rows = plan.batch().rows().len();
    let columns = plan.batch().width();
    let d = reading.own.sae.d_out();
    let mut added = vec![0.0_f64; rows * columns * d];
    let changes = all.iter().map(|facts| floats(&change(facts)?)).collect::<Result<Vec<_>>>()?;
    for (row, pair) in plan.pair_of().iter().enumerate() {
        for (position, change) in all[*pair].positions.iter().zip(changes[*pair].chunks(d)) {
            let start = (row * columns + position) * d;
            added[start..start + d].copy_from_slice(change);
        }
    }
    let added = Tensor::from_vec(added, (rows, columns, d), &Device::Cpu)?;
    let hook = BoundHook::new(config, &site, None, None, Box::new(ActivationShift(added)))?;
    let found = floats(&plan.run(&model.decoder, &mut Chain { hooks: vec![hook], ..Chain::default() }, task)?)?;
    Ok(found.iter().filter(|value| **value < 0.0).count() as f64 / found.len() as f64)
}

/// Returns a table with a row for each attribute.
pub fn table(found: &[Attribute]) -> Table {
    let named =
        |whose: &str| PATCHED.map(|n| [format!("{whose}cause, {n}"), format!("{whose}isolation, {n}")]).concat();
    let columns = ["attribute", "pairs", "of others", "cause, all", "isolation, all"].map(String::from).into_iter();
    let row = |one: &Attribute| {
        let [own, others] = one.pairs;
        let first: [Cell; 5] = [one.name.into(), own.into(), others.into(), one.whole[0].into(), one.whole[1].into()];
        first.into_iter().chain(one.own.iter().chain(&one.random).flatten().map(|value| Cell::Float(*value))).collect()
    };
    Table::new(
        "cause and isolation of attributes by the number of features",
        columns.chain(named("")).chain(named("random, ")),
        found.iter().map(row),
    )
}
