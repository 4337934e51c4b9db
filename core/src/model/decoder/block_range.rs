//! A part of a forward pass: some blocks, and the logits from the residual stream after the last one.

use std::ops::Range;

use super::flow::{Flow, Stop};
use super::side_inputs::SideInputs;
use super::{Decoder, Past};
use crate::base::{Result, Task};
use crate::err;
use crate::model::batch::Batch;
use crate::model::hooks::{Hooks, NoHooks};
use crate::tensor::Tensor;
use kernels::Gap;

/// Name of what these functions do, for an error.
pub(super) const PARTS: &str = "a computation of parts of a pass";

/// Texts whose first columns were computed, and which of them each of some variants continues.
pub struct BegunTexts<'a> {
    pub batch: &'a Batch,
    /// The keys and values of the texts.
    pub past: &'a Past,
    /// The text of each variant.
    pub which: &'a [u32],
    /// The first column that variants have of their own.
    pub start: usize,
}

impl Decoder {
    /// Computes the residual stream after some blocks, from the stream before the first of them:
    /// `[batch, pos, d_model]`.
    pub fn behind(&self, batch: &Batch, x: Tensor, blocks: Range<usize>, task: &Task) -> Result<Tensor> {
        self.check_keeps_none(PARTS)?;
        let seen = !self.config.causal && batch.is_ragged();
        let gap = seen.then(|| Gap { lengths: batch.lengths(), width: batch.width() });
        let mut hooks = NoHooks;
        let side_inputs = self.side_inputs(batch, blocks.clone(), None, task)?;
        let mut flow = Flow { gap, side_inputs, ..Flow::of(&mut hooks, batch, 0..batch.width(), task) };
        self.onward(&mut flow, x, blocks, None, 0)
    }

    /// Computes the keys and values of some blocks, from the residual stream of texts, `[batch, pos, d_model]`.
    pub fn remembered(&self, texts: &Batch, x: Tensor, blocks: Range<usize>, task: &Task) -> Result<Past> {
        self.check_keeps_none(PARTS)?;
        let mut hooks = NoHooks;
        let mut past = Past::new();
        let side_inputs = self.side_inputs(texts, blocks.clone(), None, task)?;
        let mut flow = Flow { may_grow: true, side_inputs, ..Flow::of(&mut hooks, texts, 0..texts.width(), task) };
        self.onward(&mut flow, x, blocks, Some(&mut past), 0)?;
        past.advance(texts.width(), None);
        Ok(past)
    }

    /// Computes the residual stream after some blocks in variants of texts that equal these before a column: from
    /// their streams from there on, `[variants, columns, d_model]`.
    pub fn behind_from(&self, begun: &BegunTexts, x: Tensor, blocks: Range<usize>, task: &Task) -> Result<Tensor> {
        self.behind_hooks(begun, begun.start, x, blocks, &mut NoHooks, task)
    }

    /// Computes what [`Self::behind_from`] does, with hooks, whose `at.batch` is that of the texts while activations
    /// are those of the variants; and from the column `needed` on, before which the last block computes keys and values
    /// only.
    pub fn behind_hooks(
        &self,
        begun: &BegunTexts,
        needed: usize,
        x: Tensor,
        blocks: Range<usize>,
        hooks: &mut dyn Hooks,
        task: &Task,
    ) -> Result<Tensor> {
        self.check_keeps_none(PARTS)?;
        let BegunTexts { batch: texts, past, which, start } = *begun;
        let columns = start..start + x.dim(1)?;
        let mut past = past.beginning(start, columns.end, which, &blocks)?;
        let side_inputs = self.side_inputs(texts, blocks.clone(), Some(which), task)?;
        let mut flow = Flow { side_inputs, ..Flow::of(hooks, texts, columns, task) };
        self.onward(&mut flow, x, blocks, past.as_mut(), needed)
    }

    /// Computes what some blocks read beside a residual stream that is given to them: what the tokens of the texts
    /// alone make of it, before the first of these blocks. `rows` are the texts of the rows of that stream, where it
    /// has others.
    pub(super) fn side_inputs(
        &self,
        texts: &Batch,
        blocks: Range<usize>,
        rows: Option<&[u32]>,
        task: &Task,
    ) -> Result<SideInputs> {
        let keys = self.config.keys_passed_on(0, blocks.start);
        if self.config.layer_inputs.is_none() && keys.is_empty() {
            return Ok(SideInputs::default());
        }
        let seen = !self.config.causal && texts.is_ragged();
        let gap = seen.then(|| Gap { lengths: texts.lengths(), width: texts.width() });
        let mut hooks = NoHooks;
        let mut flow = Flow { gap, ..Flow::of(&mut hooks, texts, 0..texts.width(), task) };
        let mut x = self.embedded(&mut flow).map_err(Stop::into_error)?;
        for layer in 0..keys.last().map_or(0, |last| last + 1) {
            task.check()?;
            x = self.block(&mut flow, layer, self.block_at(layer)?, x, None).map_err(Stop::into_error)?;
        }
        match rows {
            Some(rows) => flow.side_inputs.of_rows(rows),
            None => Ok(flow.side_inputs),
        }
    }

