//! `circuit::select`: features ranked by their attribution to the probability of tokens.

use super::{cores, dictionaries, known};
use crate::circuit::attribution::select as selected;
use crate::circuit::selection::{ScoredFeature, Selection as Core};
use crate::script::circuit::Circuit;
use crate::script::features::Feature;
use crate::script::model::prelude::*;
use crate::script::sae::Sae;

/// The number of features shown.
const SHOWN: usize = 20;

/// Features sorted by a score, with what scripts know of their dictionaries.
#[derive(Clone)]
pub struct Selection {
    pub core: Arc<Core>,
    saes: Vec<Sae>,
    /// The tokens that are meant, as texts.
    tokens: Arc<[String]>,
}

impl Selection {
    fn table(&self) -> Table {
        let row = |one: &ScoredFeature| -> Vec<Cell> {
            let site = self.core.sites.get(one.level).cloned().unwrap_or_default();
            vec![site.into(), one.feature.into(), one.score.into()]
        };
        let rows = self.core.ranking.iter().map(row);
        let columns = ["site", "feature", self.core.by.as_str()];
        Table::new(self.title(), columns, rows)
    }

    fn feature(&self, one: &ScoredFeature) -> Result<Feature> {
        let sae = self.saes.get(one.level).ok_or_else(|| err!(Bug, "a feature without its dictionary"))?;
        Ok(Feature { sae: sae.clone(), index: one.feature, promotes: None })
    }

    fn title(&self) -> String {
        format!("features by {} to P(tokens)", self.core.by)
    }

    /// Returns the first rows of the table, which are shown.
    fn first(&self) -> Table {
        let mut table = self.table();
        table.rows.truncate(SHOWN);
        table
    }

    /// Says the number of features, the text that they were selected on, and the tokens.
    fn notes(&self) -> [String; 2] {
        let Core { ranking, rows, positions, text, .. } = &*self.core;
        let shown = SHOWN.min(ranking.len());
        let tokens = self.tokens.iter().map(|token| format!("{token:?}")).collect::<Vec<_>>().join(" ");
        [
            format!(
                "The first {shown} of {}, selected on {} in {} of {text}.",
                count(ranking.len(), "feature"),
                count(*positions, "position"),
                count(*rows, "row"),
            ),
            format!("P is the total probability of {tokens}"),
        ]
    }

    fn graph(&self, size: &GivenValue) -> Result<Circuit> {
        let asked = size.size()?;
        let most = self.core.ranking.len();
        if asked > most {
            return Err(size.refuse(&format!("at most {}, as many as there are", count(most, "feature"))));
        }
        Ok(Circuit::new(self.core.circuit(asked), &self.saes))
    }
}

impl Item for Selection {
    fn kind(&self) -> &'static str {
        "selection"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        noted(&self.first(), &self.notes(), screen)
    }

    fn html(&self) -> Result<String> {
        Ok(self.first().html()? + paragraphs(&self.notes()).as_str())
    }

    fn data(&self) -> Result<Value> {
        let Core { rows, positions, text, .. } = &*self.core;
        let more = json!({ "tokens": &*self.tokens, "text": text, "due_rows": rows, "due_positions": positions });
        Ok(with_fields(self.table().data()?, more))
    }
}

handle!(Selection, "Selection", |selection| {
    format!("{} by {}", count(selection.core.ranking.len(), "feature"), selection.core.by)
});

