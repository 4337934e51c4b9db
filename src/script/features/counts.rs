//! `features::counts` and `features::histogram`: exact counts of the positions at which one feature is active.

use crate::features::histogram::{
    Count, CountOptions, FeatureHistogramOptions, PositionClasses, counted, sizes, table,
};
use crate::report::chart::{Axis, Bars, HistogramCounts};
use crate::script::features::Feature;
use crate::script::model::prelude::*;

fn classes(ctx: &NativeCallContext, m: &Model, f: &Feature, text: &Text, by: &str) -> Result<Vec<(String, Count)>> {
    counted(m.core(), &f.sae.core, f.index, text, &PositionClasses::named(by), &env(ctx)?.task)
}

/// Draws the histogram of a feature's activations.
fn of_codes(ctx: &NativeCallContext, m: &Model, f: &Feature, text: &Text) -> Result<Chart> {
    let found = sizes(m.core(), &f.sae.core, f.index, text, &env(ctx)?.task)?;
    let counts = HistogramCounts { name: "positions".into(), counts: found.counts, ..HistogramCounts::default() };
    Ok(Chart { x: label("code"), y: label("positions"), ..Chart::histogram(found.edges, vec![counts]) })
}

/// Draws a bar for each class: the number of its positions at which the feature is active.
fn bars(classes: &[(String, Count)], by: &str, most: usize) -> Chart {
    let shown = classes.iter().take(most);
    let names = shown.clone().map(|(name, _)| name.clone()).collect();
    let values = shown.map(|(_, count)| count.fired as f64).collect();
    let chart = Chart::bar(names, vec![Bars { name: "active".into(), values, spread: None }]);
    Chart { x: label(by), y: label("active positions"), ..chart }
}

fn label(text: &str) -> Axis {
    Axis { label: text.into(), ..Axis::default() }
}

#[export_module(manifest)]
pub mod functions {
    /// Counts a feature by classes of positions, as a table: for each class the number of positions, the number at
    /// which the feature is active, and the mean, the largest and the sum of its activations there. All of the text is
    /// counted, exactly.
    ///
    /// `by` is "token", the tokens with the largest sums first; "position", in classes 0, 1, 2 to 3, 4 to 7 and so on; or
    /// the name of one of the text's labels, such as "depth" or "apostrophe", which rules find where it has none of its own.
    ///
    /// # Options
    /// - [feature_counts]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be (or not) to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be (or not) to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// features::counts(m, s.feature(3), text, #{ by: "depth" }).to_map().rows.map(|row| [row[0], row[1]])
    /// //=> [["0", 8], ["1", 8]]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn counts(ctx: NativeCallContext, m: Model, f: Feature, text: Text, options: Options) -> Fallible<Table> {
        let CountOptions { by, rows } = taken(options)?;
        let found = super::classes(&ctx, &m, &f, &text, &by)?;
        Ok(table(&f.short(), &by, &found, rows))
    }

    /// Draws the counts of a feature as a chart: the number of positions of each class at which it is active. "code" is
    /// the histogram of the feature's activations, without those that are 0.
    ///
    /// # Options
    /// - [feature_histogram]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be (or not) to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be (or not) to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// features::histogram(m, s.feature(3), text, #{ by: "depth" })  //=> bar chart of active
    /// ```
    #[rhai_fn(return_raw)]
    pub fn histogram(ctx: NativeCallContext, m: Model, f: Feature, text: Text, options: Options) -> Fallible<Chart> {
        let FeatureHistogramOptions { by, bars } = taken(options)?;
        let chart = match by.as_str() {
            "code" => super::of_codes(&ctx, &m, &f, &text)?,
            by => super::bars(&super::classes(&ctx, &m, &f, &text, by)?, by, bars),
        };
        Ok(Chart { title: f.short(), ..chart })
    }
}
