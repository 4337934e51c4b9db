//! Sweeps: dictionaries over a grid of settings; the data is read once for all of them.

use rand::Rng;
use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};
use serde_json::{Value, json};

use super::asked::{Asked, asked};
use super::dictionary::Sae;
use super::fit::OfActivations;
use super::kept::{Done, Keeper, key};
use super::rows::{Source, choosing};
use super::sites::Sites;
use crate::base::Result;
use crate::base::options::Field;
use crate::data::{Text, harvest};
use crate::err;
use crate::report::symbols::count;
use crate::sae::fit::{Fitted, Member, Recipe, SETTINGS, Sweep, kinds};
use crate::script::env::{Env, env};
use crate::script::model::Model;
use crate::script::options::{OptionReader, options};
use crate::script::value::{Any, Fallible, Int, Options, from_json, given};

/// The axes of a sweep beside the kind, the last of which varies fastest.
const AXES: [&str; 7] = ["l1", "l0", "target", "k", "d_sae", "ratio", "seed"];
/// Those that every kind has.
const COMMON: [&str; 3] = ["d_sae", "ratio", "seed"];

/// The options of each fit of a sweep; `arg` is the index of the argument with the options. A kind gets its own options
/// only.
fn grid(map: &Options) -> Result<Vec<Options>> {
    let named = match map.get("kind") {
        Some(kinds) => given("kind", kinds).texts()?,
        None => vec!["topk".into()],
    };
    let mut owned = Vec::new();
    for kind in &named {
        owned.push((kind, kinds::options_of(kind)?));
    }
    let has = |own: &[Field], key: &str| own.iter().any(|field| field.name == key);
    let is_owned = |key: &str| owned.iter().any(|(_, own)| has(own, key));
    if let Some(stray) = AXES.iter().find(|key| map.contains_key(**key) && !is_owned(key) && !COMMON.contains(key)) {
        return Err(err!(Argument, "expected no `{stray}` for {}", named.join(", ")).about("options"));
    }
    let mut all = Vec::new();
    for (kind, own) in &owned {
        let is_of_others = |key: &str| is_owned(key) && !has(own, key);
        let mut base = map.clone();
        base.retain(|key, _| !is_of_others(key));
        base.insert("kind".into(), kind.as_str().into());
        let axes = AXES.iter().filter_map(|key| Some((*key, base.get(*key)?.clone())));
        let axes: Vec<(&str, Dynamic)> = axes.collect();
        all.extend(axes.iter().fold(vec![base], |cells, (key, value)| {
            let values: Vec<Dynamic> =
                given(key, value).elements().into_iter().map(|one| one.value().clone()).collect();
            let with = |cell: Options, value: &Dynamic| {
                let mut cell = cell;
                cell.insert((*key).into(), value.clone());
                cell
            };
            cells.into_iter().flat_map(|cell| values.iter().map(move |value| with(cell.clone(), value))).collect()
        }));
    }
    match all.is_empty() {
        true => Err(err!(Argument, "expected values to sweep over, found an empty list").about("options")),
        false => Ok(all),
    }
}

/// Where the activations of a sweep come from.
enum Origin<'a> {
    /// A tensor or a store.
    Given(&'a Dynamic),
    Model(&'a Model, &'a str, &'a Text),
}

/// Its options.
enum Reading {
    Given(OfActivations),
    Model(harvest::Options),
}

impl Origin<'_> {
    fn reading(&self, read: &mut OptionReader, env: &Env) -> Result<Reading> {
        Ok(match self {
            Self::Given(_) => Reading::Given(OfActivations::read(read)?),
            Self::Model(m, _, text) => Reading::Model(choosing(read, m.core(), text, &env.task)?),
        })
    }
}

fn swept(origin: &Origin, mut map: Options, env: &Env) -> Result<Array> {
    if !map.contains_key("seed") {
        map.insert("seed".into(), ((env.random.generator(None).next_u64() >> 2).cast_signed()).into());
    }
    let (mut cells, mut readings) = (Vec::new(), Vec::new());
    for cell in grid(&map)? {
        let mut read = options(cell);
        cells.push(asked(&mut read, env)?);
        readings.push(origin.reading(&mut read, env)?);
        read.finish()?;
    }
    let (Some(first), Some(reading)) = (cells.first(), readings.pop()) else {
        return Err(err!(Bug, "a grid without a cell"));
    };
    // All read the rows in the order of the first one.
    let found = match (origin, reading) {
        (Origin::Given(x), Reading::Given(given)) => {
            fitted(&cells.iter().collect::<Vec<_>>(), given.source(x, first)?, env, &mut |_| ())?
        }
        (Origin::Model(m, site, text), Reading::Model(keep)) => {
            let sites = Sites::new(m.core(), &[site], text, (&keep, first.held()), &env.task)?;
            of_site(&cells, first, (&sites, site), env)?
        }
        _ => return Err(err!(Bug, "options of a text for activations that are given")),
    };
    Ok(found.into_iter().map(Dynamic::from).collect())
}

/// The dictionaries of all cells at the one site of a model that `site` names; cached ones are not fitted again.
fn of_site(cells: &[Asked], first: &Asked, (sites, site): (&Sites, &str), env: &Env) -> Result<Vec<Sae>> {
    let [name] = sites.names() else {
        return Err(err!(Argument, "expected one site to fit, and `{site}` names several").about("site"));
    };
    let fit = |cells: &[&Asked], done: Done| {
        let source = sites.sources(&[name], &env.task).next();
        fitted(cells, source.ok_or_else(|| err!(Bug, "a site without activations"))??, env, done)
    };
    let Some(keeper) = Keeper::new(first, env) else {
        return fit(&cells.iter().collect::<Vec<_>>(), &mut |_| ());
    };
    let reads = sites.reads(&env.task)?;
    let keys = cells.iter().map(|cell| key(cell, &reads, sites, name)).collect::<Result<Vec<_>>>()?;
    keeper.completed(&keys, |missing, done| {
        let missing: Vec<&Asked> = missing.iter().filter_map(|number| cells.get(*number)).collect();
        fit(&missing, done)
    })
}

