//! Faithfulness over the size of a circuit: `c.curve(m, pairs)` and its result.

use super::run_options::{RunOptions, maybe, with_runs};
use crate::base::results::MISSING;
use crate::circuit::ablations::NodeAblations;
use crate::circuit::faithfulness::{self as core, CurveOptions};
use crate::intervene::metric::Measure;
use crate::report::chart::Series;
use crate::script::circuit::Circuit;
use crate::script::model::prelude::*;

/// Faithfulness over the size of a circuit.
#[derive(Clone)]
pub struct CircuitCurve(core::Curve);

impl CircuitCurve {
    fn chart(&self) -> Chart {
        let series = |name: &str, of: &dyn Fn(&core::CurvePoint) -> f64| Series {
            name: name.into(),
            x: self.0.points.iter().map(|point| point.share).collect(),
            y: self.0.points.iter().map(of).collect(),
            ..Series::default()
        };
        let found = series("the circuit", &|point| point.faithfulness.value.unwrap_or(MISSING));
        let random = series("random", &|point| point.random.iter().sum::<f64>() / point.random.len() as f64);
        let mut chart = Chart::line(vec![found, random]);
        chart.title = self.0.title.clone();
        chart.x.label = "share of the units".into();
        chart.x.log = self.0.points.iter().all(|point| point.share > 0.0);
        chart.y.label = "faithfulness".into();
        chart
    }

    fn note(&self) -> String {
        match (self.0.areas, self.0.random) {
            (Some(own), Some(random)) => {
                let written = |[low, high]: [f64; 2]| format!("{low:.4} to {high:.4}; ");
                let [cpr, cmd] = self.0.intervals.map(|ends| ends.map_or_else(String::new, written));
                format!(
                    "CPR {:.4} ({cpr}random {:.4}), CMD {:.4} ({cmd}random {:.4}), {} units, {} pairs.",
                    own.cpr, random.cpr, own.cmd, random.cmd, self.0.units, self.0.pairs
                )
            }
            _ => "There is no faithfulness: with everything and with nothing the metric is the same.".into(),
        }
    }
}

impl Item for CircuitCurve {
    fn kind(&self) -> &'static str {
        "curve"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        Ok(format!("{}\n{}\n", self.0.table().terminal(screen)?.trim_end(), self.note()))
    }

    fn html(&self) -> Result<String> {
        Ok([self.chart().html()?, paragraphs(&[self.note()]), self.0.table().html()?].concat())
    }

    fn data(&self) -> Result<Value> {
        let areas = |areas: Option<core::Areas>| areas.map(|areas| json!({ "cpr": areas.cpr, "cmd": areas.cmd }));
        let [cpr, cmd] = self.0.intervals;
        Ok(json!({
            "table": self.0.table().data()?,
            "areas": areas(self.0.areas),
            "intervals": { "cpr": cpr, "cmd": cmd },
            "random": areas(self.0.random),
        }))
    }
}

handle!(CircuitCurve, "CircuitCurve", |curve| format!("{} at {} sizes", curve.0.title, curve.0.points.len()));

#[export_module(manifest)]
pub mod methods {
    /// Computes the faithfulness of the units with the largest scores, more and more of them, and the areas CPR (under
    /// f) and CMD (under |1 - f|) by trapezoids over the share of all units (MIB: Mueller et al. 2025).
    ///
    /// The number of units of a share is cut off to a whole number, counted before edges that lead nowhere are taken off.
    /// The circuit has a score of every unit, as `circuit::edges` finds them.
    ///
    /// # Options
    /// - [circuit_runs]
    /// - [circuit_curve]
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let pairs = c.pairs(4);
    /// let curve = circuit::edges(c.model, pairs).curve(c.model, pairs, #{ shares: [0.1, 1], draws: 1 });
    /// curve.table["chosen"]  //=> [4, 46]
    /// ```
    #[rhai_fn(global, name = "curve", pure, return_raw)]
    pub fn circuit_curve(
        ctx: NativeCallContext,
        circuit: &mut Circuit,
        m: Model,
        pairs: Array,
        options: Options,
    ) -> Fallible<CircuitCurve> {
        let (runs, curve) = taken_both::<RunOptions, CurveOptions>(options)?;
        let env = env(&ctx)?;
        let found = env.drawing(&ctx, "Circuit.curve", curve.seed, |seed| {
            let core = &circuit.core;
            let curve = CurveOptions { seed, ..curve };
            let work = |runs: &dyn NodeAblations, _: Measure| core::curve(core, runs, &curve, &env.task);
            super::with_runs(&ctx, circuit, &m, &pairs, &runs, work)
        });
        Ok(CircuitCurve(found?))
    }

