//! Attention with all its sites.

use std::ops::Range;

use super::flow::{Flow, FlowResult};
use super::rules::NormOf;
use super::{Decoder, Past, linear};
use crate::base::Result;
use crate::err;
use crate::model::config::{NormKind, QkNorm};
use crate::model::site::SiteKind;
use crate::model::weights::{Attention, LatentMap, LatentMaps, Linear, Norm};
use crate::tensor::Tensor;
use crate::tensor::elementwise::sigmoid;
use kernels::{Gap, Reach};

impl Decoder {
    /// Computes the output of attention, before any post-norm: `[batch, pos, d_model]`. Queries begin at the column
    /// `from`, and so do the columns of the flow behind it.
    pub(super) fn attention(
        &self,
        flow: &mut Flow,
        layer: usize,
        weights: &Attention,
        x: &Tensor,
        past: Option<&mut Past>,
        from: usize,
    ) -> FlowResult<Tensor> {
        let heads = self.config.heads;
        let kv_heads = self.config.kv_heads_of(layer);
        let asking = flow.tail(x, from)?;
        let asked = from..flow.columns.end;
        let all = std::mem::replace(&mut flow.columns, asked);
        let q = match weights.latent.as_ref().and_then(|maps| maps.q.as_ref()) {
            Some(map) => {
                let latent = self.latent(flow, SiteKind::QLatent, layer, map, &asking)?;
                self.heads(flow, SiteKind::Q, layer, &latent, &weights.q, heads)?
            }
            None => self.heads(flow, SiteKind::Q, layer, &asking, &weights.q, heads)?,
        };
        let asked = std::mem::replace(&mut flow.columns, all.clone());
        let own = match (&weights.k, &weights.latent) {
            (Some(keys), None) => Some(self.keys_and_values(flow, layer, keys, weights.v.as_ref(), kv_heads, x)?),
            (Some(keys), Some(maps)) => Some(self.of_latent(flow, layer, maps, keys, weights.v.as_ref(), x)?),
            (None, _) => None,
        };
        flow.columns = asked.clone();
        let q = self.rotated(flow, layer, SiteKind::QRot, weights.q_norm.as_ref(), q)?;
        let (k, v) = match own {
            Some((k, v)) => {
                flow.columns = all;
                let k = self.rotated(flow, layer, SiteKind::KRot, weights.k_norm.as_ref(), k)?;
                flow.columns = asked;
                let (k, v) = match past {
                    Some(past) => past.extend(layer, &k, &v)?,
                    None => (k, v),
                };
                if self.config.shared_keys.is_some() {
                    flow.side_inputs.keep(layer, &k, &v);
                }
                (k, v)
            }
            None => {
                let from = self.config.keys_from(layer).ok_or_else(|| err!(Bug, "layer {layer} has no keys"))?;
                flow.side_inputs.keys_of(from, flow.columns.end)?
            }
        };
        let z = self.mixed(flow, layer, &q, &k, &v)?;
        let z = match &weights.gate {
            Some(gate) => {
                let gate = self.heads(flow, SiteKind::HeadGate, layer, &asking, gate, heads)?;
                (z * sigmoid(&gate)?)?
            }
            None => z,
        };
        let z = flow.see(SiteKind::Z, layer, z)?;
        self.written(flow, layer, &weights.o, &z)
    }

    pub(super) fn heads(
        &self,
        flow: &mut Flow,
        kind: SiteKind,
        layer: usize,
        x: &Tensor,
        map: &Linear,
        heads: usize,
    ) -> FlowResult<Tensor> {
        let y = by_heads(flow, x, map, heads)?;
        flow.see(kind, layer, y)
    }

    /// Computes a latent, `[batch, pos, rank]`, behind its norm.
    fn latent(&self, flow: &mut Flow, kind: SiteKind, layer: usize, map: &LatentMap, x: &Tensor) -> FlowResult<Tensor> {
        let Some((config, norm)) = self.config.latent.as_ref().zip(self.config.norm) else {
            return Err(err!(Bug, "layer {layer} has a latent, and its config has none").into());
        };
        let narrow = linear(flow.task, x, &map.map)?;
        let plus_one = self.config.norm_plus_one;
        let of = NormOf { kind: norm, eps: config.norm_eps, weight: Some(&map.norm), plus_one, bias: None };
        let normed = self.norm_by_rules(&narrow, of)?;
        flow.see(kind, layer, normed)
    }

