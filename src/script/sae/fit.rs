//! Fitting dictionaries: `sae::fit` and `sae::fit_all`.

use super::fit_calls::{FitCall, array, dictionary, one};
use super::model_and_text::ModelAndText;
use super::rows::{choosing, no_text_options, of_text_only};
use crate::data::harvest::TextReading;
use crate::model::site::one_site;
use crate::sae::fit::{Source, Target, TargetName};
use crate::script::data::Store;
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::script::sae::Sae;

/// Fits a dictionary to each site, with the model and text on which its features are looked at.
fn of_sites(mut call: FitCall, m: &Model, sites: &[&str], text: &Text) -> Result<Vec<Sae>> {
    let task = call.env.task.clone();
    let reading = choosing(&mut call.read, m.core(), text, &task)?;
    let readings = [TextReading::new(m.core(), text, &reading)];
    let found = call.run(Source::Text(&readings), Target::Dictionary(sites))?;
    let known = || Some(ModelAndText::new(m.clone(), Some((text.clone(), reading.clone())), &task));
    found.into_iter().map(|found| Ok(Sae { known: known(), ..dictionary(found)? })).collect()
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
    /// - "soft_topk": the largest codes of each row, as many as the row needs, which is learned (Stępień et al. 2026)
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
    /// not be stored. `microtome cache` lists the cache, and `--fresh` ignores it. Transcoders and crosscoders are cached
    /// alike; what has a `dir`, is of a tensor or of a store is not.
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
        Ok(one(FitCall::once(&ctx, "sae::fit", TargetName::Dictionary, options)?.run_on(&x)?)?)
    }

    #[rhai_fn(name = "fit", return_raw)]
    pub fn fit_site(ctx: NativeCallContext, m: Model, site: &str, text: Text, options: Options) -> Fallible<Sae> {
        // Several are refused before any of them is fitted.
        one_site(m.config(), site, "sae::fit_all fits a dictionary to each").map_err(|e| e.about("site"))?;
        let call = FitCall::once(&ctx, "sae::fit", TargetName::Dictionary, options)?;
        let found = super::of_sites(call, &m, &[site], &text)?.pop();
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
        let call = FitCall::once(&ctx, "sae::fit_all", TargetName::Dictionary, options)?;
        let found = super::of_sites(call, &m, &sites, &text)?;
        Ok(found.into_iter().map(Dynamic::from).collect())
    }

    #[rhai_fn(name = "fit_all", return_raw)]
    pub fn fit_store(ctx: NativeCallContext, store: Store, options: Options) -> Fallible<Array> {
        let mut call = FitCall::once(&ctx, "sae::fit_all", TargetName::Dictionary, options)?;
        no_text_options(of_text_only(&mut call.read)?)?;
        let names = store.core.site_names();
        let sites: Vec<&str> = names.iter().map(String::as_str).collect();
        Ok(array(call.run(Source::Store(&store.core), Target::Dictionary(&sites))?))
    }
}
