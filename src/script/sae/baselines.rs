//! Linear baselines: dictionaries that need no fitting, or little.

use rand::Rng;
use rhai::NativeCallContext;
use rhai::plugin::*;

use super::dictionary::Sae;
use crate::base::random::stream;
use crate::sae::baselines::{self, Ica, Moments, Nmf};
use crate::script::env::{Env, env};
use crate::script::options::options;
use crate::script::tensor::values;
use crate::script::value::{Any, Fallible, Given, Int, Options, given};
use crate::tensor::Tensor;

/// Draws of a baseline's own: with the seed of a tensor's numbers it must not draw these again as its directions.
fn draws(env: &Env, seed: Option<u64>) -> impl Rng + use<> {
    stream(env.random.generator(seed).next_u64(), "baseline", 0)
}

#[export_module(manifest)]
pub mod functions {
    /// Principal components of activations `[.., d]` as a dictionary, those of the largest variance first.
    ///
    /// Codes may be below 0. Like all baselines it keeps the `k` codes that are largest by size, where an L0 is wanted.
    ///
    /// # Options
    /// - `count` = all: how many components
    /// - `k` = all: how many codes of a row are kept
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([200, 3], #{ seed: 1 }) * tensor([5, 1, 0.1]);
    /// let s = sae::pca(x);
    /// s.directions[0][0].abs() > 0.99  //=> true
    /// s.reconstruct(x).all_close(x, #{ atol: 1e-4 })  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn pca(ctx: NativeCallContext, x: Any) -> Fallible<Sae> {
        pca_with(ctx, x, Options::new())
    }

    #[rhai_fn(name = "pca", return_raw)]
    pub fn pca_with(ctx: NativeCallContext, x: Any, options: Options) -> Fallible<Sae> {
        let (env, mut read) = (env(&ctx)?, super::options(1, options));
        let (count, k) = (read.get("count", Given::size)?, read.get("k", Given::size)?);
        read.finish()?;
        let moments = Moments::of(&values(0, "x", &x)?, &env.task).map_err(|e| e.arg(0))?;
        Ok(baselines::pca(&moments, count, k, &env.task)?.into())
    }

    /// Independent components of activations `[.., d]` (FastICA, Hyvärinen 1999) as a dictionary.
    ///
    /// # Options
    /// - `count` = all: how many components
    /// - `k` = all: how many codes of a row are kept
    /// - `seed` = none: a seed of this call's own; without one the run's seed decides
    ///
    /// # Example
    /// ```
    /// let sources = tensor::uniform([2000, 2], #{ low: -1, seed: 1 });
    /// let s = sae::ica(sources @ tensor([[1, 0.5], [0, 1]]), #{ seed: 1 });
    /// s.d_sae  //=> 2
    /// ```
    #[rhai_fn(return_raw)]
    pub fn ica(ctx: NativeCallContext, x: Any) -> Fallible<Sae> {
        ica_with(ctx, x, Options::new())
    }

    #[rhai_fn(name = "ica", return_raw)]
    pub fn ica_with(ctx: NativeCallContext, x: Any, options: Options) -> Fallible<Sae> {
        let (env, mut read) = (env(&ctx)?, super::options(1, options));
        let settings =
            Ica { components: read.get("count", Given::size)?, k: read.get("k", Given::size)?, ..Ica::default() };
        let mut draws = super::draws(&env, read.seed()?);
        read.finish()?;
        Ok(baselines::ica(&values(0, "x", &x)?, &settings, &mut draws, &env.task).map_err(|e| e.arg(0))?.into())
    }

