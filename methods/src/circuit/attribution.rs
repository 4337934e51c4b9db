//! Attribution: the effect of features on the probability of tokens, for all of them at once and to first order.
//!
//! The effect of feature f is the sum over positions of dm/dc_f (c_f - mean c_f): gradient times the activation's
//! difference from its mean (attribution patching, Nanda 2023; the linear approximation of Marks et al. 2024, section
//! 2, with the mean instead of another prompt). It approximates m - m(c_f set to its mean at all positions).
//! Reconstruction errors stay, so dm/dc_f is the gradient at the site along the feature's direction, and one backward
//! pass serves all sites.

use super::due::Due;
use super::selection::{Selection, ranking};
use super::tree::{Stage, leading_to};
use super::{CONTEXT, row_length};
use crate::data::harvest;
use crate::features::feature::check_feature;
use crate::features::logits::written;
use crate::features::survey::KeptPositions;
use crate::features::tokens::token_ids;
use crate::features::{Feature, Survey, TokenPattern};
use crate::intervene::chance::chances;
use crate::model::gradient_rules::{GradientOptions, GradientRules};
use crate::sae::prelude::*;

crate::options! {
    pub struct SelectOptions {
        /// A text that tokens begin with, or their ids.
        token: Option<Vec<TokenPattern>> = None => usually("those that the feature was selected for");
        /// Number of tokens of the text.
        tokens: usize = 50_000;
        /// Number of tokens in a row of the text; at most the model's context.
        context: Option<usize> = None => usually("32");
        with rules: GradientOptions;
    }
}

/// Returns the dictionaries whose features are ranked: all but the last, which belongs to the target.
fn before(saes: &[Sae]) -> Result<&[Sae]> {
    match saes.split_last() {
        Some((_, before)) if !before.is_empty() => Ok(before),
        _ => Err(err!(Argument, "expected dictionaries of at least two sites, found {}", saes.len())
            .hint("features are selected from those before the target: `sae::fit_all(m, \"resid_post.*\", text)`")),
    }
}

/// Ranks the features of the dictionaries before that of a target by their effects on the tokens in a text.
pub fn select(
    model: &Model,
    saes: &[Sae],
    target: &Feature,
    text: &Text,
    options: &SelectOptions,
    task: &Task,
) -> Result<Selection> {
    let tokens = match (&options.token, &target.promotes) {
        (Some(tokens), _) => token_ids(model, tokens)?,
        (None, Some(promotes)) => promotes.to_vec(),
        (None, None) => {
            return Err(err!(Argument, "expected a feature that was selected for tokens, found one that was not")
                .hint("name them: #{ token: \")\" }, or take a feature of `features::predicting`")
                .about("f"));
        }
    };
    let model = &model.by_rules(options.rules.gradients)?;
    let of_saes = |error: Error| error.about("saes");
    let saes = leading_to(model, saes, &target.sae).map_err(of_saes)?;
    let before = before(&saes).map_err(of_saes)?;
    let text = text.limited(options.tokens.max(1) as u64);
    let context = row_length(model, options.context, CONTEXT);
    let due = Due::of(model, &text, &tokens, context, task).map_err(|e| e.about("text"))?;
    let harvesting = harvest::HarvestOptions { context: Some(context), ..harvest::HarvestOptions::default() };
    let kept = KeptPositions { top: 1, some: 1, seed: 0 };
    let survey = Survey::of(before, harvest::TextReading::new(model, &text, &harvesting), kept, task)?;
    let found = ranked(model, &saes, &survey, target.index, &due, task).map_err(of_saes)?;
    Ok(match options.rules.gradients {
        GradientRules::Derivatives => found,
        GradientRules::Relp => Selection { by: GradientRules::Relp.word().into(), ..found },
    })
}

/// Ranks the features of all dictionaries but the last, which has the feature `target`, by their effects. `survey` has
/// their activations on the text that the tokens are due in; dictionaries are in the order of the computation.
fn ranked(model: &Model, saes: &[Sae], survey: &Survey, target: usize, due: &Due, task: &Task) -> Result<Selection> {
    let stages = Stage::in_order(model, saes)?;
    let levels = before(saes)?.len();
    let before = &stages[..levels];
    let last = &stages[levels];
    check_feature(&last.sae, target)?;
    let positions = survey.positions.max(1) as f64;
    let means = survey.dictionaries.iter().take(before.len());
    let means: Vec<Vec<f32>> =
        means.map(|tallies| tallies.iter().map(|tally| (tally.sum / positions) as f32).collect()).collect();
    let effects = attribution(model, before, &means, due, task)?;
    Ok(Selection {
        by: "attribution".into(),
        model: model.name().to_string(),
        saes: saes.to_vec(),
        sites: stages.iter().map(|stage| stage.place.to_string()).collect(),
        target,
        tokens: due.tokens.clone(),
        ranking: ranking(&effects),
        means,
        text: survey.name.clone(),
        rows: due.rows(),
        positions: due.positions(),
    })
}

