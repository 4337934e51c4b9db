//! The texts of some pairs: their clean run, and what cut edges carry in its place.

use super::propagation::combined;
use super::wiring::{Extent, Receiver, Sender, Wiring};
use crate::circuit::Port;
use crate::common::*;
use crate::intervene::metric::MetricPlan;
use crate::model::cache::Recorder;
use crate::model::hooks::Chain;
use kernels::Gap;

/// A run, with everything that its receivers read and its senders write.
#[derive(Clone)]
pub struct RunState {
    /// The input of each receiver: `[texts, pos, d_model]`.
    pub inputs: Vec<Tensor>,
    /// The queries, keys or values of each receiver that is one of these: `[texts, pos, 1, d_head]`.
    pub ports: Vec<Option<Tensor>>,
    /// The sums of what the heads of each layer before a receiver write to it, by receivers and layers, where a norm is
    /// behind attention; empty elsewhere: `[texts, pos, d_model]`.
    pub sums: Vec<Vec<Tensor>>,
    /// The output of each sender: `[texts, pos, d_model]`.
    pub outputs: Vec<Tensor>,
    /// The edges that are not cut.
    pub kept: Vec<bool>,
    /// The metric of each pair.
    pub values: Vec<f64>,
}

/// The texts of pairs that are run together.
pub struct EdgeTexts<'a> {
    /// The model with a key and value for each query head.
    pub decoder: Arc<Decoder>,
    pub wiring: Arc<Wiring>,
    pub plan: MetricPlan<'a>,
    /// The numbers of the pairs of the texts among all pairs.
    pub numbers: Vec<usize>,
    /// The clean run, with the edges cut that a search begins without.
    pub clean: RunState,
    /// Changes of a receiver's input when an edge is cut, by senders: `[senders, texts, pos, d_model]` from the first
    /// column at which anything changes, and from the first one that the metric reads.
    shifts: [Tensor; 2],
    /// The first column of each of `shifts`.
    firsts: [usize; 2],
}

/// Activations that cut edges carry.
pub enum CutValues<'a> {
    /// The activations of the senders in the run of the pair's corrupt prompt.
    Corrupt,
    Zero,
    /// The mean of each sender: `[1, pos, d_model]`.
    Means(&'a [Tensor]),
}

impl<'a> EdgeTexts<'a> {
    /// Runs the clean prompts, whose plan is given, and the corrupt ones where cut edges carry their activations.
    pub fn new(
        decoder: &Arc<Decoder>,
        wiring: &Arc<Wiring>,
        plan: MetricPlan<'a>,
        numbers: Vec<usize>,
        others: &CutValues,
        corrupt: &MetricPlan,
        task: &Task,
    ) -> Result<Self> {
        let clean = clean_state(decoder, wiring, &plan, task)?;
        let width = plan.batch().width();
        let own = Tensor::stack(&clean.outputs, 0)?;
        let other = match others {
            CutValues::Corrupt => outputs(decoder, wiring, corrupt, task)?.0,
            CutValues::Zero => own.zeros_like()?,
            CutValues::Means(means) => {
                let each =
                    means.iter().map(|mean| Ok(mean.narrow(1, 0, width)?.broadcast_as(clean.outputs[0].shape())?));
                Tensor::stack(&each.collect::<Result<Vec<_>>>()?, 0)?
            }
        };
        let is_causal = decoder.config().causal;
        let mut start = match others {
            CutValues::Corrupt if is_causal => first_difference(&plan, corrupt),
            _ => 0,
        };
        // Where nothing differs, the last column stands for all.
        start = start.min(width - 1);
        let read = plan.points().iter().map(|(_, column)| *column).min().unwrap_or(0);
        let firsts = [start, if is_causal { read.max(start) } else { read }];
        let all = (other - own)?;
        let from = |first: usize| -> Result<Tensor> { Ok(all.narrow(2, first, width - first)?.contiguous()?) };
        let wide = from(firsts[0])?;
        let ends = if firsts[1] == firsts[0] { wide.clone() } else { from(firsts[1])? };
        Ok(Self {
            decoder: decoder.clone(),
            wiring: wiring.clone(),
            plan,
            numbers,
            clean,
            shifts: [wide, ends],
            firsts,
        })
    }

