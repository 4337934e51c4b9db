//! A dictionary made of tensors that somebody gives, whatever fitted them.

use serde_json::Value;

use super::compatibility::{check_is_for, check_writes_behind, one_place};
use super::fit::{DictionaryShape, kinds};
use super::formats::parsed_site;
use super::{About, Activation, KindLabel, Parts, ReadSite, Sae, Scaling};
use crate::base::names;
use crate::common::*;
use crate::model::hooks::checks::finite;
use crate::options::OptionGroup;
use crate::tensor::Values;

crate::choices! {
    /// The activation function, which turns pre-activations into codes.
    pub enum GivenActivation {
        Relu = "relu",
        TopK = "topk",
        BatchTopK = "batch_topk",
        JumpRelu = "jumprelu",
        Gated = "gated",
        Linear = "linear",
        SoftTopK = "soft_topk",
        MatchingPursuit = "matching_pursuit",
        Nonnegative = "nonnegative",
    }
}

crate::choices! {
    /// The normalisation of each activation before it is encoded.
    pub enum GivenScaling {
        None = "none",
        ConstantNorm = "constant_norm",
        LayerNorm = "layer_norm",
    }
}

crate::options! {
    /// The tensors of a dictionary, and what is computed with them.
    pub struct GivenOptions {
        /// Encoder: the direction that each feature reads, one row a feature: `[d_sae, d_in]`.
        encoder: Option<Values> = None => usually("required");
        /// Decoder: the direction that each feature writes, one row a feature: `[d_sae, d_out]`.
        decoder: Option<Values> = None => usually("required");
        /// Bias of the pre-activations: `[d_sae]`.
        encoder_bias: Option<Values> = None;
        /// Bias of the reconstruction: `[d_out]`.
        decoder_bias: Option<Values> = None;
        /// Whether the decoder bias is subtracted from the input first.
        centred: bool = false;
        /// Activation function, which turns pre-activations into codes.
        activation: GivenActivation = GivenActivation::Relu;
        /// Number of codes in a row: the largest; with "linear", by their absolute value; with "batch_topk", the mean number of
        /// the training, for formats that state it; with "soft_topk", the limit of the estimate.
        k: Option<usize> = None
            => usually("none; required by \"topk\", \"soft_topk\" and \"matching_pursuit\"").at_least(1.0)
            .only("activation", &["topk", "batch_topk", "linear", "soft_topk", "matching_pursuit", "nonnegative"]);
        /// The hidden units of the estimator of a row's number of codes: `[d_sae, d_in]`.
        k_encoder: Option<Values> = None => usually("required").only("activation", &["soft_topk"]);
        /// Bias of these hidden units: `[d_sae]`.
        k_bias: Option<Values> = None => usually("required").only("activation", &["soft_topk"]);
        /// Weights of these hidden units: `[d_sae]`. The estimate is k sigmoid(k_weight . relu(k_encoder x + k_bias) + k_logit).
        k_weight: Option<Values> = None => usually("required").only("activation", &["soft_topk"]);
        /// The logit of the estimate where no hidden unit is active: `[1]`.
        k_logit: Option<Values> = None => usually("required").only("activation", &["soft_topk"]);
        /// The threshold above which a pre-activation is a code: one number, or one a feature.
        threshold: Option<Values> = None => usually("required").only("activation", &["batch_topk", "jumprelu"]);
        /// Bias of the gates, which is added to a pre-activation before its sign decides: `[d_sae]`.
        gate: Option<Values> = None => usually("required").only("activation", &["gated"]);
        /// Bias of the magnitudes, which is added to the size of a code: `[d_sae]`.
        magnitude: Option<Values> = None => usually("required").only("activation", &["gated"]);
        /// The logarithm of what a pre-activation is multiplied by for that size: `[d_sae]`.
        log_scale: Option<Values> = None => usually("required").only("activation", &["gated"]);
        /// P + N where encoder and decoder are P - N: `[d_sae, d_in]`, of nonnegative directions `[P, N]` for
        /// `[relu(x), relu(-x)]`, as `sae::nmf` has them.
        sum: Option<Values> = None => usually("required").only("activation", &["nonnegative"]);
        /// Whether codes are multiplied by the norms of their directions, and directions have norm 1 when they are written.
        rescaled: bool = false;
        /// A linear skip connection of a transcoder: `[d_out, d_in]`.
        skip: Option<Values> = None;
        /// Normalisation of each activation before it is encoded: none, times sqrt(d) / |x|, or by mean and standard
        /// deviation.
        scaling: GivenScaling = GivenScaling::None;
        /// Ends of nested prefixes of the features (Matryoshka); the last end is the number of features.
        prefixes: Vec<usize> = Vec::new();
        /// The site that it reads, as `resid_post.3`.
        site: Option<String> = None => usually("unknown");
        /// The site that a transcoder writes.
        writes: Option<String> = None => usually("the one that it reads");
    }
}