/// Returns the effect of each feature of some dictionaries, level by level, on m: the mean total probability of the
/// tokens over the positions where they are due. `means` are the mean activations. A positive effect supports the
/// tokens.
///
/// m is P and not log P, since P is what is evaluated: a position where the model is sure counts by what it can lose.
pub fn attribution(
    model: &Model,
    stages: &[Stage],
    means: &[Vec<f32>],
    due: &Due,
    task: &Task,
) -> Result<Vec<Vec<f64>>> {
    let places: Vec<Place> = stages.iter().map(|stage| stage.place).collect();
    let mut levels = stages.iter().map(|stage| AttributionSums::of(&stage.sae)).collect::<Result<Vec<_>>>()?;
    let bar = task.begin("taking gradients", Some(due.rows() as u64));
    for part in due.parts(model.decoder.config().outputs())? {
        task.check()?;
        let ask = Ask { places: places.clone(), ..Ask::default() };
        let clean = model.decoder.cache(&part.batch, ask, task)?;
        let points = part.points();
        let mut metric = |end: &PassEnd| Ok(chances(&model.decoder, end, &due.tokens, task)?.sum_all()?);
        let gradients = model.decoder.grads_of_end(&part.batch, Vec::new(), &places, &points, &mut metric, task)?;
        for (stage, sums) in stages.iter().zip(&mut levels) {
            let [x, gradient] =
                [clean.at(stage.place)?.flatten(0, 1)?, gradients.cache.at(stage.place)?.flatten(0, 1)?];
            sums.take(&stage.sae, &x, &gradient, task)?;
        }
        bar.advance(part.batch.rows().len() as u64);
    }
    let positions = due.positions() as f64;
    Ok(levels.into_iter().zip(means).map(|(sums, means)| sums.effects(means, positions)).collect())
}

/// Sums over positions for the features of one dictionary.
struct AttributionSums {
    /// `[d_sae, d]`: what an activation of 1 writes, before the scaling is undone.
    directions: Vec<f32>,
    /// Sum of dm/dc_f c_f for each feature.
    products: Vec<f64>,
    /// Sum of dm/dx.
    gradient: Vec<f64>,
}

impl AttributionSums {
    fn of(sae: &Sae) -> Result<Self> {
        Ok(Self {
            directions: numbers(&written(sae, 0, sae.d_sae())?)?,
            products: vec![0.0; sae.d_sae()],
            gradient: vec![0.0; sae.d_out()],
        })
    }

    /// Adds rows of activations and their gradients to the sums. Gradients of padding are 0 and add nothing.
    fn take(&mut self, sae: &Sae, x: &Tensor, gradient: &Tensor, task: &Task) -> Result<()> {
        let x = dtype::convert(x, sae.parts().encoder.dtype())?;
        let codes = sae.encode_sparse(&x, task)?;
        // Where inputs are scaled, the output and its gradient are scaled by one number in each row.
        let gradient = sae.parts().scaling.of(&x)?.stretched(&dtype::convert(gradient, x.dtype())?)?;
        let gradient = numbers(&gradient)?;
        let wide = sae.d_out();
        for (row, gradient) in gradient.chunks_exact(wide).enumerate() {
            self.gradient.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += f64::from(*g));
            let (features, codes) = codes.row(row);
            for (feature, code) in features.iter().zip(codes) {
                let feature = *feature as usize;
                let direction = &self.directions[feature * wide..(feature + 1) * wide];
                let along: f32 = direction.iter().zip(gradient).map(|(d, g)| d * g).sum();
                self.products[feature] += f64::from(along) * f64::from(*code);
            }
        }
        Ok(())
    }

    /// Returns the mean effect of each feature over a number of positions.
    fn effects(&self, means: &[f32], positions: f64) -> Vec<f64> {
        let directions = self.directions.chunks_exact(self.gradient.len());
        let along = directions.map(|of| of.iter().zip(&self.gradient).map(|(d, g)| f64::from(*d) * g).sum::<f64>());
        let effect = |((along, product), mean): ((f64, &f64), &f32)| (product - along * f64::from(*mean)) / positions;
        along.zip(&self.products).zip(means).map(effect).collect()
    }
}

