//! Effects of a change on a run, computed forward from the change: nodes that read nothing changed, and nodes from
//! which no kept edges lead to the logits, are left as they are.
//!
//! In a run with cut edges a receiver r reads
//!
//!     x_r = residual stream + sum over its cut edges u of (other_u - own_u)
//!
//! where own_u is what u writes in this run; where a norm is behind attention, a layer's heads count by the change of the
//! norm of their sum. So against a known run its input changes by the sum of what kept senders
//! write more than in the known run, and by other_u - own_u for edges that are cut only now. Receivers of a layer that
//! change alike are read once, and heads whose kept edges are the same write as one.

mod heads;
mod reading;

use super::texts::{EdgeTexts, RunState};
use super::wiring::{Extent, Receiver, Sender};
use crate::common::*;
use reading::{Class, ClassInput, added};

pub use reading::combined;

/// A change of what one receiver reads, for each of some variants: `[variants * texts, pos, d_model]`, variant by variant,
/// from the column on that the receiver is needed from.
pub struct Push {
    pub receiver: usize,
    pub change: Tensor,
}

/// The start of a propagation: a known run, the edges that are kept now, and a further change.
///
/// Senders of edges that are cut now and not in the known run write in that run what they do in the clean run.
pub struct Start<'a> {
    pub base: &'a RunState,
    pub kept: &'a [bool],
    pub push: Option<Push>,
    pub variants: usize,
}

/// The difference between what senders write and what they write in the known run, from the column of its extent on.
struct SenderChange {
    senders: Vec<usize>,
    extent: Extent,
    change: Tensor,
}

/// A propagation in progress.
pub struct Propagation<'a> {
    texts: &'a EdgeTexts<'a>,
    start: Start<'a>,
    /// The extents of senders and receivers that are needed, with the edges that are kept now.
    needed: (Vec<Extent>, Vec<Extent>),
    items: Vec<SenderChange>,
    /// The new known run, if it is noted.
    noted: Option<RunState>,
    task: &'a Task,
}

impl<'a> EdgeTexts<'a> {
    /// Computes the metric of each pair in each variant.
    pub fn values(&'a self, start: Start<'a>, task: &'a Task) -> Result<Vec<Vec<f64>>> {
        Propagation::new(self, start, false, task).run().map(|(values, _)| values)
    }

    /// Runs with some edges kept, of which more are cut than in the known run, and returns the new state.
    pub fn state(&'a self, base: &'a RunState, kept: &'a [bool], task: &'a Task) -> Result<RunState> {
        let start = Start { base, kept, push: None, variants: 1 };
        let (values, noted) = Propagation::new(self, start, true, task).run()?;
        let mut state = noted.unwrap_or_else(|| base.clone());
        state.kept = kept.to_vec();
        state.values = values.concat();
        Ok(state)
    }
}

impl<'a> Propagation<'a> {
    fn new(texts: &'a EdgeTexts<'a>, start: Start<'a>, is_noted: bool, task: &'a Task) -> Self {
        let needed = texts.wiring.extents(start.kept);
        let noted = is_noted.then(|| start.base.clone());
        Self { texts, start, needed, items: Vec::new(), noted, task }
    }

    fn run(mut self) -> Result<(Vec<Vec<f64>>, Option<RunState>)> {
        let wiring = &self.texts.wiring;
        for layer in 0..wiring.layers {
            self.task.check()?;
            self.heads(layer)?;
            if let Some(receiver) = wiring.receiver(Receiver::Mlp { layer }) {
                self.mlp(layer, receiver)?;
            }
        }
        let logits = wiring.receivers.len() - 1;
        let values = match self.classes(logits..logits + 1).pop() {
            Some(class) => {
                let read = self.read(&[&class])?.remove(0);
                self.note_inputs(&class, &read)?;
                self.values(&read.x)?
            }
            None => vec![self.start.base.values.clone(); self.start.variants],
        };
        Ok((values, self.noted))
    }

