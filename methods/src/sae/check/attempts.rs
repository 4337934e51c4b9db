//! Mistakes that are possible about a dictionary at its site, tried one by one.

use super::rows::{DictionarySpot, PlaceRows, SpotRows};
use super::{ExplainedVariance, TOKENS, Wrong, measured};
use crate::common::*;
use crate::data::Text;
use crate::sae::{Activation, Parts, Sae};

/// Multiplications that trying may take, about, and the fewest and most rows of one try.
const WORK: f64 = 5e11;
const FEWEST: usize = 24;
const MOST: usize = 128;

/// Powers of 2 that inputs are multiplied by.
const POWERS: std::ops::RangeInclusive<i32> = -10..=10;
/// Steps between powers of 2 around the best.
const STEPS: [f64; 3] = [0.5, 0.25, 0.125];
/// Factors that are nearer to 1 are not told from it.
const NEAR_ONE: f64 = 1.25;
/// Factor within which a number is near to that of a convention.
const NEAR_CONVENTION: f64 = 1.2;

/// The subject of all tries: a dictionary in a model on a text.
pub struct CheckSubject<'a> {
    pub sae: &'a Sae,
    pub model: &'a Model,
    pub text: &'a Text,
    /// The L0 that it states.
    pub l0: Option<f64>,
    pub task: &'a Task,
}

