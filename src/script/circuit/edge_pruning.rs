//! `circuit::edge_pruning`: masks on edges that are optimised.

use crate::circuit;
use crate::circuit::edges::masks::{self, EdgePruningOptions};
use crate::script::circuit::Circuit;
use crate::script::data::pairs::read_pairs;
use crate::script::model::prelude::*;

handle_setting!(CircuitSetting(Circuit), "a circuit", |circuit| circuit.short());

crate::options! {
    /// All options of `circuit::edge_pruning`.
    #[derive(Clone)]
    pub struct EdgePruningCall {
        /// A circuit with a score of every edge, as `circuit::edges` finds them, that the masks begin with: the largest
        /// into each layer are likely to remain, a tenth of all (Mondorf et al. 2025).
        begin: Option<CircuitSetting> = None;
        with pruning: EdgePruningOptions;
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Prunes edges (Bhaskar et al. 2024): a mask on each edge between heads and MLPs is optimised so that the masked
    /// model stays near the whole one, by KL after the prompt, while only a share of the masks is not 0.
    ///
    /// Returns a graph of all edges; the effect of an edge is the probability that its mask is not 0. `top` and `above`
    /// select a circuit. Ctrl-C keeps the masks so far.
    ///
    /// # Options
    /// - [edge_pruning]
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("most frequent");
    /// let masks = circuit::edge_pruning(c.model, c.pairs(2), #{ steps: 2 });
    /// masks.edges.len()  //=> 46
    /// let scores = circuit::edges(c.model, c.pairs(2), #{ method: "eap_ig" });
    /// circuit::edge_pruning(c.model, c.pairs(2), #{ steps: 2, begin: scores }).above(0.5).edges.len() < 23  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn edge_pruning(ctx: NativeCallContext, m: Model, pairs: Any, options: Options) -> Fallible<Circuit> {
        let env = env(&ctx)?;
        let EdgePruningCall { begin, pruning } = taken(options)?;
        let (pairs, _) = read_pairs(&ctx, &m, &pairs)?;
        let graph = env.drawing(&ctx, "circuit::edge_pruning", pruning.seed, |seed| {
            let options = EdgePruningOptions { seed, ..pruning };
            masks::edge_pruning(m.core(), &pairs, begin.as_ref().map(|scores| scores.0.graph()), &options, &env.task)
        })?;
        Ok(Circuit::new(circuit::Circuit::without_dictionaries(graph), &[]))
    }
}
