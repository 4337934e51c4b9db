//! Activation functions of dictionaries.

use super::soft_topk::CountEstimator;
use crate::common::*;

/// The activation function.
#[derive(Debug, Clone)]
pub enum Activation {
    Relu,
    /// The k largest of each row, those above 0.
    TopK(usize),
    /// Codes above 0 and above a threshold, one a feature: `[d_sae]`.
    Threshold(Tensor),
    /// pre = x W_enc^T: where pre + gate > 0, relu(exp(log_scale) pre + magnitude); each `[d_sae]` (Rajamanoharan 2024).
    Gated {
        gate: Tensor,
        magnitude: Tensor,
        log_scale: Tensor,
    },
    /// The largest of each row, those above 0, as many as an estimator says of the row.
    SoftTopK(CountEstimator),
    /// k steps of matching pursuit: each adds a code of what those before have left of the input (see `pursuit.rs`). The
    /// encoder is the decoder, whose directions have norm 1.
    MatchingPursuit(usize),
    /// Codes that may be below 0: all of them, or the k largest by their absolute value.
    Linear(Option<usize>),
    /// Codes c >= 0 with the least |[relu(x), relu(-x)] - c W|, all of them or the k largest. Of the nonnegative W =
    /// [P, N] the encoder has P - N, which is what is written, and `sum` has P + N: `[d_sae, d_in]`.
    Nonnegative {
        sum: Tensor,
        k: Option<usize>,
    },
}

/// The meaning of a tensor of an activation function, which says what becomes of it when codes are scaled or moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationPart {
    /// A number a feature in units of its pre-activation, `[d_sae]`.
    Offset,
    /// A number a feature without a unit, `[d_sae]`.
    Factor,
    /// A row a feature of what is read, for numbers without a unit, `[d_sae, d_in]`.
    Rows,
    /// One number without a unit, `[1]`.
    Single,
}

/// A tensor of an activation function.
pub struct ActivationTensor<'a> {
    /// Name of the tensor in files and errors.
    pub name: &'static str,
    pub part: ActivationPart,
    pub tensor: &'a Tensor,
}

impl Activation {
    /// Returns the maximum number of active features, where it has one.
    pub fn most(&self) -> Option<usize> {
        match self {
            Activation::TopK(k) | Activation::MatchingPursuit(k) => Some(*k),
            Activation::SoftTopK(estimator) => Some(estimator.most),
            Activation::Linear(k) | Activation::Nonnegative { k, .. } => *k,
            Activation::Relu | Activation::Threshold(_) | Activation::Gated { .. } => None,
        }
    }

