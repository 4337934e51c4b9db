//! Fits of transcoders, which read a model's activations at one site and reconstruct those at a later one (Dunefsky et
//! al. 2024).

use std::sync::Arc;

use super::course::Fitted;
use super::data::FitData;
use super::options::FitPlan;
use super::storage::{FitCache, FitStorage, joint_key};
use super::to_data::run_recipe;
use crate::base::{Result, Task};
use crate::data::Text;
use crate::data::harvest::HarvestOptions;
use crate::data::store::Store;
use crate::err;
use crate::model::Model;
use crate::sae::cached::Cached;
use crate::sae::{About, SitePair, check_writes_behind, one_place};

crate::options! {
    /// The options that only transcoders have.
    #[derive(Debug, Clone)]
    pub struct TranscoderOptions {
        /// Whether there is a linear skip connection.
        skip: bool = false;
    }
}

/// A transcoder for two sites of a model on a text; one that is cached is loaded.
pub fn transcoder_at(
    (model, sites): (&Model, SitePair),
    text: &Text,
    options: &HarvestOptions,
    (plan, transcoder): (&FitPlan, &TranscoderOptions),
    storage: &FitStorage,
    task: &Task,
) -> Result<Fitted> {
    let config = model.decoder.config();
    let from = one_place(config, sites.reads).map_err(|e| e.about("reads"))?;
    let to = one_place(config, sites.writes).map_err(|e| e.about("writes"))?;
    check_writes_behind(from, to).map_err(|e| e.about("writes"))?;
    let sites = [&*from.to_string(), &*to.to_string()];
    let plan = &plan.for_transcoder();
    let fit = || {
        let data = FitData::of_model((model, &sites), text, options, plan.buffer(), task)?;
        fitted(data, plan, transcoder, storage, task)
    };
    let Some(cache) = FitCache::open(storage, task) else { return fit() };
    let name = format!("{from} to {to}{}", if transcoder.skip { ", with a skip connection" } else { "" });
    let key = joint_key(plan, (model, &sites, &name), (text, options), task)?;
    if let Some(Cached { made, history }) = cache.loaded(&key)? {
        return Ok(Fitted { sae: made, history, is_whole: true, failed: None });
    }
    let fitted = fit()?;
    if fitted.is_whole {
        cache.put(&key, &fitted.sae, &fitted.history);
    }
    Ok(fitted)
}

/// A transcoder for two sites of a store.
pub fn transcoder_of_store(
    (store, sites): (&Arc<Store>, SitePair),
    (plan, transcoder): (&FitPlan, &TranscoderOptions),
    storage: &FitStorage,
    task: &Task,
) -> Result<Fitted> {
    let data = FitData::of_store(store, &[sites.reads, sites.writes], plan.buffer())?;
    fitted(data, &plan.for_transcoder(), transcoder, storage, task)
}

/// Of the two sites of the data the first is read, and the second written.
fn fitted(
    data: FitData,
    plan: &FitPlan,
    transcoder: &TranscoderOptions,
    storage: &FitStorage,
    task: &Task,
) -> Result<Fitted> {
    let (mut recipe, d_sae) = plan.recipe(data.count, data.widths.first().copied().unwrap_or_default())?;
    if recipe.kind.only_reconstructs() {
        let kind = recipe.kind.name();
        return Err(
            err!(Argument, "expected a kind that writes to another site than it reads, found \"{kind}\"").about("kind")
        );
    }
    recipe.skip = transcoder.skip;
    let mut sites = data.about.sites.into_iter();
    let about = About { sites: sites.next().into_iter().collect(), writes: sites.next(), ..data.about };
    run_recipe((recipe, d_sae), data.rows, about, (storage, None), task)
}
