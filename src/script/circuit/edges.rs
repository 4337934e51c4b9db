//! `circuit::edges` and `circuit::acdc`: circuits of edges between heads and MLPs; and parts of circuits.

use crate::circuit::Circuit as Core;
use crate::circuit::edges::acdc::{AcdcOptions, acdc as searched};
use crate::circuit::edges::{EdgeOptions, edges as scored};
use crate::circuit::ensemble::{EnsembleOptions, ensemble as combined};
use crate::circuit::graph::Graph;
use crate::circuit::program::{self, ProgramOptions};
use crate::circuit::subgraph::{self, SubgraphOptions, TopOptions};
use crate::script::circuit::Circuit;
use crate::script::circuit::edge_pruning::CircuitSetting;
use crate::script::intervene::metric::Metric;
use crate::script::model::prelude::*;

crate::options! {
    /// A call of edges: the scores, and the metric.
    #[derive(Clone)]
    pub struct EdgeCall {
        /// Metric of each pair.
        metric: Metric = Metric::default() => usually("metric::logit_diff()");
        with edges: EdgeOptions;
    }

    /// A call of ACDC: the edges that are removed, and the metric.
    #[derive(Clone)]
    pub struct AcdcCall {
        /// Metric of each pair.
        metric: Metric = Metric::kl() => usually("metric::kl()");
        /// A circuit whose edges alone are tried, with all others cut from the beginning.
        among: Option<CircuitSetting> = None;
        with acdc: AcdcOptions;
    }
}

fn circuit(graph: Graph) -> Circuit {
    Circuit::new(Core::without_dictionaries(graph), &[])
}

#[export_module(manifest)]
pub mod functions {
    /// Scores the edges between heads and MLPs: how far a metric moves where one input of a head, of an MLP or of the
    /// logits gets what an earlier node writes in another run. Returns a circuit of all edges; `top`, `above` and
    /// `greedy` choose among them.
    ///
    /// Nodes are the token embedding, what each head writes without the bias of attention, each MLP, and the logits; a head
    /// has its queries, keys and values as inputs, also where heads share keys and values. A cut edge carries what its sender
    /// writes in the run of the pair's corrupt prompt, zero, or the mean over all corrupt prompts at each position
    /// (`ablation`). A score is the mean over pairs of metric(cut) - metric(clean).
    ///
    /// `method: "exact"` runs the model with each edge cut and computes only what lies behind. All others estimate all edges
    /// by (other - own) . gradient: "eap" with the gradient on the clean run (Syed et al. 2023), "eap_ig" with the mean
    /// over `steps` points from the corrupt embeddings on (Hanna et al. 2024), "eap_ig_activations" with that over points
    /// at which what one layer's heads or one MLP write is moved, and "clean_corrupted" with that of both runs. "atp*" gives
    /// sizes, means over pairs of |metric(cut) - metric(clean)|: into queries and keys with the softmax computed again, and
    /// averaged over gradients without those through what each other layer writes (Kramar et al. 2024).
    ///
    /// `gradients: "relp"` has relevance propagation in place of derivatives in "eap", "clean_corrupted" and "atp*" (RelP;
    /// Rezaei Jafari et al. 2025), as `intervene::grid` has. The ways of EAP-IG refuse it: what is averaged there are
    /// derivatives, which add up to the whole change.
    ///
    /// # Options
    /// - [circuit_edges]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let pairs = data::pairs([[1, 2, 3], [4, 2, 3]], [[1, 7, 3], [4, 7, 3]], #{ answers: [5, 5], wrong: [6, 6] });
    /// let all = circuit::edges(m, pairs);
    /// [all.nodes.len(), all.edges.len()]  //=> [8, 46]
    /// circuit::edges(m, pairs, #{ method: "exact", ablation: "zero" }).edges[0].name  //=> "embed -> z.0.0<q>"
    /// circuit::edges(m, pairs, #{ gradients: "relp" }).edges.len()  //=> 46
    /// ```
    #[rhai_fn(return_raw)]
    pub fn edges(ctx: NativeCallContext, m: Model, pairs: Any, options: Options) -> Fallible<Circuit> {
        let EdgeCall { metric, edges } = taken(options)?;
        metric.over(&ctx, &m, &pairs, |pairs, measure, task| {
            scored(m.core(), pairs, measure, metric.is_normalised(), &edges, task).map(circuit)
        })
    }

