//! The effects of a feature on the logits: directly through the unembedding, and by ablation.

use super::ablated::{self, Ablation};
use super::feature::place;
use super::survey::{KeptPositions, Survey};
use crate::data::harvest::{HarvestOptions, TextReading};
use crate::model::config::NormKind;
use crate::sae::prelude::*;
use crate::tensor::normalise::log_probabilities;

/// Rows of the unembedding that are in f32 at a time: all those of a vocabulary of 2^18 took more memory than anything
/// else that cards of features need.
const ROWS: usize = 1 << 15;

/// Returns for each feature how much more an activation of 1 raises the logits of the tokens than the mean logit: its
/// direction through the weights of the final norm and the unembedding. The division by the norm is left out.
pub fn direct(model: &Model, sae: &Sae, tokens: &[u32]) -> Result<Vec<f64>> {
    if tokens.is_empty() {
        return Err(err!(Argument, "expected at least one token to look for, found none"));
    }
    let these = tokens.iter().map(|token| model.decoder.unembedding_row(*token)).collect::<Result<Vec<_>>>()?;
    let towards = (Tensor::stack(&these, 0)?.mean(0)? - model.decoder.mean_unembedding()?)?.unsqueeze(1)?;
    let found = behind_norm(model, &written(sae, 0, sae.d_sae())?)?.matmul(&towards)?.squeeze(1)?;
    Ok(found.to_dtype(DType::F64)?.to_vec1()?)
}

/// Returns how much more an activation of 1 of one feature raises the logit of each token than the mean logit.
pub fn promoted(model: &Model, sae: &Sae, feature: usize) -> Result<Vec<f64>> {
    let all = promoted_by(model, sae, &[feature])?;
    all.into_iter().next().ok_or_else(|| err!(Bug, "a feature without logits"))
}

/// Returns how much more an activation of 1 of each of several features raises the logit of each token than the mean
/// logit.
pub fn promoted_by(model: &Model, sae: &Sae, features: &[usize]) -> Result<Vec<Vec<f64>>> {
    // A level of a tree that a limit of nodes left empty has none.
    if features.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Tensor> = features.iter().map(|feature| written(sae, *feature, 1)).collect::<Result<_>>()?;
    promoted_along(model, &Tensor::cat(&rows, 0)?)
}

/// Returns how much more each of some directions of the residual stream, `[directions, d_model]`, raises the logit of each
/// token than the mean logit: through the weights of the final norm and the unembedding, without the division by the norm.
pub fn promoted_along(model: &Model, directions: &Tensor) -> Result<Vec<Vec<f64>>> {
    let directions = directions.to_dtype(DType::F32)?.to_device(model.decoder.device())?;
    let directions = behind_norm(model, &directions)?;
    let vocab = model.decoder.config().outputs();
    let mut logits: Vec<Vec<f64>> = vec![Vec::new(); directions.dim(0)?];
    for start in (0..vocab).step_by(ROWS) {
        let rows = model.decoder.unembedding_rows(start, ROWS.min(vocab - start))?;
        let found = directions.matmul(&rows.t()?)?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        logits.iter_mut().zip(found).for_each(|(logits, found)| logits.extend(found));
    }
    let centred = |logits: Vec<f64>| {
        let mean = logits.iter().sum::<f64>() / logits.len().max(1) as f64;
        logits.into_iter().map(|logit| logit - mean).collect()
    };
    Ok(logits.into_iter().map(centred).collect())
}

/// Returns whether a dictionary writes to another site than it reads, like transcoders.
pub fn writes_elsewhere(sae: &Sae) -> bool {
    sae.check_writes_what_it_reads().is_err()
}

/// Returns what an activation of 1 of some features writes, before a scaling is undone.
pub fn written(sae: &Sae, first: usize, count: usize) -> Result<Tensor> {
    let directions = sae.directions().narrow(0, first, count)?.to_dtype(DType::F32)?;
    if !sae.parts().rescaled {
        return Ok(directions);
    }
    let lengths = directions.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(f32::MIN_POSITIVE)?;
    Ok(directions.broadcast_div(&lengths)?)
}

