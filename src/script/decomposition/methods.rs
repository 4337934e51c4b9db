//! The methods of networks and of decompositions.

use super::{Decomposition, Network, PartsTableOptions, WorstOptions};
use crate::decomposition::StepLosses;
use crate::decomposition::card::PartCardOptions;
use crate::decomposition::effect::MaskEffectOptions;
use crate::decomposition::mlp::MlpInputs;
use crate::decomposition::result::{ColumnMatch, RunMaskedOptions};
use crate::script::engine::value;
use crate::script::model::prelude::*;
use crate::training::{LossRecord, losses_table};

/// Returns the tensors of the matrices as a map.
fn by_matrix(d: &Decomposition, tensors: Vec<Tensor>) -> Map {
    let named = d.0.parts.iter().zip(tensors);
    named.map(|(parts, tensor)| (parts.name.as_str().into(), Dynamic::from(tensor))).collect()
}

#[export_module(manifest)]
pub mod networks {
    /// Computes the network's output on inputs `[inputs, width]`.
    ///
    /// # Example
    /// ```
    /// decomposition::network([#{ name: "w", matrix: [[2, 0]], bias: [1] }]).run([[1, 5]])  //=> tensor([[3.0]])
    /// ```
    #[rhai_fn(global, name = "run", pure, return_raw)]
    pub fn run_network(net: &mut Network, x: Any) -> Fallible<Tensor> {
        Ok(net.0.run(&values("x", &x)?)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Computes the causal importances of all parts on inputs of the network: a map from matrices to `[inputs, parts]`.
    ///
    /// # Example
    /// ```
    /// let net = decomposition::network([#{ name: "w", matrix: [[1, 0], [0, 1]] }]);
    /// let d = decomposition::fit(net, #{ parts: 3, steps: 2, batch: 8, seed: 1 });
    /// let found = d.importances([[1, 0], [0, 1]]).w;
    /// [found.shape, found.min() >= 0, found.max() <= 1]  //=> [[2, 3], true, true]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn importances(d: &mut Decomposition, x: Any) -> Fallible<Map> {
        let found = d.0.importances(&values("x", &x)?)?;
        Ok(by_matrix(d, found))
    }

    /// Computes the causal importances of the parts of one matrix of an MLP at every token of a text: `[rows, context, parts]`, for
    /// the rows that `text.ids` and `text.labels` have, too.
    ///
    /// # Options
    /// - [decomposition_text]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("grammar");
    /// let read = #{ context: 16, rows: 3 };
    /// let d = decomposition::mlp(m, 5, text, read + #{ parts: 4, steps: 1, batch: 1, seed: 1 });
    /// let found = d.importances(m, text, "down", read);
    /// [found.shape, text.labels(m, "depth", read).shape]  //=> [[3, 16, 4], [3, 16]]
    /// ```
    #[rhai_fn(global, name = "importances", pure, return_raw)]
    pub fn importances_on(
        ctx: NativeCallContext,
        d: &mut Decomposition,
        m: Model,
        text: Text,
        name: &str,
        options: Options,
    ) -> Fallible<Tensor> {
        let inputs: MlpInputs = taken(options)?;
        Ok(d.0.on_text(m.core(), &text, name, &inputs, &env(&ctx)?.task)?.by_position()?)
    }

    /// Computes the network's output with masked parts, without what is missing in their sum: with the `masks` "importance"
    /// (as little of each part as may be), "random" (as in the fit), "active" (whole parts whose importance is above the
    /// `threshold`) or "all".
    ///
    /// # Options
    /// - [decomposition_run]
    ///
    /// # Example
    /// ```
    /// let net = decomposition::network([#{ name: "w", matrix: [[1, 0], [0, 1]] }]);
    /// let d = decomposition::fit(net, #{ parts: 3, steps: 300, batch: 32, seed: 1 });
    /// d.run([[1, 2]], #{ masks: "all" }).shape  //=> [1, 2]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn run(ctx: NativeCallContext, d: &mut Decomposition, x: Any, options: Options) -> Fallible<Tensor> {
        let options: RunMaskedOptions = taken(options)?;
        let x = values("x", &x)?;
        let env = env(&ctx)?;
        Ok(env.drawing(&ctx, "Decomposition.run", options.seed, |seed| {
            d.0.run(&x, &RunMaskedOptions { seed, ..options })
        })?)
    }

