//! Fitting dictionaries: `sae::fit` and `sae::fit_all`.

use std::path::PathBuf;

use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};

use super::asked::{Asked, asked};
use super::dictionary::Sae;
use super::kept::{Done, Keeper, key};
use super::rows::{Source, choosing, of_text_only};
use super::sites::Sites;
use crate::base::Result;
use crate::data::Text;
use crate::err;
use crate::model::site::select;
use crate::sae::About;
use crate::sae::fit::{Fit, Fitted};
use crate::script::data::Store;
use crate::script::env::{Env, env};
use crate::script::features::Known;
use crate::script::model::Model;
use crate::script::options::{OptionReader, options};
use crate::script::tensor::values;
use crate::script::value::{Any, Fallible, Given, Options, given};

impl Asked {
    fn fitted(&self, source: Source, dir: Option<PathBuf>, env: &Env) -> Result<Fitted> {
        let Source { rows, count: found, widths, about, .. } = source;
        let (recipe, d_sae) = self.recipe(found, widths.first().copied().unwrap_or_default())?;
        let keep = dir.map(|folder| self.keep_in(folder, env));
        Fit::new(recipe, d_sae, rows, keep, &env.task)?.run(about, &env.task)
    }

    /// A dictionary for each source; `done` is called with each. With `several`, each has a folder named after its
    /// site.
    fn all_fitted(
        &self,
        sources: impl Iterator<Item = Result<Source>>,
        several: bool,
        env: &Env,
        done: Done,
    ) -> Result<Vec<Sae>> {
        let fit = |source: Result<Source>| -> Result<Sae> {
            let source = source?;
            let site = source.about.sites.join(", ");
            let dir = self.keep.dir.as_ref().map(|dir| match several {
                true => PathBuf::from(dir).join(&site),
                false => PathBuf::from(dir),
            });
            if several {
                env.task.say(&format!("fitting {site}"));
            }
            let fitted = self.fitted(source, dir, env)?;
            done(&fitted);
            Ok(fitted.into())
        };
        sources.map(fit).collect()
    }
}

fn of_sites(env: &Env, m: &Model, sites: &[&str], text: &Text, map: Options) -> Result<Vec<Sae>> {
    let mut read = options(map);
    let asked = asked(&mut read, env)?;
    let keep = choosing(&mut read, m.core(), text, &env.task)?;
    read.finish()?;
    let (task, sites) = (&env.task, Sites::new(m.core(), sites, text, (&keep, asked.held()), &env.task)?);
    let names: Vec<&str> = sites.names().iter().map(String::as_str).collect();
    let found = match Keeper::new(&asked, env) {
        None => asked.all_fitted(sites.sources(&names, task), names.len() > 1, env, &mut |_| ())?,
        Some(keeper) => {
            let reads = sites.reads(task)?;
            let keys = names.iter().map(|site| key(&asked, &reads, &sites, site)).collect::<Result<Vec<_>>>()?;
            keeper.completed(&keys, |missing, done| {
                let missing: Vec<&str> = missing.iter().filter_map(|number| names.get(*number).copied()).collect();
                asked.all_fitted(sites.sources(&missing, task), missing.len() > 1, env, done)
            })?
        }
    };
    Ok(Known::all(found, m, (text, &keep), env))
}

/// Fits on a store: one site that `site` names, or each of those that `sites` do.
fn of_store(store: &Store, asked: &Asked, sites: &[String], env: &Env) -> Result<Vec<Sae>> {
    let source = |site: &String| Source::of_store(&store.core, &[site.as_str()], asked.held());
    asked.all_fitted(sites.iter().map(source), sites.len() > 1, env, &mut |_| ())
}

/// The options for activations that are given: a tensor, or a site of a store.
pub(super) struct OfActivations {
    of_text: bool,
    site: Option<String>,
}

impl OfActivations {
    pub(super) fn read(read: &mut OptionReader) -> Result<Self> {
        Ok(Self { of_text: of_text_only(read)?, site: read.get("site", Given::text)? })
    }

