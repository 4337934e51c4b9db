//! `hooks::`: changes of activations during a forward pass, as values that are made before any run.

use super::model::{Cache, Hook, HookAction, Run};
use crate::intervene::{FeatureHook, FeatureHookOptions};
use crate::model::cache::Cache as Recorded;
use crate::model::hooks::{Action, HookOptions, MeanOptions, PatchSource, Projection};
use crate::sae::{Sae, site_of};
use crate::script::engine::options::OptionReader;
use crate::script::features::Feature;
use crate::script::prelude::*;
use crate::script::tensor::values;

/// The groups of options that doc comments here name.
pub const OPTIONS: &[NamedOptions] = &[
    ("hook", fields::<HookOptions>),
    ("feature_hook", fields::<FeatureHookOptions>),
    ("mean_hook", fields::<MeanOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[handle_type::<Hook>()];

/// Makes the hook on the site or the features in the first argument of a call, with the options of both.
fn hook(ctx: &NativeCallContext, what: HookAction, place: &Dynamic, read: OptionReader) -> Fallible<Hook> {
    Ok(placed(what, &given("place", place), read, &env(ctx)?.task)?)
}

fn placed(what: HookAction, place: &GivenValue, mut options: OptionReader, task: &Task) -> Result<Hook> {
    let on_features: FeatureHookOptions = options.declared()?;
    let hook = Hook::new(what, "", &mut options)?;
    options.finish()?;
    match features(place, &on_features)? {
        Some(features) => hook.on_features(features, task),
        None => Ok(hook.at(place.text().map_err(|_| place.refuse("a site, a feature or an array of features"))?)),
    }
}

/// Reads an argument as a feature, or as an array of features of one dictionary; None where it is something else, which
/// takes none of these options.
fn features(place: &GivenValue, options: &FeatureHookOptions) -> Result<Option<FeatureHook>> {
    let features: Option<Vec<Feature>> = place.elements().iter().map(GivenValue::handle).collect();
    let Some(features) = features.filter(|features| !features.is_empty()) else {
        return match options.given() {
            Some(key) => Err(err!(Argument, "expected features beside the option `{key}`, found a site").about(key)),
            None => Ok(None),
        };
    };
    let indices = features.iter().map(|feature| feature.index).collect();
    FeatureHook::new(one_dictionary(&features)?, indices, options, site_of).map(Some)
}

/// Returns the dictionary of features, which must be one.
fn one_dictionary(features: &[Feature]) -> Result<Sae> {
    let mut saes = features.iter().map(|feature| &feature.sae);
    let first = saes.next().ok_or_else(|| err!(Argument, "expected at least one feature, found none"))?;
    match saes.find(|sae| !std::ptr::eq(sae.core.parts(), first.core.parts())) {
        None => Ok(first.core.clone()),
        Some(other) => {
            let first = Handle::short(first);
            let other = Handle::short(other);
            Err(err!(
                Argument,
                "expected features of one dictionary, found some of the {first} and some of the {other}"
            )
            .hint("make a hook for each dictionary: hooks act in the order that they are given in")
            .about("place"))
        }
    }
}

/// Returns the recorded activations of a cache or a run.
fn recorded(value: &Dynamic) -> Option<Arc<Recorded>> {
    if let Some(cache) = value.read_lock::<Cache>() {
        return Some(cache.activations().clone());
    }
    value.read_lock::<Run>().map(|run| run.cache().activations().clone())
}

/// Reads the amount of a hook: a number, a tensor or an array of numbers.
fn amount(name: &str, value: &Dynamic) -> Result<Tensor> {
    match given(name, value).number() {
        Ok(number) => Ok(Tensor::new(number, &Device::Cpu)?),
        Err(_) => {
            values(name, value).map_err(|_| given(name, value).refuse("a number, a tensor or an array of numbers"))
        }
    }
}

fn source(value: &Dynamic) -> Result<PatchSource> {
    if let Some(cache) = recorded(value) {
        return Ok(PatchSource::Cache(cache));
    }
    amount("from", value)
        .map(PatchSource::Tensor)
        .map_err(|_| given("from", value).refuse("a cache, a run, a number, a tensor or an array of numbers"))
}

#[export_module(manifest)]
pub mod functions {
    /// Returns a hook that ablates the activations at a site, or those of features: it sets them to 0 (zero ablation).
    ///
    /// Sites have the usual names: `mlp_out.3`, `z.3.5` for one head, `resid_post.*` for all layers, and those of
    /// TransformerLens, `blocks.3.hook_mlp_out`. Hooks are given to a call as `#{ hooks: [..] }` and act in that order.
    ///
    /// In place of a site it takes a feature, or an array of features of one dictionary. Then the hook acts on their codes,
    /// at the site that the dictionary reads: x becomes x + (c' - c) D, with the codes c of x, the changed codes c', and the
    /// features' directions D. So the reconstruction error is kept; with `error: "drop"` x becomes x_hat + (c' - c) D. A
    /// second hook on the same dictionary encodes the result of the first, where other features may be active: give features
    /// that belong together to one hook.
    ///
    /// # Options
    /// - [hook]
    /// - [feature_hook]
    ///
    /// # Example
    /// ```
    /// hooks::zero("mlp_out.3")  //=> zero at mlp_out.3
    /// hooks::zero("z.0", #{ heads: [1, 2], pos: -1 })  //=> zero at z.0, heads 1, 2, position -1
    /// let s = sae::load("tests/fixtures/saes/saelens-topk");
    /// hooks::zero(s.feature(12))  //=> zero feature 12 of resid_post.3, error kept
    /// hooks::zero([s.feature(3), s.feature(5)], #{ others: true })  //=> zero all but features 3, 5 of resid_post.3, error kept
    /// ```
    #[rhai_fn(return_raw)]
    pub fn zero(ctx: NativeCallContext, place: Any, options: Options) -> Fallible<Hook> {
        super::hook(&ctx, HookAction::Act(Action::Zero), &place, super::options(options))
    }

    /// Returns a hook that replaces the activations at a site, or those of features, by their recorded mean (mean
    /// ablation).
    ///
    /// `data` is a cache or a run in which the site was recorded. Padding does not count. A feature's mean is over its codes
    /// at all other positions, those where it is inactive included; see `hooks::zero` for how a hook acts on features.
    ///
    /// # Options
    /// - [mean_hook]
    /// - [hook]
    /// - [feature_hook]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let data = m.cache([[1, 2, 3], [4, 5, 6]], "mlp_out.0");
    /// let mean = hooks::mean("mlp_out.0", data);
    /// let out = m.cache([7, 8], "mlp_out.0", #{ hooks: mean })["mlp_out.0"];
    /// out[0].all_close(data.mean("mlp_out.0")[0].expand([2, 8]))  //=> true
    /// hooks::mean(sae::identity(8).feature(2), data, #{ site: "mlp_out.0" })  //=> mean of feature 2 of mlp_out.0, error kept
    /// ```
    #[rhai_fn(return_raw)]
    pub fn mean(ctx: NativeCallContext, place: Any, data: Any, options: Options) -> Fallible<Hook> {
        let mut read = super::options(options);
        let MeanOptions { by_position } = read.declared()?;
        let cache = super::recorded(&data).ok_or_else(|| given("data", &data).refuse("a cache or a run"))?;
        super::hook(&ctx, HookAction::Act(Action::Mean { cache, by_position }), &place, read)
    }

    /// Returns a hook that replaces the activations at a site, or those of features, by activations of another run, or
    /// by given values (activation patching).
    ///
    /// From a cache or a run it takes the same site at the same positions. Values are a number, a tensor, or an array of
    /// numbers, of the shape of the activations, or one that broadcasts to it; codes are [batch, pos, features] in the
    /// order of the features given. See `hooks::zero` for how a hook acts on features.
    ///
    /// # Options
    /// - [hook]
    /// - [feature_hook]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let clean = [1, 2, 3];
    /// let corrupt = [1, 5, 3];
    /// let patch = hooks::patch("resid_pre.1", m.cache(clean, "resid_pre.1"));
    /// m.logits(corrupt, #{ hooks: patch }).all_close(m.logits(clean))  //=> true
    /// let s = sae::load("tests/fixtures/saes/saelens-topk");
    /// hooks::patch(s.feature(12), 4)  //=> patch feature 12 of resid_post.3 with 4.0, error kept
    /// ```
    #[rhai_fn(return_raw)]
    pub fn patch(ctx: NativeCallContext, place: Any, from: Any, options: Options) -> Fallible<Hook> {
        super::hook(&ctx, HookAction::Act(Action::Patch(super::source(&from)?)), &place, super::options(options))
    }

    /// Returns a hook that adds a vector or a number, times a scale, to the activations at a site, or to those of
    /// features.
    ///
    /// The scale is 1 by default. Adding to a code steers along the feature's direction, whether the feature is active or
    /// not; see `hooks::zero` for how a hook acts on features.
    ///
    /// # Options
    /// - [hook]
    /// - [feature_hook]
    ///
    /// # Example
    /// ```
    /// hooks::add("resid_post.3", tensor::ones([64]), 2)  //=> add 2.0 times [64] at resid_post.3
    /// let s = sae::load("tests/fixtures/saes/saelens-topk");
    /// hooks::add(s.feature(12), 5, #{ pos: -1 })  //=> add 5.0 to feature 12 of resid_post.3, position -1, error kept
    /// ```
    #[rhai_fn(return_raw)]
    pub fn add(ctx: NativeCallContext, place: Any, vector: Any, scale: Num, options: Options) -> Fallible<Hook> {
        let vector = super::amount("vector", &vector)?;
        let scale = given("scale", &scale).number()?;
        super::hook(&ctx, HookAction::Act(Action::Add { vector, scale }), &place, super::options(options))
    }

    #[rhai_fn(name = "add", return_raw)]
    pub fn add_once(ctx: NativeCallContext, place: Any, vector: Any, options: Options) -> Fallible<Hook> {
        let vector = super::amount("vector", &vector)?;
        super::hook(&ctx, HookAction::Act(Action::Add { vector, scale: 1.0 }), &place, super::options(options))
    }

    /// Returns a hook that multiplies the activations at a site, or those of features, by a number.
    ///
    /// See `hooks::zero` for how a hook acts on features.
    ///
    /// # Options
    /// - [hook]
    /// - [feature_hook]
    ///
    /// # Example
    /// ```
    /// hooks::scale("attn_out.*", 0)  //=> scale by 0.0 at attn_out.*
    /// let s = sae::load("tests/fixtures/saes/saelens-topk");
    /// hooks::scale(s.feature(-1), 2, #{ error: "drop" })  //=> scale feature 95 of resid_post.3 by 2.0, error dropped
    /// ```
    #[rhai_fn(return_raw)]
    pub fn scale(ctx: NativeCallContext, place: Any, factor: Num, options: Options) -> Fallible<Hook> {
        let factor = given("factor", &factor).number()?;
        super::hook(&ctx, HookAction::Act(Action::Scale(factor)), &place, super::options(options))
    }

    /// Returns a hook that projects a direction, or several, out of the activations at a site: the rest is orthogonal
    /// to them.
    ///
    /// `vector` is a tensor or an array of numbers, [width], or several, [n, width]; their lengths do not matter. x becomes
    /// x - (x . u) u for each u of an orthonormal basis of them. The direction of a probe is one to take out.
    ///
    /// # Options
    /// - [hook]
    /// - [feature_hook]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let v = tensor::ones([8]);
    /// let hook = hooks::project_out("mlp_out.0", v);
    /// hook  //=> project out 1 direction at mlp_out.0
    /// let x = m.cache([1, 2, 3], "mlp_out.0", #{ hooks: hook })["mlp_out.0"];
    /// x.sum([-1]).abs().max() < 1e-5  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn project_out(ctx: NativeCallContext, place: Any, vector: Any, options: Options) -> Fallible<Hook> {
        let directions = super::values("vector", &vector)?;
        let projection = Projection::removing(&directions).map_err(|e| e.about("vector"))?;
        super::hook(&ctx, HookAction::Act(Action::Project(projection)), &place, super::options(options))
    }

    /// Returns a hook that replaces the activations at a site, or those of features, by the result of a function.
    ///
    /// The function is `|x|` or `|x, at|`. `x` is the activation, or the part of it that `pos` and `heads` select; if the
    /// function returns nothing, it is not changed. Codes are [batch, pos, features], in the order of the features given;
    /// see `hooks::zero` for how a hook acts on them. `at` is a map: `site`, `layer` and `head` (`()` where there is none),
    /// `pos` (the first and the last position of this pass), `step` (0 for the prompt, 1 for the pass that reads the first
    /// generated token, and so on), `texts` (which of the batch these are), and `lengths` (the number of tokens read of each
    /// of them). Where texts have different lengths, the function is called for each by itself, with [1, ..] of its own
    /// length, so that it never sees padding; but if `pos` names positions, which all of them have, it is called for all at
    /// once, save at scores and patterns.
    ///
    /// # Options
    /// - [hook]
    /// - [feature_hook]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let halve = hooks::edit("mlp_out.0", |x| x / 2);
    /// let out = m.run([1, 2, 3], #{ hooks: halve })["mlp_out.0"];
    /// out.all_close(m.run([1, 2, 3])["mlp_out.0"] / 2)  //=> true
    /// let seen = [];
    /// let look = hooks::edit("resid_post.*", |x, at| seen.push([at.site, x.shape]));
    /// m.run([1, 2, 3], #{ hooks: look });
    /// seen  //=> [["resid_post.0", [1, 3, 8]], ["resid_post.1", [1, 3, 8]]]
    /// let s = sae::identity(8);
    /// let top = hooks::edit([s.feature(0), s.feature(3)], |codes| codes.clamp(0, 1), #{ site: "mlp_out.0" });
    /// m.run([1, 2], #{ hooks: top })["mlp_out.0"][0][0][3] >= 0  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn edit(ctx: NativeCallContext, place: Any, function: FnPtr, options: Options) -> Fallible<Hook> {
        super::hook(&ctx, HookAction::Edit(function.into()), &place, super::options(options))
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the site, or set of sites, at which the hook acts.
    ///
    /// # Example
    /// ```
    /// hooks::zero("mlp_out.3").site  //=> "mlp_out.3"
    /// ```
    #[rhai_fn(global, get = "site", pure)]
    pub fn site(hook: &mut Hook) -> String {
        hook.site().into()
    }

    /// Returns what the hook does and where, as a map.
    ///
    /// # Example
    /// ```
    /// hooks::zero("z.3", #{ heads: 1 }).to_map()  //=> #{ does: "zero", heads: [1], pos: (), site: "z.3" }
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(hook: &mut Hook) -> Fallible<Dynamic> {
        Ok(mapped(hook)?)
    }
}
