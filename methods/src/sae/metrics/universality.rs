//! Whether two dictionaries have the same features, whatever they read: other seeds, sites, layers or models (Bricken et
//! al. 2023; Lan et al. 2024). Directions of different spaces cannot be compared, but codes on the same text can.
//!
//! Two models with different tokenizers see a text at different positions. A position of one is a position of the other
//! where both have read the same characters: where a token of either ends at the same byte of the same document.

use std::collections::HashMap;
use std::sync::Arc;

use rand::seq::SliceRandom;

use super::correlations::CodeCorrelations;
use super::directions::cosines_of;
use super::recovered::SAME;
use crate::base::bootstrap::{bootstrap, wilson};
use crate::base::random::{OF_CALL, Seed, stream};
use crate::common::*;
use crate::data::harvest::{Blocks, HarvestOptions, PositionOptions, TextReading, context};
use crate::data::{Text, pack};
use crate::sae::baselines::random;
use crate::sae::encode::SparseCodes;
use crate::sae::{Sae, site_of};
use crate::tensor::dtype;

crate::options! {
    /// Options of the comparison of two dictionaries' features.
    pub struct UniversalityOptions {
        /// Seed of the baselines and of the bootstrap.
        seed: Seed = Seed::default() => usually(OF_CALL);
        with positions: PositionOptions;
    }
}

/// A feature with the one of another dictionary whose codes correlate most with its own.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureMatch {
    pub feature: usize,
    pub other: usize,
    pub correlation: f64,
    /// The number of positions at which it is active.
    pub fired: usize,
    /// Correlation with the positions of the other dictionary shuffled.
    pub shuffled: f64,
}

/// The features of a dictionary in another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Universality {
    /// Features that are active at positions that both have, the most alike first.
    pub features: Vec<FeatureMatch>,
    /// Cosines of dictionaries that write equally wide: the largest of each of these features' directions with a
    /// direction of the other dictionary, and with one of as many random directions.
    pub cosines: Option<Vec<[f64; 2]>>,
    /// The number of positions.
    pub positions: usize,
    /// The seed of the bootstrap.
    seed: u64,
}

impl Universality {
    pub fn summary(&self) -> Table {
        let n = self.features.len();
        let mean = |what: &str, own: &[f64], chance: &[f64]| -> Vec<Cell> {
            let of = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let interval = bootstrap(n, self.seed, |drawn| drawn.iter().map(|at| own[*at]).sum::<f64>() / n as f64);
            let [low, high] = Cell::ends(interval);
            vec![what.into(), of(own).into(), low, high, of(chance).into(), n.into()]
        };
        let column = |of: fn(&FeatureMatch) -> f64| self.features.iter().map(of).collect::<Vec<f64>>();
        let own = column(|one| one.correlation);
        let chance = column(|one| one.shuffled);
        let mut rows = vec![mean("mean of the largest correlation", &own, &chance)];
        let above = |values: &[f64]| values.iter().filter(|value| **value >= SAME).count();
        let [low, high] = wilson(above(&own), n).map(Cell::from);
        let share = |values: &[f64]| Cell::from(above(values) as f64 / n as f64);
        rows.push(vec!["share of at least 0.7".into(), share(&own), low, high, share(&chance), n.into()]);
        if let Some(cosines) = &self.cosines {
            let [own, chance] = [0, 1].map(|at| cosines.iter().map(|pair| pair[at]).collect::<Vec<f64>>());
            rows.push(mean("mean of the largest cosine (MMCS)", &own, &chance));
        }
        Table::new(
            format!("features in another dictionary, at {} positions", self.positions),
            ["measure", "value", "low", "high", "by chance", "features"],
            rows,
        )
    }

    pub fn table(&self) -> Table {
        let row = |one: &FeatureMatch| -> Vec<Cell> {
            let density = one.fired as f64 / self.positions as f64;
            vec![one.feature.into(), one.other.into(), one.correlation.into(), one.shuffled.into(), density.into()]
        };
        Table::new(
            "features, and those of another dictionary that they correlate with most",
            ["feature", "other", "correlation", "by chance", "density"],
            self.features.iter().map(row),
        )
    }
}

/// Finds the features of a dictionary `a` of one model in a dictionary `b` of the same or another model, on a text that
/// both read.
pub fn universality(
    a: &Sae,
    of_a: &Model,
    b: &Sae,
    of_b: &Model,
    text: &Text,
    options: &UniversalityOptions,
    task: &Task,
) -> Result<Universality> {
    let reading = HarvestOptions::from(options.positions.clone());
    let ours = PositionCodes::of(TextReading::new(of_a, text, &reading), a, task)?;
    let theirs = PositionCodes::of(TextReading::new(of_b, text, &reading), b, task)?;
    let (at, there) = aligned(&ours.ends, &theirs.ends);
    if at.is_empty() {
        return Err(err!(
            Argument,
            "expected a text of which both models read the same characters, found no such position"
        )
        .hint("a text in which a token of either ends at the same character")
        .about("text"));
    }
    let mut found = of_codes(&ours.codes.picked(&at), &theirs.codes.picked(&there), options.seed.draws(), task)?;
    if a.d_out() == b.d_out() {
        let drawn = random(b.d_out(), b.d_sae(), None, &mut stream(options.seed.draws(), "universality", 1))?;
        let [own, chance] = [b, &drawn].map(|other| nearest(a, other, task));
        let own = own?;
        let chance = chance?;
        found.cosines = Some(found.features.iter().map(|one| [own[one.feature], chance[one.feature]]).collect());
    }
    Ok(found)
}

