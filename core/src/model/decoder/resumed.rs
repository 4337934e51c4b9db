//! Passes that begin in the middle: with the residual stream before or after a block, or between its attention and its
//! MLP.

use super::flow::{Flow, Stop};
use super::{Decoder, Logits};
use crate::base::{Result, Task};
use crate::err;
use crate::model::batch::Batch;
use crate::model::hooks::Hooks;
use crate::model::site::{Site, SiteKind};
use crate::tensor::Tensor;
use kernels::Gap;

impl Decoder {
    /// Runs the model from a stream on, `[batch, pos, d_model]`: that of `resid_pre`, `resid_mid` or `resid_post` of a layer,
    /// which the hooks there see, too. Nothing before it is computed. None if the hooks stop the pass before the logits.
    pub fn resumed(
        &self,
        batch: &Batch,
        site: Site,
        stream: &Tensor,
        hooks: &mut dyn Hooks,
        logits: Logits,
        task: &Task,
    ) -> Result<Option<Tensor>> {
        self.check_keeps_none(super::block_range::PARTS)?;
        self.check(batch, 0)?;
        let wanted = [batch.rows().len(), batch.width(), self.config.d_model];
        if stream.dims() != wanted {
            return Err(err!(Shape, "expected a stream of the shape {wanted:?}, found {:?}", stream.dims()));
        }
        let gap =
            (!self.config.causal && batch.is_ragged()).then(|| Gap { lengths: batch.lengths(), width: batch.width() });
        let first = if site.kind == SiteKind::ResidPre { site.layer } else { site.layer + 1 };
        let side_inputs = self.side_inputs(batch, first..self.config.layers, None, task)?;
        let mut flow = Flow { gap, side_inputs, ..Flow::of(hooks, batch, 0..batch.width(), task) };
        let begun = match site.kind {
            SiteKind::ResidPre => Ok((first, stream.clone())),
            SiteKind::ResidMid if site.kind.exists(&self.config) => {
                let block = self.block_at(site.layer)?;
                self.behind_middle(&mut flow, site.layer, block, stream.clone(), None).map(|x| (first, x))
            }
            SiteKind::ResidPost => flow.see(SiteKind::ResidPost, site.layer, stream.clone()).map(|x| (first, x)),
            _ => return Err(err!(Bug, "a pass cannot begin at `{site}`")),
        };
        match begun.and_then(|(first, x)| self.through_blocks(&mut flow, first, x, None, logits)) {
            Ok(logits) => Ok(Some(logits)),
            Err(Stop::Done) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use kit::far;

    use super::*;
    use crate::model::fixtures::{configs, decoder};
    use crate::model::hooks::NoHooks;
    use crate::model::run::Ask;
    use crate::model::site::Place;
    use crate::tensor::DType;

    #[test]
    fn a_pass_that_begins_in_the_middle_ends_as_the_whole_one() {
        for config in configs() {
            let model = decoder(config, DType::F32);
            let batch = Batch::new(vec![vec![1, 4, 2, 0, 3], vec![2, 5, 1]]).unwrap();
            let task = Task::default();
            let whole = model.logits_at(&batch, &[-1], Vec::new(), &task).unwrap().to_dtype(DType::F32).unwrap();
            let kinds = [SiteKind::ResidPre, SiteKind::ResidMid, SiteKind::ResidPost];
            for site in kinds.iter().flat_map(|kind| [0, 1].map(|layer| Site::new(*kind, layer))) {
                if !site.kind.exists(model.config()) {
                    continue;
                }
                let place = Place { site, head: None };
                let stream = model.cache(&batch, Ask { places: vec![place], ..Ask::default() }, &task).unwrap();
                let stream = stream.at(place).unwrap();
                let found = model.resumed(&batch, site, &stream, &mut NoHooks, Logits::At(&[-1]), &task);
                assert!(far(found.unwrap().unwrap(), &whole) < 1e-5, "{site}");
            }
        }
    }
}