    /// Computes keys before their rotation, and values, by way of the latent of both. The last coordinates of keys, which
    /// all heads share, are copied to each, so that hooks and caches have whole keys.
    fn of_latent(
        &self,
        flow: &mut Flow,
        layer: usize,
        maps: &LatentMaps,
        keys: &Linear,
        values: Option<&Linear>,
        x: &Tensor,
    ) -> FlowResult<(Tensor, Tensor)> {
        let Some(values) = values else { return Err(err!(Bug, "layer {layer} has keys and no values").into()) };
        let heads = self.config.heads;
        let latent = self.latent(flow, SiteKind::KvLatent, layer, &maps.kv, x)?;
        let shared = flow.see(SiteKind::KShared, layer, linear(flow.task, x, &maps.k_shared)?)?;
        let own = by_heads(flow, &latent, keys, heads)?;
        let (rows, columns, d_shared) = shared.dims3()?;
        let shared = shared.unsqueeze(2)?.expand((rows, columns, heads, d_shared))?;
        let k = flow.see(SiteKind::K, layer, Tensor::cat(&[&own, &shared.contiguous()?], 3)?)?;
        let v = by_heads(flow, &latent, values, heads)?;
        Ok((k, flow.see(SiteKind::V, layer, v)?))
    }

    /// Computes keys before their norm and rotation, and values. Where one map makes both, each is a copy: a hook at
    /// one does not change the other.
    pub(super) fn keys_and_values(
        &self,
        flow: &mut Flow,
        layer: usize,
        keys: &Linear,
        values: Option<&Linear>,
        heads: usize,
        x: &Tensor,
    ) -> FlowResult<(Tensor, Tensor)> {
        let made = by_heads(flow, x, keys, heads)?;
        let k = flow.see(SiteKind::K, layer, made.clone())?;
        let v = match values {
            Some(values) => by_heads(flow, x, values, heads)?,
            None => made,
        };
        let v = match (self.config.value_norm, self.config.norm) {
            (true, Some(kind)) => {
                let eps = self.config.norm_eps;
                self.norm_by_rules(&v, NormOf { kind, eps, weight: None, plus_one: false, bias: None })?
            }
            _ => v,
        };
        Ok((k, flow.see(SiteKind::V, layer, v)?))
    }

    /// Applies norm and rotation to queries or keys, whose result is a site of its own in every layer of a model that
    /// has either.
    fn rotated(
        &self,
        flow: &mut Flow,
        layer: usize,
        kind: SiteKind,
        norm: Option<&Norm>,
        x: Tensor,
    ) -> FlowResult<Tensor> {
        if !kind.exists(&self.config) {
            return Ok(x);
        }
        let x = self.turn(flow, layer, norm, x)?;
        flow.see(kind, layer, x)
    }

    /// Applies norm and rotation, where there is one, to queries or keys of the columns of this pass.
    pub(super) fn turn(&self, flow: &Flow, layer: usize, norm: Option<&Norm>, x: Tensor) -> Result<Tensor> {
        let x = self.head_normed(x, norm)?;
        self.rotated_columns(layer, x, &flow.columns, flow.gap.as_ref())
    }

    /// Rotates queries or keys of some columns, behind any norm of theirs, where the layer rotates them.
    pub(super) fn rotated_columns(
        &self,
        layer: usize,
        x: Tensor,
        columns: &Range<usize>,
        gap: Option<&Gap>,
    ) -> Result<Tensor> {
        let Some(rotary_table) = self.rotary_table(layer) else { return Ok(x) };
        let table = rotary_table.table(columns.end, self.device())?;
        let start = columns.start;
        let Some(latent) = &self.config.latent else { return Ok(kernels::rotate(&x, &table, start, gap)?) };
        // Elsewhere the first coordinates of a head are rotated, here the last ones.
        let still = self.config.d_head - latent.d_shared;
        let turning = x.narrow(3, still, latent.d_shared)?.contiguous()?;
        let turned = kernels::rotate(&turning, &table, start, gap)?;
        Ok(Tensor::cat(&[&x.narrow(3, 0, still)?, &turned], 3)?)
    }

    /// Normalises queries or keys, where there is a norm of theirs.
    pub(super) fn head_normed(&self, x: Tensor, norm: Option<&Norm>) -> Result<Tensor> {
        let Some(norm) = norm else { return Ok(x) };
        let kind = self.config.norm.unwrap_or(NormKind::Rms);
        let whole = match self.config.qk_norm {
            QkNorm::Whole => heads_joined(&x)?,
            QkNorm::Head | QkNorm::None => x.clone(),
        };
        let normed = self.norm_by_rules(&whole, self.norm_with(norm, kind))?;
        Ok(kernels::reshape(&normed, x.dims())?)
    }

