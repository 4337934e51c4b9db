//! Path patching: the change of a metric of pairs when one part of the model receives from another part what that would
//! write in the pair's other prompt, and from everything else what it writes in its own (Wang et al. 2022;
//! Goldowsky-Dill et al. 2023).
//!
//! For a sender and a receiver: in a first pass the sender writes what it writes in the other prompt, all attention
//! after it, and every MLP unless they are recomputed, writes what it would without the patch, and the input of the
//! receiver is noted. In a second pass the receiver gets that input, nothing is frozen, and the metric is read. The
//! logits as a receiver read the residual stream at the end of the first pass.

mod hooks;
#[cfg(test)]
mod tests;

use std::fmt;

use super::grid::effects::{MeanEffect, PatchEffects};
use super::grid::exact::RunPair;
use super::grid::groups::PairGroup;
use super::grid::{Alignment, PatchDirection, quantity};
use super::metric::Measure;
use crate::base::Grid;
use crate::base::counts::count;
use crate::base::results::MISSING;
use crate::model::config::Order;
use crate::model::site::select;
use crate::sae::prelude::*;
use hooks::{FrozenPass, ReceiverPass};

crate::choices! {
    /// Outputs of the MLPs between a sender and a receiver.
    pub enum PathMlps {
        /// The outputs without the patch.
        Frozen = "frozen",
        /// The outputs that follow from the patch, as in Wang et al. 2022.
        Recomputed = "recomputed",
    }
}

crate::options! {
    /// Paths that are patched, and how.
    pub struct PathOptions {
        /// The senders: a head (`z.2.1`), the attention or the MLP of a layer (`attn_out.2`, `mlp_out.2`), or `embed`.
        senders: Option<Vec<String>> = None => usually("all heads and MLPs");
        /// The receivers: the queries, keys or values of a head (`q.3.1`), the input of attention or of an MLP
        /// (`attn_in.3`, `mlp_in.3`), or the `logits`; an array of several within the array is patched as one.
        receivers: Vec<Vec<String>> = vec![vec!["logits".into()]];
        /// Whether MLPs between the two are frozen as well, or only attention.
        mlps: PathMlps = PathMlps::Frozen;
        /// Whether senders write into the corrupt run what they do in the clean one, or the other way round.
        direction: PatchDirection = PatchDirection::Denoise;
        /// The alignment of positions where the prompts of a pair differ in length.
        align: Alignment = Alignment::None;
    }
}

/// A sender and a receiver by their numbers, with their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Path {
    sender: usize,
    receiver: usize,
    name: String,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the path {}", self.name)
    }
}

/// Sites that are patched as one.
struct Receiver {
    name: String,
    places: Vec<Place>,
}

/// Computes the mean over pairs of the change of the metric by patching each path. A cell is empty where there is no
/// path.
pub fn paths(
    model: &Model,
    pairs: &[TokenPair],
    measure: Measure,
    normalised: bool,
    options: &PathOptions,
    task: &Task,
) -> Result<Grid> {
    if pairs.is_empty() {
        return Err(err!(Argument, "expected at least one pair, found none").about("pairs"));
    }
    let config = model.decoder.config();
    config.expect_next_token("path patching")?;
    if config.rwkv.is_some() {
        let what = "expected a stream that is all that passes from layer to layer, found values of the first layer that all \
                    others read";
        return Err(err!(Argument, "{what}")
            .hint("`intervene::grid` patches time mixing and MLPs of such models")
            .about("m"));
    }
    if config.stream_norm {
        let what =
            "expected a stream that is the sum of what attention and MLPs write, found norms of the residual stream";
        return Err(err!(Argument, "{what}")
            .hint("`intervene::grid` patches heads and MLPs of such models")
            .about("m"));
    }
    let senders = senders(config, options)?;
    let receivers = receivers(config, options)?;
    let groups = PairGroup::of(model, pairs, measure, options.direction, options.align, 4)?;
    let mut effects = PatchEffects::new(pairs.len());
    let bar = task.begin("patching paths", Some((groups.len() * senders.len()) as u64));
    for group in &groups {
        let own = written(config).chain([last_stream(config)]).map(|site| Place { site, head: None });
        let mut own: Vec<Place> = own.collect();
        let mut sites: Vec<Place> = senders.iter().map(|place| Place { head: None, ..*place }).collect();
        sites.dedup();
        own.extend(sites.iter().filter(|place| place.site.kind == SiteKind::Embed));
        let runs = RunPair::new(model, group, measure, &own, &sites, task)?;
        let all = GroupPaths { config, runs: &runs, senders: &senders, receivers: &receivers, mlps: options.mlps };
        let numbers: Vec<usize> = (0..senders.len()).collect();
        // Senders of one site begin to matter at the same place, and lie before the same receivers.
        for alike in numbers.chunk_by(|a, b| senders[*a].site == senders[*b].site) {
            for some in alike.chunks(runs.changing(0).at_once()) {
                task.check()?;
                all.patched(some, &mut effects, task)?;
                bar.advance(some.len() as u64);
            }
        }
        effects.unpatched(group, &runs.both());
    }
    let means = effects.means(options.direction, normalised)?;
    Ok(labelled(&means, &senders, &receivers, pairs.len(), options, quantity("change", measure, normalised)))
}

