//! Training tokenizers, and the methods of tokenizers.

use std::path::Path;

use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};
use serde_json::{Value, json};

use crate::base::{Card, Cell, Result, Task};
use crate::data::Text;
use crate::err;
use crate::model::tokenizer::Tokenizer;
use crate::model::tokenizer::train::{self, Kind};
use crate::model::tokens::Tokens;
use crate::report::symbols::count;
use crate::report::{Item, Screen};
use crate::script::env::env;
use crate::script::options::{OptionReader, options};
use crate::script::show::Handle;
use crate::script::value::{Any, Fallible, Given, Options, from_json, given};

/// The number of example tokens on a card.
const SHOWN: usize = 24;

impl Handle for Tokenizer {
    const NAME: &'static str = "Tokenizer";

    fn short(&self) -> String {
        format!("{} tokenizer of {}", self.kind(), count(self.vocab().size(), "token"))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        card(self)?.terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let tokens: Vec<&str> = self.vocab().iter().map(|(_, piece)| piece.name.as_str()).collect();
        Ok(json!({ "kind": self.kind(), "size": self.vocab().size(), "tokens": tokens }))
    }
}

/// A card of the tokenizer with example tokens from all of the vocabulary, since the last ones are the rarest.
fn card(tokenizer: &Tokenizer) -> Result<Card> {
    let ids: Vec<u32> = tokenizer.vocab().iter().map(|(id, _)| id).collect();
    let every = ids.len().div_ceil(SHOWN).max(1);
    let some = ids.iter().rev().step_by(every).map(|id| Ok(format!("{:?}", tokenizer.text_of(*id)?)));
    let mut some = some.collect::<Result<Vec<String>>>()?;
    some.reverse();
    let mark = |id: Option<u32>| id.map_or(Ok(Cell::Missing), |id| tokenizer.text_of(id).map(Cell::from));
    let fields: [(&str, Cell); 4] = [
        ("tokens", tokenizer.vocab().size().into()),
        ("beginning", mark(tokenizer.bos())?),
        ("end", mark(tokenizer.eos())?),
        ("some of them", some.join(" ").into()),
    ];
    let fields = fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    Ok(Card { title: format!("{} tokenizer", tokenizer.kind()), fields, ..Card::default() })
}

/// The options of a tokenizer.
fn wanted(read: &mut OptionReader) -> Result<(Kind, train::Options)> {
    let usual = train::Options::default();
    let kind = read.get("kind", |given| Kind::parse(&given.text()?))?.unwrap_or(Kind::Bpe);
    let options = train::Options {
        vocab: read.size("vocab", usual.vocab)?,
        special: read.get("special", Given::texts)?.unwrap_or(usual.special),
        min_frequency: read.size("min_frequency", usual.min_frequency as usize)? as u64,
        digits: read.get("digits", Given::size)?,
        apart: read.text("apart", "")?.chars().collect(),
    };
    Ok((kind, options))
}

/// The pieces of a text's documents, until this many bytes have been read.
fn pieces(text: &Text, bytes: Option<usize>, task: &Task) -> Result<impl FnMut(&Task) -> Result<Option<String>>> {
    if bytes.is_none() && text.is_endless() {
        return Err(err!(Argument, "expected `bytes`, a limit for a text without end, found none").about("bytes"));
    }
    let mut documents = text.documents(task)?;
    let mut left = bytes.unwrap_or(usize::MAX);
    Ok(move |task: &Task| {
        if left == 0 {
            return Ok(None);
        }
        let piece = documents.next(task)?.map(|document| document.text);
        left = left.saturating_sub(piece.as_ref().map_or(0, String::len));
        Ok(piece)
    })
}

/// The documents of a text, or of strings; `most` says after how many bytes no other begins.
pub fn documents<'a>(
    text: &Dynamic,
    most: Option<usize>,
    task: &'a Task,
) -> Result<impl FnMut() -> Result<Option<String>> + Send + use<'a>> {
    let text = match text.read_lock::<Text>() {
        Some(text) => text.clone(),
        None => Text::given(given("text", text).texts()?, Default::default()).map_err(|e| e.about("text"))?,
    };
    if text.options().tokens.is_some() {
        return Err(err!(
            Argument,
            "expected a text without `tokens`, which cannot be counted before there is a tokenizer"
        )
        .hint("leave `tokens` out of the options of the text")
        .about("text"));
    }
    if text.is_endless() && most.is_none() {
        return Err(err!(Argument, "expected a text with an end, found {}, which has none", text.name())
            .hint("data::texts(text.documents(1000).map(|d| d.text)) has one")
            .about("text"));
    }
    let mut documents = text.documents(task)?;
    let mut left = most.unwrap_or(usize::MAX);
    Ok(move || {
        if left == 0 {
            return Ok(None);
        }
        let document = documents.next(task)?.map(|document| document.text);
        left = left.saturating_sub(document.as_ref().map_or(0, String::len));
        Ok(document)
    })
}

/// The ids to decode, each of which must have a token.
fn ids(given: &Given) -> Result<Vec<u32>> {
    let id =
        |id: usize| u32::try_from(id).map_err(|_| err!(Index, "expected the id of a token, found {id}").about("ids"));
    given.sizes()?.into_iter().map(id).collect()
}

