//! Heads and MLPs by themselves, each with a residual stream of its own: what edges between them are made of.

use std::ops::Range;

use candle_core::D;
use kernels::{Gap, Reach};

use super::attention::heads_joined;
use super::block_range::PARTS;
use super::flow::{Flow, Stop};
use super::rules::NormOf;
use super::{Decoder, linear};
use crate::base::{Result, Task};
use crate::err;
use crate::model::batch::Batch;
use crate::model::config::{Config, Order, QkNorm};
use crate::model::hooks::NoHooks;
use crate::model::site::SiteKind;
use crate::model::weights::{Block, Linear, Norm};
use crate::tensor::Tensor;

/// Columns of texts: the first one, and the padding where queries would see it.
#[derive(Clone, Copy, Default)]
pub struct TextColumns<'a> {
    pub first: usize,
    pub gap: Option<&'a Gap>,
}

impl Decoder {
    /// Returns this model with keys and values of its own for each query head, and without the hooks that it keeps;
    /// only for models whose residual stream is a sum.
    pub fn ungrouped(&self) -> Result<Self> {
        match self.config.beyond_sums() {
            Some(what) => Err(err!(Bug, "heads were taken apart in a model with {what}")),
            None => self.by_query_head(),
        }
    }

    /// Returns this model with keys and values of its own for each query head, copies where heads share them, and
    /// without the hooks that it keeps.
    pub fn by_query_head(&self) -> Result<Self> {
        let config = self.config.as_ref();
        if config.shared_keys.is_some() || config.global_heads.is_some() {
            let what = config.beyond_sums().unwrap_or_default();
            return Err(err!(Argument, "keys and values have no copy for each query head in a model with {what}"));
        }
        let heads = self.config.heads;
        let shared = self.config.kv_heads;
        let config = Config { kv_heads: heads, ..self.config.as_ref().clone() };
        let mut weights = self.weights.clone();
        if shared < heads {
            for block in &mut weights.blocks {
                if let Some(attn) = &mut block.attn {
                    for map in attn.k.iter_mut().chain(&mut attn.v) {
                        *map = repeated(map, shared, heads / shared)?;
                    }
                    // A norm of all heads together has a weight for each of their numbers.
                    if let (QkNorm::Whole, Some(norm)) = (self.config.qk_norm, &mut attn.k_norm) {
                        norm.weight =
                            norm.weight.as_ref().map(|all| copies(all, shared, heads / shared)).transpose()?;
                    }
                }
            }
        }
        Ok(Self { rules: self.rules, ..Self::new(config, weights) })
    }

    /// Normalises the residual stream as attention reads it, or the MLP of a layer, or the unembedding.
    pub fn input_of(&self, reader: SiteKind, layer: usize, x: &Tensor) -> Result<Tensor> {
        self.plainly_normed(self.norm_of(reader, layer)?, x)
    }

    /// Computes the gradients at the residual stream x, from those at what is read: `[copies, ..]` with the axes of x
    /// behind.
    pub fn input_gradients(&self, reader: SiteKind, layer: usize, x: &Tensor, read: &Tensor) -> Result<Tensor> {
        let Some((norm, kind)) = self.norm_of(reader, layer)?.zip(self.config.norm) else { return Ok(read.clone()) };
        self.norm_gradient_by_rules(x, self.norm_with(norm, kind), read)
    }

    fn norm_of(&self, reader: SiteKind, layer: usize) -> Result<Option<&Norm>> {
        if reader == SiteKind::FinalNorm {
            return Ok(self.weights.final_norm.as_ref());
        }
        let block = self.block_at(layer)?;
        let is_mlp = reader == SiteKind::MlpIn && self.config.order != Order::ParallelShared;
        Ok(if is_mlp { block.mlp_norm.as_ref() } else { block.attn_norm.as_ref() })
    }

