//! Sizes of the effects of edges by AtP* (Kramar et al. 2024), whose two corrections of attribution patching are made
//! edge by edge.
//!
//! A query or key that changes acts through a softmax, whose slope vanishes where attention is nearly hard. So the
//! change that cutting an edge into a query or key makes is added to the residual stream that the head reads, and the
//! softmax is recomputed:
//!
//!     (z with the edge cut - z) . dm / dz,  which is (patched pattern - pattern) . dm / dpattern
//!
//! All other edges are (other - own) . gradient. And what several layers do may cancel in the gradient: so, layer by layer, the
//! gradient through what that layer writes is dropped (GradDrop), and the sizes of the estimates are averaged over these
//! passes, but for the pass without the receiver's own layer, in which its gradient is zero.

use super::exact::moving;
use super::slopes::{EdgeGradients, RunGradients, wide};
use super::texts::{alone, first_order, stream_of};
use super::wiring::{Receiver, Wiring};
use crate::circuit::Port;
use crate::common::*;
use crate::intervene::metric::MetricPlan;
use crate::model::decoder::TextColumns;
use kernels::Gap;

/// The passes of a group of pairs.
pub struct HeadPasses<'a> {
    decoder: &'a Decoder,
    wiring: &'a Wiring,
    plan: &'a MetricPlan<'a>,
    /// The number of pairs.
    pairs: usize,
    /// Changes of a receiver's input when edges from each sender are cut: `[senders, texts, pos, d_model]`.
    shifts: Tensor,
    /// The changes to first order, where a norm is behind attention.
    first_order: Tensor,
    clean: &'a RunGradients,
    /// The gradients without those through what each layer writes.
    dropped: Vec<RunGradients>,
    gap: Option<Gap>,
    task: &'a Task,
}

impl<'a> HeadPasses<'a> {
    pub fn new(
        slopes: &'a EdgeGradients<'a>,
        plan: &'a MetricPlan<'a>,
        shifts: &Tensor,
        clean: &'a RunGradients,
    ) -> Result<Self> {
        let decoder = slopes.decoder;
        let wiring = slopes.wiring;
        let task = slopes.task;
        let drop = |layer| EdgeGradients { dropped: Some(layer), ..*slopes }.slope(plan, BTreeMap::new(), &[]);
        let head_sums = slopes.head_sums(clean)?;
        let batch = plan.batch();
        let is_seen = batch.is_ragged() && !decoder.config().causal;
        Ok(Self {
            decoder,
            wiring,
            plan,
            pairs: slopes.group.pairs.len(),
            shifts: alone(decoder, wiring, shifts, &head_sums)?,
            first_order: first_order(decoder, wiring, shifts, &head_sums)?,
            clean,
            dropped: (0..wiring.layers).map(drop).collect::<Result<_>>()?,
            gap: is_seen.then(|| Gap { lengths: batch.lengths(), width: batch.width() }),
            task,
        })
    }

    /// Adds the sizes of all edges, summed over pairs.
    pub fn add(&self, sums: &mut [f64]) -> Result<()> {
        for layer in 0..self.wiring.layers {
            self.task.check()?;
            self.softmaxes(layer, sums)?;
            self.values(layer, sums)?;
            if let Some(receiver) = self.wiring.receiver(Receiver::Mlp { layer }) {
                let read =
                    |slope: &RunGradients| Ok(slope.gradients.at(whole(SiteKind::MlpIn, layer))?.unsqueeze(0)?);
                self.products(receiver, Some(Site::new(SiteKind::MlpIn, layer)), &read, sums)?;
            }
        }
        let last = self.wiring.receivers.len() - 1;
        let place = stream_of(self.wiring, Receiver::Logits);
        let read = |slope: &RunGradients| Ok(slope.gradients.at(place)?.unsqueeze(0)?);
        self.products(last, None, &read, sums)
    }

    /// Returns the gradients that count for what a layer reads; where there is no other layer, nothing is dropped.
    fn slopes(&self, layer: Option<usize>) -> Vec<&RunGradients> {
        let others: Vec<&RunGradients> = self
            .dropped
            .iter()
            .enumerate()
            .filter(|(dropped, _)| Some(*dropped) != layer)
            .map(|(_, one)| one)
            .collect();
        // The input of the logits comes after all layers.
        if others.is_empty() || layer.is_none() { vec![self.clean] } else { others }
    }

    fn stream(&self, receiver: Receiver) -> Result<&Tensor> {
        let place = stream_of(self.wiring, receiver);
        self.clean.notes.get(&place.site).ok_or_else(|| err!(Bug, "`{place}` was not passed"))
    }

    fn first(&self, layer: usize, port: Port) -> Result<usize> {
        let first = self.wiring.receiver(Receiver::Port { layer, head: 0, port });
        first.ok_or_else(|| err!(Bug, "a layer {layer} without heads"))
    }

