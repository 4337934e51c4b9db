//! Texts: their sources, and their methods.

use crate::data::text::TextOptions;
use crate::script::engine::value::map;
use crate::script::model::prelude::*;
use crate::tensor::{DType, dtype};

impl Handle for Text {
    const NAME: &'static str = "Text";

    fn short(&self) -> String {
        format!("text of {}", self.name())
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        let about = about(self).terminal(screen)?;
        let tally = self.tally();
        if tally.skipped.is_empty() {
            return Ok(about);
        }
        Ok(format!("{about}{}", tally.table("what was read".into()).terminal(screen)?))
    }

    fn json(&self) -> Result<Value> {
        let options = self.options();
        Ok(json!({ "name": self.name(), "tokens": options.tokens, "shuffle": options.shuffle, "seed": options.seed() }))
    }
}

/// Returns a table of a text's files, or of the texts of a mixture with their shares.
fn about(text: &Text) -> Table {
    let row = |name: &str, share: Cell| vec![name.into(), share];
    let (columns, rows) = match text.parts() {
        Some(parts) => {
            let total: f64 = parts.iter().map(|(_, weight)| weight).sum();
            let rows: Vec<_> = parts.iter().map(|(part, weight)| row(part.name(), (weight / total).into())).collect();
            (["text", "share"], rows)
        }
        None => {
            let files = text.file_names().into_iter().map(|name| row(&name, Cell::Missing));
            (["file", ""], files.collect())
        }
    };
    Table::new(text.short(), columns, rows)
}

/// Takes a text of `data::text`, or strings as one.
pub fn text_of(text: &Dynamic) -> Result<Text> {
    match text.read_lock::<Text>() {
        Some(text) => Ok(text.clone()),
        None => Text::given(given("text", text).texts()?, TextOptions::default()).map_err(|e| e.about("text")),
    }
}

/// Builds a text of a script's documents, all as strings or all as token ids.
fn of_documents(documents: Array, options: TextOptions) -> Result<Text> {
    let documents = given("documents", &documents.into());
    let elements = documents.elements();
    let made = if elements.first().is_some_and(|first| first.text().is_err()) {
        Text::of_ids(elements.iter().map(ids).collect::<Result<_>>()?, options)
    } else {
        Text::given(documents.texts()?, options)
    };
    made.map_err(|e| e.about("documents"))
}

/// Reads a document as token ids: an array or a tensor of integers, or tokens.
fn ids(document: &GivenValue) -> Result<Vec<u32>> {
    if let Some(tokens) = document.handle::<Tokens>() {
        return Ok(tokens.ids);
    }
    let refused = || document.refuse("a string, or token ids as an array or a tensor of integers,");
    let integers = match document.handle::<Tensor>() {
        Some(ids) if ids.rank() == 1 && !dtype::is_float(ids.dtype()) => dtype::cast(&ids, DType::I64)?.to_vec1()?,
        Some(_) => return Err(refused()),
        None => {
            given("documents", &document.list().map_err(|_| refused())?.into()).integers().map_err(|_| refused())?
        }
    };
    integers.into_iter().map(|id| u32::try_from(id).map_err(|_| refused())).collect()
}

/// Returns a text with the cache of this run.
fn cached(text: Text, env: &Env) -> Text {
    text.cached(env.settings.cache.as_deref(), &env.files, env.settings.fresh, &env.task)
}

