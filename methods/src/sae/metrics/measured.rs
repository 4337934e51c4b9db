//! Metrics of dictionaries on activations in memory, or on those of a model in one forward pass for all.

use std::ops::ControlFlow;

use super::{CodedBatch, MeasureOptions, Measures, Meter};
use crate::common::*;
use crate::data::harvest::{ActivationBlock, FunctionSink, TextReading};
use crate::model::site::one_site;
use crate::sae::{Sae, SitePair, check_writes_behind, one_place, rows};
use crate::tensor::dtype;

/// Codes, or numbers of activations, computed at once, about.
const CODES: usize = 1 << 23;

/// Measures each dictionary on activations `[.., d_in]`.
pub fn measured(saes: &[&Sae], x: &Tensor, options: MeasureOptions, task: &Task) -> Result<Vec<Measures>> {
    let mut meters = Meters::new(saes, options)?;
    let width = rows::extent(x, "activations")?.1;
    let x = rows::matrix(x, width, "activations")?;
    let bar = task.begin("measuring", Some(x.dim(0)? as u64));
    meters.add(&x, None, task, |rows| bar.advance(rows))?;
    meters.finish()
}

/// Measures a dictionary on rows that it reads, `[rows, d_in]`, and those that it should write, `[rows, d_out]`.
pub fn measured_rows(sae: &Sae, read: &Tensor, written: &Tensor, task: &Task) -> Result<Measures> {
    let mut meters = Meters::new(&[sae], MeasureOptions::default())?;
    meters.add_written(read, written, None, task, |_| {})?;
    meters.finish()?.pop().ok_or_else(|| err!(Bug, "a dictionary without measures"))
}

/// Measures each dictionary on the activations of a model at a site on a text, also by position.
pub fn measured_on(
    saes: &[&Sae],
    reading: TextReading,
    site: &str,
    options: MeasureOptions,
    task: &Task,
) -> Result<Vec<Measures>> {
    one_site(reading.model.decoder.config(), site, "measure at each by itself, such as `resid_post.0`")?;
    let harvest = reading.harvest(&[site], task)?;
    let mut meters = Meters::new(saes, options)?;
    let mut sink = FunctionSink(|block: ActivationBlock| {
        if let Some(x) = block.activations.first() {
            meters.add(x, Some(&block.positions), task, |_| {})?;
        }
        Ok(ControlFlow::Continue(()))
    });
    harvest.run(&mut sink, task)?;
    meters.finish()
}

/// Measures a transcoder: its output for the activations at one site of a model, against those at the other site, the
/// target.
pub fn measured_between(
    sae: &Sae,
    reading: TextReading,
    sites: SitePair,
    options: MeasureOptions,
    task: &Task,
) -> Result<Measures> {
    let config = reading.model.decoder.config();
    check_writes_behind(one_place(config, sites.reads)?, one_place(config, sites.writes)?)?;
    let harvest = reading.harvest(&[sites.reads, sites.writes], task)?;
    let mut meters = Meters::new(&[sae], options)?;
    let mut sink = FunctionSink(|block: ActivationBlock| {
        // A harvest has its sites in the order of the computation, and this one is of two.
        if let [read, written] = block.activations.as_slice() {
            meters.add_written(read, written, Some(&block.positions), task, |_| {})?;
        }
        Ok(ControlFlow::Continue(()))
    });
    harvest.run(&mut sink, task)?;
    meters.finish()?.pop().ok_or_else(|| err!(Bug, "a dictionary without measures"))
}

/// The output of each dictionary for the same rows.
pub(super) struct Meters<'a>(Vec<(&'a Sae, Meter)>);

impl<'a> Meters<'a> {
    pub(super) fn new(saes: &[&'a Sae], options: MeasureOptions) -> Result<Self> {
        let meter = |sae: &&'a Sae| Ok((*sae, Meter::new(sae.d_out(), sae.d_sae(), options)?));
        Ok(Self(saes.iter().map(meter).collect::<Result<_>>()?))
    }

    /// Adds rows `[rows, d_in]`; `done` is told of those that all dictionaries have read.
    pub(super) fn add(&mut self, x: &Tensor, positions: Option<&[u32]>, task: &Task, done: impl Fn(u64)) -> Result<()> {
        self.add_written(x, x, positions, task, done)
    }

    /// Adds input rows `[rows, d_in]`, with their targets `[rows, d_out]`.
    pub(super) fn add_written(
        &mut self,
        x: &Tensor,
        written: &Tensor,
        positions: Option<&[u32]>,
        task: &Task,
        done: impl Fn(u64),
    ) -> Result<()> {
        let widest = self.0.iter().map(|(sae, _)| sae.d_sae().max(sae.d_in())).max().unwrap_or(1);
        let count = x.dim(0)?;
        let at_once = (CODES / widest.max(1)).clamp(1, 4096);
        for start in (0..count).step_by(at_once) {
            let size = at_once.min(count - start);
            let positions = positions.and_then(|positions| positions.get(start..start + size));
            for (sae, meter) in &mut self.0 {
                task.check()?;
                let part = |x: &Tensor| dtype::convert(&x.narrow(0, start, size)?, sae.parts().encoder.dtype());
                let (codes, x_hat) = sae.encode_and_reconstruct(&part(x)?)?;
                meter.add(CodedBatch { x: &part(written)?, codes: &codes, x_hat: &x_hat, positions }, task)?;
            }
            done(size as u64);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Vec<Measures>> {
        self.0.into_iter().map(|(_, meter)| meter.finish()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::stream;
    use crate::sae::baselines;
    use crate::tensor::{DType, create};

    #[test]
    fn all_dictionaries_are_measured_on_the_same_rows() {
        let x = create::randn(&[2, 30, 6], DType::F32, &mut stream(1, "x", 0)).unwrap();
        let identity = baselines::identity(6).unwrap();
        let random = baselines::random(6, 9, Some(2), &mut stream(2, "d", 0)).unwrap();
        let task = Task::default();
        let both = measured(&[&identity, &random], &x, MeasureOptions::default(), &task).unwrap();
        assert_eq!((both[0].rows, both[0].fve, both[0].l0), (60, Some(1.0), 6.0));
        assert_eq!(both[1], measured(&[&random], &x, MeasureOptions::default(), &task).unwrap()[0]);
        assert_eq!(both[1].l0, 2.0);
        let narrow = baselines::identity(5).unwrap();
        assert!(measured(&[&narrow], &x, MeasureOptions::default(), &task).unwrap_err().message.contains("of width 5"));
    }
}
