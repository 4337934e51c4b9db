//! Dictionaries over a grid of settings: the activations are read once for all of them.

use std::sync::Arc;

use super::course::Fitted;
use super::course::Member;
use super::data::FitData;
use super::kinds;
use super::options::{FitOptions, FitPlan};
use super::recipe::Recipe;
use super::sites::SiteData;
use super::storage::{Done, FitCache, FitStorage, key};
use super::sweep::Sweep;
use crate::base::counts::count;
use crate::base::options::{Field, Plain, Setting};
use crate::base::random::{OF_CALL, Seed};
use crate::base::{Result, Task};
use crate::data::Text;
use crate::data::harvest::HarvestOptions;
use crate::data::store::Store;
use crate::err;
use crate::model::Model;
use crate::model::site::one_site;
use crate::sae::About;
use crate::tensor::Tensor;

/// The names of the kinds of a grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindNames(pub Vec<String>);

impl Setting for KindNames {
    const CHOICES: &'static [&'static str] = &kinds::NAMES;

    fn wanted() -> String {
        "a kind of dictionary, or an array of such".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        Vec::of(value).map(Self)
    }

    fn written(&self) -> String {
        self.0.iter().map(String::written).collect::<Vec<_>>().join(", ")
    }
}

crate::options! {
    /// The axes that every grid has. Those of kinds are `l1`, `l0`, `target` and `k`.
    #[derive(Debug, Clone)]
    pub struct GridOptions {
        /// One kind or an array of them.
        kind: KindNames = KindNames(vec!["topk".into()]);
        /// Number of features, or an array of that.
        d_sae: Option<Vec<usize>> = None => usually("`ratio` times d");
        /// Number of features over number of dimensions, or an array of that.
        ratio: Option<Vec<f64>> = None => usually("8").above(0.0);
        /// One seed or an array of them.
        seed: Option<Vec<i64>> = None => usually(OF_CALL);
    }
}

/// The options of kinds that are axes of a grid. They vary slower than those of all kinds.
pub const AXES_OF_KINDS: [&str; 4] = ["l1", "l0", "target", "k"];

/// A plan for each cell of a grid, in the order of the kinds; the last axis varies fastest. `own` are options of the
/// kinds, lists where they are axes; a kind gets those that it has.
pub fn grid(axes: &GridOptions, options: &FitOptions, own: &[(&str, Plain)]) -> Result<Vec<FitPlan>> {
    let named = &axes.kind.0;
    let kinds = named.iter().map(|name| kinds::options_of(name)).collect::<Result<Vec<_>>>()?;
    let has = |fields: &[Field], name: &str| fields.iter().any(|field| field.name == name);
    if let Some((stray, _)) = own.iter().find(|(name, _)| !kinds.iter().any(|fields| has(fields, name))) {
        return Err(err!(Argument, "expected no `{stray}` for {}", named.join(", ")).about(*stray));
    }
    let mut plans = Vec::new();
    for (name, fields) in named.iter().zip(kinds) {
        let own: Vec<(&str, Plain)> = own.iter().filter(|(name, _)| has(fields, name)).cloned().collect();
        let options = FitOptions { kind: kinds::called(name)?, ..options.clone() };
        for own in cells_of_kind(own) {
            for options in cells_of_all(axes, options.clone()) {
                plans.push(FitPlan::named(options, &own)?);
            }
        }
    }
    match plans.is_empty() {
        true => Err(err!(Argument, "expected values to sweep over, found an empty list").about("options")),
        false => Ok(plans),
    }
}

/// The options of a kind for each combination of their values.
fn cells_of_kind(own: Vec<(&str, Plain)>) -> Vec<Vec<(&str, Plain)>> {
    let mut cells = vec![own.clone()];
    for axis in AXES_OF_KINDS {
        let Some((place, Plain::List(values))) =
            own.iter().position(|(name, _)| *name == axis).and_then(|place| Some((place, own.get(place)?.1.clone())))
        else {
            continue;
        };
        cells = with_each(cells, &values, |cell, value| cell[place].1 = value.clone());
    }
    cells
}

/// The options of all kinds for each combination of their values.
fn cells_of_all(axes: &GridOptions, options: FitOptions) -> Vec<FitOptions> {
    let mut cells = vec![options];
    if let Some(values) = &axes.d_sae {
        cells = with_each(cells, values, |cell, value| cell.d_sae = Some(*value));
    }
    if let Some(values) = &axes.ratio {
        cells = with_each(cells, values, |cell, value| cell.ratio = *value);
    }
    if let Some(values) = &axes.seed {
        cells = with_each(cells, values, |cell, value| cell.seed = Seed::of(*value));
    }
    cells
}

/// Each cell once with each of the values.
pub fn with_each<T: Clone, V>(cells: Vec<T>, values: &[V], set: impl Fn(&mut T, &V)) -> Vec<T> {
    let mut all = Vec::with_capacity(cells.len() * values.len());
    for cell in &cells {
        for value in values {
            let mut cell = cell.clone();
            set(&mut cell, value);
            all.push(cell);
        }
    }
    all
}

/// A dictionary for each plan and activations `[.., d]`.
pub fn sweep_tensor(x: &Tensor, plans: &[FitPlan], storage: &FitStorage, task: &Task) -> Result<Vec<Fitted>> {
    let seed = first(plans)?.seed();
    let data = FitData::of_tensors(std::slice::from_ref(x), seed, About::default())?;
    sweep(data, &plans.iter().collect::<Vec<_>>(), storage, &mut |_| (), task)
}