impl GivenOptions {
    /// Counts the numbers of the matrices.
    pub fn numbers(&self) -> usize {
        let matrices = [&self.encoder, &self.decoder, &self.skip, &self.sum, &self.k_encoder].into_iter().flatten();
        matrices.map(|values| values.dims().iter().product::<usize>()).sum()
    }

    /// Returns a tensor of the activation function by its name.
    fn of_activation(&self, name: &str) -> Option<&Values> {
        let all = [
            ("k_encoder", &self.k_encoder),
            ("k_bias", &self.k_bias),
            ("k_weight", &self.k_weight),
            ("k_logit", &self.k_logit),
            ("gate", &self.gate),
            ("magnitude", &self.magnitude),
            ("log_scale", &self.log_scale),
            ("sum", &self.sum),
        ];
        all.into_iter().find(|(known, _)| *known == name).and_then(|(_, values)| values.as_ref())
    }
}

/// Makes the dictionary of these tensors; with a model, only one that fits its sites. All parts are kept in the
/// encoder's dtype.
pub fn of_tensors(given: &GivenOptions, model: Option<&Model>) -> Result<Sae> {
    given.refuse_others()?;
    let (Some(encoder), Some(decoder)) = (&given.encoder, &given.decoder) else {
        let name = if given.encoder.is_none() { "encoder" } else { "decoder" };
        return Err(err!(Argument, "expected a tensor for `{name}`, found nothing").about(name));
    };
    let widths = shape_of(encoder, decoder)?;
    let take = GivenReader { given, widths, dtype: encoder.dtype() };
    let parts = Parts {
        encoder: take.tensor("encoder", encoder, &[widths.d_sae, widths.d_in])?,
        encoder_bias: take.maybe("encoder_bias", given.encoder_bias.as_ref(), &[widths.d_sae])?,
        activation: take.activation()?,
        decoder: take.tensor("decoder", decoder, &[widths.d_sae, widths.d_out])?,
        decoder_bias: take.maybe("decoder_bias", given.decoder_bias.as_ref(), &[widths.d_out])?,
        centred: given.centred,
        rescaled: given.rescaled,
        skip: take.maybe("skip", given.skip.as_ref(), &[widths.d_out, widths.d_in])?,
        scaling: match given.scaling {
            GivenScaling::None => Scaling::None,
            GivenScaling::ConstantNorm => Scaling::ConstantNorm,
            GivenScaling::LayerNorm => Scaling::LayerNorm,
        },
        about: take.about(model)?,
    };
    take.check_together(&parts)?;
    if let Some(model) = model {
        let name = if parts.about.sites.is_empty() { "model" } else { "site" };
        check_is_for(model, &parts.about, widths.d_in, widths.d_out).map_err(|e| e.about(name))?;
    }
    Sae::new(parts)
}

/// Returns the widths of a dictionary of these matrices.
fn shape_of(encoder: &Values, decoder: &Values) -> Result<DictionaryShape> {
    let (d_sae, d_in) = matrix("encoder", encoder)?;
    let (rows, d_out) = matrix("decoder", decoder)?;
    if rows == d_sae {
        return Ok(DictionaryShape { d_in, d_sae, d_out });
    }
    // Features are more than dimensions, nearly always.
    let name = if d_sae < d_in { "encoder" } else { "decoder" };
    let error = err!(
        Shape,
        "expected `encoder` and `decoder` with one row a feature each, found the shapes [{d_sae}, {d_in}] and \
         [{rows}, {d_out}]"
    );
    let transposed = d_in == rows || d_out == d_sae;
    let hint = transposed.then(|| format!("one of them is the other way round: give `{name}` as `w.transpose()`"));
    Err(error.maybe_hint(hint).about(name))
}

