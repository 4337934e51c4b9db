//! Time mixing and MLPs that read the token before, with all their sites (Peng et al. 2025, "RWKV-7 'Goose' with expressive
//! dynamic state evolution", section 4).
//!
//! Each map reads a mixture of the token's input and that of the token before. With the logarithms w of decays, the learning
//! rates a, the removal key q, the key k and the value v of a token, and the receptance r, the state S of a head becomes
//!
//! ```text
//! S' = diag(exp w) S - (a * q) (q^T S) + k v^T,    and r^T S' is read.
//! ```

use candle_core::D;
use kernels::DeltaRuleInputs;

use super::flow::{Flow, FlowResult};
use super::past::RecurrentState;
use super::recurrent::{from_before, hooked_states, only_real, real_columns, wide};
use super::{Decoder, Past, linear};
use crate::base::Result;
use crate::err;
use crate::model::config::{NormKind, TimeMixing};
use crate::model::site::{Site, SiteKind};
use crate::model::weights::{LowRankMap, TimeMixingWeights};
use crate::tensor::Tensor;
use crate::tensor::elementwise::sigmoid;

/// The least logarithm of a decay, with the opposite sign: exp(-1/2).
const MOST_DECAY: f64 = 0.606_530_659_712_633_4;

impl Decoder {
    /// Computes the output of time mixing for all columns of the flow: `[batch, pos, d_model]`.
    pub(super) fn time_mixing(
        &self,
        flow: &mut Flow,
        layer: usize,
        weights: &TimeMixingWeights,
        x: &Tensor,
        past: Option<&mut Past>,
    ) -> FlowResult<Tensor> {
        let sizes = self.config.rwkv_of(layer).ok_or_else(|| err!(Bug, "layer {layer} has no time mixing"))?;
        let (rows, columns, _) = x.dims3()?;
        let before = past.as_ref().and_then(|past| past.state(layer)).cloned();
        let real = real_columns(flow, rows);
        let (distance, recent) = from_before(x, before.as_ref().map(|state| &state.recent), &real)?;
        let mixed = |share: &Tensor| -> Result<Tensor> { Ok((x + distance.broadcast_mul(share)?)?) };
        let of_heads = [rows, columns, sizes.heads, sizes.d_head];
        let by_head = |x: &Tensor| kernels::reshape(x, &of_heads);
        let shifts = &weights.shifts;

        let r = by_head(&linear(flow.task, &mixed(&shifts.r)?, &weights.r)?)?;
        let r = flow.see(SiteKind::RwkvR, layer, r)?;
        let w = mapped_by_rank(flow, &mixed(&shifts.w)?, &weights.w, |x| Ok(x.tanh()?))?;
        // Decays are in f32 at least: their products over a text would be rounded away.
        let w = (sigmoid(&w.to_dtype(wide(&w))?)? * -MOST_DECAY)?;
        let w = flow.see(SiteKind::RwkvW, layer, by_head(&w)?)?;
        let a = sigmoid(&mapped_by_rank(flow, &mixed(&shifts.a)?, &weights.a, |x| Ok(x.clone()))?)?;
        let a = flow.see(SiteKind::RwkvA, layer, by_head(&a)?)?;
        let own = by_head(&linear(flow.task, &mixed(&shifts.k)?, &weights.k)?)?;
        let of_head = |x: &Tensor| x.reshape((sizes.heads, sizes.d_head));
        let removed = of_length_one(&own.broadcast_mul(&of_head(&weights.removal)?)?, sizes)?;
        let removed = flow.see(SiteKind::RwkvKk, layer, removed)?;
        let share = (&a - 1.0)?.broadcast_mul(&of_head(&weights.replacement)?)?;
        let k = flow.see(SiteKind::RwkvK, layer, (&own + (&own * &share)?)?)?;
        let of_values = mixed(&shifts.v)?;
        let v = by_head(&linear(flow.task, &of_values, &weights.v)?)?;
        let v = match &weights.v_share {
            None => v,
            Some(map) => {
                let share = sigmoid(&mapped_by_rank(flow, &of_values, map, |x| Ok(x.clone()))?)?;
                let apart = (first_values(flow, layer)? - &v)?;
                (&v + (apart * by_head(&share)?)?)?
            }
        };
        let v = flow.see(SiteKind::RwkvV, layer, v)?;
        if self.config.values_from(layer).is_none() {
            flow.side_inputs.first_values = Some((v.clone(), flow.columns.start));
        }

        // A token of padding keeps all, forgets nothing and writes nothing.
        let decay = only_real(&w, &real)?;
        let key = only_real(&k, &real)?;
        let rate = only_real(&a, &real)?;
        let inputs = DeltaRuleInputs { read: &r, decay: &decay, key: &key, removed: &removed, rate: &rate, value: &v };
        let memory = before.as_ref().map(|state| &state.memory);
        let (read, last) = run(flow, layer, &inputs, memory, past.is_some())?;
        if let (Some(past), Some(memory)) = (past, last) {
            past.keep(layer, RecurrentState { recent, memory });
        }
        let read = flow.see(SiteKind::RwkvRead, layer, read.to_dtype(x.dtype())?)?;
        let normed = kernels::norm(&read, NormKind::Layer, sizes.norm_eps, None, false, None)?;
        let normed = normed.broadcast_mul(&of_head(&weights.norm)?)?.broadcast_add(&of_head(&weights.norm_bias)?)?;
        let bonus = (&r * &k)?.broadcast_mul(&weights.bonus)?.sum_keepdim(D::Minus1)?;
        let all = (normed + v.broadcast_mul(&bonus)?)?;
        let gate = by_head(&mapped_by_rank(flow, &mixed(&shifts.g)?, &weights.g, sigmoid)?)?;
        let gate = flow.see(SiteKind::RwkvG, layer, gate)?;
        let opened = kernels::reshape(&(all * gate)?, &[rows, columns, sizes.d_inner()])?;
        let written = linear(flow.task, &opened, &weights.o)?;
        Ok(self.scaled_write(written)?)
    }

