//! `chosen.enough(m, text)`: the sufficiency of a selection: how much of a probability its first features keep by
//! themselves.

use super::Selection;
use crate::circuit;
use crate::circuit::sufficiency::{
    MeanEstimate, Sufficiency as Core, SufficiencyOptions, SufficiencyPoint, errors, range, sufficiency,
};
use crate::report::chart::{Axis, Series, Spread};
use crate::report::html::figure;
use crate::report::number::digits;
use crate::report::picture::Picture;
use crate::script::circuit::Circuit;
use crate::script::model::prelude::*;

/// The sufficiency of a selection's features, and of those of graphs beside it.
#[derive(Clone)]
pub struct Enough {
    core: Arc<Core>,
    /// The text that it was evaluated on.
    text: String,
}

impl Enough {
    /// Tabulates each number with its interval, for display.
    fn shown_table(&self) -> Table {
        let numbers = |[value, low, high]: [Option<f64>; 3]| -> Cell {
            let shown = |number: f64| digits(number, 3);
            match (value.filter(|value| value.is_finite()), low, high) {
                (Some(value), Some(low), Some(high)) => {
                    format!("{} ({} to {})", shown(value), shown(low), shown(high)).into()
                }
                (value, ..) => value.into(),
            }
        };
        let estimate =
            |of: &MeanEstimate| numbers([Some(of.value), of.interval.map(|i| i[0]), of.interval.map(|i| i[1])]);
        let full = self.core.table();
        let row = |(point, row): (&SufficiencyPoint, &Vec<Cell>)| -> Vec<Cell> {
            let judged = [estimate(&point.share), estimate(&point.faithfulness), numbers(range(&point.random))];
            row.iter().take(4).cloned().chain(judged).collect()
        };
        let columns = ["kept", "features", "errors", "P(tokens)", "share of P", "faithfulness", "random sets"];
        Table::new(&full.title, columns, self.core.points.iter().zip(&full.rows).map(row))
    }

    /// Says the size of the evaluation, and what the intervals are.
    fn notes(&self) -> [String; 2] {
        let Core { whole, rows, positions, read, .. } = &*self.core;
        let draws = self.core.points.iter().map(|point| point.random.len()).max().unwrap_or_default();
        let interval = whole.interval.map(|[low, high]| format!(" ({} to {})", digits(low, 3), digits(high, 3)));
        [
            format!(
                "In the unchanged model, P(tokens) is {}{}: {} in {} of {} tokens of {}.",
                digits(whole.value, 3),
                interval.unwrap_or_default(),
                count(*positions, "position"),
                count(*rows, "row"),
                digits(*read as f64, 6),
                self.text
            ),
            format!("In brackets: 95 % bootstrap interval over rows; for random sets, minimum and maximum of {draws}."),
        ]
    }

    /// Draws the share of P against the number of features kept, a line for each way of selecting them.
    fn chart(&self) -> Chart {
        let mut series: Vec<Series> = Vec::new();
        let mut add = |name: String, point: &SufficiencyPoint, [value, low, high]: [f64; 3]| {
            let place = series.iter().position(|series| series.name == name).unwrap_or(series.len());
            if place == series.len() {
                let spread = Some(Spread { low: Vec::new(), high: Vec::new(), band: false });
                series.push(Series { name, spread, ..Series::default() });
            }
            let one = &mut series[place];
            one.x.push(point.features as f64);
            one.y.push(value);
            if let Some(spread) = &mut one.spread {
                spread.low.push(low);
                spread.high.push(high);
            }
        };
        // Zero features have no place on a logarithmic axis.
        for point in self.core.points.iter().filter(|point| point.features > 0 && point.share.value.is_finite()) {
            let errors = errors(point.rest);
            let [low, high] = point.share.interval.unwrap_or([point.share.value; 2]);
            add(format!("{}, errors {errors}", point.name), point, [point.share.value, low, high]);
            if let [Some(mean), Some(low), Some(high)] = range(&point.random)
                && point.is_first
            {
                add(format!("random sets, errors {errors}"), point, [mean, low, high]);
            }
        }
        Chart {
            title: "What features keep by themselves".into(),
            x: Axis { label: "features kept, all others at their means".into(), log: true, ..Axis::default() },
            y: Axis { label: "share of P(tokens) where due".into(), ..Axis::default() },
            ..Chart::line(series)
        }
    }
}

impl Item for Enough {
    fn kind(&self) -> &'static str {
        "enough"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        let table = noted(&self.shown_table(), &self.notes(), screen)?;
        Ok(format!("{table}\n{}", self.chart().terminal(screen)?))
    }

    fn html(&self) -> Result<String> {
        Ok([figure(&self.chart())?, self.shown_table().html()?, paragraphs(&self.notes())].concat())
    }

    fn data(&self) -> Result<Value> {
        let Core { whole, features, rows, positions, read, .. } = &*self.core;
        let more = json!({
            "text": self.text,
            "read": read,
            "due_rows": rows,
            "due_positions": positions,
            "of_features": features,
            "p": whole.value,
            "p_interval": whole.interval,
        });
        Ok(with_fields(self.core.table().data()?, more))
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        Some(Box::new(self.chart()))
    }
}