fn matrix(name: &str, values: &Values) -> Result<(usize, usize)> {
    match *values.dims() {
        [rows, columns] if rows > 0 && columns > 0 => Ok((rows, columns)),
        ref dims => Err(err!(Shape, "expected `{name}` with one row a feature, found the shape {dims:?}").about(name)),
    }
}

/// Takes the parts of a dictionary from what was given.
struct GivenReader<'a> {
    given: &'a GivenOptions,
    widths: DictionaryShape,
    dtype: DType,
}

impl GivenReader<'_> {
    fn tensor(&self, name: &str, values: &Values, dims: &[usize]) -> Result<Tensor> {
        if values.dims() != dims {
            let DictionaryShape { d_in, d_sae, d_out } = self.widths;
            let found = values.dims();
            return Err(err!(Shape, "expected `{name}` of the shape {dims:?}, found {found:?}")
                .hint(format!(
                    "`encoder` and `decoder` have {d_sae} features, which read a width of {d_in} and write {d_out}"
                ))
                .about(name));
        }
        let tensor = values.tensor(name, self.dtype)?.contiguous()?;
        finite(&tensor, format_args!("numbers in `{name}`")).map_err(|e| e.about(name))?;
        Ok(tensor)
    }

    fn maybe(&self, name: &str, values: Option<&Values>, dims: &[usize]) -> Result<Option<Tensor>> {
        values.map(|values| self.tensor(name, values, dims)).transpose()
    }

    fn missing(&self, name: &str) -> Error {
        let activation = self.given.activation.word();
        err!(Argument, "expected `{name}` for a dictionary with activation \"{activation}\", found nothing").about(name)
    }

    fn k(&self) -> Result<Option<usize>> {
        match self.given.k {
            Some(k) if k > self.widths.d_sae => {
                let most = self.widths.d_sae;
                Err(err!(Argument, "expected `k` from 1 to {most}, the number of features, found {k}").about("k"))
            }
            k => Ok(k),
        }
    }

    fn activation(&self) -> Result<Activation> {
        let k = self.k()?;
        match self.given.activation {
            GivenActivation::BatchTopK | GivenActivation::JumpRelu => Ok(Activation::Threshold(self.threshold()?)),
            other => kinds::activation(
                other.word(),
                k,
                || self.missing("k"),
                |name, part| {
                    let dims = part.shape(self.widths.d_sae, self.widths.d_in);
                    let values = self.given.of_activation(name);
                    self.maybe(name, values, &dims)?.ok_or_else(|| self.missing(name))
                },
            ),
        }
    }

    /// Returns one threshold a feature.
    fn threshold(&self) -> Result<Tensor> {
        let Some(threshold) = &self.given.threshold else {
            let hint =
                "each row is encoded by itself: the mean of the smallest code of a batch stands in for the others";
            let is_batch = self.given.activation == GivenActivation::BatchTopK;
            return Err(self.missing("threshold").maybe_hint(is_batch.then(|| hint.into())));
        };
        match threshold.dims() {
            [] | [1] => {
                let one = threshold.tensor("threshold", self.dtype)?.flatten_all()?;
                finite(&one, "numbers in `threshold`").map_err(|e| e.about("threshold"))?;
                Ok(one.broadcast_as(self.widths.d_sae)?.contiguous()?)
            }
            _ => self.tensor("threshold", threshold, &[self.widths.d_sae]),
        }
    }

    /// Describes the dictionary: its sites, its kind, and what formats state beside the tensors.
    fn about(&self, model: Option<&Model>) -> Result<About> {
        let given = self.given;
        let (site, writes) = match model {
            Some(model) => in_model(given, model)?,
            None => (named("site", given.site.as_deref())?, named("writes", given.writes.as_deref())?),
        };
        if let (None, Some(writes)) = (&site, &writes) {
            return Err(err!(Argument, "expected `site`, which it reads, beside `writes`, found {writes} alone")
                .about("writes"));
        }
        let writes = writes.filter(|writes| Some(writes) != site.as_ref());
        let transcodes = writes.is_some() || given.skip.is_some() || self.widths.d_in != self.widths.d_out;
        let mut about = About {
            kind: self.kind(transcodes),
            models: model.map(Model::name).into_iter().collect(),
            sites: site.into_iter().map(ReadSite::from).collect(),
            writes,
            prefixes: given.prefixes.clone(),
            ..About::default()
        };
        if let Some(k) = given.k.filter(|_| given.activation == GivenActivation::BatchTopK) {
            about.more.insert("k".into(), Value::from(k));
        }
        if transcodes {
            about.more.insert("fitted_as".into(), given.activation.word().into());
        }
        Ok(about)
    }

    fn kind(&self, transcodes: bool) -> KindLabel {
        match self.given.activation {
            _ if transcodes => KindLabel::of_transcoders(self.given.skip.is_some()),
            GivenActivation::BatchTopK if !self.given.prefixes.is_empty() => "matryoshka".into(),
            activation => activation.word().into(),
        }
    }

    /// Refuses what each part allows and all together do not, by the name of the option that is to be changed.
    fn check_together(&self, parts: &Parts) -> Result<()> {
        let DictionaryShape { d_in, d_sae, d_out } = self.widths;
        let name = match &parts.activation {
            _ if parts.centred && (parts.decoder_bias.is_none() || d_in != d_out) => "centred",
            Activation::Other(other) if other.function.check.is_some() => "activation",
            _ if parts.about.prefixes.last().is_some_and(|last| *last != d_sae) => {
                let ends = &parts.about.prefixes;
                return Err(err!(
                    Argument,
                    "expected `prefixes` up to {d_sae}, the number of features, found {ends:?}"
                )
                .about("prefixes"));
            }
            _ => "encoder",
        };
        parts.check().map_err(|e| e.about(name))
    }
}

