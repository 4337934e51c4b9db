//! The reference implementation of a scan, token by token in candle's operations.

use candle_core::{DType, Tensor};

use super::{ScanInputs, Sizes};
use crate::base::error::Result;

/// A scan whose arguments are in f32 at least, with writes and reads of each head.
struct WideInputs {
    /// Logarithms of decays, `[batch, pos, head, rates]`.
    decay: Tensor,
    /// Steps times inputs, `[batch, pos, head, d_head]`.
    written: Tensor,
    /// The vectors B of writes, `[batch, pos, head, state]`.
    b: Tensor,
    sizes: Sizes,
}

impl WideInputs {
    fn of(inputs: &ScanInputs) -> Result<Self> {
        let sizes = inputs.sizes()?;
        let dt = widened(inputs.dt)?.unsqueeze(3)?;
        let decay = dt.broadcast_mul(&widened(inputs.rate)?)?;
        let written = widened(inputs.x)?.broadcast_mul(&dt)?;
        Ok(Self { decay, written, b: of_each_head(inputs.b, sizes)?, sizes })
    }

    /// Computes the states behind a token from those before it: `[batch, head, d_head, state]`.
    fn stepped(&self, states: &Tensor, column: usize) -> Result<Tensor> {
        let at = |x: &Tensor| x.narrow(1, column, 1)?.squeeze(1);
        let decay = at(&self.decay)?.exp()?.unsqueeze(2)?;
        let written = at(&self.written)?.unsqueeze(3)?.broadcast_mul(&at(&self.b)?.unsqueeze(2)?)?;
        Ok((states.broadcast_mul(&decay)? + written)?)
    }
}

/// Returns the states before the first token, zeros like an argument unless they are given.
pub(super) fn first(before: Option<&Tensor>, shape: [usize; 4], like: &Tensor) -> Result<Tensor> {
    match before {
        Some(before) => widened(before),
        None => Ok(Tensor::zeros(&shape[..], like.dtype(), like.device())?),
    }
}

/// Computes the states behind every token of a recurrence, `step`. What is `added` to those behind a token is carried on.
pub(super) fn carried(
    mut states: Tensor,
    columns: usize,
    added: Option<&Tensor>,
    step: impl Fn(&Tensor, usize) -> Result<Tensor>,
) -> Result<Tensor> {
    let mut all = Vec::with_capacity(columns);
    for column in 0..columns {
        states = step(&states, column)?;
        if let Some(added) = added {
            states = (states + added.narrow(1, column, 1)?.squeeze(1)?)?;
        }
        all.push(states.clone());
    }
    Ok(Tensor::stack(&all, 1)?)
}

pub(super) fn scan(inputs: &ScanInputs, before: Option<&Tensor>, wants_last: bool) -> Result<(Tensor, Option<Tensor>)> {
    let wide = WideInputs::of(inputs)?;
    let c = of_each_head(inputs.c, wide.sizes)?.unsqueeze(3)?;
    let mut states = first(before, wide.sizes.states(), &wide.written)?;
    let mut read = Vec::with_capacity(wide.sizes.columns);
    for column in 0..wide.sizes.columns {
        states = wide.stepped(&states, column)?;
        read.push(states.broadcast_mul(&c.narrow(1, column, 1)?.squeeze(1)?)?.sum(3)?);
    }
    Ok((Tensor::stack(&read, 1)?, wants_last.then_some(states)))
}

/// Computes the states behind every token, `[batch, pos, head, d_head, state]`, from those before the first one. What
/// is `added` to the state behind a token, of the same shape, is carried on from there.
pub fn scan_states(inputs: &ScanInputs, before: Option<&Tensor>, added: Option<&Tensor>) -> Result<Tensor> {
    let wide = WideInputs::of(inputs)?;
    let states = first(before, wide.sizes.states(), &wide.written)?;
    carried(states, wide.sizes.columns, added, |states, column| wide.stepped(states, column))
}

/// Computes what is read of given states: `[batch, pos, head, d_head]`.
pub fn states_read(inputs: &ScanInputs, states: &Tensor) -> Result<Tensor> {
    let c = of_each_head(inputs.c, inputs.sizes()?)?.unsqueeze(3)?;
    Ok(widened(states)?.broadcast_mul(&c)?.sum(4)?)
}

/// Repeats what a group has for each of its heads: `[batch, pos, head, state]`.
fn of_each_head(x: &Tensor, sizes: Sizes) -> Result<Tensor> {
    let Sizes { rows, columns, heads, groups, state, .. } = sizes;
    let each = widened(x)?.unsqueeze(3)?.broadcast_as((rows, columns, groups, heads / groups, state))?;
    Ok(each.contiguous()?.reshape((rows, columns, heads, state))?)
}

pub(super) fn widened(x: &Tensor) -> Result<Tensor> {
    Ok(match x.dtype() {
        DType::F64 => x.clone(),
        _ => x.to_dtype(DType::F32)?,
    })
}
