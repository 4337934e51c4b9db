//! Kinds of dictionaries: how codes come about while one is fitted, what keeps them few, and how it ends.
//!
//! A kind is a file here and a line in `KINDS`.

mod batch_topk;
mod crosscoder;
mod gated;
mod jumprelu;
mod matryoshka;
mod p_anneal;
mod relu;
mod tied;
mod topk;

use std::fmt::Debug;
use std::sync::Arc;

pub use jumprelu::Estimate;
pub use p_anneal::powers;
use serde_json::{Map, Value};

use super::fused::Choice;
use super::params::{Name, Params};
use super::recipe::Shape;
use crate::base::options::{Declared, Field, Plain};
use crate::base::{Result, names};
use crate::err;
use crate::sae::Activation;
use crate::tensor::Tensor;

/// What a step computes with.
pub struct Pass<'a> {
    pub params: &'a Params,
    /// x W_enc^T + b_enc: `[rows, d_sae]`.
    pub pre: &'a Tensor,
    /// What each feature writes, as it is used in this step.
    pub decoder: &'a Tensor,
    pub progress: Progress<'a>,
}

/// How far a fit has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The first is 0.
    pub step: u64,
    pub steps: u64,
    /// What the kind has remembered of the steps before; nothing before the first.
    pub memory: &'a [f64],
}

/// One kind of dictionary.
pub trait Kind: Debug + Send + Sync {
    fn name(&self) -> &'static str;

    /// Whether the encoder's rows, at length 1, are the directions.
    fn is_tied(&self) -> bool {
        false
    }

    /// Whether the decoder's bias is taken off the input.
    fn is_centred(&self) -> bool {
        true
    }

    /// Whether codes of different features are compared with each other, so that their directions must be alike in length.
    fn needs_unit(&self) -> bool {
        false
    }

    /// Whether directions are kept at length 1 where nobody says otherwise.
    fn likes_unit(&self) -> bool {
        !self.is_tied()
    }

    /// Weights beside encoder, decoder and biases, one number a feature, and what they begin at.
    fn more(&self) -> Vec<(Name, f64)> {
        Vec::new()
    }

    /// Refuses what does not fit a width.
    fn check(&self, _shape: Shape) -> Result<()> {
        Ok(())
    }

    /// The codes, `[rows, d_sae]`, with gradients.
    fn codes(&self, pass: &Pass) -> Result<Tensor>;

    /// What is added to the error so that codes are few, multiplied by its weight; it is warmed up.
    fn penalty(&self, _pass: &Pass, _codes: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Reconstructions whose errors count, with their weights: all features at once, unless a kind says otherwise.
    fn reconstructions(&self, pass: &Pass, codes: &Tensor) -> Result<Vec<(Tensor, f64)>> {
        Ok(vec![(codes.matmul(pass.decoder)?, 1.0)])
    }

    /// Further codes that reconstruct on their own, through directions that this does not move.
    fn auxiliary(&self, _pass: &Pass) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// The smallest code that this step would take, where a running mean of it becomes a threshold.
    fn smallest(&self, _codes: &Tensor) -> Result<Option<f64>> {
        Ok(None)
    }

    /// Numbers that it goes on with at the next step, now that it has seen the codes of this one. `powers` gives the mean
    /// over rows of the sum of these to some power.
    fn remembered(&self, _progress: Progress, _powers: &dyn Fn(f64) -> Result<f64>) -> Result<Vec<f64>> {
        Ok(Vec::new())
    }

    /// How its codes are chosen, where the fused step knows how.
    fn choice(&self, _progress: Progress) -> Option<Choice<'_>> {
        None
    }

    /// How many codes a row is to have on average, where a penalty is to see to that.
    fn target(&self) -> Option<f64> {
        None
    }

    /// Whether the penalty's size is found on the way, so that there are as many codes; and from what on it begins, where
    /// that was said.
    fn seeks(&self) -> Option<Option<f64>> {
        None
    }

    /// Whether it begins with about as many codes as are asked for, and not with half of all features.
    fn starts_sparse(&self) -> bool {
        self.target().is_some()
    }

    /// The weight that decides from where on a feature fires: a bias, or a threshold.
    fn gate(&self) -> Name {
        Name::EncoderBias
    }

    /// What a finished dictionary makes its codes with; `threshold` is that running mean.
    fn activation(&self, params: &Params, threshold: Option<f64>) -> Result<Activation>;

    /// Where prefixes end that reconstruct by themselves.
    fn prefixes(&self) -> Vec<usize> {
        Vec::new()
    }

    /// Its options, as a checkpoint has them.
    fn options(&self) -> Value;
}

/// What a penalty counts, where none is said: its price is found on the way.
fn l1_or_price(l1: Option<f64>) -> f64 {
    l1.unwrap_or(1.0)
}

/// Refuses penalties of which nobody said how large they are.
fn penalised(names: [&str; 2], [penalty, target]: [Option<f64>; 2]) -> Result<()> {
    let [name, other] = names;
    if penalty.is_none() && target.is_none() {
        return Err(err!(
            Argument,
            "expected `{name}`, what the penalty counts, or `{other}`, how many codes a row has"
        )
        .hint(format!("with `{other}: 32` the penalty is found on the way")));
    }
    Ok(())
}

/// What makes a kind of the values of its options.
type Make = fn(&Map<String, Value>) -> Result<Arc<dyn Kind>>;

fn make<K: Kind + Declared + 'static>(options: &Map<String, Value>) -> Result<Arc<dyn Kind>> {
    Ok(Arc::new(K::given(|name| options.get(name).map(Plain::from))?))
}

/// A kind by the name that scripts give.
struct Row {
    name: &'static str,
    fields: fn() -> &'static [Field],
    make: Make,
}

const fn kind_of<K: Kind + Declared + 'static>(name: &'static str) -> Row {
    Row { name, fields: K::fields, make: make::<K> }
}

const KINDS: [Row; 9] = [
    kind_of::<tied::Tied>(tied::NAME),
    kind_of::<relu::Relu>(relu::NAME),
    kind_of::<topk::TopK>(topk::NAME),
    kind_of::<batch_topk::BatchTopK>(batch_topk::NAME),
    kind_of::<jumprelu::JumpRelu>(jumprelu::NAME),
    kind_of::<gated::Gated>(gated::NAME),
    kind_of::<p_anneal::PAnneal>(p_anneal::NAME),
    kind_of::<crosscoder::Crosscoder>(crosscoder::NAME),
    kind_of::<matryoshka::Matryoshka>(matryoshka::NAME),
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

/// The options that a kind has of its own.
pub fn options_of(name: &str) -> Result<&'static [Field]> {
    Ok((row(name)?.fields)())
}

/// A kind by its name, with its own options.
pub fn kind(name: &str, options: &Map<String, Value>) -> Result<Arc<dyn Kind>> {
    let row = row(name)?;
    let known: Vec<&str> = (row.fields)().iter().map(|field| field.name).collect();
    if let Some(stray) = options.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(err!(Argument, "expected no `{stray}` for the kind \"{name}\"")
            .hint(format!("its options are {}", known.join(", "))));
    }
    (row.make)(options)
}

fn row(name: &str) -> Result<&'static Row> {
    KINDS.iter().find(|row| row.name == name).ok_or_else(|| {
        let suggestion = names::suggestion(name, NAMES);
        err!(Name, "unknown kind of dictionary `{name}`")
            .maybe_hint(suggestion.or_else(|| Some(format!("kinds are {}", NAMES.join(", ")))))
    })
}