/// Returns this program's name of a site, where there is no model to look into.
fn named(option: &str, site: Option<&str>) -> Result<Option<String>> {
    let Some(site) = site else { return Ok(None) };
    match parsed_site(site) {
        Some(place) => Ok(Some(place.to_string())),
        None => {
            let kind = site.split('.').next().unwrap_or_default();
            let near = names::suggestion(kind, SiteKind::all().map(SiteKind::name).collect::<Vec<_>>().iter().copied());
            Err(err!(Name, "expected a site, as `resid_post.3`, for `{option}`, found {site:?}")
                .maybe_hint(near)
                .about(option))
        }
    }
}

/// Returns the sites of a model that the dictionary reads and writes.
fn in_model(given: &GivenOptions, model: &Model) -> Result<(Option<String>, Option<String>)> {
    let config = model.decoder.config();
    let place = |option: &str, site: &Option<String>| {
        site.as_ref()
            .map(|site| one_place(config, site))
            .transpose()
            .map_err(|e| Error { about: None, ..e }.about(option))
    };
    let reads = place("site", &given.site)?;
    let writes = place("writes", &given.writes)?;
    if let (Some(reads), Some(writes)) = (reads, writes)
        && reads != writes
    {
        check_writes_behind(reads, writes).map_err(|e| e.about("writes"))?;
    }
    Ok((reads.map(|place| place.to_string()), writes.map(|place| place.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Device;

    fn rows(rows: &[[f32; 2]]) -> Option<Values> {
        let flat: Vec<f32> = rows.iter().flatten().copied().collect();
        Some(Values::Tensor(Tensor::from_vec(flat, (rows.len(), 2), &Device::Cpu).unwrap()))
    }

    fn each(numbers: &[f64]) -> Option<Values> {
        Some(Values::Numbers { values: numbers.to_vec(), dims: vec![numbers.len()] })
    }

    /// Makes three features of two dimensions.
    fn given() -> GivenOptions {
        let encoder = rows(&[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
        let decoder = rows(&[[1.0, 0.0], [0.0, 2.0], [0.5, 0.5]]);
        GivenOptions { encoder, decoder, encoder_bias: each(&[0.0, 0.5, -1.0]), ..GivenOptions::default() }
    }

    fn codes(given: &GivenOptions, x: [f32; 2]) -> Vec<f32> {
        let x = Tensor::new(&x, &Device::Cpu).unwrap();
        of_tensors(given, None).unwrap().encode(&x).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn every_activation_computes_what_its_formula_says() {
        // Pre-activations of (2, 1): 2, 1.5, 2.
        let of = |activation| GivenOptions { activation, ..given() };
        let x = [2.0, 1.0];
        assert_eq!(codes(&of(GivenActivation::Relu), x), [2.0, 1.5, 2.0]);
        assert_eq!(codes(&of(GivenActivation::Linear), [-2.0, 1.0]), [-2.0, 1.5, -2.0]);
        let topk = GivenOptions { k: Some(1), ..of(GivenActivation::TopK) };
        assert_eq!(codes(&topk, [3.0, 0.5]), [3.0, 0.0, 0.0]);
        for activation in [GivenActivation::BatchTopK, GivenActivation::JumpRelu] {
            let one = GivenOptions { threshold: each(&[1.8]), ..of(activation) };
            assert_eq!(codes(&one, x), [2.0, 0.0, 2.0]);
            let several = GivenOptions { threshold: each(&[2.5, 1.0, 0.0]), ..of(activation) };
            assert_eq!(codes(&several, x), [0.0, 1.5, 2.0]);
        }
        let gated = GivenOptions {
            gate: each(&[-3.0, 0.0, 0.0]),
            magnitude: each(&[0.0, 1.0, 0.0]),
            log_scale: each(&[0.0, 0.0, 2.0_f64.ln()]),
            ..of(GivenActivation::Gated)
        };
        let found = codes(&gated, x);
        assert_eq!(found[..2], [0.0, 2.5]);
        assert!((found[2] - 4.0).abs() < 1e-5, "{found:?}");
        let pursuit = GivenOptions {
            encoder: rows(&[[1.0, 0.0], [0.0, 1.0]]),
            decoder: rows(&[[1.0, 0.0], [0.0, 1.0]]),
            encoder_bias: None,
            k: Some(1),
            ..of(GivenActivation::MatchingPursuit)
        };
        assert_eq!(codes(&pursuit, x), [2.0, 0.0]);
    }

    #[test]
    fn a_wrong_part_is_refused_by_the_name_of_its_option() {
        let refused = |change: fn(&mut GivenOptions)| {
            let mut given = given();
            change(&mut given);
            let error = of_tensors(&given, None).unwrap_err();
            (error.about.clone().unwrap_or_default(), error.message)
        };
        let found = refused(|given| given.encoder = rows(&[[1.0, 0.0]]));
        assert_eq!(
            found.1,
            "expected `encoder` and `decoder` with one row a feature each, found the shapes [1, 2] and [3, 2]"
        );
        let found = refused(|given| given.encoder_bias = each(&[1.0]));
        assert_eq!(found.1, "expected `encoder_bias` of the shape [3], found [1]");
        type OptionEdit = fn(&mut GivenOptions);
        let changes: [(&str, OptionEdit); 12] = [
            ("encoder", |given| given.encoder = each(&[1.0])),
            ("decoder", |given| given.decoder = None),
            ("decoder_bias", |given| given.decoder_bias = each(&[1.0, f64::NAN])),
            ("k", |given| given.activation = GivenActivation::TopK),
            ("k", |given| (given.activation, given.k) = (GivenActivation::TopK, Some(4))),
            ("k", |given| given.k = Some(1)),
            ("threshold", |given| given.activation = GivenActivation::JumpRelu),
            ("gate", |given| given.activation = GivenActivation::Gated),
            ("centred", |given| given.centred = true),
            ("prefixes", |given| given.prefixes = vec![1, 2]),
            ("site", |given| given.site = Some("resid_pots.1".into())),
            ("writes", |given| given.writes = Some("mlp_out.1".into())),
        ];
        for (name, change) in changes {
            assert_eq!(refused(change).0, name);
        }
    }

    #[test]
    fn what_writes_elsewhere_is_a_transcoder() {
        let kind = |given: GivenOptions| of_tensors(&given, None).unwrap().parts().about.kind.to_string();
        assert_eq!(kind(given()), "relu");
        let at = |writes: &str| GivenOptions { site: Some("mlp_in.1".into()), writes: Some(writes.into()), ..given() };
        assert_eq!(kind(at("mlp_in.1")), "relu");
        assert_eq!(kind(at("mlp_out.1")), "transcoder");
        assert_eq!(kind(GivenOptions { skip: rows(&[[1.0, 0.0], [0.0, 1.0]]), ..at("mlp_out.1") }), "skip_transcoder");
    }
}
