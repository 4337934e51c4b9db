//! Kinds of dictionaries: encoder, sparsity penalty, and the trained dictionary.
//!
//! A kind is a file here and a line in `KINDS`. Where its activation function is new, its file also has that, and the
//! architectures of other libraries that have it.

mod activations;
mod batch_topk;
mod choice;
pub mod crosscoder;
mod gated;
mod jumprelu;
mod k_schedule;
mod matching_pursuit;
mod matryoshka;
mod p_anneal;
mod relu;
mod soft_topk;
mod tied;
mod topk;

use std::cell::OnceCell;
use std::fmt::Debug;
use std::sync::Arc;

pub(in crate::sae) use activations::{activation, no_k};
pub use batch_topk::BatchTopK;
pub use choice::{CodeChoice, Cost, Jump, SlopeEstimator};
pub use crosscoder::Crosscoder;
pub use gated::Gated;
pub use jumprelu::JumpRelu;
pub use matching_pursuit::MatchingPursuit;
pub use matryoshka::Matryoshka;
pub use p_anneal::{PAnneal, powers};
pub use relu::Relu;
use serde::Serialize;
use serde_json::{Value, json};
pub use soft_topk::SoftTopK;

use super::params::{DictionaryShape, ParamName, Params};
use crate::base::{Result, names};
use crate::err;
use crate::options::{Field, OptionGroup, Plain, Setting, one_of};
use crate::sae::Activation;
use crate::sae::formats::architecture::Architecture;
use crate::sae::parts::activation::ActivationFunction;
use crate::tensor::{Tensor, device, elementwise};
pub use tied::Tied;
pub use topk::TopK;

/// The inputs of a step's forward pass.
pub struct KindPass<'a> {
    pub params: &'a Params,
    /// Rows that are read, centred where the kind is: `[rows, d_in]`.
    pub x: &'a Tensor,
    /// x W_enc^T + b_enc: `[rows, d_sae]`.
    pub pre: &'a Tensor,
    /// The directions, as used in this step.
    pub decoder: &'a Tensor,
    pub progress: FitProgress<'a>,
    /// A number of each row, `[rows, 1]`, that a kind estimates once in a step.
    pub counts: OnceCell<Tensor>,
}

/// The progress of a fit.
#[derive(Debug, Clone, Copy)]
pub struct FitProgress<'a> {
    /// Number of the step, from 0.
    pub step: u64,
    pub steps: u64,
    /// The kind's own state after the steps before; None before the first.
    pub memory: &'a [f64],
}

/// Source of the initial value of a sparsity coefficient that is adapted during training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialCoefficient {
    /// The option of the kind.
    Given,
    /// The size of the codes at the start.
    Estimated,
}

impl InitialCoefficient {
    /// Returns the source for an option.
    fn of(option: Option<f64>) -> Self {
        if option.is_some() { Self::Given } else { Self::Estimated }
    }
}

/// The answers of a kind that are the same in every step.
#[derive(Debug, Clone)]
pub struct KindProperties {
    pub name: &'static str,
    /// Whether the normalised encoder rows are the directions.
    pub is_tied: bool,
    /// Whether the decoder bias is subtracted from the input.
    pub is_centred: bool,
    /// Whether the codes only serve to reconstruct what is read, so that the kind is neither one of transcoders, nor of
    /// crosscoders, whose sites are scaled.
    pub only_reconstructs: bool,
    /// Whether codes come of products of the kind's own, and not of x W_enc^T.
    pub has_own_products: bool,
    /// Whether codes of different features are compared with each other, so that their directions need the same norm.
    pub needs_unit: bool,
    /// Whether directions are kept at norm 1 by default.
    pub likes_unit: bool,
    /// Whether by default errors are means over coordinates, and not parts of the variance.
    pub averages_errors: bool,
    /// Whether by default dead features are left alone.
    pub leaves_dead: bool,
    /// Further weights, one number for each feature, and their initial values.
    pub more: Vec<(ParamName, f64)>,
    /// The weight that decides where a feature becomes active: a bias, or a threshold.
    pub gate: ParamName,
    /// The L0 to reach, where a penalty adapts to it.
    pub target: Option<f64>,
    /// Whether training begins at about the target L0, and not with half of all features.
    pub starts_sparse: bool,
    /// The source of the initial sparsity coefficient, for kinds that adapt it during training.
    pub adapted_from: Option<InitialCoefficient>,
    /// The ends of nested prefixes of features that each reconstruct, with the weights of their errors; none where only
    /// all features together do.
    pub nested: Vec<(usize, f64)>,
    /// The widths of the sites that a direction has parts for, for crosscoders.
    pub widths: Vec<usize>,
}