    pub(super) fn source(self, x: &Dynamic, asked: &Asked) -> Result<Source> {
        if self.of_text {
            return Err(err!(Argument, "expected no options of a text where activations are given").about("options"));
        }
        if let Some(store) = x.read_lock::<Store>() {
            let site = self.site.map_or_else(|| store.only_site(), Ok)?;
            return Source::of_store(&store.core, &[site.as_str()], asked.held());
        }
        if self.site.is_some() || asked.buffer.is_some() {
            return Err(
                err!(Argument, "expected `site` and `buffer` with a store, found them with a tensor").about("options")
            );
        }
        Source::of_tensors(&[values("x", x)?], asked.seed(), About::default())
    }
}

fn of_activations(x: &Dynamic, map: Options, env: &Env) -> Result<Sae> {
    let mut read = options(map);
    let asked = asked(&mut read, env)?;
    let given = OfActivations::read(&mut read)?;
    read.finish()?;
    Ok(asked.fitted(given.source(x, &asked)?, asked.keep.dir.as_ref().map(PathBuf::from), env)?.into())
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
    /// not be stored. `microtome cache` lists the cache, and `--fresh` ignores it. Dictionaries with a `dir`, of a
    /// tensor or of a store are not cached, nor are transcoders and crosscoders.
    ///
    /// # Options
    /// - [fit]
    /// - [kinds]
    /// - [keep]
    /// - `site` = its only one: for a store, the site
    /// - `buffer` = 32768 for a store, and for a text what 2 GiB hold: rows in the shuffle buffer, from which batches
    ///   are drawn
    /// - `without_bos` = false: for a text, skips BOS tokens
    /// - `without_first` = 0: for a text, skips this many first positions of each row
    /// - `without_tokens` = none: for a text, skips these tokens, given as ids or as texts of one token
    /// - `without_labels` = none: for a text with labels, skips tokens by their labels, as in `#{ depth: [0] }`
    /// - `context` = the model's: for a text, tokens in a row
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
        Ok(super::of_activations(&x, options, &*env(&ctx)?)?)
    }

    #[rhai_fn(name = "fit", return_raw)]
    pub fn fit_site(ctx: NativeCallContext, m: Model, site: &str, text: Text, options: Options) -> Fallible<Sae> {
        // Several are refused before any of them is fitted.
        if select(m.config(), site).map_err(|e| e.about("site"))?.len() > 1 {
            return Err(err!(Argument, "expected one site to fit, and `{site}` names several")
                .hint("sae::fit_all fits a dictionary to each")
                .about("site")
                .into());
        }
        let env = env(&ctx)?;
        let found = super::of_sites(&env, &m, &[site], &text, options)?.pop();
        Ok(found.ok_or_else(|| err!(Bug, "a site without a dictionary"))?)
    }

    /// Fits a dictionary to each of several sites of a model, in the order of the computation, or to each site of a store.
    ///
    /// `sites` is a set such as `resid_post.*`, or an array of sites. One forward pass gives the activations of as many
    /// of them as fit into memory together. Where not even one fits, the model runs for each site in every epoch, and a
    /// store that is harvested once is better. With a `dir`, each site has a folder there.
    ///
    /// # Options
    /// - [fit]
    /// - [kinds]
    /// - [keep]
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
        let env = env(&ctx)?;
        let found = super::of_sites(&env, &m, &sites, &text, options)?;
        Ok(found.into_iter().map(Dynamic::from).collect())
    }

    #[rhai_fn(name = "fit_all", return_raw)]
    pub fn fit_store(ctx: NativeCallContext, store: Store, options: Options) -> Fallible<Array> {
        let (env, mut read) = (env(&ctx)?, super::options(options));
        let asked = super::asked(&mut read, &env)?;
        read.finish()?;
        let found = super::of_store(&store, &asked, &store.site_names(), &env)?;
        Ok(found.into_iter().map(Dynamic::from).collect())
    }
}
