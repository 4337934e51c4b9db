//! Linear baselines: dictionaries that need no fitting, or little.

use rand::Rng;

use crate::base::random::{generator, stream};
use crate::sae::baselines::{
    self, ComponentOptions, CovarianceMoments, Ica, IcaOptions, KeptCodesOptions, NeuronsOptions, Nmf, RandomOptions,
};
use crate::script::prelude::*;
use crate::script::sae::Sae;
use crate::script::tensor::values;

/// Returns a baseline's own random stream: with the seed of a tensor it must not draw that tensor's numbers again as
/// directions.
pub(super) fn draws(seed: Seed) -> impl Rng + use<> {
    stream(generator(seed.draws()).next_u64(), "baseline", 0)
}

/// Estimates the cost of a dictionary that needs no data: the gain of random directions is found on 256 rows.
pub(super) fn cost(width: usize, features: usize) -> f64 {
    256.0 * width as f64 * features as f64
}

#[export_module(manifest)]
pub mod functions {
    /// Computes the principal components of activations `[.., d]` as a dictionary, the largest variance first.
    ///
    /// Codes may be negative. Like all baselines it keeps the `k` codes of the largest absolute value, where an L0 is
    /// wanted.
    ///
    /// # Options
    /// - [components]
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([200, 3], #{ seed: 1 }) * tensor([5, 1, 0.1]);
    /// let s = sae::pca(x);
    /// s.directions[0][0].abs() > 0.99  //=> true
    /// s.reconstruct(x).all_close(x, #{ atol: 1e-4 })  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn pca(ctx: NativeCallContext, x: Any, options: Options) -> Fallible<Sae> {
        let env = env(&ctx)?;
        let ComponentOptions { count, codes } = taken(options)?;
        let moments = CovarianceMoments::of(&values("x", &x)?, &env.task).map_err(|e| e.about("x"))?;
        Sae::placed(baselines::pca(&moments, count, codes.k, &env.task)?, &env)
    }

    /// Splits each direction of a linear dictionary into its positive and its negative half, each with a code that is
    /// not negative: relu(x . d) and relu(-x . d).
    ///
    /// The reconstruction is that of the dictionary itself, such as one of `sae::pca`.
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([200, 3], #{ seed: 1 });
    /// let halves = sae::split_signs(sae::pca(x));
    /// halves.d_sae  //=> 6
    /// halves.reconstruct(x).all_close(x, #{ atol: 1e-4 })  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn split_signs(s: Sae) -> Fallible<Sae> {
        Ok(baselines::split_signs(&s.core).map_err(|e| e.about("s"))?.into())
    }

    /// Fits independent components of activations `[.., d]` (FastICA, Hyvärinen 1999) as a dictionary.
    ///
    /// # Options
    /// - [ica]
    ///
    /// # Example
    /// ```
    /// let sources = tensor::uniform([2000, 2], #{ low: -1, seed: 1 });
    /// let s = sae::ica(sources @ tensor([[1, 0.5], [0, 1]]), #{ seed: 1 });
    /// s.d_sae  //=> 2
    /// ```
    #[rhai_fn(return_raw)]
    pub fn ica(ctx: NativeCallContext, x: Any, options: Options) -> Fallible<Sae> {
        let env = env(&ctx)?;
        let IcaOptions { seed, components } = taken(options)?;
        let settings = Ica { components: components.count, k: components.codes.k, ..Ica::default() };
        let x = values("x", &x)?;
        let found = env.drawing(&ctx, "sae::ica", seed, |seed| {
            baselines::ica(&x, &settings, &mut super::draws(seed), &env.task).map_err(|e| e.about("x"))
        })?;
        Sae::placed(found, &env)
    }

