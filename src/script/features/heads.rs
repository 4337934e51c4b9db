//! `features::heads`: cards of all attention heads of a model.

use crate::features::heads::HeadsOptions;
use crate::features::{FeatureCard, HeadCards};
use crate::intervene::steer::rows as of_text;
use crate::sae;
use crate::script::engine::value::handle as handle_of;
use crate::script::model::prelude::*;
use crate::script::sae::Sae;

/// Dictionaries as they are given: one, or an array of them.
#[derive(Clone, Default)]
pub struct GivenDictionaries(Vec<Sae>);

impl Setting for GivenDictionaries {
    fn wanted() -> String {
        "a dictionary or an array of them".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::List(parts) => parts.iter().map(handle_of::<Sae>).collect::<Option<Vec<Sae>>>().map(Self),
            one => handle_of(one).map(|sae| Self(vec![sae])),
        }
    }

    fn written(&self) -> String {
        count(self.0.len(), "dictionary")
    }
}

crate::options! {
    /// A call of cards of heads: what is read, and the features that heads read and write.
    #[derive(Clone)]
    pub struct HeadsCall {
        /// Dictionaries of the residual stream, of `attn_in` or of `attn_out`, whose features cards name.
        dictionaries: GivenDictionaries = GivenDictionaries::default() => usually("none");
        with heads: HeadsOptions;
    }
}

handle!(HeadCards, "HeadCards", |heads| {
    format!("cards of {} of {}", count(heads.cards.len(), "head"), count(heads.layers, "layer"))
});

#[export_module(manifest)]
pub mod functions {
    /// Makes cards of all attention heads of a model: where each looks in a text, which tokens it raises, what it does of
    /// what heads of known kinds do, and how much the loss of the text rises without it.
    ///
    /// `heads.table` has the scores of all heads, `heads.card(layer, head)` the card of one, and `heads.save("heads.html")`
    /// writes a page with a map of them. The scores:
    ///
    /// - `previous`: mean attention on the token before, where random tokens are read twice;
    /// - `duplicate`: mean attention from the second reading of a token on the first;
    /// - `induction`: mean attention from the second reading of a token on the one behind the first (Olsson et al. 2022);
    /// - `copying`: share of the text's most frequent tokens that are among the five that the head raises most when it
    ///   attends to their embedding alone (after Wang et al. 2022);
    /// - `first`: mean attention on the first token of a row of the text;
    /// - `ablation`: rise of the text's mean loss, in nats, when the head's output is its mean over the text, and the ends
    ///   `low` and `high` of its 95 % interval over rows.
    ///
    /// A card's contexts are the queries with the largest attention to a token other than the first and themselves, at most
    /// one of each row, coloured by the attention of the last token. `text` is one of `data::text`, or texts or ids.
    ///
    /// # Options
    /// - [heads]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let heads = features::heads(m, ["to be or not to", "not to be"]);
    /// heads  //=> cards of 4 heads of 2 layers
    /// heads.card(1, 0).to_map().title  //=> "head 1.0"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn heads(ctx: NativeCallContext, m: Model, text: Any, options: Options) -> Fallible<HeadCards> {
        let HeadsCall { dictionaries, heads } = taken(options)?;
        let name = text.read_lock::<Text>().map_or_else(|| "given texts".into(), |text| text.name().to_string());
        let task = &env(&ctx)?.task;
        let rows = match text.read_lock::<Text>() {
            Some(text) => of_text(m.core(), &text, Some(heads.context(m.core())?), heads.rows, task)?,
            None => texts(&ctx, &m, &text).map_err(|e| e.about("text"))?.batch.rows().to_vec(),
        };
        let saes: Vec<sae::Sae> = dictionaries.0.into_iter().map(|sae| sae.core).collect();
        Ok(HeadCards::of(m.core(), &name, rows, &saes, &heads, task)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Tabulates the scores of all heads: a row for each.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let heads = features::heads(m, [[1, 2, 3, 4], [5, 6, 7]]);
    /// heads.table.to_map().columns.extract(0, 5)  //=> ["layer", "head", "previous", "duplicate", "induction"]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn heads_table(heads: &mut HeadCards) -> Table {
        heads.table()
    }

    /// Returns the card of one head.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let card = features::heads(m, [[1, 2, 3, 4], [5, 6, 7]]).card(0, 1);
    /// card.contexts[0].texts.len()  //=> 2
    /// card.tables.map(|t| t.to_map().columns[0])  //=> ["from", "token"]
    /// ```
    #[rhai_fn(global, name = "card", pure, return_raw)]
    pub fn head_card(heads: &mut HeadCards, layer: Int, head: Int) -> Fallible<FeatureCard> {
        let layer = given("layer", &layer).size()?;
        let head = given("head", &head).size()?;
        Ok(heads.head(layer, head)?.card.clone())
    }

    /// Returns one score of all heads as a heat map, a row for each layer: `previous`, `duplicate`, `induction`, `copying`,
    /// `first` or `ablation`.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let heads = features::heads(m, [[1, 2, 3, 4], [5, 6, 7]]);
    /// heads.grid("induction").to_map().values == heads.table["induction"]  //=> true
    /// ```
    #[rhai_fn(global, name = "grid", pure, return_raw)]
    pub fn head_grid(heads: &mut HeadCards, score: &str) -> Fallible<Grid> {
        Ok(heads.grid(score)?)
    }

    /// Writes all cards as .html, a map of the heads and the card of each; or as .json, or the scores as .txt, by the
    /// file's extension. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// features::heads(m, [[1, 2, 3, 4], [5, 6, 7]]).save("doc/heads.html").ends_with("heads.html")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_heads(ctx: NativeCallContext, heads: &mut HeadCards, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, heads, path)?)
    }

    /// Returns the scores and the cards of all heads, as a map.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// features::heads(m, [[1, 2, 3, 4], [5, 6, 7]]).to_map().cards[1].head  //=> 1
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn heads_map(heads: &mut HeadCards) -> Fallible<Dynamic> {
        Ok(mapped(heads)?)
    }
}