/// Reads one part of a mixture: `[text, weight]`, or a map of both.
fn part(element: &GivenValue) -> Result<(Text, f64)> {
    let wanted = "[text, weight]";
    let (text, weight) = match element.map() {
        Ok(mut map) => {
            let text = map.remove("text");
            let weight = map.remove("weight");
            match (text, map.keys().next()) {
                (Some(text), None) => (text, weight),
                _ => return Err(element.refuse("#{ text: .., weight: .. }")),
            }
        }
        Err(_) => match <[Dynamic; 2]>::try_from(element.list().map_err(|_| element.refuse(wanted))?) {
            Ok([text, weight]) => (text, Some(weight)),
            Err(_) => return Err(element.refuse(wanted)),
        },
    };
    let weight = weight.map_or(Ok(1.0), |weight| given("weight", &weight).number())?;
    match text.read_lock::<Text>() {
        Some(text) => Ok((text.clone(), weight)),
        None => Err(given("text", &text).refuse("a text")),
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Opens a text to read: a file, a folder, all files that fit a pattern such as "books/**/*.md", a data set of the
    /// hub such as "hf://datasets/org/name", "grammar" or "sample".
    ///
    /// Plain text (.txt, .md, and any other file that is given by name or pattern), JSON lines (.jsonl),
    /// tab-separated values (.tsv, whose first line names the columns), Parquet and Arrow (.arrow, .arrows, .feather, as the
    /// library `datasets` keeps them on disk) are streamed in constant memory; all but the last two may be compressed (.gz).
    /// In a folder, files with these extensions are read in the order of their paths; names that begin with a dot are
    /// skipped, and so are "cache-*.arrow", which `datasets` computes from the files beside them. Line ends of plain text become "\n".
    /// What cannot be read is skipped with a warning, and counted by `text.report()`; only a source without any
    /// document is an error. Nothing is read before it is needed.
    ///
    /// "hf://datasets/org/name", or with "@revision" after it, is a split of a data set of the hub, "train" unless
    /// `split` names another. The data set's card says which files are a split (`configs`), or else their names do, by
    /// the hub's own conventions; where none is in a known format, the hub's conversion to Parquet is read. Only as
    /// many files are fetched as are read: with `tokens`, often the first one alone. They are kept in the hub's cache,
    /// and `HF_TOKEN`, `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` are respected as by `model::load`. The hub is
    /// asked once, for the commit, so that every reading of the text has the same documents.
    ///
    /// "grammar" is a language of our own without end, with ground truth for every token: see `text.labels`. "sample"
    /// is text that the model inside the binary generates, at temperature 0.85 from the 200 most likely tokens; half a
    /// million tokens of seed 0 are stored, and more are generated when needed, once: later readings find them in memory, and
    /// later runs in the cache. Files with these names are read as "./grammar".
    ///
    /// # Options
    /// - [source]
    ///
    /// # Example
    /// ```
    /// run::save_text("doc/poems.txt", "one two\n%\nthree four\n%\nfive six\n");
    /// let poems = data::text("doc/poems.txt", #{ separator: "%\n" });
    /// poems.documents(2)[1].text  //=> "three four\n"
    /// data::text("grammar", #{ seed: 1 }).documents(1)[0].origin  //=> "grammar, train, seed 1, document 0"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn text(ctx: NativeCallContext, source: &str, options: Options) -> Fallible<Text> {
        let env = env(&ctx)?;
        Ok(cached(Text::open(&env.files, source, taken(options)?, &env.task)?, &env))
    }

    /// Builds a text of the script's strings, as its documents; or of token ids, as arrays, tensors or tokens, which
    /// are packed as they are. A text of token ids has no characters: no labels, and no `documents`.
    ///
    /// # Options
    /// - [text]
    ///
    /// # Example
    /// ```
    /// data::texts(["one two", "three"]).documents(9).len()  //=> 2
    /// data::texts([[1, 2, 3], [4, 5]])  //=> text of given tokens
    /// ```
    #[rhai_fn(return_raw)]
    pub fn texts(documents: Array, options: Options) -> Fallible<Text> {
        Ok(super::of_documents(documents, taken(options)?)?)
    }

    /// Builds a text that a model generates, without end.
    ///
    /// Its rows are as long as the model's context; a document ends at the model's EOS token, or with its row. The same
    /// seed gives the same text. What was generated is kept, in memory for the next reading of this text and in the cache for the
    /// next run. Brackets, quotations and the like are labelled by rules.
    ///
    /// # Options
    /// - [text_sampling]
    /// - [text]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t });
    /// data::sample(m, #{ seed: 1 }).documents(3).len()  //=> 3
    /// ```
    #[rhai_fn(return_raw)]
    pub fn sample(ctx: NativeCallContext, m: Model, options: Options) -> Fallible<Text> {
        let (sampling, text) = taken_both(options)?;
        let text = Text::generated(m.core(), &sampling, text).map_err(|e| e.about("m"))?;
        let env = env(&ctx)?;
        Ok(cached(text, &env))
    }

    /// Mixes several texts, in proportion to their weights.
    ///
    /// `parts` are pairs of a text and its weight, or maps `#{ text: .., weight: .. }` whose weight is 1 by default.
    /// Each row of tokens is of one text, drawn by the weights; when a text ends, the others continue. Training repeats
    /// finite texts, and never repeats what is generated.
    ///
    /// # Options
    /// - [text]
    ///
    /// # Example
    /// ```
    /// let mixed = data::mix([[data::texts(["one two", "three"]), 3], [data::texts(["four"]), 1]]);
    /// mixed.documents(3).map(|document| document.text)  //=> ["one two", "four", "three"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn mix(parts: Array, options: Options) -> Fallible<Text> {
        let parts = given("parts", &parts.into()).elements();
        let parts = parts.iter().map(super::part).collect::<Result<_>>()?;
        Ok(Text::mix(parts, taken(options)?).map_err(|e| e.about("parts"))?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the first documents of a text, as maps of `text` and `origin`; a long document comes in pieces, and `at`
    /// is the byte of its document where a piece begins.
    ///
    /// # Example
    /// ```
    /// run::save_text("doc/notes.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    /// let origin = data::text("doc/notes.jsonl").documents(5)[1].origin;
    /// origin.ends_with("notes.jsonl:2")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn documents(ctx: NativeCallContext, text: &mut Text, n: Int) -> Fallible<Array> {
        let count = given("n", &n).size()?;
        text.expect_characters()?;
        let env = env(&ctx)?;
        let mut documents = text.documents(&env.task)?;
        let mut found = Array::new();
        while found.len() < count
            && let Some(document) = documents.next(&env.task)?
        {
            found.push(super::map([
                ("text", document.text.into()),
                ("origin", document.origin.to_string().into()),
                ("at", (document.at as i64).into()),
            ]));
        }
        Ok(found)
    }

    /// Returns a table of what the latest reading of the text has read, and of what it skipped and why. Before the
    /// first reading there is nothing to report, and its title says so.
    ///
    /// # Example
    /// ```
    /// run::save_text("doc/bad.jsonl", "{\"text\": \"one\"}\n{\"text\": \n");
    /// let text = data::text("doc/bad.jsonl");
    /// text.documents(9).len()  //=> 1
    /// text.report().to_map().rows[4][0]  //=> "left out: lines that are no JSON"
    /// ```
    #[rhai_fn(global, pure)]
    pub fn report(text: &mut Text) -> Table {
        text.report()
    }

    /// Splits a text into parts that share no document, so that selection and evaluation use different text: each has
    /// about its share of the documents, and of `tokens`. A hash of a document's content decides its part, the same
    /// every time; one that is longer than 32 KiB is divided piece by piece, so that a text of one file has parts, too.
    ///
    /// # Example
    /// ```
    /// let parts = data::text("grammar", #{ tokens: 1000 }).split([3, 1]);
    /// parts  //=> [text of grammar, part 1, text of grammar, part 2]
    /// parts.map(|part| part.documents(1).len())  //=> [1, 1]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn split(text: &mut Text, shares: Array) -> Fallible<Array> {
        let shares = given("shares", &shares.into()).numbers()?;
        Ok(text.split(&shares).map_err(|e| e.about("shares"))?.into_iter().map(Dynamic::from).collect())
    }
}
