//! Judging trees: `tree.judge(m, text)` and what it gives.

use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};
use serde_json::{Value, json};

use super::{Reading, Tree};
use crate::base::{Cell, Result, Table};
use crate::circuit::judge::{self, Judgement as Core, Options as Judging};
use crate::data::grammar::Mix;
use crate::data::text::Part;
use crate::data::{self, Text};
use crate::err;
use crate::features::labels;
use crate::features::survey::Kept;
use crate::report::number::digits;
use crate::report::{Item, Screen};
use crate::script::env::{Env, env};
use crate::script::features::token_argument;
use crate::script::model::Model;
use crate::script::options::{OptionReader, options};
use crate::script::report::handle;
use crate::script::value::{Fallible, Given, Options, from_json};

/// How many tokens of a text are read for means, and for rows to judge on.
const TOKENS: usize = 30_000;

/// How many tokens a row of the text has. Hundreds of runs read all of them.
const CONTEXT: usize = 32;

/// How many tokens with labels are read.
const LABELLED: usize = 20_000;

/// How well a tree explains its target.
#[derive(Clone)]
pub struct Judgement {
    title: String,
    core: Core,
    labels: Option<Labels>,
}

/// Which labels the nodes stand for, where a text with labels was read.
#[derive(Clone)]
struct Labels {
    /// The one that each node tells best, as it is shown.
    best: Table,
    all: Table,
}

impl Judgement {
    fn tables(&self) -> Vec<&Table> {
        let Core { faithfulness, necessity, looked_at, .. } = &self.core;
        let labels = self.labels.as_ref().map(|labels| &labels.best);
        [Some(faithfulness), Some(necessity), labels, Some(looked_at)].into_iter().flatten().collect()
    }
}

impl Item for Judgement {
    fn kind(&self) -> &'static str {
        "judgement"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        let tables: Vec<String> =
            self.tables().into_iter().map(|table| with_ranges(table).terminal(screen)).collect::<Result<_>>()?;
        Ok(format!("{}\n\n{}", self.title, tables.join("\n")))
    }

    fn html(&self) -> Result<String> {
        self.tables().into_iter().map(|table| with_ranges(table).html()).collect()
    }

    fn data(&self) -> Result<Value> {
        let Core { faithfulness, necessity, looked_at, beats_random } = &self.core;
        Ok(json!({
            "title": self.title,
            "faithfulness": faithfulness.data()?,
            "necessity": necessity.data()?,
            "labels": self.labels.as_ref().map(|labels| labels.all.data()).transpose()?,
            "looked_at": looked_at.data()?,
            "beats_random": beats_random,
        }))
    }
}

handle!(Judgement, "Judgement", |judgement| judgement.title.clone());

/// The table with what is lowest and highest in one column with the mean before it, as people read it.
fn with_ranges(table: &Table) -> Table {
    let shown = |cell: &Cell| if let Cell::Float(number) = cell { digits(*number, 3) } else { String::new() };
    let is_mean = |at: usize| table.columns.get(at + 1).is_some_and(|next| next == "lowest");
    let is_bound = |at: usize| matches!(table.columns[at].as_str(), "lowest" | "highest");
    let kept: Vec<usize> = (0..table.columns.len()).filter(|at| !is_bound(*at)).collect();
    let row = |row: &Vec<Cell>| -> Vec<Cell> {
        let cell = |at: usize| match (is_mean(at), row.get(at..at + 3)) {
            (true, Some([mean, low, high])) if *mean != Cell::Missing => {
                format!("{} ({} to {})", shown(mean), shown(low), shown(high)).into()
            }
            _ => row[at].clone(),
        };
        kept.iter().map(|at| cell(*at)).collect()
    };
    Table {
        title: table.title.clone(),
        columns: kept.iter().map(|at| table.columns[*at].clone()).collect(),
        rows: table.rows.iter().map(row).collect(),
    }
}

/// The tokens that are measured: those that an option names, else those that the target was chosen for.
fn tokens(read: &mut OptionReader, m: &Model, tree: &Tree) -> Result<Vec<u32>> {
    let named = read.get("token", |given| token_argument(m, given).map_err(|e| e.arg(2)))?;
    Ok(named.unwrap_or_else(|| tree.promotes.as_deref().unwrap_or_default().to_vec()))
}

fn judged(env: &Env, tree: &Tree, m: &Model, text: &Text, map: Options) -> Result<Judgement> {
    let mut read = options(2, map);
    let usual = Judging::default();
    let options = Judging {
        contexts: read.size("contexts", usual.contexts)?,
        draws: read.size("draws", usual.draws)?,
        tokens: tokens(&mut read, m, tree)?,
        seed: read.seed()?.unwrap_or(usual.seed),
    };
    let reading = Reading::read(&mut read, TOKENS, CONTEXT)?;
    let text_of = |given: &Given| match given.value().is_unit() {
        true => Ok(None),
        false => given.handle::<Text>().map(Some).ok_or_else(|| given.refuse("a text")),
    };
    let with_labels = read.get("labels", text_of)?.unwrap_or_else(|| Some(language()));
    read.finish()?;
    if options.contexts == 0 {
        return Err(err!(Argument, "expected at least 1 for `contexts`, found 0").arg(2));
    }
    let saes = tree.dictionaries()?;
    let kept = Kept { top: 1, some: 4 * options.contexts, seed: options.seed };
    let survey = reading.survey(m, &saes, text, kept, env)?;
    let core = judge::judge(m.core(), &saes, &survey, tree.graph(), &options, &env.task)?;
    let labels = with_labels.map(|text| labelled(env, tree, m, &text)).transpose()?;
    Ok(Judgement { title: format!("{}, judged on {}", tree.graph().title, text.name()), core, labels })
}