    /// Cuts edges in the clean run, so that changes are against what is left of it.
    pub fn begin_with(&mut self, kept: &[bool], task: &Task) -> Result<()> {
        let left = self.state(&self.clean, kept, task)?;
        // What a cut edge changes is against what its sender writes now.
        let less = (Tensor::stack(&self.clean.outputs, 0)? - Tensor::stack(&left.outputs, 0)?)?;
        let columns = self.width();
        for (shifts, first) in self.shifts.iter_mut().zip(self.firsts) {
            *shifts = (&*shifts + less.narrow(2, first, columns - first)?)?;
        }
        self.clean = left;
        Ok(())
    }

    /// Returns the number of texts.
    pub fn count(&self) -> usize {
        self.plan.batch().rows().len()
    }

    pub fn width(&self) -> usize {
        self.plan.batch().width()
    }

    /// Returns the first column that is computed for an extent.
    pub fn first(&self, extent: Extent) -> usize {
        self.firsts[usize::from(extent != Extent::Everywhere)]
    }

    /// Returns the changes of a receiver's input when edges from each sender are cut, from an extent's first column on:
    /// `[senders, texts, pos, d_model]`.
    pub fn shifts(&self, extent: Extent) -> &Tensor {
        &self.shifts[usize::from(extent != Extent::Everywhere)]
    }

    /// Returns what cutting sets of senders from a receiver adds to what it reads in a run in which none of them is cut,
    /// from an extent's first column on: `[sets * texts, pos, d_model]`.
    pub fn cut(&self, base: &RunState, receiver: usize, extent: Extent, sets: &[Vec<usize>]) -> Result<Tensor> {
        let shifts = self.shifts(extent);
        let mut sum: Option<Tensor> = None;
        for part in self.wiring.parts(self.wiring.before(receiver).len()) {
            let among = |set: &Vec<usize>| -> Vec<usize> {
                set.iter().copied().filter(|sender| part.senders.contains(sender)).collect()
            };
            let here: Vec<Vec<usize>> = sets.iter().map(among).collect();
            if here.iter().all(Vec::is_empty) {
                continue;
            }
            let shift = combined(shifts, here.iter().map(Vec::as_slice))?;
            let change = match part.normed {
                None => shift,
                Some(layer) => {
                    let before = self.later(&base.sums[receiver][layer], extent)?;
                    self.decoder.behind_changed_heads(layer, &before, &shift)?
                }
            };
            sum = Some(match sum {
                None => change,
                Some(sum) => kernels::add(&sum, &change)?,
            });
        }
        Ok(sum.ok_or_else(|| err!(Bug, "no senders were cut"))?.flatten(0, 1)?)
    }

    /// Selects the columns of an extent from all columns.
    pub fn later(&self, x: &Tensor, extent: Extent) -> Result<Tensor> {
        let first = self.first(extent);
        Ok(x.narrow(1, first, x.dim(1)? - first)?.contiguous()?)
    }

    /// Returns the padding of texts where queries see it, once for each of some variants.
    pub fn gap(&self, variants: usize) -> Option<Gap> {
        let batch = self.plan.batch();
        let is_seen = batch.is_ragged() && !self.decoder.config().causal;
        is_seen.then(|| Gap { lengths: batch.lengths().repeat(variants), width: batch.width() })
    }

    /// Returns how many variants are computed at once.
    pub fn at_once(&self) -> usize {
        /// Approximate number of tokens at once.
        const TOKENS: usize = 1 << 11;
        let tokens = self.count() * (self.width() - self.firsts[0]);
        (TOKENS / tokens.max(1)).max(1)
    }
}

/// Returns the first column at which texts differ, or their number of columns if none does.
fn first_difference(clean: &MetricPlan, corrupt: &MetricPlan) -> usize {
    let both = clean.batch().rows().iter().zip(corrupt.batch().rows());
    let first = both.map(|(a, b)| match a.iter().zip(b).position(|(a, b)| a != b) {
        Some(column) => column,
        None => a.len().min(b.len()),
    });
    first.min().unwrap_or(0)
}

fn whole(kind: SiteKind, layer: usize) -> Place {
    Place { site: Site::new(kind, layer), head: None }
}

/// Runs a plan's texts and records some sites.
fn recorded(decoder: &Decoder, plan: &MetricPlan, places: Vec<Place>, task: &Task) -> Result<(Cache, Vec<f64>)> {
    let recorder = Recorder::new(decoder.config().clone(), places, plan.batch().lengths(), None);
    let mut chain = Chain { recorder: Some(recorder), ..Chain::default() };
    let end = decoder.end_at(plan.batch(), plan.points(), &mut chain, None, task)?;
    let recorder = chain.recorder.ok_or_else(|| err!(Bug, "a run without its recorder"))?;
    Ok((recorder.finish(), floats(&plan.values(decoder, &end, task)?)?))
}

