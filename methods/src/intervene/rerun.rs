//! Runs of one batch with changes at some sites: everything before the first change is computed once.

use crate::common::*;
use crate::model::hooks::{BoundHook, Chain};

/// A batch whose runs begin where the first change may be.
pub struct Reruns<'a> {
    model: &'a Decoder,
    batch: Batch,
    /// The clean residual stream that runs begin with; none where they begin with the text.
    start: Option<(Site, Tensor)>,
}

impl<'a> Reruns<'a> {
    /// Prepares the runs; `places` are the sites of the changes.
    pub fn new(model: &'a Decoder, batch: &Batch, places: &[Place], task: &Task) -> Result<Self> {
        let start = match places.iter().map(|place| place.site).min() {
            None => return Err(err!(Bug, "runs without a place that changes")),
            // A pass that begins in the middle has no hooks that a model keeps.
            Some(_) if !model.kept().is_empty() => None,
            Some(first) => begin(model.config(), first),
        };
        let start = match start {
            None => None,
            Some(site) => {
                let place = Place { site, head: None };
                let cache = model.cache(batch, Ask { places: vec![place], ..Ask::default() }, task)?;
                Some((site, cache.at(place)?))
            }
        };
        Ok(Self { model, batch: batch.clone(), start })
    }

    /// Returns how many copies of the batch are about `tokens` tokens.
    pub fn copies(&self, tokens: usize) -> usize {
        (tokens / (self.batch.width() * self.batch.rows().len()).max(1)).max(1)
    }

    /// Returns the end of a pass with hooks at some rows and columns of the batch.
    pub fn end(&self, hooks: Vec<BoundHook>, points: &[(usize, usize)], task: &Task) -> Result<PassEnd> {
        self.end_of_copies(1, hooks, points, task)
    }

    /// Returns the end of a pass of some copies of the batch, one copy after the other, at some of their rows and columns. Hooks
    /// that change copies in different ways find them by their rows.
    pub fn end_of_copies(
        &self,
        copies: usize,
        hooks: Vec<BoundHook>,
        points: &[(usize, usize)],
        task: &Task,
    ) -> Result<PassEnd> {
        let mut chain = Chain { hooks, ..Chain::default() };
        self.model.end_of(&mut chain, points, |chain, logits| self.pass(copies, chain, logits, task))
    }

    fn pass(&self, copies: usize, chain: &mut Chain, wanted: Logits, task: &Task) -> Result<Tensor> {
        let rows: Vec<Vec<u32>> = (0..copies).flat_map(|_| self.batch.rows().iter().cloned()).collect();
        let batch = Batch::new(rows)?;
        let logits = match &self.start {
            Some((site, stream)) => {
                let bytes = (copies * stream.elem_count() * stream.dtype().size_in_bytes()) as u128;
                memory::check(4 * bytes, || "copies of a batch".into())?;
                let stream = if copies == 1 { stream.clone() } else { stream.repeat((copies, 1, 1))? };
                self.model.resumed(&batch, *site, &stream, chain, wanted, task)?
            }
            None => self.model.forward(&batch, Pass { hooks: chain, past: None, logits: wanted, task })?,
        };
        logits.ok_or_else(|| err!(Bug, "a run without logits"))
    }
}

/// Returns the last site of the residual stream before a site, if a block is before it.
pub fn begin(config: &Config, first: Site) -> Option<Site> {
    match first.kind {
        SiteKind::Embed | SiteKind::PosEmbed => None,
        SiteKind::TransformIn
        | SiteKind::TransformOut
        | SiteKind::FinalNormScale
        | SiteKind::FinalNorm
        | SiteKind::Logits => config.layers.checked_sub(1).map(|last| Site::new(SiteKind::ResidPost, last)),
        SiteKind::ResidPost => Some(first),
        _ => Some(Site::new(SiteKind::ResidPre, first.layer)),
    }
}

#[cfg(test)]
mod tests {
    use kit::far;

    use super::*;
    use crate::fixtures::{config, decoder};
    use crate::model::hooks::Action;
    use crate::model::site::select;

    #[test]
    fn reruns_are_whole_runs_at_every_kind_of_site() {
        let model = decoder(config(), DType::F32);
        let batch = Batch::new(vec![vec![1, 2, 3, 4], vec![5, 6]]).unwrap();
        let task = Task::default();
        for name in ["embed", "resid_pre.0", "mlp_out.0", "z.1", "resid_post.0", "resid_post.1", "final_norm"] {
            let hook = || {
                let action = Action::Scale(0.5).begin();
                vec![BoundHook::new(model.config(), name, None, None, Box::new(action)).unwrap()]
            };
            let expected = model.logits_at_points(&batch, &batch.last_points(), hook(), &task).unwrap();
            let places = select(model.config(), name).unwrap();
            let reruns = Reruns::new(&model, &batch, &places, &task).unwrap();
            let points: Vec<(usize, usize)> = (0..6).map(|row| (row, if row % 2 == 0 { 3 } else { 1 })).collect();
            let end = reruns.end_of_copies(3, hook(), &points, &task).unwrap();
            let found = model.logits_of(&end, 0..6, &task).unwrap();
            for copy in 0..3 {
                assert!(far(found.narrow(0, 2 * copy, 2).unwrap(), &expected) < 1e-5, "{name}");
            }
        }
    }
}