    /// Fits a non-negative matrix factorisation of activations `[.., d]`, of `[relu(x), relu(-x)]`, as a dictionary.
    ///
    /// # Options
    /// - [random_baseline]
    ///
    /// # Example
    /// ```
    /// let x = tensor::uniform([50, 2], #{ seed: 1 }) @ tensor([[1, 0, 2], [0, 1, 1]]);
    /// sae::nmf(x, 2, #{ seed: 1 }).reconstruct(x).all_close(x, #{ atol: 0.05 })  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn nmf(ctx: NativeCallContext, x: Any, count: Int, options: Options) -> Fallible<Sae> {
        let env = env(&ctx)?;
        let RandomOptions { seed, codes } = taken(options)?;
        let settings = Nmf { k: codes.k, ..Nmf::new(given("count", &count).size()?) };
        let x = values("x", &x)?;
        let found = env.drawing(&ctx, "sae::nmf", seed, |seed| {
            baselines::nmf(&x, &settings, &mut super::draws(seed), &env.task).map_err(|e| e.about("x"))
        })?;
        Sae::placed(found, &env)
    }

    /// Builds a dictionary of the neurons of a site of this width: codes are the activations.
    ///
    /// # Options
    /// - [neurons]
    ///
    /// # Example
    /// ```
    /// sae::neurons(3, #{ k: 1 }).encode([1, -2, 0.5])  //=> tensor([0.0, -2.0, 0.0])
    /// sae::neurons(3, #{ relu: true }).encode([1, -2, 0.5])  //=> tensor([1.0, 0.0, 0.5])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn neurons(ctx: NativeCallContext, width: Int, options: Options) -> Fallible<Sae> {
        let NeuronsOptions { relu, codes: KeptCodesOptions { k } } = taken(options)?;
        let width = given("width", &width).size()?;
        let made = move || if relu { baselines::neurons_relu(width, k) } else { baselines::neurons(width, k) };
        Ok(env(&ctx)?.task.heavy(super::cost(width, width), made)?.into())
    }

    /// Draws random directions, uniform on the sphere, as a dictionary: the baseline that every other one must beat.
    ///
    /// The first argument is the width of the activations, or activations `[.., d]` themselves, whose mean is then
    /// subtracted before encoding and added after decoding, as in PCA: without that a large mean takes all the codes. A
    /// code is g x . d, with the gain g that minimises the squared error at the number of codes that is kept; it is
    /// computed for rows uniform on the sphere, since random directions have no preferred rows. `s.more.gain` is the
    /// gain, and `keeping` recomputes it for its `k`.
    ///
    /// # Options
    /// - [random_baseline]
    ///
    /// # Example
    /// ```
    /// sae::random(4, 10, #{ seed: 1 })  //=> random dictionary of 10 features
    /// let x = tensor::randn([500, 4], #{ seed: 1 }) + 9;
    /// let fve = |k| sae::random(x, 40, #{ k: k, seed: 2 }).measure(x)["fve"];
    /// 0 < fve.call(4) && fve.call(4) < 1  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn random(ctx: NativeCallContext, x: Any, features: Int, options: Options) -> Fallible<Sae> {
        let env = env(&ctx)?;
        let RandomOptions { seed, codes: KeptCodesOptions { k } } = taken(options)?;
        let features = given("features", &features).size()?;
        let moments = if x.is_array() || x.is::<Tensor>() {
            Some(CovarianceMoments::of(&values("x", &x)?, &env.task).map_err(|e| e.about("x"))?)
        } else {
            None
        };
        let width = moments.as_ref().map_or_else(|| given("x", &x).size(), |moments| Ok(moments.width()))?;
        let found = env.drawing(&ctx, "sae::random", seed, |seed| {
            let mut draws = super::draws(seed);
            env.task.heavy(super::cost(width, features), move || match moments {
                Some(moments) => baselines::random_about(&moments, features, k, &mut draws),
                None => baselines::random(width, features, k, &mut draws),
            })
        })?;
        Sae::placed(found, &env)
    }

    /// Builds the identity as a dictionary: codes and reconstruction are the activations.
    ///
    /// # Example
    /// ```
    /// sae::identity(3).reconstruct([1, 2, 3])  //=> tensor([1.0, 2.0, 3.0])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn identity(ctx: NativeCallContext, width: Int) -> Fallible<Sae> {
        let width = given("width", &width).size()?;
        Ok(env(&ctx)?.task.heavy(super::cost(width, width), move || baselines::identity(width))?.into())
    }
}
