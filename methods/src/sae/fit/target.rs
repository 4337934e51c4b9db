//! Targets of fits: a dictionary of each site, a transcoder, a crosscoder, or a cross-layer transcoder; their sites,
//! and their options beside those of all fits.

use std::sync::Arc;

use super::kinds::{self, KindName};
use super::plan::{Dead, FitOptions, FitPlan, Recipe, TargetName};
use super::sites::texts;
use crate::common::*;
use crate::data::harvest::{TextReading, width};
use crate::data::pack;
use crate::data::store::Store;
use crate::model::config::Config;
use crate::model::site::select;
use crate::options::{Plain, Setting};
use crate::sae::transcoders::Reads;
use crate::sae::{About, ReadSite, SitePair, check_writes_behind, one_place};

crate::options! {
    /// The options that only transcoders have.
    pub struct TranscoderOptions {
        /// Whether there is a linear skip connection.
        skip: bool = false;
    }

    /// Options whose defaults are others for crosscoders.
    pub struct CrosscoderOptions {
        /// "crosscoder": an L1 penalty on codes, each times the sum of the norms of its directions; or a kind of
        /// `sae::fit`, with its own options.
        kind: KindName = KindName(kinds::crosscoder::NAME);
        /// Number of features over number of dimensions of one site.
        ratio: f64 = 8.0 => above(0.0);
    }
}

/// Kinds of cross-layer transcoders: those whose features are linear in their input where they are active.
const KINDS_OF_LAYERS: [&str; 4] = ["batch_topk", "topk", "relu", "jumprelu"];

crate::choices! {
    /// Input of the features of a cross-layer transcoder in each layer.
    pub enum CrossLayerReads {
        /// The input of the MLP, after its norm.
        MlpIn = "mlp_in",
        /// The residual stream between attention and MLP.
        ResidMid = "resid_mid",
    }
}

crate::options! {
    /// Options that only cross-layer transcoders have, and those whose defaults are others for them.
    pub struct CrossLayerOptions {
        /// "batch_topk", "topk", "relu" or "jumprelu", each with its own options, which are of each layer. The first
        /// has a threshold in the end, as "jumprelu" has, so that other programs load it.
        kind: KindName = KindName("batch_topk");
        /// Input of the features of each layer: that of the MLP, or the residual stream before its norm.
        reads: CrossLayerReads = CrossLayerReads::MlpIn;
    }
}

impl CrossLayerReads {
    pub fn of_set(self) -> Reads {
        match self {
            CrossLayerReads::MlpIn => Reads::MlpIn,
            CrossLayerReads::ResidMid => Reads::ResidMid,
        }
    }

    /// Returns the site that is read and the one that is written in each layer, in the order of the computation.
    fn sites(self, config: &Config) -> Vec<String> {
        let reads = match self {
            CrossLayerReads::MlpIn => SiteKind::MlpIn,
            CrossLayerReads::ResidMid => SiteKind::ResidMid,
        };
        let of_layer = |layer| [reads, SiteKind::MlpOut].map(|kind| Site::new(kind, layer).to_string());
        (0..config.layers).flat_map(of_layer).collect()
    }
}

/// Target of a fit, with its sites.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// A dictionary of each of these sites; a tensor has no site.
    Dictionary(&'a [&'a str]),
    /// A transcoder: a model's activations at one site are read to reconstruct those at a later one (Dunefsky et al.
    /// 2024).
    Transcoder { sites: SitePair<'a>, skip: bool },
    /// A crosscoder: one code for several sites of a model, or for the same sites of several models (Lindsey et al.
    /// 2024).
    Crosscoder(&'a [&'a str]),
    /// A cross-layer transcoder for all MLPs of a model (Ameisen et al. 2025).
    CrossLayer(CrossLayerReads),
}

crate::options! {
    /// Target of a sweep.
    pub struct TargetOptions {
        /// Target of the fits: a dictionary of each site; a transcoder of two sites, the one that it reads and the one
        /// that it writes; a crosscoder of several; or a cross-layer transcoder, whose sites are `mlp_in.*` or
        /// `resid_mid.*`.
        of: TargetName = TargetName::Dictionary;
        /// Sites of a store, where they are several.
        sites: Option<Vec<String>> = None => usually("those that `site` says");
    }
}

