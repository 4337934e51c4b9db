//! The reference implementation of a delta rule, token by token in candle's operations.

use candle_core::Tensor;

use super::super::plain::{carried, first, widened};
use super::{DeltaRuleInputs, Sizes};
use crate::base::error::Result;

/// A delta rule whose arguments are in f32 at least.
struct WideInputs {
    /// Shares that stay, `[batch, pos, head, d_key]`.
    keep: Tensor,
    key: Tensor,
    removed: Tensor,
    /// Removal keys times rates, `[batch, pos, head, d_key]`.
    forgotten: Tensor,
    value: Tensor,
    sizes: Sizes,
}

impl WideInputs {
    fn of(inputs: &DeltaRuleInputs) -> Result<Self> {
        let removed = widened(inputs.removed)?;
        Ok(Self {
            keep: widened(inputs.decay)?.exp()?,
            key: widened(inputs.key)?,
            forgotten: (&removed * widened(inputs.rate)?)?,
            removed,
            value: widened(inputs.value)?,
            sizes: inputs.sizes()?,
        })
    }

    /// Computes the states behind a token from those before it: `[batch, head, d_key, d_value]`.
    fn stepped(&self, states: &Tensor, column: usize) -> Result<Tensor> {
        let at = |x: &Tensor| x.narrow(1, column, 1)?.squeeze(1);
        let column_of = |x: &Tensor| at(x)?.unsqueeze(3);
        let known = states.broadcast_mul(&column_of(&self.removed)?)?.sum_keepdim(2)?;
        let kept = states.broadcast_mul(&column_of(&self.keep)?)?;
        let forgotten = column_of(&self.forgotten)?.broadcast_mul(&known)?;
        let written = column_of(&self.key)?.broadcast_mul(&at(&self.value)?.unsqueeze(2)?)?;
        Ok(((kept - forgotten)? + written)?)
    }
}

pub(super) fn delta_rule(
    inputs: &DeltaRuleInputs,
    before: Option<&Tensor>,
    wants_last: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let wide = WideInputs::of(inputs)?;
    let reads = widened(inputs.read)?.unsqueeze(4)?;
    let mut states = first(before, wide.sizes.states(), &wide.value)?;
    let mut read = Vec::with_capacity(wide.sizes.columns);
    for column in 0..wide.sizes.columns {
        states = wide.stepped(&states, column)?;
        read.push(states.broadcast_mul(&reads.narrow(1, column, 1)?.squeeze(1)?)?.sum(2)?);
    }
    let read = if read.is_empty() {
        Tensor::zeros(&wide.sizes.read()[..], wide.value.dtype(), wide.value.device())?
    } else {
        Tensor::stack(&read, 1)?
    };
    Ok((read, wants_last.then_some(states)))
}

/// Computes the states behind every token, `[batch, pos, head, d_key, d_value]`, from those before the first one. What is
/// `added` to the state behind a token, of the same shape, is carried on from there.
pub fn delta_rule_states(inputs: &DeltaRuleInputs, before: Option<&Tensor>, added: Option<&Tensor>) -> Result<Tensor> {
    let wide = WideInputs::of(inputs)?;
    let states = first(before, wide.sizes.states(), &wide.value)?;
    carried(states, wide.sizes.columns, added, |states, column| wide.stepped(states, column))
}

/// Computes what is read of given states: `[batch, pos, head, d_value]`.
pub fn delta_rule_read(inputs: &DeltaRuleInputs, states: &Tensor) -> Result<Tensor> {
    Ok(widened(states)?.broadcast_mul(&widened(inputs.read)?.unsqueeze(4)?)?.sum(3)?)
}
