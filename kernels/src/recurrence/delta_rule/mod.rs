//! The delta rule with a decay for each coordinate of keys (Peng et al. 2025, "RWKV-7 'Goose' with expressive dynamic state
//! evolution", section 4): recurrences with a matrix for each head.
//!
//! The state S of a head decays by coordinates of keys, forgets a part of what a unit vector q, the removal key, reads
//! there, and gets the value v at a key k; the vector r reads it:
//!
//! ```text
//! S' = diag(exp w) S - (a * q) (q^T S) + k v^T,    y = r^T S',
//! ```
//!
//! where w has the logarithms of decays and a, the rates, are from 0 to 1, both for each coordinate of keys.

mod back;
mod forward;
mod plain;

use candle_core::Tensor;

use crate::base::error::{Result, bail};
use crate::numbers::{FlatNumbers, Implementation, flat};
use crate::tape::record::record_by_gradient;

pub use plain::{delta_rule_read, delta_rule_states};

/// The arguments of a delta rule, each `[batch, pos, head, d_key]` but for the values.
#[derive(Debug, Clone, Copy)]
pub struct DeltaRuleInputs<'a> {
    /// The vectors r of reads.
    pub read: &'a Tensor,
    /// The logarithms w of decays.
    pub decay: &'a Tensor,
    /// The keys k of writes.
    pub key: &'a Tensor,
    /// The removal keys.
    pub removed: &'a Tensor,
    /// The rates a of removal.
    pub rate: &'a Tensor,
    /// Values, `[batch, pos, head, d_value]`.
    pub value: &'a Tensor,
}

/// The sizes of a delta rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub rows: usize,
    pub columns: usize,
    pub heads: usize,
    pub d_key: usize,
    pub d_value: usize,
}

impl Sizes {
    /// Returns the number of coordinates of a head's state.
    pub fn of_head(&self) -> usize {
        self.d_key * self.d_value
    }

    /// Returns the shape of what is read.
    pub fn read(&self) -> [usize; 4] {
        [self.rows, self.columns, self.heads, self.d_value]
    }

    /// Returns the shape of the states after one token.
    pub fn states(&self) -> [usize; 4] {
        [self.rows, self.heads, self.d_key, self.d_value]
    }
}

impl<'a> DeltaRuleInputs<'a> {
    /// Lists the arguments, values last.
    pub(crate) fn all(&self) -> [&'a Tensor; 6] {
        [self.read, self.decay, self.key, self.removed, self.rate, self.value]
    }

    pub(crate) fn sizes(&self) -> Result<Sizes> {
        let (rows, columns, heads, d_key) = self.key.dims4()?;
        let (_, _, _, d_value) = self.value.dims4()?;
        let [of_keys @ .., value] = self.all();
        let fits = of_keys.iter().all(|x| x.dims() == self.key.dims()) && value.dims()[..3] == [rows, columns, heads];
        if !fits {
            let found = self.all().map(|x| x.dims().to_vec());
            bail!(Shape, "expected the arguments of one delta rule, found those of the shapes {found:?}");
        }
        Ok(Sizes { rows, columns, heads, d_key, d_value })
    }
}

/// Computes what is read at every token, `[batch, pos, head, d_value]`, from the states before the first one, or from
/// zeros; and the states behind the last one, where they are asked for. States are `[batch, head, d_key, d_value]`, and all
/// is in f32 at least. A token whose decays, key and rates are 0 changes no state.
pub fn delta_rule(
    inputs: &DeltaRuleInputs,
    before: Option<&Tensor>,
    wants_last: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let sizes = inputs.sizes()?;
    let arguments: Vec<&Tensor> = inputs.all().into_iter().chain(before).collect();
    let is_empty = arguments.iter().any(|x| x.elem_count() == 0);
    let way = if is_empty { Implementation::Plain } else { Implementation::of(&arguments) };
    match way {
        Implementation::Fused => {
            forward::fused(inputs, before, sizes)?.tensors([sizes.read(), sizes.states()], wants_last)
        }
        Implementation::Recorded if before.is_none() && !wants_last => Ok((recorded(inputs, sizes)?, None)),
        _ => plain::delta_rule(inputs, before, wants_last),
    }
}

/// Records the fused loops with their own backward pass.
fn recorded(inputs: &DeltaRuleInputs, sizes: Sizes) -> Result<Tensor> {
    let read = forward::fused(inputs, None, sizes)?.read;
    // A result has three arguments at most: all that a token has is one of them.
    let all = Tensor::cat(&inputs.all(), 3)?;
    let tokens = flat(&all)?;
    record_by_gradient("delta_rule", read, &sizes.read(), &[&all], move |gradient| {
        let gradient = flat(gradient)?;
        let tokens = FlatNumbers::of(&tokens)?;
        let gradient = FlatNumbers::of(&gradient)?;
        Ok(vec![Some(back::gradients(tokens.slice(), gradient.slice(), sizes)?)])
    })
}
