//! Texts as scripts hold them: their sources, and what can be read from them.

use rhai::plugin::*;
use rhai::{Array, Dynamic, Map, NativeCallContext};
use serde_json::{Value, json};

use crate::base::{Cell, Result, Table};
use crate::data::Text;
use crate::data::grammar::Mix;
use crate::data::sample::{self, Settings};
use crate::data::text::{Bounds, GRAMMAR, Options as Core, Part, SAMPLE};
use crate::err;
use crate::model::{self, load};
use crate::report::{Item, Screen};
use crate::script::env::{Env, env};
use crate::script::model::Model;
use crate::script::options::{OptionReader, options};
use crate::script::show::Handle;
use crate::script::value::{self, Fallible, Given, Int, Options, given};

impl Handle for Text {
    const NAME: &'static str = "Text";

    fn short(&self) -> String {
        format!("text of {}", self.name())
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        let (about, tally) = (about(self).terminal(screen)?, self.tally());
        if tally.skipped.is_empty() {
            return Ok(about);
        }
        Ok(format!("{about}{}", tally.table("what was read".into()).terminal(screen)?))
    }

    fn json(&self) -> Result<Value> {
        let options = self.options();
        Ok(json!({ "name": self.name(), "tokens": options.tokens, "shuffle": options.shuffle, "seed": options.seed }))
    }
}

/// Its source, or the texts that it mixes.
fn about(text: &Text) -> Table {
    let row = |name: &str, share: Cell| vec![name.into(), share];
    let (columns, rows) = match text.parts() {
        Some(parts) => {
            let total: f64 = parts.iter().map(|(_, weight)| weight).sum();
            let rows = parts.iter().map(|(part, weight)| row(part.name(), (weight / total).into())).collect();
            (["text", "share"], rows)
        }
        None => {
            let files = text.paths().iter().map(|path| row(&path.display().to_string(), Cell::Missing));
            (["file", ""], files.collect())
        }
    };
    Table { title: text.short(), columns: columns.map(String::from).into(), rows }
}

/// The options of reading that every source has.
fn reading(read: &mut OptionReader, core: &mut Core) -> Result<()> {
    core.tokens = read.get("tokens", Given::size)?.map(|tokens| tokens as u64);
    core.bos = read.get("bos", Given::flag)?;
    core.shuffle = read.flag("shuffle", core.shuffle)?;
    core.seed = read.seed()?.unwrap_or(core.seed);
    core.labels = read.flag("labels", core.labels)?;
    match core.tokens {
        Some(0) => Err(err!(Argument, "expected at least one token for `tokens`, found 0").about("tokens")),
        _ => Ok(()),
    }
}

/// A text of a source, with its options.
fn opened(env: &Env, source: &str, map: Options) -> Result<Text> {
    let given: Vec<String> = map.keys().map(|key| key.to_string()).collect();
    let mut read = options(map);
    let mut core = Core::default();
    reading(&mut read, &mut core)?;
    core.part = read.get("part", |given| Part::named(&given.text()?))?.unwrap_or_default();
    of_files(&mut read, &mut core)?;
    let mix = read.get("mix", phenomena)?;
    read.finish()?;
    let others: Vec<&str> = match source {
        GRAMMAR => OF_FILES.to_vec(),
        SAMPLE => [&OF_FILES[..], &OF_GRAMMAR].concat(),
        _ => OF_GRAMMAR.to_vec(),
    };
    if let Some(stray) = given.iter().find(|key| others.contains(&key.as_str())) {
        let owner = if OF_FILES.contains(&stray.as_str()) { "files" } else { "the source \"grammar\"" };
        return Err(err!(Argument, "expected no `{stray}` for {source}, since it is an option of {owner}")
            .about(stray.as_str()));
    }
    if given.iter().any(|key| key == "hold") && core.part == Part::All {
        return Err(err!(Argument, "expected `part` to go with `hold`")
            .hint("#{ part: \"train\" } is without the held-out documents, #{ part: \"held\" } is these alone")
            .about("options"));
    }
    match source {
        GRAMMAR => Ok(Text::grammar(&mix.unwrap_or_default(), core)),
        SAMPLE => written_inside(env, core),
        _ => Text::open(&env.files, source, core, &env.task).map_err(|e| e.about("source")),
    }
}

