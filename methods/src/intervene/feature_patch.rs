//! Feature patching: the number of features of a dictionary that carry the difference between two prompts (Cunningham
//! et al. 2023, figure 5).
//!
//! At a site of the clean run, x becomes x' = x + sum over j in F of (c'_j - c_j) d_j at all positions, with the
//! feature activations c of the clean run and c' of the corrupt one; the dictionary's error stays. The measure is
//! KL(patched || corrupt) at the last position, the mean over pairs, and the edit size is the mean of |x' - x| over
//! pairs and positions. The paper's search starts with every feature in F. For each threshold, ascending, it visits the
//! features of F in random order and drops one if that raises the KL by less than the threshold.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::rerun::Reruns;
use crate::common::*;
use crate::data::harvest::width;
use crate::model::by_words::ReferencePredictions;
use crate::model::gradient_rules::{GradientOptions, GradientRules};
use crate::model::hooks::{At, BoundHook, Edit};
use crate::options::OptionGroup;
use crate::sae::splice::heads_joined;
use crate::sae::{Sae, SiteOptions};

crate::choices! {
    /// Orders in which features are tried.
    pub enum PatchOrder {
        /// The search of the paper, at thresholds on the KL.
        Paper = "paper",
        /// The order of a gradient, the features that matter most first.
        Attribution = "attribution",
    }
}

crate::options! {
    /// Options of feature patching.
    pub struct FeaturePatchOptions {
        /// The order: the search of the paper, or a gradient, which is faster and finds other sets.
        order: PatchOrder = PatchOrder::Paper;
        /// Thresholds on the KL, ascending, for the paper's order.
        thresholds: Option<Vec<f64>> = None => usually("50 from 1e-5 to 1, on a logarithmic scale").at_least(0.0);
        /// Seed of the order in which features are visited.
        seed: Seed = Seed::default() => usually(OF_CALL);
        with rules: GradientOptions => only("order", &["attribution"]);
        with reads: SiteOptions;
    }
}

/// Two texts of the same length: the one that is patched, and the one whose features it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchPair {
    pub clean: Vec<u32>,
    pub corrupt: Vec<u32>,
}

/// A set of patched features.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchedSet {
    /// The threshold of the search; none for the ends, and where features are in the order of a gradient.
    pub threshold: Option<f64>,
    /// The number of patched features.
    pub count: usize,
    /// The patched features whose activations differ between the texts of some pair; the others change nothing.
    pub features: Vec<usize>,
    /// KL(patched || corrupt) at the last position, in nats, the mean over pairs.
    pub kl: f64,
    /// Mean of |x' - x| over pairs and positions.
    pub edit: f64,
}

/// The largest number of logits of one evaluation where they are whole, but for those of one copy of all pairs.
const LOGITS: usize = 1 << 23;

/// Largest number of logits of one gradient, but for those of one pair: numbers of f64 on the tape.
const GRADIENT_LOGITS: usize = 1 << 21;

/// The number of tokens of one evaluation, about.
const TOKENS: usize = 1 << 13;

/// Returns the thresholds of the paper.
fn paper_thresholds() -> Vec<f64> {
    (0..50).map(|i| 10.0_f64.powf(-5.0 + 5.0 * f64::from(i) / 49.0)).collect()
}

/// Finds the sets of features, from all of them to none.
pub fn feature_patch(
    model: &Decoder,
    sae: &Sae,
    pairs: &[PatchPair],
    options: &FeaturePatchOptions,
    task: &Task,
) -> Result<Vec<PatchedSet>> {
    sae.check_writes_what_it_reads().map_err(|e| e.about("dictionaries"))?;
    let place = one_site(model.config(), &options.reads.of(sae)?, "feature patching is at one site")?;
    options.refuse_others()?;
    let runs = PatchRuns::new(model, sae, place, pairs, task)?;
    match options.order {
        PatchOrder::Paper => {
            let thresholds = options.thresholds.clone().unwrap_or_else(paper_thresholds);
            if thresholds.windows(2).any(|two| two[0] >= two[1]) {
                return Err(err!(Argument, "expected ascending thresholds, found others").about("thresholds"));
            }
            search(&runs, &thresholds, &mut stream(options.seed.draws(), "feature patching", 0), task)
        }
        PatchOrder::Attribution => by_attribution(&runs, pairs, options.rules.gradients, task),
    }
}

/// The pairs at the site, and the change that each feature would make.
struct PatchRuns<'a> {
    model: &'a Decoder,
    sae: &'a Sae,
    place: Place,
    reruns: Reruns<'a>,
    /// Rows and columns of the last tokens, after which runs are compared.
    points: Vec<(usize, usize)>,
    /// The activation of the clean texts, as it is and as `[pairs, pos, d]` in f32.
    clean: Tensor,
    /// Predictions of the corrupt run after the last tokens.
    target: ReferencePredictions,
    /// The features whose activations differ somewhere.
    features: Vec<u32>,
    /// The differences c' - c of `features`, `[features, pairs, pos]`; 0 after the end of a text.
    differences: Tensor,
    /// The number of tokens of all clean texts.
    tokens: usize,
}

