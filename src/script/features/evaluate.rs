//! `sae::evaluate`, `sae::coverage` and `sae::absorption`: what is said of a dictionary, as scripts hold it.

use serde_json::Map;

use crate::features::coverage;
use crate::features::evaluate::absorption::LabelledActivations;
use crate::features::evaluate::reading::ReadingOptions;
use crate::features::evaluate::score::Evaluation;
use crate::features::evaluate::{self, EvaluateOptions};
use crate::features::logits::written;
use crate::sae::Scaling;
use crate::script::engine::value::Ints;
use crate::script::model::prelude::*;
use crate::script::probes::Probe;
use crate::script::sae::Sae;

impl Item for Evaluation {
    fn kind(&self) -> &'static str {
        "evaluation"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        // Formulas are sentences, for which a terminal has no column.
        let mut table = self.table();
        table.columns.pop();
        table.rows.iter_mut().for_each(|row| drop(row.pop()));
        table.terminal(screen)
    }

    fn html(&self) -> Result<String> {
        let parts = self.parts.iter().map(|(_, table)| table.html());
        Ok([vec![self.table().html()?], parts.collect::<Result<_>>()?].concat().concat())
    }

    fn data(&self) -> Result<Value> {
        let parts: Map<String, Value> =
            self.parts.iter().map(|(name, table)| Ok((name.to_string(), table.data()?))).collect::<Result<_>>()?;
        Ok(with_fields(self.table().data()?, json!({ "parts": parts })))
    }
}

handle!(Evaluation, "Evaluation", |found| format!("evaluation of {}", found.title));

#[export_module(manifest)]
pub mod functions {
    /// Evaluates a dictionary on a text as SAEBench does (Karvonen et al. 2025), in one reading of the text. Each
    /// measure has its formula, the number of what it is over, its 95 % interval by the bootstrap, and beside it that
    /// of as many random directions at the same L0.
    ///
    /// Explained variance, L0, dead and dense features; the loss recovered; sparse probing: how well the codes of 1, 2 and
    /// 5 features tell whether a token has a label; absorption of labels, and of the first letters of words: tokens of a
    /// label at which its features are silent and others write its direction; and the coverage of `sae::coverage`. Probes
    /// are fitted on the first half of the text's rows, and judged on the second; those of letters on some of the words,
    /// and judged on others. Explained variance is about the mean of each dimension over the whole text.
    ///
    /// # Options
    /// - [evaluate]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let texts = []; texts.pad(30, "to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to");
    /// let s = sae::fit(m, "resid_post.0", data::texts(texts), #{ d_sae: 8, k: 2, steps: 2, seed: 1 });
    /// let found = sae::evaluate(m, s, data::texts(texts), #{ rows: 2, labels: 2 });
    /// found["l0"] <= 2.0  //=> true
    /// found.part("probing").rows.len  //=> 2
    /// ```
    #[rhai_fn(return_raw)]
    pub fn evaluate(ctx: NativeCallContext, m: Model, s: Sae, text: Text, options: Options) -> Fallible<Evaluation> {
        let env = env(&ctx)?;
        let options: EvaluateOptions = taken(options)?;
        let found = env.drawing(&ctx, "sae::evaluate", options.reading.seed, |seed| {
            let options = EvaluateOptions { reading: ReadingOptions { seed, ..options.reading }, ..options };
            super::evaluate::evaluate(m.core(), &s.core, &text, &options, &env.task)
        });
        Ok(found?)
    }