    /// Computes queries, keys or values of some heads, ready for attention: `[rows, pos, heads, d_head]`, from what
    /// attention reads, `[rows, pos, d_model]`. The model is an ungrouped one.
    pub fn port(
        &self,
        kind: SiteKind,
        layer: usize,
        heads: &[usize],
        x: &Tensor,
        columns: TextColumns,
        task: &Task,
    ) -> Result<Tensor> {
        let (map, norm) = self.port_map(kind, layer)?;
        let y = linear(task, x, &self.rows_of(map, heads)?)?;
        let (rows, width, _) = x.dims3()?;
        let y = y.reshape((rows, width, heads.len(), self.config.d_head))?;
        if kind == SiteKind::V {
            return Ok(y);
        }
        self.alone(columns, width, task, |flow| self.turn(flow, layer, norm, y))
    }

    /// Computes queries, keys or values of all heads, each from a stream of its own, `[heads, rows, pos, d_model]` as
    /// attention reads it.
    pub fn port_of_each(&self, kind: SiteKind, layer: usize, x: &Tensor, task: &Task) -> Result<Tensor> {
        let (map, norm) = self.port_map(kind, layer)?;
        let (heads, rows, width, d) = x.dims4()?;
        let size = self.config.d_head;
        let maps =
            map.weight.tensor()?.to_dtype(x.dtype())?.reshape((heads, size, d))?.transpose(1, 2)?.contiguous()?;
        let mut y = x.reshape((heads, rows * width, d))?.matmul(&maps)?;
        if let Some(bias) = &map.bias {
            y = y.broadcast_add(&bias.to_dtype(x.dtype())?.reshape((heads, 1, size))?)?;
        }
        let y = y.transpose(0, 1)?.contiguous()?.reshape((rows, width, heads, size))?;
        if kind == SiteKind::V {
            return Ok(y);
        }
        self.alone(TextColumns::default(), width, task, |flow| self.turn(flow, layer, norm, y))
    }

    /// Computes the queries or keys of all heads, ready for attention, `[rows, pos, heads, d_head]`, from what attention
    /// reads from the column `first` of texts on, `[rows, pos, d_model]`; only for models whose residual stream is a sum.
    pub fn ports(&self, kind: SiteKind, layer: usize, x: &Tensor, first: usize, task: &Task) -> Result<Tensor> {
        let (map, norm) = self.port_map(kind, layer)?;
        let (rows, width, _) = x.dims3()?;
        let y = linear(task, x, map)?.reshape((rows, width, (), self.config.d_head))?;
        self.rotated_columns(layer, self.head_normed(y, norm)?, &(first..first + width), None)
    }

    /// Computes the attention patterns of some queries, `[rows, heads, queries, keys]`, over the keys that any of them
    /// attends to, and returns which keys these are. The first query is that of the column `first`, the first of the keys
    /// `k` that of column 0; no text is padded.
    pub fn patterns_of(&self, layer: usize, q: &Tensor, k: &Tensor, first: usize) -> Result<(Range<usize>, Tensor)> {
        let causal = self.config.causal;
        let window = self.config.window(layer);
        let alibi = self.config.alibi_of(layer, None);
        // Biases count the keys from the first one on, so that it has to be there.
        let begin = window.filter(|_| alibi.is_none()).map_or(0, |window| (first + 1).saturating_sub(window));
        let end = if causal { first + q.dim(1)? } else { k.dim(1)? };
        let reach = Reach { causal, window, past: first - begin, gap: None, alibi: alibi.as_ref() };
        let k = k.narrow(1, begin, end - begin)?;
        let scale = self.config.score_scale_of(layer);
        let scores = kernels::scores(q, &k, scale, self.config.score_cap, &reach)?;
        Ok((begin..end, self.pattern(layer, None, &scores, &reach)?))
    }

    /// Rotates queries or keys of one head, `[n, d_head]` behind any norm of theirs, as those at a position are rotated.
    pub fn rotated_at(&self, layer: usize, position: usize, rows: &Tensor) -> Result<Tensor> {
        let (count, size) = rows.dims2()?;
        let rows = rows.reshape((count, 1, 1, size))?;
        let columns = position..position + 1;
        Ok(self.rotated_columns(layer, rows, &columns, None)?.reshape((count, size))?)
    }