impl KindProperties {
    /// Returns what is so of most kinds.
    pub fn of(name: &'static str) -> Self {
        Self {
            name,
            is_tied: false,
            is_centred: true,
            only_reconstructs: false,
            has_own_products: false,
            needs_unit: false,
            likes_unit: true,
            averages_errors: false,
            leaves_dead: false,
            more: Vec::new(),
            gate: ParamName::EncoderBias,
            target: None,
            starts_sparse: false,
            adapted_from: None,
            nested: Vec::new(),
            widths: Vec::new(),
        }
    }

    /// Returns what is so of kinds with a penalty whose coefficient is adapted to a target, if there is one.
    pub fn penalised(name: &'static str, coefficient: Option<f64>, target: Option<f64>) -> Self {
        let adapted_from = target.map(|_| InitialCoefficient::of(coefficient));
        Self { target, starts_sparse: target.is_some(), adapted_from, ..Self::of(name) }
    }
}

/// The options of a kind, as a checkpoint has them.
pub trait KindOptions {
    fn options(&self) -> Value;
}

impl<K: Serialize> KindOptions for K {
    fn options(&self) -> Value {
        json!(self)
    }
}

/// One kind of dictionary.
pub trait DictionaryKind: KindOptions + Debug + Send + Sync {
    fn properties(&self) -> KindProperties;

    /// Refuses what does not fit a width.
    fn check(&self, _shape: DictionaryShape) -> Result<()> {
        Ok(())
    }

    /// Makes the initial weights that the kind's file alone knows, given those of the encoder.
    fn own_weights(&self, _encoder: &Tensor) -> Result<Vec<(ParamName, Tensor)>> {
        Ok(Vec::new())
    }

    /// Computes the codes, `[rows, d_sae]`, with gradients: by default all above 0.
    fn codes(&self, pass: &KindPass) -> Result<Tensor> {
        elementwise::relu(pass.pre)
    }

    /// Computes the sparsity penalty, times its weight; it is warmed up.
    fn penalty(&self, _pass: &KindPass, _codes: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Computes auxiliary codes that reconstruct on their own, through detached directions.
    fn auxiliary(&self, _pass: &KindPass) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Returns the kind's own state for the next step, given the codes of this one. `powers` gives the mean over rows
    /// of the sum of these to some power.
    fn remembered(&self, _progress: FitProgress, _powers: &dyn Fn(f64) -> Result<f64>) -> Result<Vec<f64>> {
        Ok(Vec::new())
    }

    /// Returns how the codes are selected, where the fused step supports it.
    fn choice(&self, _progress: FitProgress) -> Option<CodeChoice<'_>> {
        None
    }

    /// Returns the activation function of the trained dictionary, by default ReLU; `threshold` is the running mean of the
    /// smallest selected code.
    fn activation(&self, _params: &Params, _threshold: Option<f64>) -> Result<Activation> {
        Ok(Activation::Relu)
    }

    /// Returns the kind with parts of these widths, where its parts are the sites of a crosscoder.
    fn of_widths(&self, _widths: &[usize]) -> Option<Arc<dyn DictionaryKind>> {
        None
    }
}

impl dyn DictionaryKind {
    pub fn name(&self) -> &'static str {
        self.properties().name
    }

    /// Computes the reconstructions whose errors count, with their weights: that of all features, or of each prefix.
    pub fn reconstructions(&self, pass: &KindPass, codes: &Tensor) -> Result<Vec<(Tensor, f64)>> {
        match self.properties().nested.as_slice() {
            [] => {
                let most = self.choice(pass.progress).and_then(CodeChoice::most);
                Ok(vec![(product(codes, pass.decoder, most)?, 1.0)])
            }
            prefixes => of_prefixes(pass, codes, prefixes),
        }
    }

    /// Returns the smallest code selected in a step, for kinds whose threshold is its running mean.
    pub fn smallest(&self, progress: FitProgress, codes: &Tensor) -> Result<Option<f64>> {
        match self.choice(progress) {
            Some(CodeChoice::LargestOfAll(_)) => batch_topk::smallest(codes).map(Some),
            _ => Ok(None),
        }
    }
}

/// Computes the reconstruction by each of several nested prefixes of features.
fn of_prefixes(pass: &KindPass, codes: &Tensor, prefixes: &[(usize, f64)]) -> Result<Vec<(Tensor, f64)>> {
    let mut found = Vec::new();
    let mut sum = None::<Tensor>;
    let mut start = 0;
    for (end, weight) in prefixes {
        let codes = codes.narrow(1, start, end - start)?;
        let decoder = pass.decoder.narrow(0, start, end - start)?;
        let part = device::multipliable(&codes)?.matmul(&decoder)?;
        let next = match &sum {
            Some(sum) => (sum + part)?,
            None => part,
        };
        found.push((next.clone(), *weight));
        sum = Some(next);
        start = *end;
    }
    Ok(found)
}

/// Computes the product of codes with a decoder, where each row has at most `most` codes, if that is known.
pub fn product(codes: &Tensor, decoder: &Tensor, most: Option<usize>) -> Result<Tensor> {
    let sparse = most.map(|most| kernels::device::sparse_product(codes, decoder, most)).transpose()?.flatten();
    match sparse {
        Some(written) => Ok(written),
        None => Ok(codes.matmul(decoder)?),
    }
}

