//! Variants of one text that differ at few positions of the residual stream: the last columns of some blocks.

use std::ops::Range;

use super::attention::heads_joined;
use super::flow::{Flow, FlowResult, Stop};
use super::{BegunTexts, Decoder, linear};
use crate::base::{Result, Task};
use crate::err;
use crate::model::batch::Batch;
use crate::model::config::Order;
use crate::model::hooks::NoHooks;
use crate::model::site::SiteKind;
use crate::model::weights::Attention;
use crate::tensor::{DType, Tensor};
use kernels::Reach;

/// Variants of one text. Outside of `changed`, the residual stream is clean.
#[derive(Debug, Clone, Copy)]
pub struct Variants<'a> {
    pub tokens: &'a [u32],
    /// Residual stream before the first block: `[pos, d_model]`.
    pub stream: &'a Tensor,
    /// The changed rows: `[changes, d_model]`.
    pub changed: &'a Tensor,
    /// The variant and the column of each change.
    pub places: &'a [(usize, usize)],
    /// The number of variants.
    pub count: usize,
}

/// Number of columns: variants whose first changes are in the same run of so many are computed together.
const TOGETHER: usize = 8;

/// The distinct rows of all variants, and the row that each variant reads at each column.
struct VariantRows {
    /// Residual stream, `[rows, pos, d_model]`: every column has its clean row first, then its changed ones.
    x: Tensor,
    /// Row of `x`, with its first two axes joined, that is read: variant by variant, column by column.
    read: Vec<u32>,
}

impl Variants<'_> {
    fn rows(&self) -> Result<VariantRows> {
        let (columns, d) = self.stream.dims2()?;
        if columns == 0 || self.tokens.len() != columns || self.changed.dims() != [self.places.len(), d] {
            let stream = self.stream.dims();
            let changed = self.changed.dims();
            return Err(err!(Bug, "variants of {} tokens: {stream:?}, {changed:?}", self.tokens.len()));
        }
        let mut at_column = vec![Vec::new(); columns];
        let mut read: Vec<u32> = (0..self.count * columns).map(|i| (i % columns) as u32).collect();
        for (change, &(variant, column)) in self.places.iter().enumerate() {
            let slot = variant.checked_mul(columns).and_then(|start| read.get_mut(start + column));
            let (Some(slot), Some(changes)) = (slot, at_column.get_mut(column)) else {
                return Err(err!(Bug, "a change at column {column} of variant {variant}"));
            };
            changes.push(change);
            *slot = (changes.len() * columns + column) as u32;
        }
        let rows = 1 + at_column.iter().map(Vec::len).max().unwrap_or(0);
        let source = |row: usize, column: usize| match row.checked_sub(1).and_then(|row| at_column[column].get(row)) {
            Some(change) => (columns + change) as u32,
            None => column as u32,
        };
        let sources: Vec<u32> =
            (0..rows).flat_map(|row| (0..columns).map(move |c| (row, c))).map(|(r, c)| source(r, c)).collect();
        let all =
            if self.places.is_empty() { self.stream.clone() } else { Tensor::cat(&[self.stream, self.changed], 0)? };
        let x = chosen(&all, &sources)?;
        Ok(VariantRows { x: x.reshape((rows, columns, d))?, read })
    }
}

/// Selects rows of a tensor by their numbers.
fn chosen(x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    Ok(x.index_select(&Tensor::new(rows, x.device())?, 0)?)
}

/// The distinct last columns of variants.
struct LastColumns {
    /// Rows of the last columns among all rows, with the first two axes joined.
    rows: Vec<u32>,
    /// Index into `rows` for each variant.
    of_variants: Vec<u32>,
}

impl LastColumns {
    /// Selects `[ends, 1, ..]` from the results for all rows, `[rows, pos, ..]`.
    fn of(&self, made: &Tensor) -> Result<Tensor> {
        let mut dims = made.dims().to_vec();
        let width: usize = dims.iter().skip(2).product();
        (dims[0], dims[1]) = (self.rows.len(), 1);
        Ok(chosen(&made.reshape(((), width))?, &self.rows)?.reshape(dims)?)
    }

    /// Spreads `[ends, 1, ..]` over the variants: `[variants, 1, ..]`.
    fn spread(&self, x: &Tensor) -> Result<Tensor> {
        chosen(x, &self.of_variants)
    }
}

impl VariantRows {
    fn ends(&self) -> Result<LastColumns> {
        let columns = self.x.dim(1)?;
        let last: Vec<u32> = self.read.chunks(columns).filter_map(|read| read.last().copied()).collect();
        let mut rows = last.clone();
        rows.sort_unstable();
        rows.dedup();
        let of_variants = last.iter().map(|row| rows.partition_point(|known| known < row) as u32).collect();
        Ok(LastColumns { rows, of_variants })
    }
}

