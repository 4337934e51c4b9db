//! What a cross-layer transcoder is fitted to: the inputs and outputs of all MLPs of a model on a text, or of a store.

use std::sync::Arc;

use super::batch::CrossLayerShape;
use super::course::{CrossLayerCourse, CrossLayerFitted};
use super::reading::CrossLayerReading;
use crate::base::{Result, Task};
use crate::data::Text;
use crate::data::harvest::HarvestOptions;
use crate::data::store::Store;
use crate::err;
use crate::model::Model;
use crate::model::config::Config;
use crate::model::site::{Site, SiteKind};
use crate::sae::cached::Cached;
use crate::sae::fit::data::FitData;
use crate::sae::fit::kinds::KindName;
use crate::sae::fit::options::FitPlan;
use crate::sae::fit::recipe::Dead;
use crate::sae::fit::storage::{FitCache, FitStorage, joint_key};
use crate::sae::transcoders::Reads;
use crate::training;

/// The kinds that there are of cross-layer transcoders: those whose features are linear in their input where they fire.
const KINDS: [&str; 4] = ["batch_topk", "topk", "relu", "jumprelu"];

crate::choices! {
    /// What the features of a cross-layer transcoder read in each layer.
    pub enum CrossLayerReads {
        /// The input of the MLP, after its norm.
        MlpIn = "mlp_in",
        /// The stream between attention and MLP.
        ResidMid = "resid_mid",
    }
}

crate::options! {
    /// Options that only cross-layer transcoders have, and those whose defaults are others for them.
    #[derive(Debug, Clone)]
    pub struct CrossLayerOptions {
        /// "batch_topk", "topk", "relu" or "jumprelu", each with its own options, which are of each layer. The first has a
        /// threshold in the end, as "jumprelu" has, so that other programs load it.
        kind: KindName = KindName("batch_topk");
        /// What features read in each layer: the input of the MLP, or the stream before its norm.
        reads: CrossLayerReads = CrossLayerReads::MlpIn;
    }
}

impl CrossLayerReads {
    fn site(self) -> SiteKind {
        match self {
            CrossLayerReads::MlpIn => SiteKind::MlpIn,
            CrossLayerReads::ResidMid => SiteKind::ResidMid,
        }
    }

    pub fn of_set(self) -> Reads {
        match self {
            CrossLayerReads::MlpIn => Reads::MlpIn,
            CrossLayerReads::ResidMid => Reads::ResidMid,
        }
    }
}

/// A cross-layer transcoder for all MLPs of a model on a text; one that is cached is loaded.
pub fn cross_layer_at(
    model: &Model,
    text: &Text,
    options: &HarvestOptions,
    plan: (&FitPlan, CrossLayerReads),
    storage: &FitStorage,
    task: &Task,
) -> Result<CrossLayerFitted> {
    let sites = sites(model.decoder.config(), plan.1);
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    let fit = || fitted(FitData::of_model((model, &sites), text, options, plan.0.buffer(), task)?, plan, storage, task);
    let Some(cache) = FitCache::open(storage, task) else { return fit() };
    let name = format!("{}.* to mlp_out.*", plan.1.word());
    let key = joint_key(plan.0, (model, &sites, &name), (text, options), task)?;
    if let Some(Cached { made, history }) = cache.loaded(&key)? {
        return Ok(CrossLayerFitted { transcoders: made, history, is_whole: true });
    }
    let fitted = fit()?;
    if fitted.is_whole {
        cache.put(&key, &fitted.transcoders, &fitted.history);
    }
    Ok(fitted)
}

/// A cross-layer transcoder for all MLPs of a model, whose inputs and outputs a store has.
pub fn cross_layer_of_store(
    store: &Arc<Store>,
    plan: (&FitPlan, CrossLayerReads),
    storage: &FitStorage,
    task: &Task,
) -> Result<CrossLayerFitted> {
    let config = serde_json::from_value::<Config>(store.made().model.config.clone());
    let config = config.map_err(|e| err!(Format, "the manifest's config is not valid: {e}"))?;
    let sites = sites(&config, plan.1);
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    fitted(FitData::of_store(store, &sites, plan.0.buffer())?, plan, storage, task)
}

/// What is read and what is written in each layer, in the order of the computation.
fn sites(config: &Config, reads: CrossLayerReads) -> Vec<String> {
    let of_layer = |layer| [reads.site(), SiteKind::MlpOut].map(|kind| Site::new(kind, layer).to_string());
    (0..config.layers).flat_map(of_layer).collect()
}

fn fitted(
    data: FitData,
    (plan, reads): (&FitPlan, CrossLayerReads),
    storage: &FitStorage,
    task: &Task,
) -> Result<CrossLayerFitted> {
    let (recipe, d_sae) = plan.recipe(data.count, data.widths.first().copied().unwrap_or_default())?;
    if !KINDS.contains(&recipe.kind.name()) {
        let (kind, known) = (recipe.kind.name(), KINDS.join(", "));
        return Err(err!(Argument, "expected a kind of cross-layer transcoder, found \"{kind}\"")
            .hint(format!("kinds are {known}"))
            .about("kind"));
    }
    if matches!(recipe.dead, Dead::Resample { .. }) {
        return Err(err!(Argument, "features of a cross-layer transcoder are not resampled")
            .hint("dead: \"auxk\" revives them, \"leave\" leaves them")
            .about("dead"));
    }
    let (reading, first) = CrossLayerReading::new(storage.placed(data.rows), (recipe.batch, recipe.scaled), task)?;
    let shape = CrossLayerShape { d_sae, ..reading.shape(&first)? };
    let recipe = recipe.checked(shape.of_layer(0))?;
    let mut course = CrossLayerCourse::begin((recipe, shape), reading, &first, storage.checkpoint(None), task)?;
    training::run(&mut course, task)?;
    course.finish((reads.of_set(), data.about.model))
}
