//! `decomposition::network`, `decomposition::fit`, `decomposition::load`.

use super::{Decomposition, MlpFitOptions, Network, NetworkFitOptions};
use crate::decomposition::Decomposition as Core;
use crate::decomposition::FitOptions;
use crate::decomposition::network::{LayerOptions, Network as CoreNetwork};
use crate::script::model::prelude::*;
use crate::script::sae::storage;

#[export_module(manifest)]
pub mod functions {
    /// Makes a network of a few layers, whose matrices can be decomposed: each layer is a map, and reads what the one before
    /// writes.
    ///
    /// A layer is a map of its `name` and `matrix`, [out, in], and if wanted its `bias`, [out], its `activation` ("none"
    /// by default), the name of an earlier layer that it `adds` the output of, whether its matrix is `fixed`, and so not
    /// decomposed, and the name of an earlier layer that it is `tied` to: its matrix is the transpose of that one's, and so are its
    /// parts. It computes `activation(matrix x + bias)`, plus what the layer wrote that it adds.
    ///
    /// # Example
    /// ```
    /// let w = tensor([[1, 0, -1], [0, 1, -1]]);
    /// let net = decomposition::network([
    ///     #{ name: "embed", matrix: w },
    ///     #{ name: "unembed", matrix: w.transpose(), activation: "relu" },
    /// ]);
    /// net  //=> network: embed 3 to 2, unembed 2 to 3
    /// net.run([[1, 0, 0]])  //=> tensor([[1.0, 0.0, 0.0]])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn network(layers: Array) -> Fallible<Network> {
        let read = |(number, layer): (usize, &Dynamic)| {
            let name = format!("layers[{number}]");
            let options: Result<LayerOptions> = given(&name, layer).map().and_then(taken);
            options.map_err(|e| e.within(name).about("layers"))
        };
        let layers = layers.iter().enumerate().map(read).collect::<Result<Vec<_>>>()?;
        Ok(Network(CoreNetwork::new(&layers)?.into()))
    }

    /// Decomposes the matrices of a network into rank-one parts, with a small network that predicts how much each part matters
    /// on an input (stochastic parameter decomposition, Bushnaq, Braun and Sharkey 2025).
    ///
    /// Each matrix becomes a sum of `parts` outer products U V^T. A part's causal importance g, from 0 to 1, says how much of it
    /// an input needs: the output should stay the same when the part is multiplied by any number from g to 1. The fit draws
    /// such numbers, and penalises importances. Inputs are drawn: each number is 0, or with a `probability` uniform within
    /// `values`.
    ///
    /// A fit that has ended is cached: the next call with the same network, options and seed loads it. One with a `dir` is not cached
    /// but resumes from its checkpoints there. `--fresh` and `fresh` fit again.
    ///
    /// # Options
    /// - [decomposition]
    ///
    /// # Example
    /// ```
    /// let net = decomposition::network([#{ name: "w", matrix: [[1, 0], [0, 1]] }]);
    /// let d = decomposition::fit(net, #{ parts: 3, steps: 2, batch: 8, seed: 1 });
    /// d  //=> parts: 3 of w
    /// d.importances([[1, 0]]).w.shape  //=> [1, 3]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn fit(ctx: NativeCallContext, net: Network, options: Options) -> Fallible<Decomposition> {
        let env = env(&ctx)?;
        let NetworkFitOptions { inputs, fit, checkpoints } = taken(options)?;
        let seed = fit.seed;
        let found = env.drawing(&ctx, "decomposition::fit", seed, |seed| {
            let options = FitOptions { seed, ..fit };
            Core::of_network(&net.0, &inputs, &options, &storage(&env, checkpoints), &env.task)
        })?;
        Ok(found.into())
    }

    /// Decomposes the matrices of one MLP of a language model into rank-one parts: `up` and `down`, and `gate` where it has one.
    ///
    /// The fit is that of `decomposition::fit`, on a text: the outputs that should stay the same are the model's predictions at
    /// every token, by the KL divergence. Rows of the text that are shorter than `context` are left out. The matrices keep their
    /// biases. It is cached, too, by the weights of the model and the tokens of the text.
    ///
    /// # Options
    /// - [decomposition_mlp]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let d = decomposition::mlp(m, 5, text, #{ parts: 4, gate: "shared", steps: 1, context: 16, batch: 1, seed: 1 });
    /// d  //=> parts: 4 of up, 4 of down, the MLP of layer 5 of tiny
    /// ```
    #[rhai_fn(return_raw)]
    pub fn mlp(ctx: NativeCallContext, m: Model, layer: Int, text: Text, options: Options) -> Fallible<Decomposition> {
        let env = env(&ctx)?;
        let MlpFitOptions { inputs, fit, checkpoints } = taken(options)?;
        let layer = given("layer", &layer).size()?;
        let found = env.drawing(&ctx, "decomposition::mlp", fit.seed, |seed| {
            let options = FitOptions { seed, ..fit };
            Core::of_mlp(m.core(), layer, &text, &inputs, &options, &storage(&env, checkpoints), &env.task)
        })?;
        Ok(found.into())
    }

    /// Reads a decomposition from a file that `d.save(path)` wrote.
    ///
    /// # Example
    /// ```
    /// let net = decomposition::network([#{ name: "w", matrix: [[1, 0], [0, 1]] }]);
    /// let d = decomposition::fit(net, #{ parts: 3, steps: 2, batch: 8, seed: 1 });
    /// d.save("parts.safetensors");
    /// decomposition::load("parts.safetensors").u("w").equal(d.u("w"))  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load(ctx: NativeCallContext, path: &str) -> Fallible<Decomposition> {
        let env = env(&ctx)?;
        let found = Core::load(&env.files, Path::new(path)).map_err(|e| e.about("path"))?;
        Ok(found.to_device(&env.device)?.into())
    }
}