impl Decoder {
    /// Computes the residual stream after some blocks at the last column of each variant: `[variants, d_model]`.
    ///
    /// Ablating a feature changes the stream where the feature is active, and nowhere else. A single block computes keys and
    /// values once for all distinct rows, and queries at last columns only. Several blocks compute each variant from its
    /// first change on, with the keys and values of the clean text before it.
    pub fn last_of_variants(&self, variants: &Variants, blocks: Range<usize>, task: &Task) -> Result<Tensor> {
        self.check_keeps_none(super::block_range::PARTS)?;
        let d = self.config().d_model;
        let Some(last) =
            blocks.end.checked_sub(1).filter(|last| *last >= blocks.start && *last < self.weights.blocks.len())
        else {
            return Err(err!(Bug, "the blocks {blocks:?} of {}", self.weights.blocks.len()));
        };
        let batch = Batch::new(vec![variants.tokens.to_vec()])?;
        let rows = variants.rows()?;
        // Elsewhere the result at the last column is no sum over heads and columns, or not of what this stream makes alone.
        let is_sum = |attn: &&Attention| attn.gate.is_none() && self.config.beyond_sums().is_none();
        let found = match self.weights.blocks[last].attn.as_ref().filter(is_sum) {
            Some(attn) if blocks.start == last => {
                self.last_column(&batch, variants.places, &rows, last, attn, task).map_err(Stop::into_error)?
            }
            _ => self.behind_first_changes(&batch, variants, &rows, blocks, task)?,
        };
        Ok(found.reshape(((), d))?)
    }

    /// Computes the last column of each variant after some blocks, `[variants, 1, d_model]`, from its first change on.
    fn behind_first_changes(
        &self,
        text: &Batch,
        variants: &Variants,
        rows: &VariantRows,
        blocks: Range<usize>,
        task: &Task,
    ) -> Result<Tensor> {
        let (columns, d) = variants.stream.dims2()?;
        // What comes later changes what was before where attention looks both ways; a recurrent layer has its last
        // state only, and an MLP that reads the token before its last input.
        let attends = blocks.clone().all(|layer| self.config.attends(layer));
        let is_resumed = self.config.causal && attends && !self.config.shifts_mlps();
        let mut first = vec![if is_resumed { columns - 1 } else { 0 }; variants.count];
        for (variant, column) in variants.places {
            first[*variant] = first[*variant].min(*column);
        }
        let mut order: Vec<usize> = (0..variants.count).collect();
        order.sort_by_key(|variant| first[*variant]);
        let past = self.remembered(text, variants.stream.unsqueeze(0)?, blocks.clone(), task)?;
        let all = rows.x.reshape(((), d))?;
        let mut found = Vec::new();
        for group in order.chunk_by(|a, b| first[*a] / TOGETHER == first[*b] / TOGETHER) {
            let start = group.iter().map(|variant| first[*variant]).min().unwrap_or_default();
            let read =
                group.iter().flat_map(|variant| rows.read[variant * columns + start..][..columns - start].iter());
            let x = chosen(&all, &read.copied().collect::<Vec<u32>>())?.reshape((group.len(), columns - start, d))?;
            let which = vec![0; group.len()];
            let begun = BegunTexts { batch: text, past: &past, which: &which, start };
            found.push(self.behind_hooks(&begun, columns - 1, x, blocks.clone(), &mut NoHooks, task)?);
        }
        let mut place = vec![0; variants.count];
        for (at, variant) in order.iter().enumerate() {
            place[*variant] = at as u32;
        }
        chosen(&Tensor::cat(&found, 0)?, &place)
    }

