//! The core measures of a dictionary: explained variance, sparsity, and the loss of the model with it spliced in, each
//! with an interval over rows of the text and compared with random directions.

use super::reading::{DictionaryCodes, EvaluationReading};
use super::score::Score;
use crate::common::*;
use crate::sae::SitePair;
use crate::sae::metrics::{Effect, EvaluationText, Losses, effects};

/// The share of tokens above which an active feature is dense.
const DENSE: f64 = 0.1;

/// Computes explained variance, L0, and the shares of dead and dense features.
pub fn of_activations(reading: &EvaluationReading, seed: u64) -> Vec<Score> {
    let both = [&reading.own, &reading.random];
    let rows = reading.own.rows.len();
    let tokens = reading.own.measures.rows as usize;
    let score = |name: &str, value: fn(&DictionaryCodes) -> Option<f64>, interval, (n, of), formula: String| {
        let [own, random] = both.map(value);
        Score { name: name.into(), value: own, interval, random, n, of, formula }
    };
    let fve = bootstrap(rows, seed, |drawn| {
        let sum = |values: &dyn Fn(usize) -> f64| drawn.iter().map(|row| values(*row)).sum::<f64>();
        1.0 - sum(&|row| reading.own.rows[row].error) / sum(&|row| reading.own.spreads[row])
    });
    let l0 = bootstrap(rows, seed, |drawn| {
        let sum = |values: &dyn Fn(usize) -> f64| drawn.iter().map(|row| values(*row)).sum::<f64>();
        sum(&|row| reading.own.rows[row].codes) / sum(&|row| reading.own.rows[row].tokens)
    });
    let features = reading.own.sae.d_sae();
    let dead = format!("share of features that are active at none of {tokens} tokens");
    let dense = format!("share of features that are active at more than {:.0} % of tokens", 100.0 * DENSE);
    vec![
        score("fve", |of| of.measures.fve, fve, (tokens, "tokens"), "1 - sum |x - x_hat|² / sum |x - mean|²".into()),
        score("l0", |of| Some(of.measures.l0), l0, (tokens, "tokens"), "mean number of codes that are not 0".into()),
        score("dead", |of| Some(of.measures.features.dead_share()), None, (features, "features"), dead),
        score("dense", |of| Some(dense_share(of)), None, (features, "features"), dense),
    ]
}

fn dense_share(coded: &DictionaryCodes) -> f64 {
    let densities = coded.measures.features.densities();
    densities.iter().filter(|density| **density > DENSE).count() as f64 / densities.len() as f64
}

/// Computes the loss recovered with the dictionary spliced in, on the first rows of the text: CE and KL recovered.
pub fn of_predictions(
    reading: &EvaluationReading,
    model: &Model,
    rows: usize,
    seed: u64,
    task: &Task,
) -> Result<Vec<Score>> {
    let tokens = &reading.tokens;
    let judged = |(number, start): (usize, &usize)| {
        let ids = tokens.rows[number].ids.clone();
        let left_out = tokens.counts[*start..start + ids.len()].iter().map(|counts| !counts).collect();
        // Each row is a class of its own, so that the bootstrap can draw rows.
        EvaluationText { classes: vec![number as u32; ids.len()], ids, left_out }
    };
    let judged: Vec<EvaluationText> =
        tokens.text.starts[..tokens.rows.len()].iter().enumerate().take(rows).map(judged).collect();
    let site = tokens.place.to_string();
    let saes = [&reading.own.sae, &reading.random.sae];
    let found = effects(&model.decoder, SitePair { reads: &site, writes: &site }, &saes, &judged, task)?;
    let [own, random] = found.as_slice() else { return Ok(Vec::new()) };
    Ok(recovered(own, random, seed))
}

/// Returns the scores of the loss recovered, where classes are rows.
fn recovered(own: &Effect, random: &Effect, seed: u64) -> Vec<Score> {
    let n = own.predictions as usize;
    let interval = bootstrap(own.classes.len(), seed, |drawn| {
        let mut sums = Losses::default();
        for row in drawn.iter().map(|row| &own.classes[*row]) {
            let weight = row.predictions as f64;
            sums.clean += weight * row.ce.clean;
            sums.spliced += weight * row.ce.spliced;
            sums.zero += weight * row.ce.zero;
        }
        sums.recovered().unwrap_or(f64::NAN)
    });
    let score = |name: &str, of: fn(&Effect) -> Option<f64>, interval, formula: &str| Score {
        name: name.into(),
        value: of(own),
        interval,
        random: of(random),
        n,
        of: "predictions",
        formula: formula.into(),
    };
    vec![
        score(
            "ce_recovered",
            |effect| effect.ce.recovered(),
            interval,
            "(CE zero - CE spliced) / (CE zero - CE clean)",
        ),
        score("kl_recovered", |effect| effect.kl.recovered(), None, "1 - KL(clean || spliced) / KL(clean || zero)"),
    ]
}