/// Returns directions of the residual stream as the unembedding reads them.
fn behind_norm(model: &Model, directions: &Tensor) -> Result<Tensor> {
    let weights = model.decoder.weights();
    let config = model.decoder.config();
    if let Some(what) = config.beyond_reading() {
        return Err(err!(Argument, "a direction has no effect on logits by itself in a model with {what}")
            .hint("an ablation in texts has one: `features::logits(m, f, text)`")
            .about("m"));
    }
    let wide = directions.dim(1)?;
    if wide != config.d_model {
        return Err(err!(
            Argument,
            "expected a dictionary that writes to the residual stream of width {}, found one of width {wide}",
            config.d_model
        )
        .hint("only what is added to the residual stream has a direct effect on the logits"));
    }
    let Some(norm) = &weights.final_norm else { return Ok(directions.clone()) };
    let mut read = if config.norm == Some(NormKind::Layer) {
        directions.broadcast_sub(&directions.mean_keepdim(1)?)?
    } else {
        directions.clone()
    };
    if let Some(weight) = &norm.weight {
        let weight = weight.to_dtype(DType::F32)?;
        read = read.broadcast_mul(&if config.norm_plus_one { (weight + 1.0)? } else { weight })?;
    }
    Ok(read)
}

crate::options! {
    pub struct LogitsOptions {
        /// Number of tokens of each kind.
        rows: usize = 10;
        /// Number of the feature's strongest positions, with a text.
        positions: Option<usize> = None => usually("16").at_least(1.0);
    }
}

/// The number of positions for an ablation in a text.
const POSITIONS: usize = 16;

/// The effect of a feature's ablation on a token: means over positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenEffect {
    pub token: u32,
    /// The token's probability with the feature; `without` is that without it.
    pub with: f64,
    pub without: f64,
    /// The change log P without the feature - log P with it.
    pub change: f64,
}

/// Measures the effect of a feature's ablation at its strongest positions in a text, and returns it with their number.
pub fn ablation_effects(
    model: &Model,
    sae: &Sae,
    feature: usize,
    text: &Text,
    options: &LogitsOptions,
    task: &Task,
) -> Result<(Vec<TokenEffect>, usize)> {
    let place = place(model, sae)?;
    let kept = KeptPositions { top: options.positions.unwrap_or(POSITIONS), some: 0, seed: 0 };
    let options = HarvestOptions::default();
    let survey = Survey::of(std::slice::from_ref(sae), TextReading::new(model, text, &options), kept, task)?;
    let tally = survey.dictionaries.first().and_then(|tallies| tallies.get(feature));
    let texts: Vec<Vec<u32>> = tally.into_iter().flat_map(|tally| &tally.top).map(|at| survey.up_to(at)).collect();
    if texts.is_empty() {
        return Err(err!(Argument, "feature {feature} of {place} is active nowhere in {}", text.name())
            .hint("read more text")
            .about("text"));
    }
    let count = texts.len();
    Ok((ablated(model, sae, place, feature, texts, task)?, count))
}