    /// Computes the last column of each variant after one block: `[variants, 1, d_model]`. Variants with the same last
    /// column share what it computes by itself.
    fn last_column(
        &self,
        batch: &Batch,
        places: &[(usize, usize)],
        rows: &VariantRows,
        layer: usize,
        attn: &Attention,
        task: &Task,
    ) -> FlowResult<Tensor> {
        let block = &self.weights.blocks[layer];
        let columns = rows.x.dim(1)?;
        let mut hooks = NoHooks;
        let mut whole = Flow::of(&mut hooks, batch, 0..columns, task);
        let normed = self.normed(&mut whole, block.attn_norm.as_ref(), &rows.x, SiteKind::NormScale, layer)?;
        let (k, v) =
            self.keys_and_values(&mut whole, layer, attn.keys()?, attn.v.as_ref(), self.config.kv_heads, &normed)?;
        let k = self.turn(&whole, layer, attn.k_norm.as_ref(), k)?;
        let ends = rows.ends()?;
        let x = ends.of(&rows.x)?;
        let normed = ends.of(&normed)?;
        let mut hooks = NoHooks;
        let mut flow = Flow::of(&mut hooks, batch, columns - 1..columns, task);
        let q = self.heads(&mut flow, SiteKind::Q, layer, &normed, &attn.q, self.config.heads)?;
        let q = ends.spread(&self.turn(&flow, layer, attn.q_norm.as_ref(), q)?)?;
        let alibi = self.config.alibi_of(layer, None);
        let asking = LastColumnAttention {
            model: self,
            layer,
            reach: Reach {
                causal: self.config.causal,
                window: self.config.window(layer),
                past: columns - 1,
                gap: None,
                alibi: alibi.as_ref(),
            },
            scale: self.config.score_scale_of(layer),
            cap: self.config.score_cap,
        };
        task.check()?;
        let z = asking.of_changed(&q, &k, &v, &rows.read, places)?;
        let attn = self.scaled_write(linear(task, &heads_joined(&z)?, &attn.o)?)?;
        let order = self.config.order;
        if !self.config.has_mlp() || order == Order::Serial {
            let parts = [ends.spread(&x)?, ends.spread(&normed)?, attn];
            return self.behind_attention(&mut flow, layer, block, parts, None);
        }
        // The MLP reads what attention reads, and so it is the same for all variants with the same last column.
        let mlp_in = match order {
            Order::ParallelShared => normed,
            _ => self.normed(&mut flow, block.mlp_norm.as_ref(), &x, SiteKind::MlpNormScale, layer)?,
        };
        let own = kernels::add(&x, &self.mlp_out(&mut flow, layer, block, mlp_in, &x, None)?)?;
        let attn = self.normed(&mut flow, block.attn_post_norm.as_ref(), &attn, SiteKind::AttnPostScale, layer)?;
        Ok(kernels::add(&ends.spread(&own)?, &attn)?)
    }
}

/// Attention from last columns.
struct LastColumnAttention<'a> {
    model: &'a Decoder,
    layer: usize,
    reach: Reach<'a>,
    scale: f64,
    cap: Option<f64>,
}

