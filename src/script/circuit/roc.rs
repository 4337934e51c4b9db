//! The scores of a circuit against a known one: `c.roc(truth, m)` and its result.

use crate::circuit::faithfulness as core;
use crate::report::chart::Series;
use crate::script::circuit::Circuit;
use crate::script::model::prelude::*;

/// The ROC curve of scores that tell a known circuit from the rest.
#[derive(Clone)]
pub struct Roc(core::Roc);

impl Roc {
    fn chart(&self) -> Chart {
        let curve = |name: &str, points: &[[f64; 2]]| Series {
            name: name.into(),
            x: points.iter().map(|point| point[0]).collect(),
            y: points.iter().map(|point| point[1]).collect(),
            ..Series::default()
        };
        let lines = vec![curve("the circuit", &self.0.points), curve("random", &[[0.0, 0.0], [1.0, 1.0]])];
        let mut chart = Chart::line(lines);
        chart.title = self.0.title.clone();
        (chart.x.label, chart.y.label) = ("share of other units".into(), "share of true units".into());
        chart
    }
}

impl Item for Roc {
    fn kind(&self) -> &'static str {
        "roc"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        self.0.table().terminal(screen)
    }

    fn html(&self) -> Result<String> {
        Ok(format!("{}\n{}", self.chart().html()?, self.0.table().html()?))
    }

    fn data(&self) -> Result<Value> {
        Ok(json!({ "table": self.0.table().data()?, "points": self.0.points }))
    }
}

handle!(Roc, "Roc", |roc| format!("AUC {:.3} of {}", roc.0.auc, roc.0.title));

#[export_module(manifest)]
pub mod methods {
    /// Measures how well the scores of a circuit tell the units of a known circuit from all others of the model: the
    /// ROC curve and two areas under it, by trapezoids, and by steps that rise at their end, the pessimistic one of
    /// Conmy et al. 2023.
    ///
    /// Units that the circuit does not have come after those that it has, all alike. The figures are of all units of the model,
    /// so that they have no interval; random scores have an AUC of 0.5.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// c.truth.roc(c.truth, c.model).auc  //=> 1.0
    /// ```
    #[rhai_fn(global, name = "roc", pure, return_raw)]
    pub fn circuit_roc(circuit: &mut Circuit, truth: Circuit, m: Model) -> Fallible<Roc> {
        let units = core::units(m.core(), &circuit.core)?;
        Ok(Roc(core::roc(circuit.graph(), truth.graph(), units)?))
    }

    /// Returns the area under the curve by trapezoids: the probability that a true unit has a larger |score| than
    /// another one.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// c.truth.roc(c.truth, c.model).auc  //=> 1.0
    /// ```
    #[rhai_fn(global, get = "auc", pure)]
    pub fn roc_auc(roc: &mut Roc) -> f64 {
        roc.0.auc
    }

    /// Returns the area by steps that rise at their end.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// c.truth.roc(c.truth, c.model).pessimistic_auc  //=> 1.0
    /// ```
    #[rhai_fn(global, get = "pessimistic_auc", pure)]
    pub fn roc_pessimistic(roc: &mut Roc) -> f64 {
        roc.0.pessimistic
    }

    /// Returns the number of true units.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// c.truth.roc(c.truth, c.model).truth  //=> 3
    /// ```
    #[rhai_fn(global, get = "truth", pure)]
    pub fn roc_truth(roc: &mut Roc) -> i64 {
        roc.0.truth as i64
    }

    /// Returns the number of true units that the circuit has.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// c.truth.roc(c.truth, c.model).found  //=> 3
    /// ```
    #[rhai_fn(global, get = "found", pure)]
    pub fn roc_found(roc: &mut Roc) -> i64 {
        roc.0.found as i64
    }

    /// Returns the number of other units that the circuit has.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// c.truth.roc(c.truth, c.model).others  //=> 0
    /// ```
    #[rhai_fn(global, get = "others", pure)]
    pub fn roc_others(roc: &mut Roc) -> i64 {
        roc.0.others as i64
    }

    /// Tabulates both areas and all counts.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// c.truth.roc(c.truth, c.model).table["value"]  //=> [1.0, 1.0, 3, 3, 0, 46]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn roc_table(roc: &mut Roc) -> Table {
        roc.0.table()
    }

    /// Draws the curve as a chart.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// c.truth.roc(c.truth, c.model).chart.save("doc/roc.svg");
    /// ```
    #[rhai_fn(global, get = "chart", pure)]
    pub fn roc_chart(roc: &mut Roc) -> Chart {
        roc.chart()
    }
}
