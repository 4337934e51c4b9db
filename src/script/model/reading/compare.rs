//! Two runs side by side.

use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};
use serde_json::{Value, json};

use super::super::{Model, Run};
use crate::base::{Card, Grid, Result, Table};
use crate::model::reading::compare::{Comparison as Core, Difference, compare};
use crate::report::json::number;
use crate::report::{Item, Screen};
use crate::script::env::env;
use crate::script::show::Handle;
use crate::script::value::{Fallible, from_json};

#[derive(Clone)]
pub struct Comparison(Core);

impl Handle for Comparison {
    const NAME: &'static str = "Comparison";

    fn short(&self) -> String {
        match self.0.first() {
            Some(place) => format!("comparison of two runs that differ from {place} on"),
            None => "comparison of two runs that are the same".into(),
        }
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        Ok([self.0.card().terminal(screen)?, self.0.table().terminal(screen)?].concat())
    }

    fn json(&self) -> Result<Value> {
        let site = |site: &Difference| {
            json!({
                "site": site.place.to_string(),
                "largest": number(site.largest),
                "relative": number(site.relative),
                "cosine": number(site.cosine),
            })
        };
        let sites: Vec<Value> = self.0.sites.iter().map(site).collect();
        let first = self.0.first().map(|place| place.to_string());
        Ok(json!({ "first": first, "sites": sites, "kl": self.0.kl }))
    }
}

#[export_module(manifest)]
pub mod methods {
    /// How two runs differ: at every site that both recorded, and in what they predict, as KL(a || b) in nats.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let changed = m.run([1, 2, 3], #{ hooks: hooks::zero("mlp_out.1") });
    /// m.compare(m.run([1, 2, 3]), changed)  //=> comparison of two runs that differ from mlp_out.1 on
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn compare(ctx: NativeCallContext, _m: &mut Model, a: Run, b: Run) -> Fallible<Comparison> {
        Ok(Comparison(super::compare(&a.core(), &b.core(), &env(&ctx)?.task)?))
    }

    /// The first site that is not the same to the last bit, or nothing.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.compare(m.run([1, 2, 3]), m.run([1, 2, 3])).first  //=> ()
    /// ```
    #[rhai_fn(global, get = "first", pure)]
    pub fn first(comparison: &mut Comparison) -> Dynamic {
        comparison.0.first().map_or(Dynamic::UNIT, |place| place.to_string().into())
    }

    /// KL(a || b) in nats: for each text, at each position.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.compare(m.run([1, 2]), m.run([1, 2])).kl  //=> [[0.0, 0.0]]
    /// ```
    #[rhai_fn(global, get = "kl", pure)]
    pub fn kl(comparison: &mut Comparison) -> Array {
        let text = |text: &Vec<f64>| Dynamic::from(text.iter().copied().map(Dynamic::from).collect::<Array>());
        comparison.0.kl.iter().map(text).collect()
    }

    /// The sites that both recorded, and how far each is apart.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.compare(m.run([1, 2]), m.run([1, 2])).table.columns  //=> ["site", "max |a - b|", "|a - b| / |a|", "cosine"]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn table(comparison: &mut Comparison) -> Table {
        comparison.0.table()
    }

    /// The outcome in a few lines.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.compare(m.run([1, 2]), m.run([3, 4])).card  //=> card "two runs, a and b"
    /// ```
    #[rhai_fn(global, get = "card", pure)]
    pub fn card(comparison: &mut Comparison) -> Card {
        comparison.0.card()
    }

    /// KL(a || b) in nats as a grid: a row for each text, a column for each position.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.compare(m.run([1, 2]), m.run([3, 4])).grid.to_map().quantity  //=> "KL(a || b), nats"
    /// ```
    #[rhai_fn(global, get = "grid", pure)]
    pub fn grid(comparison: &mut Comparison) -> Grid {
        comparison.0.grid()
    }

    /// All of it: the first site that differs, every site, and KL(a || b) by text and position.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.compare(m.run([1, 2]), m.run([3, 4])).to_map().first  //=> "embed"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(comparison: &mut Comparison) -> Fallible<Dynamic> {
        Ok(from_json(&comparison.json()?))
    }
}
