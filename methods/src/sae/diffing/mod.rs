//! Changes by fine-tuning: features of a crosscoder of two models that only one of them has, by latent scaling (Minder
//! et al. 2025).
//!
//! A direction of length 0 in one model does not say that the model lacks a feature: a sparsity penalty shrinks what pays
//! little, and a feature may be written there by others. So it is asked how much of the feature each model has. With codes
//! f, the direction d in the model that has the longer one, and a target y of model i,
//!
//! ```text
//! beta_i = argmin_b sum |y - b f d|² = d . (sum f y) / (|d|² sum f²)
//! ```
//!
//! and y is the model's error, with what the feature itself writes left in (x - x_hat + f d_i), or its reconstruction,
//! without the bias, which no feature writes. The ratio is that of the other model to the one with the longer direction:
//! near 1 where both have the feature, near 0 where only one does. Both models are in the units in which the crosscoder
//! was trained.

use std::ops::Range;

use crate::base::bootstrap::wilson;
use crate::common::*;
use crate::data::Text;
use crate::data::harvest::{Blocks, HarvestOptions, TextReading};
use crate::sae::crosscoder::factors;
use crate::sae::{Sae, rows};
use crate::tensor::dtype;
use kernels::arch;
use kernels::sparse::{add_rows, dot};

#[cfg(test)]
mod tests;

/// A feature is one model's own if its share there is above this, which is where its direction in the other one is a fifth as
/// long (a difference of relative norms of 0.9), and its ratios are below these (Minder et al. 2025).
const SHARE: f64 = 5.0 / 6.0;
const ERRORS: f64 = 0.2;
const RECONSTRUCTIONS: f64 = 0.5;

/// The share of a feature that each of two models has.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentScaling {
    pub feature: usize,
    /// The model in which its direction is longer.
    pub of: usize,
    /// The share of that model in the norms of its directions.
    pub share: f64,
    /// The number of rows in which it is active.
    pub fired: usize,
    /// beta for the errors of the first and the second model.
    pub errors: [f64; 2],
    /// beta for their reconstructions.
    pub reconstructions: [f64; 2],
}

impl LatentScaling {
    /// Returns beta of the other model over that of its own, for the errors; None where its own is not above 0.
    pub fn ratio_of_errors(&self) -> Option<f64> {
        self.ratio(self.errors)
    }

    /// Returns the ratio of betas for the reconstructions.
    pub fn ratio_of_reconstructions(&self) -> Option<f64> {
        self.ratio(self.reconstructions)
    }

    fn ratio(&self, betas: [f64; 2]) -> Option<f64> {
        let [own, other] = if self.of == 0 { betas } else { [betas[1], betas[0]] };
        (own > 0.0).then(|| other / own)
    }

    /// Returns whether only one of the models has the feature.
    pub fn is_own(&self) -> bool {
        let below = |ratio: Option<f64>, most: f64| ratio.is_some_and(|ratio| ratio < most);
        self.share > SHARE
            && below(self.ratio_of_errors(), ERRORS)
            && below(self.ratio_of_reconstructions(), RECONSTRUCTIONS)
    }
}

/// The features of a crosscoder of two models that are active in a text, those of one model alone first.
#[derive(Debug, Clone, PartialEq)]
pub struct Diff {
    pub features: Vec<LatentScaling>,
    /// The number of rows that were read.
    pub rows: usize,
}

impl Diff {
    /// Returns a table with a row for each feature.
    pub fn table(&self) -> Table {
        let row = |one: &LatentScaling| -> Vec<Cell> {
            let mut row: Vec<Cell> = vec![one.feature.into(), one.of.into(), one.share.into()];
            row.push((one.fired as f64 / self.rows as f64).into());
            row.extend(one.errors.map(Cell::from));
            row.push(one.ratio_of_errors().into());
            row.extend(one.reconstructions.map(Cell::from));
            row.push(one.ratio_of_reconstructions().into());
            row.push(one.is_own().into());
            row
        };
        let columns = [
            "feature",
            "model",
            "share",
            "density",
            "errors 0",
            "errors 1",
            "ratio of errors",
            "reconstructions 0",
            "reconstructions 1",
            "ratio of reconstructions",
            "own",
        ];
        Table::new(format!("features of two models, on {} rows", self.rows), columns, self.features.iter().map(row))
    }

