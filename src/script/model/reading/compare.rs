//! `m.compare`: the differences of two runs.

use super::names;
use crate::model::reading::compare::{Difference, RunComparison as Core, compare as compared};
use crate::model::run::Run as Recorded;
use crate::report::json::numbers;
use crate::report::picture::Picture;
use crate::script::model::Model;
use crate::script::model::Run;
use crate::script::prelude::*;

#[derive(Clone)]
pub struct Comparison(Arc<Sides>);

struct Sides {
    core: Core,
    grid: Grid,
}

impl Comparison {
    /// Makes a comparison; for a single text the columns are labelled with its tokens.
    fn new(m: &Model, a: &Recorded, b: &Recorded, core: Core) -> Self {
        let mut grid = core.grid();
        if let ([a], [b]) = (a.batch.rows(), b.batch.rows()) {
            grid.columns = columns(m, a, b);
        }
        Self(Arc::new(Sides { core, grid }))
    }

    fn first(&self) -> Option<String> {
        self.0.core.first().map(|place| place.to_string())
    }

    fn divergences(&self) -> Value {
        self.0.core.kl.iter().map(|text| numbers(text)).collect()
    }
}

/// Labels each position: its token, or both tokens where the texts differ.
fn columns(m: &Model, a: &[u32], b: &[u32]) -> Vec<String> {
    let column = |(at, (a, b)): (usize, (&u32, &u32))| {
        if a == b {
            names::placed(m.core(), at, *a)
        } else {
            format!("{} / {}", names::placed(m.core(), at, *a), names::label(m.core(), *b))
        }
    };
    a.iter().zip(b).enumerate().map(column).collect()
}

impl Item for Comparison {
    fn kind(&self) -> &'static str {
        "comparison"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        self.0.core.card().terminal(screen)
    }

    fn html(&self) -> Result<String> {
        let Sides { core, grid } = &*self.0;
        Ok([core.card().html()?, grid.html()?, core.table().html()?].concat())
    }

    fn data(&self) -> Result<Value> {
        let site = |site: &Difference| {
            json!({
                "site": site.place.to_string(),
                "largest": number(site.largest),
                "relative": number(site.relative),
                "cosine": number(site.cosine),
            })
        };
        let sites: Value = self.0.core.sites.iter().map(site).collect();
        Ok(json!({ "first": self.first(), "kl": self.divergences(), "sites": sites }))
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        Some(Box::new(Chart::heat(self.0.grid.clone())))
    }
}

handle!(Comparison, "Comparison", |comparison| {
    format!("comparison of two runs at {}", count(comparison.0.core.sites.len(), "site"))
});

#[export_module(manifest)]
pub mod methods {
    /// Compares two runs, a and b: the difference at each site, the first site that differs, and the effect on the
    /// predictions.
    ///
    /// The sites are those that both runs recorded. The texts may differ, but not their numbers of tokens. The effect on
    /// the predictions is KL(a || b) in nats, of the distributions of the next token: `a` is the clean run.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let clean = m.run([1, 2, 3], #{ sites: ["attn_out.*", "mlp_out.*"] });
    /// let changed = m.run([1, 2, 3], #{ sites: ["attn_out.*", "mlp_out.*"], hooks: hooks::zero("mlp_out.0") });
    /// let apart = m.compare(clean, changed);
    /// apart  //=> comparison of two runs at 4 sites
    /// apart.first  //=> "mlp_out.0"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn compare(ctx: NativeCallContext, m: &mut Model, a: Run, b: Run) -> Fallible<Comparison> {
        let a = a.core();
        let b = b.core();
        let core = super::compared(&a, &b, &env(&ctx)?.task)?;
        Ok(Comparison::new(m, &a, &b, core))
    }

    /// Tabulates the difference at each site: the largest one, the distance relative to the norm of a, and the cosine.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let sites = #{ sites: "mlp_out.0" };
    /// let apart = m.compare(m.run([1, 2], sites), m.run([1, 2], sites)).table();
    /// apart.columns  //=> ["site", "max |a - b|", "|a - b| / |a|", "cosine"]
    /// ```
    #[rhai_fn(global, pure)]
    pub fn table(comparison: &mut Comparison) -> Table {
        comparison.0.core.table()
    }

    /// Summarises the comparison: the first site that differs, and the mean and the largest KL(a || b) in nats.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.compare(m.run([1, 2]), m.run([1, 3])).card()  //=> card "two runs, a and b"
    /// ```
    #[rhai_fn(global, pure)]
    pub fn card(comparison: &mut Comparison) -> Card {
        comparison.0.core.card()
    }

    /// Returns KL(a || b) in nats as a heat map: a row for each text, a column for each position.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.compare(m.run([1, 2]), m.run([1, 3])).grid().to_map().columns  //=> ["0 1", "1 2 / 3"]
    /// ```
    #[rhai_fn(global, pure)]
    pub fn grid(comparison: &mut Comparison) -> Grid {
        comparison.0.grid.clone()
    }

    /// Returns the first site that is not equal bit for bit in both runs, or ().
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.compare(m.run([1, 2]), m.run([1, 3])).first  //=> "embed"
    /// m.compare(m.run([1, 2]), m.run([1, 2])).first  //=> ()
    /// ```
    #[rhai_fn(global, get = "first", pure)]
    pub fn first(comparison: &mut Comparison) -> Dynamic {
        comparison.first().map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Returns KL(a || b) in nats, of the distributions of the next token: an array for each text, with a number for
    /// each position.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.compare(m.run([1, 2]), m.run([1, 2])).kl  //=> [[0.0, 0.0]]
    /// ```
    #[rhai_fn(global, get = "kl", pure)]
    pub fn kl(comparison: &mut Comparison) -> Dynamic {
        let text = |text: &Vec<f64>| Dynamic::from_array(text.iter().copied().map(Dynamic::from).collect());
        Dynamic::from_array(comparison.0.core.kl.iter().map(text).collect())
    }

    /// Saves the comparison as .html, .json, .txt, .svg, .png or .pdf, by the ending of the name. Returns the path of
    /// the file.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let run = m.run([1, 2]);
    /// m.compare(run, run).save("doc/apart.json").ends_with("apart.json")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, comparison: &mut Comparison, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, comparison, path)?)
    }

    /// Returns the first site that differs, KL(a || b) in nats by text and position, and the difference at each site,
    /// as a map.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let sites = #{ sites: "mlp_out.0" };
    /// m.compare(m.run([1, 2], sites), m.run([1, 2], sites)).to_map().sites[0].largest  //=> 0.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(comparison: &mut Comparison) -> Fallible<Dynamic> {
        Ok(mapped(comparison)?)
    }
}