/// Compares features by codes of the same positions.
pub fn of_codes(a: &SparseCodes, b: &SparseCodes, seed: u64, task: &Task) -> Result<Universality> {
    let own = largest(a, b, task)?;
    let mut order: Vec<usize> = (0..b.rows()).collect();
    order.shuffle(&mut stream(seed, "universality", 0));
    let chance = largest(a, &b.picked(&order), task)?;
    let mut features: Vec<FeatureMatch> = own
        .into_iter()
        .zip(chance)
        .enumerate()
        .filter_map(|(feature, (own, chance))| {
            let own = own?;
            let chance = chance?;
            let other = own.other;
            let correlation = own.correlation;
            Some(FeatureMatch { feature, other, correlation, fired: own.fired, shuffled: chance.correlation })
        })
        .collect();
    if features.is_empty() {
        return Err(err!(Argument, "expected features that are active in the text, found none").about("a"));
    }
    order::sort_descending(&mut features, |feature| feature.correlation);
    Ok(Universality { features, cosines: None, positions: a.rows(), seed })
}

/// Computes the largest cosine of each direction with one of another dictionary.
fn nearest(a: &Sae, b: &Sae, task: &Task) -> Result<Vec<f64>> {
    let mut found = Vec::with_capacity(a.d_sae());
    cosines_of(a.directions(), b.directions(), task, |row| {
        found.push(f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max)));
    })?;
    Ok(found)
}

/// The end of a token: its document, and the byte.
type TokenEnd = (Arc<str>, u64);

/// The codes of a dictionary at the positions of a text.
struct PositionCodes {
    codes: SparseCodes,
    /// End of the token at each position; None for those that were added.
    ends: Vec<Option<TokenEnd>>,
}

impl PositionCodes {
    fn of(reading: TextReading, sae: &Sae, task: &Task) -> Result<Self> {
        let TextReading { model, text, options } = reading;
        let site = site_of(sae)?;
        let mut harvest = reading.harvest(&[&site], task)?;
        let width = harvest.widths().iter().sum();
        sae.check_fits(width, &model.name(), &site)?;
        let mut rows =
            pack::rows(text, model.text_tokenizer()?, context(model.decoder.config(), options.context)?, task)?;
        let mut codes = Vec::new();
        let mut ends = Vec::new();
        let bar = task.begin(&format!("reading {}", text.name()), text.options().tokens);
        // The row that was packed last, and its number.
        let mut packed: Option<(u32, pack::Row)> = None;
        while let Some(block) = harvest.next(task)? {
            for (number, position) in block.rows.iter().zip(&block.positions) {
                while packed.as_ref().is_none_or(|(last, _)| last < number) {
                    let next = packed.as_ref().map_or(0, |(last, _)| last + 1);
                    let row = rows.next(task)?.ok_or_else(|| err!(Bug, "a row that was harvested and not packed"))?;
                    packed = Some((next, row));
                }
                ends.push(packed.as_ref().and_then(|(_, row)| end(row, *position as usize)));
            }
            bar.advance(block.len() as u64);
            let x = block.activations.first().ok_or_else(|| err!(Bug, "a block without its site"))?;
            codes.push(sae.encode_sparse(&dtype::convert(x, sae.parts().encoder.dtype())?, task)?.finite()?);
        }
        Ok(Self { codes: SparseCodes::joined(codes, sae.d_sae()), ends })
    }
}

/// Returns the end of the token at a position of a row.
fn end(row: &pack::Row, position: usize) -> Option<TokenEnd> {
    let span = row.spans.get(position).filter(|span| !span.is_empty())?;
    let stretch = row.stretches.iter().find(|stretch| stretch.positions.contains(&position))?;
    Some((stretch.origin.clone(), span.end))
}

/// Finds the positions of two readings at which both have read the same characters. Where several tokens end together,
/// as those of one character do, it is the last.
fn aligned(a: &[Option<TokenEnd>], b: &[Option<TokenEnd>]) -> (Vec<usize>, Vec<usize>) {
    let places = |ends: &[Option<TokenEnd>]| -> HashMap<TokenEnd, usize> {
        ends.iter().enumerate().filter_map(|(at, end)| Some((end.clone()?, at))).collect()
    };
    let ours = places(a);
    let theirs = places(b);
    let mut pairs: Vec<(usize, usize)> =
        ours.into_iter().filter_map(|(end, at)| Some((at, *theirs.get(&end)?))).collect();
    pairs.sort_unstable();
    pairs.into_iter().unzip()
}