/// Returns the model's predictions after some texts when a feature is zero-ablated at all of their positions, the
/// reconstruction error kept; token by token.
pub fn ablated(
    model: &Model,
    sae: &Sae,
    place: Place,
    feature: usize,
    texts: Vec<Vec<u32>>,
    task: &Task,
) -> Result<Vec<TokenEffect>> {
    if writes_elsewhere(sae) {
        return Err(err!(
            Argument,
            "expected a dictionary that writes to the site that it reads, {place}, found one that does not"
        )
        .hint("only features of a dictionary that writes to the site that it reads can be ablated"));
    }
    let count = texts.len() as f64;
    let ends = texts.iter().enumerate();
    let ablations: Vec<Ablation> =
        ends.map(|(row, text)| Ablation { row, feature, columns: vec![text.len().saturating_sub(1)] }).collect();
    let vocab = model.decoder.config().outputs();
    let mut without = PredictionSums::new(vocab);
    ablated::logits(model, sae, place, &texts, &ablations, &mut |_, logits| without.add(logits), task)?;
    let mut with = PredictionSums::new(vocab);
    let batch = Batch::new(texts)?;
    let (_, end) = model.decoder.run_to_end(&batch, Ask::default(), &batch.last_points(), task)?;
    let take = &mut |_: Range<usize>, logits: &[Tensor]| logits.iter().try_for_each(|logits| with.add(logits));
    model.decoder.logits_of_ends(std::slice::from_ref(&end), take, task)?;
    let effect = |token: usize| TokenEffect {
        token: token as u32,
        with: with.chances[token] / count,
        without: without.chances[token] / count,
        change: (without.logs[token] - with.logs[token]) / count,
    };
    Ok((0..vocab).map(effect).collect())
}

/// Sums of the predictions after some texts, token by token.
struct PredictionSums {
    /// Sums of log probabilities.
    logs: Vec<f64>,
    /// Sums of probabilities.
    chances: Vec<f64>,
}

impl PredictionSums {
    fn new(vocab: usize) -> Self {
        Self { logs: vec![0.0; vocab], chances: vec![0.0; vocab] }
    }

    /// Adds the predictions of logits, `[texts, vocab]`.
    fn add(&mut self, logits: &Tensor) -> Result<()> {
        for row in 0..logits.dim(0)? {
            let found = log_probabilities(&logits.get(row)?)?.to_vec1::<f64>()?;
            for ((logs, chances), log) in self.logs.iter_mut().zip(&mut self.chances).zip(found) {
                *logs += log;
                *chances += log.exp();
            }
        }
        Ok(())
    }
}

/// Returns a table of the tokens with the largest numbers and those with the smallest, in neighbouring columns.
pub fn extremes(title: &str, logits: &[f64], name: &dyn Fn(u32) -> String, count: usize) -> Table {
    let of = |token: u32| logits.get(token as usize).copied().unwrap_or_default();
    let count = count.min(logits.len() / 2);
    let up = first(logits.len(), count, |a, b| of(b).total_cmp(&of(a)).then(a.cmp(&b)));
    let down = first(logits.len(), count, |a, b| of(a).total_cmp(&of(b)).then(b.cmp(&a)));
    let row = |(up, down): (u32, u32)| vec![name(up).into(), of(up).into(), name(down).into(), of(down).into()];
    Table::new(title, ["raised", "raised by", "lowered", "lowered by"], up.into_iter().zip(down).map(row))
}

/// Returns the first few of all tokens in an order, without sorting all of them.
fn first(all: usize, count: usize, order: impl Fn(u32, u32) -> std::cmp::Ordering) -> Vec<u32> {
    let mut tokens: Vec<u32> = (0..all as u32).collect();
    if count > 0 && count < all {
        tokens.select_nth_unstable_by(count - 1, |a, b| order(*a, *b));
    }
    tokens.truncate(count);
    tokens.sort_by(|a, b| order(*a, *b));
    tokens
}