impl CheckSubject<'_> {
    /// Returns whether an L0 is within a factor of the one that is stated.
    pub fn is_sparse(&self, l0: f64, factor: f64) -> bool {
        self.l0.is_none_or(|stated| away(l0, stated) <= factor)
    }

    /// Finds the mistake at a spot where this much is explained, if anything explains far more.
    pub fn wrong(
        &self,
        stated: Option<DictionarySpot>,
        spot: DictionarySpot,
        rows: &PlaceRows,
        own: ExplainedVariance,
        is_good: bool,
    ) -> Result<Option<Wrong>> {
        let mut found = Vec::new();
        if stated.is_some() {
            found.extend(self.other_site(&spot, own, is_good)?);
        }
        if !is_good {
            found.extend(self.top_k(&rows.rest(&spot, TOKENS)?, own)?);
            found.extend(self.scale(rows, &spot, own)?);
        }
        let best = found.into_iter().max_by(|(_, a), (_, b)| a.fve.total_cmp(&b.fve));
        Ok(best.map(|(wrong, _)| wrong))
    }

    /// Returns the number of rows that each of several tries may have.
    fn at_most(&self, tries: usize) -> usize {
        let each = 2.0 * (self.sae.d_sae() * (self.sae.d_in() + self.sae.d_out())) as f64;
        ((WORK / (each * tries.max(1) as f64)) as usize).clamp(FEWEST, MOST)
    }

    /// Finds the spot of the model where the dictionary explains most.
    pub fn best_spot(&self) -> Result<DictionarySpot> {
        let spots = DictionarySpot::others(None, self.model.decoder.config(), self.sae.d_in(), self.sae.d_out());
        let best = self.best_of(&spots)?.map(|(spot, _)| spot);
        best.ok_or_else(|| err!(Argument, "expected a dictionary of a site of {}, found none", self.model.origin))
    }

    fn best_of(&self, spots: &[DictionarySpot]) -> Result<Option<(DictionarySpot, ExplainedVariance)>> {
        if spots.is_empty() {
            return Ok(None);
        }
        let most = self.at_most(spots.len());
        // The first token of each text is left out.
        let rows = PlaceRows::read(self.model, spots, self.text, most + most.div_ceil(MOST), self.task)?;
        let mut best: Option<(DictionarySpot, ExplainedVariance)> = None;
        for spot in spots {
            let found = measured(self.sae, &rows.rest(spot, most)?, self.task)?;
            if best.is_none_or(|(_, best)| found.fve > best.fve || best.fve.is_nan()) {
                best = Some((*spot, found));
            }
        }
        Ok(best)
    }

    /// Finds another site at which far more is explained: the neighbours alone are tried where it is good already.
    fn other_site(
        &self,
        spot: &DictionarySpot,
        own: ExplainedVariance,
        is_good: bool,
    ) -> Result<Option<(Wrong, ExplainedVariance)>> {
        let mut spots =
            DictionarySpot::others(Some(*spot), self.model.decoder.config(), self.sae.d_in(), self.sae.d_out());
        if is_good {
            spots.retain(|other| other.is_near(spot));
        }
        let Some((best, _)) = self.best_of(&spots)? else { return Ok(None) };
        let rows = PlaceRows::read(self.model, &[best], self.text, TOKENS, self.task)?;
        let with = measured(self.sae, &rows.rest(&best, TOKENS)?, self.task)?;
        // What is of another site may be active in fewer features here than there, which is no sign of anything.
        let is_far_better = self.l0.is_none() && unexplained(with) < 0.35 * unexplained(own);
        let is_better = (self.is_better(with, own, 0.7) || is_far_better) && with.fve > own.fve + 0.03;
        Ok(is_better.then(|| (Wrong::Site { place: best.to_string(), with }, with)))
    }

    /// Finds a constant that inputs are to be multiplied by, with which far more is explained.
    fn scale(
        &self,
        rows: &PlaceRows,
        spot: &DictionarySpot,
        own: ExplainedVariance,
    ) -> Result<Option<(Wrong, ExplainedVariance)>> {
        let most = self.at_most(POWERS.count() + 2 * STEPS.len());
        let few = rows.rest(spot, most)?;
        // The share of the variance is the same in units of the scaled inputs.
        let times = |rows: &SpotRows, factor: f64| -> Result<ExplainedVariance> {
            let scaled = SpotRows { reads: (&rows.reads * factor)?, writes: (&rows.writes * factor)? };
            measured(self.sae, &scaled, self.task)
        };
        let unscaled = times(&few, 1.0)?;
        let mut best = (1.0, unscaled);
        let tried = |factor: f64, best: &mut (f64, ExplainedVariance)| -> Result<()> {
            let found = times(&few, factor)?;
            if unexplained(found) < unexplained(best.1) && self.is_better(found, unscaled, 1.0) {
                *best = (factor, found);
            }
            Ok(())
        };
        for power in POWERS {
            tried(f64::from(power).exp2(), &mut best)?;
        }
        for step in STEPS {
            let around = best.0;
            tried(around * step.exp2(), &mut best)?;
            tried(around / step.exp2(), &mut best)?;
        }
        let (factor, _) = best;
        if factor.max(factor.recip()) < NEAR_ONE {
            return Ok(None);
        }
        let all = rows.rest(spot, TOKENS)?;
        let with = times(&all, factor)?;
        let convention = convention(&all.reads, factor)?;
        let is_better = self.is_better(with, own, 0.5);
        Ok(is_better.then_some((Wrong::Scale { factor, convention, with }, with)))
    }

    /// Finds the number of codes that are to be kept of each row, with which far more is explained.
    fn top_k(&self, rows: &SpotRows, own: ExplainedVariance) -> Result<Option<(Wrong, ExplainedVariance)>> {
        let parts = self.sae.parts();
        if !matches!(parts.activation, Activation::Relu | Activation::Threshold(_)) {
            return Ok(None);
        }
        let stated = parts.about.more.get("k").and_then(|k| k.as_u64()).map(|k| k as usize);
        let powers = (2..=10).map(|power| 1_usize << power);
        let tried: Vec<usize> = stated.map_or_else(|| powers.collect(), |k| vec![k]);
        let mut best: Option<(usize, ExplainedVariance)> = None;
        for k in tried.into_iter().filter(|k| (1..=self.sae.d_sae()).contains(k) && own.l0 > 2.0 * *k as f64) {
            let kept = Sae::new(Parts { activation: Activation::TopK(k), ..parts.clone() })?;
            let with = measured(&kept, rows, self.task)?;
            if best.is_none_or(|(_, best)| with.fve > best.fve) {
                best = Some((k, with));
            }
        }
        let Some((k, with)) = best else { return Ok(None) };
        // A ReLU dictionary has no k: where one is stated and is exceeded, it was not read.
        let is_unread = stated.is_some() && matches!(parts.activation, Activation::Relu) && with.fve > 0.0;
        let is_better = is_unread || unexplained(with) < 0.5 * unexplained(own);
        Ok(is_better.then_some((Wrong::TopK { k, with }, with)))
    }

    /// Returns whether this leaves less than a share of what is unexplained, and not by many more features than there
    /// should be.
    fn is_better(&self, with: ExplainedVariance, own: ExplainedVariance, share: f64) -> bool {
        let explains = own.fve > 0.3;
        let is_as_sparse = match self.l0 {
            Some(stated) => away(with.l0, stated) <= 1.2 * away(own.l0, stated).max(1.25),
            // What is not stated was near to what is found, unless the dictionary explains nothing.
            None => with.l0 <= 1.3 * own.l0 + 1.0 || !explains,
        };
        is_as_sparse && unexplained(with) < share * unexplained(own)
    }
}

fn unexplained(found: ExplainedVariance) -> f64 {
    if found.fve.is_nan() { f64::INFINITY } else { 1.0 - found.fve }
}

/// Computes the factor between two numbers, 1 or more. Half a feature is added, so that 0 is not away from all.
fn away(a: f64, b: f64) -> f64 {
    let a = a.abs() + 0.5;
    let b = b.abs() + 0.5;
    if a > b { a / b } else { b / a }
}

/// Names the rule by which other libraries choose such a factor.
fn convention(x: &Tensor, factor: f64) -> Result<Option<&'static str>> {
    let squares = x.sqr()?.sum(1)?;
    let norm = f64::from(squares.sqrt()?.mean_all()?.to_scalar::<f32>()?);
    let square = f64::from(squares.mean_all()?.to_scalar::<f32>()?);
    let width = x.dim(1)? as f64;
    let known = [
        (width.sqrt() / norm, "the root of their width over their mean norm"),
        (square.sqrt().recip(), "for a mean square norm of 1"),
    ];
    let ratio = |known: f64| (factor / known).max(known / factor);
    Ok(known.into_iter().find(|(known, _)| ratio(*known) < NEAR_CONVENTION).map(|(_, said)| said))
}