/// Returns the output sites of attention and MLPs, and those of the inputs of layers.
fn written(config: &Config) -> impl Iterator<Item = Site> {
    let kinds: Vec<SiteKind> = [SiteKind::AttnOut, SiteKind::MlpOut, SiteKind::LayerOut]
        .into_iter()
        .filter(|kind| kind.exists(config))
        .collect();
    (0..config.layers).flat_map(move |layer| kinds.clone().into_iter().map(move |kind| Site::new(kind, layer)))
}

/// Returns the site of the residual stream that is unembedded.
fn last_stream(config: &Config) -> Site {
    Site::new(SiteKind::ResidPost, config.layers.saturating_sub(1))
}

fn senders(config: &Config, options: &PathOptions) -> Result<Vec<Place>> {
    let usual = || {
        let mlps = config.has_mlp().then(|| "mlp_out.*".to_string());
        let of_inputs = config.layer_inputs.map(|_| "layer_out.*".to_string());
        let heads = config.has_attention().then(|| "z.*.*".to_string());
        // A recurrent layer has no heads of attention, and sends as a whole.
        let whole = (0..config.layers).filter(|layer| !config.attends(*layer));
        heads.into_iter().chain(whole.map(|layer| format!("attn_out.{layer}"))).chain(mlps).chain(of_inputs).collect()
    };
    let names = options.senders.clone().unwrap_or_else(usual);
    let found = names.iter().map(|name| select(config, name)).collect::<Result<Vec<_>>>();
    let mut found = found.map_err(|e| e.about("senders"))?.concat();
    found.sort();
    found.dedup();
    let is_sender = |place: &&Place| {
        use SiteKind::{AttnOut, Embed, LayerOut, MlpOut, Z};
        !matches!(place.site.kind, Embed | Z | AttnOut | MlpOut | LayerOut)
    };
    match found.iter().find(is_sender) {
        None if found.is_empty() => Err(err!(Argument, "expected at least one sender, found none").about("senders")),
        None => Ok(found),
        Some(place) => Err(err!(Argument, "expected senders that write into the stream, found `{place}`")
            .hint("a head is `z.2.1`; there are `attn_out.2`, `mlp_out.2` and `embed`")
            .about("senders")),
    }
}

fn receivers(config: &Config, options: &PathOptions) -> Result<Vec<Receiver>> {
    let is_receiver = |place: &Place| {
        use SiteKind::{AttnIn, K, Logits, MlpIn, Q, V};
        matches!(place.site.kind, Q | K | V | AttnIn | MlpIn | Logits)
    };
    let mut all = Vec::new();
    for names in &options.receivers {
        let found = names.iter().map(|name| select(config, name)).collect::<Result<Vec<_>>>();
        let places = found.map_err(|e| e.about("receivers"))?.concat();
        if let Some(place) = places.iter().find(|place| !is_receiver(place)) {
            return Err(err!(Argument, "expected receivers that read the stream, found `{place}`")
                .hint("of a head there are `q.3.1`, `k.3.1` and `v.3.1`; and `attn_in.3`, `mlp_in.3` and `logits`")
                .about("receivers"));
        }
        match names.as_slice() {
            [_] => {
                all.extend(places.into_iter().map(|place| Receiver { name: place.to_string(), places: vec![place] }))
            }
            _ => all.push(Receiver { name: names.join(" + "), places }),
        }
    }
    if all.iter().any(|receiver| receiver.places.is_empty()) || all.is_empty() {
        Err(err!(Argument, "expected at least one receiver, found none").about("receivers"))
    } else {
        Ok(all)
    }
}