    fn mlp(&mut self, layer: usize, receiver: usize) -> Result<()> {
        let Some(class) = self.classes(receiver..receiver + 1).pop() else { return Ok(()) };
        let read = self.read(&[&class])?.remove(0);
        self.note_inputs(&class, &read)?;
        let out = self.texts.decoder.mlp_alone(layer, &read.x, self.task)?;
        let sender = self.texts.wiring.sender(Sender::Mlp { layer });
        self.wrote(sender.into_iter().collect(), class.extent, &out)
    }

    /// Takes what some senders write together, from the column of an extent on.
    fn wrote(&mut self, senders: Vec<usize>, extent: Extent, out: &Tensor) -> Result<()> {
        let mut before: Option<Tensor> = None;
        for sender in &senders {
            let own = self.texts.later(&self.start.base.outputs[*sender], extent)?;
            before = Some(match before {
                None => own,
                Some(sum) => kernels::add(&sum, &own)?,
            });
        }
        let Some(before) = before else { return Ok(()) };
        let change = added(&before.neg()?, out)?;
        let first = self.texts.first(extent);
        if let (Some(noted), [sender]) = (&mut self.noted, senders.as_slice()) {
            noted.outputs[*sender] = replaced(&noted.outputs[*sender], first, out)?;
        }
        self.items.push(SenderChange { senders, extent, change });
        Ok(())
    }

    /// Computes the metric of each pair in each variant, from the residual stream that the logits read.
    fn values(&self, x: &Tensor) -> Result<Vec<Vec<f64>>> {
        let texts = self.texts;
        let plan = &self.texts.plan;
        let count = texts.count();
        let first = texts.first(Extent::Ends);
        let width = texts.width();
        let columns = width - first;
        let mut rows = x.flatten(0, 1)?;
        let changed = rows.dim(0)?;
        if plan.points().iter().any(|(_, column)| *column < first) {
            let known = self.start.base.inputs.last().map(|known| known.flatten(0, 1)).transpose()?;
            rows = Tensor::cat(&[Some(rows), known].into_iter().flatten().collect::<Vec<_>>(), 0)?;
        }
        let place = |variant: usize| {
            plan.points().iter().map(move |(row, column)| match column.checked_sub(first) {
                Some(later) => ((variant * count + row) * columns + later) as u32,
                None => (changed + row * width + column) as u32,
            })
        };
        let places: Vec<u32> = (0..self.start.variants).flat_map(place).collect();
        let read = rows.index_select(&Tensor::new(places, x.device())?, 0)?;
        let end = texts.decoder.end_behind(&read, self.task)?;
        plan.values_of_copies(&texts.decoder, &end, self.start.variants, self.task)
    }

    /// Repeats a tensor for each variant.
    fn copies(&self, x: &Tensor) -> Result<Tensor> {
        match self.start.variants {
            1 => Ok(x.clone()),
            variants => Ok(Tensor::cat(&vec![x; variants], 0)?),
        }
    }

    /// Notes the input of a class of receivers, which share one tensor and are recognised by it.
    fn note_inputs(&mut self, class: &Class, read: &ClassInput) -> Result<()> {
        let first = self.texts.first(class.extent);
        if let (Some(noted), Some(one)) = (&mut self.noted, class.receivers.first()) {
            let x = replaced(&noted.inputs[*one], first, &read.x)?;
            let mut sums = noted.sums[*one].clone();
            for (layer, sum) in &read.sums {
                sums[*layer] = replaced(&sums[*layer], first, sum)?;
            }
            for receiver in &class.receivers {
                noted.inputs[*receiver] = x.clone();
                noted.sums[*receiver] = sums.clone();
            }
        }
        Ok(())
    }
}

/// Replaces the values of a tensor `[rows, pos, ..]` from a column on.
fn replaced(x: &Tensor, first: usize, later: &Tensor) -> Result<Tensor> {
    match first {
        0 => Ok(later.contiguous()?),
        _ => Ok(Tensor::cat(&[&x.narrow(1, 0, first)?, later], 1)?),
    }
}
