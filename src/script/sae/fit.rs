//! Fitting dictionaries: `sae::fit` and `sae::fit_all`.

use std::sync::Arc;

use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};

use super::dictionary::Sae;
use super::known::ModelAndText;
use super::plan::{FitWords, storage};
use super::rows::{choosing, no_text_options, of_text_only};
use crate::base::Result;
use crate::data::{self, Text};
use crate::err;
use crate::model::site::one_site;
use crate::sae::fit::{FitPlan, Fitted, StoreSiteOptions, to_sites, to_store, to_tensor};
use crate::script::data::Store;
use crate::script::engine::env::env;
use crate::script::engine::options::{OptionReader, options};
use crate::script::engine::value::{Any, Fallible, Options, given};
use crate::script::model::Model;
use crate::script::tensor::values;
use crate::tensor::Tensor;

impl From<Fitted> for Sae {
    fn from(fitted: Fitted) -> Self {
        Self::fitted(fitted.sae, fitted.history)
    }
}

/// The only dictionary.
pub(super) fn one(found: Vec<Fitted>) -> Result<Sae> {
    found.into_iter().next().map(Sae::from).ok_or_else(|| err!(Bug, "a site without a dictionary"))
}

/// All of them as an array.
pub(super) fn array(found: Vec<Fitted>) -> Array {
    found.into_iter().map(|fitted| Dynamic::from(Sae::from(fitted))).collect()
}

/// Activations that a script gives.
pub(super) enum Activations {
    Tensor(Tensor),
    Store(Arc<data::store::Store>, String),
}

/// The options that say which activations are meant.
pub(super) struct ActivationOptions {
    of_text: bool,
    store: StoreSiteOptions,
}

impl ActivationOptions {
    pub fn read(read: &mut OptionReader) -> Result<Self> {
        Ok(Self { of_text: of_text_only(read)?, store: read.declared()? })
    }

    pub fn of(self, x: &Dynamic, plan: &FitPlan) -> Result<Activations> {
        no_text_options(self.of_text)?;
        if let Some(store) = x.read_lock::<Store>() {
            let site = self.store.site.map_or_else(|| store.core.only_site(), Ok)?;
            return Ok(Activations::Store(store.core.clone(), site));
        }
        if self.store.site.is_some() || plan.buffer().rows.is_some() {
            return Err(
                err!(Argument, "expected `site` and `buffer` with a store, found them with a tensor").about("options")
            );
        }
        Ok(Activations::Tensor(values("x", x)?))
    }
}

fn of_sites(
    (ctx, function): (&NativeCallContext, &str),
    m: &Model,
    sites: &[&str],
    text: &Text,
    map: Options,
) -> Result<Vec<Sae>> {
    let (env, mut read) = (env(ctx)?, options(map));
    let words = FitWords::read(&mut read)?;
    let reading = choosing(&mut read, m.core(), text, &env.task)?;
    read.finish()?;
    let found = env.drawing(ctx, function, words.seed(), |seed| {
        let (plan, checkpoints) = words.seeded(seed).plan()?;
        to_sites((m.core(), sites), text, &reading, &plan, &storage(checkpoints, &env), &env.task)
    })?;
    let known = || Some(ModelAndText::new(m.clone(), Some((text.clone(), reading.clone())), &env.task));
    Ok(found.into_iter().map(|found| Sae { known: known(), ..Sae::from(found) }).collect())
}

fn of_activations(ctx: &NativeCallContext, x: &Dynamic, map: Options) -> Result<Sae> {
    let (env, mut read) = (env(ctx)?, options(map));
    let (words, given) = (FitWords::read(&mut read)?, ActivationOptions::read(&mut read)?);
    read.finish()?;
    env.drawing(ctx, "sae::fit", words.seed(), |seed| {
        let (plan, checkpoints) = words.seeded(seed).plan()?;
        let storage = storage(checkpoints, &env);
        match given.of(x, &plan)? {
            Activations::Tensor(x) => Ok(to_tensor(&x, &plan, &storage, &env.task)?.into()),
            Activations::Store(store, site) => one(to_store(&store, &[&site], &plan, &storage, &env.task)?),
        }
    })
}