    /// Adds the sizes of the edges into queries and keys of a layer.
    fn softmaxes(&self, layer: usize, sums: &mut [f64]) -> Result<()> {
        let decoder = self.decoder;
        let task = self.task;
        let heads: Vec<usize> = (0..self.wiring.heads).collect();
        let columns = TextColumns { gap: self.gap.as_ref(), ..TextColumns::default() };
        let [query, key] = [self.first(layer, Port::Q)?, self.first(layer, Port::K)?];
        let stream = self.stream(self.wiring.receivers[query])?;
        let of = |kind: SiteKind, stream: &Tensor| -> Result<Tensor> {
            let read = decoder.input_of(SiteKind::AttnIn, layer, stream)?;
            decoder.port(kind, layer, &heads, &read, columns, task)
        };
        let [q, k, v] = [of(SiteKind::Q, stream)?, of(SiteKind::K, stream)?, of(SiteKind::V, stream)?];
        let z = decoder.attended(layer, &heads, [&q, &k, &v], columns, task)?;
        let slopes = self.slopes(Some(layer));
        let gradients = slopes.iter().map(|slope| slope.gradients.at(whole(SiteKind::Z, layer)));
        let gradients = gradients.collect::<Result<Vec<_>>>()?;
        let moving = moving(&self.shifts)?;
        for sender in self.wiring.before(query).filter(|sender| moving[*sender]) {
            task.check()?;
            let cut = (stream + self.shifts.get(sender)?.to_dtype(stream.dtype())?)?;
            let with_query = decoder.attended(layer, &heads, [&of(SiteKind::Q, &cut)?, &k, &v], columns, task)?;
            let with_key = decoder.attended(layer, &heads, [&q, &of(SiteKind::K, &cut)?, &v], columns, task)?;
            for (first, changed) in [(query, with_query), (key, with_key)] {
                let change = wide(&(changed - &z)?)?;
                for gradient in &gradients {
                    // By texts and heads.
                    let found = (&change * wide(gradient)?)?.sum((1, 3))?;
                    let found = floats(&found.t()?.contiguous()?.flatten_all()?)?;
                    for (head, by_text) in found.chunks(found.len() / heads.len()).enumerate() {
                        sums[self.wiring.edge(sender, first + head)] += self.size(by_text, gradients.len());
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the sizes of the edges into values of a layer.
    fn values(&self, layer: usize, sums: &mut [f64]) -> Result<()> {
        let read = |slope: &RunGradients| {
            let gradient = slope.gradients.at(whole(SiteKind::V, layer))?;
            self.decoder.port_gradients(SiteKind::V, layer, &gradient)
        };
        self.products(self.first(layer, Port::V)?, Some(Site::new(SiteKind::AttnIn, layer)), &read, sums)
    }

    /// Adds the sizes of the edges into some consecutive receivers, from gradients at what they read, `[receivers,
    /// texts, pos, d_model]`.
    fn products(
        &self,
        first: usize,
        reader: Option<Site>,
        read: &dyn Fn(&RunGradients) -> Result<Tensor>,
        sums: &mut [f64],
    ) -> Result<()> {
        let senders = self.wiring.before(first);
        let shifts = wide(&self.first_order.narrow(0, 0, senders.len())?)?;
        let slopes = self.slopes(reader.map(|site| site.layer));
        for slope in &slopes {
            let mut gradients = read(slope)?;
            if let Some(site) = reader {
                let x = self.stream(self.wiring.receivers[first])?;
                gradients = self.decoder.input_gradients(site.kind, site.layer, x, &gradients)?;
            }
            let gradients = wide(&gradients)?;
            let receivers = gradients.dim(0)?;
            let texts = gradients.dim(1)?;
            // By texts, receivers and senders.
            let by_text = |text: usize| -> Result<Vec<f64>> {
                let of = |x: &Tensor| -> Result<Tensor> { Ok(x.narrow(1, text, 1)?.contiguous()?.flatten_from(1)?) };
                floats(&of(&gradients)?.matmul(&of(&shifts)?.t()?)?.flatten_all()?)
            };
            let found = (0..texts).map(by_text).collect::<Result<Vec<_>>>()?;
            for receiver in 0..receivers {
                for sender in senders.clone() {
                    let at = receiver * senders.len() + sender;
                    let each: Vec<f64> = found.iter().filter_map(|text| text.get(at).copied()).collect();
                    sums[self.wiring.edge(sender, first + receiver)] += self.size(&each, slopes.len());
                }
            }
        }
        Ok(())
    }

    /// Returns the sum over pairs of the size of an estimate, divided by the number of estimates that are averaged.
    fn size(&self, by_text: &[f64], count: usize) -> f64 {
        let mut by_pair = vec![0.0; self.pairs];
        by_text.iter().zip(self.plan.pair_of()).for_each(|(value, pair)| by_pair[*pair] += value);
        by_pair.iter().map(|value| value.abs()).sum::<f64>() / count as f64
    }
}

fn whole(kind: SiteKind, layer: usize) -> Place {
    Place { site: Site::new(kind, layer), head: None }
}
