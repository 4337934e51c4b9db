//! The training curves of a fit, as a table and a chart.

use crate::base::results::MISSING;
use crate::report::chart::{Axis, Series};
use crate::script::prelude::*;
use crate::script::sae::Sae;

#[export_module(manifest)]
pub mod methods {
    /// Returns the training history, in at most a hundred rows: steps, rows, loss, error, FVE and L0 (means of the
    /// steps since the row before) and the number of dead features; () if it was not fitted here.
    ///
    /// # Example
    /// ```
    /// let s = sae::fit(tensor::randn([64, 4], #{ seed: 1 }), #{ k: 1, d_sae: 8, steps: 3, seed: 1 });
    /// s.history.columns  //=> ["step", "rows", "loss", "error", "fve", "l0", "dead"]
    /// ```
    #[rhai_fn(global, get = "history", pure)]
    pub fn history(s: &mut Sae) -> Dynamic {
        match &s.history {
            Some(history) => Dynamic::from(history.table(100)),
            None => Dynamic::UNIT,
        }
    }

    /// Draws the training curve as a chart: fraction of variance explained over rows read.
    ///
    /// # Example
    /// ```
    /// let s = sae::fit(tensor::randn([64, 4], #{ seed: 1 }), #{ k: 1, d_sae: 8, steps: 3, seed: 1 });
    /// s.curve().save("fit.svg");
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn curve(s: &mut Sae) -> Fallible<Chart> {
        let Some(history) = &s.history else {
            return Err(err!(Argument, "this dictionary was not fitted here, so it has no training curve").into());
        };
        let table = history.table(200);
        let column = |at: usize| {
            let number = |row: &Vec<Cell>| match row.get(at) {
                Some(Cell::Int(x)) => *x as f64,
                Some(Cell::Float(x)) => *x,
                _ => MISSING,
            };
            table.rows.iter().map(number).collect()
        };
        let mut chart =
            Chart::line(vec![Series { name: "fit".into(), x: column(1), y: column(4), ..Series::default() }]);
        chart.x = Axis { label: "rows".into(), ..Axis::default() };
        chart.y = Axis { label: "fraction of variance explained".into(), ..Axis::default() };
        Ok(chart)
    }
}