/// Returns a table of the tokens whose probability falls most without the feature, then those whose probability rises
/// most.
pub fn changed(title: &str, changes: &[TokenEffect], name: &dyn Fn(u32) -> String, count: usize) -> Table {
    let rise = |change: &TokenEffect| change.without - change.with;
    let mut order: Vec<&TokenEffect> = changes.iter().collect();
    order.sort_by(|a, b| rise(a).total_cmp(&rise(b)).then(a.token.cmp(&b.token)));
    let losing = order.iter().take_while(|change| rise(change) < 0.0).take(count);
    let gaining: Vec<&&TokenEffect> = order.iter().rev().take_while(|change| rise(change) > 0.0).take(count).collect();
    let row = |change: &&TokenEffect| {
        vec![name(change.token).into(), change.with.into(), change.without.into(), Cell::from(change.change)]
    };
    Table::new(
        title,
        ["token", "P", "P without it", "mean change of log P"],
        losing.chain(gaining.into_iter().rev()).map(row),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::samples::{dictionary, model};
    use crate::model::site::select;

    #[test]
    fn a_direction_moves_the_logits_as_a_step_along_it_does_behind_the_norm() {
        let model = model();
        let sae = dictionary("resid_post.1", 1);
        let found = promoted(&model, &sae, 3).unwrap();
        assert!(promoted_by(&model, &sae, &[]).unwrap().is_empty());
        assert!(found.iter().sum::<f64>().abs() < 1e-4);
        // The mean over some tokens equals the result of `direct`.
        let some = direct(&model, &sae, &[2, 7]).unwrap();
        assert!((some[3] - (found[2] + found[7]) / 2.0).abs() < 1e-4);
        // A direction of the unembedding's own kind: the norm's weight and the mean are taken into account.
        let weights = model.decoder.weights();
        let weight = weights.final_norm.as_ref().unwrap().weight.as_ref().unwrap();
        let d = sae.directions().get(3).unwrap();
        let d = ((&d - d.mean_all().unwrap().broadcast_as(d.shape()).unwrap()).unwrap() * weight).unwrap();
        let token = |id: usize| {
            (weights.unembed.weight.row(id).unwrap() * &d).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()
        };
        assert!((f64::from(token(2) - token(7)) - (found[2] - found[7])).abs() < 1e-4);
    }

    #[test]
    fn without_a_feature_probabilities_change_and_still_sum_to_one() {
        let model = model();
        let sae = dictionary("resid_post.1", 1);
        let place = select(model.decoder.config(), "resid_post.1").unwrap()[0];
        let texts = vec![vec![1, 2, 3, 4], vec![5, 6]];
        let found: Vec<Vec<TokenEffect>> = (0..sae.d_sae())
            .map(|f| ablated(&model, &sae, place, f, texts.clone(), &Task::default()).unwrap())
            .collect();
        for changes in &found {
            assert!((changes.iter().map(|c| c.with).sum::<f64>() - 1.0).abs() < 1e-6);
            assert!((changes.iter().map(|c| c.without).sum::<f64>() - 1.0).abs() < 1e-6);
        }
        assert!(found.iter().flatten().any(|change| change.change.abs() > 1e-3));
    }

    #[test]
    fn what_falls_most_comes_first_and_what_rises_most_last() {
        let change = |token, with, without| TokenEffect { token, with, without, change: f64::ln(without / with) };
        let changes =
            [change(0, 0.2, 0.1), change(1, 0.1, 0.4), change(2, 0.5, 0.2), change(3, 0.1, 0.1), change(4, 0.1, 0.2)];
        let table = changed("", &changes, &|token| token.to_string(), 1);
        assert_eq!(table.rows.len(), 2);
        assert_eq!(table.rows[0][..3], ["2".into(), 0.5.into(), 0.2.into()]);
        assert_eq!(table.rows[1][..3], ["1".into(), 0.1.into(), 0.4.into()]);
        assert_eq!(changed("", &changes, &|token| token.to_string(), 9).rows.len(), 4);
    }

    #[test]
    fn the_ends_of_a_list_stand_side_by_side() {
        let table = extremes("t", &[0.0, 3.0, -1.0, 1.0], &|token| format!("<{token}>"), 2);
        let text = |row: usize, column: usize| table.rows[row][column].clone();
        assert_eq!((text(0, 0), text(0, 1)), ("<1>".into(), 3.0.into()));
        assert_eq!((text(0, 2), text(0, 3)), ("<2>".into(), Cell::from(-1.0)));
        assert_eq!((text(1, 0), text(1, 2)), ("<3>".into(), "<0>".into()));
    }
}