/// Returns the initial weight of a penalty that is adapted during training.
fn initial_coefficient(l1: Option<f64>) -> f64 {
    l1.unwrap_or(1.0)
}

/// Refuses penalties without a coefficient or a target.
fn penalised(names: [&str; 2], [penalty, target]: [Option<f64>; 2]) -> Result<()> {
    let [name, other] = names;
    if penalty.is_none() && target.is_none() {
        return Err(err!(Argument, "expected `{name}`, the sparsity coefficient, or `{other}`, the L0 to reach")
            .hint(format!("with `{other}: 32` the coefficient is adapted during training")));
    }
    Ok(())
}

/// A constructor of a kind from the values of its options.
type KindMaker = fn(&[(&str, Plain)]) -> Result<Arc<dyn DictionaryKind>>;

fn make<K: DictionaryKind + OptionGroup + 'static>(options: &[(&str, Plain)]) -> Result<Arc<dyn DictionaryKind>> {
    let find = |name: &str| options.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    Ok(Arc::new(K::given(find)?))
}

/// A kind by the name that scripts give.
struct KindRow {
    name: &'static str,
    fields: fn() -> &'static [Field],
    make: KindMaker,
    /// The activation function of its trained dictionaries, where its file alone knows it.
    function: Option<&'static ActivationFunction>,
    /// The architectures of other libraries that have this function.
    architectures: &'static [Architecture],
}

const fn kind_of<K: DictionaryKind + OptionGroup + 'static>(name: &'static str) -> KindRow {
    KindRow { name, fields: K::fields, make: make::<K>, function: None, architectures: &[] }
}

impl KindRow {
    /// Adds an activation function, and the architectures that have it.
    const fn with(self, function: &'static ActivationFunction, architectures: &'static [Architecture]) -> Self {
        Self { function: Some(function), architectures, ..self }
    }
}

const KINDS: [KindRow; 11] = [
    kind_of::<Tied>(tied::NAME),
    kind_of::<Relu>(relu::NAME),
    kind_of::<TopK>(topk::NAME),
    kind_of::<BatchTopK>(batch_topk::NAME),
    kind_of::<JumpRelu>(jumprelu::NAME),
    kind_of::<Gated>(gated::NAME),
    kind_of::<PAnneal>(p_anneal::NAME),
    kind_of::<Crosscoder>(crosscoder::NAME),
    kind_of::<Matryoshka>(matryoshka::NAME),
    kind_of::<MatchingPursuit>(matching_pursuit::NAME).with(&matching_pursuit::PURSUIT, &[]),
    kind_of::<SoftTopK>(soft_topk::NAME).with(&soft_topk::COUNTED, soft_topk::ARCHITECTURES),
];

/// The names of all kinds.
pub const NAMES: [&str; KINDS.len()] = {
    let mut names = [""; KINDS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = KINDS[at].name;
        at += 1;
    }
    names
};

/// The name of a kind of dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindName(pub &'static str);

impl Setting for KindName {
    const CHOICES: &'static [&'static str] = &NAMES;

    fn wanted() -> String {
        one_of(NAMES)
    }

    fn of(value: &Plain) -> Option<Self> {
        let Plain::Text(text) = value else { return None };
        NAMES.into_iter().find(|name| name == text).map(Self)
    }

    fn written(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// Returns the options that a kind has of its own.
pub fn options_of(name: &str) -> Result<&'static [Field]> {
    Ok((row(name)?.fields)())
}

/// Lists the architectures of other libraries that the files of kinds know.
pub(in crate::sae) fn architectures() -> impl Iterator<Item = &'static Architecture> + Clone {
    KINDS.iter().flat_map(|row| row.architectures)
}

/// Finds the kind that has this name.
pub fn called(name: &str) -> Result<KindName> {
    Ok(KindName(row(name)?.name))
}

/// Builds a kind by its name, with its own options.
pub fn kind(name: &str, options: &[(&str, Plain)]) -> Result<Arc<dyn DictionaryKind>> {
    let row = row(name)?;
    let known: Vec<&str> = (row.fields)().iter().map(|field| field.name).collect();
    if let Some(stray) = options.iter().map(|(key, _)| key).find(|key| !known.contains(key)) {
        return Err(err!(Argument, "expected no `{stray}` for the kind \"{name}\"")
            .hint(format!("its options are {}", known.join(", "))));
    }
    (row.make)(options)
}

fn row(name: &str) -> Result<&'static KindRow> {
    KINDS.iter().find(|row| row.name == name).ok_or_else(|| {
        let suggestion = names::suggestion(name, NAMES);
        err!(Name, "unknown kind of dictionary `{name}`")
            .maybe_hint(suggestion.or_else(|| Some(format!("kinds are {}", NAMES.join(", ")))))
    })
}
