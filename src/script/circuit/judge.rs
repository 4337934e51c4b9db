//! Evaluating trees: `tree.judge(m, text)` and its result.

use crate::circuit::judge::{self, JudgeOptions, Judgement as Core, labelled_language};
use crate::report::number::digits;
use crate::script::circuit::Circuit;
use crate::script::model::prelude::*;

/// The evaluation of a tree: how well it explains its target.
#[derive(Clone)]
pub struct Judgement(Core);

impl Judgement {
    fn tables(&self) -> Vec<&Table> {
        let Core { faithfulness, necessity, levels, nodes, by, looked_at, labels, .. } = &self.0;
        let labels = labels.as_ref().map(|labels| &labels.best);
        let all = [Some(faithfulness), Some(necessity), by.as_ref(), Some(levels), nodes.as_ref(), labels];
        all.into_iter().chain([Some(looked_at)]).flatten().collect()
    }
}

impl Item for Judgement {
    fn kind(&self) -> &'static str {
        "judgement"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        let tables: Vec<String> =
            self.tables().into_iter().map(|table| with_ranges(table).terminal(screen)).collect::<Result<_>>()?;
        Ok(format!("{}\n\n{}", self.0.title, tables.join("\n")))
    }

    fn html(&self) -> Result<String> {
        self.tables().into_iter().map(|table| with_ranges(table).html()).collect()
    }

    fn data(&self) -> Result<Value> {
        let Core { title, faithfulness, necessity, levels, nodes, by, looked_at, beats_random, labels } = &self.0;
        let maybe = |table: &Option<Table>| table.as_ref().map(Table::data).transpose();
        Ok(json!({
            "title": title,
            "faithfulness": faithfulness.data()?,
            "necessity": necessity.data()?,
            "levels": levels.data()?,
            "nodes": maybe(nodes)?,
            "by": maybe(by)?,
            "labels": labels.as_ref().map(|labels| labels.all.data()).transpose()?,
            "looked_at": looked_at.data()?,
            "beats_random": beats_random,
        }))
    }
}

handle!(Judgement, "Judgement", |judgement| judgement.0.title.clone());

/// Returns the table for display: with each interval in the column of its figure, and minimum and maximum in one
/// column.
fn with_ranges(table: &Table) -> Table {
    let named = |at: usize, name: &str| table.columns.get(at).is_some_and(|column| column == name);
    let shown = |cell: &Cell| if let Cell::Float(number) = cell { digits(*number, 3) } else { String::new() };
    let is_kept = |at: &usize| !["low", "high", "highest"].iter().any(|name| named(*at, name));
    let kept: Vec<usize> = (0..table.columns.len()).filter(is_kept).collect();
    let column =
        |at: &usize| if named(*at, "lowest") { "lowest to highest".to_string() } else { table.columns[*at].clone() };
    let cell = |row: &[Cell], at: usize| match row.get(at..at + 3) {
        Some([value, low, high]) if named(at + 1, "low") && *low != Cell::Missing => {
            format!("{} [{}, {}]", shown(value), shown(low), shown(high)).into()
        }
        _ if named(at, "lowest") && row[at] != Cell::Missing => {
            format!("{} to {}", shown(&row[at]), row.get(at + 1).map(shown).unwrap_or_default()).into()
        }
        _ => row[at].clone(),
    };
    Table::new(
        &table.title,
        kept.iter().map(column),
        table.rows.iter().map(|row| kept.iter().map(|at| cell(row, *at)).collect()),
    )
}

handle_setting!(TextSetting(Text), "a text", |text| text.name().into());

