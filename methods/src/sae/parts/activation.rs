//! Activation functions of dictionaries. Those that other code has loops for are variants; any other one is defined in one
//! file, as an [`ActivationFunction`].

use std::fmt;

use super::Parts;
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
    /// Codes that may be below 0: all of them, or the k largest by their absolute value.
    Linear(Option<usize>),
    /// A function that one file defines: that of its kind.
    Other(OtherActivation),
}

/// A function that one file defines, with its numbers.
#[derive(Debug, Clone)]
pub struct OtherActivation {
    pub function: &'static ActivationFunction,
    /// Tensors in the order in which the function names them.
    pub tensors: Vec<Tensor>,
    /// The maximum number of active features, where it has one.
    pub k: Option<usize>,
}

/// The definition of an activation function in one file.
pub struct ActivationFunction {
    /// Name of the function in descriptions of dictionaries.
    pub name: &'static str,
    /// Words for what a format that lacks the function does not have.
    pub in_words: &'static str,
    /// Names of its tensors in files and errors.
    pub tensors: &'static [(&'static str, ActivationPart)],
    /// Whether there is none without a maximum number of active features.
    pub needs_k: bool,
    /// Whether the decoder's directions are the encoder, of norm 1 and without a bias.
    pub reads_directions: bool,
    /// Computes the codes of activations that are scaled already.
    pub codes: fn(&OtherActivation, &Parts, &Tensor) -> Result<Tensor>,
    /// Estimates the number of codes of each row of scaled and centred activations, `[.., d_in]` to `[.., 1]`. The maximum
    /// of a function that does is no statement on their mean.
    pub estimate: Option<fn(&OtherActivation, &Tensor) -> Result<Tensor>>,
    /// Refuses parts of a dictionary that it does not go with.
    pub check: Option<fn(&Parts) -> Result<()>>,
    /// Says why a dictionary cannot be fine-tuned.
    pub untunable: Option<fn() -> Error>,
}

impl fmt::Debug for ActivationFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
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

impl ActivationPart {
    /// Returns the shape of the tensor.
    pub fn shape(self, d_sae: usize, d_in: usize) -> Vec<usize> {
        match self {
            ActivationPart::Rows => vec![d_sae, d_in],
            ActivationPart::Single => vec![1],
            ActivationPart::Offset | ActivationPart::Factor => vec![d_sae],
        }
    }
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
            Activation::TopK(k) => Some(*k),
            Activation::Linear(k) => *k,
            Activation::Other(other) => other.k,
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
            Activation::Linear(_) => "linear",
            Activation::Other(other) => other.function.name,
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
            Activation::Other(other) => {
                let named = other.function.tensors.iter().zip(&other.tensors);
                named.map(|(&(name, part), tensor)| of(name, part, tensor)).collect()
            }
            Activation::Relu | Activation::TopK(_) | Activation::Linear(_) => Vec::new(),
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
            Activation::Linear(_) => Ok(Activation::Linear(Some(k))),
            Activation::Threshold(_) | Activation::Gated { .. } => {
                Err(err!(Argument, "a {name} dictionary selects its codes by thresholds or gates"))
            }
            Activation::Other(other) if other.function.estimate.is_some() => {
                Err(err!(Argument, "a {name} dictionary estimates how many codes it keeps"))
            }
            Activation::Other(other) => Ok(Activation::Other(OtherActivation { k: Some(k), ..other.clone() })),
        }
    }

    /// Says what a format that lacks the function does not have.
    pub fn in_words(&self) -> String {
        match self {
            Activation::Linear(None) => "its codes are linear in the input".into(),
            Activation::Linear(Some(_)) => "it keeps the largest codes by their absolute value".into(),
            Activation::Other(other) => other.function.in_words.into(),
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
            Activation::TopK(_) | Activation::Linear(Some(_)) | Activation::Other(_) => Ok(None),
        }
    }

    /// Returns the places of the tensors, in the order of [`Activation::tensors`].
    fn tensors_mut(&mut self) -> Vec<&mut Tensor> {
        match self {
            Activation::Threshold(threshold) => vec![threshold],
            Activation::Gated { gate, magnitude, log_scale } => vec![gate, magnitude, log_scale],
            Activation::Other(other) => other.tensors.iter_mut().collect(),
            Activation::Relu | Activation::TopK(_) | Activation::Linear(_) => Vec::new(),
        }
    }
}
