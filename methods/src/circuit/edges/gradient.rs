//! Estimated effects of cutting edges: (other_u - own_u) . dm / dx_r, for all senders u and receivers r at once (Syed et al.
//! 2023; Hanna et al. 2024, EAP-IG).
//!
//! A backward pass gives the gradients at queries, keys and values, at the inputs of MLPs and at the final residual
//! stream. From there to the residual stream that each receiver reads by itself it is one linear map and one norm; then
//! all edges of a layer are one product of gradients and differences. What a norm behind attention makes of a difference
//! is taken to first order, near the run in which the gradients are.

use super::atp_star::HeadPasses;
use super::runs::{means, others};
use super::slopes::{EdgeGradients, RunGradients, wide};
use super::texts::{CutValues, all_written, first_order, output_site, outputs, stream_of, written};
use super::wiring::{Receiver, Wiring};
use super::{EdgeMethod, EdgeOptions, SHARE, Scores, completed, groups};
use crate::base::bootstrap::intervals;
use crate::circuit::Port;
use crate::intervene::grid::PairGroup;
use crate::intervene::metric::{Measure, MetricPlan};
use crate::sae::prelude::*;

/// Scores all edges; an interrupted search has scores over the groups of pairs that were read.
pub fn scores(
    model: &Model,
    pairs: &[TokenPair],
    measure: Measure,
    options: &EdgeOptions,
    task: &Task,
) -> Result<Scores> {
    let wiring = Wiring::new(model.decoder.config())?;
    let decoder = model.decoder.by_rules(options.rules.gradients)?.ungrouped()?;
    // AtP* holds the gradients of a pass for each layer.
    let passes = if options.method == EdgeMethod::AtpStar { wiring.layers.max(1) } else { 1 };
    // Where the scores of each pair are asked for, each is a group by itself.
    let together = if options.sure { 1 } else { pairs.len() };
    let groups = pairs.chunks(together).enumerate().map(|(chunk, pairs)| {
        let mut groups = groups(model, pairs, measure, passes * SHARE)?;
        groups.iter_mut().flat_map(|group| &mut group.numbers).for_each(|number| *number += chunk * together);
        Ok(groups)
    });
    let groups: Vec<PairGroup> = groups.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let means = means(&decoder, &wiring, &groups, measure, options.ablation, task)?;
    let others = others(options.ablation, &means);
    let mut sums = vec![0.0; wiring.edges()];
    let mut alone = Vec::new();
    let mut read = 0;
    let bar = task.begin("scoring edges", Some(pairs.len() as u64));
    let piece = task.piece();
    let mut made = 0;
    let done = groups.iter().try_for_each(|group| {
        piece.check(made)?;
        let is_star = options.method == EdgeMethod::AtpStar;
        let slopes = EdgeGradients { decoder: &decoder, wiring: &wiring, measure, group, is_star, dropped: None, task };
        let mut own = vec![0.0; wiring.edges()];
        slopes.add(&others, options, &mut own)?;
        sums.iter_mut().zip(&own).for_each(|(sum, own)| *sum += own);
        if options.sure {
            alone.push(own);
        }
        read += group.pairs.len();
        bar.advance(group.pairs.len() as u64);
        made += 1;
        Ok(())
    });
    let is_whole = completed(done, &piece, made)?;
    if options.sure {
        let unsure = unsure(&alone)?;
        sums.iter_mut().zip(unsure).filter(|(_, is_unsure)| *is_unsure).for_each(|(sum, _)| *sum = 0.0);
    }
    let scores = sums.iter().map(|sum| (read > 0).then(|| sum / read as f64)).collect();
    Ok(Scores { scores, is_whole })
}

/// The seed of the bootstrap.
const SEED: u64 = 0;

