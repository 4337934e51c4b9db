//! Comparing dictionaries: `sae::pareto`.

use super::rows::{keeping, no_text_options};
use crate::data::harvest::TextReading;
use crate::report::pareto;
use crate::sae;
use crate::sae::metrics::{Pareto, ParetoOptions, pareto_in_model, pareto_on};
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::script::sae::Sae;
use crate::script::tensor::values;

impl Handle for Pareto {
    const NAME: &'static str = "Pareto";

    fn short(&self) -> String {
        let front = self.front().into_iter().filter(|is_on_front| *is_on_front).count();
        format!("{} compared, {front} on the Pareto front", count(self.points.len(), "point"))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        Ok(format!("{}{}", self.table().terminal(screen)?, pareto::chart(self).terminal(screen)?))
    }

    fn json(&self) -> Result<Value> {
        self.table().data()
    }
}

fn dictionaries(given_as: &Dynamic) -> Result<Vec<Sae>> {
    let elements = given("dictionaries", given_as).elements();
    if elements.is_empty() {
        return Err(err!(Argument, "expected dictionaries to compare, found none").about("saes"));
    }
    let dictionary = |one: &GivenValue| {
        let sae = one.handle::<Sae>().ok_or_else(|| one.refuse("a dictionary"))?;
        sae.core.check_writes_what_it_reads()?;
        Ok(sae)
    };
    elements.iter().map(dictionary).collect()
}

fn on_activations(given_as: &Dynamic, x: &Dynamic, map: Options, env: &Env) -> Result<Pareto> {
    let all = dictionaries(given_as)?;
    let is_of_text = map.keys().any(|key| key != "dead_at_most");
    let mut read = options(map);
    let options: ParetoOptions = read.declared()?;
    keeping(&mut read)?;
    read.finish()?;
    no_text_options(is_of_text)?;
    let saes: Vec<&sae::Sae> = all.iter().map(|sae| &sae.core).collect();
    pareto_on(&saes, &values("x", x)?, options.measure, &env.task)
}

fn on_model(given_as: &Dynamic, m: &Model, text: &Text, map: Options, env: &Env) -> Result<Pareto> {
    let all = dictionaries(given_as)?;
    let mut read = options(map);
    let options: ParetoOptions = read.declared()?;
    let reading = keeping(&mut read)?;
    read.finish()?;
    let saes: Vec<&sae::Sae> = all.iter().map(|sae| &sae.core).collect();
    pareto_in_model(&saes, TextReading::new(m.core(), text, &reading), &options, &env.task)
}

#[export_module(manifest)]
pub mod functions {
    /// Compares dictionaries by FVE and L0: a table of kind, settings, L0, FVE, dead share and, where a model is given,
    /// loss recovered; which of them are on the Pareto front, where no other one explains as much with fewer codes; and
    /// a chart of FVE against L0 with a line for each kind.
    ///
    /// They are evaluated on activations `[.., d]`, or on those of a model on a text, in one forward pass for all of
    /// them. Linear baselines take part with the codes that they keep: see `keeping`. Random ones have the gain for
    /// that number of codes, and subtract the mean where they were made of activations: see `sae::random`.
    ///
    /// # Options
    /// - `rows` = 64: for a text, number of rows for the cross-entropy
    /// - `without_bos` = false, true for the cross-entropy: skips BOS tokens
    /// - [pareto]
    /// - [positions]
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([200, 4], #{ seed: 1 }) * tensor([9, 3, 1, 1]);
    /// let all = [1, 2].map(|k| sae::pca(x, #{ k: k })) + [sae::random(x, 9, #{ k: 1, seed: 1 })];
    /// let found = sae::pareto(all, x);
    /// found.points.map(|p| [p.kind, p.settings, p.l0])  //=> [["pca", "k 1", 1.0], ["pca", "k 2", 2.0], ["random", "k 1", 1.0]]
    /// found.points.map(|p| p.front)  //=> [true, true, false]
    /// found.points.all(|p| p.fve > 0)  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn pareto(ctx: NativeCallContext, dictionaries: Any, x: Any, options: Options) -> Fallible<Pareto> {
        Ok(super::on_activations(&dictionaries, &x, options, &*env(&ctx)?)?)
    }

    #[rhai_fn(name = "pareto", return_raw)]
    pub fn pareto_on(ctx: NativeCallContext, dictionaries: Any, m: Model, text: Text) -> Fallible<Pareto> {
        Ok(super::on_model(&dictionaries, &m, &text, Options::new(), &*env(&ctx)?)?)
    }

    #[rhai_fn(name = "pareto", return_raw)]
    pub fn pareto_on_with(
        ctx: NativeCallContext,
        dictionaries: Any,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Pareto> {
        Ok(super::on_model(&dictionaries, &m, &text, options, &*env(&ctx)?)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the dictionaries of a comparison as a table.
    ///
    /// # Example
    /// ```
    /// sae::pareto([sae::identity(4)], tensor::randn([9, 4], #{ seed: 1 })).table.to_map().rows[0][3]  //=> 4.0
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn table(pareto: &mut Pareto) -> Table {
        pareto.table()
    }

    /// Returns each dictionary of a comparison as a map with the columns of its table.
    ///
    /// # Example
    /// ```
    /// sae::pareto([sae::identity(4)], tensor::randn([9, 4], #{ seed: 1 })).points[0].fve  //=> 1.0
    /// ```
    #[rhai_fn(global, get = "points", pure, return_raw)]
    pub fn points(pareto: &mut Pareto) -> Fallible<Array> {
        let Table { columns, rows, .. } = pareto.table();
        let point = |row: Vec<crate::base::Cell>| -> Result<Dynamic> {
            let cells = row.into_iter().map(|cell| serde_json::to_value(cell).map_err(|e| err!(Bug, "a cell: {e}")));
            let fields = columns.iter().cloned().zip(cells.collect::<Result<Vec<_>>>()?);
            Ok(from_json(Value::Object(fields.collect())))
        };
        Ok(rows.into_iter().map(point).collect::<Result<_>>()?)
    }

    /// Draws FVE against L0 as a chart, a line for each kind, and for each width of it where there are several.
    ///
    /// # Example
    /// ```
    /// sae::pareto([sae::identity(4)], tensor::randn([9, 4], #{ seed: 1 })).chart().save("pareto.svg");
    /// ```
    #[rhai_fn(global, pure)]
    pub fn chart(pareto: &mut Pareto) -> Chart {
        pareto::chart(pareto)
    }
}