fn numbers(x: &Tensor) -> Result<Vec<f32>> {
    Ok(x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::due::tests::due;
    use crate::circuit::samples::{FEATURES, dictionary, found, model};
    use crate::fixtures::config;
    use crate::sae::{Activation, Parts, Scaling};

    /// Computes m with changed activations at a stage, block by block: the mean of P where the tokens are due.
    fn moved(model: &Model, stage: &Stage, due: &Due, change: &dyn Fn(&Tensor) -> Tensor) -> f64 {
        let task = Task::default();
        let mut sum = 0.0;
        for part in due.parts(1000).unwrap() {
            let ask = Ask { places: vec![stage.place], ..Ask::default() };
            let x = model.decoder.cache(&part.batch, ask, &task).unwrap().at(stage.place).unwrap();
            let changed = change(&x.flatten(0, 1).unwrap()).reshape(x.shape()).unwrap();
            let blocks = stage.block..model.decoder.config().layers;
            let last = model.decoder.behind(&part.batch, changed, blocks, &task).unwrap();
            sum += part.chances(model, &last, &due.tokens, &task).unwrap().iter().sum::<f64>();
        }
        sum / due.positions() as f64
    }

    /// Returns what a feature writes at each row beyond what its mean activation writes, times a number.
    fn beyond(sae: &Sae, feature: usize, mean: f32, x: &Tensor, times: f64) -> Tensor {
        let codes = sae.encode(x).unwrap().narrow(1, feature, 1).unwrap();
        let features = Tensor::new(&[feature as u32], x.device()).unwrap();
        (sae.writes(x, &features, &(codes - f64::from(mean)).unwrap()).unwrap() * times).unwrap()
    }

    #[test]
    fn effects_are_the_slopes_of_p_as_codes_go_to_their_means() {
        let model = model(Config { layers: 2, ..config() });
        let d = model.decoder.config().d_model;
        let plain = dictionary(d, FEATURES, Activation::TopK(6), "resid_post.0");
        let scaled = Parts { scaling: Scaling::LayerNorm, rescaled: true, ..plain.parts().clone() };
        let due = due(&[&[3, 0, 5, 6, 2, 1], &[7, 8, 2], &[1, 2, 4, 0, 9]], &[0, 2]);
        let means: Vec<f32> = (0..FEATURES).map(|i| i as f32 / 50.0).collect();
        for sae in [plain, Sae::new(scaled).unwrap()] {
            let stage = Stage::new(&model, &sae).unwrap();
            let stages = std::slice::from_ref(&stage);
            let found = attribution(&model, stages, std::slice::from_ref(&means), &due, &Task::default()).unwrap();
            for feature in 0..FEATURES {
                let at = |times: f64| {
                    moved(&model, &stage, &due, &|x| (x - beyond(&sae, feature, means[feature], x, times)).unwrap())
                };
                // P falls by the effect, to first order, on the way from the activations to the mean.
                let slope = (at(-0.01) - at(0.01)) / 0.02;
                let effect = found[0][feature];
                assert!((slope - effect).abs() < 1e-4 + 0.01 * effect.abs(), "{feature}: {slope} and {effect}");
            }
        }
    }

    #[test]
    fn where_m_is_linear_an_effect_is_exactly_what_is_lost_at_the_mean() {
        let sae = dictionary(8, FEATURES, Activation::TopK(6), "resid_post.0");
        let x = Tensor::from_vec((0..40).map(|i| (i as f32 * 0.7).sin()).collect(), (5, 8), &Device::Cpu).unwrap();
        let read_out =
            Tensor::from_vec((0..40).map(|i| (i as f32 * 1.3).cos()).collect(), (5, 8), &Device::Cpu).unwrap();
        let m = |x: &Tensor| f64::from((x * &read_out).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap());
        let means: Vec<f32> = (0..FEATURES).map(|i| i as f32 / 50.0).collect();
        let mut sums = AttributionSums::of(&sae).unwrap();
        // The gradient of a linear m is what it reads with.
        sums.take(&sae, &x, &read_out, &Task::default()).unwrap();
        for (feature, effect) in sums.effects(&means, 1.0).into_iter().enumerate() {
            let lost = m(&x) - m(&(&x - beyond(&sae, feature, means[feature], &x, 1.0)).unwrap());
            assert!((lost - effect).abs() < 1e-4, "{feature}: {lost} and {effect}");
        }
    }

    #[test]
    fn features_of_all_levels_before_the_target_are_ranked_and_padding_says_nothing() {
        let (model, saes, survey) = found();
        let task = Task::default();
        let rows: [&[u32]; 3] = [&[3, 0, 5, 6, 2, 1], &[7, 8, 2], &[1, 2, 4, 0, 9]];
        let together = ranked(&model, &saes, &survey, 3, &due(&rows, &[0, 2]), &task).unwrap();
        assert_eq!((together.ranking.len(), together.sites.len(), together.positions), (2 * FEATURES, 3, 5));
        // The same, row by row, without any padding: effects are sums over rows.
        let mut sums = vec![vec![0.0; FEATURES]; 2];
        for row in rows {
            let alone = due(&[row], &[0, 2]);
            assert!(alone.parts(100).unwrap().iter().all(|part| !Batch::is_ragged(&part.batch)));
            let stages = Stage::all(&model, &saes).unwrap();
            let found = attribution(&model, &stages[..2], &together.means, &alone, &task).unwrap();
            for (sums, found) in sums.iter_mut().zip(found) {
                sums.iter_mut().zip(found).for_each(|(sum, one)| *sum += one * alone.positions() as f64 / 5.0);
            }
        }
        for one in &together.ranking {
            let summed = sums[one.level][one.feature];
            assert!((one.score - summed).abs() < 1e-5 * (1.0 + summed.abs()), "{one:?} and {summed}");
        }
        let error = ranked(&model, &saes[2..], &survey, 3, &due(&rows, &[0]), &task).unwrap_err();
        assert_eq!(error.message, "expected dictionaries of at least two sites, found 1");
        let error = ranked(&model, &saes, &survey, 99, &due(&rows, &[0]), &task).unwrap_err();
        assert_eq!(error.message, "expected a feature below 24 of resid_post.2, found 99");
    }
}