impl LastColumnAttention<'_> {
    /// Computes the attention output at the last column of each variant: `[variants, 1, heads, d_head]` like `q`.
    ///
    /// `k` and `v` are those of all rows. They are not copied for each variant: all queries are multiplied with the
    /// clean keys, and each change replaces one score. With the resulting pattern p, the output of a variant is p V,
    /// with the clean values, plus p_c (V' - V)_c for each of its changes.
    fn of_changed(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        read: &[u32],
        places: &[(usize, usize)],
    ) -> Result<Tensor> {
        let (variants, _, heads, size) = q.dims4()?;
        let (_, columns, shared, _) = k.dims4()?;
        let sharing = heads / shared;
        let wide = |x: &Tensor| x.to_dtype(DType::F32);
        let queries = wide(q)?.reshape((variants, shared, sharing, size))?;
        let k = wide(k)?;
        let v = wide(v)?;
        let slots: Vec<u32> = places.iter().map(|(variant, column)| (variant * columns + column) as u32).collect();
        let of: Vec<u32> = places.iter().map(|(variant, _)| *variant as u32).collect();
        let at: Vec<u32> = places.iter().map(|(_, column)| *column as u32).collect();
        let rows: Vec<u32> = slots.iter().filter_map(|slot| read.get(*slot as usize).copied()).collect();
        let changed = |made: &Tensor| chosen(&made.flatten(0, 1)?, &rows);
        let clean = |made: &Tensor| -> Result<Tensor> { Ok(made.get(0)?) };

        // `[shared, variants * sharing, columns]`, and the same as `[variants * columns, heads]`.
        let by_head = queries.transpose(0, 1)?.contiguous()?.reshape((shared, variants * sharing, size))?;
        let scores = by_head.matmul(&clean(&k)?.permute((1, 2, 0))?.contiguous()?)?;
        let scores = scores.reshape((shared, variants, sharing, columns))?.permute((1, 3, 0, 2))?;
        let mut scores = scores.contiguous()?.reshape((variants * columns, heads))?;
        if !places.is_empty() {
            let asked = chosen(&queries, &of)?;
            let own = asked.broadcast_mul(&changed(&k)?.unsqueeze(2)?)?.sum(3)?.reshape(((), heads))?;
            let mut sources: Vec<u32> = (0..(variants * columns) as u32).collect();
            for (change, slot) in slots.iter().enumerate() {
                sources[*slot as usize] = (variants * columns + change) as u32;
            }
            scores = chosen(&Tensor::cat(&[&scores, &own], 0)?, &sources)?;
        }
        scores = (scores * self.scale)?;
        if let Some(cap) = self.cap {
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        let mut scores = scores.reshape((variants, columns, heads))?.transpose(1, 2)?.contiguous()?;
        if let Some(alibi) = self.reach.alibi {
            let biases = (0..heads).flat_map(|head| (0..columns).map(move |column| alibi.bias(head, column)));
            let biases = Tensor::from_vec(biases.collect::<Vec<_>>(), (heads, columns), scores.device())?;
            scores = scores.broadcast_add(&biases)?;
        }
        let pattern = self.model.pattern(self.layer, None, &scores.unsqueeze(2)?, &self.reach)?.squeeze(2)?;

        let by_head = pattern.reshape((variants, shared, sharing, columns))?.transpose(0, 1)?.contiguous()?;
        let by_head = by_head.reshape((shared, variants * sharing, columns))?;
        let z = by_head.matmul(&clean(&v)?.transpose(0, 1)?.contiguous()?)?;
        let z = z.reshape((shared, variants, sharing, size))?.transpose(0, 1)?.contiguous()?;
        let mut z = z.reshape((variants, heads * size))?;
        if !places.is_empty() {
            let weights =
                chosen(&pattern.transpose(1, 2)?.contiguous()?.reshape((variants * columns, heads))?, &slots)?;
            let gap = (changed(&v)? - chosen(&clean(&v)?, &at)?)?;
            let more = weights.reshape(((), shared, sharing, 1))?.broadcast_mul(&gap.unsqueeze(2)?)?;
            z = z.index_add(&Tensor::new(of, z.device())?, &more.reshape(((), heads * size))?, 0)?;
        }
        Ok(z.reshape(q.dims())?.to_dtype(q.dtype())?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Logits, Pass};
    use super::*;
    use crate::model::fixtures::{configs, decoder};
    use crate::model::hooks::{At, Hooks};
    use crate::model::site::Site;

    const TOKENS: [u32; 5] = [1, 4, 2, 0, 3];

    /// Hooks that replace the residual stream before one block, and record the output of another.
    struct Between {
        before: usize,
        put: Option<Tensor>,
        behind: usize,
        found: Option<Tensor>,
        was: Option<Tensor>,
    }

    impl Hooks for Between {
        fn wants(&self, site: Site) -> bool {
            site == Site::new(SiteKind::ResidPre, self.before) || site == Site::new(SiteKind::ResidPost, self.behind)
        }

        fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
            if at.site == Site::new(SiteKind::ResidPre, self.before) {
                self.was = Some(x.clone());
                return Ok(self.put.clone());
            }
            self.found = Some(x.clone());
            Ok(None)
        }

        fn last(&self) -> Option<Site> {
            Some(Site::new(SiteKind::ResidPost, self.behind))
        }
    }

    fn run(model: &Decoder, hooks: &mut Between) {
        let batch = Batch::new(vec![TOKENS.to_vec()]).unwrap();
        let pass = Pass { hooks, past: None, logits: Logits::Last, task: &Task::default() };
        assert!(model.forward(&batch, pass).unwrap().is_none());
    }

    #[test]
    fn variants_are_as_whole_passes_compute_them_in_every_shape_of_model() {
        for config in configs() {
            let name = format!("{config:?}");
            let layers = config.layers;
            let model = decoder(config, DType::F32);
            for behind in 0..layers {
                let mut clean = Between { before: 0, put: None, behind, found: None, was: None };
                run(&model, &mut clean);
                let stream = clean.was.unwrap().squeeze(0).unwrap();
                let changed = Tensor::randn(0.0_f32, 1.0, (4, stream.dim(1).unwrap()), stream.device()).unwrap();
                // One variant is changed in the middle, one at two columns, one nowhere, one at its end.
                let places = [(0, 2), (1, 0), (1, 3), (3, 4)];
                let variants =
                    Variants { tokens: &TOKENS, stream: &stream, changed: &changed, places: &places, count: 4 };
                let found = model.last_of_variants(&variants, 0..behind + 1, &Task::default()).unwrap();
                for variant in 0..4 {
                    let rows: Vec<Tensor> = (0..TOKENS.len())
                        .map(|column| match places.iter().position(|place| *place == (variant, column)) {
                            Some(change) => changed.narrow(0, change, 1).unwrap(),
                            None => stream.narrow(0, column, 1).unwrap(),
                        })
                        .collect();
                    let put = Some(Tensor::cat(&rows, 0).unwrap().unsqueeze(0).unwrap());
                    let mut whole = Between { before: 0, put, behind, found: None, was: None };
                    run(&model, &mut whole);
                    let expected = whole.found.unwrap().get(0).unwrap().get(TOKENS.len() - 1).unwrap();
                    let expected: Vec<f32> = expected.to_vec1().unwrap();
                    let found: Vec<f32> = found.get(variant).unwrap().to_vec1().unwrap();
                    for (a, b) in expected.iter().zip(&found) {
                        assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{name}: {a} and {b}");
                    }
                }
            }
        }
    }
}