impl TargetName {
    /// Returns the kind that is fitted where none is named.
    pub fn usual_kind(self) -> KindName {
        match self {
            TargetName::Dictionary | TargetName::Transcoder => FitOptions::default().kind,
            TargetName::Crosscoder => CrosscoderOptions::default().kind,
            TargetName::CrossLayer => CrossLayerOptions::default().kind,
        }
    }

    /// Returns the target that has these sites; `skip` is an option of a transcoder.
    pub fn of_sites<'a>(self, sites: &'a [&'a str], skip: bool) -> Result<Target<'a>> {
        let refused = |wanted: &str| err!(Argument, "expected {wanted}, found {}", listed(sites)).about("sites");
        match (self, sites) {
            (TargetName::Dictionary, _) => Ok(Target::Dictionary(sites)),
            (TargetName::Crosscoder, _) => Ok(Target::Crosscoder(sites)),
            (TargetName::Transcoder, [reads, writes]) => {
                Ok(Target::Transcoder { sites: SitePair { reads, writes }, skip })
            }
            (TargetName::Transcoder, _) => Err(refused("two sites for a transcoder, what it reads and what it writes")),
            (TargetName::CrossLayer, []) => Ok(Target::CrossLayer(CrossLayerOptions::default().reads)),
            (TargetName::CrossLayer, [one]) => {
                let reads = CrossLayerReads::of(&Plain::Text(one.strip_suffix(".*").unwrap_or(one).into()));
                Ok(Target::CrossLayer(reads.ok_or_else(|| refused("`mlp_in.*` or `resid_mid.*`"))?))
            }
            (TargetName::CrossLayer, _) => Err(refused("`mlp_in.*` or `resid_mid.*`")),
        }
    }
}

impl Target<'_> {
    /// Returns the recipe of a plan for a number of rows of sites of these widths.
    pub fn recipe(self, plan: &FitPlan, rows: usize, widths: &[usize]) -> Result<Recipe> {
        let first = widths.first().copied().unwrap_or_default();
        match self {
            Target::Dictionary(_) => Ok(plan.recipe(rows, first)),
            Target::Transcoder { skip, .. } => {
                let recipe = Recipe { skip, ..plan.for_transcoder().recipe(rows, first) };
                refuse_reconstructing(&recipe, "a kind that writes to another site than it reads")?;
                Ok(recipe)
            }
            Target::Crosscoder(_) => {
                let mean = widths.iter().sum::<usize>() / widths.len().max(1);
                let recipe = plan.for_crosscoder(widths).recipe(rows, mean);
                refuse_reconstructing(&recipe, "a kind of crosscoder, whose sites are scaled")?;
                Ok(recipe)
            }
            Target::CrossLayer(_) => of_layers(plan.recipe(rows, first)),
        }
    }

    /// Returns the sites of a store that the rows of each lot have.
    pub fn of_store(self, store: &Arc<Store>) -> Result<Vec<Vec<String>>> {
        Ok(match self {
            Target::Dictionary(sites) => sites.iter().map(|site| vec![site.to_string()]).collect(),
            Target::Transcoder { sites, .. } => vec![vec![sites.reads.into(), sites.writes.into()]],
            Target::Crosscoder(sites) => {
                several(sites, "at least two sites")?;
                let known = |site: &&str| store.site(site).map(|_| site.to_string());
                vec![sites.iter().map(known).collect::<Result<_>>().map_err(|e| e.about("sites"))?]
            }
            Target::CrossLayer(reads) => {
                let config = serde_json::from_value::<Config>(store.made().model.config.clone());
                let config = config.map_err(|e| err!(Format, "the manifest's config is not valid: {e}"))?;
                vec![reads.sites(&config)]
            }
        })
    }

