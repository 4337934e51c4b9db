//! Activation patching: the change of a metric of pairs when a part of the activations is replaced by that of the
//! pair's other prompt, for every part of a grid (Vig et al. 2020; Meng et al. 2022; Wang et al. 2022).
//!
//! `exact` runs the model from each change on, `gradient` estimates all changes from derivatives; `features` are those
//! of a dictionary.

pub(super) mod effects;
pub(super) mod exact;
mod features;
mod gradient;
pub(super) mod groups;
mod labels;
mod parts;
mod patterns;
mod replace;

#[cfg(test)]
mod tests;

use crate::base::Grid;
use crate::intervene::metric::Measure;
use crate::model::gradient_rules::GradientOptions;
use crate::model::site::places;
use crate::options::OptionGroup;
use crate::sae::prelude::*;
use effects::PatchEffects;
use exact::RunPair;
use labels::GridLabels;
use parts::parts_of;

pub use gradient::dropping;
pub use groups::{Alignment, PairGroup, PatchDirection};

crate::choices! {
    /// Parts that are patched at once, the columns of a grid.
    pub enum GridBy {
        /// All positions of a site; a column for each layer.
        Layer = "layer",
        /// A position of a site.
        Position = "position",
        /// A head of a site at all positions.
        Head = "head",
        /// A coordinate of a site at all positions.
        Neuron = "neuron",
        /// A feature of a dictionary at all positions.
        Feature = "feature",
    }
}

crate::choices! {
    /// Methods to compute the effect of a patch.
    pub enum GridMethod {
        /// A run of the model from every patch on.
        Exact = "exact",
        /// (patch - activation) . gradient: its first order (Nanda 2023).
        Attribution = "attribution",
        /// Attribution with the gradient averaged along the straight way to the patch (Sundararajan et al. 2017).
        Integrated = "integrated",
        /// Attribution with softmaxes recomputed and gradients dropped layer by layer (Kramar et al. 2024).
        AtpStar = "atp*",
    }
}

crate::choices! {
    /// Substitutes for another prompt's activations in an ablation.
    pub enum GridAblation {
        /// Zero, of a feature in place of its code.
        Zero = "zero",
        /// The mean over all positions of the clean prompts.
        Mean = "mean",
    }
}

crate::options! {
    /// Parts that are patched, and how.
    pub struct GridOptions {
        /// The sites that are patched, of all layers where a name has none.
        sites: Option<Vec<String>> = None => usually("\"resid_pre\"; by head \"z\", by neuron \"mlp_hidden\", by feature those of the dictionaries");
        /// The part that is patched at once: a position, a head, a neuron or a feature of a site, or all of a layer's.
        by: GridBy = GridBy::Position;
        /// The method of the effect: a run of the model from each patch on; or all at once by "attribution",
        /// "integrated" gradients or "atp*", which are estimates; the last one of sizes.
        method: GridMethod = GridMethod::Exact;
        /// Whether clean activations are patched into the corrupt run, or corrupt ones into the clean run.
        direction: PatchDirection = PatchDirection::Denoise;
        /// Substitute for another prompt's activations in the runs of the clean prompts, an ablation: 0, or the mean of the
        /// site over all positions of these prompts. No other prompts are needed then.
        ablate: Option<GridAblation> = None => usually("none");
        /// The alignment of positions where the prompts of a pair differ in length: the last ones and so on towards the
        /// beginning, or those of the "tokens" that both have in the same order. A position without another keeps its
        /// activation.
        align: Alignment = Alignment::None;
        /// The number of points on the way, in "integrated".
        steps: usize = 10 => at_least(1.0);
        with rules: GradientOptions => only("method", &["attribution", "atp*"]);
    }
}

impl GridOptions {
    /// Returns the sites that are patched, in the order of the computation.
    fn places(&self, config: &Config) -> Result<Vec<Place>> {
        let usual = match self.by {
            GridBy::Layer | GridBy::Position => "resid_pre",
            GridBy::Head => "z",
            GridBy::Neuron => "mlp_hidden",
            GridBy::Feature => return Ok(Vec::new()),
        };
        let names = self.sites.clone().unwrap_or_else(|| vec![usual.into()]);
        let in_all_layers = |name: String| {
            let is_bare = SiteKind::all().any(|kind| kind.in_blocks() && kind.name() == name);
            if is_bare { [&name, ".*"].concat() } else { name }
        };
        let mut found = places(config, &names.into_iter().map(in_all_layers).collect::<Vec<_>>())?;
        found.sort();
        found.dedup();
        match found.iter().find(|place| !place.site.kind.in_blocks()) {
            None if found.is_empty() => Err(err!(Argument, "expected at least one site, found none").about("sites")),
            None => Ok(found),
            Some(place) => Err(err!(Argument, "expected sites within the model's blocks, found `{place}`")
                .hint("`resid_pre.0` is what the embeddings are, and the last `resid_post` is what is read out")
                .about("sites")),
        }
    }
}