    /// Measures how much of the labels of a text a dictionary covers: a quality that needs no judge. The labels of the
    /// text "grammar" are ground truth; those of real text are made by rules.
    ///
    /// For each label the best feature, and for each feature the best label. A feature says that a token has a label where
    /// its code is at least a threshold; feature and threshold are chosen by F1 on the first half of the text's rows, and
    /// judged on the second: F1 with a 95 % interval by the bootstrap over rows, precision, recall, AUROC. `p` is how often
    /// as much is found by chance, where the rows of labels are permuted against those of codes, anywhere among all labels,
    /// or all features: it is corrected for the number tried (Westfall & Young 1993). The coverage is the mean F1 over
    /// labels (Karvonen et al. 2024), beside that of as many random directions. `part("labels")` and `part("features")`
    /// are the tables.
    ///
    /// # Options
    /// - [coverage]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let texts = []; texts.pad(30, "to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to");
    /// let s = sae::fit(m, "resid_post.0", data::texts(texts), #{ d_sae: 8, k: 2, steps: 2, seed: 1 });
    /// let found = sae::coverage(m, s, data::texts(texts));
    /// found.part("labels").columns[5]  //=> "F1"
    /// found["coverage"] > 0.2  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn coverage(ctx: NativeCallContext, m: Model, s: Sae, text: Text, options: Options) -> Fallible<Evaluation> {
        let env = env(&ctx)?;
        let options: ReadingOptions = taken(options)?;
        let found = env.drawing(&ctx, "sae::coverage", options.seed, |seed| {
            super::coverage::coverage(m.core(), &s.core, &text, &ReadingOptions { seed, ..options }, &env.task)
        });
        Ok(found?)
    }

    /// Measures how much of a label other features absorb, by activations, a probe and features of the label that you
    /// have: a row for each of the activations `x`, [n, d], all of which have the label and are found by the probe.
    /// `sae::evaluate` looks for these itself.
    ///
    /// `s` is a dictionary, or a tensor of the directions [features, d] that it writes, with `codes`. `probe` is a
    /// probe for the label or its direction, and `main` has the numbers of the features of the label. With u the unit
    /// direction, an activation projects x . u, and a feature writes c_f d_f . u of it. Others absorb it if at most
    /// three of them, each with a cosine of at least 0.1 to u, write at least 0.4 of the projection: `fraction` is a /
    /// (a + own) with a = min(theirs, x . u - own), 1 where own <= 0, and 0 where own >= x . u. `full` says that all
    /// `main` features are silent, and that the one that writes most has a cosine of at least 0.025 and writes 0.4
    /// (Chanin et al. 2024).
    ///
    /// The means of both are the mean absorption fraction and the full absorption rate of SAEBench 0.6. It takes c_f
    /// cos(d_f, u) for what a feature writes, which is the same for directions of length 1; with others, its numbers
    /// are those of `codes` and directions that are divided by their lengths.
    ///
    /// # Options
    /// - `codes` = s.encode(x): the codes of the activations, [n, features]
    ///
    /// # Example
    /// ```
    /// let directions = tensor([[1, 0], [0.8, 0.6], [0, 1]]);
    /// let codes = [[1, 1.25, 0], [0, 2.5, 0]];
    /// let found = sae::absorption(directions, [[2, 0], [2, 1.5]], [1, 0], [0], #{ codes: codes });
    /// found["fraction"]  //=> [0.5, 1.0]
    /// found["full"]  //=> [false, true]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn absorption(
        ctx: NativeCallContext,
        s: Any,
        x: Any,
        probe: Any,
        main: Ints,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let mut read = super::options(options);
        let codes = read.get("codes", |given| values("codes", given.value()))?;
        read.finish()?;
        let main = given("main", &main).sizes()?;
        let probe = match probe.read_lock::<Probe>() {
            Some(probe) => probe.core().direction().map_err(|e| e.about("probe"))?,
            None => values("probe", &probe)?,
        };
        let (x, dictionary) = match s.read_lock::<Sae>() {
            Some(s) => (s.numbers("x", &x)?, Ok(s.core.clone())),
            None => (values("x", &x)?, Err(values("s", &s)?)),
        };
        let task = env.task.clone();
        let found = env.task.apart(move || {
            let (directions, scaling) = match &dictionary {
                Ok(sae) => {
                    sae.check_writes_what_it_reads().map_err(|e| e.about("s"))?;
                    (written(sae, 0, sae.d_sae())?, sae.parts().scaling)
                }
                Err(directions) => (directions.clone(), Scaling::None),
            };
            let codes = match (codes, &dictionary) {
                (Some(codes), _) => codes,
                (None, Ok(sae)) => sae.encode(&x).map_err(|e| e.about("x"))?,
                (None, Err(_)) => {
                    return Err(err!(Argument, "expected `codes` for directions without a dictionary, found none")
                        .hint("#{ codes: .. }, or a dictionary that encodes")
                        .about("s"));
                }
            };
            let labelled = LabelledActivations {
                directions: &directions,
                scaling,
                x: &x,
                codes: &codes,
                probe: &probe,
                main: &main,
            };
            labelled.absorbed(&task)
        });
        Ok(found?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns one of the measures by its name in the table, such as "fve" or "coverage"; () where it has no value.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let texts = []; texts.pad(30, "to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to");
    /// let s = sae::fit(m, "resid_post.0", data::texts(texts), #{ d_sae: 8, k: 2, steps: 2, seed: 1 });
    /// sae::coverage(m, s, data::texts(texts))["features with a label"] > 0.0  //=> true
    /// ```
    #[rhai_fn(global, index_get, pure, return_raw)]
    pub fn at(found: &mut Evaluation, name: &str) -> Fallible<Num> {
        Ok(found.score(name)?.value.map_or(Dynamic::UNIT, Dynamic::from))
    }

    /// Tabulates all measures, each with its interval, its control, the number of what it is over, and its formula.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let texts = []; texts.pad(30, "to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to");
    /// let s = sae::fit(m, "resid_post.0", data::texts(texts), #{ d_sae: 8, k: 2, steps: 2, seed: 1 });
    /// sae::coverage(m, s, data::texts(texts)).table.columns
    /// //=> ["measure", "value", "low", "high", "random", "n", "of", "what it is"]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn table(found: &mut Evaluation) -> Table {
        found.table()
    }

    /// Lists the names of the evaluation's parts.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let texts = []; texts.pad(30, "to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to");
    /// let s = sae::fit(m, "resid_post.0", data::texts(texts), #{ d_sae: 8, k: 2, steps: 2, seed: 1 });
    /// sae::coverage(m, s, data::texts(texts)).parts  //=> ["labels", "features"]
    /// ```
    #[rhai_fn(global, get = "parts", pure)]
    pub fn parts(found: &mut Evaluation) -> Array {
        found.parts.iter().map(|(name, _)| (*name).into()).collect()
    }

    /// Returns the table of a part: the single cases that the measures are means of.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let texts = []; texts.pad(30, "to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to");
    /// let s = sae::fit(m, "resid_post.0", data::texts(texts), #{ d_sae: 8, k: 2, steps: 2, seed: 1 });
    /// sae::coverage(m, s, data::texts(texts)).part("features").columns[1]  //=> "label"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn part(found: &mut Evaluation, name: &str) -> Fallible<Table> {
        Ok(found.part(name)?.clone())
    }

    /// Writes the measures and their parts as .json, .txt or .html, as the name ends. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let texts = []; texts.pad(30, "to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to");
    /// let s = sae::fit(m, "resid_post.0", data::texts(texts), #{ d_sae: 8, k: 2, steps: 2, seed: 1 });
    /// sae::coverage(m, s, data::texts(texts)).save("doc/coverage.html").ends_with("coverage.html")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, found: &mut Evaluation, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, found, path)?)
    }

    /// Returns the data of the table and of its parts, as a map.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) [or] {not}", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let texts = []; texts.pad(30, "to [be] or (not to) be {or be} to (or) be [not] or (to) or [be] {or} (be) to");
    /// let s = sae::fit(m, "resid_post.0", data::texts(texts), #{ d_sae: 8, k: 2, steps: 2, seed: 1 });
    /// sae::coverage(m, s, data::texts(texts)).to_map().parts.labels.columns[0]  //=> "label"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(found: &mut Evaluation) -> Fallible<Dynamic> {
        Ok(mapped(found)?)
    }
}