    /// Computes what an MLP reads of its input and that of the token before: `[batch, pos, d_model]`.
    pub(super) fn shifted_mlp_input(
        &self,
        flow: &mut Flow,
        layer: usize,
        share: &Tensor,
        x: &Tensor,
        past: Option<&mut Past>,
    ) -> FlowResult<Tensor> {
        let real = real_columns(flow, x.dim(0)?);
        let recent = past.as_ref().and_then(|past| past.mlp_input(layer)).cloned();
        let (distance, recent) = from_before(x, recent.as_ref(), &real)?;
        if let Some(past) = past {
            past.keep_mlp_input(layer, recent);
        }
        let mixed = (x + distance.broadcast_mul(share)?)?;
        flow.see(SiteKind::MlpShifted, layer, mixed)
    }
}

/// Computes two matrices with a function between them.
fn mapped_by_rank(
    flow: &Flow,
    x: &Tensor,
    map: &LowRankMap,
    between: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    linear(flow.task, &between(&linear(flow.task, x, &map.first)?)?, &map.second)
}

/// Divides vectors by their length.
fn of_length_one(x: &Tensor, sizes: &TimeMixing) -> Result<Tensor> {
    let squares = x.to_dtype(wide(x))?.sqr()?.sum_keepdim(D::Minus1)?;
    let length = (squares + sizes.key_eps)?.sqrt()?;
    Ok(x.to_dtype(wide(x))?.broadcast_div(&length)?.to_dtype(x.dtype())?)
}

/// Returns the values of the first layer at the columns of the flow.
fn first_values(flow: &Flow, layer: usize) -> Result<Tensor> {
    let kept = flow.side_inputs.first_values.as_ref();
    let (all, first) = kept.ok_or_else(|| err!(Bug, "layer {layer} reads values of the first one, and has none"))?;
    let columns = flow.columns.clone();
    if (*first, all.dim(1)?) == (columns.start, columns.len()) {
        return Ok(all.clone());
    }
    Ok(all.narrow(1, columns.start - first, columns.len())?.contiguous()?)
}

/// Computes what is read at every token, `[batch, pos, head, d_head]`, and the states behind the last one, where they are
/// asked for.
fn run(
    flow: &mut Flow,
    layer: usize,
    inputs: &DeltaRuleInputs,
    before: Option<&Tensor>,
    wants_last: bool,
) -> FlowResult<(Tensor, Option<Tensor>)> {
    let site = Site::new(SiteKind::RwkvState, layer);
    if !flow.hooks.wants(site) {
        let found = kernels::delta_rule(inputs, before, wants_last)?;
        flow.end_behind(site)?;
        return Ok(found);
    }
    let behind = |column: usize, last: Option<&Tensor>, added: Option<&Tensor>| -> Result<Tensor> {
        let rest = |x: &Tensor| x.narrow(1, column, x.dim(1)? - column);
        let [read, decay, key] = [rest(inputs.read)?, rest(inputs.decay)?, rest(inputs.key)?];
        let [removed, rate, value] = [rest(inputs.removed)?, rest(inputs.rate)?, rest(inputs.value)?];
        let own =
            DeltaRuleInputs { read: &read, decay: &decay, key: &key, removed: &removed, rate: &rate, value: &value };
        let last = last.map(|states| states.squeeze(1)).transpose()?;
        Ok(kernels::delta_rule_states(&own, last.as_ref().or(before), added)?)
    };
    let (rows, columns, heads, d_key) = inputs.key.dims4()?;
    let shown = [rows, columns, heads, d_key, inputs.value.dim(3)?];
    let states = hooked_states(flow, site, &shown, &behind)?;
    flow.end_behind(site)?;
    let last = states.narrow(1, columns - 1, 1)?.squeeze(1)?.contiguous()?;
    Ok((kernels::delta_rule_read(inputs, &states)?, wants_last.then_some(last)))
}