#[export_module(manifest)]
pub mod functions {
    /// Ranks the features of dictionaries by how much each supports the probability of some tokens. The first features
    /// of the ranking can be kept alone (`enough`), drawn, judged or compared (`graph`).
    ///
    /// A feature's score is the sum over positions of dP/dc (c - mean c), gradient times the code's difference from its
    /// mean, on average over all positions where one of the tokens comes next: what P would lose, to first order, if
    /// the feature were mean-ablated everywhere (attribution patching, Nanda 2023; Marks et al. 2024). P is the total
    /// probability of the tokens, reconstruction errors are kept, and the means are over the whole text. The largest
    /// score comes first; features with a negative score suppress P.
    ///
    /// As for a tree, the feature `f` is the target: the features are those of all dictionaries before its own, and the
    /// tokens those that it was selected for. Judge on another text than this one, which selects. `gradients: "relp"` has
    /// relevance propagation in place of derivatives, and the ranking is then one by "relp".
    ///
    /// # Options
    /// - [circuit_select]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// circuit::select(m, saes, f, text, #{ token: "a" })  //=> 12 features by attribution
    /// circuit::select(m, saes, f, text, #{ token: "a", gradients: "relp" })  //=> 12 features by relp
    /// ```
    #[rhai_fn(return_raw)]
    pub fn select(
        ctx: NativeCallContext,
        m: Model,
        saes: Array,
        f: Feature,
        text: Text,
        options: Options,
    ) -> Fallible<Selection> {
        let env = env(&ctx)?;
        let options = taken(options)?;
        let mut saes = super::dictionaries(&saes)?;
        let core = selected(m.core(), &super::cores(&saes), &f.core(), &text, &options, &env.task)?;
        let tokenizer = m.tokenizer()?;
        let tokens = core.tokens.iter().map(|id| tokenizer.text_of(*id)).collect::<Result<Vec<_>>>()?;
        saes.push(f.sae);
        Ok(Selection { saes: known(&core.saes, &saes), core: core.into(), tokens: tokens.into() })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the first features of a selection as a tree without edges, after the target: it can be judged, drawn and
    /// compared like a tree.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let chosen = circuit::select(m, saes, saes[1].feature(0), text, #{ token: "a" });
    /// chosen.graph(3)  //=> the first 3 by attribution, before resid_post.1/0: 4 nodes
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn graph(selection: &mut Selection, features: Int) -> Fallible<Circuit> {
        Ok(selection.graph(&given("features", &features))?)
    }

    /// Returns one feature of the selection, that of the largest score first; a negative index counts from the end.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let chosen = circuit::select(m, saes, saes[1].feature(0), text, #{ token: "a" });
    /// chosen[-1].index == chosen.table["feature"][-1]  //=> true
    /// ```
    #[rhai_fn(global, index_get, pure, return_raw)]
    pub fn at(selection: &mut Selection, index: Int) -> Fallible<Feature> {
        let ranking = &selection.core.ranking;
        let place = given("index", &index).index(ranking.len(), "a selection", "feature")?;
        Ok(selection.feature(&ranking[place])?)
    }

    /// Returns all features of the selection, that of the largest score first.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// circuit::select(m, saes, saes[1].feature(0), text, #{ token: "a" }).features[0].site  //=> "resid_post.0"
    /// ```
    #[rhai_fn(global, get = "features", pure, return_raw)]
    pub fn features(selection: &mut Selection) -> Fallible<Array> {
        let features = selection.core.ranking.iter().map(|one| selection.feature(one).map(Dynamic::from));
        Ok(features.collect::<Result<_>>()?)
    }

    /// Returns the number of features in the selection.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// circuit::select(m, saes, saes[1].feature(0), text, #{ token: "a" }).len  //=> 12
    /// ```
    #[rhai_fn(global, get = "len", pure)]
    pub fn len(selection: &mut Selection) -> i64 {
        selection.core.ranking.len() as i64
    }

    /// Tabulates all features with their scores, the largest first.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let chosen = circuit::select(m, saes, saes[1].feature(0), text, #{ token: "a" });
    /// chosen.table.columns  //=> ["site", "feature", "attribution"]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn table(selection: &mut Selection) -> Table {
        selection.table()
    }

    /// Lists the tokens of P.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// circuit::select(m, saes, saes[1].feature(0), text, #{ token: ["a", "d"] }).tokens  //=> [" a", " d"]
    /// ```
    #[rhai_fn(global, get = "tokens", pure)]
    pub fn tokens(selection: &mut Selection) -> Dynamic {
        Dynamic::from_array(selection.tokens.iter().map(|token| Dynamic::from(token.clone())).collect())
    }

    /// Returns the data of the table, with the tokens, and the rows and positions of the text where they come next, as
    /// a map.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// circuit::select(m, saes, saes[1].feature(0), text, #{ token: "c" }).to_map().due_positions  //=> 2
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn selection_map(selection: &mut Selection) -> Fallible<Dynamic> {
        Ok(mapped(selection)?)
    }

    /// Writes the selection as .html, .json or .txt, by the file's extension. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let chosen = circuit::select(m, saes, saes[1].feature(0), text, #{ token: "a" });
    /// chosen.save("doc/chosen.json").ends_with("chosen.json")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_selection(ctx: NativeCallContext, selection: &mut Selection, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, selection, path)?)
    }
}
