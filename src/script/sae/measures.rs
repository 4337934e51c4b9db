//! The metrics of a dictionary, as scripts hold them.

use crate::report::chart::{Axis, HistogramCounts};
use crate::sae::metrics::Measures;
use crate::script::prelude::*;

impl Handle for Measures {
    const NAME: &'static str = "Measures";

    fn short(&self) -> String {
        let fve = self.fve.map_or("none".into(), |fve| format!("{fve:.4}"));
        format!("measures: FVE {fve}, L0 {:.2}, {:.4} dead", self.l0, self.features.dead_share())
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.table().terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        self.table().data()
    }
}

/// Draws the histogram of log densities.
fn densities(measures: &Measures) -> Chart {
    let histogram = measures.features.histogram();
    let counts = HistogramCounts { name: "features".into(), counts: histogram.counts, ..HistogramCounts::default() };
    let silent = measures.features.fired.iter().filter(|fired| **fired == 0).count();
    Chart {
        title: match silent {
            0 => "Density of features".into(),
            _ => format!("Density of features; {silent} never active"),
        },
        x: Axis { label: "log10 of the share of rows in which it is active".into(), ..Axis::default() },
        y: Axis { label: "features".into(), ..Axis::default() },
        ..Chart::histogram(histogram.edges, vec![counts])
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns one of the metrics by its name in the table, such as "fve" or "l0"; () where it has no value.
    ///
    /// # Example
    /// ```
    /// let found = sae::identity(4).measure(tensor::randn([100, 4], #{ seed: 1 }));
    /// [found["fve"], found["l0"]]  //=> [1.0, 4.0]
    /// ```
    #[rhai_fn(global, index_get, pure, return_raw)]
    pub fn at(measures: &mut Measures, name: &str) -> Fallible<Num> {
        Ok(match measures.value(name)? {
            Cell::Int(x) => x.into(),
            Cell::Float(x) => x.into(),
            _ => Dynamic::UNIT,
        })
    }

    /// Returns all metrics, with the formula of each.
    ///
    /// # Example
    /// ```
    /// sae::identity(4).measure(tensor::randn([100, 4], #{ seed: 1 })).table.columns  //=> ["measure", "value", "what it is"]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn table(measures: &mut Measures) -> Table {
        measures.table()
    }

    /// Returns the explained variance at each position, `1 - sum |x - x_hat|² / sum |x - mean|²` over its rows, about
    /// the mean over all positions; for metrics of a model on a text.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let found = sae::identity(8).measure_on(m, data::texts(["to be", "or not"]), #{ site: "resid_post.0" });
    /// found.by_position.columns  //=> ["position", "rows", "fve"]
    /// ```
    #[rhai_fn(global, get = "by_position", pure)]
    pub fn by_position(measures: &mut Measures) -> Table {
        measures.by_position()
    }

    /// Returns the mean squared error of each dimension, and its fraction of variance explained,
    /// `1 - sum (x_j - x_hat_j)² / sum (x_j - mean_j)²`.
    ///
    /// # Example
    /// ```
    /// let found = sae::identity(2).measure(tensor::randn([100, 2], #{ seed: 1 }));
    /// found.by_dimension.to_map().rows  //=> [[0, 0.0, 1.0], [1, 0.0, 1.0]]
    /// ```
    #[rhai_fn(global, get = "by_dimension", pure)]
    pub fn by_dimension(measures: &mut Measures) -> Table {
        measures.by_dimension()
    }

    /// Returns the share of rows in which each feature is active: `[d_sae]`.
    ///
    /// # Example
    /// ```
    /// sae::neurons(2, #{ relu: true }).measure([[1, -1], [1, 2]]).densities  //=> tensor([1.0, 0.5])
    /// ```
    #[rhai_fn(global, get = "densities", pure, return_raw)]
    pub fn densities(measures: &mut Measures) -> Fallible<Tensor> {
        let shares: Vec<f32> = measures.features.densities().into_iter().map(|share| share as f32).collect();
        let count = shares.len();
        Ok(Tensor::from_vec(shares, count, &Device::Cpu).map_err(crate::base::Error::from)?)
    }

    /// Draws the histogram of the features' log densities (Bricken et al. 2023), as a chart.
    ///
    /// # Example
    /// ```
    /// sae::random(4, 30, #{ k: 2, seed: 1 }).measure(tensor::randn([100, 4], #{ seed: 1 })).histogram().save("density.svg");
    /// ```
    #[rhai_fn(global, pure)]
    pub fn histogram(measures: &mut Measures) -> Chart {
        super::densities(measures)
    }

    /// Returns the data of the table.
    ///
    /// # Example
    /// ```
    /// sae::identity(4).measure(tensor::randn([100, 4], #{ seed: 1 })).to_map().rows[2][1]  //=> 1.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(measures: &mut Measures) -> Fallible<Dynamic> {
        Ok(mapped(measures)?)
    }
}