#[export_module(manifest)]
pub mod functions {
    /// Fits a dictionary to activations: a tensor `[.., d]`, those of a store, or those of a model at a site on a text.
    ///
    /// A store is read in constant memory, whatever its size. The activations of a text are harvested once and held in
    /// memory where they fit into 2 GiB, or into `buffer`; else they stream from the model through a buffer of that
    /// size, and the model runs again in every epoch. With a store the model runs once: see `data::harvest`.
    ///
    /// Activations are centred and scaled to mean square 1 during training, and that is folded back into the weights:
    /// directions have norm 1, and codes are in the model's own units. Kinds, with their own options:
    ///
    /// - "topk": the largest codes in each row (Gao et al. 2024)
    /// - "batch_topk": the largest codes of the batch, and a threshold at inference (Bussmann et al. 2024)
    /// - "matryoshka": batch top-k with nested prefixes that each reconstruct (Bussmann et al. 2025)
    /// - "matching_pursuit": k steps, each of what those before have left, by the directions alone (Costa et al. 2025)
    /// - "relu": an L1 penalty (Bricken et al. 2023)
    /// - "tied": encoder and decoder share their weights, with an L1 penalty (Cunningham et al. 2023)
    /// - "p_anneal": a penalty on codes to the power p, which is annealed from 1 (Karvonen et al. 2024)
    /// - "gated": an L1 penalty on gates (Rajamanoharan et al. 2024a)
    /// - "jumprelu": learned thresholds with an L0 penalty (Rajamanoharan et al. 2024b)
    ///
    /// A `target` is the L0 to reach: the mean number of codes in a row. Training begins at about that L0, and the
    /// sparsity coefficient is adapted during training: it rises while L0 is above the target, and falls while it is
    /// below. An `l1` beside it is the initial coefficient.
    ///
    /// Ctrl-C ends the training, not the script: the call returns the dictionary as it is.
    ///
    /// A dictionary of a model and a text is cached when its training has ended. The next call with the same weights,
    /// tokens, options and seed on the same kind of machine loads it, bit for bit, and says so; the activations need
    /// not be stored. `microtome cache` lists the cache, and `--fresh` ignores it. Transcoders are cached alike; what has a
    /// `dir`, is of a tensor or of a store is not, nor are crosscoders.
    ///
    /// # Options
    /// - [fit]
    /// - [kinds]
    /// - [keep]
    /// - [store_site]
    /// - [skip]
    ///
    /// # Example
    /// ```
    /// let truth = tensor::randn([6, 4], #{ seed: 1 });
    /// let x = tensor::uniform([512, 6], #{ low: -4, high: 1, seed: 2 }).relu() @ truth;
    /// let s = sae::fit(x, #{ k: 2, d_sae: 12, batch: 128, steps: 100, seed: 1 });
    /// s.measure(x).to_map().rows.len() > 5  //=> true
    /// s.encode(x).shape  //=> [512, 12]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn fit(ctx: NativeCallContext, x: Any, options: Options) -> Fallible<Sae> {
        Ok(super::of_activations(&ctx, &x, options)?)
    }

    #[rhai_fn(name = "fit", return_raw)]
    pub fn fit_site(ctx: NativeCallContext, m: Model, site: &str, text: Text, options: Options) -> Fallible<Sae> {
        // Several are refused before any of them is fitted.
        one_site(m.config(), site, "sae::fit_all fits a dictionary to each").map_err(|e| e.about("site"))?;
        let found = super::of_sites((&ctx, "sae::fit"), &m, &[site], &text, options)?.pop();
        Ok(found.ok_or_else(|| err!(Bug, "a site without a dictionary"))?)
    }

    /// Fits a dictionary to each of several sites of a model, in the order of the computation, or to each site of a store.
    ///
    /// `sites` is a set such as `resid_post.*`, or an array of sites. One forward pass gives the activations of as many
    /// of them as fit into memory together. Where not even one fits, the model runs for each site in every epoch, and a
    /// store that is harvested once is better. With a `dir`, each site has a folder there.
    ///
    /// Ctrl-C ends the call; the dictionaries that are complete are kept, and found by the next one.
    ///
    /// # Options
    /// - [fit]
    /// - [kinds]
    /// - [keep]
    /// - [skip]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not to be"]);
    /// let store = data::harvest(m, ["resid_post.1", "z.0"], text, #{ dir: "activations" });
    /// sae::fit_all(store, #{ k: 2, ratio: 2, steps: 5, seed: 1 })
    /// //=> [topk dictionary of 16 features for z.0, topk dictionary of 16 features for resid_post.1]
    /// sae::fit_all(m, "resid_post.*", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 })
    /// //=> [topk dictionary of 16 features for resid_post.0, topk dictionary of 16 features for resid_post.1]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn fit_all(ctx: NativeCallContext, m: Model, sites: Any, text: Text, options: Options) -> Fallible<Array> {
        let sites = given("sites", &sites).texts()?;
        let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
        let found = super::of_sites((&ctx, "sae::fit_all"), &m, &sites, &text, options)?;
        Ok(found.into_iter().map(Dynamic::from).collect())
    }

    #[rhai_fn(name = "fit_all", return_raw)]
    pub fn fit_store(ctx: NativeCallContext, store: Store, options: Options) -> Fallible<Array> {
        let (env, mut read) = (env(&ctx)?, super::options(options));
        let (words, of_text) = (FitWords::read(&mut read)?, super::of_text_only(&mut read)?);
        read.finish()?;
        super::no_text_options(of_text)?;
        let names = store.core.site_names();
        let sites: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = env.drawing(&ctx, "sae::fit_all", words.seed(), |seed| {
            let (plan, checkpoints) = words.seeded(seed).plan()?;
            to_store(&store.core, &sites, &plan, &super::storage(checkpoints, &env), &env.task)
        })?;
        Ok(super::array(found))
    }
}