crate::options! {
    /// All options of the call.
    #[derive(Clone)]
    pub struct JudgeCall {
        /// The text whose labels nodes may stand for, or () for none; a text without labels is labelled by rules.
        labels: Option<Option<TextSetting>> = None
            => usually("the labelled language, `data::text(\"grammar\", #{ part: \"held\" })`");
        with evaluation: JudgeOptions;
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Judges how well a tree explains its target, on a text that it was not found on, as tables.
    ///
    /// A token is due where it comes next in the text. All positions count where one of the tokens is due; the target's
    /// code is read at 64 positions at most, drawn from all where it is active. Every figure has a 95 % interval (low,
    /// high) by the bootstrap over rows, each with all of its positions, and the numbers of rows and positions.
    ///
    /// Faithfulness is (m(C) - m(0)) / (m(M) - m(0)) (Marks et al. 2024), with m the target's mean code where it is
    /// active, or the tokens' probability where one of them comes next. M is the unchanged model; C keeps the tree's
    /// features and mean-ablates all others of all dictionaries before the target's; 0 mean-ablates all. Reconstruction
    /// errors are kept, and dropped in separate rows; random sets have as many features.
    ///
    /// Necessity is what is lost when the tree's features are zero-ablated: of the target's code, of the tokens'
    /// probability where one of them comes next and elsewhere in the same rows, and KL(clean || changed) in nats on
    /// unrelated rows of the text. It is compared with sets of as many other features of each dictionary: random active
    /// ones; those whose codes have about the same sum over the text, or over the evaluated rows, up to where the last
    /// token is due; and those with the largest sums in these rows. Minimum and maximum of all draws are given with
    /// their mean. At most three of a kind are drawn for the code and for faithfulness, two on unrelated text, and one
    /// for a single level.
    ///
    /// Levels are the same for the features of one dictionary, nodes for each feature alone, those first that change
    /// unrelated text most. Labels are what each node stands for, by the labels of tokens: the one with the largest
    /// correlation, and how well the node's code separates tokens with it from those without (AUROC).
    ///
    /// # Options
    /// - [circuit_judge]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ token: "a", draws: 2, labels: () }).tables.len()  //=> 5
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn judge(
        ctx: NativeCallContext,
        tree: &mut Circuit,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Judgement> {
        let env = env(&ctx)?;
        let JudgeCall { labels, evaluation } = taken(options)?;
        let labels = labels.map_or_else(|| Some(labelled_language()), |text| text.map(|text| text.0));
        let found = env.drawing(&ctx, "Circuit.judge", evaluation.seed, |seed| {
            let evaluation = JudgeOptions { seed, ..evaluation };
            judge::judge(m.core(), &tree.core, &text, labels.as_ref(), &evaluation, &env.task)
        });
        Ok(Judgement(found?))
    }

    /// Faithfulness: how much of the target the tree's features cause by themselves, as a table.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ draws: 1, labels: () }).faithfulness.to_map().rows[0][0]  //=> "target's code"
    /// ```
    #[rhai_fn(global, get = "faithfulness", pure)]
    pub fn faithfulness(j: &mut Judgement) -> Table {
        j.0.faithfulness.clone()
    }

    /// Tabulates necessity: what is lost without the tree's features, and without other sets.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ draws: 1, labels: () }).necessity.to_map().rows[0][1]  //=> "the circuit"
    /// ```
    #[rhai_fn(global, get = "necessity", pure)]
    pub fn necessity(j: &mut Judgement) -> Table {
        j.0.necessity.clone()
    }

    /// Tabulates what is lost without the tree's features at one level.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ draws: 1, labels: () }).levels.to_map().rows[0][0]  //=> "resid_post.0"
    /// ```
    #[rhai_fn(global, get = "levels", pure)]
    pub fn levels(j: &mut Judgement) -> Table {
        j.0.levels.clone()
    }

    /// Tabulates what ablating each node alone changes, the nodes first that change unrelated text most; `()` where
    /// nodes were not ablated one at a time.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ draws: 1, labels: () }).nodes.to_map().rows.len() == tree.nodes.len() - 1  //=> true
    /// ```
    #[rhai_fn(global, get = "nodes", pure)]
    pub fn judged_nodes(j: &mut Judgement) -> Dynamic {
        j.0.nodes.clone().map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Tabulates what the tokens lose without the tree where one of them comes next, by the values of a label; `()`
    /// where there is no label to group positions by.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ token: "a", by: "depth", draws: 1, labels: () }).by.to_map().rows[0][0]  //=> 0
    /// ```
    #[rhai_fn(global, get = "by", pure)]
    pub fn judged_by(j: &mut Judgement) -> Dynamic {
        j.0.by.clone().map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Tabulates how well each node of the tree separates each label: node by node, the label with the largest
    /// correlation first; `()` where no text with labels was read. The judgement shows the first row of each node.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ draws: 1, labels: () }).labels  //=> ()
    /// ```
    #[rhai_fn(global, get = "labels", pure)]
    pub fn labels(j: &mut Judgement) -> Dynamic {
        j.0.labels.as_ref().map_or(Dynamic::UNIT, |labels| Dynamic::from(labels.all.clone()))
    }

    /// Returns all tables of the judgement.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ draws: 1, labels: () }).tables.len()  //=> 5
    /// ```
    #[rhai_fn(global, get = "tables", pure)]
    pub fn tables(j: &mut Judgement) -> Array {
        j.tables().into_iter().cloned().map(Dynamic::from).collect()
    }

    /// Returns whether the tree is more necessary than any of the other sets: the tokens lose more probability without
    /// it, where one of them comes next, than without any of those sets, even at the lower end of its interval; `()`
    /// where no tokens were measured.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ draws: 1, labels: () }).beats_random  //=> ()
    /// ```
    #[rhai_fn(global, get = "beats_random", pure)]
    pub fn beats_random(j: &mut Judgement) -> Dynamic {
        j.0.beats_random.map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Returns the judgement's title and the data of its tables, as a map.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ draws: 1, labels: () }).to_map().title  //=> "causal tree of feature 0 of resid_post.1, evaluated on given texts"
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn judgement_map(j: &mut Judgement) -> Fallible<Dynamic> {
        Ok(from_json(j.data()?))
    }
}