    /// Counts the features that each model has for itself, by the share alone and by latent scaling, too.
    pub fn summary(&self) -> Table {
        let living = self.features.len();
        let row = |model: usize, what: &str, count: usize| -> Vec<Cell> {
            let mut row: Vec<Cell> = vec![model.into(), what.into(), count.into(), living.into()];
            row.extend(wilson(count, living).map(|end| Cell::from((living > 0).then_some(end))));
            row
        };
        let count = |model: usize, is_one: &dyn Fn(&LatentScaling) -> bool| {
            self.features.iter().filter(|one| one.of == model && is_one(one)).count()
        };
        let of_model = |model: usize| {
            let by_share = count(model, &|one| one.share > SHARE);
            let by_scaling = count(model, &LatentScaling::is_own);
            [row(model, "by the share of norms", by_share), row(model, "by latent scaling, too", by_scaling)]
        };
        Table::new(
            "features of one model alone",
            ["model", "own", "number", "of", "low", "high"],
            [0, 1].into_iter().flat_map(of_model),
        )
    }
}

/// Measures how much of each feature of a crosscoder of two models either has, on a text.
pub fn diff(sae: &Sae, models: [&Model; 2], text: &Text, options: &HarvestOptions, task: &Task) -> Result<Diff> {
    let sites = sae.sites_of_models(2).map_err(|e| e.about("s"))?;
    sae.check_models(&models.map(Model::name)).map_err(|e| e.about("s"))?;
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    let mut harvests = models
        .iter()
        .map(|model| TextReading::new(model, text, options).harvest(&sites, task))
        .collect::<Result<Vec<_>>>()?;
    let mut sums = ScalingSums::new(sae, harvests.first().map_or(0, |harvest| harvest.widths().iter().sum()))?;
    let bar = task.begin(&format!("comparing on {}", text.name()), text.options().tokens);
    loop {
        let blocks = harvests.iter_mut().map(|harvest| harvest.next(task)).collect::<Result<Vec<_>>>()?;
        let [Some(a), Some(b)] = blocks.as_slice() else { break };
        if a.tokens != b.tokens {
            return Err(
                err!(Argument, "expected models that read the same tokens, found others in the second").about("tuned")
            );
        }
        let parts: Vec<&Tensor> = a.activations.iter().chain(&b.activations).collect();
        sums.add(&Tensor::cat(&parts, 1)?, task)?;
        bar.advance(a.len() as u64);
    }
    sums.finish()
}

/// Measures how much of each feature either model has on rows `[n, d_in]`, in which those of both models are
/// concatenated.
pub fn diff_of_rows(sae: &Sae, x: &Tensor, task: &Task) -> Result<Diff> {
    sae.sites_of_models(2)?;
    let mut sums = ScalingSums::new(sae, sae.d_in() / 2)?;
    sums.add(&rows::matrix(x, sae.d_in(), "activations")?, task)?;
    sums.finish()
}

/// The sums that the betas of one feature are made of: d . sum f y for each target y.
#[derive(Debug, Clone, Default)]
struct BetaSums {
    fired: usize,
    squares: f64,
    errors: [f64; 2],
    reconstructions: [f64; 2],
}

struct ScalingSums<'a> {
    sae: &'a Sae,
    factors: Vec<f32>,
    /// Directions that the features write, and the bias, in units of the training.
    directions: Vec<f32>,
    bias: Vec<f32>,
    /// The width of the rows of one model.
    width: usize,
    shares: Vec<f64>,
    of: Vec<usize>,
    sums: Vec<BetaSums>,
    rows: usize,
}

