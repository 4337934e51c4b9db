//! Heads of a layer: those with a changed input are computed together.

use super::{Propagation, replaced};
use crate::circuit::Port;
use crate::circuit::edges::wiring::{Extent, Receiver, Sender};
use crate::common::*;
use crate::model::decoder::TextColumns;

/// The queries, keys or values of some heads of one layer, from the column of an extent on.
struct HeadInputs {
    port: Port,
    heads: Vec<usize>,
    extent: Extent,
    x: Tensor,
}

impl Propagation<'_> {
    pub fn heads(&mut self, layer: usize) -> Result<()> {
        let texts = self.texts;
        let task = self.task;
        let number = |head, port| texts.wiring.receiver(Receiver::Port { layer, head, port });
        let Some(first) = number(0, Port::Q) else { return Ok(()) };
        let classes = self.classes(first..first + 3 * texts.wiring.heads);
        let read = self.read(&classes.iter().collect::<Vec<_>>())?;
        let gap = texts.gap(self.start.variants);
        let mut made = Vec::new();
        for (class, read) in classes.iter().zip(&read) {
            let normed = texts.decoder.input_of(SiteKind::AttnIn, layer, &read.x)?;
            let columns = TextColumns { first: texts.first(class.extent), gap: gap.as_ref() };
            for port in Port::ALL {
                let of_port = |receiver: &usize| match texts.wiring.receivers[*receiver] {
                    Receiver::Port { head, port: this, .. } if this == port => Some(head),
                    _ => None,
                };
                let heads: Vec<usize> = class.receivers.iter().filter_map(of_port).collect();
                if heads.is_empty() {
                    continue;
                }
                let x = texts.decoder.port(kind(port), layer, &heads, &normed, columns, task)?;
                made.push(HeadInputs { port, heads, extent: class.extent, x });
            }
            self.note_inputs(class, read)?;
        }
        for made in &made {
            self.note_ports(layer, made)?;
        }
        for extent in [Extent::Everywhere, Extent::Ends] {
            let is_changed = |head: &usize| {
                let is_needed = texts.wiring.sender(Sender::Head { layer, head: *head });
                is_needed.is_some_and(|sender| self.needed.0[sender] == extent)
                    && made.iter().any(|made| made.heads.contains(head))
            };
            let heads: Vec<usize> = (0..texts.wiring.heads).filter(is_changed).collect();
            if heads.is_empty() {
                continue;
            }
            let [q, k, v] = Port::ALL.map(|port| self.assembled(layer, port, &heads, extent, &made));
            let columns = TextColumns { first: texts.first(extent), gap: gap.as_ref() };
            let z = texts.decoder.attended(layer, &heads, [&q?, &k?, &v?], columns, task)?;
            for group in self.alike(layer, &heads) {
                let each = group.iter().filter_map(|head| heads.iter().position(|known| known == head));
                let z = if group.len() == heads.len() { z.clone() } else { picked(&z, each)? };
                let out = texts.decoder.heads_out(layer, &group, &z, task)?;
                let senders = group.iter().filter_map(|head| texts.wiring.sender(Sender::Head { layer, head: *head }));
                self.wrote(senders.collect(), extent, &out)?;
            }
        }
        Ok(())
    }

    /// Assembles queries, keys or values of some heads: those that were made, and for all others those of the known
    /// run. Keys and values are needed in all columns.
    fn assembled(
        &self,
        layer: usize,
        port: Port,
        heads: &[usize],
        extent: Extent,
        made: &[HeadInputs],
    ) -> Result<Tensor> {
        let known = |head: usize| -> Result<&Tensor> {
            let receiver = self.texts.wiring.receiver(Receiver::Port { layer, head, port });
            let found = receiver.and_then(|receiver| self.start.base.ports[receiver].as_ref());
            found.ok_or_else(|| err!(Bug, "a run without its {port} of head {head}"))
        };
        let begin = if port == Port::Q { self.texts.first(extent) } else { 0 };
        let prefix = |heads: &[usize], columns: std::ops::Range<usize>| -> Result<Tensor> {
            let each = heads.iter().map(|head| Ok(known(*head)?.narrow(1, columns.start, columns.len())?));
            self.copies(&Tensor::cat(&each.collect::<Result<Vec<_>>>()?, 2)?)
        };
        let here: Vec<&HeadInputs> = made
            .iter()
            .filter(|made| made.port == port && made.heads.iter().any(|head| heads.contains(head)))
            .collect();
        let whole = |made: &HeadInputs, heads: &[usize]| -> Result<Tensor> {
            let first = self.texts.first(made.extent);
            if first <= begin {
                return Ok(made.x.narrow(1, begin - first, made.x.dim(1)? + first - begin)?);
            }
            Ok(Tensor::cat(&[prefix(heads, begin..first)?, made.x.clone()], 1)?)
        };
        if let [only] = here.as_slice()
            && only.heads == heads
        {
            return whole(only, heads);
        }
        let mut parts: BTreeMap<usize, Tensor> = BTreeMap::new();
        for made in here {
            let x = whole(made, &made.heads)?;
            for (at, head) in made.heads.iter().enumerate() {
                parts.insert(*head, x.narrow(2, at, 1)?);
            }
        }
        let others: Vec<usize> = heads.iter().copied().filter(|head| !parts.contains_key(head)).collect();
        if !others.is_empty() {
            let x = prefix(&others, begin..self.texts.width())?;
            if others.len() == heads.len() {
                return Ok(x);
            }
            for (at, head) in others.iter().enumerate() {
                parts.insert(*head, x.narrow(2, at, 1)?);
            }
        }
        let each: Vec<&Tensor> = heads.iter().filter_map(|head| parts.get(head)).collect();
        Ok(Tensor::cat(&each, 2)?)
    }

    /// Groups heads of a layer by their kept edges to all that matters; a new known run has each head by itself.
    fn alike(&self, layer: usize, heads: &[usize]) -> Vec<Vec<usize>> {
        if self.noted.is_some() {
            return heads.iter().map(|head| vec![*head]).collect();
        }
        let wiring = &self.texts.wiring;
        let mut groups: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        for head in heads {
            let Some(sender) = wiring.sender(Sender::Head { layer, head: *head }) else { continue };
            let is_read = |receiver: &usize| {
                self.needed.1[*receiver] != Extent::Nowhere
                    && wiring.before(*receiver).contains(&sender)
                    && self.start.kept[wiring.edge(sender, *receiver)]
            };
            groups.entry((0..wiring.receivers.len()).filter(is_read).collect()).or_default().push(*head);
        }
        groups.into_values().collect()
    }

    fn note_ports(&mut self, layer: usize, made: &HeadInputs) -> Result<()> {
        let first = self.texts.first(made.extent);
        let Some(noted) = &mut self.noted else { return Ok(()) };
        for (at, head) in made.heads.iter().enumerate() {
            let receiver = self.texts.wiring.receiver(Receiver::Port { layer, head: *head, port: made.port });
            if let Some(known) = receiver.and_then(|receiver| noted.ports[receiver].as_mut()) {
                *known = replaced(known, first, &made.x.narrow(2, at, 1)?)?;
            }
        }
        Ok(())
    }
}

/// Selects some heads of `[rows, pos, heads, d_head]`.
fn picked(z: &Tensor, heads: impl Iterator<Item = usize>) -> Result<Tensor> {
    let each = heads.map(|head| Ok(z.narrow(2, head, 1)?));
    Ok(Tensor::cat(&each.collect::<Result<Vec<_>>>()?, 2)?)
}

fn kind(port: Port) -> SiteKind {
    match port {
        Port::Q => SiteKind::Q,
        Port::K => SiteKind::K,
        Port::V => SiteKind::V,
    }
}
