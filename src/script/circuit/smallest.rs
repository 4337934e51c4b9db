//! `circuit::smallest`: the smallest feature circuit that keeps a share of a probability, and `circuit::shares`, what
//! circuits keep on another text.

use super::{cores, dictionaries};
use crate::circuit;
use crate::circuit::minimal::{self, MinimalOptions, ShareOptions};
use crate::script::circuit::Circuit;
use crate::script::model::prelude::*;

#[export_module(manifest)]
pub mod functions {
    /// Finds small feature circuits that keep a share of the probability of some tokens where these come next in a
    /// text, with every other feature and reconstruction error at its mean over the text. Features and errors, one for
    /// each dictionary, count as one each. Returns a circuit for each of `share`, in their order.
    ///
    /// `method` says how it is looked for: the first units by "attribution" or "integrated" gradients of the unchanged
    /// model; "elimination", by which the units with the smallest attributions in what is left go, some at a time, from
    /// all down; or "masks" on all units that are optimised under a sparsity penalty, with elimination from there. A
    /// circuit is fitted to its text: `circuit::shares` judges it on another one. A node's effect is the change of P to
    /// first order where it goes as well. `gradients: "relp"` has relevance propagation in place of derivatives (RelP;
    /// Rezaei Jafari et al. 2025) in these effects, in "attribution" and in "elimination". Ctrl-C ends an elimination, not
    /// the script: the circuits are of what was found so far.
    ///
    /// # Options
    /// - [smallest_circuit]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let found = circuit::smallest(m, saes, text, #{ token: "a", share: [0.5, 1.0] });
    /// found.len()  //=> 2
    /// ```
    #[rhai_fn(return_raw)]
    pub fn smallest(ctx: NativeCallContext, m: Model, saes: Array, text: Text, options: Options) -> Fallible<Array> {
        let task = &env(&ctx)?.task;
        let options: MinimalOptions = taken(options)?;
        let saes = dictionaries(&saes)?;
        let found = minimal::minimal_circuits(m.core(), &cores(&saes), &text, &options, task)?;
        Ok(found.into_iter().map(|one| Dynamic::from(Circuit::new(one, &saes))).collect())
    }

    /// Measures what share of the probability of tokens feature circuits keep where these come next in a text, with
    /// every other feature and error of their dictionaries at its mean over the text: a table with a row for each
    /// circuit, a 95 % bootstrap interval over rows of text, and random circuits beside it. These have as many errors,
    /// and as many features of each dictionary and of about the same mean activation (within a power of two).
    ///
    /// # Options
    /// - [circuit_shares]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let found = circuit::smallest(m, saes, text, #{ token: "a", share: 0.5 });
    /// circuit::shares(m, found, text)["share"][0] >= 0.5  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn shares(ctx: NativeCallContext, m: Model, circuits: Array, text: Text, options: Options) -> Fallible<Table> {
        let env = env(&ctx)?;
        let options: ShareOptions = taken(options)?;
        let circuits: Vec<Circuit> = given("circuits", &Dynamic::from(circuits)).handles("a circuit")?;
        let circuits: Vec<circuit::Circuit> = circuits.into_iter().map(|one| one.core).collect();
        let found = env.drawing(&ctx, "circuit::shares", options.seed, |seed| {
            minimal::shares(m.core(), &circuits, &text, &ShareOptions { seed, ..options }, &env.task)
        });
        Ok(found?)
    }
}