    /// Parts of activations `[.., d]` that only add up (non-negative matrix factorisation of `[relu(x), relu(-x)]`) as a
    /// dictionary.
    ///
    /// # Options
    /// - `k` = all: how many codes of a row are kept
    /// - `seed` = none: a seed of this call's own; without one the run's seed decides
    ///
    /// # Example
    /// ```
    /// let x = tensor::uniform([50, 2], #{ seed: 1 }) @ tensor([[1, 0, 2], [0, 1, 1]]);
    /// sae::nmf(x, 2, #{ seed: 1 }).reconstruct(x).all_close(x, #{ atol: 0.05 })  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn nmf(ctx: NativeCallContext, x: Any, count: Int) -> Fallible<Sae> {
        nmf_with(ctx, x, count, Options::new())
    }

    #[rhai_fn(name = "nmf", return_raw)]
    pub fn nmf_with(ctx: NativeCallContext, x: Any, count: Int, options: Options) -> Fallible<Sae> {
        let (env, mut read) = (env(&ctx)?, super::options(2, options));
        let settings = Nmf { k: read.get("k", Given::size)?, ..Nmf::new(given(1, "count", &count).size()?) };
        let mut draws = super::draws(&env, read.seed()?);
        read.finish()?;
        Ok(baselines::nmf(&values(0, "x", &x)?, &settings, &mut draws, &env.task).map_err(|e| e.arg(0))?.into())
    }

    /// The neurons of activations of this width as features: codes are the activations.
    ///
    /// # Options
    /// - `k` = all: how many codes of a row are kept
    /// - `relu` = false: whether what is below 0 has a code of 0
    ///
    /// # Example
    /// ```
    /// sae::neurons(3, #{ k: 1 }).encode([1, -2, 0.5])  //=> tensor([0.0, -2.0, 0.0])
    /// sae::neurons(3, #{ relu: true }).encode([1, -2, 0.5])  //=> tensor([1.0, 0.0, 0.5])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn neurons(width: Int) -> Fallible<Sae> {
        neurons_with(width, Options::new())
    }

    #[rhai_fn(name = "neurons", return_raw)]
    pub fn neurons_with(width: Int, options: Options) -> Fallible<Sae> {
        let mut read = super::options(1, options);
        let (k, relu) = (read.get("k", Given::size)?, read.flag("relu", false)?);
        read.finish()?;
        let width = given(0, "width", &width).size()?;
        Ok(if relu { baselines::neurons_relu(width, k)? } else { baselines::neurons(width, k)? }.into())
    }

    /// Directions drawn evenly from the sphere, as a dictionary: what every other one must be better than.
    ///
    /// The first argument is how wide activations are, or activations `[.., d]` themselves, whose mean is then taken off before
    /// and put back after, as PCA does: without that a large mean alone takes all the codes. A code is g x . d, with the gain g
    /// that makes the squared error least for the number of codes that is kept; it is that of rows drawn evenly from the sphere,
    /// since random directions are alike to all rows. `s.more.gain` tells it, and `keeping` finds that of its `k`.
    ///
    /// # Options
    /// - `k` = all: how many codes of a row are kept
    /// - `seed` = none: a seed of this call's own; without one the run's seed decides
    ///
    /// # Example
    /// ```
    /// sae::random(4, 10, #{ seed: 1 })  //=> random dictionary of 10 features
    /// let x = tensor::randn([500, 4], #{ seed: 1 }) + 9;
    /// let fve = |k| sae::random(x, 40, #{ k: k, seed: 2 }).measure(x)["fve"];
    /// 0 < fve.call(4) && fve.call(4) < 1  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn random(ctx: NativeCallContext, x: Any, features: Int) -> Fallible<Sae> {
        random_with(ctx, x, features, Options::new())
    }

    #[rhai_fn(name = "random", return_raw)]
    pub fn random_with(ctx: NativeCallContext, x: Any, features: Int, options: Options) -> Fallible<Sae> {
        let (env, mut read) = (env(&ctx)?, super::options(2, options));
        let k = read.get("k", Given::size)?;
        let mut draws = super::draws(&env, read.seed()?);
        read.finish()?;
        let features = given(1, "features", &features).size()?;
        if x.is_array() || x.is::<Tensor>() {
            let moments = Moments::of(&values(0, "x", &x)?, &env.task).map_err(|e| e.arg(0))?;
            return Ok(baselines::random_about(&moments, features, k, &mut draws)?.into());
        }
        Ok(baselines::random(given(0, "x", &x).size()?, features, k, &mut draws)?.into())
    }

    /// The dictionary that changes nothing: codes are the activations, and so is the reconstruction.
    ///
    /// # Example
    /// ```
    /// sae::identity(3).reconstruct([1, 2, 3])  //=> tensor([1.0, 2.0, 3.0])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn identity(width: Int) -> Fallible<Sae> {
        Ok(baselines::identity(given(0, "width", &width).size()?)?.into())
    }
}
