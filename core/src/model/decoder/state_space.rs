//! State spaces with all their sites, as Mamba and Mamba 2 have them: layers whose memory of a text is a state for each
//! head.
//!
//! With the step dt of a token, its inputs x, what it writes with, B, and what it reads with, C, a head's state S
//! becomes (Gu and Dao 2023, section 3.2)
//!
//! ```text
//! S' = exp(dt A) S + dt x B^T,    and S' C + D x is read.
//! ```

use kernels::ScanInputs;

use super::flow::{Flow, FlowResult};
use super::past::RecurrentState;
use super::recurrent::{convolved, hooked_states, only_real, real_columns, wide};
use super::{Decoder, Past, linear};
use crate::base::Result;
use crate::err;
use crate::model::config::{Activation, NormKind, StateSpaces};
use crate::model::site::{Site, SiteKind};
use crate::model::weights::StateSpace;
use crate::tensor::Tensor;
use crate::tensor::elementwise::softplus;

/// The arguments of the scan of a text, and the states before it.
struct Recurrence<'a> {
    inputs: ScanInputs<'a>,
    before: Option<&'a Tensor>,
    /// The shape of the states as a site has it.
    shown: Vec<usize>,
}

impl Decoder {
    /// Computes the output of a state space: `[batch, pos, d_model]`. All columns of the flow are written to states;
    /// what is read begins at the column `from`, and so do the columns of the flow behind it.
    pub(super) fn state_space(
        &self,
        flow: &mut Flow,
        layer: usize,
        weights: &StateSpace,
        stream: &Tensor,
        past: Option<&mut Past>,
        from: usize,
    ) -> FlowResult<Tensor> {
        let sizes = self.config.ssm_of(layer).ok_or_else(|| err!(Bug, "layer {layer} has no state space"))?;
        let (rows, columns, _) = stream.dims3()?;
        let before = past.as_ref().and_then(|past| past.state(layer)).cloned();
        let real = real_columns(flow, rows);
        let mut channels = vec![linear(flow.task, stream, &weights.x)?];
        if !sizes.is_mamba() {
            channels.push(linear(flow.task, stream, &weights.b)?);
            channels.push(linear(flow.task, stream, &weights.c)?);
        }
        let channels = if let [one] = &channels[..] { one.clone() } else { Tensor::cat(&channels, 2)? };
        let recent = before.as_ref().map(|state| &state.recent);
        let (mixed, recent) = convolved(&channels, &weights.conv, weights.conv_bias.as_ref(), recent, &real)?;
        let mixed = kernels::activate(&mixed, self.config.act)?;

        let of_site = [&[rows, columns, sizes.heads], &sizes.of_head()[..]].concat();
        let of_group = [rows, columns, sizes.groups, sizes.d_state];
        let wide_inputs = sizes.d_inner();
        let part = |start: usize, count: usize| -> Result<Tensor> { Ok(mixed.narrow(2, start, count)?.contiguous()?) };
        let x = flow.see(SiteKind::SsmX, layer, kernels::reshape(&part(0, wide_inputs)?, &of_site)?)?;
        // In Mamba what is done to the inputs changes what is written and read with, and steps.
        let source =
            if sizes.is_mamba() { kernels::reshape(&x, &[rows, columns, wide_inputs])? } else { stream.clone() };
        let (b, c) = if sizes.is_mamba() {
            let read = |map| inner_normed(sizes, linear(flow.task, &source, map)?);
            (read(&weights.b)?, read(&weights.c)?)
        } else {
            let count = sizes.of_groups();
            (part(wide_inputs, count)?, part(wide_inputs + count, count)?)
        };
        let b = flow.see(SiteKind::SsmB, layer, kernels::reshape(&b, &of_group)?)?;
        let c = flow.see(SiteKind::SsmC, layer, kernels::reshape(&c, &of_group)?)?;
        let asked = match &weights.dt_in {
            Some(map) => inner_normed(sizes, linear(flow.task, &source, map)?)?,
            None => source,
        };
        let dt = self.steps(flow, sizes, weights, &asked)?;
        let dt = flow.see(SiteKind::SsmDt, layer, dt)?;
        let dt = only_real(&dt, &real)?;

        let rate = weights.log_rate.to_dtype(dt.dtype())?.exp()?.neg()?.reshape((sizes.heads, ()))?;
        let by_head = kernels::reshape(&x, &[rows, columns, sizes.heads, sizes.d_head])?;
        let inputs = ScanInputs { x: &by_head, dt: &dt, b: &b, c: &c, rate: &rate };
        let shown = [&of_site[..], &[sizes.d_state]].concat();
        let memory = before.as_ref().map(|state| &state.memory);
        let recurrence = Recurrence { inputs, before: memory, shown };
        let (read, last) = recurrence.run(flow, layer, past.is_some())?;
        if let (Some(past), Some(memory)) = (past, last) {
            past.keep(layer, RecurrentState { recent, memory });
        }
        let skip = weights.skip.to_dtype(read.dtype())?.reshape((sizes.heads, 1))?;
        let read = (read + by_head.to_dtype(wide(&by_head))?.broadcast_mul(&skip)?)?.to_dtype(stream.dtype())?;
        let read = flow.tail(&read, from)?;
        let asking = flow.tail(stream, from)?;
        flow.columns.start = from;
        let of_site = [&[rows, asking.dim(1)?, sizes.heads], &sizes.of_head()[..]].concat();
        let read = flow.see(SiteKind::SsmRead, layer, kernels::reshape(&read, &of_site)?)?;
        let gate = kernels::reshape(&linear(flow.task, &asking, &weights.gate)?, &of_site)?;
        let gate = flow.see(SiteKind::SsmGate, layer, gate)?;
        let opened = (read * kernels::activate(&gate, Activation::Silu)?)?;
        let opened = kernels::reshape(&opened, &[rows, asking.dim(1)?, wide_inputs])?;
        let opened = match &weights.norm {
            Some(weight) => self.normed_by_group(sizes, &opened, weight)?,
            None => opened,
        };
        let written = linear(flow.task, &opened, &weights.o)?;
        Ok(self.scaled_write(written)?)
    }