/// Returns the site at which the output of a sender enters the residual stream: with the bias of attention, and all
/// heads of a layer together.
pub fn output_site(sender: Sender) -> Site {
    match sender {
        Sender::Embed => Site::new(SiteKind::Embed, 0),
        Sender::Head { layer, .. } => Site::new(SiteKind::AttnOut, layer),
        Sender::Mlp { layer } => Site::new(SiteKind::MlpOut, layer),
    }
}

/// Returns the sites where senders write.
pub fn written(wiring: &Wiring) -> Vec<Place> {
    let place = |sender: &Sender| match *sender {
        Sender::Embed => Some(whole(SiteKind::Embed, 0)),
        Sender::Head { layer, head: 0 } => Some(whole(SiteKind::Z, layer)),
        Sender::Head { .. } => None,
        Sender::Mlp { layer } => Some(whole(SiteKind::MlpOut, layer)),
    };
    wiring.senders.iter().filter_map(place).collect()
}

/// Returns what all senders write, `[senders, texts, pos, d_model]`, from the activations at the sites where they do.
pub fn all_written(decoder: &Decoder, wiring: &Wiring, at: &dyn Fn(Place) -> Result<Tensor>) -> Result<Tensor> {
    let each = written(wiring).into_iter().map(|place| match place.site.kind {
        SiteKind::Z => decoder.each_head_out(place.site.layer, &at(place)?),
        _ => Ok(at(place)?.unsqueeze(0)?),
    });
    Ok(Tensor::cat(&each.collect::<Result<Vec<_>>>()?, 0)?)
}

/// Returns what the heads of each layer write in sum, with the bias of attention, as the norm behind it reads them.
pub fn head_sums(
    decoder: &Decoder,
    wiring: &Wiring,
    at: &dyn Fn(Place) -> Result<Tensor>,
    task: &Task,
) -> Result<Vec<Tensor>> {
    let layers = if wiring.is_normed { wiring.layers } else { 0 };
    (0..layers).map(|layer| decoder.heads_sum(layer, &at(whole(SiteKind::Z, layer))?, task)).collect()
}

/// Returns to first order how changes of what senders write, `[senders, texts, pos, d_model]`, change what the residual
/// stream gets from them, near the sums of heads of some run.
pub fn first_order(decoder: &Decoder, wiring: &Wiring, changes: &Tensor, sums: &[Tensor]) -> Result<Tensor> {
    by_part(wiring, changes, |layer, changes| decoder.behind_heads_changes(layer, &sums[layer], changes))
}

/// Returns how a change of what each sender writes, `[senders, texts, pos, d_model]`, by itself changes what the
/// residual stream gets, near the sums of heads of some run.
pub fn alone(decoder: &Decoder, wiring: &Wiring, changes: &Tensor, sums: &[Tensor]) -> Result<Tensor> {
    by_part(wiring, changes, |layer, changes| decoder.behind_changed_heads(layer, &sums[layer], changes))
}

