//! Norms and activation functions with the gradients of the model's rules ([`GradientRules`]).
//!
//! RelP (Rezaei Jafari et al. 2025, table 1) replaces three derivatives; values are those of a plain pass.
//!
//!     y = (x - mean x) / s     LN-rule: the divisor s is a constant
//!     y = act(x)               identity rule: y = c x with the constant c = act(x) / x
//!     y = act(g) u             half rule: g and u have half of the derivative of c g u each

use kernels::{Activation, NormKind};

use super::{Decoder, linear, mapped};
use crate::base::{Result, Task};
use crate::err;
use crate::model::gradient_rules::GradientRules;
use crate::model::weights::Linear;
use crate::tensor::{DType, Tensor};

/// The constants of a norm, as `kernels::norm` takes them.
#[derive(Clone, Copy)]
pub(super) struct NormOf<'a> {
    pub kind: NormKind,
    pub eps: f64,
    pub weight: Option<&'a Tensor>,
    pub plus_one: bool,
    pub bias: Option<&'a Tensor>,
}

impl Decoder {
    /// Returns this model with gradients by these rules; refuses a model with parts that the rules do not cover. Values
    /// stay.
    pub fn by_rules(&self, rules: GradientRules) -> Result<Self> {
        let config = self.config();
        match config.beyond_relevance().filter(|_| rules == GradientRules::Relp) {
            None => Ok(Self { rules, ..self.keeping(self.kept.clone()) }),
            Some(what) => {
                let family = &config.family;
                Err(err!(Argument, "relevance propagation has no rule for {what}, which this model ({family}) has")
                    .hint("gradients: \"derivatives\" is for every model")
                    .about("gradients"))
            }
        }
    }

    /// Returns whether gradients that reach x go on by the rules of relevance propagation.
    fn propagates(&self, x: &Tensor) -> bool {
        self.rules == GradientRules::Relp && x.track_op()
    }

    pub(super) fn norm_by_rules(&self, x: &Tensor, of: NormOf) -> Result<Tensor> {
        let NormOf { kind, eps, weight, plus_one, bias } = of;
        if !self.propagates(x) {
            return Ok(kernels::norm(x, kind, eps, weight, plus_one, bias)?);
        }
        let from = x.detach();
        let result = kernels::norm(&from, kind, eps, weight, plus_one, bias)?;
        let weight = weight.cloned();
        Ok(kernels::with_gradient("norm_of_constant_divisor", &result, &[x], move |_, gradient| {
            let of = NormOf { kind, eps, weight: weight.as_ref(), plus_one, bias: None };
            Ok(vec![Some(of.back_by_constant_divisor(&from, gradient)?)])
        })?)
    }

    /// Computes the divisor of a norm, which by the rules of relevance propagation passes no gradient on.
    pub(super) fn norm_scale_by_rules(&self, x: &Tensor, kind: NormKind, eps: f64) -> Result<Tensor> {
        Ok(if self.propagates(x) {
            kernels::norm_scale(&x.detach(), kind, eps)?
        } else {
            kernels::norm_scale(x, kind, eps)?
        })
    }

    /// Computes the gradients at the input x of a norm, `[copies, ..]` with the axes of x behind, from those at its
    /// result.
    pub(super) fn norm_gradient_by_rules(&self, x: &Tensor, of: NormOf, gradients: &Tensor) -> Result<Tensor> {
        Ok(match self.rules {
            GradientRules::Derivatives => {
                kernels::norm_gradient(x, of.kind, of.eps, of.weight, of.plus_one, gradients)?
            }
            GradientRules::Relp => of.back_by_constant_divisor(x, gradients)?,
        })
    }

