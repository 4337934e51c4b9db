//! Synthetic activations with known features.

use crate::data::synth::{self, SynthOptions};
use crate::data::toy::ToyOptions;
use crate::script::prelude::*;

#[export_module(manifest)]
pub mod functions {
    /// Draws synthetic activations with ground truth: sparse sums of random directions (Sharkey et al. 2022; Cunningham
    /// et al. 2023, section 3).
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
        let env = env(&ctx)?;
        let options: ToyOptions = taken(options)?;
        let rows = given("rows", &rows).size()?;
        let made = env.drawing(&ctx, "data::toy", options.seed, |seed| options.make(rows, seed.draws(), &env.task))?;
        let probabilities: Vec<f32> = made.probabilities.iter().map(|p| *p as f32).collect();
        let probabilities = Tensor::new(probabilities, &Device::Cpu).map_err(crate::base::Error::from)?;
        let fields = [("x", made.x), ("directions", made.directions), ("probabilities", probabilities)];
        Ok(fields.into_iter().map(|(name, tensor)| (name.into(), Dynamic::from(tensor))).collect())
    }

    /// Draws synthetic activations of a kind by its name. There is one, "synth": the benchmark SynthSAEBench (Chanin &
    /// Garriga-Alonso 2026), whose features are in superposition, in hierarchies of parents and of children one of
    /// which at a time is active, and correlated.
    ///
    /// The defaults are those of its model of 16,384 features in 768 dimensions: probabilities fall with the root of the
    /// rank; strengths are normal, with means from 5 down to 4; a child's strength is scaled by its parent's; directions
    /// are turned apart by gradient descent. Returns a map: `x`, `[rows, d]`; the `directions`, `[features, d]`; the
    /// `probabilities` of the features; the mean number of `active` features in a row; and with the option `codes` also
    /// these, `[rows, features]`. `s.recovery(toy)` compares a dictionary with them.
    ///
    /// # Options
    /// - [synth]
    ///
    /// # Example
    /// ```
    /// let toy = data::toy("synth", #{ rows: 50, d: 8, features: 30, roots: 2, codes: true, seed: 1 });
    /// [toy.x.shape, toy.directions.shape, toy.codes.shape]  //=> [[50, 8], [30, 8], [50, 30]]
    /// round_to(toy.probabilities[0], 4)  //=> 0.4
    /// ```
    #[rhai_fn(name = "toy", return_raw)]
    pub fn toy_of_kind(ctx: NativeCallContext, kind: &str, options: Options) -> Fallible<Map> {
        let env = env(&ctx)?;
        let options: SynthOptions = taken(options)?;
        if kind != synth::NAME {
            return Err(err!(Name, "unknown kind of toy activations `{kind}`")
                .hint(format!("there is {:?}; `data::toy(rows)` has independent features", synth::NAME))
                .about("kind")
                .into());
        }
        let made = env.drawing(&ctx, "data::toy", options.seed, |seed| options.make(seed.draws(), &env.task))?;
        let probabilities: Vec<f32> = made.probabilities.iter().map(|p| *p as f32).collect();
        let probabilities = Tensor::new(probabilities, &Device::Cpu).map_err(crate::base::Error::from)?;
        let fields = [("x", made.x), ("directions", made.directions), ("probabilities", probabilities)];
        let tensors = fields.into_iter().chain(made.codes.map(|codes| ("codes", codes)));
        let mut map: Map = tensors.map(|(name, tensor)| (name.into(), Dynamic::from(tensor))).collect();
        map.insert("active".into(), made.active.into());
        Ok(map)
    }
}