impl<'a> PatchRuns<'a> {
    fn new(model: &'a Decoder, sae: &'a Sae, place: Place, pairs: &[PatchPair], task: &Task) -> Result<Self> {
        if let Some(number) = pairs.iter().position(|pair| pair.clean.len() != pair.corrupt.len()) {
            let PatchPair { clean, corrupt } = &pairs[number];
            return Err(err!(
                Argument,
                "expected texts of the same length, found {} and {} tokens in pair {number}",
                clean.len(),
                corrupt.len()
            )
            .hint("all positions are patched: choose pairs whose texts have as many tokens")
            .about("pairs"));
        }
        sae.check_width(width(model.config(), place)?, &"this model", &place.to_string())
            .map_err(|e| e.about("dictionaries"))?;
        let batch = |of: fn(&PatchPair) -> &Vec<u32>| Batch::new(pairs.iter().map(|pair| of(pair).clone()).collect());
        let clean = batch(|pair| &pair.clean).map_err(|e| e.about("pairs"))?;
        let corrupt = batch(|pair| &pair.corrupt)?;
        let at = |batch: &Batch| -> Result<Tensor> {
            model.cache(batch, Ask { places: vec![place], ..Ask::default() }, task)?.at(place)
        };
        let readable = |x: &Tensor| dtype::convert(&heads_joined(x, sae.d_in())?, sae.parts().encoder.dtype());
        let x = at(&clean)?;
        let other = at(&corrupt)?;
        let joined = readable(&x)?;
        let codes = (pairs.len() * clean.width() * sae.d_sae()) as u128;
        memory::check(12 * codes, || "the codes of all pairs".into())?;
        let changed = (sae.encode(&readable(&other)?)? - sae.encode(&joined)?)?;
        let real: Vec<f32> = clean
            .lengths()
            .iter()
            .flat_map(|length| (0..clean.width()).map(move |column| f32::from(u8::from(column < *length))))
            .collect();
        let real = Tensor::from_vec(real, (pairs.len(), clean.width(), 1), changed.device())?;
        let changed = changed.to_dtype(DType::F32)?.broadcast_mul(&real)?;
        let by_feature = changed.permute((2, 0, 1))?.contiguous()?;
        let sizes = floats(&by_feature.abs()?.flatten_from(1)?.sum(1)?)?;
        let features: Vec<u32> = (0..).zip(&sizes).filter(|(_, size)| **size > 0.0).map(|(f, _)| f).collect();
        let chosen = Tensor::new(features.as_slice(), by_feature.device())?;
        let differences =
            if features.is_empty() { by_feature.narrow(0, 0, 0)? } else { by_feature.index_select(&chosen, 0)? };
        let points = clean.last_points();
        let (_, end) = model.run_to_end(&corrupt, Ask::default(), &points, task)?;
        Ok(Self {
            model,
            sae,
            place,
            reruns: Reruns::new(model, &clean, &[place], task)?,
            points,
            clean: x,
            target: model.reference(&end, task)?,
            features,
            differences,
            tokens: clean.lengths().iter().sum(),
        })
    }

    /// Returns the largest number of sets that are evaluated at once.
    fn most(&self) -> usize {
        let logits = self.points.len() * self.model.config().outputs();
        let by_logits = if self.model.reads_in_words() { usize::MAX } else { (LOGITS / logits.max(1)).max(1) };
        self.reruns.copies(TOKENS).min(by_logits)
    }

    /// Returns what patching features adds to the site: `[pairs, pos, d]`. Features are given by their places in
    /// `features`.
    fn change(&self, places: &[usize]) -> Result<Tensor> {
        let joined = heads_joined(&self.clean, self.sae.d_in())?;
        if places.is_empty() {
            return Ok(joined.to_dtype(DType::F32)?.zeros_like()?);
        }
        let rows: Vec<u32> = places.iter().map(|place| *place as u32).collect();
        let device = self.differences.device();
        let codes = self.differences.index_select(&Tensor::new(rows, device)?, 0)?.permute((1, 2, 0))?.contiguous()?;
        let features: Vec<u32> = places.iter().filter_map(|place| self.features.get(*place).copied()).collect();
        let dtype = self.sae.parts().encoder.dtype();
        let input = dtype::convert(&joined, dtype)?;
        let written = self.sae.writes(&input, &Tensor::new(features, device)?, &codes.to_dtype(dtype)?)?;
        Ok(written.to_dtype(DType::F32)?)
    }

