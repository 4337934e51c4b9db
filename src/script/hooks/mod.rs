//! `hooks::`: what is done to activations while a model runs, as values that are made before any run.

pub mod call;
mod hook;

use std::rc::Rc;
use std::sync::Arc;

use rhai::plugin::*;
use rhai::{Dynamic, FnPtr};

use hook::Function;
pub use hook::{Hook, What};

use super::model::{Cache, Run};
use super::options::options;
use super::tensor::values;
use super::value::{Any, Fallible, Num, Options, given};
use crate::base::Result;
use crate::model::cache::Cache as Recorded;
use crate::model::hooks::{Action, Source};

/// A hook whose options are those that every hook has.
fn hook(what: What, site: &str, at: usize, map: Options) -> Fallible<Hook> {
    let mut read = options(at, map);
    let hook = Hook::new(what, site, &mut read)?;
    read.finish()?;
    Ok(hook)
}

/// What a run recorded, from a cache or a run.
fn recorded(value: &Dynamic) -> Option<Arc<Recorded>> {
    if let Some(cache) = value.read_lock::<Cache>() {
        return Some(cache.activations().clone());
    }
    value.read_lock::<Run>().map(|run| run.cache().activations().clone())
}

fn source(value: &Dynamic) -> Result<Source> {
    if let Some(cache) = recorded(value) {
        return Ok(Source::Cache(cache));
    }
    values(1, "from", value)
        .map(Source::Tensor)
        .map_err(|_| given(1, "from", value).refuse("a cache, a run, a tensor or an array of numbers"))
}

#[export_module(manifest)]
pub mod functions {
    /// A hook that sets what flows at a site to 0.
    ///
    /// A site is named as everywhere: `mlp_out.3`, `z.3.5` for one head, `resid_post.*` for every layer,
    /// `blocks.3.hook_mlp_out` as TransformerLens has it. Hooks are given to a call as `#{ hooks: [..] }` and act in
    /// that order.
    ///
    /// # Options
    /// - `pos` = all: a position or several; negative ones count from the end of each text
    /// - `heads` = all: a head or several, where the site has heads
    ///
    /// # Example
    /// ```
    /// hooks::zero("mlp_out.3")  //=> zero at mlp_out.3
    /// hooks::zero("z.0", #{ heads: [1, 2], pos: -1 })  //=> zero at z.0, heads 1, 2, position -1
    /// ```
    #[rhai_fn(return_raw)]
    pub fn zero(site: &str) -> Fallible<Hook> {
        zero_with(site, Options::new())
    }

    #[rhai_fn(name = "zero", return_raw)]
    pub fn zero_with(site: &str, options: Options) -> Fallible<Hook> {
        super::hook(What::Act(Action::Zero), site, 1, options)
    }

