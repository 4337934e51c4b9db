//! `circuit::node_pruning`: the smallest set of channels that does a task.

use crate::circuit;
use crate::circuit::channels::{self, NodePruningOptions};
use crate::script::circuit::Circuit;
use crate::script::data::pairs::read_pairs;
use crate::script::model::prelude::*;

#[export_module(manifest)]
pub mod functions {
    /// Prunes a model to the channels that a task needs (Gao et al. 2025): coordinates of what attention and MLPs read from
    /// the residual stream and write to it, of queries, keys and values, and neurons. A mask on each is optimised so that few
    /// remain while the loss on the pairs stays within `loss`; all others are ablated. Those that can be left out one at a
    /// time are left out.
    ///
    /// Returns a graph whose nodes are the channels, with the rise of the loss without each as its effect, and whose edges
    /// are the weights between them that are not 0; a coordinate of the stream leads from where it is written to where it is
    /// read, by the weight of the norm there. In a model that was trained with `sparse` weights these are few. `c.judge` with
    /// the same `ablation` measures it on other pairs, beside random channels of the same sites. Ctrl-C keeps what was found
    /// so far, without effects.
    ///
    /// # Options
    /// - [node_pruning]
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("most frequent");
    /// let pruned = circuit::node_pruning(c.model, c.pairs(8), #{ steps: 20, loss: 0.5 });
    /// let judged = pruned.judge(c.model, c.pairs(8), #{ ablation: "mean", draws: 2 });
    /// judged.faithfulness > judged.random  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn node_pruning(ctx: NativeCallContext, m: Model, pairs: Any, options: Options) -> Fallible<Circuit> {
        let (pairs, _) = read_pairs(&ctx, &m, &pairs)?;
        let options: NodePruningOptions = taken(options)?;
        let graph = channels::node_pruning(m.core(), &pairs, &options, &env(&ctx)?.task)?;
        Ok(Circuit::new(circuit::Circuit::without_dictionaries(graph), &[]))
    }
}