    /// Computes the errors of the network's output under random masks and under those of an adversary, which moves the same
    /// ones to where the error is larger: a map of `random` and `worst`.
    ///
    /// # Options
    /// - [decomposition_worst]
    ///
    /// # Example
    /// ```
    /// let net = decomposition::network([#{ name: "w", matrix: [[1, 0], [0, 1]] }]);
    /// let d = decomposition::fit(net, #{ parts: 3, steps: 2, batch: 8, seed: 1 });
    /// let found = d.worst(tensor::eye(2), #{ ascent: 20, ascent_size: 0.1, common: false, seed: 1 });
    /// found.worst > found.random  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn worst(ctx: NativeCallContext, d: &mut Decomposition, x: Any, options: Options) -> Fallible<Dynamic> {
        let WorstOptions { seed, adversary } = taken(options)?;
        let x = values("x", &x)?;
        let env = env(&ctx)?;
        let found = env.drawing(&ctx, "Decomposition.worst", seed, |seed| {
            d.0.masked_errors(&x, &adversary, seed.draws(), &env.task)
        })?;
        Ok(value::map([("random", found.random.into()), ("worst", found.worst.into())]))
    }

    /// Measures how far a model's predictions move on a text where the MLP is run by masked parts: a table of masks with the mean
    /// KL divergence at a token, the share of that of `nothing` which is recovered, and the parts of each matrix that are left at a
    /// token, as the sum of its masks.
    ///
    /// The masks are `nothing`; `all` parts in whole; `random` ones between the importances and 1, as in the fit; the `worst`
    /// that an adversary makes of these; the `importance` of each part; those parts in whole that are `active`; and those that are
    /// active at another token, drawn at random (`of other tokens`). What is missing in the sum of the parts is masked with `random`
    /// and `worst`, and left out elsewhere.
    ///
    /// # Options
    /// - [decomposition_effect]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let d = decomposition::mlp(m, 5, text, #{ parts: 4, steps: 1, context: 16, batch: 1, seed: 1 });
    /// let found = d.effect(m, text, #{ context: 16, rows: 2, batch: 2, seed: 1 });
    /// [found.columns, found[1].up, found[0].recovered]  //=> [["masks", "KL", "recovered", "up", "down"], 4.0, 0.0]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn effect(
        ctx: NativeCallContext,
        d: &mut Decomposition,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        let options: MaskEffectOptions = taken(options)?;
        let env = env(&ctx)?;
        Ok(env.drawing(&ctx, "Decomposition.effect", options.seed, |seed| {
            d.0.effect(m.core(), &text, &MaskEffectOptions { seed, ..options }, &env.task)
        })?)
    }

    /// Lists the parts that matter on some of these inputs, those of each matrix by their mean importance: how often each is
    /// active, its norm, the number of the input that it reads most and of the output that it writes most, and the shares of
    /// these in the squares of its directions.
    ///
    /// # Options
    /// - [decomposition_table]
    ///
    /// # Example
    /// ```
    /// let net = decomposition::network([#{ name: "w", matrix: [[1, 0], [0, 1]] }]);
    /// let d = decomposition::fit(net, #{ parts: 3, steps: 2, batch: 8, seed: 1 });
    /// d.table(tensor::eye(2)).columns[0]  //=> "matrix"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn table(d: &mut Decomposition, x: Any, options: Options) -> Fallible<Table> {
        let PartsTableOptions { threshold } = taken(options)?;
        Ok(d.0.table(&d.0.importances(&values("x", &x)?)?, threshold)?)
    }

    /// Lists the parts of one matrix of an MLP by their mean importance on a text: how often each is active, and its norm.
    ///
    /// # Options
    /// - [decomposition_card]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let d = decomposition::mlp(m, 5, text, #{ parts: 4, steps: 1, context: 16, batch: 1, seed: 1 });
    /// d.table(m, text, "down", #{ context: 16 }).columns  //=> ["part", "active", "importance", "norm"]
    /// ```
    #[rhai_fn(global, name = "table", pure, return_raw)]
    pub fn table_on(
        ctx: NativeCallContext,
        d: &mut Decomposition,
        m: Model,
        text: Text,
        name: &str,
        options: Options,
    ) -> Fallible<Table> {
        let options: PartCardOptions = taken(options)?;
        let on = d.0.on_text(m.core(), &text, name, &options.inputs, &env(&ctx)?.task)?;
        Ok(d.0.parts_on(&on, options.threshold)?)
    }

    /// Makes the cards of some parts of one matrix of an MLP, like those of features: contexts in which a part matters most, with
    /// its importance at every token, the tokens at which it matters, the neurons that it reads or writes, and for `down` the
    /// tokens whose logits it raises.
    ///
    /// # Options
    /// - [decomposition_card]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let d = decomposition::mlp(m, 5, text, #{ parts: 4, steps: 1, context: 16, batch: 1, seed: 1 });
    /// d.cards(m, text, "down", [2], #{ context: 16 })[0].feature  //=> 2
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn cards(
        ctx: NativeCallContext,
        d: &mut Decomposition,
        m: Model,
        text: Text,
        name: &str,
        parts: Array,
        options: Options,
    ) -> Fallible<Array> {
        let options: PartCardOptions = taken(options)?;
        let parts = given("parts", &Dynamic::from(parts)).sizes()?;
        let on = d.0.on_text(m.core(), &text, name, &options.inputs, &env(&ctx)?.task)?;
        let card = |part: usize| Ok(Dynamic::from(d.0.card(m.core(), &on, part, &options)?));
        Ok(parts.into_iter().map(card).collect::<Result<Array>>()?)
    }

    /// Finds the part of each column of a matrix, the one that reaches furthest along it: the cosine of the column with the part's
    /// own, and the ratio of their norms. The means over columns are the paper's MMCS and ML2R, but that these take the part with
    /// the highest cosine, which may have a norm near 0.
    ///
    /// # Example
    /// ```
    /// let net = decomposition::network([#{ name: "w", matrix: [[1, 0], [0, 1]] }]);
    /// let d = decomposition::fit(net, #{ parts: 3, steps: 2, batch: 8, seed: 1 });
    /// d.columns("w").columns  //=> ["column", "part", "cosine", "ratio"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn columns(d: &mut Decomposition, name: &str) -> Fallible<Table> {
        let row = |(column, found): (usize, ColumnMatch)| {
            vec![column.into(), found.part.into(), found.cosine.into(), found.ratio.into()]
        };
        let rows = d.0.columns(name)?.into_iter().enumerate().map(row);
        Ok(Table::new(format!("parts of the columns of {name}"), ["column", "part", "cosine", "ratio"], rows))
    }

    /// Returns the directions that the parts of a matrix read: `[in, parts]`.
    ///
    /// # Example
    /// ```
    /// let net = decomposition::network([#{ name: "w", matrix: [[1, 0, 0]] }]);
    /// decomposition::fit(net, #{ parts: 2, steps: 1, batch: 8 }).v("w").shape  //=> [3, 2]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn v(d: &mut Decomposition, name: &str) -> Fallible<Tensor> {
        let place = d.0.place(name)?;
        Ok(d.0.parts[place].v.clone())
    }

    /// Returns the directions that the parts of a matrix write: `[parts, out]`.
    ///
    /// # Example
    /// ```
    /// let net = decomposition::network([#{ name: "w", matrix: [[1, 0, 0]] }]);
    /// decomposition::fit(net, #{ parts: 2, steps: 1, batch: 8 }).u("w").shape  //=> [2, 1]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn u(d: &mut Decomposition, name: &str) -> Fallible<Tensor> {
        let place = d.0.place(name)?;
        Ok(d.0.parts[place].u.clone())
    }

    /// Returns the names of the matrices that were decomposed.
    ///
    /// # Example
    /// ```
    /// let net = decomposition::network([#{ name: "w", matrix: [[1, 0, 0]] }]);
    /// decomposition::fit(net, #{ parts: 2, steps: 1, batch: 8 }).matrices  //=> ["w"]
    /// ```
    #[rhai_fn(global, get = "matrices", pure)]
    pub fn matrices(d: &mut Decomposition) -> Array {
        d.0.parts.iter().map(|parts| parts.name.as_str().into()).collect()
    }

    /// Returns the mean squared difference between the matrices and the sums of their parts.
    ///
    /// # Example
    /// ```
    /// let net = decomposition::network([#{ name: "w", matrix: [[1, 0], [0, 1]] }]);
    /// decomposition::fit(net, #{ parts: 3, steps: 2, batch: 8, seed: 1 }).faithfulness < 0.01  //=> true
    /// ```
    #[rhai_fn(global, get = "faithfulness", pure, return_raw)]
    pub fn faithfulness(d: &mut Decomposition) -> Fallible<f64> {
        Ok(d.0.faithfulness()?)
    }

    /// Returns the losses of the fit, in at most a hundred rows: steps, and the means since the row before of the losses without
    /// their weights, and of their weighted sum.
    ///
    /// # Example
    /// ```
    /// let net = decomposition::network([#{ name: "w", matrix: [[1, 0, 0]] }]);
    /// decomposition::fit(net, #{ parts: 2, steps: 3, batch: 8 }).history["step"]  //=> [1, 2, 3]
    /// ```
    #[rhai_fn(global, get = "history", pure)]
    pub fn history(d: &mut Decomposition) -> Table {
        let losses: Vec<_> = d.0.history.iter().map(StepLosses::numbers).collect();
        losses_table(StepLosses::NAMES, &losses)
    }

    /// Saves the decomposition as safetensors; returns the path.
    ///
    /// # Example
    /// ```
    /// let net = decomposition::network([#{ name: "w", matrix: [[1, 0, 0]] }]);
    /// decomposition::fit(net, #{ parts: 2, steps: 1, batch: 8 }).save("parts.safetensors");
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, d: &mut Decomposition, path: &str) -> Fallible<String> {
        let place = d.0.save(&env(&ctx)?.files, Path::new(path)).map_err(|e| e.about("path"))?;
        Ok(place.display().to_string())
    }
}
