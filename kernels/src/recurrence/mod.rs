//! Selective scans (Gu and Dao 2023; Dao and Gu 2024): recurrences with a state for each head.
//!
//! A token with a step dt, an input x and vectors B and C lets the state S of a head decay, writes to it and reads it:
//!
//! ```text
//! S' = exp(dt A) S + dt x B^T,    y = S' C.
//! ```
//!
//! Heads of a group share B and C. A has one number for each coordinate of the state, or one for all. Where a head has
//! one input only, this is the scan of Mamba, a head for each channel.

mod back;
mod chunks;
mod delta_rule;
mod forward;
mod plain;

use candle_core::Tensor;

use crate::base::error::{Result, bail};
use crate::numbers::{FlatNumbers, Implementation, flat};
use crate::tape::record::record_by_gradient;

pub use delta_rule::{DeltaRuleInputs, delta_rule, delta_rule_read, delta_rule_states};
pub use plain::{scan_states, states_read};

/// The arguments of a scan.
#[derive(Debug, Clone, Copy)]
pub struct ScanInputs<'a> {
    /// Inputs, `[batch, pos, head, d_head]`.
    pub x: &'a Tensor,
    /// Steps, `[batch, pos, head]`. A token with a step of 0 changes no state.
    pub dt: &'a Tensor,
    /// The vectors B of writes, `[batch, pos, group, state]`.
    pub b: &'a Tensor,
    /// The vectors C of reads, `[batch, pos, group, state]`.
    pub c: &'a Tensor,
    /// Rates of decay, which are negative: `[head, state]`, or `[head, 1]` where all coordinates share one.
    pub rate: &'a Tensor,
}

/// The sizes of a scan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub rows: usize,
    pub columns: usize,
    pub heads: usize,
    pub d_head: usize,
    pub groups: usize,
    pub state: usize,
    /// Number of rates of a head: one, or one for each coordinate of the state.
    pub rates: usize,
}

impl Sizes {
    /// Returns the number of coordinates of a head's state.
    pub fn of_head(&self) -> usize {
        self.d_head * self.state
    }

    pub fn heads_of_group(&self) -> usize {
        self.heads / self.groups
    }

    /// Returns the shape of the result.
    pub fn read(&self) -> [usize; 4] {
        [self.rows, self.columns, self.heads, self.d_head]
    }

    /// Returns the shape of the states after one token.
    pub fn states(&self) -> [usize; 4] {
        [self.rows, self.heads, self.d_head, self.state]
    }

    /// Returns the widths of inputs, steps, and what is written to and read, at a token.
    fn widths(&self) -> [usize; 4] {
        [self.heads * self.d_head, self.heads, self.groups * self.state, self.groups * self.state]
    }
}

impl ScanInputs<'_> {
    pub(crate) fn sizes(&self) -> Result<Sizes> {
        let (rows, columns, heads, d_head) = self.x.dims4()?;
        let (_, _, groups, state) = self.b.dims4()?;
        let (_, rates) = self.rate.dims2()?;
        let fits = self.dt.dims() == [rows, columns, heads]
            && self.b.dims() == [rows, columns, groups, state]
            && self.c.dims() == self.b.dims()
            && self.rate.dims() == [heads, rates]
            && (rates == 1 || rates == state)
            && groups > 0
            && heads.is_multiple_of(groups);
        if !fits {
            bail!(
                Shape,
                "expected inputs, steps, writes, reads and rates of one scan, found {:?}, {:?}, {:?}, {:?} and {:?}",
                self.x.dims(),
                self.dt.dims(),
                self.b.dims(),
                self.c.dims(),
                self.rate.dims()
            );
        }
        Ok(Sizes { rows, columns, heads, d_head, groups, state, rates })
    }
}

/// Computes what is read at every token, `[batch, pos, head, d_head]`, from the states before the first one, or from
/// zeros; and the states behind the last one, where they are asked for. States are `[batch, head, d_head, state]`, and
/// all is in f32 at least.
pub fn scan(inputs: &ScanInputs, before: Option<&Tensor>, wants_last: bool) -> Result<(Tensor, Option<Tensor>)> {
    let sizes = inputs.sizes()?;
    let arguments: Vec<&Tensor> =
        [inputs.x, inputs.dt, inputs.b, inputs.c, inputs.rate].into_iter().chain(before).collect();
    let way = if inputs.x.elem_count() == 0 { Implementation::Plain } else { Implementation::of(&arguments) };
    match way {
        Implementation::Fused => {
            forward::fused(inputs, before, sizes)?.tensors([sizes.read(), sizes.states()], wants_last)
        }
        Implementation::Recorded if before.is_none() && !wants_last => Ok((recorded(inputs, sizes)?, None)),
        _ => plain::scan(inputs, before, wants_last),
    }
}

/// Records the fused loops with their own backward pass.
fn recorded(inputs: &ScanInputs, sizes: Sizes) -> Result<Tensor> {
    let read = forward::fused(inputs, None, sizes)?.read;
    // A result has three arguments at most: all that a token has is one of them.
    let of_token = |x: &Tensor| x.flatten_from(2);
    let all = Tensor::cat(&[of_token(inputs.x)?, inputs.dt.clone(), of_token(inputs.b)?, of_token(inputs.c)?], 2)?;
    let tokens = flat(&all)?;
    let rate = flat(inputs.rate)?;
    let asked = [all.track_op(), inputs.rate.track_op()];
    record_by_gradient("scan", read, &sizes.read(), &[&all, inputs.rate], move |gradient| {
        let gradient = flat(gradient)?;
        let tokens = FlatNumbers::of(&tokens)?;
        let rate = FlatNumbers::of(&rate)?;
        let gradient = FlatNumbers::of(&gradient)?;
        let all = back::gradients(tokens.slice(), rate.slice(), gradient.slice(), sizes)?;
        Ok(all.into_iter().zip(asked).map(|(found, asked)| asked.then_some(found)).collect())
    })
}