    /// A hook that replaces what flows at a site by the mean of what was recorded there.
    ///
    /// `data` is a cache or a run in which the site was recorded. Filled-up positions of shorter texts do not count.
    ///
    /// # Options
    /// - `by_position` = false: a mean for each position, over the texts, in place of one over all positions
    /// - `pos` = all: a position or several; negative ones count from the end of each text
    /// - `heads` = all: a head or several, where the site has heads
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let data = m.cache([[1, 2, 3], [4, 5, 6]], "mlp_out.0");
    /// let mean = hooks::mean("mlp_out.0", data);
    /// let out = m.cache([7, 8], "mlp_out.0", #{ hooks: mean })["mlp_out.0"];
    /// out[0].all_close(data.mean("mlp_out.0")[0].expand([2, 8]))  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn mean(site: &str, data: Any) -> Fallible<Hook> {
        mean_with(site, data, Options::new())
    }

    #[rhai_fn(name = "mean", return_raw)]
    pub fn mean_with(site: &str, data: Any, options: Options) -> Fallible<Hook> {
        let mut read = super::options(2, options);
        let by_position = read.flag("by_position", false)?;
        let cache = super::recorded(&data).ok_or_else(|| given(1, "data", &data).refuse("a cache or a run"))?;
        let hook = Hook::new(What::Act(Action::Mean { cache, by_position }), site, &mut read)?;
        read.finish()?;
        Ok(hook)
    }

    /// A hook that replaces what flows at a site by what another run has there, or by given values.
    ///
    /// From a cache or a run it takes the same site at the same positions. Values are a tensor, or an array of numbers,
    /// of the shape that flows at the site, or one that stretches to it.
    ///
    /// # Options
    /// - `pos` = all: a position or several; negative ones count from the end of each text
    /// - `heads` = all: a head or several, where the site has heads
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let clean = [1, 2, 3];
    /// let corrupt = [1, 5, 3];
    /// let patch = hooks::patch("resid_pre.1", m.cache(clean, "resid_pre.1"));
    /// m.logits(corrupt, #{ hooks: patch }).all_close(m.logits(clean))  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn patch(site: &str, from: Any) -> Fallible<Hook> {
        patch_with(site, from, Options::new())
    }

    #[rhai_fn(name = "patch", return_raw)]
    pub fn patch_with(site: &str, from: Any, options: Options) -> Fallible<Hook> {
        super::hook(What::Act(Action::Patch(super::source(&from)?)), site, 2, options)
    }

    /// A hook that adds a vector, times a scale, to what flows at a site.
    ///
    /// # Options
    /// - `pos` = all: a position or several; negative ones count from the end of each text
    /// - `heads` = all: a head or several, where the site has heads
    ///
    /// # Example
    /// ```
    /// hooks::add("resid_post.3", tensor::ones([64]), 2)  //=> add 2.0 times [64] at resid_post.3
    /// ```
    #[rhai_fn(return_raw)]
    pub fn add(site: &str, vector: Any, scale: Num) -> Fallible<Hook> {
        add_with(site, vector, scale, Options::new())
    }

    #[rhai_fn(name = "add", return_raw)]
    pub fn add_with(site: &str, vector: Any, scale: Num, options: Options) -> Fallible<Hook> {
        let (vector, scale) = (super::values(1, "vector", &vector)?, given(2, "scale", &scale).number()?);
        super::hook(What::Act(Action::Add { vector, scale }), site, 3, options)
    }

    /// A hook that multiplies what flows at a site by a number.
    ///
    /// # Options
    /// - `pos` = all: a position or several; negative ones count from the end of each text
    /// - `heads` = all: a head or several, where the site has heads
    ///
    /// # Example
    /// ```
    /// hooks::scale("attn_out.*", 0)  //=> scale by 0.0 at attn_out.*
    /// ```
    #[rhai_fn(return_raw)]
    pub fn scale(site: &str, factor: Num) -> Fallible<Hook> {
        scale_with(site, factor, Options::new())
    }

    #[rhai_fn(name = "scale", return_raw)]
    pub fn scale_with(site: &str, factor: Num, options: Options) -> Fallible<Hook> {
        let factor = given(1, "factor", &factor).number()?;
        super::hook(What::Act(Action::Scale(factor)), site, 2, options)
    }

    /// A hook that gives what flows at a site to a function and puts what it returns in its place.
    ///
    /// The function is `|x|` or `|x, at|`. `x` is the activation, or the part of it that `pos` and `heads` mean; one that
    /// returns nothing leaves it alone. `at` is a map that says where and when: `site`, `layer` and `head` (`()` where
    /// there is none), `pos` (the first and the last position of this pass), `step` (0 for the text itself, 1 for the
    /// pass that reads the first generated token, and so on), and `lengths` (how many tokens of each text have been
    /// read).
    ///
    /// # Options
    /// - `pos` = all: a position or several; negative ones count from the end of each text
    /// - `heads` = all: a head or several, where the site has heads
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
    /// ```
    #[rhai_fn(return_raw)]
    pub fn edit(site: &str, function: FnPtr) -> Fallible<Hook> {
        edit_with(site, function, Options::new())
    }

    #[rhai_fn(name = "edit", return_raw)]
    pub fn edit_with(site: &str, function: FnPtr, options: Options) -> Fallible<Hook> {
        let function = Function { function, takes_one: Rc::default() };
        super::hook(What::Edit(function), site, 2, options)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// The name of the site, or the set of sites, at which the hook acts.
    ///
    /// # Example
    /// ```
    /// hooks::zero("mlp_out.3").site  //=> "mlp_out.3"
    /// ```
    #[rhai_fn(global, get = "site", pure)]
    pub fn site(hook: &mut Hook) -> String {
        hook.site().into()
    }

    /// What the hook does and where, as a map.
    ///
    /// # Example
    /// ```
    /// hooks::zero("z.3", #{ heads: 1 }).to_map()  //=> #{ does: "zero", heads: [1], pos: (), site: "z.3" }
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(hook: &mut Hook) -> Fallible<Dynamic> {
        use crate::script::show::Handle;
        Ok(crate::script::value::from_json(&hook.json()?))
    }
}
