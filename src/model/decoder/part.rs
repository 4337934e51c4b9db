//! A part of a forward pass: what some blocks make of a stream, and the logits of what flows behind the last one.

use std::ops::Range;

use super::Decoder;
use super::flow::{Flow, Stop};
use crate::base::{Result, Task};
use crate::err;
use crate::model::batch::Batch;
use crate::model::hooks::NoHooks;
use crate::model::site::Kind;
use crate::tensor::Tensor;
use crate::tensor::kernels::Gap;

impl Decoder {
    /// What flows behind some blocks, of what flows before the first of them: `[batch, pos, d_model]`.
    pub fn behind(&self, batch: &Batch, x: Tensor, blocks: Range<usize>, task: &Task) -> Result<Tensor> {
        let seen = !self.config.causal && batch.is_ragged();
        let gap = seen.then(|| Gap { lengths: batch.lengths(), width: batch.width() });
        let mut hooks = NoHooks;
        let columns = 0..batch.width();
        let mut flow = Flow { hooks: &mut hooks, batch, columns, step: 0, gap, may_grow: false, task };
        let mut x = x;
        for layer in blocks {
            task.check()?;
            let Some(block) = self.weights.blocks.get(layer) else {
                return Err(err!(Bug, "block {layer} of {}", self.weights.blocks.len()));
            };
            x = self.block(&mut flow, layer, block, x, None).map_err(Stop::into_error)?;
        }
        Ok(x)
    }

    /// The logits of rows of the stream behind the last block: `[rows, d_model]` to `[rows, vocab]`.
    pub fn read_out(&self, x: &Tensor, task: &Task) -> Result<Tensor> {
        let batch = Batch::new(vec![vec![0; x.dim(0)?.max(1)]])?;
        let mut hooks = NoHooks;
        let columns = 0..batch.width();
        let mut flow = Flow { hooks: &mut hooks, batch: &batch, columns, step: 0, gap: None, may_grow: false, task };
        let norm = self.weights.final_norm.as_ref().filter(|_| self.config.norm.is_some());
        let x = self.normed(&mut flow, norm, x, Kind::FinalNormScale, 0).map_err(Stop::into_error)?;
        self.unembedded(&x, task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::Ask;
    use crate::model::samples::{configs, decoder};
    use crate::model::site::select;
    use crate::tensor::DType;

    #[test]
    fn parts_of_a_pass_are_what_a_whole_one_has_there_in_every_shape_of_model() {
        let far =
            |a: &Tensor, b: &Tensor| -> f32 { (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap() };
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
                assert!(far(&of_row(&found, row), &of_row(&last, row)) < 1e-4, "{:?}", model.config());
                let logits = model.read_out(&of_row(&last, row), &task).unwrap();
                assert!(far(&logits, &of_row(&run.logits, row)) < 1e-4, "{:?}", model.config());
            }
            assert_eq!(far(&model.behind(&batch, first.clone(), 1..1, &task).unwrap(), &first), 0.0);
            assert!(model.behind(&batch, first, 0..layers + 1, &task).is_err());
        }
    }
}