/// The labels of a text that the nodes tell, and how well.
fn labelled(env: &Env, tree: &Tree, m: &Model, text: &Text) -> Result<Labels> {
    let (saes, nodes) = (tree.dictionaries()?, tree.nodes());
    let told = labels::aurocs(m.core(), &saes, &nodes, text, Some(LABELLED), &env.task)?;
    let names = tree.names();
    Ok(Labels { best: labels::table(&names, &told, 1), all: labels::table(&names, &told, usize::MAX) })
}

/// The labelled language, as far as it is held out.
fn language() -> Text {
    Text::grammar(&Mix::default(), data::text::Options { part: Part::Held, ..Default::default() })
}

#[export_module(manifest)]
pub mod methods {
    /// How well a tree explains its target, judged on a text that it was not found on, as tables.
    ///
    /// Faithfulness is (m(C) - m(0)) / (m(M) - m(0)) (Marks et al. 2024), with m the target's mean code where it is active,
    /// or the tokens' probability where one of them comes next. M is the model as it is; C keeps the tree's features and
    /// sets all others of all dictionaries before the target's to their means; 0 sets all to their means. What
    /// dictionaries do not reconstruct is kept, and dropped in rows of their own; random sets have as many features.
    ///
    /// Necessity is what is lost without the tree's features, set to 0 level by level and together, beside as many random
    /// features that are active, and as many whose codes have about the same mean: of the target's code, of the tokens'
    /// probability where they are due and elsewhere in the same rows, and KL(clean || changed) in nats on rows of the
    /// text that have nothing to do with it. The lowest and the highest of all draws stand beside their mean.
    ///
    /// Labels are what each node stands for, as far as labels of tokens tell: the one with the largest correlation, and how
    /// well the node's code tells tokens that have it from those that do not (AUROC).
    ///
    /// # Options
    /// - `token` = those that the target was chosen for: a text that tokens begin with, or their ids
    /// - `contexts` = 20: how many rows of the text are looked at
    /// - `draws` = 20: how many random sets are drawn
    /// - `seed` = 0: what the draws depend on
    /// - `labels` = the labelled language, `data::text("grammar", #{ part: "held" })`: the text whose labels nodes may stand
    ///   for; rules find those of a text without labels; () for none
    /// - `tokens` = 30000: how much of the text is read, for means and for rows to choose from
    /// - `context` = 32: how many tokens a row of the text has; no more than the model reads
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ token: "a", draws: 2, labels: () }).tables.len()  //=> 3
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn judge(ctx: NativeCallContext, tree: &mut Tree, m: Model, text: Text) -> Fallible<Judgement> {
        judge_with(ctx, tree, m, text, Options::new())
    }

    #[rhai_fn(global, name = "judge", pure, return_raw)]
    pub fn judge_with(
        ctx: NativeCallContext,
        tree: &mut Tree,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Judgement> {
        let env = env(&ctx)?;
        Ok(super::judged(&env, tree, &m, &text, options)?)
    }

    /// How much of the target the tree's features bring about by themselves, as a table.
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
        j.core.faithfulness.clone()
    }

    /// What is lost without the tree's features, as a table.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ draws: 1, labels: () }).necessity.to_map().rows[0][0]  //=> "all levels"
    /// ```
    #[rhai_fn(global, get = "necessity", pure)]
    pub fn necessity(j: &mut Judgement) -> Table {
        j.core.necessity.clone()
    }

    /// How well each node of the tree tells each label, as a table: node by node, the label with the largest correlation
    /// first; `()` where no text with labels was read. What is shown of it is the first row of each node.
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
        j.labels.as_ref().map_or(Dynamic::UNIT, |labels| Dynamic::from(labels.all.clone()))
    }

    /// All tables of the judgement.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ draws: 1, labels: () }).tables.len()  //=> 3
    /// ```
    #[rhai_fn(global, get = "tables", pure)]
    pub fn tables(j: &mut Judgement) -> Array {
        j.tables().into_iter().cloned().map(Dynamic::from).collect()
    }

    /// Whether the tokens lose more of their probability, where they are due, without the tree than without any of the
    /// random sets and those that are as active; `()` where no tokens were measured.
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
        j.core.beats_random.map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// The judgement's title and the data of its tables.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c d", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["a b c d d c b a", "d a b b c a"]);
    /// let saes = sae::fit_all(m, "resid_post.*", text, #{ k: 4, d_sae: 12, steps: 2, seed: 1 });
    /// let f = saes[1].feature(0);
    /// let tree = circuit::causal_tree(m, saes, f, text);
    /// tree.judge(m, text, #{ draws: 1, labels: () }).to_map().title  //=> "causal tree of feature 0 of resid_post.1, judged on given texts"
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn judgement_map(j: &mut Judgement) -> Fallible<Dynamic> {
        Ok(from_json(&j.data()?))
    }
}
