//! Synthetic activations with known features.

use rhai::plugin::*;
use rhai::{Dynamic, Map, NativeCallContext};

use crate::data::toy::ToyOptions;
use crate::script::engine::env::env;
use crate::script::engine::options::taken;
use crate::script::engine::value::{Fallible, Int, Options, given};
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
    /// - [toy]
    ///
    /// # Example
    /// ```
    /// let toy = data::toy(100, #{ d: 8, features: 16, active: 2, seed: 1 });
    /// [toy.x.shape, toy.directions.shape]  //=> [[100, 8], [16, 8]]
    /// round_to(toy.probabilities.sum(), 4)  //=> 2.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn toy(ctx: NativeCallContext, rows: Int, options: Options) -> Fallible<Map> {
        let (env, options): (_, ToyOptions) = (env(&ctx)?, taken(options)?);
        let rows = given("rows", &rows).size()?;
        let seed = options.seed.map(|seed| seed as u64);
        let seed = seed.unwrap_or_else(|| rand::Rng::next_u64(&mut env.random.generator(None)));
        let made = options.make(rows, seed, &env.task)?;
        let probabilities: Vec<f32> = made.probabilities.iter().map(|p| *p as f32).collect();
        let probabilities = Tensor::new(probabilities, &Device::Cpu).map_err(crate::base::Error::from)?;
        let fields = [("x", made.x), ("directions", made.directions), ("probabilities", probabilities)];
        Ok(fields.into_iter().map(|(name, tensor)| (name.into(), Dynamic::from(tensor))).collect())
    }
}
