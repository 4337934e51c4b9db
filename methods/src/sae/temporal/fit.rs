//! The fit of a temporal dictionary: it learns to reconstruct a site from predicted and novel codes, by Adam on whole
//! texts.

use serde_json::Map;

use super::measure::{SiteActivations, activations, place_of};
use super::{LinearMap, PredictingLayer, TemporalSae};
use crate::base::random::stream;
use crate::common::*;
use crate::data::Text;
use crate::data::harvest::{self, width};
use crate::options::OptionGroup;
use crate::sae::codes::unit_rows;
use crate::sae::fit::{FitStorage, SETTINGS};
use crate::sae::metrics::EvaluationText;
use crate::sae::text_rows::fit::{FittedOnText, TextFit, TextFitPlan, TextFitWords};
use crate::sae::text_rows::{ActivationSums, TextRows, weights};
use crate::sae::{About, Activation, ReadSite, Scaling};
use crate::tensor::create;
use crate::training::CheckpointFormat;

pub use crate::sae::text_rows::fit::TextDescentOptions;

/// The words of a fit.
const WORDS: TextFitWords = TextFitWords {
    kind: "temporal",
    name: "temporal dictionary",
    order: "temporal rows",
    checkpoint: CheckpointFormat {
        file: "temporal.safetensors",
        kind: "microtome fit of a temporal dictionary, 1",
        of: "a fit of a temporal dictionary",
    },
};

crate::options! {
    /// A fit of a temporal dictionary.
    pub struct TemporalFitOptions {
        /// Number of features.
        d_sae: Option<usize> = None => usually("`ratio` times the site's width").at_least(1.0);
        /// Number of features over the site's width.
        ratio: f64 = 4.0 => above(0.0);
        /// Number of novel codes of a token.
        k: usize = 32 => at_least(1.0);
        /// Number of attention heads that predict.
        heads: usize = 4 => at_least(1.0);
        /// Number of features over the size of all queries together.
        bottleneck: usize = 1 => at_least(1.0);
        /// Number of steps.
        steps: u64 = 1000 => at_least(1.0);
        with descent: TextDescentOptions;
    }
}

/// A temporal dictionary that was fitted, with the share of the variance that it did not explain in each step.
pub type FittedTemporal = FittedOnText<TemporalSae>;

/// Fits a temporal dictionary of a site of a model on a text, or resumes its fit from a checkpoint, or loads it from
/// the cache. An interruption ends the fit early: the result is the dictionary as it is.
pub fn fit(
    model: &Model,
    site: &str,
    text: &Text,
    options: &TemporalFitOptions,
    storage: &FitStorage,
    task: &Task,
) -> Result<FittedTemporal> {
    let place = place_of(model, site).map_err(|e| e.about("site"))?;
    let shape = TemporalShape::of(model, place, options)?;
    let recorded = options.recorded(options.descent.seed.draws());
    let plan = TextFitPlan {
        model,
        text,
        site: place.to_string(),
        features: shape.d_sae,
        context: shape.context,
        steps: options.steps,
        descent: &options.descent,
        options: recorded.clone(),
    };
    let mut fit = TextFit::open(plan, &WORDS, storage, task)?;
    let device = model.decoder.device();
    let about = About {
        kind: "temporal".into(),
        models: vec![model.name().clone()],
        sites: vec![ReadSite::new(place.to_string())],
        more: Map::from_iter([(SETTINGS.to_string(), recorded.into())]),
        ..About::default()
    };
    if let Some(FittedTemporal { made, losses }) = fit.cached(task)? {
        return Ok(FittedTemporal { made: TemporalSae { about, ..made.to_device(device)? }, losses });
    }
    let fitting = Fitting { model, place };
    let (mean, spread) = fitting.scale(&fit.rows, task)?;
    let begun = shape.started(options, about, &mean, 1.0 / spread)?.to_device(device)?;
    let (sae, losses) = fitting.run(&mut fit, &begun, task)?;
    Ok(fit.finished(sae, losses))
}

/// The sizes of a dictionary that is fitted.
struct TemporalShape {
    d_in: usize,
    d_sae: usize,
    d_qk: usize,
    heads: usize,
    context: usize,
}

impl TemporalShape {
    fn of(model: &Model, place: Place, options: &TemporalFitOptions) -> Result<Self> {
        let config = model.decoder.config();
        let d_in = width(config, place).map_err(|e| e.about("site"))?;
        let context = harvest::context(config, options.descent.context)?;
        let part = options.heads.saturating_mul(options.bottleneck);
        let wanted = options.d_sae.unwrap_or((d_in as f64 * options.ratio).round() as usize);
        // By `ratio` no number of features is meant exactly.
        let d_sae = if options.d_sae.is_none() { wanted.div_ceil(part).saturating_mul(part) } else { wanted };
        if d_sae == 0 || !d_sae.is_multiple_of(part) {
            return Err(err!(
                Argument,
                "expected a number of features that is a multiple of heads times `bottleneck`, {part}, found {d_sae}"
            )
            .hint("each head has as many values, and as many numbers of its queries")
            .about("d_sae"));
        }
        if options.k > d_sae {
            return Err(
                err!(Argument, "expected at most the {d_sae} features as novel codes, found {}", options.k).about("k")
            );
        }
        let d_qk = d_sae / options.bottleneck;
        let [features, queries, d] = [d_sae, d_qk, d_in].map(|size| size as u128);
        let wide = 2 * features + 2 * queries + d;
        let numbers = features.saturating_mul(wide);
        memory::check_on(model.decoder.device(), numbers.saturating_mul(24), || {
            "the weights of a temporal dictionary".into()
        })
        .map_err(|e| e.about("d_sae"))?;
        let positions = (options.descent.batch as u128) * (context as u128);
        let passes = positions.saturating_mul(features * 16 + queries * 4);
        memory::check_on(model.decoder.device(), passes.saturating_mul(4), || "the codes of a step".into())
            .map_err(|e| e.about("batch"))?;
        Ok(Self { d_in, d_sae, d_qk, heads: options.heads, context })
    }

