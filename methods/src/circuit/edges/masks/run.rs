//! Runs in which every edge has a mask, with gradients of the masks: slower than a propagation, and the plain definition.

use crate::circuit::Port;
use crate::circuit::edges::texts::EdgeTexts;
use crate::circuit::edges::wiring::{Extent, Receiver, Wiring};
use crate::common::*;
use crate::model::decoder::TextColumns;

/// Differences between what senders write in this run and in the clean one, as far as computed: in order, senders that
/// write together in one tensor, `[senders, texts, pos, d_model]`.
struct SenderDifferences {
    parts: Vec<Tensor>,
    count: usize,
}

impl EdgeTexts<'_> {
    /// Returns the metric of each pair, with the masks of all edges: `[pairs]`.
    pub fn masked(&self, wiring: &Wiring, masks: &Tensor, task: &Task) -> Result<Tensor> {
        let decoder = &self.decoder;
        let mut written =
            SenderDifferences { parts: vec![self.clean.outputs[0].zeros_like()?.unsqueeze(0)?], count: 1 };
        for layer in 0..wiring.layers {
            task.check()?;
            // The heads' queries come first, then all keys, then all values.
            let Some(first) = wiring.receiver(Receiver::Port { layer, head: 0, port: Port::Q }) else { continue };
            let read = self.read(wiring, first..first + 3 * wiring.heads, &written, masks)?;
            let x = decoder.input_of(SiteKind::AttnIn, layer, &read)?;
            let port = |port: Port, kind: SiteKind| -> Result<Tensor> {
                let x = x.narrow(0, port as usize * wiring.heads, wiring.heads)?.contiguous()?;
                decoder.port_of_each(kind, layer, &x, task)
            };
            let q = port(Port::Q, SiteKind::Q)?;
            let k = port(Port::K, SiteKind::K)?;
            let v = port(Port::V, SiteKind::V)?;
            let gap = self.gap(1);
            let columns = TextColumns { gap: gap.as_ref(), ..TextColumns::default() };
            let heads: Vec<usize> = (0..wiring.heads).collect();
            let z = decoder.attended(layer, &heads, [&q, &k, &v], columns, task)?;
            written.add(decoder.each_head_out(layer, &z)?, &self.clean.outputs)?;
            if let Some(receiver) = wiring.receiver(Receiver::Mlp { layer }) {
                let x = self.read(wiring, receiver..receiver + 1, &written, masks)?.squeeze(0)?;
                written.add(decoder.mlp_alone(layer, &x, task)?.unsqueeze(0)?, &self.clean.outputs)?;
            }
        }
        let last = wiring.receivers.len() - 1;
        let x = self.read(wiring, last..last + 1, &written, masks)?.squeeze(0)?;
        let width = self.width();
        let places: Vec<u32> = self.plan.points().iter().map(|(row, column)| (row * width + column) as u32).collect();
        let rows = x.flatten(0, 1)?.index_select(&Tensor::new(places, x.device())?, 0)?;
        self.plan.values(decoder, &decoder.end_behind(&rows, task)?, task)
    }

    /// Returns what receivers with the same senders read, `[receivers, texts, pos, d_model]`: the clean residual
    /// stream, and the sum over senders u of m (own - clean) + (1 - m) (other - clean); where a norm is behind attention, a
    /// layer's heads count by the change of the norm of their sum.
    fn read(
        &self,
        wiring: &Wiring,
        receivers: Range<usize>,
        written: &SenderDifferences,
        masks: &Tensor,
    ) -> Result<Tensor> {
        let before = wiring.before(receivers.start);
        let count = receivers.len();
        let clean = &self.clean.inputs[receivers.start];
        let own = written.of_first(before.len())?;
        let first = self.first(Extent::Everywhere);
        let other = self.shifts(Extent::Everywhere).narrow(0, 0, before.len())?.pad_with_zeros(2, first, 0)?;
        let masks = masks.narrow(0, wiring.edge(0, receivers.start), count * before.len())?.to_dtype(clean.dtype())?;
        let masks = masks.reshape((count, before.len()))?;
        let shape = [&[count], clean.dims()].concat();
        let change = |senders: &Range<usize>| -> Result<Tensor> {
            let of = |x: &Tensor| x.narrow(0, senders.start, senders.len())?.contiguous()?.flatten_from(1);
            let own = of(&own)?;
            let other = of(&other)?;
            let masks = masks.narrow(1, senders.start, senders.len())?.contiguous()?;
            Ok(masks.matmul(&(own - &other)?)?.broadcast_add(&other.sum_keepdim(0)?)?.reshape(shape.as_slice())?)
        };
        let mut sum: Option<Tensor> = None;
        for part in wiring.parts(before.len()) {
            let mut change = change(&part.senders)?;
            if let Some(layer) = part.normed {
                let known = &self.clean.sums[receivers.start][layer];
                change = self.decoder.behind_changed_heads(layer, known, &change)?;
            }
            sum = Some(match sum {
                None => change,
                Some(sum) => (sum + change)?,
            });
        }
        let sum = sum.ok_or_else(|| err!(Bug, "a receiver without senders"))?;
        Ok(sum.broadcast_add(clean)?)
    }
}

impl SenderDifferences {
    fn add(&mut self, own: Tensor, clean: &[Tensor]) -> Result<()> {
        let count = own.dim(0)?;
        let clean = Tensor::stack(&clean[self.count..self.count + count], 0)?;
        self.parts.push((own - clean)?);
        self.count += count;
        Ok(())
    }

    /// Returns the differences of the first senders: `[senders, texts, pos, d_model]`.
    fn of_first(&self, count: usize) -> Result<Tensor> {
        let all = Tensor::cat(&self.parts, 0)?;
        Ok(all.narrow(0, 0, count)?)
    }
}
