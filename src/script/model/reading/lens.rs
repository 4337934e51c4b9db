//! The logit lens.

use rhai::plugin::*;
use rhai::{Dynamic, Map, NativeCallContext};
use serde_json::{Value, json};

use super::super::look::places;
use super::super::{Asked, Model};
use super::{name, names, one};
use crate::base::{Grid, Result, Table};
use crate::err;
use crate::model::reading::lens::{Reading, grid, lens, table};
use crate::model::run::Ask;
use crate::model::site::select;
use crate::report::symbols::count;
use crate::report::{Item, Screen};
use crate::script::options::options;
use crate::script::show::Handle;
use crate::script::value::{Any, Fallible, Given, Options, from_json};
use crate::tensor::Tensor;

/// What the stream of one text says at some sites.
#[derive(Clone)]
pub struct Lens {
    model: Model,
    readings: Vec<Reading>,
    /// What the positions are called.
    positions: Vec<String>,
}

impl Lens {
    fn table(&self) -> Result<Table> {
        table(&self.readings, 0, &self.positions, |id| name(&self.model, id))
    }

    fn grid(&self) -> Result<Grid> {
        grid(&self.readings, 0, &self.positions)
    }

    fn logits(&self, site: &str) -> Result<Tensor> {
        let places = select(self.model.config(), site)?;
        let found = self.readings.iter().find(|reading| places == [reading.place]);
        found.map(|reading| reading.logits.clone()).ok_or_else(|| err!(Name, "`{site}` was not read"))
    }
}

impl Handle for Lens {
    const NAME: &'static str = "Lens";

    fn short(&self) -> String {
        let (sites, positions) = (count(self.readings.len(), "site"), count(self.positions.len(), "position"));
        format!("lens on {sites}, {positions}")
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.table()?.terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let guess = |guess: &crate::model::reading::lens::Guess| json!({ "token": name(&self.model, guess.token), "id": guess.token, "probability": guess.probability });
        let reading = |reading: &Reading| {
            let positions = reading.guesses.concat();
            let guesses: Vec<Vec<Value>> = positions.iter().map(|all| all.iter().map(guess).collect()).collect();
            (reading.place.to_string(), json!(guesses))
        };
        Ok(Value::Object(self.readings.iter().map(reading).collect()))
    }
}

fn read(ctx: &NativeCallContext, m: &Model, x: &Dynamic, map: Options) -> Fallible<Lens> {
    let mut read = options(1, map);
    let asked = Asked::read(1, &mut read)?;
    let sites = read.value("sites").unwrap_or_else(|| "resid_post.*".into());
    let positions = read.get("pos", Given::integers)?;
    let k = read.size("k", 1)?;
    read.finish()?;
    let places = places(m.config(), 1, &sites)?;
    let input = one(&asked, ctx, m, x)?;
    let readings = asked.run(ctx, m, |hooks, task| {
        let ask = Ask { hooks, places: places.clone(), positions: None };
        let cache = m.decoder().cache(&input.batch, ask, task)?;
        lens(m.decoder(), &cache, &places, positions.as_deref(), k, task)
    })?;
    let names = names(m, &input.batch.rows()[0]);
    let chosen: Vec<i64> = positions.unwrap_or_else(|| (0..names.len() as i64).collect());
    let called = |pos: &i64| {
        let pos = if *pos < 0 { pos + names.len() as i64 } else { *pos };
        format!("{pos} {}", names.get(pos as usize).map_or("", String::as_str))
    };
    Ok(Lens { model: m.clone(), readings, positions: chosen.iter().map(called).collect() })
}

#[export_module(manifest)]
pub mod methods {
    /// The logit lens (nostalgebraist 2020): the stream of a text in the middle of the model, read as if it were at its
    /// end, through the last norm and the unembedding.
    ///
    /// It is shown as a table of the likeliest next token at each site and position. `lens.grid` is how likely these
    /// are, `lens["resid_post.3"]` the logits there.
    ///
    /// # Options
    /// - `sites` = "resid_post.*": the sites of the stream, or of what is written into it
    /// - `pos` = all: the positions to read; negative ones count from the end
    /// - `k` = 1: how many of the likeliest tokens are kept for `to_map`
    /// - `hooks` = none: a hook, or an array of them, in the order that they act in
    /// - `bos` = the tokenizer's own rule: whether the token that marks a beginning is put before the text
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let lens = m.lens([1, 2, 3]);
    /// lens  //=> lens on 2 sites, 3 positions
    /// lens["resid_post.1"].all_close(m.logits([1, 2, 3]), #{ atol: 1e-6 })  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn lens(ctx: NativeCallContext, m: &mut Model, x: Any) -> Fallible<Lens> {
        super::read(&ctx, m, &x, Options::new())
    }

    #[rhai_fn(global, name = "lens", pure, return_raw)]
    pub fn lens_with(ctx: NativeCallContext, m: &mut Model, x: Any, options: Options) -> Fallible<Lens> {
        super::read(&ctx, m, &x, options)
    }

    /// The likeliest next token at each site (rows) and position (columns).
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.lens([1, 2, 3]).table.columns  //=> ["site", "0 1", "1 2", "2 3"]
    /// ```
    #[rhai_fn(global, get = "table", pure, return_raw)]
    pub fn table(lens: &mut Lens) -> Fallible<Table> {
        Ok(lens.table()?)
    }

    /// How likely the likeliest tokens are, at each site (rows) and position (columns).
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.lens([1, 2, 3]).grid  //=> grid of 2 by 3 "logit lens"
    /// ```
    #[rhai_fn(global, get = "grid", pure, return_raw)]
    pub fn grid(lens: &mut Lens) -> Fallible<Grid> {
        Ok(lens.grid()?)
    }

    /// The logits that the lens reads at a site: [1, pos, vocab].
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.lens([1, 2, 3], #{ pos: -1 })["resid_post.0"].shape  //=> [1, 1, 10]
    /// ```
    #[rhai_fn(global, index_get, pure, return_raw)]
    pub fn at(lens: &mut Lens, site: &str) -> Fallible<Tensor> {
        Ok(lens.logits(site)?)
    }

    /// For each site the likeliest tokens at each position, with their probabilities.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.lens([1, 2, 3], #{ k: 4 }).to_map()["resid_post.0"][2].len()  //=> 4
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(lens: &mut Lens) -> Fallible<Map> {
        Ok(from_json(&lens.json()?).try_cast::<Map>().unwrap_or_default())
    }
}
