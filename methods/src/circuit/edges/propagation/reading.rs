//! Inputs of receivers: the known run, and what is changed in it.

use super::{Propagation, SenderChange, Start};
use crate::circuit::edges::wiring::{Extent, Part};
use crate::common::*;

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
        // As long as nothing differs between variants, an input is that of the texts.
        let mut inputs: Vec<ClassInput> = Vec::new();
        for first in &firsts {
            inputs.push(ClassInput { x: self.texts.later(&base.inputs[*first], extent)?, sums: Vec::new() });
        }
        let before = firsts.iter().map(|first| wiring.before(*first).len()).max().unwrap_or(0);
        for part in &wiring.parts(before) {
            let shifts = self.shifted(classes, extent, part)?;
            let items = self.changed(classes, extent, part)?;
            let Some(layer) = part.normed else {
                for (read, shift) in inputs.iter_mut().zip(shifts) {
                    if let Some(shift) = shift {
                        read.x = self.shifted_input(&read.x, &shift)?;
                    }
                }
                let starts: Vec<&Tensor> = inputs.iter().map(|read| &read.x).collect();
                let sums = items.added_to(&starts)?;
                for (read, x) in inputs.iter_mut().zip(sums) {
                    read.x = x;
                }
                continue;
            };
            let mut starts = Vec::new();
            let mut is_changed = Vec::new();
            for ((first, shift), chosen) in firsts.iter().zip(shifts).zip(&items.chosen) {
                let known = self.texts.later(&base.sums[*first][layer], extent)?;
                is_changed.push(shift.is_some() || !chosen.is_empty());
                starts.push(match shift {
                    Some(shift) => kernels::add(&known, &shift)?,
                    None => known,
                });
            }
            let sums = items.added_to(&starts.iter().collect::<Vec<_>>())?;
            for (at, sum) in sums.into_iter().enumerate().filter(|(at, _)| is_changed[*at]) {
                let read = &mut inputs[at];
                let known = self.texts.later(&base.sums[firsts[at]][layer], extent)?;
                let before = self.whole(&decoder.behind_heads(layer, &known)?)?;
                let sum = self.whole(&sum)?;
                let change = (decoder.behind_heads(layer, &sum)? - before)?;
                read.x = kernels::add(&self.whole(&read.x)?, &change)?;
                read.sums.push((layer, sum));
            }
        }
        for (class, read) in classes.iter().zip(&mut inputs) {
            read.x = match self.start.push.as_ref().filter(|_| class.is_pushed) {
                Some(push) => added(&read.x, &push.change)?,
                None => self.whole(&read.x)?,
            };
        }
        Ok(inputs)
    }

    /// Returns an input of each variant, which is that of the texts as long as nothing differs between variants.
    fn whole(&self, x: &Tensor) -> Result<Tensor> {
        if x.dim(0)? == self.texts.count() { self.copies(x) } else { Ok(x.clone()) }
    }

    /// Adds a change of the texts to an input, of the texts or of each variant.
    fn shifted_input(&self, x: &Tensor, shift: &Tensor) -> Result<Tensor> {
        if x.dim(0)? == shift.dim(0)? { Ok(kernels::add(x, shift)?) } else { added(shift, x) }
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

    /// Returns the changes of senders of a part that reach some classes.
    fn changed(&self, classes: &[&Class], extent: Extent, part: &Part) -> Result<ChosenItems> {
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
        let places = |class: &&Class| -> Vec<usize> {
            class.items.iter().filter_map(|item| used.binary_search(item).ok()).collect()
        };
        let changes = used.iter().map(change).collect::<Result<Vec<_>>>()?;
        Ok(ChosenItems { changes, chosen: classes.iter().map(places).collect() })
    }
}

/// Changes of what senders write, `[variants * texts, pos, d_model]` each, and those that reach each of some classes.
struct ChosenItems {
    changes: Vec<Tensor>,
    chosen: Vec<Vec<usize>>,
}

impl ChosenItems {
    /// Adds to a start of each class the changes that reach it; where there are none at all, starts stay as they are.
    fn added_to(&self, starts: &[&Tensor]) -> Result<Vec<Tensor>> {
        if self.changes.is_empty() {
            return Ok(starts.iter().map(|start| (*start).clone()).collect());
        }
        let sums = kernels::chosen_sums(starts, &self.changes.iter().collect::<Vec<_>>(), &self.chosen)?;
        (0..starts.len()).map(|at| Ok(sums.get(at)?)).collect()
    }
}

/// Adds a tensor to another one, which is repeated as often as it fits.
pub fn added(repeated: &Tensor, x: &Tensor) -> Result<Tensor> {
    Ok(kernels::chosen_sums(&[repeated], &[x], &[vec![0]])?.squeeze(0)?)
}

/// Sums some of the tensors in `[tensors, ..]`: `[sums, ..]`.
pub fn combined<'a>(all: &Tensor, which: impl Iterator<Item = &'a [usize]>) -> Result<Tensor> {
    let parts = (0..all.dim(0)?).map(|part| Ok(all.get(part)?)).collect::<Result<Vec<_>>>()?;
    let nothing = all.narrow(0, 0, 1)?.zeros_like()?;
    let chosen: Vec<Vec<usize>> = which.map(<[usize]>::to_vec).collect();
    Ok(kernels::chosen_sums(&vec![&nothing; chosen.len()], &parts.iter().collect::<Vec<_>>(), &chosen)?)
}
