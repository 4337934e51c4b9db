//! `circuit::edge_pruning`: masks on edges that are optimised.

use crate::circuit;
use crate::circuit::edges::masks::{self, EdgePruningOptions};
use crate::script::circuit::Circuit;
use crate::script::data::pairs::read_pairs;
use crate::script::model::Model;
use crate::script::prelude::*;

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
    /// ```
    #[rhai_fn(return_raw)]
    pub fn edge_pruning(ctx: NativeCallContext, m: Model, pairs: Any, options: Options) -> Fallible<Circuit> {
        let env = env(&ctx)?;
        let options: EdgePruningOptions = taken(options)?;
        let (pairs, _) = read_pairs(&ctx, &m, &pairs)?;
        let graph = env.drawing(&ctx, "circuit::edge_pruning", options.seed, |seed| {
            masks::edge_pruning(m.core(), &pairs, &EdgePruningOptions { seed, ..options }, &env.task)
        })?;
        Ok(Circuit::new(circuit::Circuit::without_dictionaries(graph), &[]))
    }
}
