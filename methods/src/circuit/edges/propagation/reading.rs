//! Inputs of receivers: the known run, and what is changed in it.

use super::{Propagation, SenderChange, Start};
use crate::base::Result;
use crate::circuit::edges::wiring::{Extent, Part};
use crate::tensor::Tensor;

/// The input of a class of receivers: `[variants * texts, pos, d_model]`.
#[derive(Clone)]
pub struct ClassInput {
    pub x: Tensor,
    /// The new sums of heads by layers, before the norm behind attention.
    pub sums: Vec<(usize, Tensor)>,
}

/// Receivers of a layer that read the same input.
pub struct Class {
    pub receivers: Vec<usize>,
    pub extent: Extent,
    /// The items that reach the receivers.
    items: Vec<usize>,
    /// The senders that are cut now.
    cut: Vec<usize>,
    is_pushed: bool,
}

impl Propagation<'_> {
    /// Groups the receivers whose input matters and differs from the known run, by what they read.
    pub fn classes(&self, receivers: std::ops::Range<usize>) -> Vec<Class> {
        let wiring = &self.texts.wiring;
        let Start { base, kept, push, .. } = &self.start;
        let mut known: Vec<(Class, candle_core::TensorId)> = Vec::new();
        for receiver in receivers {
            let extent = self.needed.1[receiver];
            if extent == Extent::Nowhere {
                continue;
            }
            let before = wiring.before(receiver);
            let reaches = |item: &SenderChange| {
                item.senders.first().is_some_and(|one| before.contains(one) && kept[wiring.edge(*one, receiver)])
            };
            let items: Vec<usize> = (0..self.items.len()).filter(|item| reaches(&self.items[*item])).collect();
            let is_cut = |sender: &usize| {
                let edge = wiring.edge(*sender, receiver);
                base.kept[edge] && !kept[edge]
            };
            let cut: Vec<usize> = before.clone().filter(is_cut).collect();
            let is_pushed = push.as_ref().is_some_and(|push| push.receiver == receiver);
            if items.is_empty() && cut.is_empty() && !is_pushed {
                continue;
            }
            let id = base.inputs[receiver].id();
            let same = known.iter_mut().find(|(class, input)| {
                *input == id
                    && class.extent == extent
                    && class.items == items
                    && class.cut == cut
                    && !(class.is_pushed || is_pushed)
            });
            match same {
                Some((class, _)) => class.receivers.push(receiver),
                None => known.push((Class { receivers: vec![receiver], extent, items, cut, is_pushed }, id)),
            }
        }
        known.into_iter().map(|(class, _)| class).collect()
    }

    /// Returns what classes read, in their order.
    pub fn read(&self, classes: &[&Class]) -> Result<Vec<ClassInput>> {
        let mut found: Vec<Option<ClassInput>> = vec![None; classes.len()];
        for extent in [Extent::Ends, Extent::Everywhere] {
            let here: Vec<usize> = (0..classes.len()).filter(|at| classes[*at].extent == extent).collect();
            if here.is_empty() {
                continue;
            }
            let some: Vec<&Class> = here.iter().map(|at| classes[*at]).collect();
            for (at, read) in here.into_iter().zip(self.read_alike(&some, extent)?) {
                found[at] = Some(read);
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Returns what classes of one extent read.
    fn read_alike(&self, classes: &[&Class], extent: Extent) -> Result<Vec<ClassInput>> {
        let wiring = &self.texts.wiring;
        let base = self.start.base;
        let decoder = &self.texts.decoder;
        let firsts: Vec<usize> = classes.iter().filter_map(|class| class.receivers.first().copied()).collect();
        let mut inputs: Vec<ClassInput> = Vec::new();
        for first in &firsts {
            let x = self.copies(&self.texts.later(&base.inputs[*first], extent)?)?;
            inputs.push(ClassInput { x, sums: Vec::new() });
        }
        let before = firsts.iter().map(|first| wiring.before(*first).len()).max().unwrap_or(0);
        for part in &wiring.parts(before) {
            let shifts = self.shifted(classes, extent, part)?;
            let items = self.summed(classes, extent, part)?;
            for (at, (shift, items)) in shifts.into_iter().zip(items).enumerate() {
                let read = &mut inputs[at];
                let shift = shift.map(|shift| self.copies(&shift)).transpose()?;
                let changes = [shift, items].into_iter().flatten();
                let Some(layer) = part.normed else {
                    for change in changes {
                        read.x = kernels::add(&read.x, &change)?;
                    }
                    continue;
                };
                let known = self.texts.later(&base.sums[firsts[at]][layer], extent)?;
                let mut sum = None;
                for change in changes {
                    let before = sum.map_or_else(|| self.copies(&known), Ok)?;
                    sum = Some(kernels::add(&before, &change)?);
                }
                if let Some(sum) = sum {
                    let before = self.copies(&decoder.behind_heads(layer, &known)?)?;
                    read.x = kernels::add(&read.x, &(decoder.behind_heads(layer, &sum)? - before)?)?;
                    read.sums.push((layer, sum));
                }
            }
        }
        if let Some(push) = &self.start.push {
            for (_, read) in classes.iter().zip(&mut inputs).filter(|(class, _)| class.is_pushed) {
                read.x = kernels::add(&read.x, &push.change)?;
            }
        }
        Ok(inputs)
    }

    /// Returns what edges from a part that are cut now add for each class: `[texts, pos, d_model]`.
    fn shifted(&self, classes: &[&Class], extent: Extent, part: &Part) -> Result<Vec<Option<Tensor>>> {
        let cut = |class: &&Class| -> Vec<usize> {
            class.cut.iter().copied().filter(|sender| part.senders.contains(sender)).collect()
        };
        let cut: Vec<Vec<usize>> = classes.iter().map(cut).collect();
        if cut.iter().all(Vec::is_empty) {
            return Ok(vec![None; classes.len()]);
        }
        let found = combined(self.texts.shifts(extent), cut.iter().map(Vec::as_slice))?;
        (0..classes.len()).map(|at| Ok(Some(found.get(at)?))).collect()
    }

    /// Returns what changed senders of a part add for each class: `[variants * texts, pos, d_model]`.
    fn summed(&self, classes: &[&Class], extent: Extent, part: &Part) -> Result<Vec<Option<Tensor>>> {
        let is_here = |item: &usize| self.items[*item].senders.iter().all(|sender| part.senders.contains(sender));
        let mut used: Vec<usize> =
            classes.iter().flat_map(|class| class.items.iter().copied()).filter(is_here).collect();
        used.sort_unstable();
        used.dedup();
        let from = self.texts.first(extent);
        let change = |item: &usize| -> Result<Tensor> {
            let item = &self.items[*item];
            let skipped = from - self.texts.first(item.extent);
            let width = item.change.dim(1)?;
            Ok(item.change.narrow(1, skipped, width - skipped)?.contiguous()?)
        };
        if used.is_empty() {
            return Ok(vec![None; classes.len()]);
        }
        let changes = used.iter().map(change).collect::<Result<Vec<_>>>()?;
        if let [_] = classes {
            let mut sum = changes[0].clone();
            for change in &changes[1..] {
                sum = kernels::add(&sum, change)?;
            }
            return Ok(vec![Some(sum)]);
        }
        let places = |class: &&Class| -> Vec<usize> {
            class.items.iter().filter_map(|item| used.binary_search(item).ok()).collect()
        };
        let wanted: Vec<Vec<usize>> = classes.iter().map(places).collect();
        let found = combined(&Tensor::stack(&changes, 0)?, wanted.iter().map(Vec::as_slice))?;
        (0..classes.len()).map(|at| Ok(Some(found.get(at)?))).collect()
    }
}

/// Sums some of the tensors in `[tensors, ..]`: `[sums, ..]`.
pub fn combined<'a>(all: &Tensor, which: impl Iterator<Item = &'a [usize]>) -> Result<Tensor> {
    let count = all.dim(0)?;
    let mut coefficients = Vec::new();
    let mut sums = 0;
    for some in which {
        let begin = coefficients.len();
        coefficients.resize(begin + count, 0.0_f32);
        some.iter().for_each(|one| coefficients[begin + one] = 1.0);
        sums += 1;
    }
    let coefficients = Tensor::from_vec(coefficients, (sums, count), all.device())?.to_dtype(all.dtype())?;
    let mut shape = all.dims().to_vec();
    shape[0] = sums;
    Ok(coefficients.matmul(&all.reshape((count, ()))?)?.reshape(shape)?)
}
