//! `circuit::sparse_features`: the feature circuit of a metric of pairs, or of tokens in a text.

use super::{cores, dictionaries};
use crate::circuit::sparse_features::{PairCircuitOptions, TextCircuitOptions, of_pairs, of_text};
use crate::script::circuit::Circuit;
use crate::script::intervene::Metric;
use crate::script::model::prelude::*;

crate::options! {
    /// A call of sparse feature circuits: the search, and the metric.
    #[derive(Clone)]
    pub struct PairCircuitCall {
        /// Metric of each pair.
        metric: Metric = Metric::default() => usually("metric::logit_diff()");
        with circuit: PairCircuitOptions;
    }
}

/// Says what an interrupted search has found.
fn said(circuit: Circuit, task: &Task) -> Circuit {
    let graph = circuit.graph();
    if !graph.is_whole {
        let nodes = count(graph.nodes.len(), "node");
        let edges = count(graph.edges.len(), "edge");
        task.say(&format!("stopped; the circuit has what was found so far, {nodes} and {edges}"));
    }
    circuit
}

#[export_module(manifest)]
pub mod functions {
    /// Finds the sparse feature circuit of a metric of pairs (Marks et al. 2024): the features of dictionaries that
    /// cause it, what dictionaries leave unexplained as error nodes, one a site, and how nodes cause each other.
    ///
    /// The effect of a node is the mean over pairs of what the metric changes by where the node's activation in the clean
    /// run is moved to that of the corrupt one (or to its mean, or to zero): `(other - own) . gradient`, with the gradient on
    /// the clean run, or averaged over `steps` points on the way, all nodes of a dictionary moved together. Nodes are
    /// kept by the size of their effect. The effect of an edge is dm/db . db/da . (other a - own a), where b is weighted
    /// with its mean gradient, and gradients stop at the dictionaries between; edges to `logits` are of what reaches the
    /// metric directly. A node's `value` is its mean activation, that of `logits` the mean metric.
    ///
    /// `gradients: "relp"` has relevance propagation in place of derivatives (RelP; Rezaei Jafari et al. 2025), in effects
    /// by "attribution" and in edges: one backward pass in place of the `steps` of integrated gradients.
    ///
    /// `saes` are dictionaries of any kind at `embed`, `attn_out`, `mlp_out`, the residual stream, or transcoders. A
    /// node is a feature at all positions, with its effects summed, or with `positions: "each"` at one. Prompts of a
    /// pair are as long as each other where the corrupt one is patched in. Ctrl-C ends the search, not the script: the
    /// circuit has what was found.
    ///
    /// # Options
    /// - [pair_circuit]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let pairs = data::pairs([[0, 1, 2], [3, 1, 2]], [[0, 3, 2], [3, 0, 2]], #{ answers: [0, 0], wrong: [3, 3] });
    /// let c = circuit::sparse_features(m, saes, pairs, #{ node_threshold: 0, edge_threshold: 0 });
    /// c.nodes[0].name  //=> "logits"
    /// c.nodes.filter(|node| node.name.ends_with("/error")).len()  //=> 2
    /// let relp = #{ method: "attribution", gradients: "relp", node_threshold: 0, edge_threshold: 0 };
    /// circuit::sparse_features(m, saes, pairs, relp).nodes[0].name  //=> "logits"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn sparse_features(
        ctx: NativeCallContext,
        m: Model,
        saes: Array,
        pairs: Any,
        options: Options,
    ) -> Fallible<Circuit> {
        let PairCircuitCall { metric, circuit } = taken(options)?;
        let saes = dictionaries(&saes)?;
        metric.over(&ctx, &m, &pairs, |pairs, measure, task| {
            let found = of_pairs(m.core(), &cores(&saes), pairs, measure, metric.is_normalised(), &circuit, task)?;
            Ok(said(Circuit::new(found, &saes), task))
        })
    }

    /// Finds the sparse feature circuit of the probability of some tokens: m is their mean total probability over all
    /// positions of a text where one of them comes next, and nodes are moved to their means over the text, or to zero.
    ///
    /// # Options
    /// - [text_circuit]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let c = circuit::sparse_features(m, saes, text, #{ token: "a", node_threshold: 0, edges: false });
    /// [c.nodes[0].name, c.edges.len()]  //=> ["logits", 0]
    /// ```
    #[rhai_fn(return_raw, name = "sparse_features")]
    pub fn sparse_features_of_text(
        ctx: NativeCallContext,
        m: Model,
        saes: Array,
        text: Text,
        options: Options,
    ) -> Fallible<Circuit> {
        let task = &env(&ctx)?.task;
        let options: TextCircuitOptions = taken(options)?;
        let saes = dictionaries(&saes)?;
        let found = of_text(m.core(), &cores(&saes), &text, &options, task)?;
        Ok(said(Circuit::new(found, &saes), task))
    }
}
