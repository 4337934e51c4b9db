//! Synthetic activations with known features.

use rhai::plugin::*;
use rhai::{Dynamic, Map, NativeCallContext};

use crate::data::toy::Toy;
use crate::script::env::env;
use crate::script::options::options;
use crate::script::value::{Fallible, Int, Options, given};
use crate::tensor::{Device, Tensor};

#[export_module(manifest)]
pub mod functions {
    /// Synthetic activations with ground truth: sparse sums of random directions (Sharkey et al. 2022; Cunningham et
    /// al. 2023, section 3).
    ///
    /// Feature i is active with a probability proportional to `decay^i`, with a strength uniform from 0 to 1. Returns a
    /// map: `x`, `[rows, d]`; the `directions`, `[features, d]`, each of norm 1; and the `probabilities` of the
    /// features.
    ///
    /// # Options
    /// - `d` = 256: width of the activations
    /// - `features` = 512: number of features
    /// - `active` = 5: mean number of active features in a row
    /// - `decay` = 0.99: probability of each feature relative to the one before
    /// - `correlation` = 0: correlation between the activities of features, through a Gaussian copula
    /// - `noise` = 0: standard deviation of the noise that is added to every coordinate
    /// - `seed` = the run's seed: the seed of this call
    ///
    /// # Example
    /// ```
    /// let toy = data::toy(100, #{ d: 8, features: 16, active: 2, seed: 1 });
    /// [toy.x.shape, toy.directions.shape]  //=> [[100, 8], [16, 8]]
    /// round_to(toy.probabilities.sum(), 4)  //=> 2.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn toy(ctx: NativeCallContext, rows: Int, options: Options) -> Fallible<Map> {
        let (env, mut read) = (env(&ctx)?, super::options(options));
        let toy = Toy {
            rows: given("rows", &rows).size()?,
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