    /// Names the activation function as descriptions of dictionaries do.
    pub fn name(&self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::TopK(_) => "topk",
            Activation::Threshold(_) => "jumprelu",
            Activation::Gated { .. } => "gated",
            Activation::SoftTopK(_) => "soft_topk",
            Activation::MatchingPursuit(_) => "matching_pursuit",
            Activation::Linear(_) => "linear",
            Activation::Nonnegative { .. } => "nonnegative",
        }
    }

    /// Returns the tensors of the function.
    pub fn tensors(&self) -> Vec<ActivationTensor<'_>> {
        let of = |name, part, tensor| ActivationTensor { name, part, tensor };
        match self {
            Activation::Threshold(threshold) => vec![of("threshold", ActivationPart::Offset, threshold)],
            Activation::Gated { gate, magnitude, log_scale } => vec![
                of("gate", ActivationPart::Offset, gate),
                of("magnitude", ActivationPart::Offset, magnitude),
                of("log_scale", ActivationPart::Factor, log_scale),
            ],
            Activation::SoftTopK(estimator) => vec![
                of("k_encoder", ActivationPart::Rows, &estimator.encoder),
                of("k_bias", ActivationPart::Factor, &estimator.bias),
                of("k_weight", ActivationPart::Factor, &estimator.weight),
                of("k_logit", ActivationPart::Single, &estimator.logit),
            ],
            Activation::Nonnegative { sum, .. } => vec![of("sum", ActivationPart::Rows, sum)],
            Activation::Relu | Activation::TopK(_) | Activation::MatchingPursuit(_) | Activation::Linear(_) => {
                Vec::new()
            }
        }
    }

    /// Returns the function with each of its tensors changed.
    pub fn changed(&self, change: impl Fn(&ActivationTensor) -> Result<Tensor>) -> Result<Self> {
        let mut changed = self.tensors().iter().map(change).collect::<Result<Vec<_>>>()?.into_iter();
        let mut made = self.clone();
        for tensor in made.tensors_mut() {
            if let Some(changed) = changed.next() {
                *tensor = changed;
            }
        }
        Ok(made)
    }

    /// Returns the function with each offset changed, as where codes are scaled.
    pub fn with_offsets(&self, change: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        self.changed(|one| if one.part == ActivationPart::Offset { change(one.tensor) } else { Ok(one.tensor.clone()) })
    }

    /// Returns the function for an input that was multiplied by `scale` in training: offsets are in units of the scaled one,
    /// and rows of what is read take the scale up.
    pub fn of_unscaled(&self, scale: f64) -> Result<Self> {
        self.changed(|one| match one.part {
            ActivationPart::Offset => Ok((one.tensor / scale)?),
            ActivationPart::Rows => Ok((one.tensor * scale)?),
            ActivationPart::Factor | ActivationPart::Single => Ok(one.tensor.clone()),
        })
    }

    /// Returns the function of the k largest codes of those that this one gives. One that selects them by thresholds, gates
    /// or an estimate of their number refuses.
    pub fn keeping(&self, k: usize) -> Result<Self> {
        let name = self.name();
        match self {
            Activation::Relu | Activation::TopK(_) => Ok(Activation::TopK(k)),
            Activation::MatchingPursuit(_) => Ok(Activation::MatchingPursuit(k)),
            Activation::Linear(_) => Ok(Activation::Linear(Some(k))),
            Activation::Nonnegative { sum, .. } => Ok(Activation::Nonnegative { sum: sum.clone(), k: Some(k) }),
            Activation::Threshold(_) | Activation::Gated { .. } => {
                Err(err!(Argument, "a {name} dictionary selects its codes by thresholds or gates"))
            }
            Activation::SoftTopK(_) => Err(err!(Argument, "a {name} dictionary estimates how many codes it keeps")),
        }
    }

    /// Says what a format that lacks the function does not have.
    pub fn in_words(&self) -> String {
        match self {
            Activation::Linear(None) => "its codes are linear in the input".into(),
            Activation::Linear(Some(_)) => "it keeps the largest codes by their absolute value".into(),
            Activation::SoftTopK(_) => "it estimates the number of its codes for each row".into(),
            Activation::MatchingPursuit(_) => "each of its codes depends on those found before".into(),
            Activation::Nonnegative { .. } => "each of its codes depends on all others".into(),
            Activation::Relu | Activation::TopK(_) | Activation::Threshold(_) | Activation::Gated { .. } => {
                format!("its codes are made by `{}`", self.name())
            }
        }
    }

    /// Returns the function of one feature by itself; None where its codes depend on those of others.
    pub fn alone(&self, feature: usize) -> Result<Option<Self>> {
        match self {
            Activation::Relu | Activation::Threshold(_) | Activation::Gated { .. } | Activation::Linear(None) => {
                self.changed(|one| Ok(one.tensor.narrow(0, feature, 1)?)).map(Some)
            }
            Activation::TopK(_)
            | Activation::SoftTopK(_)
            | Activation::MatchingPursuit(_)
            | Activation::Linear(Some(_))
            | Activation::Nonnegative { .. } => Ok(None),
        }
    }

    /// Makes the function that a file names, of its k and its tensors, which `take` reads by their names.
    pub fn read(
        name: Option<&str>,
        k: Option<usize>,
        mut take: impl FnMut(&'static str) -> Result<Tensor>,
    ) -> Result<Self> {
        let the_k = || k.ok_or_else(|| err!(Format, "expected `k`, the number of features that are kept, found none"));
        let (found, has_k) = match name {
            Some("relu") => (Activation::Relu, false),
            Some("topk") => (Activation::TopK(the_k()?), true),
            Some("jumprelu") => (Activation::Threshold(take("threshold")?), false),
            Some("gated") => {
                let gate = take("gate")?;
                let magnitude = take("magnitude")?;
                (Activation::Gated { gate, magnitude, log_scale: take("log_scale")? }, false)
            }
            Some("soft_topk") => {
                let encoder = take("k_encoder")?;
                let bias = take("k_bias")?;
                let weight = take("k_weight")?;
                let logit = take("k_logit")?;
                (Activation::SoftTopK(CountEstimator { encoder, bias, weight, logit, most: the_k()? }), true)
            }
            Some("matching_pursuit") => (Activation::MatchingPursuit(the_k()?), true),
            Some("linear") => (Activation::Linear(k), true),
            Some("nonnegative") => (Activation::Nonnegative { sum: take("sum")?, k }, true),
            Some(other) => return Err(err!(Format, "expected a known `activation`, found {other:?}")),
            None => return Err(err!(Format, "expected an `activation`, found none")),
        };
        match k {
            Some(k) if !has_k => Err(err!(Format, "expected no `k` for the activation {}, found {k}", found.name())),
            _ => Ok(found),
        }
    }

    /// Returns the places of the tensors, in the order of [`Activation::tensors`].
    fn tensors_mut(&mut self) -> Vec<&mut Tensor> {
        match self {
            Activation::Threshold(threshold) => vec![threshold],
            Activation::Gated { gate, magnitude, log_scale } => vec![gate, magnitude, log_scale],
            Activation::SoftTopK(CountEstimator { encoder, bias, weight, logit, most: _ }) => {
                vec![encoder, bias, weight, logit]
            }
            Activation::Nonnegative { sum, .. } => vec![sum],
            Activation::Relu | Activation::TopK(_) | Activation::MatchingPursuit(_) | Activation::Linear(_) => {
                Vec::new()
            }
        }
    }
}