    /// Returns the area under f; `()` where there is none.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let pairs = c.pairs(4);
    /// let curve = circuit::edges(c.model, pairs).curve(c.model, pairs, #{ shares: [0, 1], draws: 1 });
    /// (curve.cpr - 0.5).abs() < 1e-4  //=> true
    /// ```
    #[rhai_fn(global, get = "cpr", pure)]
    pub fn curve_cpr(c: &mut CircuitCurve) -> Dynamic {
        super::maybe(c.0.areas.map(|areas| areas.cpr))
    }

    /// Returns the area under |1 - f|; `()` where there is none.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let pairs = c.pairs(4);
    /// let curve = circuit::edges(c.model, pairs).curve(c.model, pairs, #{ shares: [0, 1], draws: 1 });
    /// (curve.cmd - 0.5).abs() < 1e-4  //=> true
    /// ```
    #[rhai_fn(global, get = "cmd", pure)]
    pub fn curve_cmd(c: &mut CircuitCurve) -> Dynamic {
        super::maybe(c.0.areas.map(|areas| areas.cmd))
    }

    /// Returns the area under the curve of random circuits with as many units; `()` where there is none.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let pairs = c.pairs(4);
    /// let curve = circuit::edges(c.model, pairs).curve(c.model, pairs, #{ shares: [0, 1], draws: 1 });
    /// (curve.random_cpr - 0.5).abs() < 1e-4  //=> true
    /// ```
    #[rhai_fn(global, get = "random_cpr", pure)]
    pub fn curve_random_cpr(c: &mut CircuitCurve) -> Dynamic {
        super::maybe(c.0.random.map(|areas| areas.cpr))
    }

    /// Tabulates the areas CPR and CMD, each with its 95 % interval by the bootstrap over pairs (low, high) and the mean
    /// area of random circuits with as many units of each class. Where f is not there, the table has no rows.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let pairs = c.pairs(4);
    /// let curve = circuit::edges(c.model, pairs).curve(c.model, pairs, #{ shares: [0, 1], draws: 1 });
    /// curve.areas.columns  //=> ["area", "value", "low", "high", "random"]
    /// curve.areas["value"] == [curve.cpr, curve.cmd]  //=> true
    /// ```
    #[rhai_fn(global, get = "areas", pure)]
    pub fn curve_areas(c: &mut CircuitCurve) -> Table {
        c.0.areas_table()
    }

    /// Tabulates the points of the curve.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let pairs = c.pairs(4);
    /// let curve = circuit::edges(c.model, pairs).curve(c.model, pairs, #{ shares: [0, 1], draws: 1 });
    /// curve.table["kept"]  //=> [0, 46]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn curve_table(c: &mut CircuitCurve) -> Table {
        c.0.table()
    }

    /// Draws the curve as a chart, with that of random circuits.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let pairs = c.pairs(4);
    /// circuit::edges(c.model, pairs).curve(c.model, pairs, #{ shares: [0.5, 1], draws: 1 }).chart.save("doc/f.svg");
    /// ```
    #[rhai_fn(global, get = "chart", pure)]
    pub fn curve_chart(c: &mut CircuitCurve) -> Chart {
        c.chart()
    }

    /// Saves the curve as .html, .json or .txt, by the ending of the name. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("sort");
    /// let pairs = c.pairs(4);
    /// let curve = circuit::edges(c.model, pairs).curve(c.model, pairs, #{ shares: [0.5, 1], draws: 1 });
    /// curve.save("doc/curve.json").ends_with("curve.json")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_curve(ctx: NativeCallContext, c: &mut CircuitCurve, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, c, path)?)
    }
}