/// A dictionary for each plan and a site of a store.
pub fn sweep_store(
    (store, site): (&Arc<Store>, &str),
    plans: &[FitPlan],
    storage: &FitStorage,
    task: &Task,
) -> Result<Vec<Fitted>> {
    let data = FitData::of_store(store, &[site], first(plans)?.buffer())?;
    sweep(data, &plans.iter().collect::<Vec<_>>(), storage, &mut |_| (), task)
}

/// A dictionary for each plan and one site of a model on a text. Those that are cached are loaded.
pub fn sweep_site(
    (model, site): (&Model, &str),
    text: &Text,
    options: &HarvestOptions,
    plans: &[FitPlan],
    storage: &FitStorage,
    task: &Task,
) -> Result<Vec<Fitted>> {
    let name = one_site(model.decoder.config(), site, ONE_AT_A_TIME).map_err(|e| e.about("site"))?.to_string();
    let sites = SiteData::new((model, &[site]), text, options, first(plans)?.buffer(), task)?;
    let fit = |plans: &[&FitPlan], done: Done| {
        let data = sites.each(&[&name], task).next();
        sweep(data.ok_or_else(|| err!(Bug, "a site without activations"))??, plans, storage, done, task)
    };
    let Some(cache) = FitCache::open(storage, task) else {
        return fit(&plans.iter().collect::<Vec<_>>(), &mut |_| ());
    };
    let reads = sites.reads(task)?;
    let keys = plans.iter().map(|plan| key(plan, &reads, &sites, &name)).collect::<Result<Vec<_>>>()?;
    cache.completed(&keys, |missing, done| {
        let missing: Vec<&FitPlan> = missing.iter().filter_map(|number| plans.get(*number)).collect();
        fit(&missing, done)
    })
}

const ONE_AT_A_TIME: &str = "a sweep is of one site: give each a call of its own";

/// All plans read the rows in the order of the first one.
fn first(plans: &[FitPlan]) -> Result<&FitPlan> {
    plans.first().ok_or_else(|| err!(Argument, "expected at least one dictionary to fit, found none"))
}

/// Fits all plans, reading the activations once; `done` is called with each.
fn sweep(data: FitData, plans: &[&FitPlan], storage: &FitStorage, done: Done, task: &Task) -> Result<Vec<Fitted>> {
    let width = data.widths.first().copied().unwrap_or_default();
    let mut members = Vec::with_capacity(plans.len());
    for plan in plans {
        let (recipe, d_sae) = plan.recipe(data.count, width)?;
        let keep = storage.checkpoint(Some(&folder(&recipe, d_sae)));
        members.push(Member { recipe, d_sae, keep });
    }
    let found = Sweep::new(members, storage.placed(data.rows), task)?.run(&data.about, task)?;
    tell(&found, task);
    found.iter().for_each(done);
    Ok(found)
}

/// The name of a fit in its folder: `topk-k-32-4096-seed-0`.
fn folder(recipe: &Recipe, d_sae: usize) -> String {
    let mut name = recipe.kind.name().to_string();
    for (key, value) in recipe.kind.options().as_object().into_iter().flatten() {
        if value.is_number() {
            name += &format!("-{key}-{value}");
        }
    }
    format!("{name}-{d_sae}-seed-{}", recipe.seed)
}

/// Reports the fits that failed; of an interruption the training has told.
fn tell(found: &[Fitted], task: &Task) {
    for fitted in found {
        if let Some(error) = &fitted.failed {
            let (kind, made) = (&fitted.sae.parts().about.kind, fitted.history.steps.len());
            task.say(&format!("a {kind} dictionary stopped after {}: {error}", count(made, "step")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(axes: &GridOptions, own: &[(&str, Plain)]) -> Result<Vec<String>> {
        let plans = grid(axes, &FitOptions::default(), own)?;
        plans.iter().map(|plan| plan.recipe(64, 4).map(|(recipe, d_sae)| folder(&recipe, d_sae))).collect()
    }

    #[test]
    fn the_last_axis_varies_fastest_and_a_kind_gets_its_own_options() {
        let axes = GridOptions {
            kind: KindNames(vec!["topk".into(), "tied".into()]),
            d_sae: Some(vec![8, 12]),
            seed: Some(vec![3]),
            ..GridOptions::default()
        };
        let own = [("k", Plain::List(vec![Plain::Integer(1), Plain::Integer(2)])), ("l1", Plain::Float(0.5))];
        let expected = [
            "topk-k-1-8-seed-3",
            "topk-k-1-12-seed-3",
            "topk-k-2-8-seed-3",
            "topk-k-2-12-seed-3",
            "tied-l1-0.5-8-seed-3",
            "tied-l1-0.5-12-seed-3",
        ];
        assert_eq!(cells(&axes, &own).unwrap(), expected);
    }

    #[test]
    fn strays_and_empty_axes_are_refused() {
        let of = |axes: GridOptions, own: &[(&str, Plain)]| cells(&axes, own).unwrap_err().message;
        let k = [("k", Plain::Integer(2))];
        assert_eq!(of(GridOptions::default(), &[("l1", Plain::Float(0.5))]), "expected no `l1` for topk");
        let unknown = GridOptions { kind: KindNames(vec!["tide".into()]), ..GridOptions::default() };
        assert_eq!(of(unknown, &k), "unknown kind of dictionary `tide`");
        let empty = GridOptions { seed: Some(Vec::new()), ..GridOptions::default() };
        assert_eq!(of(empty, &k), "expected values to sweep over, found an empty list");
    }
}