handle!(Enough, "Enough", |enough| {
    let points = enough.core.points.len();
    format!("what {} of features by {} keep, on {}", count(points, "set"), enough.core.by, enough.text)
});

handle_setting!(TreeSetting(Circuit), "a tree", |tree| tree.graph().title.clone());

crate::options! {
    /// All options of the call.
    #[derive(Clone)]
    pub struct EnoughCall {
        /// A tree of the same dictionaries to compare with, or an array of trees.
        beside: Vec<TreeSetting> = Vec::new();
        with evaluation: SufficiencyOptions;
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Measures the sufficiency of a selection: how much of the tokens' probability its first features keep by
    /// themselves, as a table and a curve over the number of features. `judge` measures whether features are necessary.
    ///
    /// P is the mean total probability of the tokens, over all positions of the text where one of them comes next. The
    /// features that are kept have their codes; all others of the dictionaries before the target's are mean-ablated,
    /// with the means over the text that the selection was made on. The reconstruction errors are kept, and dropped in
    /// separate rows. The share of P is relative to the unchanged model, and faithfulness is (m(C) - m(0)) / (m(M) -
    /// m(0)) (Marks et al. 2024), with m(0) for no features. Both have 95 % intervals: the percentiles of 1,000
    /// bootstrap samples of the rows.
    ///
    /// Each is compared with random sets of active features, as many of each dictionary; trees are evaluated in the
    /// same way, with the features below the target kept.
    ///
    /// # Options
    /// - [circuit_enough]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let parts = [data::texts(["a b c d d c b a"]), data::texts(["d a b b c a", "c a d d b a"])];
    /// let saes = sae::fit_all(m, "resid_post.*", parts[0], #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let judging = parts[1];
    /// let chosen = circuit::select(m, saes, f, parts[0], #{ token: "a" });
    /// let rows = chosen.enough(m, judging, #{ sizes: [3, 12] }).table.to_map().rows;
    /// rows.map(|row| row[1])  //=> [0, 3, 12, 0, 3, 12]
    /// round_to(rows[2][4], 4)  //=> 1.0
    /// ```
    #[rhai_fn(global, name = "enough", pure, return_raw)]
    pub fn enough_of(
        ctx: NativeCallContext,
        selection: &mut Selection,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Enough> {
        let env = env(&ctx)?;
        let EnoughCall { beside, evaluation } = taken(options)?;
        let beside: Vec<circuit::Circuit> = beside.into_iter().map(|tree| tree.0.core).collect();
        let core = env.drawing(&ctx, "Selection.enough", evaluation.seed, |seed| {
            let evaluation = SufficiencyOptions { seed, ..evaluation };
            super::sufficiency(m.core(), &selection.core, &beside, &text, &evaluation, &env.task)
        })?;
        Ok(Enough { core: core.into(), text: text.name().into() })
    }

    /// Returns the results as a table of numbers, with the ends of all intervals in separate columns.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let chosen = circuit::select(m, saes, saes[1].feature(0), text, #{ token: "a" });
    /// chosen.enough(m, text).table.columns[4]  //=> "share of P"
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn enough_table(enough: &mut Enough) -> Table {
        enough.core.table()
    }

    /// Draws the share of P against the number of features kept, as a chart.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let chosen = circuit::select(m, saes, saes[1].feature(0), text, #{ token: "a" });
    /// chosen.enough(m, text, #{ draws: 0 }).chart().to_map().series.len()  //=> 2
    /// ```
    #[rhai_fn(global, name = "chart", pure)]
    pub fn enough_chart(enough: &mut Enough) -> Chart {
        enough.chart()
    }

    /// Returns the data of the table, with the text, the rows and positions where the tokens come next, and P of the
    /// unchanged model, as a map.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let chosen = circuit::select(m, saes, saes[1].feature(0), text, #{ token: "c" });
    /// chosen.enough(m, text).to_map().due_positions  //=> 2
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn enough_map(enough: &mut Enough) -> Fallible<Dynamic> {
        Ok(mapped(enough)?)
    }

    /// Writes the chart as .svg, .png or .pdf, or all of it as .html, .json or .txt, by the file's extension. Returns the
    /// path of the file.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let chosen = circuit::select(m, saes, saes[1].feature(0), text, #{ token: "a" });
    /// chosen.enough(m, text).save("doc/enough.svg").ends_with("enough.svg")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_enough(ctx: NativeCallContext, enough: &mut Enough, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, enough, path)?)
    }
}
