//! One decoder for every family: the forward pass, with hooks at every site.

mod active_neurons;
mod attention;
mod block_range;
mod components;
mod delta;
mod flow;
mod layer_inputs;
mod mixture;
mod past;
mod recurrent;
mod resumed;
mod rope;
mod rules;
mod side_inputs;
mod state_space;
mod time_mixing;
mod variants;

use std::sync::Arc;

use super::batch::Batch;
use super::config::{Activation, Config, NormKind, Order, Positions};
use super::gradient_rules::GradientRules;
use super::hooks::{Chain, Hooks, JoinedHooks, KeptHook};
use super::site::SiteKind;
use super::weight::Weight;
use super::weights::{Block, Linear, Mlp, Norm, Weights};
use crate::base::{Result, Task, memory};
use crate::tensor::{DType, Device, Tensor};
use crate::{bail, err};
use flow::{Flow, FlowResult, Stop};
use kernels::Gap;
use rules::NormOf;

pub use block_range::BegunTexts;
pub use components::TextColumns;
pub use past::Past;
pub use rope::RotaryTable;
pub use variants::Variants;

/// The logits that a forward pass computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits<'a> {
    /// Logits of all positions, `[batch, pos, vocab]`.
    All,
    /// Logits after the last token of each text, `[batch, 1, vocab]`.
    Last,
    /// Logits at these positions, negative ones from the end of each text: `[batch, positions, vocab]`.
    At(&'a [i64]),
    /// Logits at these rows and columns of the batch, one after the other: `[points, vocab]`.
    Points(&'a [(usize, usize)]),
    /// No logits: the pass ends with what the unembedding reads, `[batch, pos, d_model]`.
    Read,
    /// No logits: the pass ends with what the unembedding reads at these rows and columns, `[points, d_model]`.
    Rows(&'a [(usize, usize)]),
}

/// The arguments of a forward pass.
pub struct Pass<'a> {
    pub hooks: &'a mut dyn Hooks,
    /// The key-value cache.
    pub past: Option<&'a mut Past>,
    pub logits: Logits<'a>,
    pub task: &'a Task,
}

#[derive(Debug)]
pub struct Decoder {
    config: Arc<Config>,
    weights: Weights,
    rotary_table: Option<RotaryTable>,
    rotary_table_local: Option<RotaryTable>,
    /// Hooks that act in every pass.
    kept: Vec<KeptHook>,
    /// The rules by which gradients pass through it.
    rules: GradientRules,
}

impl Decoder {
    pub fn new(config: Config, weights: Weights) -> Self {
        let rotary_table = config.rotary.as_ref().map(RotaryTable::new);
        let rotary_table_local = config.rotary_local.as_ref().map(RotaryTable::new);
        let rules = GradientRules::Derivatives;
        Self { config: Arc::new(config), weights, rotary_table, rotary_table_local, kept: Vec::new(), rules }
    }

    /// Returns this model with these hooks kept, and no others.
    pub fn keeping(&self, kept: Vec<KeptHook>) -> Self {
        Self { kept, rules: self.rules, ..Self::new(self.config.as_ref().clone(), self.weights.clone()) }
    }

    /// Returns this model with other weights. Hooks that it keeps stay.
    pub fn with_weights(&self, weights: Weights) -> Self {
        Self { kept: self.kept.clone(), rules: self.rules, ..Self::new(self.config.as_ref().clone(), weights) }
    }

    pub fn kept(&self) -> &[KeptHook] {
        &self.kept
    }

    /// Refuses a model that keeps hooks, for what computes parts of passes, or does not compute passes at all.
    pub fn check_keeps_none(&self, what: &str) -> Result<()> {
        match self.kept.first() {
            None => Ok(()),
            Some(hook) => {
                Err(err!(Argument, "{what} cannot use the hooks that a model keeps, found `{}`", hook.told())
                    .hint("give it the model without hooks")
                    .about("m"))
            }
        }
    }

    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    pub fn dtype(&self) -> DType {
        self.weights.embed.dtype()
    }

    pub fn device(&self) -> &Device {
        self.weights.embed.device()
    }

    /// Runs the model. None if the hooks stop it before the logits.
    pub fn forward(&self, batch: &Batch, pass: Pass) -> Result<Option<Tensor>> {
        if self.kept.is_empty() {
            return self.passed(batch, pass);
        }
        let Pass { hooks, past, logits, task } = pass;
        let kept = self.kept.iter().map(KeptHook::bound).collect::<Result<Vec<_>>>()?.into_iter().flatten();
        let mut all = JoinedHooks { kept: Chain { hooks: kept.collect(), ..Chain::default() }, then: hooks };
        self.passed(batch, Pass { hooks: &mut all, past, logits, task })
    }

    fn passed(&self, batch: &Batch, pass: Pass) -> Result<Option<Tensor>> {
        let before = pass.past.as_ref().map_or(0, |past| past.columns());
        self.check(batch, before)?;
        let gap = match &pass.past {
            Some(past) if before > 0 => past.gap().cloned(),
            past => {
                let seen = past.is_some() || !self.config.causal;
                (batch.is_ragged() && seen).then(|| Gap { lengths: batch.lengths(), width: batch.width() })
            }
        };
        let step = pass.past.as_ref().map_or(0, |past| past.step());
        let columns = before..before + batch.width();
        let mut past = pass.past;
        let may_grow = past.is_some();
        let mut flow = Flow { step, gap, may_grow, ..Flow::of(pass.hooks, batch, columns, pass.task) };
        let logits = match self.through(&mut flow, past.as_deref_mut(), pass.logits) {
            Ok(logits) => Some(logits),
            Err(Stop::Done) => None,
            Err(Stop::Failed(error)) => return Err(error),
        };
        if let Some(past) = past {
            past.advance(batch.width(), flow.gap);
        }
        Ok(logits)
    }

    /// Ids beyond the vocabulary and texts beyond the context are refused.
    fn check(&self, batch: &Batch, before: usize) -> Result<()> {
        for (i, row) in batch.rows().iter().enumerate() {
            if let Some((pos, id)) = row.iter().enumerate().find(|(_, id)| **id as usize >= self.config.vocab) {
                bail!(
                    Argument,
                    "expected token ids below {}, found {id} at position {pos} of text {i}",
                    self.config.vocab
                );
            }
        }
        let length = before + batch.width();
        if length > self.config.context {
            return Err(err!(
                Argument,
                "the text has {length} tokens, and the model's context is {}",
                self.config.context
            )
            .hint("cut the text, or ask for windows with #{ windowed: true } where the call has that option"));
        }
        Ok(())
    }

    fn through(&self, flow: &mut Flow, past: Option<&mut Past>, wanted: Logits) -> FlowResult<Tensor> {
        let x = self.embedded(flow)?;
        self.through_blocks(flow, 0, x, past, wanted)
    }

    /// Computes the blocks from the first on that reads this stream, and what follows them.
    fn through_blocks(
        &self,
        flow: &mut Flow,
        first: usize,
        mut x: Tensor,
        mut past: Option<&mut Past>,
        wanted: Logits,
    ) -> FlowResult<Tensor> {
        for (layer, block) in self.weights.blocks.iter().enumerate().skip(first) {
            flow.task.check()?;
            x = self.block(flow, layer, block, x, past.as_deref_mut())?;
        }
        let x = self.last_normed(flow, x)?;
        let x = flow.see(SiteKind::FinalNorm, 0, x)?;
        if matches!(wanted, Logits::Read | Logits::Rows(_)) {
            return Ok(flow.wanted(&x, wanted)?);
        }
        // A hook at the logits sees all of them, whatever the caller needs.
        if wanted != Logits::All && !flow.wants(SiteKind::Logits, 0) {
            let x = flow.wanted(&x, wanted)?;
            return flow.see(SiteKind::Logits, 0, self.unembedded(&x, flow.task)?);
        }
        let logits = flow.see(SiteKind::Logits, 0, self.unembedded(&x, flow.task)?)?;
        Ok(flow.wanted(&logits, wanted)?)
    }

    fn embedded(&self, flow: &mut Flow) -> FlowResult<Tensor> {
        let rows = flow.batch.rows().len();
        let width = flow.batch.width();
        let d = self.config.d_model;
        let ids = flow.batch.ids(self.device())?.flatten_all()?;
        let by_column = |found: &Tensor| kernels::reshape(found, &[rows, width, d]);
        let mut x = by_column(&self.weights.embed.look_up(&ids)?)?;
        x = self.plainly_normed(self.weights.embed_norm.as_ref(), &x)?;
        if let Some(scale) = self.config.embed_scale {
            x = (x * scale)?;
        }
        let mut x = flow.see(SiteKind::Embed, 0, x)?;
        self.read_layer_inputs(flow, &x)?;
        if let Some(types) = &self.weights.type_embed {
            x = x.broadcast_add(&types.narrow(0, 0, 1)?)?;
        }
        if self.config.positions != Positions::Learned {
            return Ok(self.plainly_normed(self.weights.stream_norm.as_ref(), &x)?);
        }
        let Some(table) = &self.weights.pos_embed else {
            return Err(err!(Bug, "a model without its positions").into());
        };
        let places = (0..rows).flat_map(|row| flow.columns.clone().map(move |column| (row, column)));
        let offset = self.config.position_offset;
        let places: Vec<u32> = places.map(|(row, column)| (flow.position(row, column) + offset) as u32).collect();
        let places = Tensor::from_vec(places, rows * width, self.device())?;
        let positions = flow.see(SiteKind::PosEmbed, 0, by_column(&kernels::look_up(table, &places)?)?)?;
        Ok(self.plainly_normed(self.weights.stream_norm.as_ref(), &kernels::add(&x, &positions)?)?)
    }

    fn block(
        &self,
        flow: &mut Flow,
        layer: usize,
        block: &Block,
        x: Tensor,
        past: Option<&mut Past>,
    ) -> FlowResult<Tensor> {
        let from = flow.columns.start;
        self.block_from(flow, layer, block, x, past, from)
    }

    /// Computes a block from the column `from` on, to which earlier columns give keys and values only.
    fn block_from(
        &self,
        flow: &mut Flow,
        layer: usize,
        block: &Block,
        x: Tensor,
        past: Option<&mut Past>,
        from: usize,
    ) -> FlowResult<Tensor> {
        if self.config.rwkv.is_some() && from > flow.columns.start {
            // What an MLP reads of the token before `from` is made of all that is before.
            let start = flow.columns.start;
            let x = self.block_from(flow, layer, block, x, past, start)?;
            let x = flow.tail(&x, from)?;
            flow.columns.start = from;
            return Ok(x);
        }
        let mut past = past;
        let x = flow.see(SiteKind::ResidPre, layer, x)?;
        let normed = self.normed(flow, block.attn_norm.as_ref(), &x, SiteKind::NormScale, layer)?;
        let attn_in = flow.see(SiteKind::AttnIn, layer, normed.clone())?;
        let x = flow.tail(&x, from)?;
        let normed = flow.tail(&normed, from)?;
        let own = past.as_deref_mut();
        let attn = match (&block.attn, &block.delta, &block.ssm, &block.rwkv) {
            (Some(attn), None, None, None) => self.attention(flow, layer, attn, &attn_in, own, from)?,
            (None, Some(delta), None, None) => self.delta_net(flow, layer, delta, &attn_in, own, from)?,
            (None, None, Some(ssm), None) => self.state_space(flow, layer, ssm, &attn_in, own, from)?,
            (None, None, None, Some(rwkv)) => self.time_mixing(flow, layer, rwkv, &attn_in, own)?,
            _ => return Err(err!(Bug, "layer {layer} has not one part that mixes positions").into()),
        };
        self.behind_attention(flow, layer, block, [x, normed, attn], past)
    }

    /// Computes the rest of a block, from the stream x, the input of attention, and its output.
    fn behind_attention(
        &self,
        flow: &mut Flow,
        layer: usize,
        block: &Block,
        [x, normed, attn]: [Tensor; 3],
        past: Option<&mut Past>,
    ) -> FlowResult<Tensor> {
        let attn = self.normed(flow, block.attn_post_norm.as_ref(), &attn, SiteKind::AttnPostScale, layer)?;
        let attn_out = flow.see(SiteKind::AttnOut, layer, attn)?;
        let mid = kernels::add(&x, &attn_out)?;
        if !self.config.has_mlp() {
            return self.behind_mlp(flow, layer, block, mid);
        }
        let (read, mlp_in) = match self.config.order {
            Order::Serial => {
                let mid = self.normed(flow, block.attn_stream_norm.as_ref(), &mid, SiteKind::ResidMidScale, layer)?;
                return self.behind_middle(flow, layer, block, mid, past);
            }
            Order::Parallel => {
                let normed = self.normed(flow, block.mlp_norm.as_ref(), &x, SiteKind::MlpNormScale, layer)?;
                (x, normed)
            }
            Order::ParallelShared => (x, normed),
        };
        let mlp_out = self.mlp_out(flow, layer, block, mlp_in, &read, past)?;
        self.behind_mlp(flow, layer, block, kernels::add(&mid, &mlp_out)?)
    }

    /// Computes the rest of a block whose MLP reads what attention wrote, from the stream between them.
    fn behind_middle(
        &self,
        flow: &mut Flow,
        layer: usize,
        block: &Block,
        mid: Tensor,
        past: Option<&mut Past>,
    ) -> FlowResult<Tensor> {
        let mid = flow.see(SiteKind::ResidMid, layer, mid)?;
        let normed = self.normed(flow, block.mlp_norm.as_ref(), &mid, SiteKind::MlpNormScale, layer)?;
        let mlp_out = self.mlp_out(flow, layer, block, normed, &mid, past)?;
        self.behind_mlp(flow, layer, block, kernels::add(&mid, &mlp_out)?)
    }

    /// Computes what a block hands on, from the stream with what attention and MLP wrote.
    fn behind_mlp(&self, flow: &mut Flow, layer: usize, block: &Block, mut x: Tensor) -> FlowResult<Tensor> {
        if let Some(weights) = &block.layer_input {
            let layer_out = self.layer_out(flow, layer, weights, &x)?;
            x = kernels::add(&x, &layer_out)?;
        }
        if let Some(scale) = &block.scale {
            x = x.broadcast_mul(scale)?;
        }
        x = self.normed(flow, block.mlp_stream_norm.as_ref(), &x, SiteKind::ResidPostScale, layer)?;
        flow.see(SiteKind::ResidPost, layer, x)
    }

    /// Computes the output of an MLP or of experts, or of both, with its post-norm. `x` is the normed stream.
    fn mlp_out(
        &self,
        flow: &mut Flow,
        layer: usize,
        block: &Block,
        x: Tensor,
        stream: &Tensor,
        past: Option<&mut Past>,
    ) -> FlowResult<Tensor> {
        let x = flow.see(SiteKind::MlpIn, layer, x)?;
        let x = match &block.mlp_shift {
            Some(share) => self.shifted_mlp_input(flow, layer, share, &x, past)?,
            None => x,
        };
        let out = match (&block.mlp, &block.mixture, self.config.experts_of(layer)) {
            (Some(mlp), None, _) => self.mlp(flow, layer, mlp, &x)?,
            (None, Some(mixture), Some(experts)) => self.mixture(flow, layer, mixture, experts, &x, &x)?,
            (Some(mlp), Some(mixture), Some(experts)) => {
                let (of_experts, beside) = self.experts_beside(flow, layer, mixture, experts, stream)?;
                let own = self.plainly_normed(beside.mlp_post_norm.as_ref(), &self.mlp(flow, layer, mlp, &x)?)?;
                kernels::add(&flow.see(SiteKind::MlpOwn, layer, own)?, &of_experts)?
            }
            _ => return Err(err!(Bug, "layer {layer} has neither an MLP nor experts").into()),
        };
        let out = self.scaled_write(out)?;
        let out = self.normed(flow, block.mlp_post_norm.as_ref(), &out, SiteKind::MlpPostScale, layer)?;
        flow.see(SiteKind::MlpOut, layer, out)
    }

    fn mlp(&self, flow: &mut Flow, layer: usize, mlp: &Mlp, x: &Tensor) -> FlowResult<Tensor> {
        let act = self.config.act;
        let hidden = match &mlp.gate {
            Some(gate) => {
                let pre = flow.see(SiteKind::MlpPre, layer, linear(flow.task, x, gate)?)?;
                let up = flow.see(SiteKind::MlpUp, layer, linear(flow.task, x, &mlp.up)?)?;
                self.gated(&pre, &up, act)?
            }
            None if flow.wants(SiteKind::MlpPre, layer) => {
                let pre = flow.see(SiteKind::MlpPre, layer, linear(flow.task, x, &mlp.up)?)?;
                self.activated(&pre, act)?
            }
            None => self.mapped_by_rules(flow.task, x, &mlp.up, act)?,
        };
        let hidden = match self.config.active_neurons {
            Some(count) => active_neurons::largest(&hidden, count)?,
            None => hidden,
        };
        let hidden = flow.see(SiteKind::MlpHidden, layer, hidden)?;
        Ok(linear(flow.task, &hidden, &mlp.down)?)
    }

    /// Scales the output of attention or of an MLP by the model's factor.
    fn scaled_write(&self, x: Tensor) -> Result<Tensor> {
        Ok(match self.config.write_scale {
            Some(scale) => (x * scale)?,
            None => x,
        })
    }

    /// Normalises rows; returns `x` itself where there is no norm. The divisor is a site.
    fn normed(
        &self,
        flow: &mut Flow,
        norm: Option<&Norm>,
        x: &Tensor,
        scale: SiteKind,
        layer: usize,
    ) -> FlowResult<Tensor> {
        let (Some(norm), Some(kind)) = (norm, self.config.norm) else { return Ok(x.clone()) };
        let weight = norm.weight.as_ref();
        let bias = norm.bias.as_ref();
        let eps = self.config.norm_eps;
        let plus_one = self.config.norm_plus_one;
        if !flow.wants(scale, layer) {
            return Ok(self.norm_by_rules(x, NormOf { kind, eps, weight, plus_one, bias })?);
        }
        let scale = flow.see(scale, layer, self.norm_scale_by_rules(x, kind, eps)?)?;
        Ok(kernels::norm_with_scale(x, kind, &scale, weight, plus_one, bias)?)
    }

    /// Normalises rows whose divisor is no site.
    fn plainly_normed(&self, norm: Option<&Norm>, x: &Tensor) -> Result<Tensor> {
        let Some((norm, kind)) = norm.zip(self.config.norm) else { return Ok(x.clone()) };
        self.norm_by_rules(x, self.norm_with(norm, kind))
    }

    fn norm_with<'a>(&self, norm: &'a Norm, kind: NormKind) -> NormOf<'a> {
        let eps = self.config.norm_eps;
        let plus_one = self.config.norm_plus_one;
        NormOf { kind, eps, weight: norm.weight.as_ref(), plus_one, bias: norm.bias.as_ref() }
    }

    /// Computes what is unembedded, from the residual stream behind the last block.
    fn last_normed(&self, flow: &mut Flow, x: Tensor) -> FlowResult<Tensor> {
        let x = match (&self.weights.transform, &self.config.transform) {
            (Some(weights), Some(transform)) => {
                let x = self.plainly_normed(weights.norm.as_ref(), &x)?;
                let x = flow.see(SiteKind::TransformIn, 0, x)?;
                let x = self.mapped_by_rules(flow.task, &x, &weights.map, transform.act)?;
                flow.see(SiteKind::TransformOut, 0, x)?
            }
            _ => x,
        };
        self.normed(flow, self.weights.final_norm.as_ref(), &x, SiteKind::FinalNormScale, 0)
    }

    /// Computes what is unembedded, from what flows at a site of the stream, or in the layer before the last norm, with no
    /// hooks.
    pub fn last_normed_from(&self, kind: SiteKind, x: Tensor, task: &Task) -> Result<Tensor> {
        let x = match (&self.weights.transform, &self.config.transform) {
            (Some(weights), Some(transform)) if kind != SiteKind::TransformOut => {
                let norm = weights.norm.as_ref().filter(|_| kind != SiteKind::TransformIn);
                self.mapped_by_rules(task, &self.plainly_normed(norm, &x)?, &weights.map, transform.act)?
            }
            _ => x,
        };
        self.plainly_normed(self.weights.final_norm.as_ref(), &x)
    }

    /// Computes the logits of rows after the final norm.
    pub fn unembedded(&self, x: &Tensor, task: &Task) -> Result<Tensor> {
        self.config.expect_logits("this computation")?;
        let rows = x.elem_count() / self.config.d_model;
        let bytes = rows as u128 * self.config.outputs() as u128 * x.dtype().size_in_bytes() as u128;
        memory::check_on(x.device(), bytes, || "the logits".into())?;
        let mut logits = linear(task, x, &self.weights.unembed)?;
        if let Some(scale) = self.config.logit_scale {
            logits = (logits * scale)?;
        }
        Ok(match self.config.logit_cap {
            Some(cap) => ((logits / cap)?.tanh()? * cap)?,
            None => logits,
        })
    }

    /// Returns the unembedding's weight times the factor of logits, in f32: `[vocab, d_model]`.
    pub fn unembedding(&self) -> Result<Tensor> {
        self.unembedding_of(&self.weights.unembed.weight)
    }

    /// Returns the row of a token in [`Self::unembedding`], `[d_model]`, without all others.
    pub fn unembedding_row(&self, token: u32) -> Result<Tensor> {
        Ok(self.unembedding_rows(token as usize, 1)?.squeeze(0)?)
    }

    /// Returns some rows of [`Self::unembedding`], without all others.
    pub fn unembedding_rows(&self, start: usize, count: usize) -> Result<Tensor> {
        self.unembedding_of(&self.weights.unembed.weight.rows(start, count)?)
    }

    /// Computes the mean of all rows of [`Self::unembedding`], `[d_model]`, some rows at a time: with a vocabulary of 2^18
    /// all of them take more memory in f32 than a small model.
    pub fn mean_unembedding(&self) -> Result<Tensor> {
        const ROWS: usize = 1 << 12;
        let weight = &self.weights.unembed.weight;
        let &[count, width] = weight.dims().as_slice() else { return Err(err!(Bug, "an unembedding of another form")) };
        let mut sum = Tensor::zeros((1, width), DType::F32, weight.device())?;
        for start in (0..count).step_by(ROWS) {
            let rows = self.unembedding_of(&weight.rows(start, ROWS.min(count - start))?)?.contiguous()?;
            let places = Tensor::zeros(rows.dim(0)?, DType::U32, rows.device())?;
            sum = sum.index_add(&places, &rows, 0)?;
        }
        Ok((sum.squeeze(0)? * (1.0 / count as f64))?)
    }

    fn unembedding_of(&self, weight: &Weight) -> Result<Tensor> {
        self.config.expect_logits("the unembedding")?;
        let weight = weight.floats()?;
        Ok(match self.config.logit_scale {
            Some(scale) => (weight * scale)?,
            None => weight,
        })
    }

    fn rotary_table(&self, layer: usize) -> Option<&RotaryTable> {
        if self.config.unrotated.contains(&layer) {
            return None;
        }
        match (&self.rotary_table_local, self.config.window(layer)) {
            (Some(local), Some(_)) => Some(local),
            _ => self.rotary_table.as_ref(),
        }
    }
}

fn linear(task: &Task, x: &Tensor, map: &Linear) -> Result<Tensor> {
    mapped(task, x, map, None)
}

/// Applies a linear map with an activation function; Ctrl-C can abandon it if it is large. This many operations take
/// some hundredths of a second.
fn mapped(task: &Task, x: &Tensor, map: &Linear, act: Option<Activation>) -> Result<Tensor> {
    const LARGE: f64 = 2e9;
    let out = map.weight.dims().first().copied().unwrap_or_default();
    let cost = 2.0 * x.elem_count() as f64 * out as f64;
    // A tape belongs to the thread that records it.
    if cost < LARGE || x.track_op() || map.weight.tracks() {
        task.check()?;
        return map.weight.map(x, map.bias.as_ref(), act);
    }
    let x = x.clone();
    let map = map.clone();
    task.apart(move || map.weight.map(&x, map.bias.as_ref(), act))
}

#[cfg(test)]
mod tests;