/// Text that the model inside the binary generates.
pub fn written_inside(env: &Env, core: Core) -> Result<Text> {
    let model = model::Model::load(&env.files, load::INSIDE, &load::Loading::default(), &env.task)?;
    let tokenizer = model.tokenizer.ok_or_else(|| err!(Bug, "the model inside has no tokenizer"))?;
    let settings = Settings { seed: core.seed, ..Settings::default() };
    Ok(Text::sample(SAMPLE, (model.decoder, tokenizer), settings, Some(sample::stored()?), core))
}

/// Options that only some sources have.
const OF_FILES: [&str; 4] = ["field", "separator", "starts", "hold"];
const OF_GRAMMAR: [&str; 1] = ["mix"];

fn of_files(read: &mut OptionReader, core: &mut Core) -> Result<()> {
    core.field = read.text("field", &core.field)?;
    core.bounds = Bounds {
        separator: read.get("separator", Given::text)?,
        starts: read.get("starts", Given::texts)?.unwrap_or_default(),
    };
    core.one_in = read.size("hold", core.one_in as usize)? as u64;
    if core.bounds.separator.iter().chain(&core.bounds.starts).any(String::is_empty) {
        return Err(err!(Argument, "expected a text that separates documents, found an empty one").about("separator"));
    }
    if core.one_in < 2 {
        let found = core.one_in;
        return Err(err!(
            Argument,
            "expected at least 2 for `hold`, found {found}: one document in `hold` is held out"
        )
        .about("options"));
    }
    Ok(())
}

/// Phenomena of the grammar with their weights.
fn phenomena(given: &Given) -> Result<Mix> {
    let weights = given.map()?.into_iter().map(|(name, weight)| {
        let weight = value::given(&name, &weight).number()?;
        Ok((name.to_string(), weight))
    });
    Mix::new(&weights.collect::<Result<_>>()?).map_err(|e| e.about("weights"))
}