    pub(super) fn activated(&self, x: &Tensor, act: Activation) -> Result<Tensor> {
        if !self.propagates(x) {
            return Ok(kernels::activate(x, act)?);
        }
        let from = x.detach();
        let result = kernels::activate(&from, act)?;
        let factor = factor(&from, &result, act)?;
        Ok(kernels::with_gradient("activate_by_identity", &result, &[x], move |_, gradient| {
            Ok(vec![Some((gradient * &factor)?)])
        })?)
    }

    /// Computes act(gate) * up.
    pub(super) fn gated(&self, gate: &Tensor, up: &Tensor, act: Activation) -> Result<Tensor> {
        if !self.propagates(gate) && !self.propagates(up) {
            return Ok(kernels::activate_gated(gate, up, act)?);
        }
        let from = gate.detach();
        let times = up.detach();
        let opened = kernels::activate(&from, act)?;
        let of_gate = ((factor(&from, &opened, act)? * &times)? * 0.5)?;
        let of_up = (opened * 0.5)?;
        let result = kernels::activate_gated(&from, &times, act)?;
        Ok(kernels::with_gradient("activate_gated_by_halves", &result, &[gate, up], move |_, gradient| {
            Ok(vec![Some((gradient * &of_gate)?), Some((gradient * &of_up)?)])
        })?)
    }

    /// Applies a linear map and an activation function.
    pub(super) fn mapped_by_rules(&self, task: &Task, x: &Tensor, map: &Linear, act: Activation) -> Result<Tensor> {
        if self.propagates(x) { self.activated(&linear(task, x, map)?, act) } else { mapped(task, x, map, Some(act)) }
    }
}

impl NormOf<'_> {
    /// Computes the gradients at the input x, `[copies, ..]` with the axes of x behind, where the divisor is a constant:
    /// the transpose of a linear map, (g w - mean g w) / s.
    fn back_by_constant_divisor(&self, x: &Tensor, gradients: &Tensor) -> kernels::Result<Tensor> {
        let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let scale = kernels::norm_scale(&x.detach().to_dtype(dtype)?, self.kind, self.eps)?;
        let mut found = gradients.to_dtype(dtype)?;
        if let Some(weight) = self.weight {
            let weight = weight.detach().to_dtype(dtype)?;
            found = found.broadcast_mul(&if self.plus_one { (weight + 1.0)? } else { weight })?;
        }
        Ok(kernels::norm_with_scale(&found, self.kind, &scale, None, false, None)?.to_dtype(x.dtype())?)
    }
}