    fn port_map(&self, kind: SiteKind, layer: usize) -> Result<(&Linear, Option<&Norm>)> {
        let attn = self.block_at(layer)?.attention()?;
        Ok(match kind {
            SiteKind::Q => (&attn.q, attn.q_norm.as_ref()),
            SiteKind::K => (attn.keys()?, attn.k_norm.as_ref()),
            _ => (attn.values()?, None),
        })
    }

    /// Computes the gradients at what attention reads, head by head, from those at queries, keys or values before their
    /// norm and rotation, `[rows, pos, heads, d_head]`: `[heads, rows, pos, d_model]`.
    pub fn port_gradients(&self, kind: SiteKind, layer: usize, of: &Tensor) -> Result<Tensor> {
        let (map, _) = self.port_map(kind, layer)?;
        let (rows, width, heads, size) = of.dims4()?;
        let d = self.config.d_model;
        let by_head = of.reshape((rows * width, heads, size))?.transpose(0, 1)?.contiguous()?;
        let maps = map.weight.tensor()?.to_dtype(of.dtype())?.reshape((heads, size, d))?;
        Ok(by_head.matmul(&maps)?.reshape((heads, rows, width, d))?)
    }

    /// Computes the attention output of some heads of a layer from their queries, keys and values:
    /// `[rows, pos, heads, d_head]`. Queries begin at the first of the columns, keys and values at 0.
    pub fn attended(
        &self,
        layer: usize,
        heads: &[usize],
        [q, k, v]: [&Tensor; 3],
        columns: TextColumns,
        task: &Task,
    ) -> Result<Tensor> {
        task.check()?;
        let causal = self.config.causal;
        let window = self.config.window(layer);
        let alibi = self.config.alibi_of(layer, Some(heads));
        let reach = Reach { causal, window, past: columns.first, gap: columns.gap, alibi: alibi.as_ref() };
        self.attended_by(layer, Some(heads), [q, k, v], &reach)
    }

    /// Computes the sum of what some heads write, without the bias: `[rows, pos, d_model]` from
    /// `[rows, pos, heads, d_head]`.
    pub fn heads_out(&self, layer: usize, heads: &[usize], z: &Tensor, task: &Task) -> Result<Tensor> {
        let o = &self.block_at(layer)?.attention()?.o.weight;
        let size = self.config.d_head;
        let weight = if heads.len() == self.config.heads {
            o.clone()
        } else {
            let o = o.tensor()?;
            let each =
                heads.iter().map(|head| o.narrow(1, head * size, size)).collect::<std::result::Result<Vec<_>, _>>()?;
            Tensor::cat(&each, 1)?.contiguous()?.into()
        };
        self.scaled_write(linear(task, &heads_joined(z)?, &Linear { weight, bias: None })?)
    }

    /// Computes what each head writes, without the bias: `[heads, rows, pos, d_model]` from the outputs of all heads.
    pub fn each_head_out(&self, layer: usize, z: &Tensor) -> Result<Tensor> {
        let (rows, width, heads, size) = z.dims4()?;
        let d = self.config.d_model;
        let o = self.block_at(layer)?.attention()?.o.weight.tensor()?.to_dtype(z.dtype())?;
        let maps = o.reshape((d, heads, size))?.permute((1, 2, 0))?.contiguous()?;
        let by_head = z.reshape((rows * width, heads, size))?.transpose(0, 1)?.contiguous()?;
        self.scaled_write(by_head.matmul(&maps)?.reshape((heads, rows, width, d))?)
    }

    /// Computes what attention gives from the outputs of all heads, with its bias, before any norm behind it.
    pub fn heads_sum(&self, layer: usize, z: &Tensor, task: &Task) -> Result<Tensor> {
        self.scaled_write(linear(task, &heads_joined(z)?, &self.block_at(layer)?.attention()?.o)?)
    }

    /// Normalises what attention gives as the norm behind it does, where the model has one.
    pub fn behind_heads(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        self.plainly_normed(self.block_at(layer)?.attn_post_norm.as_ref(), x)
    }