/// Returns whether the interval of each score over pairs contains 0, from the scores of each pair (Nikankin et al. 2025).
///
/// Their code takes the spread of ten bootstrap means for that of observations and divides it by the root of ten; this
/// is the percentile interval.
fn unsure(alone: &[Vec<f64>]) -> Result<Vec<bool>> {
    if alone.len() < 2 {
        return Err(err!(Argument, "expected at least two pairs for an interval, found {}", alone.len()).about("pairs"));
    }
    let edges = alone.first().map_or(0, Vec::len);
    let found = intervals(alone.len(), SEED, edges, |drawn| {
        let mut means = vec![0.0; edges];
        for pair in drawn {
            means.iter_mut().zip(&alone[*pair]).for_each(|(mean, score)| *mean += score / drawn.len() as f64);
        }
        means
    });
    Ok(found.into_iter().map(|ends| ends.is_none_or(|[low, high]| low <= 0.0 && high >= 0.0)).collect())
}

impl EdgeGradients<'_> {
    /// Adds the sums over the pairs of this group.
    fn add(&self, others: &CutValues, options: &EdgeOptions, sums: &mut [f64]) -> Result<()> {
        let plan = self.plan(Prompt::Clean)?;
        let clean = self.slope(&plan, BTreeMap::new(), &written(self.wiring))?;
        let own = all_written(self.decoder, self.wiring, &|place| clean.noted(place))?;
        let other = match others {
            CutValues::Corrupt => outputs(self.decoder, self.wiring, &self.plan(Prompt::Corrupt)?, self.task)?.0,
            CutValues::Zero => own.zeros_like()?,
            CutValues::Means(means) => {
                let columns = |mean: &Tensor| Ok(mean.narrow(1, 0, own.dim(2)?)?.unsqueeze(0)?);
                Tensor::cat(&means.iter().map(columns).collect::<Result<Vec<_>>>()?, 0)?
                    .broadcast_as(own.shape())?
                    .contiguous()?
            }
        };
        let shifts = (other - &own)?;
        let all = |weight, run: &RunGradients, sums: &mut [f64]| {
            let shifts = first_order(self.decoder, self.wiring, &shifts, &self.head_sums(run)?)?;
            let from = Differences { shifts: &shifts, senders: 0..self.wiring.senders.len(), weight };
            self.contract(&from, run, sums)
        };
        match options.method {
            EdgeMethod::Eap => all(1.0, &clean, sums),
            EdgeMethod::CleanCorrupted => {
                all(0.5, &clean, sums)?;
                let corrupt = self.slope(&self.plan(Prompt::Corrupt)?, BTreeMap::new(), &[])?;
                all(0.5, &corrupt, sums)
            }
            EdgeMethod::EapIg => {
                // From the other end on; the clean end is left out, as in the authors' code.
                for step in 0..options.steps {
                    let share = 1.0 - step as f64 / options.steps as f64;
                    let embed = (own.get(0)? + (shifts.get(0)? * share)?)?;
                    let instead = BTreeMap::from([(Site::new(SiteKind::Embed, 0), embed)]);
                    all(1.0 / options.steps as f64, &self.slope(&plan, instead, &[])?, sums)?;
                }
                Ok(())
            }
            EdgeMethod::EapIgActivations => self.by_layers(&plan, &shifts, &clean, options.steps, sums),
            EdgeMethod::AtpStar => HeadPasses::new(self, &plan, &shifts, &clean)?.add(sums),
            EdgeMethod::Exact => Err(err!(Bug, "exact effects from gradients")),
        }
    }

    /// Adds the scores of runs in which what all heads of a layer, an MLP or the embedding write is moved to the other
    /// run, one at a time: the edges from these take the mean gradient of these runs. (The authors' code divides by the
    /// number of all runs, which changes the scale only.)
    fn by_layers(
        &self,
        plan: &MetricPlan,
        shifts: &Tensor,
        clean: &RunGradients,
        steps: usize,
        sums: &mut [f64],
    ) -> Result<()> {
        let mut moved: BTreeMap<Site, Vec<usize>> = BTreeMap::new();
        for (number, sender) in self.wiring.senders.iter().enumerate() {
            moved.entry(output_site(*sender)).or_default().push(number);
        }
        let head_sums = self.head_sums(clean)?;
        for (site, senders) in &moved {
            let own = clean.noted(Place { site: *site, head: None })?;
            let (Some(first), count) = (senders.first(), senders.len()) else { continue };
            let shift = shifts.narrow(0, *first, count)?.sum(0)?;
            let normed = head_sums.get(site.layer).filter(|_| site.kind == SiteKind::AttnOut);
            for step in 1..=steps {
                let share = 1.0 - step as f64 / steps as f64;
                let moved = |from: &Tensor| -> Result<Tensor> { Ok((from + (&shift * share)?)?) };
                let mut shifts = shifts.clone();
                let instead = match normed {
                    None => moved(&own)?,
                    Some(sum) => {
                        let mut sums = head_sums.clone();
                        sums[site.layer] = moved(sum)?;
                        shifts = first_order(self.decoder, self.wiring, &shifts, &sums)?;
                        self.decoder.behind_heads(site.layer, &sums[site.layer])?
                    }
                };
                let slope = self.slope(plan, BTreeMap::from([(*site, instead)]), &[])?;
                let from = Differences { shifts: &shifts, senders: *first..first + count, weight: 1.0 / steps as f64 };
                self.contract(&from, &slope, sums)?;
            }
        }
        Ok(())
    }

    /// Adds difference . gradient for all edges from some senders.
    fn contract(&self, from: &Differences, slope: &RunGradients, sums: &mut [f64]) -> Result<()> {
        let wiring = self.wiring;
        for layer in 0..wiring.layers {
            self.task.check()?;
            let Some(first) = wiring.receiver(Receiver::Port { layer, head: 0, port: Port::Q }) else { continue };
            let [q, k, v] = Port::ALL.map(|port| {
                let at = self.read_at(Receiver::Port { layer, head: 0, port });
                self.decoder.port_gradients(at.site.kind, layer, &slope.gradients.at(at)?)
            });
            self.into(first, Site::new(SiteKind::AttnIn, layer), &Tensor::cat(&[q?, k?, v?], 0)?, from, slope, sums)?;
            if let Some(receiver) = wiring.receiver(Receiver::Mlp { layer }) {
                let gradient = slope.gradients.at(self.read_at(Receiver::Mlp { layer }))?.unsqueeze(0)?;
                self.into(receiver, Site::new(SiteKind::MlpIn, layer), &gradient, from, slope, sums)?;
            }
        }
        let last = slope.gradients.at(self.read_at(Receiver::Logits))?.unsqueeze(0)?;
        // This gradient is that of the residual stream already.
        self.product(wiring.receivers.len() - 1, &last, from, sums)
    }

    /// Adds the scores of the edges into some consecutive receivers, from gradients at what they read, `[receivers,
    /// texts, pos, ..]`.
    fn into(
        &self,
        first: usize,
        reader: Site,
        read: &Tensor,
        from: &Differences,
        slope: &RunGradients,
        sums: &mut [f64],
    ) -> Result<()> {
        let stream = stream_of(self.wiring, self.wiring.receivers[first]);
        let x = slope.notes.get(&stream.site).ok_or_else(|| err!(Bug, "`{stream}` was not passed"))?;
        self.product(first, &self.decoder.input_gradients(reader.kind, reader.layer, x, read)?, from, sums)
    }

    fn product(&self, first: usize, gradients: &Tensor, from: &Differences, sums: &mut [f64]) -> Result<()> {
        let senders = from.senders.start..from.senders.end.min(self.wiring.before(first).end);
        if senders.is_empty() {
            return Ok(());
        }
        let count = gradients.dim(0)?;
        let reaching = wide(&from.shifts.narrow(0, senders.start, senders.len())?)?.reshape((senders.len(), ()))?;
        let found = wide(gradients)?.reshape((count, ()))?.matmul(&reaching.t()?)?;
        let edges = (first..first + count).flat_map(|receiver| senders.clone().map(move |sender| (sender, receiver)));
        for ((sender, receiver), value) in edges.zip(floats(&found.flatten_all()?)?) {
            sums[self.wiring.edge(sender, receiver)] += from.weight * value;
        }
        Ok(())
    }
}

/// Changes of a receiver's input when edges from each of some senders are cut: `[senders, texts, pos, d_model]`.
struct Differences<'a> {
    shifts: &'a Tensor,
    senders: std::ops::Range<usize>,
    weight: f64,
}
