//! Pairs of prompts, as tasks make them and as other calls read them.

use super::store::GivenModel;
use crate::data::pairs::tokens::{PairTokenOptions, TokenPair, answer_ids, token_pairs};
use crate::data::pairs::{Pair, PairOptions, pairs};
use crate::script::model::prelude::*;
use crate::tokenizer::tokens::token_id;

crate::options! {
    /// The model in whose tokens pairs are made.
    #[derive(Clone)]
    pub struct PairModelOptions {
        /// The model that reads the prompts; pairs then have `spans`, positions of its tokens.
        model: Option<GivenModel> = None => called("for").usually("none");
        with form: PairTokenOptions;
    }
}

fn list<T: Into<Dynamic>>(values: Vec<T>) -> Dynamic {
    values.into_iter().map(Into::into).collect::<Array>().into()
}

/// Converts a pair into a map of a script.
pub fn map(pair: Pair) -> Map {
    let template = pair.template.map_or(Dynamic::UNIT, |number| Dynamic::from(number as i64));
    let fields = [
        ("clean", pair.clean.into()),
        ("corrupt", pair.corrupt.into()),
        ("answers", list(pair.answers)),
        ("wrong", list(pair.wrong)),
        ("kind", pair.kind.into()),
        ("template", template),
    ];
    fields.into_iter().map(|(key, value)| (key.into(), value)).collect()
}

/// Converts a pair with the positions of its spans into a map of a script.
fn map_with_spans(pair: Pair, tokens: TokenPair) -> Map {
    let positions = |span: Vec<usize>| list(span.into_iter().map(|position| position as i64).collect());
    let spans: Map = tokens.spans.into_iter().map(|(name, span)| (name.into(), positions(span))).collect();
    let mut map = map(pair);
    map.insert("spans".into(), spans.into());
    map
}

/// Reads the pairs of a script, an array of maps or one map alone, and returns the maps, too.
pub fn read_pairs(ctx: &NativeCallContext, m: &Model, value: &Dynamic) -> Result<(Vec<TokenPair>, Array)> {
    let maps: Array = match value.read_lock::<Array>() {
        Some(array) => array.clone(),
        None => vec![value.clone()],
    };
    let read = |(number, value): (usize, &Dynamic)| {
        let pair = value.read_lock::<Map>().ok_or_else(|| {
            err!(Argument, "expected a map with `clean`, `corrupt`, `answers` and `wrong`, found {}", described(value))
                .hint("data::pairs makes pairs of a task, and data::pairs(clean, corrupt, #{ .. }) of your own prompts")
        });
        let pair = pair.and_then(|pair| PairReader { ctx, m, pair: &pair }.read());
        pair.map_err(|e| Error { about: Some("pairs".into()), ..e.within(format!("pair {number}")) })
    };
    let pairs = maps.iter().enumerate().map(read).collect::<Result<Vec<_>>>()?;
    if pairs.is_empty() {
        return Err(err!(Argument, "expected at least one pair, found none").about("pairs"));
    }
    Ok((pairs, maps))
}

/// A reader of one pair.
struct PairReader<'a> {
    ctx: &'a NativeCallContext<'a>,
    m: &'a Model,
    pair: &'a Map,
}

impl PairReader<'_> {
    fn read(&self) -> Result<TokenPair> {
        let clean = self.prompt("clean")?.ok_or_else(|| err!(Argument, "expected a prompt `clean`, found none"))?;
        Ok(TokenPair {
            clean,
            corrupt: self.prompt("corrupt")?.unwrap_or_default(),
            answers: self.answers("answers")?,
            wrong: self.answers("wrong")?,
            spans: self.spans()?,
        })
    }

    fn field(&self, name: &str) -> Option<&Dynamic> {
        self.pair.get(name).filter(|value| !value.is_unit())
    }

    fn prompt(&self, name: &'static str) -> Result<Option<Vec<u32>>> {
        self.field(name).map(|value| one_text(self.ctx, self.m, name, value)).transpose()
    }

    /// Answers: one or several, each a text, an id, or an array of ids.
    fn answers(&self, name: &'static str) -> Result<Vec<Vec<u32>>> {
        let Some(value) = self.field(name) else { return Ok(Vec::new()) };
        match value.read_lock::<Array>() {
            Some(answers) => answers.iter().map(|answer| self.answer(name, answer)).collect(),
            None => Ok(vec![self.answer(name, value)?]),
        }
    }

    fn answer(&self, name: &'static str, answer: &Dynamic) -> Result<Vec<u32>> {
        let task = &env(self.ctx)?.task;
        let Some(text) = answer.read_lock::<rhai::ImmutableString>() else {
            let wanted = "a text, a token id or an array of token ids";
            let ids = given(name, answer).integers().map_err(|_| given(name, answer).refuse(wanted))?;
            let outputs = self.m.config().outputs();
            return ids.into_iter().map(|id| token_id(id, outputs)).collect();
        };
        let tokenizer = self.m.tokenizer()?;
        match self.field("clean").and_then(|prompt| prompt.read_lock::<rhai::ImmutableString>()) {
            Some(prompt) => answer_ids(tokenizer, &prompt, &text, task),
            None => Ok(tokenizer.encode(&text, Some(false), task)?.ids),
        }
    }

    fn spans(&self) -> Result<std::collections::BTreeMap<String, Vec<usize>>> {
        let Some(value) = self.field("spans") else { return Ok(Default::default()) };
        let spans = given("spans", value).map()?;
        spans.into_iter().map(|(name, span)| Ok((name.to_string(), given("spans", &span).sizes()?))).collect()
    }
}