/// Computes act(x) / x, and its limit at 0: the slope there.
fn factor(x: &Tensor, activated: &Tensor, act: Activation) -> Result<Tensor> {
    let limit = match act {
        Activation::Gelu | Activation::GeluTanh | Activation::Silu => 0.5,
        Activation::Relu | Activation::SquaredRelu => 0.0,
    };
    let limit = (x.zeros_like()? + limit)?;
    Ok(x.eq(0.0)?.where_cond(&limit, &(activated / x)?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Var;
    use kit::{far, largest};

    use super::*;
    use crate::model::batch::Batch;
    use crate::model::config::{Config, Positions, Predicts};
    use crate::model::decoder::Logits;
    use crate::model::fixtures::{config, configs, decoder};
    use crate::model::grads::MetricGradients;
    use crate::model::hooks::{At, BoundHook, Edit};
    use crate::model::run::Ask;
    use crate::model::site::{Place, SiteKind, places};
    use crate::tensor::Device;
    use crate::tensor::floats;

    fn random(dims: &[usize]) -> Tensor {
        let count = dims.iter().product::<usize>();
        let numbers: Vec<f64> = (0..count).map(|i| ((i * i + 3 * i + 1) as f64 * 0.7).sin() * 1.5).collect();
        Tensor::from_vec(numbers, dims, &Device::Cpu).unwrap()
    }

    fn relp(config: Config, dtype: DType) -> Decoder {
        decoder(config, dtype).by_rules(GradientRules::Relp).unwrap()
    }

    /// Returns the derivative of the sum of weights times f(x), by finite differences of each number.
    fn by_differences(x: &Tensor, weights: &Tensor, f: &dyn Fn(&Tensor) -> Tensor) -> Tensor {
        const STEP: f64 = 1e-5;
        let flat: Vec<f64> = x.flatten_all().unwrap().to_vec1().unwrap();
        let sum = |at: usize, step: f64| -> f64 {
            let mut moved = flat.clone();
            moved[at] += step;
            let y = f(&Tensor::from_vec(moved, x.dims(), &Device::Cpu).unwrap());
            (y * weights).unwrap().sum_all().unwrap().to_scalar().unwrap()
        };
        let slopes: Vec<f64> = (0..flat.len()).map(|at| (sum(at, STEP) - sum(at, -STEP)) / (2.0 * STEP)).collect();
        Tensor::from_vec(slopes, x.dims(), &Device::Cpu).unwrap()
    }

    /// Returns the gradient of the sum of weights times f(x).
    fn by_rule(x: &Tensor, weights: &Tensor, f: &dyn Fn(&Tensor) -> Tensor) -> Tensor {
        let x = Var::from_tensor(x).unwrap();
        let sum = (f(&x) * weights).unwrap().sum_all().unwrap();
        sum.backward().unwrap().get(&x).unwrap().clone()
    }

    const ACTIVATIONS: [Activation; 5] =
        [Activation::Relu, Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::SquaredRelu];

    #[test]
    fn norms_have_the_derivative_of_what_they_are_with_a_constant_divisor() {
        let model = relp(config(), DType::F64);
        let x = random(&[2, 3, 8]);
        let weights = (random(&[2, 3, 8]) + 0.3).unwrap();
        let gain = random(&[8]);
        let bias = (random(&[8]) * 0.5).unwrap();
        for kind in [NormKind::Layer, NormKind::Rms] {
            for plus_one in [false, true] {
                let of = NormOf { kind, eps: 1e-3, weight: Some(&gain), plus_one, bias: Some(&bias) };
                let scale = kernels::norm_scale(&x, kind, of.eps).unwrap();
                let frozen =
                    |x: &Tensor| kernels::norm_with_scale(x, kind, &scale, of.weight, plus_one, of.bias).unwrap();
                let found = by_rule(&x, &weights, &|x| model.norm_by_rules(x, of).unwrap());
                assert!(far(&found, by_differences(&x, &weights, &frozen)) < 1e-8, "{kind:?}");
                let several = Tensor::stack(&[&weights, &x], 0).unwrap();
                let passed = model.norm_gradient_by_rules(&x, of, &several).unwrap();
                assert!(far(passed.get(0).unwrap(), &found) < 1e-12);
                let plain = by_differences(&x, &weights, &|x| {
                    kernels::norm(x, kind, of.eps, of.weight, plus_one, of.bias).unwrap()
                });
                assert!(far(&found, plain) > 0.1, "the rule is another than the derivative");
            }
        }
    }

    #[test]
    fn activation_functions_have_the_derivative_of_a_product_with_a_constant() {
        let model = relp(config(), DType::F64);
        let x = random(&[4, 5]);
        let weights = (random(&[4, 5]) + 0.2).unwrap();
        for act in ACTIVATIONS {
            let factor = (kernels::activate(&x, act).unwrap() / &x).unwrap();
            let found = by_rule(&x, &weights, &|x| model.activated(x, act).unwrap());
            assert!(far(&found, by_differences(&x, &weights, &|x| (x * &factor).unwrap())) < 1e-8, "{act:?}");
            // At 0 the factor is the limit of act(x) / x.
            let zero = Tensor::zeros((1, 1), DType::F64, &Device::Cpu).unwrap();
            let near = (&zero + 1e-7).unwrap();
            let at = |x: &Tensor| by_rule(x, &zero.ones_like().unwrap(), &|x| model.activated(x, act).unwrap());
            let limit = if act == Activation::Relu { zero.clone() } else { at(&near) };
            assert!(far(at(&zero), limit) < 1e-6, "{act:?}");
        }
    }

    #[test]
    fn each_factor_of_a_gated_mlp_has_half_of_the_derivative() {
        let model = relp(config(), DType::F64);
        let gate = random(&[4, 5]);
        let up = (random(&[4, 5]) + 0.4).unwrap();
        let weights = (random(&[4, 5]) + 0.2).unwrap();
        for act in ACTIVATIONS {
            let opened = kernels::activate(&gate, act).unwrap();
            let factor = (&opened / &gate).unwrap();
            let of_gate = by_rule(&gate, &weights, &|gate| model.gated(gate, &up, act).unwrap());
            let halved = |gate: &Tensor| (((gate * &factor).unwrap() * &up).unwrap() * 0.5).unwrap();
            assert!(far(&of_gate, by_differences(&gate, &weights, &halved)) < 1e-8, "{act:?}");
            let of_up = by_rule(&up, &weights, &|up| model.gated(&gate, up, act).unwrap());
            let halved = |up: &Tensor| ((&opened * up).unwrap() * 0.5).unwrap();
            assert!(far(&of_up, by_differences(&up, &weights, &halved)) < 1e-8, "{act:?}");
        }
    }

    /// A hook that holds a site constant.
    struct Constant;

    impl Edit for Constant {
        fn edit(&mut self, _: &At, _: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
            Ok(Some(x.detach()))
        }
    }

    /// Takes the gradients of one logit of each text at its last token.
    fn gradients(model: &Decoder, batch: &Batch, sites: &[Place], held: &[&str]) -> MetricGradients {
        let hook = |site: &&str| BoundHook::new(model.config(), site, None, None, Box::new(Constant)).unwrap();
        let hooks = held.iter().map(hook).collect();
        let mut metric = |logits: &Tensor| Ok(logits.narrow(2, 4, 1)?.sum_all()?);
        model.grads(batch, hooks, sites, Logits::At(&[-1]), &mut metric, &Task::default()).unwrap()
    }

    fn batch() -> Batch {
        Batch::new(vec![vec![3, 1, 4, 1, 5], vec![2, 6, 5]]).unwrap()
    }

    fn obeying() -> Vec<Config> {
        let all = configs().into_iter().filter(|config| config.beyond_relevance().is_none());
        all.filter(|config| config.predicts != Predicts::Nothing).collect()
    }

    #[test]
    fn relevance_is_conserved_in_every_shape_without_biases_where_patterns_are_constants() {
        let mut shapes = 0;
        for config in obeying().into_iter().filter(|config| config.layer_inputs.is_none()) {
            let config = Config {
                norm_bias: false,
                out_bias: false,
                mlp_bias: false,
                qkv_bias: false,
                unembed_bias: false,
                logit_cap: None,
                token_types: None,
                transform: config.transform.clone().map(|of| crate::model::config::Transform { bias: false, ..of }),
                ..config
            };
            let mut first = vec!["embed".to_string()];
            first.extend((config.positions == Positions::Learned).then(|| "pos_embed".into()));
            let mut sites = vec![first];
            // Elsewhere keys and values of one layer reach others around the stream.
            if config.shared_keys.is_none() {
                sites.extend((0..config.layers).map(|layer| vec![format!("resid_post.{layer}")]));
            }
            let held = if SiteKind::Pattern.exists(&config) { vec!["pattern.*"] } else { Vec::new() };
            for (dtype, most) in [(DType::F64, 1e-10), (DType::F32, 2e-5)] {
                let model = relp(config.clone(), dtype);
                for sites in &sites {
                    let places = places(&config, sites).unwrap();
                    let found = gradients(&model, &batch(), &places, &held);
                    let ask = Ask { places: places.clone(), ..Ask::default() };
                    let cache = model.cache(&batch(), ask, &Task::default()).unwrap();
                    let mut sum = 0.0;
                    for place in &places {
                        for (row, length) in batch().lengths().into_iter().enumerate() {
                            let of = |cache: &crate::model::cache::Cache| {
                                cache.at(*place).unwrap().get(row).unwrap().narrow(0, 0, length).unwrap()
                            };
                            let product = (of(&cache) * of(&found.cache)).unwrap();
                            sum += floats(&product.flatten_all().unwrap()).unwrap().iter().sum::<f64>();
                        }
                    }
                    let off = (sum - found.value).abs() / found.value.abs().max(1.0);
                    assert!(off < most, "{sum} of {} at {sites:?}: {config:?}", found.value);
                }
            }
            shapes += 1;
        }
        assert!(shapes > 10, "{shapes}");
    }

    #[test]
    fn where_a_model_is_piecewise_linear_the_rules_are_derivatives() {
        let linear = Config { norm: None, act: Activation::Relu, layers: 3, ..config() };
        for dtype in [DType::F64, DType::F32] {
            let plain = decoder(linear.clone(), dtype);
            let sites = places(&linear, &["resid_pre.*", "attn_out.*", "mlp_out.*", "z.*"].map(String::from)).unwrap();
            let derivatives = gradients(&plain, &batch(), &sites, &[]);
            let found = gradients(&plain.by_rules(GradientRules::Relp).unwrap(), &batch(), &sites, &[]);
            for place in sites {
                let expected = derivatives.cache.at(place).unwrap();
                assert!(largest(&expected) > 1e-3);
                assert!(far(found.cache.at(place).unwrap(), expected) < if dtype == DType::F64 { 1e-12 } else { 1e-6 });
            }
        }
    }

    #[test]
    fn values_stay_and_texts_together_have_the_coefficients_of_each_alone() {
        for config in obeying() {
            let plain = decoder(config.clone(), DType::F32);
            let model = plain.by_rules(GradientRules::Relp).unwrap();
            let sites = places(&config, &["embed".into(), "attn_out.*".into()]).unwrap();
            let together = gradients(&model, &batch(), &sites, &[]);
            let derivatives = gradients(&plain, &batch(), &sites, &[]);
            assert_eq!(together.value, derivatives.value, "{config:?}");
            let mut differ = false;
            for (row, ids) in batch().rows().iter().enumerate() {
                let alone = gradients(&model, &Batch::new(vec![ids.clone()]).unwrap(), &sites, &[]);
                for place in &sites {
                    let of_row = together.cache.at(*place).unwrap().get(row).unwrap();
                    let of_row = of_row.narrow(0, 0, ids.len()).unwrap();
                    let expected = alone.cache.at(*place).unwrap().get(0).unwrap();
                    assert!(far(&of_row, &expected) < 1e-5 * largest(&expected).max(1.0), "{place}: {config:?}");
                    let other = derivatives.cache.at(*place).unwrap().get(row).unwrap();
                    differ |= far(of_row, other.narrow(0, 0, ids.len()).unwrap()) > 1e-4;
                }
            }
            assert!(differ || (config.norm.is_none() && !config.has_mlp()), "{config:?}");
        }
    }

    #[test]
    fn shapes_without_a_rule_are_refused_by_name() {
        let mut refused = std::collections::BTreeSet::new();
        let gated = Config { gated_heads: true, ..config() };
        for config in configs().into_iter().chain([gated]) {
            let model = decoder(config, DType::F32);
            assert!(model.by_rules(GradientRules::Derivatives).is_ok());
            if let Err(error) = model.by_rules(GradientRules::Relp) {
                refused.insert(error.message);
            }
        }
        let words = ["experts", "gates of attention heads", "delta nets", "state spaces", "time mixing"];
        for word in words {
            assert!(refused.iter().any(|message| message.contains(word)), "{word}: {refused:?}");
        }
    }
}