#[export_module(manifest)]
pub mod functions {
    /// Trains a tokenizer on texts: a text of `data::text`, a string or an array of strings.
    ///
    /// The kinds are "bpe", byte-level BPE, which is lossless on any text; "words", split at white space; and
    /// "characters". The same texts give the same tokenizer, and `save` writes the first kind as a tokenizer.json that
    /// other programs read. The first of the special tokens is both EOS and BOS; one that is called `<unk>` stands for
    /// words or characters without a token, which are refused without it.
    ///
    /// # Options
    /// - `kind` = "bpe": the kind of tokens
    /// - `vocab` = 4096: maximum vocabulary size
    /// - `special` = "<|endoftext|>": a special token or an array of them, which get the first ids
    /// - `min_frequency` = 2: minimum count of a token in the texts
    /// - `digits` = none: for BPE, maximum number of digits in a token; numbers are cut from the left, and every group
    ///   of at most this many digits is a token, with a space before it and without
    /// - `bytes` = all: maximum number of bytes read of a text of `data::text`; a text without end needs it
    /// - `bytes` = all: maximum number of bytes of the text
    /// - `apart` = "": for BPE, characters such as brackets and quotes that are always tokens by themselves
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a rose is a rose is a rose (1987)", #{ vocab: 500, digits: 2, apart: "()" });
    /// t.encode("a rose (1987)").strings  //=> ["a", " rose", " ", "(", "19", "87", ")"]
    /// data::tokenizer(["b a", "a"], #{ kind: "words", special: [], min_frequency: 1 }).encode("a b").ids  //=> [0, 1]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn tokenizer(ctx: NativeCallContext, text: Any, options: Options) -> Fallible<Tokenizer> {
        let mut read = super::options(options);
        let (kind, wanted) = super::wanted(&mut read)?;
        let bytes = read.get("bytes", Given::size)?;
        read.finish()?;
        let task = &env(&ctx)?.task;
        if let Some(source) = text.read_lock::<Text>() {
            let mut pieces = super::pieces(&source, bytes, task)?;
            return Ok(train::train(kind, &mut || pieces(task), &wanted, task)?);
        }
        if bytes.is_some() {
            let what = "expected a text of `data::text` to go with `bytes`, found strings";
            return Err(err!(Argument, "{what}").about("options").into());
        }
        let mut texts = given("text", &text).texts()?.into_iter();
        Ok(train::train(kind, &mut || Ok(texts.next()), &wanted, task)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Splits a text into tokens.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("the cat sat", #{ kind: "words", special: [], min_frequency: 1 });
    /// t.encode("sat the").strings  //=> [" sat", " the"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn encode(ctx: NativeCallContext, t: &mut Tokenizer, text: &str) -> Fallible<Tokens> {
        Ok(t.encode(text, None, &env(&ctx)?.task).map_err(|e| e.about("text"))?)
    }

    /// Decodes an id, or an array of ids, into text.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("the cat sat", #{ kind: "words", special: [], min_frequency: 1 });
    /// t.decode(t.encode("sat the").ids)  //=> "sat the"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn decode(t: &mut Tokenizer, ids: Any) -> Fallible<String> {
        let ids = super::ids(&given("ids", &ids))?;
        Ok(t.decode(&ids).map_err(|e| e.about("ids"))?)
    }

    /// Saves the tokenizer into a folder, from which it can be loaded again.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("the cat sat", #{ kind: "words", special: [], min_frequency: 1 });
    /// t.save("words")  //=> ()
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, t: &mut Tokenizer, path: &str) -> Fallible<()> {
        let _places = t.save(&env(&ctx)?.files, Path::new(path)).map_err(|e| e.about("path"))?;
        Ok(())
    }

    /// The number of rows of an embedding of all tokens: the highest id plus one.
    ///
    /// # Example
    /// ```
    /// data::tokenizer("the cat sat", #{ kind: "words", special: [], min_frequency: 1 }).size  //=> 3
    /// ```
    #[rhai_fn(global, get = "size", pure)]
    pub fn size(t: &mut Tokenizer) -> i64 {
        t.vocab().size() as i64
    }

    /// The id of a text that is one token; the error for other texts says how they are split.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("the cat sat", #{ kind: "words", special: [], min_frequency: 1 });
    /// t.token("sat")  //=> 1
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn token(ctx: NativeCallContext, t: &mut Tokenizer, text: &str) -> Fallible<i64> {
        Ok(i64::from(t.token(text, &env(&ctx)?.task).map_err(|e| e.about("text"))?))
    }

    /// The ids of all tokens whose text, without leading space, begins with a text.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("the cat and cats", #{ kind: "words", special: [], min_frequency: 1 });
    /// t.token_set("cat")  //=> [1, 2]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn token_set(t: &mut Tokenizer, text: &str) -> Fallible<Array> {
        let ids = t.token_set(text).map_err(|e| e.about("text"))?;
        Ok(ids.into_iter().map(|id| Dynamic::from(i64::from(id))).collect())
    }

    /// The kind of the tokenizer, its size, and the names of its tokens in the order of their ids.
    ///
    /// # Example
    /// ```
    /// data::tokenizer("the cat", #{ kind: "words", special: [], min_frequency: 1 }).to_map().tokens  //=> ["cat", "the"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(t: &mut Tokenizer) -> Fallible<Dynamic> {
        Ok(super::from_json(t.json()?))
    }
}