    /// Draws the dictionary that a fit begins with. Its rows have the length at which a token that is one of them has
    /// itself as its code, 2 sqrt(d), and the rows of its maps those of the authors' code.
    fn started(&self, options: &TemporalFitOptions, about: About, mean: &[f32], factor: f64) -> Result<TemporalSae> {
        let &Self { d_in, d_sae, d_qk, heads, context } = self;
        let mut random = stream(options.descent.seed.draws(), "temporal", 0);
        let mut rows = |count: usize, wide: usize, length: f64| -> Result<Tensor> {
            let drawn = create::randn(&[count, wide], DType::F32, &mut random)?;
            Ok((unit_rows(&drawn, f64::from(f32::MIN_POSITIVE))? * length)?)
        };
        let decoder = rows(d_sae, d_in, row_length(d_in))?;
        let mut map = |count: usize, length: f64| -> Result<LinearMap> {
            Ok(LinearMap { weight: rows(count, d_sae, length)?, bias: Tensor::zeros(count, DType::F32, &Device::Cpu)? })
        };
        let of_queries = 1.0 / ((d_qk / heads) as f64).sqrt();
        let layer = PredictingLayer {
            keys: map(d_qk, of_queries)?,
            queries: map(d_qk, of_queries)?,
            values: map(d_sae, 1.0 / ((d_sae / heads) as f64).sqrt())?,
            output: map(d_sae, 1.0 / (d_sae as f64).sqrt())?,
        };
        let mean = Tensor::from_vec(mean.to_vec(), d_in, &Device::Cpu)?;
        TemporalSae {
            layers: vec![layer],
            heads,
            encoder: None,
            decoder,
            bias: (mean * factor)?,
            centred: true,
            activation: Activation::TopK(options.k),
            factor,
            scaling: Scaling::None,
            context: Some(context),
            about,
        }
        .check()
    }
}

/// Returns the length of a dictionary's rows u at which λ |u|² = 1, so that the code of u writes u.
fn row_length(d_in: usize) -> f64 {
    2.0 * (d_in as f64).sqrt()
}

/// A site that a dictionary is fitted to.
struct Fitting<'a> {
    model: &'a Model,
    place: Place,
}

impl Fitting<'_> {
    /// Reads activations, with a weight for each position: 1 where it counts.
    fn read(&self, rows: &[&EvaluationText], task: &Task) -> Result<(SiteActivations, Tensor)> {
        let batch = Batch::new(rows.iter().map(|row| row.ids.clone()).collect())?;
        let found = activations(self.model, self.place, &batch, task)?;
        let weights = weights(rows, batch.width(), self.model.decoder.device())?;
        Ok((found, weights))
    }

    /// Measures the mean of the activations, and the size of their numbers about it.
    fn scale(&self, rows: &TextRows, task: &Task) -> Result<(Vec<f32>, f64)> {
        let mut sums = ActivationSums::default();
        for part in rows.first() {
            let (SiteActivations { x, .. }, weights) = self.read(&part, task)?;
            sums.add(&x, &weights)?;
        }
        let (mean, spread) = sums.spread();
        if !(spread > 0.0 && spread.is_finite()) {
            return Err(
                err!(Argument, "expected activations that vary, found {} that does not", self.place).about("site")
            );
        }
        Ok((mean, spread))
    }

    /// Makes the steps of a fit. Returns the dictionary, and the losses.
    fn run(&self, fit: &mut TextFit, begun: &TemporalSae, task: &Task) -> Result<(TemporalSae, Vec<f64>)> {
        // The dictionary descends with rows of length 1, as others do: a step is as large beside them.
        let length = row_length(begun.d_in());
        let parameters = begun.tensors().into_iter().map(|(name, tensor)| {
            let tensor = if name == "W_dec" { (tensor / length)? } else { tensor.clone() };
            Ok((name, tensor))
        });
        let with = |tensors: &[Tensor]| -> Result<TemporalSae> {
            let mut tensors = tensors.to_vec();
            tensors[0] = (&tensors[0] * length)?;
            begun.with(tensors)
        };
        let (tensors, losses) = fit.descend(
            parameters.collect::<Result<_>>()?,
            |descent, rows| {
                let (SiteActivations { x, gap }, weights) = self.read(rows, task)?;
                let count = weights.sum_all()?;
                let mut loss = |tensors: &[Tensor]| {
                    let found = with(tensors)?.reconstruct(&x, gap.as_ref())?;
                    let error = ((found - &x)? * begun.factor)?.sqr()?.broadcast_mul(&weights)?;
                    Ok((error.sum_all()?.div(&count)? / begun.d_in() as f64)?)
                };
                descent.step(&mut loss, task)
            },
            task,
        )?;
        Ok((with(&tensors)?.check()?, losses))
    }
}