/// Builds a pair of a script's own prompts.
fn own(clean: &Dynamic, corrupt: &Dynamic, answers: [Option<Dynamic>; 2]) -> Dynamic {
    let fields = [("clean", Some(clean.clone())), ("corrupt", Some(corrupt.clone()))];
    let answers = ["answers", "wrong"].into_iter().zip(answers);
    let fields = fields.into_iter().chain(answers).filter_map(|(name, value)| Some((name.into(), value?)));
    fields.collect::<Map>().into()
}

#[export_module(manifest)]
pub mod functions {
    /// Generates pairs of prompts for a task: `ioi`, `greater_than`, `parenthesis`, `apostrophe`, `agreement`, `gender`
    /// or `facts`.
    ///
    /// Each is a map: a `clean` prompt, after which the answer comes next; a `corrupt` one of as many words that
    /// differs in what decides the answer; the correct `answers` after the clean one, each with the space before it;
    /// the `wrong` ones; the `kind` of pair, such as "ABBA" for the order of names; and the number of its `template`, in
    /// tasks that have a list of them. An answer may be several tokens in a tokenizer. No two pairs are the same, and the
    /// first ones do not depend on `n`.
    ///
    /// With `for: m` a pair has `spans`, too, a map of positions in the clean prompt's tokens: the `end`; what is `changed`
    /// in the corrupt one, where the two have the same length; and for `ioi` the indirect object `IO` and the two mentions
    /// of the subject, `S1` and `S2`. `same_length: true` keeps the pairs of one layout, so that a position means the same
    /// in all of them.
    ///
    /// # Options
    /// - [pairs]
    /// - [pair_model]
    ///
    /// # Example
    /// ```
    /// let pair = data::pairs("ioi", #{ n: 1, seed: 1, style: "natural" })[0];
    /// print(pair.clean);
    /// pair.kind == "ABBA" || pair.kind == "BABA"  //=> true
    /// let m = model::load("tiny");
    /// let aligned = data::pairs("ioi", #{ for: m, same_length: true, n: 50 });
    /// aligned.all(|pair| pair.spans == aligned[0].spans)  //=> true
    /// ```
    #[rhai_fn(name = "pairs", return_raw)]
    pub fn pairs_plain(ctx: NativeCallContext, task: &str, options: Options) -> Fallible<Array> {
        let env = env(&ctx)?;
        let (wanted, asked) = taken_both::<PairOptions, PairModelOptions>(options)?;
        let form = asked.form;
        let Some(m) = asked.model else {
            if form.same_length || form.single_token {
                let name = if form.same_length { "same_length" } else { "single_token" };
                return Err(err!(
                    Argument,
                    "expected the option `for` beside `{name}`, found no model to count tokens"
                )
                .hint("data::pairs(\"ioi\", #{ for: m, .. })")
                .about(name)
                .into());
            }
            return Ok(pairs(task, &wanted, &env.task)?.into_iter().map(|pair| super::map(pair).into()).collect());
        };
        let tokenizer = m.model().tokenizer().map_err(|e| e.about("for"))?;
        let made = token_pairs(task, &wanted, &form, tokenizer, &env.task)?;
        Ok(made.into_iter().map(|(pair, tokens)| super::map_with_spans(pair, tokens).into()).collect())
    }

    /// Builds pairs of your own prompts: arrays of as many clean and corrupt ones, each a text, tokens or ids.
    ///
    /// `answers` and `wrong` have an entry for each pair: a text, a token id, or an array of texts and of arrays of ids,
    /// where there are several answers or where one has several tokens.
    ///
    /// # Options
    /// - `answers` = none: the correct answers of each pair
    /// - `wrong` = none: the wrong answers of each pair
    ///
    /// # Example
    /// ```
    /// let pairs = data::pairs([[1, 2], [3, 4]], [[1, 5], [3, 6]], #{ answers: [7, 8], wrong: [8, [7, 9]] });
    /// pairs.len  //=> 2
    /// ```
    #[rhai_fn(name = "pairs", return_raw)]
    pub fn pairs_of(clean: Array, corrupt: Array, options: Options) -> Fallible<Array> {
        let count = clean.len();
        let fits = |name: &'static str, list: &Array| {
            if list.len() == count {
                Ok(())
            } else {
                Err(err!(
                    Argument,
                    "expected {count} entries of `{name}`, one for each clean prompt, found {}",
                    list.len()
                )
                .about(name))
            }
        };
        fits("corrupt", &corrupt)?;
        let mut read = super::options(options);
        let answers = read.get("answers", |given| given.list())?;
        let wrong = read.get("wrong", |given| given.list())?;
        read.finish()?;
        for (name, list) in [("answers", &answers), ("wrong", &wrong)] {
            list.as_ref().map_or(Ok(()), |list| fits(name, list))?;
        }
        let of = |list: &Option<Array>, number: usize| list.as_ref()?.get(number).cloned();
        let each = clean.iter().zip(&corrupt).enumerate();
        Ok(each.map(|(i, (clean, corrupt))| super::own(clean, corrupt, [of(&answers, i), of(&wrong, i)])).collect())
    }
}
