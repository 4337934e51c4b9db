//! A run in which every edge has a mask, with gradients of the masks: slower than a wave, and the plain definition.

use std::ops::Range;

use crate::base::{Result, Task};
use crate::circuit::Port;
use crate::circuit::edges::texts::Texts;
use crate::circuit::edges::wiring::{Extent, Receiver, Wiring};
use crate::model::decoder::Columns;
use crate::model::site::SiteKind;
use crate::tensor::Tensor;

/// What senders write in this run more than in the clean one, as far as it is computed.
struct Written(Vec<Tensor>);

impl Texts<'_> {
    /// The metric of each pair, with the masks of all edges: `[pairs]`.
    pub fn masked(&self, wiring: &Wiring, masks: &Tensor, task: &Task) -> Result<Tensor> {
        let decoder = &self.decoder;
        let heads: Vec<usize> = (0..wiring.heads).collect();
        let mut written = Written(vec![self.clean.outputs[0].zeros_like()?]);
        for layer in 0..wiring.layers {
            task.check()?;
            // The heads' queries come first, then all keys, then all values.
            let Some(first) = wiring.receiver(Receiver::Port { layer, head: 0, port: Port::Q }) else { continue };
            let read = self.read(wiring, first..first + 3 * heads.len(), &written, masks)?;
            let mut ports = Vec::new();
            for (port, kind) in [SiteKind::Q, SiteKind::K, SiteKind::V].into_iter().enumerate() {
                let mut each = Vec::new();
                for head in &heads {
                    let x = decoder.input_of(SiteKind::AttnIn, layer, &read.get(port * heads.len() + head)?)?;
                    each.push(decoder.port((kind, layer), &[*head], &x, Columns::default(), task)?);
                }
                ports.push(Tensor::cat(&each, 2)?.contiguous()?);
            }
            let gap = self.gap(1);
            let columns = Columns { gap: gap.as_ref(), ..Columns::default() };
            let z = decoder.attended(layer, [&ports[0], &ports[1], &ports[2]], columns, task)?;
            let all = decoder.each_head_out(layer, &z)?;
            for head in &heads {
                written.add(&all.get(*head)?, &self.clean.outputs)?;
            }
            if let Some(receiver) = wiring.receiver(Receiver::Mlp { layer }) {
                let x = self.read(wiring, receiver..receiver + 1, &written, masks)?.get(0)?;
                written.add(&decoder.mlp_alone(layer, &x, task)?, &self.clean.outputs)?;
            }
        }
        let last = wiring.receivers.len() - 1;
        let x = self.read(wiring, last..last + 1, &written, masks)?.get(0)?;
        let width = self.width();
        let places: Vec<u32> = self.plan.points().iter().map(|(row, column)| (row * width + column) as u32).collect();
        let rows = x.flatten(0, 1)?.index_select(&Tensor::new(places, x.device())?, 0)?;
        self.plan.values(&decoder.read_out(&rows, task)?)
    }

    /// What receivers that the same senders reach read, `[receivers, texts, pos, d_model]`: the clean stream, and the sum over
    /// senders u of m (own - clean) + (1 - m) (other - clean).
    fn read(&self, wiring: &Wiring, receivers: Range<usize>, written: &Written, masks: &Tensor) -> Result<Tensor> {
        let (before, count) = (wiring.before(receivers.start), receivers.len());
        let clean = &self.clean.inputs[receivers.start];
        let own = Tensor::stack(&written.0[before.clone()], 0)?;
        let first = self.first(Extent::Everywhere);
        let other = self.shifts(Extent::Everywhere).narrow(0, 0, before.len())?.pad_with_zeros(2, first, 0)?;
        let masks = masks.narrow(0, wiring.edge(0, receivers.start), count * before.len())?.to_dtype(clean.dtype())?;
        let masks = masks.reshape((count, before.len()))?;
        let flat = |x: &Tensor| x.contiguous()?.flatten_from(1);
        let change = masks.matmul(&flat(&(own - &other)?)?)?.broadcast_add(&flat(&other)?.sum_keepdim(0)?)?;
        Ok(change.reshape([&[count], clean.dims()].concat())?.broadcast_add(clean)?)
    }
}

impl Written {
    fn add(&mut self, own: &Tensor, clean: &[Tensor]) -> Result<()> {
        let clean = &clean[self.0.len()];
        self.0.push((own - clean)?);
        Ok(())
    }
}