    /// Computes the steps of all heads: `[batch, pos, head]`.
    fn steps(&self, flow: &Flow, sizes: &StateSpaces, weights: &StateSpace, asked: &Tensor) -> Result<Tensor> {
        let dt = linear(flow.task, asked, &weights.dt)?;
        // As published models have it, steps are in f32 at least: products of decays over a text would be rounded away.
        let dt = dt.to_dtype(wide(&dt))?;
        let mut dt = softplus(&dt.broadcast_add(&weights.dt_bias.to_dtype(dt.dtype())?)?)?;
        if let Some(least) = sizes.dt_least {
            dt = dt.maximum(least)?;
        }
        if let Some(most) = sizes.dt_most {
            dt = dt.minimum(most)?;
        }
        Ok(dt)
    }

    /// Normalises what each group of heads gives, `[batch, pos, d_inner]`.
    fn normed_by_group(&self, sizes: &StateSpaces, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let (rows, columns, width) = x.dims3()?;
        let by_group = kernels::reshape(x, &[rows, columns, sizes.groups, width / sizes.groups])?;
        let normed = kernels::norm(&by_group, NormKind::Rms, self.config.norm_eps, None, false, None)?;
        Ok(kernels::reshape(&normed, &[rows, columns, width])?.broadcast_mul(weight)?)
    }
}

/// Normalises what steps, writes and reads are made of, where they have norms.
fn inner_normed(sizes: &StateSpaces, x: Tensor) -> Result<Tensor> {
    Ok(match sizes.inner_norm_eps {
        Some(eps) => kernels::norm(&x, NormKind::Rms, eps, None, false, None)?,
        None => x,
    })
}

impl Recurrence<'_> {
    /// Computes what is read at every token, `[batch, pos, head, d_head]`, and the states behind the last one, where
    /// they are asked for.
    fn run(&self, flow: &mut Flow, layer: usize, wants_last: bool) -> FlowResult<(Tensor, Option<Tensor>)> {
        let site = Site::new(SiteKind::SsmState, layer);
        if !flow.hooks.wants(site) {
            let found = kernels::scan(&self.inputs, self.before, wants_last)?;
            flow.end_behind(site)?;
            return Ok(found);
        }
        let behind = |column, last: Option<&Tensor>, added: Option<&Tensor>| self.states_from(column, last, added);
        let states = hooked_states(flow, site, &self.shown, &behind)?;
        flow.end_behind(site)?;
        let last = states.narrow(1, states.dim(1)? - 1, 1)?.squeeze(1)?.contiguous()?;
        Ok((kernels::states_read(&self.inputs, &states)?, wants_last.then_some(last)))
    }

    /// Computes the states behind a column and all later ones, from those before it: `last`, or those before the text.
    fn states_from(&self, column: usize, last: Option<&Tensor>, added: Option<&Tensor>) -> Result<Tensor> {
        let ScanInputs { x, dt, b, c, rate } = self.inputs;
        let rest = |x: &Tensor| x.narrow(1, column, x.dim(1)? - column);
        let [x, dt, b, c] = [rest(x)?, rest(dt)?, rest(b)?, rest(c)?];
        let inputs = ScanInputs { x: &x, dt: &dt, b: &b, c: &c, rate };
        let last = last.map(|states| states.squeeze(1)).transpose()?;
        Ok(kernels::scan_states(&inputs, last.as_ref().or(self.before), added)?)
    }
}