/// One part of a mixture: `[text, weight]`, or a map of both.
fn part(element: &Given) -> Result<(Text, f64)> {
    let wanted = "[text, weight]";
    let (text, weight) = match element.map() {
        Ok(mut map) => {
            let (text, weight) = (map.remove("text"), map.remove("weight"));
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

/// A map with these fields.
pub fn map<const N: usize>(fields: [(&str, Dynamic); N]) -> Dynamic {
    fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>().into()
}

#[export_module(manifest)]
pub mod functions {
    /// A text to read: a file, a folder, all files that fit a pattern such as "books/**/*.md", "grammar" or "sample".
    ///
    /// Plain text (.txt, .md, and any other file that is given by name or pattern), JSON lines (.jsonl) and Parquet are
    /// streamed in constant memory; the first two may be compressed (.gz). In a folder, files with these extensions are
    /// read in the order of their paths; names that begin with a dot are skipped. Line ends of plain text become "\n".
    /// What cannot be read is skipped with a warning, and counted by `text.report()`; only a source without any
    /// document is an error. Nothing is read before it is needed.
    ///
    /// "grammar" is a language of our own without end, with ground truth for every token: see `text.labels`. "sample"
    /// is text that the model inside the binary generates, at temperature 0.85 from the 200 most likely tokens; half a
    /// million tokens of seed 0 are stored, and more are generated when needed. Files with these names are read as
    /// "./grammar".
    ///
    /// # Options
    /// - `tokens` = all: maximum number of tokens, once the text is tokenized
    /// - `seed` = 0: seed of the shuffled order, of the grammar, and of the sample
    /// - `mix` = a balanced one: a map of phenomena of the grammar with their weights; others are left out
    /// - `field` = "text": the field of a JSON record, or the column of a table, that holds the text
    /// - `separator` = none: the string that separates the documents of plain text
    /// - `starts` = none: a text or several; a line that begins with one of them begins a document, if it follows an
    ///   empty line or is the first
    /// - `part` = "all": "train" without the held-out documents, "held" for these alone; a hash of a document's
    ///   beginning decides, so that copies are in the same part, and parts stay the same when files are added; the
    ///   grammar holds out names, templates and combinations, and is "train" by default
    /// - `hold` = 20: about one document in this many is held out
    /// - `bos` = the tokenizer's own rule: whether each row begins with a BOS token
    /// - `shuffle` = false: whether rows are shuffled, through a buffer of 1,024
    /// - `labels` = false: whether brackets, quotations, apostrophes, numbers and lines in real text are labelled by
    ///   rules
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
        Ok(super::opened(&env, source, options)?)
    }

    /// Strings of the script, as the documents of a text.
    ///
    /// # Options
    /// - `tokens` = all: maximum number of tokens, once the text is tokenized
    /// - `seed` = 0: seed of the shuffled order
    /// - `bos` = the tokenizer's own rule: whether each row begins with a BOS token
    /// - `shuffle` = false: whether rows are shuffled, through a buffer of 1,024
    /// - `labels` = false: whether brackets, quotations, apostrophes, numbers and lines in real text are labelled by
    ///   rules
    ///
    /// # Example
    /// ```
    /// data::texts(["one two", "three"]).documents(9).len()  //=> 2
    /// ```
    #[rhai_fn(return_raw)]
    pub fn texts(documents: Array, options: Options) -> Fallible<Text> {
        let documents = given("documents", &documents.into()).texts()?;
        let (mut read, mut core) = (super::options(options), Core::default());
        super::reading(&mut read, &mut core)?;
        read.finish()?;
        Ok(Text::given(documents, core).map_err(|e| e.about("documents"))?)
    }

    /// Text that a model generates, without end.
    ///
    /// Its rows are as long as the model's context; a document ends at the model's EOS token, or with its row. The same
    /// seed gives the same text. Brackets, quotations and the like are labelled by rules.
    ///
    /// # Options
    /// - `tokens` = all: maximum number of tokens, once the text is tokenized
    /// - `seed` = 0: seed of the draws
    /// - `temperature` = 0.85: sampling temperature
    /// - `top_k` = 200: samples from this many most likely tokens
    /// - `bos` = the tokenizer's own rule: whether each row begins with a BOS token
    /// - `shuffle` = false: whether rows are shuffled, through a buffer of 1,024
    /// - `labels` = false: whether brackets, quotations, apostrophes, numbers and lines in real text are labelled by
    ///   rules
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t });
    /// data::sample(m, #{ seed: 1 }).documents(3).len()  //=> 3
    /// ```
    #[rhai_fn(return_raw)]
    pub fn sample(m: Model, options: Options) -> Fallible<Text> {
        let (mut read, mut core) = (super::options(options), Core::default());
        super::reading(&mut read, &mut core)?;
        let usual = Settings::default();
        let settings = Settings {
            seed: core.seed,
            temperature: read.number("temperature", usual.temperature)?,
            top_k: read.size("top_k", usual.top_k)?,
        };
        read.finish()?;
        let name = format!("what {} wrote", m.core().origin);
        let model = (m.core().decoder.clone(), m.tokenizer().map_err(|e| e.about("m"))?.clone());
        // Stored text counts only if this model generated it with these settings.
        let stored = if m.core().is_inside() { Some(sample::stored()?) } else { None };
        Ok(Text::sample(&name, model, settings, stored, core))
    }

    /// A mixture of several texts, in proportion to their weights.
    ///
    /// `parts` are pairs of a text and its weight, or maps `#{ text: .., weight: .. }` whose weight is 1 by default.
    /// Each row of tokens is of one text, drawn by the weights; when a text ends, the others continue. Training repeats
    /// finite texts, and never repeats what is generated.
    ///
    /// # Options
    /// - `tokens` = all: maximum number of tokens, of all texts together
    /// - `seed` = 0: seed of the draws
    /// - `bos` = the tokenizer's own rule: whether each row begins with a BOS token
    /// - `shuffle` = false: whether rows are shuffled, through a buffer of 1,024
    /// - `labels` = false: whether brackets, quotations, apostrophes, numbers and lines in real text are labelled by
    ///   rules
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
        let (mut read, mut core) = (super::options(options), Core::default());
        super::reading(&mut read, &mut core)?;
        read.finish()?;
        Ok(Text::mix(parts, core).map_err(|e| e.about("parts"))?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// The first documents of a text, as maps of `text` and `origin`; a long document comes in pieces, and `at` is the
    /// byte of its document where a piece begins.
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

    /// What the latest reading of the text has read, and what it skipped and why, as a table.
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
