//! `circuit::qk`: the score of a head between two positions, split into pairs of parts, and its result.

use super::attribution_graph::{LorsaSetting, lorsa_cores};
use crate::circuit::qk::{self, QkDictionaries, QkFeatures, QkOptions, QkPart, QkScore as Core};
use crate::report::picture::Picture;
use crate::sae;
use crate::script::engine::value::handle as handle_of;
use crate::script::model::prelude::*;
use crate::script::sae::{Sae, Transcoders};

/// The number of pairs and of parts that are shown.
const SHOWN: usize = 20;
/// The number of parts on either side of the heat map that stand for themselves.
const IN_GRID: usize = 16;

/// A score that is split into pairs of parts.
#[derive(Clone)]
pub struct QkScore(Rc<Core>);

/// Dictionaries as they are given.
#[derive(Clone, Default)]
pub enum GivenDictionaries {
    #[default]
    None,
    Transcoders(Transcoders),
    One(Sae),
    Several(Vec<Sae>),
}

impl GivenDictionaries {
    fn core(self) -> Result<QkFeatures> {
        Ok(match self {
            Self::None => QkFeatures::None,
            Self::Transcoders(all) => QkFeatures::Transcoders(all.core),
            Self::One(sae) => QkFeatures::Dictionary(sae.core),
            Self::Several(saes) => {
                let cores: Vec<sae::Sae> = saes.into_iter().map(|sae| sae.core).collect();
                QkFeatures::Transcoders(sae::Transcoders::of(&cores).map_err(|e| e.about("dictionaries"))?)
            }
        })
    }
}

impl Setting for GivenDictionaries {
    fn wanted() -> String {
        "transcoders, an array of one for each layer, or a dictionary of what the head reads".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        if let Plain::List(parts) = value {
            return parts.iter().map(handle_of::<Sae>).collect::<Option<Vec<Sae>>>().map(Self::Several);
        }
        handle_of(value).map(Self::Transcoders).or_else(|| handle_of(value).map(Self::One))
    }

    fn written(&self) -> String {
        match self {
            Self::None => "none".into(),
            Self::Transcoders(all) => all.short(),
            Self::One(sae) => sae.short(),
            Self::Several(saes) => count(saes.len(), "dictionary"),
        }
    }
}

crate::options! {
    /// A call of an attribution of scores: the positions, and the features that are parts.
    #[derive(Clone)]
    pub struct QkCall {
        /// Dictionaries whose features are parts: transcoders, or an array of one for each layer, whose features stand for
        /// what MLPs write; or a dictionary of the stream before the head's layer, or of `attn_in`.
        dictionaries: GivenDictionaries = GivenDictionaries::None => usually("none");
        /// Lorsas of some layers, whose heads, errors and biases are parts in place of the model's heads there, and whose heads have
        /// scores of their own.
        lorsas: Vec<LorsaSetting> = Vec::new() => usually("none");
        with split: QkOptions;
    }
}

/// Keeps the first rows of a table.
fn shortened(mut table: Table) -> Table {
    table.rows.truncate(SHOWN);
    table
}

impl QkScore {
    /// Says what the score is, and how the model has it of the sum.
    fn note(&self) -> String {
        let core = &self.0;
        let bias = core.position_bias.map_or(String::new(), |bias| format!(", and {bias:.4} for the key's position"));
        match core.cap {
            Some(cap) => format!(
                "All pairs sum to {:.4}; behind the soft cap of {cap}{bias} the score is {:.4}.",
                core.sum(),
                core.score
            ),
            None => format!("All pairs sum to {:.4}{bias}; the score is {:.4}.", core.sum(), core.score),
        }
    }
}