impl<'a> ScalingSums<'a> {
    fn new(sae: &'a Sae, width: usize) -> Result<Self> {
        let parts = sae.parts();
        if 2 * width != sae.d_in() {
            let found = sae.d_in();
            return Err(err!(
                Shape,
                "expected a crosscoder of two models of width {width}, found one of width {found}"
            )
            .about("s"));
        }
        if parts.rescaled || parts.skip.is_some() {
            return Err(err!(Argument, "expected a crosscoder that writes codes times directions alone").about("s"));
        }
        let scales = factors(&parts.about.spans)?;
        let scaled = |t: &Tensor| -> Result<Vec<f32>> {
            let t = dtype::convert(&t.detach(), DType::F32)?.to_device(scales.device())?;
            Ok(t.broadcast_mul(&scales)?.flatten_all()?.to_vec1()?)
        };
        let bias = parts.decoder_bias.as_ref().map_or_else(|| Ok(vec![0.0; 2 * width]), scaled)?;
        let directions = scaled(sae.directions())?;
        let share_of_first = |direction: &[f32]| {
            let (first, second) = direction.split_at(width);
            let [first, second] = [first, second].map(norm);
            first / (first + second).max(f64::MIN_POSITIVE)
        };
        let shares: Vec<f64> = directions.chunks_exact(2 * width).map(share_of_first).collect();
        Ok(Self {
            sums: vec![BetaSums::default(); sae.d_sae()],
            of: shares.iter().map(|share| usize::from(*share <= 0.5)).collect(),
            shares,
            sae,
            factors: scales.to_vec1()?,
            directions,
            bias,
            width,
            rows: 0,
        })
    }

    /// Returns the direction of a feature in the rows of one model.
    fn direction(&self, feature: usize, model: usize) -> &[f32] {
        &self.directions[self.span(feature, model)]
    }

    fn span(&self, feature: usize, model: usize) -> Range<usize> {
        let start = (2 * feature + model) * self.width;
        start..start + self.width
    }

    fn add(&mut self, x: &Tensor, task: &Task) -> Result<()> {
        let codes = self.sae.encode_sparse(&dtype::convert(x, self.sae.parts().encoder.dtype())?, task)?.finite()?;
        let x = rows::finite(x, "activations", self.rows as u64)?;
        let wide = 2 * self.width;
        let mut written = vec![0.0; wide];
        for (row, x) in x.chunks_exact(wide).enumerate() {
            if row % 256 == 0 {
                task.check()?;
            }
            let (features, codes) = codes.row(row);
            written.fill(0.0);
            add_rows(arch(), &mut written, &self.directions, features.len(), |at| (features[at], codes[at]));
            let scaled = x.iter().zip(&self.factors).map(|(x, factor)| x * factor);
            let error: Vec<f32> =
                scaled.zip(&written).zip(&self.bias).map(|((x, written), bias)| x - written - bias).collect();
            for (feature, code) in features.iter().zip(codes) {
                let feature = *feature as usize;
                let own = self.direction(feature, self.of[feature]);
                let along = |y: &[f32]| {
                    let (first, second) = y.split_at(self.width);
                    [first, second].map(|y| f64::from(*code) * f64::from(dot(arch(), own, y)))
                };
                let errors = along(&error);
                let reconstructions = along(&written);
                let sum = &mut self.sums[feature];
                sum.fired += 1;
                sum.squares += f64::from(*code) * f64::from(*code);
                let sums = sum.errors.iter_mut().chain(&mut sum.reconstructions);
                sums.zip(errors.into_iter().chain(reconstructions)).for_each(|(sum, more)| *sum += more);
            }
            self.rows += 1;
        }
        Ok(())
    }

    fn finish(self) -> Result<Diff> {
        if self.rows == 0 {
            return Err(err!(Argument, "expected activations to compare on, found none").about("text"));
        }
        let of_feature = |(feature, sum): (usize, &BetaSums)| {
            let of = self.of[feature];
            let own = self.direction(feature, of);
            let length = norm(own).powi(2);
            // What writes nothing in either model is left out, like what is never active.
            let size = sum.squares * length;
            if size <= 0.0 {
                return None;
            }
            let itself = |model: usize| f64::from(dot(arch(), own, self.direction(feature, model))) / length;
            let share = self.shares[feature];
            Some(LatentScaling {
                feature,
                of,
                share: if of == 0 { share } else { 1.0 - share },
                fired: sum.fired,
                errors: [0, 1].map(|model| sum.errors[model] / size + itself(model)),
                reconstructions: sum.reconstructions.map(|sum| sum / size),
            })
        };
        let mut features: Vec<LatentScaling> = self.sums.iter().enumerate().filter_map(of_feature).collect();
        features.sort_by(|a, b| b.is_own().cmp(&a.is_own()).then(b.share.total_cmp(&a.share)));
        Ok(Diff { features, rows: self.rows })
    }
}

fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
}
