//! Comparison of circuits: `c.compare(other)`, `circuit::stability(circuits)`.

use super::run_options::{maybe, maybe_json};
use crate::circuit::faithfulness::{self as core, SharedParts};
use crate::script::circuit::Circuit;
use crate::script::prelude::*;

/// The common part of two circuits, and their differences.
#[derive(Clone)]
pub struct CircuitComparison(core::CircuitComparison);

impl Item for CircuitComparison {
    fn kind(&self) -> &'static str {
        "comparison"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        self.0.table().terminal(screen)
    }

    fn html(&self) -> Result<String> {
        self.0.table().html()
    }

    fn data(&self) -> Result<Value> {
        let parts = |parts: &SharedParts| {
            json!({
                "both": parts.both,
                "first": parts.first,
                "second": parts.second,
                "jaccard": maybe_json(parts.jaccard()),
                "correlation": maybe_json(parts.correlation),
            })
        };
        Ok(json!({ "title": self.0.title, "nodes": parts(&self.0.nodes), "edges": parts(&self.0.edges) }))
    }
}

handle!(CircuitComparison, "CircuitComparison", |found| {
    format!("{}: {} in both", found.0.title, count(found.0.edges.both.len(), "edge"))
});

#[export_module(manifest)]
pub mod functions {
    /// Compares each two of some circuits: how many units (edges, or features and errors) both have, what only one has,
    /// the Jaccard index, and the correlation of the scores that both have, as a table: circuits of other seeds, or of
    /// the halves of some pairs. Units are the same if they have the same name; for features of dictionaries that were
    /// fitted with other seeds see the form with a text.
    ///
    /// # Example
    /// ```
    /// let truth = circuit::compiled("sort").truth;
    /// circuit::stability([truth, truth])["Jaccard"]  //=> [1.0]
    /// ```
    #[rhai_fn(name = "stability", return_raw)]
    pub fn stability_of(ctx: NativeCallContext, circuits: Array) -> Fallible<Table> {
        let circuits: Vec<Circuit> = given("circuits", &Dynamic::from(circuits)).handles("a circuit")?;
        let graphs: Vec<_> = circuits.iter().map(Circuit::graph).collect();
        Ok(core::stability(&graphs, &env(&ctx)?.task)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Compares two circuits: nodes and edges that both have, or only one of them; the Jaccard index; and the
    /// correlation of the scores that both have.
    ///
    /// # Example
    /// ```
    /// let truth = circuit::compiled("sort").truth;
    /// truth.compare(circuit::compiled("distinct").truth).to_map().edges.both  //=> ["mlp_out.1 -> logits"]
    /// ```
    #[rhai_fn(global, name = "compare", pure)]
    pub fn circuit_compare(circuit: &mut Circuit, other: Circuit) -> CircuitComparison {
        CircuitComparison(core::compare(circuit.graph(), other.graph()))
    }

    /// Returns the share of edges of either circuit that both have; for circuits without edges that of nodes. `()` for
    /// nothing.
    ///
    /// # Example
    /// ```
    /// let truth = circuit::compiled("sort").truth;
    /// truth.compare(truth).jaccard  //=> 1.0
    /// ```
    #[rhai_fn(global, get = "jaccard", pure)]
    pub fn comparison_jaccard(found: &mut CircuitComparison) -> Dynamic {
        super::maybe(found.0.edges.jaccard().or(found.0.nodes.jaccard()))
    }

    /// Tabulates how many nodes and edges both circuits have and only one has.
    ///
    /// # Example
    /// ```
    /// let truth = circuit::compiled("sort").truth;
    /// truth.compare(circuit::compiled("distinct").truth).table["both"]  //=> [3, 1]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn comparison_table(found: &mut CircuitComparison) -> Table {
        found.0.table()
    }

    /// Lists the names of nodes and edges that both have, and that only the first or the second has.
    ///
    /// # Example
    /// ```
    /// let truth = circuit::compiled("sort").truth;
    /// truth.compare(truth).to_map().edges.first  //=> []
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn comparison_map(found: &mut CircuitComparison) -> Fallible<Dynamic> {
        Ok(mapped(found)?)
    }
}