impl Item for QkScore {
    fn kind(&self) -> &'static str {
        "qk"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        Ok(format!("{}\n{}\n", self.0.pairs(SHOWN).terminal(screen)?.trim_end(), self.note()))
    }

    fn html(&self) -> Result<String> {
        let [queries, keys] = [self.0.query_table(), self.0.key_table()].map(shortened);
        let parts = [self.0.pairs(SHOWN).html()?, self.0.grid(IN_GRID).html()?, queries.html()?, keys.html()?];
        Ok(parts.concat() + paragraphs(&[self.note()]).as_str())
    }

    fn data(&self) -> Result<Value> {
        let core = &self.0;
        let side = |parts: &[QkPart], values: Vec<f64>| -> Value {
            let part = |(part, value): (&QkPart, f64)| {
                let mut found = json!({ "part": part.name, "score": number(value) });
                if let Some(activation) = part.activation {
                    found["activation"] = number(activation);
                }
                found
            };
            parts.iter().zip(values).map(part).collect()
        };
        Ok(json!({
            "site": core.site,
            "from": core.from,
            "to": core.to,
            "tokens": core.tokens,
            "score": number(core.score),
            "sum": number(core.sum()),
            "cap": core.cap,
            "position_bias": core.position_bias,
            "rest": number(core.rest()),
            "queries": side(&core.queries, core.of_queries()),
            "keys": side(&core.keys, core.of_keys()),
            "pairs": core.pairs(SHOWN).data()?,
        }))
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        Some(Box::new(Chart::heat(self.0.grid(IN_GRID))))
    }
}

handle!(QkScore, "QkScore", |found| {
    let core = &found.0;
    let parts = format!("{} by {}", count(core.queries.len(), "part"), core.keys.len());
    format!("{}: {:.3}, {parts}", visible(&core.title()), core.score)
});