/// Computes the mean over pairs of the change of the metric by a patch, for every part of the grid. `saes` are the
/// dictionaries of a grid by feature.
pub fn grid(
    model: &Model,
    pairs: &[TokenPair],
    measure: Measure,
    normalised: bool,
    saes: &[Sae],
    options: &GridOptions,
    task: &Task,
) -> Result<Grid> {
    check(pairs, measure, saes, options)?;
    let config = model.decoder.config();
    let places = options.places(config)?;
    let saes = if options.by == GridBy::Feature { features::placed(model, saes, options)? } else { Vec::new() };
    // What is ablated stands beside itself.
    let alone = |pair: &TokenPair| TokenPair { corrupt: pair.clean.clone(), ..pair.clone() };
    let own: Option<Vec<TokenPair>> = options.ablate.map(|_| pairs.iter().map(alone).collect());
    let pairs = own.as_deref().unwrap_or(pairs);
    let direction = if options.ablate.is_some() { PatchDirection::Noise } else { options.direction };
    // AtP* holds the gradients of a pass for each layer.
    let share = if options.method == GridMethod::AtpStar { 4 * config.layers.max(1) } else { 4 };
    let groups = PairGroup::of(model, pairs, measure, direction, options.align, share)?;
    let longest = groups.iter().map(PairGroup::length).max().unwrap_or(0);
    let ruled = model.by_rules(options.rules.gradients)?;
    let means = match options.ablate {
        Some(GridAblation::Mean) => Some(means_of(model, &groups, &places, task)?),
        _ => None,
    };
    let mut effects = PatchEffects::new(pairs.len());
    let bar = task.begin("patching", Some(pairs.len() as u64));
    for group in &groups {
        let parts = parts_of(config, &places, options.by, group.length())?;
        let mut found = PatchEffects::new(pairs.len());
        let both = if options.method == GridMethod::Exact {
            let of_saes: Vec<Place> = saes.iter().map(|known| known.place).collect();
            let changed = if saes.is_empty() { exact::sites(&parts) } else { of_saes.clone() };
            let runs = match options.ablate {
                None => RunPair::new(model, group, measure, &of_saes, &changed, task)?,
                Some(_) => RunPair::ablated(model, group, measure, &changed, means.as_ref(), task)?,
            };
            features::effects(&runs, &saes, &mut found, task)?;
            exact::effects(&runs, &parts, &mut found, task)?;
            runs.both()
        } else {
            let patched = gradient::PatchedParts { parts: &parts, saes: &saes };
            gradient::effects(&ruled, group, measure, options, patched, &mut found, task)?
        };
        // Positions that are counted from the end meet at the end.
        let later = if options.align == Alignment::End { longest - group.length() } else { 0 };
        effects.join(found, |part| part.later(later));
        effects.unpatched(group, &both);
        bar.advance(group.pairs.len() as u64);
    }
    let means = effects.means(direction, normalised)?;
    let sizes = if options.method == GridMethod::AtpStar { "size of the change" } else { "change" };
    Ok(GridLabels { model, pairs, options }.grid(&means, quantity(sizes, measure, normalised)))
}

/// Computes the mean of some sites over all positions of the prompts that are run.
fn means_of(model: &Model, groups: &[PairGroup], places: &[Place], task: &Task) -> Result<BTreeMap<Place, Tensor>> {
    let mut sites: Vec<Place> = places.iter().map(|place| Place { head: None, ..*place }).collect();
    sites.dedup();
    let tokens: usize = groups.iter().map(|group| group.pairs.len() * group.length()).sum();
    let mut means: BTreeMap<Place, Tensor> = BTreeMap::new();
    for group in groups {
        let batch = Batch::new(group.pairs.iter().map(|pair| pair.clean.clone()).collect())?;
        let cache = model.decoder.cache(&batch, Ask { places: sites.clone(), ..Ask::default() }, task)?;
        let share = (group.pairs.len() * group.length()) as f64 / tokens as f64;
        for site in &sites {
            let part = (cache.mean(*site, false).map_err(|e| e.about("ablate"))? * share)?;
            let sum = match means.get(site) {
                Some(sum) => (sum + part)?,
                None => part,
            };
            means.insert(*site, sum);
        }
    }
    Ok(means)
}

/// Returns the name of the quantity that the numbers of a grid are.
pub fn quantity(change: &str, measure: Measure, normalised: bool) -> String {
    let share = if normalised { ", share of clean - corrupt" } else { "" };
    format!("{change} of {}{share}", measure.quantity())
}

/// Refuses measures, dictionaries and options that do not go together.
fn check(pairs: &[TokenPair], measure: Measure, saes: &[Sae], options: &GridOptions) -> Result<()> {
    if pairs.is_empty() {
        return Err(err!(Argument, "expected at least one pair, found none").about("pairs"));
    }
    if options.method != GridMethod::Exact && !measure.has_gradient() {
        return Err(err!(Argument, "`{}` has no gradient, which `{}` needs", measure.name(), options.method.word())
            .hint("method: \"exact\" needs none")
            .about("method"));
    }
    options.refuse_others()?;
    if options.ablate.is_some() && options.method != GridMethod::Exact {
        return Err(err!(Argument, "expected the exact method for an ablation, found {:?}", options.method.word())
            .about("method"));
    }
    if options.ablate == Some(GridAblation::Mean) && options.by == GridBy::Feature {
        return Err(err!(Argument, "expected \"zero\" for features, found \"mean\"").about("ablate"));
    }
    if options.by != GridBy::Feature && !saes.is_empty() {
        return Err(err!(Argument, "expected by: \"feature\" beside dictionaries, found {:?}", options.by.word())
            .about("dictionaries"));
    }
    Ok(())
}
