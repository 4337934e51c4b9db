//! `plot::`: charts. Each binding makes the chart; showing and saving it is the same for all results.

use crate::report::chart::{
    self, BarOptions, HeatOptions, HistogramOptions, LineOptions, PanelOptions, ScatterOptions,
};
use crate::script::engine::value::plain_data;
use crate::script::model::prelude::*;

/// The groups of options that the module's doc comments list.
pub const OPTIONS: &[NamedOptions] = &[
    ("line", fields::<LineOptions>),
    ("bar", fields::<BarOptions>),
    ("histogram", fields::<HistogramOptions>),
    ("scatter", fields::<ScatterOptions>),
    ("heat", fields::<HeatOptions>),
    ("panels", fields::<PanelOptions>),
];

#[export_module(manifest)]
pub mod functions {
    /// Draws a line chart of one series or several.
    ///
    /// The data are a list of numbers, a tensor of one dimension, or several series: a map of names to lists, a list of
    /// lists, or a tensor of two dimensions whose rows are the series. NaN and infinite values are gaps, which a note under
    /// the chart counts; missing values, `()`, are gaps without a note. On a logarithmic axis so are values that are not
    /// above zero. Series of different lengths, or at different places, have `x_values` each, shaped like the data.
    ///
    /// # Options
    /// - [line]
    ///
    /// # Example
    /// ```
    /// let loss = #{ topk: [3.1, 2.2, 1.9], l1: [3.3, 2.6, 2.2] };
    /// plot::line(loss, #{ x: "epoch", y: "loss (nats)", horizontal: 1.5 })  //=> line chart of l1, topk
    /// let fve = #{ topk: [0.7, 0.9], l1: [0.6, 0.7, 0.8] };
    /// let l0 = #{ topk: [8, 32], l1: [6, 20, 70] };
    /// plot::line(fve, #{ x_values: l0, colours: #{ topk: 0, l1: 1 } }).to_map().series[1].x  //=> [8.0, 32.0]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn line(ctx: NativeCallContext, data: Any, options: Options) -> Fallible<Chart> {
        Ok(chart::line(&plain_data(&data)?, taken(options)?, &env(&ctx)?.task)?)
    }

    /// Draws a bar chart: one bar for each value, or several side by side or stacked.
    ///
    /// The data are a map of names to numbers, a list of [name, number] pairs (which keeps its order) whose names are
    /// strings, or series as `plot::line` takes them, whose values are then named by `labels`: lists of numbers alone are
    /// series.
    ///
    /// # Options
    /// - [bar]
    ///
    /// # Example
    /// ```
    /// plot::bar(#{ prose: 0.4, code: 0.1 }, #{ y: "share" }).to_map().categories  //=> ["code", "prose"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn bar(ctx: NativeCallContext, data: Any, options: Options) -> Fallible<Chart> {
        Ok(chart::bar(&plain_data(&data)?, taken(options)?, &env(&ctx)?.task)?)
    }

    /// Draws a histogram of one list of values, or of several over the same edges.
    ///
    /// The values are a list or a tensor of any shape, or a map of names to such. The last bin holds its upper edge.
    /// With `density` the area of each series is 1, as far as its values are within the bins.
    ///
    /// # Options
    /// - [histogram]
    ///
    /// # Example
    /// ```
    /// plot::histogram([1, 2, 2, 3], #{ bins: 2 }).to_map().series[0].counts  //=> [1, 3]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn histogram(ctx: NativeCallContext, values: Any, options: Options) -> Fallible<Chart> {
        Ok(chart::histogram(&plain_data(&values)?, taken(options)?, &env(&ctx)?.task)?)
    }

    /// Draws a scatter plot of points.
    ///
    /// Both coordinates are lists or tensors with one number for each point. Where there are too many points to be
    /// seen apart, marks that would lie upon each other are drawn once, and a note says so. `lines` draws a fit over
    /// them.
    ///
    /// # Options
    /// - [scatter]
    ///
    /// # Example
    /// ```
    /// plot::scatter([1, 2, 3], [2, 4, 9], #{ groups: ["a", "b", "a"] })  //=> scatter chart of a, b
    /// ```
    #[rhai_fn(return_raw)]
    pub fn scatter(ctx: NativeCallContext, xs: Any, ys: Any, options: Options) -> Fallible<Chart> {
        Ok(chart::scatter(&plain_data(&xs)?, &plain_data(&ys)?, taken(options)?, &env(&ctx)?.task)?)
    }

    /// Draws a heat map of a matrix: a tensor of two dimensions, a list of lists, or a grid.
    ///
    /// Data of both signs get colours from blue over white at zero to red, other data colours that rise from dark to
    /// light; `centre`, `range` and `log` choose otherwise. Values are written into the cells where there is room.
    ///
    /// # Options
    /// - [heat]
    ///
    /// # Example
    /// ```
    /// plot::heat([[0.1, 0.9], [0.4, 0.2]], #{ rows: ["layer 0", "layer 1"] }).to_map().grid.columns  //=> ["0", "1"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn heat(ctx: NativeCallContext, data: Any, options: Options) -> Fallible<Chart> {
        Ok(chart::heat(&plain_data(&data)?, taken(options)?, &env(&ctx)?.task)?)
    }

    /// Puts several charts into one picture, in rows and columns, with letters.
    ///
    /// The charts are a list of rows, which are lists of charts; a list of charts is one row, and `()` an empty place.
    /// All plots are of one size and aligned, whatever their labels take. Size and letters are those of the picture; all
    /// else each chart keeps, unless it is asked for here. Names of series that are the same in all panels are listed
    /// once, above them, and notes stand together below.
    ///
    /// # Options
    /// - [panels]
    ///
    /// # Example
    /// ```
    /// let losses = [[3, 2, 1], [5, 4, 2]].map(|loss| plot::line(loss, #{ x: "epoch", y: "loss (nats)" }));
    /// plot::panels(losses, #{ share_y: true })  //=> chart of 2 panels
    /// ```
    #[rhai_fn(return_raw)]
    pub fn panels(ctx: NativeCallContext, charts: Any, options: Options) -> Fallible<Chart> {
        Ok(chart::panels(&plain_data(&charts)?, taken(options)?, &env(&ctx)?.task)?)
    }
}