    /// Returns the sites of each model that are read row by row, and the label that the cache has for all of them.
    pub fn together(self, readings: &[TextReading], task: &Task) -> Result<(Vec<String>, String)> {
        let first = readings.first().ok_or_else(|| err!(Bug, "no model to read"))?;
        let config = first.model.decoder.config();
        match self {
            Target::Dictionary(_) => Err(err!(Bug, "sites that are read by themselves")),
            Target::Transcoder { sites, skip } => {
                let from = one_place(config, sites.reads).map_err(|e| e.about("reads"))?;
                let to = one_place(config, sites.writes).map_err(|e| e.about("writes"))?;
                check_writes_behind(from, to).map_err(|e| e.about("writes"))?;
                let label = format!("{from} to {to}{}", if skip { ", with a skip connection" } else { "" });
                Ok((vec![from.to_string(), to.to_string()], label))
            }
            Target::Crosscoder(sites) => {
                let mut named = Vec::new();
                for (number, TextReading { model, .. }) in readings.iter().enumerate() {
                    for place in places(model, sites).map_err(|e| e.about("sites"))? {
                        width(model.decoder.config(), place).map_err(|e| e.about("sites"))?;
                        let site = place.to_string();
                        let is_alone = readings.len() == 1;
                        let site = if is_alone { ReadSite::new(site) } else { ReadSite::of_model(site, number) };
                        named.push(site.to_string());
                    }
                }
                several(&texts(&named), "at least two sites, or several models")?;
                same_tokens(readings, task).map_err(|e| e.about("m"))?;
                Ok((places(first.model, sites)?.iter().map(ToString::to_string).collect(), named.join(", ")))
            }
            Target::CrossLayer(reads) => Ok((reads.sites(config), format!("{}.* to mlp_out.*", reads.word()))),
        }
    }

    /// Returns the metadata of a dictionary from that of its data: a transcoder writes the second site.
    pub fn about(self, about: About) -> About {
        let Target::Transcoder { .. } = self else { return about };
        let mut sites = about.sites.into_iter();
        let reads = sites.next().into_iter().collect();
        About { sites: reads, writes: sites.next().map(|site| site.name), ..about }
    }
}

/// Refuses kinds whose codes are of a reconstruction of what is read.
fn refuse_reconstructing(recipe: &Recipe, wanted: &str) -> Result<()> {
    let kind = recipe.kind.name();
    if recipe.kind.properties().only_reconstructs {
        Err(err!(Argument, "expected {wanted}, found \"{kind}\"").about("kind"))
    } else {
        Ok(())
    }
}

/// Refuses recipes that do not fit a cross-layer transcoder.
fn of_layers(recipe: Recipe) -> Result<Recipe> {
    let kind = recipe.kind.name();
    let known = KINDS_OF_LAYERS.join(", ");
    if !KINDS_OF_LAYERS.contains(&kind) {
        return Err(err!(Argument, "expected a kind of cross-layer transcoder, found \"{kind}\"")
            .hint(format!("kinds are {known}"))
            .about("kind"));
    }
    if matches!(recipe.dead, Dead::Resample { .. }) {
        return Err(err!(Argument, "expected \"auxk\" or \"leave\" for `dead`, found \"resample\"")
            .hint("features of a cross-layer transcoder are not resampled: \"auxk\" revives dead ones, \"leave\" leaves them")
            .about("dead"));
    }
    Ok(recipe)
}

/// Refuses a crosscoder of one site.
fn several(sites: &[&str], wanted: &str) -> Result<()> {
    match sites.len() {
        0 | 1 => Err(err!(Argument, "expected {wanted} for `sites`, found {}", listed(sites))
            .hint("a crosscoder has one code for all of them; sae::fit fits a dictionary of one site")
            .about("sites")),
        _ => Ok(()),
    }
}

/// Lists sites in the words of an error.
fn listed(sites: &[&str]) -> String {
    if sites.is_empty() { "none".into() } else { sites.join(", ") }
}

/// Returns the sites that names stand for, in the order of the computation, each once.
fn places(model: &Model, sites: &[&str]) -> Result<Vec<Place>> {
    let named = sites.iter().map(|site| select(model.decoder.config(), site)).collect::<Result<Vec<_>>>()?;
    let mut places = named.concat();
    places.sort();
    places.dedup();
    Ok(places)
}

/// Refuses models that do not read the same tokens in a text.
fn same_tokens(readings: &[TextReading], task: &Task) -> Result<()> {
    let [first, others @ ..] = readings else { return Ok(()) };
    let rows = |TextReading { model, text, options }: &TextReading| {
        let usual = model.decoder.config().row_length();
        pack::rows(text, model.text_tokenizer()?, options.context.unwrap_or(usual), task)
    };
    for (number, other) in others.iter().enumerate() {
        let mut a = rows(first)?;
        let mut b = rows(other)?;
        loop {
            task.check()?;
            let [a, b] = [a.next(task)?, b.next(task)?].map(|row| row.map(|row| row.ids));
            if a != b {
                let number = number + 1;
                return Err(err!(
                    Argument,
                    "expected models that read the same tokens, found others in model {number}"
                )
                .hint("a crosscoder of several models needs the same tokenizer and context in all of them"));
            }
            if a.is_none() {
                break;
            }
        }
    }
    Ok(())
}