    /// Finds circuits by automatic circuit discovery (Conmy et al. 2023): edges are tried one after the other, from the
    /// logits back, and one is removed for good if cutting it as well makes the metric worse by less than `threshold`.
    /// A list of thresholds gives a list of circuits. The effect of an edge is by how much the metric would be worse
    /// without it.
    ///
    /// Nodes and edges are those of `circuit::edges`. The metric is the KL to the clean runs; of a metric of one's own, and of all
    /// others but ranks and losses, less is worse. Receivers come in the order MLP, values, keys, queries in each layer
    /// from the last one on, and the senders of each from the latest on. Interrupted, it returns what is left so far, all
    /// edges that were not tried among it, with `is_whole` false.
    ///
    /// `among` leaves the choice to ACDC among the edges of a circuit, such as the best tenth by attribution patching, as the
    /// code of Syed et al. 2023 does: a tenth of the edges takes a tenth of the time.
    ///
    /// # Options
    /// - [circuit_acdc]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let pairs = data::pairs([[1, 2, 3], [4, 2, 3]], [[1, 7, 3], [4, 7, 3]]);
    /// let found = circuit::acdc(m, pairs, #{ threshold: [0.0001, 1000] });
    /// found.map(|c| c.edges.len())[1]  //=> 0
    /// circuit::acdc(m, pairs, #{ threshold: 1000, ablation: "zero" })  //=> ACDC at 1000, zero ablation: 0 nodes
    /// let best = circuit::edges(m, pairs, #{ method: "exact", metric: metric::kl() }).top(0.2, #{ prune: false });
    /// [best.edges.len(), circuit::acdc(m, pairs, #{ threshold: -1000, among: best }).edges.len()]  //=> [9, 9]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn acdc(ctx: NativeCallContext, m: Model, pairs: Any, options: Options) -> Fallible<Dynamic> {
        let AcdcCall { metric, among, acdc } = taken(options)?;
        let among = among.as_ref().map(|circuit| circuit.0.graph());
        let found = metric.over(&ctx, &m, &pairs, |pairs, measure, task| {
            searched(m.core(), pairs, measure, metric.is_normalised(), among, &acdc, task)
        });
        let mut circuits: Array = found?.into_iter().map(|graph| Dynamic::from(circuit(graph))).collect();
        Ok(if acdc.threshold.is_one { circuits.pop().unwrap_or_default() } else { circuits.into() })
    }

    /// Combines the scores that several methods have of the same edges (Mondorf et al. 2025): by default their mean,
    /// which asks for scores on one scale, as those of EAP, EAP-IG and exact effects are; `by: "rank"` also takes the
    /// probabilities of `circuit::edge_pruning`.
    ///
    /// # Options
    /// - [circuit_ensemble]
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let pairs = c.pairs(4);
    /// let scores = ["eap", "eap_ig"].map(|method| circuit::edges(c.model, pairs, #{ method: method }));
    /// circuit::ensemble(scores).edges.len()  //=> 46
    /// circuit::ensemble(scores, #{ by: "rank" }).edges.map(|edge| edge.effect).reduce(|a, b| max(a, b), 0.0) <= 1.0  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn ensemble(circuits: Array, options: Options) -> Fallible<Circuit> {
        let options: EnsembleOptions = taken(options)?;
        let circuits: Vec<Circuit> = given("circuits", &Dynamic::from(circuits)).handles("a circuit")?;
        let graphs: Vec<&Graph> = circuits.iter().map(Circuit::graph).collect();
        Ok(circuit(combined(&graphs, options)?))
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the part of a circuit with the largest effects in size: `n` edges, or of a circuit of features `n`
    /// nodes; below 1 that share of all. Nodes without an effect of their own, such as tokens and logits, stay.
    ///
    /// `negative` takes a share of them first, from those of the most negative effect. Of a logit difference that is
    /// what holds it up; the largest in size may be edges that work against it (Nikankin et al. 2025).
    ///
    /// # Options
    /// - [circuit_top]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let pairs = data::pairs([[1, 2, 3], [4, 2, 3]], [[1, 7, 3], [4, 7, 3]], #{ answers: [5, 5], wrong: [6, 6] });
    /// let all = circuit::edges(m, pairs);
    /// all.top(10, #{ prune: false }).edges.len()  //=> 10
    /// all.top(0.5).edges.len() <= 23  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn top(circuit: &mut Circuit, n: Num, options: Options) -> Fallible<Circuit> {
        let n: f64 = given("n", &n).number()?;
        let options: TopOptions = taken(options)?;
        Ok(circuit.with_core(subgraph::top(&circuit.core, n, options)?))
    }

    /// Returns the part of a circuit whose effects are at least `threshold` in size: edges, or of a circuit of features
    /// nodes.
    ///
    /// # Options
    /// - [circuit_part]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let pairs = data::pairs([[1, 2, 3], [4, 2, 3]], [[1, 7, 3], [4, 7, 3]], #{ answers: [5, 5], wrong: [6, 6] });
    /// circuit::edges(m, pairs).above(1000).edges.len()  //=> 0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn above(circuit: &mut Circuit, threshold: Num, options: Options) -> Fallible<Circuit> {
        let threshold: f64 = given("threshold", &threshold).number()?;
        let options: SubgraphOptions = taken(options)?;
        Ok(circuit.with_core(subgraph::above(&circuit.core, threshold, options)?))
    }

    /// Returns the part of a circuit of edges that is found from the logits back: `n` edges, below 1 that share of all,
    /// each the largest in size that leads into the logits or into a node from which an edge was taken before (Hanna et
    /// al. 2024).
    ///
    /// # Options
    /// - [circuit_part]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let pairs = data::pairs([[1, 2, 3], [4, 2, 3]], [[1, 7, 3], [4, 7, 3]], #{ answers: [5, 5], wrong: [6, 6] });
    /// circuit::edges(m, pairs).greedy(1, #{ prune: false }).edges[0].name.ends_with("-> logits")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn greedy(circuit: &mut Circuit, n: Num, options: Options) -> Fallible<Circuit> {
        let n: f64 = given("n", &n).number()?;
        let options: SubgraphOptions = taken(options)?;
        Ok(circuit.with_core(subgraph::greedy(&circuit.core, n, options)?))
    }

    /// Returns the circuit of `n` edges, below 1 that share of all, with the largest sum of effects in size in which nothing
    /// hangs loose, by integer programming (Nikankin et al. 2025). `greedy` and `top` choose edges one by one; a path of
    /// two edges that are large together can outweigh the largest edge.
    ///
    /// `negative` asks for a share of edges with a negative effect: of a logit difference, edges that hold it up.
    ///
    /// # Options
    /// - [circuit_ilp]
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let all = circuit::edges(c.model, c.pairs(4));
    /// let best = all.ilp(6);
    /// best.edges.len() <= 6  //=> true
    /// let size = |circuit| circuit.edges.map(|edge| edge.effect.abs()).reduce(|sum, one| sum + one, 0.0);
    /// size.call(best) >= size.call(all.greedy(6))  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn ilp(ctx: NativeCallContext, circuit: &mut Circuit, n: Num, options: Options) -> Fallible<Circuit> {
        let n: f64 = given("n", &n).number()?;
        let options: ProgramOptions = taken(options)?;
        Ok(circuit.with_core(program::ilp(&circuit.core, n, options, &env(&ctx)?.task)?))
    }
}
