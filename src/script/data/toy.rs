//! Activations whose features are known.

use rhai::plugin::*;
use rhai::{Dynamic, Map, NativeCallContext};

use crate::data::toy::Toy;
use crate::script::env::env;
use crate::script::options::options;
use crate::script::value::{Fallible, Int, Options, given};
use crate::tensor::{Device, Tensor};

#[export_module(manifest)]
pub mod functions {
    /// Activations that are sparse sums of random directions, so that the truth about them is known (Sharkey et al. 2022;
    /// Cunningham et al. 2023, section 3).
    ///
    /// Feature i is active with a probability in proportion to `decay^i`, as strong as a number drawn evenly from 0 to 1.
    /// What comes back is a map: `x`, `[rows, d]`; the `directions`, `[features, d]`, each of length 1; and the
    /// `probabilities` of the features.
    ///
    /// # Options
    /// - `d` = 256: how wide activations are
    /// - `features` = 512: how many features they are made of
    /// - `active` = 5: how many of them are active in a row, on average
    /// - `decay` = 0.99: by how much each feature is rarer than the one before
    /// - `correlation` = 0: how much of what makes a feature active it shares with others, through a Gaussian copula
    /// - `noise` = 0: the standard deviation of what is added to every coordinate
    /// - `seed` = none: a seed of this call's own; without one the run's seed decides
    ///
    /// # Example
    /// ```
    /// let toy = data::toy(100, #{ d: 8, features: 16, active: 2, seed: 1 });
    /// [toy.x.shape, toy.directions.shape]  //=> [[100, 8], [16, 8]]
    /// round_to(toy.probabilities.sum(), 4)  //=> 2.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn toy(ctx: NativeCallContext, rows: Int) -> Fallible<Map> {
        toy_with(ctx, rows, Options::new())
    }

    #[rhai_fn(name = "toy", return_raw)]
    pub fn toy_with(ctx: NativeCallContext, rows: Int, options: Options) -> Fallible<Map> {
        let (env, mut read) = (env(&ctx)?, super::options(1, options));
        let toy = Toy {
            rows: given(0, "rows", &rows).size()?,
            width: read.size("d", 256)?,
            features: read.size("features", 512)?,
            active: read.number("active", 5.0)?,
            decay: read.number("decay", 0.99)?,
            correlation: read.number("correlation", 0.0)?,
            noise: read.number("noise", 0.0)?,
            seed: match read.seed()? {
                Some(seed) => seed,
                None => rand::Rng::next_u64(&mut env.random.generator(None)),
            },
        };
        read.finish()?;
        let made = toy.make(&env.task)?;
        let probabilities: Vec<f32> = made.probabilities.iter().map(|p| *p as f32).collect();
        let probabilities = Tensor::new(probabilities, &Device::Cpu).map_err(crate::base::Error::from)?;
        let fields = [("x", made.x), ("directions", made.directions), ("probabilities", probabilities)];
        Ok(fields.into_iter().map(|(name, tensor)| (name.into(), Dynamic::from(tensor))).collect())
    }
}