    /// Returns KL(patched || corrupt) for each of several changes of the site.
    fn kls(&self, changes: &[Tensor], task: &Task) -> Result<Vec<f64>> {
        let copies = changes
            .iter()
            .map(|change| Ok((&self.clean + change.reshape(self.clean.dims())?.to_dtype(self.clean.dtype())?)?));
        let put = Tensor::cat(&copies.collect::<Result<Vec<_>>>()?, 0)?;
        let hook =
            BoundHook::new(self.model.config(), &self.place.to_string(), None, None, Box::new(SiteReplacement(put)))?;
        let pairs = self.points.len();
        let of_copy = |copy: usize| self.points.iter().map(move |(row, column)| (copy * pairs + row, *column));
        let points: Vec<(usize, usize)> = (0..changes.len()).flat_map(of_copy).collect();
        let end = self.reruns.end_of_copies(changes.len(), vec![hook], &points, task)?;
        let each = floats(&self.model.divergences_to(&self.target, &end, task)?)?;
        let means: Vec<f64> = each.chunks(pairs).map(|part| part.iter().sum::<f64>() / pairs as f64).collect();
        if means.iter().all(|mean| mean.is_finite()) {
            Ok(means)
        } else {
            Err(err!(Numeric, "the KL of the patched run is not a number at `{}`", self.place))
        }
    }

    /// Returns the mean of |x' - x| over pairs and positions.
    fn edit(&self, change: &Tensor) -> Result<f64> {
        let lengths = floats(&change.sqr()?.sum(2)?.sqrt()?)?;
        Ok(lengths.iter().sum::<f64>() / self.tokens as f64)
    }

    fn set(&self, threshold: Option<f64>, places: &[usize], kl: f64) -> Result<PatchedSet> {
        let mut features: Vec<usize> =
            places.iter().filter_map(|place| self.features.get(*place).map(|feature| *feature as usize)).collect();
        features.sort_unstable();
        let edit = self.edit(&self.change(places)?)?;
        Ok(PatchedSet { threshold, count: features.len(), features, kl, edit })
    }
}

/// A hook that replaces a site by given values.
struct SiteReplacement(Tensor);

impl Edit for SiteReplacement {
    fn edit(&mut self, _: &At, _: Place, _: Option<&[i64]>, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}

/// Searches sets as the paper does.
///
/// Features without a difference are dropped at the first threshold, since that changes nothing. Several candidates are
/// evaluated at once on the assumption that each of them will be dropped, or that each will stay, as the last ones were;
/// what follows the first that turns out otherwise is evaluated again. The sets are those of one evaluation at a time.
fn search(runs: &PatchRuns, thresholds: &[f64], random: &mut ChaCha8Rng, task: &Task) -> Result<Vec<PatchedSet>> {
    let mut patched: Vec<usize> = (0..runs.features.len()).collect();
    let all = runs.kls(&[runs.change(&patched)?], task)?[0];
    let mut sets = vec![PatchedSet { count: runs.sae.d_sae(), ..runs.set(None, &patched, all)? }];
    let mut state = PatchSearch { kl: all, change: runs.change(&patched)?, drops: true, at_once: 1 };
    let bar = task.begin("patching features", Some(thresholds.len() as u64));
    for threshold in thresholds {
        let mut visited = patched.clone();
        visited.shuffle(random);
        let mut dropped = vec![false; runs.features.len()];
        let mut next = 0;
        while next < visited.len() {
            task.check()?;
            let candidates = &visited[next..(next + state.at_once).min(visited.len())];
            let answers = state.tried(runs, candidates, *threshold, task)?;
            for (candidate, is_dropped) in candidates.iter().zip(&answers) {
                dropped[*candidate] = *is_dropped;
            }
            next += answers.len();
        }
        patched.retain(|place| !dropped[*place]);
        // Sums of many changes lose digits: the change of the set is computed anew.
        state.change = runs.change(&patched)?;
        sets.push(runs.set(Some(*threshold), &patched, state.kl)?);
        bar.advance(1);
        bar.note(&format!("{} features", patched.len()));
    }
    sets.push(runs.set(None, &[], runs.kls(&[runs.change(&[])?], task)?[0])?);
    Ok(sets)
}

/// The state of the search.
struct PatchSearch {
    kl: f64,
    /// The change that the patched features add.
    change: Tensor,
    /// Whether the last candidate was dropped.
    drops: bool,
    /// The number of candidates that are evaluated at once.
    at_once: usize,
}

impl PatchSearch {
    /// Returns whether the first candidates are dropped, as many as could be decided.
    fn tried(&mut self, runs: &PatchRuns, candidates: &[usize], threshold: f64, task: &Task) -> Result<Vec<bool>> {
        let mut without: Vec<Tensor> = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let before = if self.drops { without.last().unwrap_or(&self.change) } else { &self.change };
            without.push((before - runs.change(&[*candidate])?)?);
        }
        let mut answers = Vec::new();
        let kls = runs.kls(&without, task)?;
        for (kl, change) in kls.into_iter().zip(without) {
            let is_dropped = kl - self.kl < threshold;
            if is_dropped {
                (self.kl, self.change) = (kl, change);
            }
            answers.push(is_dropped);
            if is_dropped != self.drops {
                // What follows was evaluated on another assumption.
                self.drops = is_dropped;
                self.at_once = (self.at_once / 2).max(1);
                return Ok(answers);
            }
        }
        self.at_once = (2 * self.at_once).min(runs.most());
        Ok(answers)
    }
}