/// Returns whether what a sender writes reaches the input of a receiver.
fn reaches(config: &Config, sender: Site, receiver: Site) -> bool {
    let is_before = sender.layer < receiver.layer;
    match (sender.kind, receiver.kind) {
        (SiteKind::Embed, _) | (_, SiteKind::Logits) => true,
        (SiteKind::Z | SiteKind::AttnOut, SiteKind::MlpIn) if sender.layer == receiver.layer => {
            config.order == Order::Serial
        }
        _ => is_before,
    }
}

/// The paths of one group of pairs.
struct GroupPaths<'a> {
    config: &'a Config,
    runs: &'a RunPair<'a>,
    senders: &'a [Place],
    receivers: &'a [Receiver],
    mlps: PathMlps,
}

impl GroupPaths<'_> {
    /// Adds the effects of the paths from some senders of one site.
    fn patched(&self, numbers: &[usize], effects: &mut PatchEffects<Path>, task: &Task) -> Result<()> {
        let senders: Vec<Place> = numbers.iter().map(|number| self.senders[*number]).collect();
        let Some(site) = senders.first().map(|place| place.site) else { return Ok(()) };
        let place = Place { site, head: None };
        let other = self.runs.other(place)?;
        let own = written(self.config).chain((site.kind == SiteKind::Embed).then_some(site));
        let own = own.map(|site| Ok((site, self.runs.own(Place { site, head: None })?)));
        let wanted = self.receivers.iter().flat_map(|receiver| &receiver.places).map(|place| self.read_at(*place));
        let mut frozen = FrozenPass {
            senders: &senders,
            other: &other,
            own: own.collect::<Result<BTreeMap<_, _>>>()?,
            are_mlps_held: self.mlps == PathMlps::Frozen,
            wanted: wanted.collect(),
            found: BTreeMap::new(),
        };
        let count = senders.len();
        let direct = self.runs.changing(site.layer).values(count, self.runs.later(), &mut frozen, task)?;
        let found = frozen.found;
        for (receiver, Receiver { name, places }) in self.receivers.iter().enumerate() {
            task.check()?;
            let reached = places.iter().copied().filter(|place| reaches(self.config, site, place.site));
            let reached: Vec<Place> = reached.collect();
            let values = match reached.as_slice() {
                [] => continue,
                [place] if place.site.kind == SiteKind::Logits => direct.clone(),
                _ => self.received(&reached, count, &found, task)?,
            };
            for (number, values) in numbers.iter().zip(values) {
                let name = format!("from `{}` to `{name}`", self.senders[*number]);
                let path = Path { sender: *number, receiver, name };
                effects.add(self.runs.group, path, self.runs.effects(&values))?;
            }
        }
        Ok(())
    }

    /// Returns the site of the input of a receiver.
    fn read_at(&self, place: Place) -> Site {
        match place.site.kind {
            SiteKind::Logits => last_stream(self.config),
            _ => place.site,
        }
    }

    /// Returns the metric of every pair, for each sender, where receivers get the inputs that were found.
    fn received(
        &self,
        places: &[Place],
        count: usize,
        found: &BTreeMap<Site, crate::tensor::Tensor>,
        task: &Task,
    ) -> Result<Vec<Vec<f64>>> {
        let inputs: Vec<Place> = places.iter().map(|place| Place { site: self.read_at(*place), ..*place }).collect();
        let layer = inputs.iter().map(|place| place.site.layer).min().unwrap_or(0);
        let last = last_stream(self.config);
        let mut hooks =
            ReceiverPass { places: &inputs, found, last: (last, self.runs.own(Place { site: last, head: None })?) };
        self.runs.changing(layer).values(count, self.runs.later(), &mut hooks, task)
    }
}

fn labelled(
    means: &BTreeMap<Path, MeanEffect>,
    senders: &[Place],
    receivers: &[Receiver],
    pairs: usize,
    options: &PathOptions,
    quantity: String,
) -> Grid {
    let mut values = vec![MISSING; senders.len() * receivers.len()];
    let mut intervals = vec![[MISSING; 2]; values.len()];
    for (path, MeanEffect { mean, interval }) in means {
        let at = path.sender * receivers.len() + path.receiver;
        (values[at], intervals[at]) = (*mean, *interval);
    }
    let (run, from) = options.direction.prompts();
    let mlps = if options.mlps == PathMlps::Recomputed { ", MLPs recomputed" } else { "" };
    Grid {
        title: format!("paths, {} into {} prompts{mlps}, {}", from.word(), run.word(), count(pairs, "pair")),
        row_axis: "sender".into(),
        column_axis: "receiver".into(),
        rows: senders.iter().map(Place::to_string).collect(),
        columns: receivers.iter().map(|receiver| receiver.name.clone()).collect(),
        quantity,
        values,
        intervals,
    }
}