/// Applies a function to the changes of the heads of each layer that has a norm behind attention.
fn by_part(wiring: &Wiring, changes: &Tensor, normed: impl Fn(usize, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if !wiring.is_normed {
        return Ok(changes.clone());
    }
    let each = wiring.parts(wiring.senders.len()).into_iter().map(|part| {
        let changes = changes.narrow(0, part.senders.start, part.senders.len())?.contiguous()?;
        match part.normed {
            None => Ok(changes),
            Some(layer) => normed(layer, &changes),
        }
    });
    Ok(Tensor::cat(&each.collect::<Result<Vec<_>>>()?, 0)?)
}

/// Returns what all senders write in a run, and the run's metric.
pub fn outputs(decoder: &Decoder, wiring: &Wiring, plan: &MetricPlan, task: &Task) -> Result<(Tensor, Vec<f64>)> {
    let (cache, values) = recorded(decoder, plan, written(wiring), task)?;
    Ok((all_written(decoder, wiring, &|place| cache.at(place))?, values))
}

/// Returns the site at which a receiver's residual stream is recorded.
pub fn stream_of(wiring: &Wiring, receiver: Receiver) -> Place {
    match receiver {
        Receiver::Mlp { layer } if wiring.is_serial => whole(SiteKind::ResidMid, layer),
        Receiver::Port { layer, .. } | Receiver::Mlp { layer } => whole(SiteKind::ResidPre, layer),
        Receiver::Logits => whole(SiteKind::ResidPost, wiring.layers.saturating_sub(1)),
    }
}

/// Returns the site of a port in a pass: before its norm and rotary embedding, or ready for attention.
pub fn port_site(decoder: &Decoder, port: Port, is_ready: bool) -> SiteKind {
    let turned = is_ready && SiteKind::QRot.exists(decoder.config());
    match port {
        Port::Q => {
            if turned {
                SiteKind::QRot
            } else {
                SiteKind::Q
            }
        }
        Port::K => {
            if turned {
                SiteKind::KRot
            } else {
                SiteKind::K
            }
        }
        Port::V => SiteKind::V,
    }
}

fn clean_state(decoder: &Decoder, wiring: &Wiring, plan: &MetricPlan, task: &Task) -> Result<RunState> {
    let mut places = written(wiring);
    places.extend(wiring.receivers.iter().map(|receiver| stream_of(wiring, *receiver)));
    for layer in 0..wiring.layers {
        places.extend(Port::ALL.map(|port| whole(port_site(decoder, port, true), layer)));
    }
    places.sort();
    places.dedup();
    let (cache, values) = recorded(decoder, plan, places, task)?;
    let outputs = all_written(decoder, wiring, &|place| cache.at(place))?;
    let outputs = (0..wiring.senders.len()).map(|sender| Ok(outputs.get(sender)?)).collect::<Result<_>>()?;
    let port = |receiver: &Receiver| -> Result<Option<Tensor>> {
        let Receiver::Port { layer, head, port } = *receiver else { return Ok(None) };
        let all = cache.at(whole(port_site(decoder, port, true), layer))?;
        Ok(Some(all.narrow(2, head, 1)?.contiguous()?))
    };
    let sums = head_sums(decoder, wiring, &|place| cache.at(place), task)?;
    let before = |receiver: usize| -> Vec<Tensor> {
        let parts = wiring.parts(wiring.before(receiver).len());
        parts.iter().filter_map(|part| part.normed).map(|layer| sums[layer].clone()).collect()
    };
    Ok(RunState {
        sums: (0..wiring.receivers.len()).map(before).collect(),
        inputs: wiring.receivers.iter().map(|one| cache.at(stream_of(wiring, *one))).collect::<Result<_>>()?,
        ports: wiring.receivers.iter().map(port).collect::<Result<_>>()?,
        outputs,
        kept: vec![true; wiring.edges()],
        values,
    })
}

/// The mean of what each sender writes in the corrupt runs, at each position over the texts that are long enough: `[1,
/// pos, d_model]`.
#[derive(Default)]
pub struct Means {
    /// The sums by senders, `[senders, pos, d_model]`, and the number of texts at each position.
    sums: Option<Tensor>,
    counts: Vec<f32>,
}

impl Means {
    pub fn add(&mut self, decoder: &Decoder, wiring: &Wiring, plan: &MetricPlan, task: &Task) -> Result<()> {
        let (all, _) = outputs(decoder, wiring, plan, task)?;
        let width = plan.batch().width();
        let lengths = plan.batch().lengths();
        let real: Vec<f32> = lengths
            .iter()
            .flat_map(|length| (0..width).map(move |column| f32::from(u8::from(column < *length))))
            .collect();
        let weights =
            Tensor::from_vec(real.clone(), (1, lengths.len(), width, 1), all.device())?.to_dtype(all.dtype())?;
        let sum = all.broadcast_mul(&weights)?.sum(1)?;
        self.counts.resize(self.counts.len().max(width), 0.0);
        for (count, column) in self.counts.iter_mut().zip(0..width) {
            *count += real.iter().skip(column).step_by(width).sum::<f32>();
        }
        self.sums = Some(match self.sums.take() {
            None => sum,
            Some(known) => {
                let long =
                    |x: &Tensor| -> Result<Tensor> { Ok(x.pad_with_zeros(1, 0, self.counts.len() - x.dim(1)?)?) };
                (long(&known)? + long(&sum)?)?
            }
        });
        Ok(())
    }

    /// Returns the mean of each sender.
    pub fn finish(self) -> Result<Vec<Tensor>> {
        let Some(sums) = self.sums else { return Err(err!(Bug, "a mean over no texts")) };
        let counts = Tensor::from_vec(self.counts.clone(), (1, self.counts.len(), 1), sums.device())?;
        let means = sums.broadcast_div(&counts.to_dtype(sums.dtype())?)?;
        (0..means.dim(0)?).map(|sender| Ok(means.narrow(0, sender, 1)?)).collect()
    }
}