/// The feature that one correlates with most.
struct Largest {
    other: usize,
    correlation: f64,
    fired: usize,
}

/// Finds for each feature of `a` that is active the largest correlation of its codes with those of a feature of `b`,
/// row by row; None where nothing is active in either.
fn largest(a: &SparseCodes, b: &SparseCodes, task: &Task) -> Result<Vec<Option<Largest>>> {
    let found = CodeCorrelations::of(a, b, task)?;
    let best = |(feature, fired): (usize, &usize)| {
        let (other, correlation) = found.row(feature).max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Largest { other, correlation, fired: *fired })
    };
    Ok(found.fired.iter().enumerate().map(best).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sae::baselines;
    use crate::tensor::{DType, Device, Tensor, create};

    fn encoded(sae: &Sae, x: &Tensor) -> SparseCodes {
        sae.encode_sparse(x, &Task::default()).unwrap()
    }

    #[test]
    fn correlations_are_those_of_their_formula() {
        let x = create::randn(&[200, 6], DType::F32, &mut stream(1, "x", 0)).unwrap();
        let draw = |seed| baselines::random(6, 9, Some(3), &mut stream(seed, "d", 0)).unwrap();
        let a = encoded(&draw(1), &x);
        let b = encoded(&draw(2), &x);
        let found = of_codes(&a, &b, 0, &Task::default()).unwrap();
        let dense_a = a.dense().unwrap();
        let dense_b = b.dense().unwrap();
        let column =
            |t: &Tensor, at: usize| t.narrow(1, at, 1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for one in &found.features {
            let correlation = |other: usize| {
                let p = column(&dense_a, one.feature);
                let q = column(&dense_b, other);
                let mean = |v: &[f32]| v.iter().map(|x| f64::from(*x)).sum::<f64>() / v.len() as f64;
                let mp = mean(&p);
                let mq = mean(&q);
                let sum = |of: &dyn Fn(f64, f64) -> f64| {
                    p.iter().zip(&q).map(|(p, q)| of(f64::from(*p) - mp, f64::from(*q) - mq)).sum::<f64>()
                };
                sum(&|p, q| p * q) / (sum(&|p, _| p * p) * sum(&|_, q| q * q)).sqrt()
            };
            let best = (0..9).map(correlation).fold(f64::NEG_INFINITY, f64::max);
            assert!((one.correlation - best).abs() < 1e-6 && (correlation(one.other) - best).abs() < 1e-6, "{one:?}");
        }
    }

    #[test]
    fn a_dictionary_is_universal_in_itself_and_not_by_chance() {
        let x = create::randn(&[3000, 8], DType::F32, &mut stream(1, "x", 0)).unwrap();
        let sae = baselines::random(8, 30, Some(3), &mut stream(2, "d", 0)).unwrap();
        let codes = encoded(&sae, &x);
        let found = of_codes(&codes, &codes, 0, &Task::default()).unwrap();
        assert!(found.features.iter().all(|one| one.feature == one.other && (one.correlation - 1.0).abs() < 1e-9));
        assert!(found.features.iter().all(|one| one.shuffled < 0.2), "{found:?}");
        let rows = found.summary().rows;
        assert_eq!(rows[1][1], Cell::from(1.0));
        assert_eq!(rows[1][4], Cell::from(0.0));
    }

    #[test]
    fn positions_are_the_same_where_the_same_characters_are_read() {
        // "to be or": one reads "to", " be", " or", the other "t", "o be", " ", "or", and another document before it.
        let mine: Arc<str> = "text 1".into();
        let other: Arc<str> = "text 0".into();
        let ends = |document: &Arc<str>, ends: &[u64]| -> Vec<Option<TokenEnd>> {
            ends.iter().map(|end| Some((document.clone(), *end))).collect()
        };
        let a = [vec![None], ends(&mine, &[2, 5, 8])].concat();
        let b = [ends(&other, &[2, 8]), ends(&mine, &[1, 5, 6, 8, 8])].concat();
        // At 8 two tokens end, of which the last has read it all.
        assert_eq!(aligned(&a, &b), (vec![2, 3], vec![3, 6]));
        assert_eq!(aligned(&a, &a), (vec![1, 2, 3], vec![1, 2, 3]));
    }

    #[test]
    fn features_that_never_fire_are_left_out() {
        let x = Tensor::new(&[[1.0_f32, 0.0], [2.0, 0.0], [0.0, 0.0]], &Device::Cpu).unwrap();
        let codes = encoded(&baselines::neurons_relu(2, None).unwrap(), &x);
        let found = of_codes(&codes, &codes, 0, &Task::default()).unwrap();
        assert_eq!(found.features.len(), 1);
        assert_eq!((found.features[0].feature, found.features[0].fired), (0, 2));
    }
}