    /// Computes the attention output of each head. Scores and pattern are materialised only where they are needed.
    fn mixed(&self, flow: &mut Flow, layer: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> FlowResult<Tensor> {
        let scale = self.config.score_scale_of(layer);
        let cap = self.config.score_cap;
        let gap = flow.gap.clone();
        let causal = self.config.causal;
        let window = self.config.window(layer);
        let alibi = self.config.alibi_of(layer, None);
        let reach = Reach { causal, window, past: flow.columns.start, gap: gap.as_ref(), alibi: alibi.as_ref() };
        flow.task.check()?;
        if !flow.wants(SiteKind::Scores, layer) && !flow.wants(SiteKind::Pattern, layer) {
            return Ok(self.attended_by(layer, None, [q, k, v], &reach)?);
        }
        let scores = flow.see(SiteKind::Scores, layer, kernels::scores(q, k, scale, cap, &reach)?)?;
        let pattern = flow.see(SiteKind::Pattern, layer, self.pattern(layer, None, &scores, &reach)?)?;
        Ok(kernels::mix(&pattern, v)?)
    }

    /// Computes the attention output of some heads, or of all, without making scores and pattern sites.
    pub(super) fn attended_by(
        &self,
        layer: usize,
        heads: Option<&[usize]>,
        [q, k, v]: [&Tensor; 3],
        reach: &Reach,
    ) -> Result<Tensor> {
        let scale = self.config.score_scale_of(layer);
        let cap = self.config.score_cap;
        if !self.config.sinks {
            return Ok(kernels::attention(q, k, v, scale, cap, reach)?);
        }
        Ok(kernels::mix(&self.pattern(layer, heads, &kernels::scores(q, k, scale, cap, reach)?, reach)?, v)?)
    }

    /// Computes the softmax of scores over the keys that a query attends to, and the head's sink where it has one.
    pub(super) fn pattern(
        &self,
        layer: usize,
        heads: Option<&[usize]>,
        scores: &Tensor,
        reach: &Reach,
    ) -> Result<Tensor> {
        Ok(match (&self.block_at(layer)?.attention()?.sinks, heads) {
            (None, _) => kernels::pattern(scores, reach)?,
            (Some(sinks), None) => kernels::pattern_with_sinks(scores, reach, sinks)?,
            (Some(sinks), Some(heads)) => {
                let heads = Tensor::new(heads.iter().map(|head| *head as u32).collect::<Vec<_>>(), sinks.device())?;
                kernels::pattern_with_sinks(scores, reach, &sinks.index_select(&heads, 0)?)?
            }
        })
    }

    /// Computes the output projection, head by head where a hook reads the heads.
    fn written(&self, flow: &mut Flow, layer: usize, o: &Linear, z: &Tensor) -> FlowResult<Tensor> {
        if !flow.wants(SiteKind::HeadOut, layer) {
            return Ok(self.scaled_write(linear(flow.task, &heads_joined(z)?, o)?)?);
        }
        let heads = flow.see(SiteKind::HeadOut, layer, self.scaled_write(by_head(z, o)?)?)?;
        let sum = heads.sum(2)?;
        Ok(match &o.bias {
            Some(bias) => sum.broadcast_add(&self.scaled_write(bias.clone())?)?,
            None => sum,
        })
    }
}

/// Applies the map of some heads: `[batch, pos, head, size]`, where the size is that of the map.
fn by_heads(flow: &Flow, x: &Tensor, map: &Linear, heads: usize) -> Result<Tensor> {
    let y = linear(flow.task, x, map)?;
    let (rows, columns, wide) = y.dims3()?;
    Ok(kernels::reshape(&y, &[rows, columns, heads, wide / heads.max(1)])?)
}

/// Joins the heads of `[batch, pos, head, d_head]`: `[batch, pos, heads * d_head]`.
pub(super) fn heads_joined(x: &Tensor) -> Result<Tensor> {
    let (rows, columns, heads, size) = x.dims4()?;
    Ok(kernels::reshape(x, &[rows, columns, heads * size])?)
}

/// Computes the output of each head, without the bias: `[batch, pos, head, d_model]`.
fn by_head(z: &Tensor, o: &Linear) -> Result<Tensor> {
    let (rows, columns, heads, size) = z.dims4()?;
    let o = o.weight.tensor()?;
    let d = o.dim(0)?;
    // [head, batch * pos, d_head] times [head, d_head, d_model].
    let z = z.reshape((rows * columns, heads, size))?.transpose(0, 1)?.contiguous()?;
    let maps = o.reshape((d, heads, size))?.permute((1, 2, 0))?.contiguous()?;
    Ok(z.matmul(&maps)?.transpose(0, 1)?.contiguous()?.reshape((rows, columns, heads, d))?)
}