/// Returns sets of growing size, with the features first that lower the KL most to first order: (c'_j - c_j) d_j .
/// dKL/dx, summed over pairs and positions, on the clean run.
fn by_attribution(runs: &PatchRuns, pairs: &[PatchPair], rules: GradientRules, task: &Task) -> Result<Vec<PatchedSet>> {
    let gradient = gradient(runs, pairs, rules, task)?;
    let mut scores = Vec::with_capacity(runs.features.len());
    for place in 0..runs.features.len() {
        task.check()?;
        let score = (runs.change(&[place])? * &gradient)?.sum_all()?.to_scalar::<f32>()?;
        scores.push((place, score));
    }
    order::sort_ascending(&mut scores, |(_, score)| *score);
    let order: Vec<usize> = scores.into_iter().map(|(place, _)| place).collect();
    let counts = counts(order.len());
    let bar = task.begin("patching features", Some(counts.len() as u64));
    let mut sets = Vec::new();
    for counts in counts.chunks(runs.most()) {
        let changes = counts.iter().map(|count| runs.change(&order[..*count])).collect::<Result<Vec<_>>>()?;
        for (count, kl) in counts.iter().zip(runs.kls(&changes, task)?) {
            sets.push(runs.set(None, &order[..*count], kl)?);
        }
        bar.advance(counts.len() as u64);
    }
    if let [none] = sets.as_slice() {
        // Where no activation differs, all features change as little as none.
        sets.insert(0, none.clone());
    }
    if let Some(all) = sets.first_mut() {
        all.count = runs.sae.d_sae();
    }
    Ok(sets)
}

/// Computes the gradient of the KL at the site on the clean run, `[pairs, pos, d]`, some pairs at a time.
fn gradient(runs: &PatchRuns, pairs: &[PatchPair], rules: GradientRules, task: &Task) -> Result<Tensor> {
    let ruled = runs.model.by_rules(rules)?;
    let at_once = (GRADIENT_LOGITS / runs.model.config().outputs().max(1)).max(1);
    let numbers: Vec<u32> = (0..pairs.len() as u32).collect();
    let mut parts = Vec::new();
    for (some, numbers) in pairs.chunks(at_once).zip(numbers.chunks(at_once)) {
        task.check()?;
        let batch = Batch::new(some.iter().map(|pair| pair.clean.clone()).collect())?;
        let target = runs.target.at(numbers)?;
        let mut metric = |end: &PassEnd| -> Result<Tensor> {
            Ok((ruled.divergences_to(&target, end, task)?.sum_all()? / pairs.len() as f64)?)
        };
        let points = batch.last_points();
        let found = ruled.grads_of_end(&batch, Vec::new(), &[runs.place], &points, &mut metric, task)?;
        let found = heads_joined(&found.cache.at(runs.place)?, runs.sae.d_in())?.to_dtype(DType::F32)?;
        parts.push(found.pad_with_zeros(1, 0, runs.clean.dim(1)? - batch.width())?);
    }
    Ok(Tensor::cat(&parts, 0)?)
}

/// Returns numbers of features, from all to none: about eight in each doubling.
fn counts(all: usize) -> Vec<usize> {
    let mut counts = vec![0, all];
    let mut next = 1.0_f64;
    while (next.round() as usize) < all {
        counts.push(next.round() as usize);
        next = (next * 2.0_f64.powf(0.125)).max(next + 1.0);
    }
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts.dedup();
    counts
}

/// Returns the sets of several dictionaries as one table.
pub fn table(found: &[(String, Vec<PatchedSet>)]) -> Table {
    let row = |name: &str, set: &PatchedSet| -> Vec<Cell> {
        let PatchedSet { threshold, count, features, kl, edit, .. } = set;
        let features = features.len();
        vec![name.into(), (*threshold).into(), (*count).into(), features.into(), (*kl).into(), (*edit).into()]
    };
    Table::new(
        "patched features, KL(patched || corrupt) in nats, and the mean length of the edit",
        ["dictionary", "threshold", "features", "differing", "kl", "edit"],
        found.iter().flat_map(|(name, sets)| sets.iter().map(move |set| row(name, set))),
    )
}

#[cfg(test)]
mod tests;