/// Fits all cells, reading the activations once; `done` is called with each.
fn fitted(cells: &[&Asked], source: Source, env: &Env, done: Done) -> Result<Vec<Sae>> {
    let Source { rows, count, widths, about, .. } = source;
    let width = widths.first().copied().unwrap_or_default();
    let mut members = Vec::with_capacity(cells.len());
    for cell in cells {
        let (recipe, d_sae) = cell.recipe(count, width)?;
        let keep = cell.keep(&folder(&recipe, d_sae), env);
        members.push(Member { recipe, d_sae, keep });
    }
    let found = Sweep::new(members, rows, &env.task)?.run(&about, &env.task)?;
    tell(&found, env);
    found.iter().for_each(done);
    Ok(found.into_iter().map(Sae::from).collect())
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

/// Reports the fits that failed.
fn tell(found: &[Fitted], env: &Env) {
    for fitted in found {
        if let Some(error) = &fitted.failed {
            let (kind, made) = (&fitted.sae.parts().about.kind, fitted.history.steps.len());
            env.task.say(&format!("a {kind} dictionary stopped after {}: {error}", count(made, "step")));
        }
    }
}

/// The settings of a fit, with the options of its kind among the others.
fn settings(sae: &Sae) -> Dynamic {
    let Some(Value::Object(said)) = sae.core.parts().about.more.get(SETTINGS) else { return Dynamic::UNIT };
    let mut said = said.clone();
    if let Some(Value::Object(own)) = said.remove("options") {
        said.extend(own);
    }
    said.insert("d_sae".into(), json!(sae.core.d_sae()));
    from_json(Value::Object(said))
}

#[export_module(manifest)]
pub mod functions {
    /// Fits dictionaries over a grid of settings to activations: a tensor `[.., d]`, those of a store, or those of a
    /// model at a site on a text. Each batch is read, centred and scaled once for all of them.
    ///
    /// Where `kind`, `l1`, `l0`, `target`, `k`, `d_sae`, `ratio` or `seed` is a list, there is a dictionary for each
    /// combination of the options that its kind has. They come in the order of the kinds, and the last of these options
    /// varies fastest. Each is bit for bit what `sae::fit` gives on rows in the order of the first seed; its `settings`
    /// say which one it is.
    ///
    /// Ctrl-C ends the sweep, not the script: the call returns the dictionaries as they are. One whose loss becomes NaN
    /// stops there, and the others continue. With a `dir`, each has its own folder there.
    ///
    /// All other options are those of `sae::fit`.
    ///
    /// # Options
    /// - `kind` = "topk": one kind or a list of them
    /// - `d_sae` = `ratio` times d: number of features, or a list of that
    /// - `ratio` = 8: number of features over number of dimensions, or a list of that
    /// - `seed` = the run's seed: one or a list
    /// - [fit]
    /// - [kinds]
    /// - [keep]
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([64, 4], #{ seed: 1 });
    /// let all = sae::sweep(x, #{ kind: ["topk", "tied"], k: [1, 2], l1: 0.01, d_sae: [8, 12], steps: 2, seed: 1 });
    /// all.map(|s| [s.kind, s.d_sae])  //=> [["topk", 8], ["topk", 12], ["topk", 8], ["topk", 12], ["tied", 8], ["tied", 12]]
    /// all[2].settings.k  //=> 2
    /// ```
    #[rhai_fn(return_raw)]
    pub fn sweep(ctx: NativeCallContext, x: Any, options: Options) -> Fallible<Array> {
        Ok(super::swept(&Origin::Given(&x), options, &*env(&ctx)?)?)
    }

    #[rhai_fn(name = "sweep", return_raw)]
    pub fn sweep_site(ctx: NativeCallContext, m: Model, site: &str, text: Text, options: Options) -> Fallible<Array> {
        Ok(super::swept(&Origin::Model(&m, site, &text), options, &*env(&ctx)?)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// The settings of the fit: kind and options, `d_sae`, learning rate, seed and so on, the number of steps made, and
    /// the `scale` of the activations that penalties refer to; () where unknown.
    ///
    /// # Example
    /// ```
    /// let s = sae::fit(tensor::randn([64, 4], #{ seed: 1 }), #{ k: 1, d_sae: 8, steps: 3, seed: 1 });
    /// [s.settings.kind, s.settings.k, s.settings.steps_made]  //=> ["topk", 1, 3]
    /// ```
    #[rhai_fn(global, get = "settings", pure)]
    pub fn settings(s: &mut Sae) -> Dynamic {
        super::settings(s)
    }

    /// The same dictionary with fewer codes: in each row the `k` of the largest absolute value, to compare baselines
    /// with others at the same L0. Random directions get the gain for `k`. Dictionaries that select codes by thresholds
    /// or gates are refused.
    ///
    /// # Example
    /// ```
    /// sae::identity(3).keeping(1).encode([1, -2, 0.5])  //=> tensor([0.0, -2.0, 0.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn keeping(s: &mut Sae, k: Int) -> Fallible<Sae> {
        let k = given("k", &k).size()?;
        Ok(Sae { core: s.core.keeping(k).map_err(|e| e.about("k"))?, ..s.clone() })
    }
}