#[export_module(manifest)]
pub mod functions {
    /// Splits the score of a head between a query and a key into pairs of parts, one of what the query is made of and one
    /// of what the key is made of, to say why the head looks there (Kamath et al. 2025).
    ///
    /// Parts are what was written to the residual stream at the position, up to the head's layer: `embed`, `pos_embed`,
    /// `head_out.1.3` and `mlp_out.2`. With transcoders, what an MLP writes is its active features (`mlp_in.2/44`), the skip
    /// connection, the bias and the error. With a dictionary of `resid_pre` of the head's layer the parts are its features,
    /// error and bias. `biases` are those of norms, queries and keys. Norms, those of queries and keys included, are held at
    /// their scales in this run, and rotary positions are applied to each part; so the pairs sum to the score of the site
    /// `scores` but for rounding, which `rest` says. Where scores have a soft cap, they sum to the score before it.
    ///
    /// A softmax does not see what all keys have in common, so compare keys: a pair says why the head looks there if it is
    /// small for other keys. At the first position transcoders have no features, as in attribution graphs. `site` is one
    /// head of `scores`; layers without attention have none.
    ///
    /// With `lorsas`, what attention writes in a layer that has one is its active heads (`attn_in.1/17`), the error and the bias. Then
    /// `site` may be a head of a Lorsa by this name, whose score is that of its group.
    ///
    /// # Options
    /// - [circuit_qk]
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("induction");
    /// let found = circuit::qk(c.model, "^ a b c a", "scores.1.0");
    /// found  //=> scores.1.0 from "a"@4 to "b"@2: 100.000, 6 parts by 6
    /// found.pairs(1)["key part"]  //=> ["head_out.0.1"]
    /// ```
    #[rhai_fn(name = "qk", return_raw)]
    pub fn qk_of(ctx: NativeCallContext, m: Model, text: Any, site: &str, options: Options) -> Fallible<QkScore> {
        let QkCall { dictionaries, lorsas, split } = taken(options)?;
        let text = one_text(&ctx, &m, "text", &text)?;
        let dictionaries = QkDictionaries { features: dictionaries.core()?, lorsas: lorsa_cores(lorsas) };
        let found = qk::qk(m.core(), &text, site, &dictionaries, &split, &env(&ctx)?.task)?;
        Ok(QkScore(Rc::new(found)))
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the score of a split score, as the model computed it.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("induction");
    /// let answer = circuit::qk(c.model, "^ a b c a", "scores.1.0", #{ to: 2 });
    /// let other = circuit::qk(c.model, "^ a b c a", "scores.1.0", #{ to: 3 });
    /// round_to(answer.score, 2)  //=> 100.0
    /// round_to(other.score, 2)  //=> 30.0
    /// ```
    #[rhai_fn(global, get = "score", pure)]
    pub fn qk_score(found: &mut QkScore) -> f64 {
        found.0.score
    }

    /// Returns the difference between a score and what its pairs of parts give, which is rounding.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// circuit::qk(m, "one two one", "scores.3.0").rest.abs() < 0.0001  //=> true
    /// ```
    #[rhai_fn(global, get = "rest", pure)]
    pub fn qk_rest(found: &mut QkScore) -> f64 {
        found.0.rest()
    }

    /// Returns the positions of the query and the key of a split score.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("induction");
    /// circuit::qk(c.model, "^ a b c a", "scores.1.0").positions  //=> [4, 2]
    /// ```
    #[rhai_fn(global, get = "positions", pure)]
    pub fn qk_positions(found: &mut QkScore) -> Array {
        [found.0.from, found.0.to].map(|position| Dynamic::from(position as i64)).to_vec()
    }

    /// Tabulates the `n` pairs of parts with the largest values in size, without those that are 0.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("induction");
    /// let found = circuit::qk(c.model, "^ a b c a", "scores.1.0");
    /// found.pairs(2)["key part"]  //=> ["head_out.0.1", "pos_embed"]
    /// ```
    #[rhai_fn(global, name = "pairs", pure, return_raw)]
    pub fn qk_pairs(found: &mut QkScore, n: Int) -> Fallible<Table> {
        Ok(found.0.pairs(given("n", &n).size()?))
    }

    /// Tabulates the parts at the query, each with its sum over all parts at the key, the largest in size first.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("induction");
    /// circuit::qk(c.model, "^ a b c a", "scores.1.0").queries["part"][0]  //=> "embed"
    /// ```
    #[rhai_fn(global, get = "queries", pure)]
    pub fn qk_queries(found: &mut QkScore) -> Table {
        found.0.query_table()
    }

    /// Tabulates the parts at the key, each with its sum over all parts at the query, the largest in size first.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("induction");
    /// circuit::qk(c.model, "^ a b c a", "scores.1.0").keys["part"][0]  //=> "head_out.0.1"
    /// ```
    #[rhai_fn(global, get = "keys", pure)]
    pub fn qk_keys(found: &mut QkScore) -> Table {
        found.0.key_table()
    }

    /// Lists the names of the parts at the query of a split score and of those at its key, in the order of the rows and
    /// columns of `matrix`.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("induction");
    /// let parts = circuit::qk(c.model, "^ a b c a", "scores.1.0").parts;
    /// parts.keys  //=> ["embed", "pos_embed", "head_out.0.0", "head_out.0.1", "mlp_out.0", "biases"]
    /// ```
    #[rhai_fn(global, get = "parts", pure)]
    pub fn qk_parts(found: &mut QkScore) -> Map {
        let names = |parts: &[QkPart]| -> Dynamic {
            parts.iter().map(|part| part.name.clone().into()).collect::<Array>().into()
        };
        [("queries", names(&found.0.queries)), ("keys", names(&found.0.keys))]
            .into_iter()
            .map(|(name, parts)| (name.into(), parts))
            .collect()
    }

    /// Returns the values of all pairs of a split score: a row for each part at the query, a column for each at the key.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("induction");
    /// circuit::qk(c.model, "^ a b c a", "scores.1.0").matrix.shape  //=> [6, 6]
    /// ```
    #[rhai_fn(global, get = "matrix", pure, return_raw)]
    pub fn qk_matrix(found: &mut QkScore) -> Fallible<Tensor> {
        Ok(found.0.matrix()?)
    }

    /// Returns a split score as a map: the head, positions and tokens, the score, the sum of all pairs and the `rest`, the
    /// parts of either side with their sums, and the largest pairs.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("induction");
    /// circuit::qk(c.model, "^ a b c a", "scores.1.0").to_map().tokens  //=> ["a", "b"]
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn qk_map(found: &mut QkScore) -> Fallible<Dynamic> {
        Ok(mapped(found)?)
    }

    /// Draws the pairs of a split score as a heat map: the `n` parts that matter most on either side, and the others together.
    ///
    /// # Example
    /// ```
    /// let c = circuit::compiled("induction");
    /// circuit::qk(c.model, "^ a b c a", "scores.1.0").heat(2)  //=> heat chart
    /// ```
    #[rhai_fn(global, name = "heat", pure, return_raw)]
    pub fn qk_heat(found: &mut QkScore, n: Int) -> Fallible<Chart> {
        Ok(Chart::heat(found.0.grid(given("n", &n).size()?)))
    }
}
