//! Fits of dictionaries to their data: a tensor, sites of a store, or sites of a model on a text.

use std::sync::Arc;

use super::course::Fitted;
use super::data::FitData;
use super::options::FitPlan;
use super::recipe::Recipe;
use super::rows::Rows;
use super::sites::SiteData;
use super::storage::{Done, FitCache, FitStorage, key};
use super::sweep::Fit;
use crate::base::{Result, Task};
use crate::data::Text;
use crate::data::harvest::HarvestOptions;
use crate::data::store::Store;
use crate::model::Model;
use crate::sae::About;
use crate::tensor::Tensor;

/// A dictionary for activations `[.., d]`.
pub fn to_tensor(x: &Tensor, plan: &FitPlan, storage: &FitStorage, task: &Task) -> Result<Fitted> {
    to_data(FitData::of_tensors(std::slice::from_ref(x), plan.seed(), About::default())?, plan, (storage, None), task)
}

/// A dictionary for each of these sites of a store. With several, each has a folder of its own for checkpoints.
pub fn to_store(
    store: &Arc<Store>,
    sites: &[&str],
    plan: &FitPlan,
    storage: &FitStorage,
    task: &Task,
) -> Result<Vec<Fitted>> {
    let data = sites.iter().map(|site| FitData::of_store(store, &[site], plan.buffer()));
    to_each(data, plan, (storage, sites.len() > 1), &mut |_| (), task)
}

/// A dictionary for each site of a model that these names stand for, in the order of the computation, on a text. Those
/// that are cached are loaded.
pub fn to_sites(
    (model, sites): (&Model, &[&str]),
    text: &Text,
    options: &HarvestOptions,
    plan: &FitPlan,
    storage: &FitStorage,
    task: &Task,
) -> Result<Vec<Fitted>> {
    let sites = SiteData::new((model, sites), text, options, plan.buffer(), task)?;
    let names = sites.names();
    let Some(cache) = FitCache::open(storage, task) else {
        return to_each(sites.each(&names, task), plan, (storage, names.len() > 1), &mut |_| (), task);
    };
    let reads = sites.reads(task)?;
    let keys = names.iter().map(|site| key(plan, &reads, &sites, site)).collect::<Result<Vec<_>>>()?;
    cache.completed(&keys, |missing, done| {
        let missing: Vec<&str> = missing.iter().filter_map(|number| names.get(*number).copied()).collect();
        to_each(sites.each(&missing, task), plan, (storage, missing.len() > 1), done, task)
    })
}

/// A dictionary for each of these data; `done` is called with each. With `several`, each has a folder named after its
/// site.
fn to_each(
    data: impl Iterator<Item = Result<FitData>>,
    plan: &FitPlan,
    (storage, several): (&FitStorage, bool),
    done: Done,
    task: &Task,
) -> Result<Vec<Fitted>> {
    // Ctrl-C ends all of them, and not one after the other: those that are complete are kept.
    let whole = task.whole();
    // They count as one piece of work, however many of them are cached.
    let _piece = several.then(|| task.piece());
    let task = if several { &whole } else { task };
    let fit = |data: Result<FitData>| -> Result<Fitted> {
        task.check()?;
        let data = data?;
        let site = data.about.sites.join(", ");
        if several {
            task.say(&format!("fitting {site}"));
        }
        let fitted = to_data(data, plan, (storage, several.then_some(site.as_str())), task)?;
        done(&fitted);
        Ok(fitted)
    };
    data.map(fit).collect()
}

/// A dictionary for these data, with its checkpoints in the folder of this name inside that of the storage.
fn to_data(data: FitData, plan: &FitPlan, storage: (&FitStorage, Option<&str>), task: &Task) -> Result<Fitted> {
    let recipe = plan.recipe(data.count, data.widths.first().copied().unwrap_or_default())?;
    run_recipe(recipe, data.rows, data.about, storage, task)
}

/// Runs a fit.
pub(super) fn run_recipe(
    (recipe, d_sae): (Recipe, usize),
    rows: Box<dyn Rows + '_>,
    about: About,
    (storage, inside): (&FitStorage, Option<&str>),
    task: &Task,
) -> Result<Fitted> {
    Fit::new(recipe, d_sae, storage.placed(rows), storage.checkpoint(inside), task)?.run(about, task)
}