    /// Computes how changes of what attention gives, `[changes, ..]` with the axes of x behind, or those of x alone, change
    /// what the norm behind it makes of x.
    pub fn behind_changed_heads(&self, layer: usize, x: &Tensor, changes: &Tensor) -> Result<Tensor> {
        let after = self.behind_heads(layer, &changes.broadcast_add(x)?)?;
        Ok(after.broadcast_sub(&self.behind_heads(layer, x)?)?)
    }

    /// Computes to first order how changes of what attention gives, `[changes, ..]` with the axes of x behind, change
    /// what the norm behind it makes of x.
    pub fn behind_heads_changes(&self, layer: usize, x: &Tensor, changes: &Tensor) -> Result<Tensor> {
        let norm = self.block_at(layer)?.attn_post_norm.as_ref();
        let Some((norm, kind)) = norm.zip(self.config.norm) else { return Ok(changes.clone()) };
        // Without its gain a norm has a symmetric Jacobian: what maps gradients back maps changes forward.
        let gainless = NormOf { weight: None, plus_one: false, ..self.norm_with(norm, kind) };
        let found = self.norm_gradient_by_rules(x, gainless, changes)?;
        let Some(weight) = &norm.weight else { return Ok(found) };
        let gain = if self.config.norm_plus_one { (weight + 1.0)? } else { weight.clone() };
        Ok(found.broadcast_mul(&gain.to_dtype(found.dtype())?)?)
    }

    /// Computes what an MLP writes, from the residual stream.
    pub fn mlp_alone(&self, layer: usize, x: &Tensor, task: &Task) -> Result<Tensor> {
        let block = self.block_at(layer)?;
        let read = self.input_of(SiteKind::MlpIn, layer, x)?;
        self.alone(TextColumns::default(), x.dim(D::Minus2)?, task, |flow| {
            self.mlp_out(flow, layer, block, read, x, None).map_err(Stop::into_error)
        })
    }

    pub(super) fn block_at(&self, layer: usize) -> Result<&Block> {
        self.weights.blocks.get(layer).ok_or_else(|| err!(Bug, "block {layer} of {}", self.weights.blocks.len()))
    }

    /// Returns the rows of a map that belong to some heads.
    fn rows_of(&self, map: &Linear, heads: &[usize]) -> Result<Linear> {
        let size = self.config.d_head;
        let Some(first) = heads.first() else { return Err(err!(Bug, "a map of no heads")) };
        let part = |all: &Tensor| -> Result<Tensor> {
            if heads.iter().enumerate().all(|(at, head)| *head == first + at) {
                return Ok(all.narrow(0, first * size, heads.len() * size)?);
            }
            let each = heads.iter().map(|head| all.narrow(0, head * size, size));
            Ok(Tensor::cat(&each.collect::<std::result::Result<Vec<_>, _>>()?, 0)?)
        };
        Ok(Linear { weight: part(&map.weight.tensor()?)?.into(), bias: map.bias.as_ref().map(part).transpose()? })
    }

    /// Runs a part of a pass that no hooks see.
    fn alone<T>(
        &self,
        columns: TextColumns,
        width: usize,
        task: &Task,
        work: impl FnOnce(&mut Flow) -> Result<T>,
    ) -> Result<T> {
        self.check_keeps_none(PARTS)?;
        let batch = Batch::new(vec![vec![0]])?;
        let mut hooks = NoHooks;
        let range = columns.first..columns.first + width;
        let gap = columns.gap.cloned();
        work(&mut Flow { gap, ..Flow::of(&mut hooks, &batch, range, task) })
    }
}

/// Copies a map to the heads that queries share, once for each query head.
fn repeated(map: &Linear, shared: usize, times: usize) -> Result<Linear> {
    let bias = map.bias.as_ref().map(|bias| copies(bias, shared, times)).transpose()?;
    Ok(Linear { weight: copies(&map.weight.tensor()?, shared, times)?.into(), bias })
}

/// Repeats the rows of each shared head `times` times.
fn copies(all: &Tensor, shared: usize, times: usize) -> Result<Tensor> {
    let size = all.dim(0)? / shared.max(1);
    let each = (0..shared * times).map(|head| all.narrow(0, head / times * size, size));
    Ok(Tensor::cat(&each.collect::<std::result::Result<Vec<_>, _>>()?, 0)?)
}