    fn onward(
        &self,
        flow: &mut Flow,
        mut x: Tensor,
        blocks: Range<usize>,
        mut past: Option<&mut Past>,
        needed: usize,
    ) -> Result<Tensor> {
        let last = blocks.end.saturating_sub(1);
        for layer in blocks {
            flow.task.check()?;
            let Some(block) = self.weights.blocks.get(layer) else {
                return Err(err!(Bug, "block {layer} of {}", self.weights.blocks.len()));
            };
            let from = if layer == last { needed } else { flow.columns.start };
            x = self.block_from(flow, layer, block, x, past.as_deref_mut(), from).map_err(Stop::into_error)?;
        }
        Ok(x)
    }

    /// Computes what the unembedding reads of rows of the residual stream after the last block, `[rows, d_model]`.
    pub fn read_by_unembedding(&self, x: &Tensor, task: &Task) -> Result<Tensor> {
        self.check_keeps_none(PARTS)?;
        let batch = Batch::new(vec![vec![0; x.dim(0)?.max(1)]])?;
        let mut hooks = NoHooks;
        let mut flow = Flow::of(&mut hooks, &batch, 0..batch.width(), task);
        self.last_normed(&mut flow, x.clone()).map_err(Stop::into_error)
    }
}

#[cfg(test)]
mod tests {
    use kit::far;

    use super::*;
    use crate::model::config::Config;
    use crate::model::fixtures::{configs, decoder};
    use crate::model::run::Ask;
    use crate::model::site::select;
    use crate::tensor::DType;

    #[test]
    fn parts_of_a_pass_are_what_a_whole_one_has_there_in_every_shape_of_model() {
        let task = Task::default();
        for config in configs() {
            let model = decoder(config, DType::F32);
            let batch = Batch::new(vec![vec![1, 4, 2, 0, 3], vec![2, 2, 7]]).unwrap();
            let mut places = select(model.config(), "resid_pre.0").unwrap();
            places.extend(select(model.config(), "resid_post.*").unwrap());
            let run = model.run(&batch, Ask { places, ..Ask::default() }, &task).unwrap();
            let of_row = |x: &Tensor, row: usize| x.get(row).unwrap().narrow(0, 0, batch.lengths()[row]).unwrap();
            let layers = model.config().layers;
            let first = run.cache.get("resid_pre.0").unwrap();
            let last = run.cache.get(&format!("resid_post.{}", layers - 1)).unwrap();
            let found = model.behind(&batch, first.clone(), 0..layers, &task).unwrap();
            for row in 0..2 {
                assert!(far(of_row(&found, row), of_row(&last, row)) < 1e-4, "{:?}", model.config());
                let read = model.read_by_unembedding(&of_row(&last, row), &task).unwrap();
                let logits = model.unembedded(&read, &task).unwrap();
                assert!(far(&logits, of_row(&run.logits, row)) < 1e-4, "{:?}", model.config());
            }
            assert_eq!(far(model.behind(&batch, first.clone(), 1..1, &task).unwrap(), &first), 0.0);
            assert!(model.behind(&batch, first, 0..layers + 1, &task).is_err());
        }
    }

    #[test]
    fn variants_of_texts_need_no_more_than_what_is_changed_and_what_comes_behind() {
        let task = Task::default();
        let is_cached = |config: &Config| config.causal && !config.shifts_mlps();
        for config in configs().into_iter().filter(is_cached) {
            let model = decoder(config, DType::F32);
            let layers = model.config().layers;
            let d = model.config().d_model;
            // The second one is padded, and nothing that is read attends to it.
            let texts = Batch::new(vec![vec![1, 4, 2, 0, 3, 5], vec![3, 3, 1, 2]]).unwrap();
            let lengths = texts.lengths();
            let place = select(model.config(), "resid_pre.1").unwrap()[0];
            let ask = Ask { places: vec![place], ..Ask::default() };
            let clean = model.cache(&texts, ask, &task).unwrap().at(place).unwrap();
            let past = model.remembered(&texts, clean.clone(), 1..layers, &task).unwrap();
            for start in [0, 1, 3] {
                let changed = Tensor::randn(0.0_f32, 1.0, (3, 6 - start, d), clean.device()).unwrap();
                let which = [0, 1, 0];
                let begun = BegunTexts { batch: &texts, past: &past, which: &which, start };
                let found = model.behind_from(&begun, changed.clone(), 1..layers, &task).unwrap();
                for (variant, of) in which.iter().map(|of| *of as usize).enumerate() {
                    let own = changed.narrow(0, variant, 1).unwrap().narrow(1, 0, lengths[of] - start).unwrap();
                    let clean = clean.narrow(0, of, 1).unwrap().narrow(1, 0, start).unwrap();
                    let whole = Tensor::cat(&[clean, own], 1).unwrap();
                    let text = Batch::new(vec![texts.rows()[of].clone()]).unwrap();
                    let whole = model.behind(&text, whole, 1..layers, &task).unwrap();
                    let part = |x: &Tensor, row: usize, from: usize| {
                        x.narrow(0, row, 1).unwrap().narrow(1, from, lengths[of] - start).unwrap()
                    };
                    let gap = far(part(&found, variant, 0), part(&whole, 0, start));
                    assert!(gap < 1e-4, "{gap} from column {start} on: {:?}", model.config());
                }
            }
        }
    }
}
