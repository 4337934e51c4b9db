//! Training tokenizers, and the methods of tokenizers.

use crate::data::text::TextTokenizerOptions;
use crate::script::model::prelude::*;
use crate::tokenizer::Tokenizer;

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

/// Builds a card of the tokenizer with example tokens from all of the vocabulary, since the last ones are the rarest.
fn card(tokenizer: &Tokenizer) -> Result<Card> {
    let ids: Vec<u32> = tokenizer.vocab().iter().map(|(id, _)| id).collect();
    let every = ids.len().div_ceil(SHOWN).max(1);
    let some = ids.iter().rev().step_by(every).map(|id| Ok(format!("{:?}", tokenizer.text_of(*id)?)));
    let mut some = some.collect::<Result<Vec<String>>>()?;
    some.reverse();
    let mark = |id: Option<u32>| id.map_or(Ok(Cell::Missing), |id| tokenizer.text_of(id).map(Cell::from));
    let fields = [
        ("tokens", tokenizer.vocab().size().into()),
        ("beginning", mark(tokenizer.bos())?),
        ("end", mark(tokenizer.eos())?),
        ("some of them", some.join(" ").into()),
    ];
    Ok(Card::new(format!("{} tokenizer", tokenizer.kind()), fields))
}

/// Returns the tokenizer of an argument, and the model if it is one.
pub fn tokenizer_of(name: &str, m: &Dynamic) -> Result<(Tokenizer, Option<Model>)> {
    match (m.read_lock::<Model>(), m.read_lock::<Tokenizer>()) {
        (Some(model), _) => Ok((model.tokenizer().map_err(|e| e.about(name))?.clone(), Some(model.clone()))),
        (None, Some(tokenizer)) => Ok((tokenizer.clone(), None)),
        (None, None) => Err(given(name, m).refuse("a model or a tokenizer")),
    }
}

/// Reads the ids to decode, each of which must have a token.
fn ids(given: &GivenValue) -> Result<Vec<u32>> {
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
    /// - [tokenizer]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a rose is a rose is a rose (1987)", #{ vocab: 500, digits: 2, apart: "()" });
    /// t.encode("a rose (1987)").strings  //=> ["a", " rose", " ", "(", "19", "87", ")"]
    /// data::tokenizer(["b a", "a"], #{ kind: "words", special: [], min_frequency: 1 }).encode("a b").ids  //=> [0, 1]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn tokenizer(ctx: NativeCallContext, text: Any, options: Options) -> Fallible<Tokenizer> {
        let options: TextTokenizerOptions = taken(options)?;
        let task = &env(&ctx)?.task;
        match text.read_lock::<Text>() {
            Some(text) => Ok(text.tokenizer(&options, task)?),
            None => Ok(options.on_strings(given("text", &text).texts()?, task)?),
        }
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

    /// Returns the number of rows of an embedding of all tokens: the highest id plus one.
    ///
    /// # Example
    /// ```
    /// data::tokenizer("the cat sat", #{ kind: "words", special: [], min_frequency: 1 }).size  //=> 3
    /// ```
    #[rhai_fn(global, get = "size", pure)]
    pub fn size(t: &mut Tokenizer) -> i64 {
        t.vocab().size() as i64
    }

    /// Returns the id of a text that is one token; the error for other texts says how they are split.
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

    /// Returns the ids of all tokens whose text, without leading space, begins with a text.
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

    /// Returns the kind of the tokenizer, its size, and the names of its tokens in the order of their ids.
    ///
    /// # Example
    /// ```
    /// data::tokenizer("the cat", #{ kind: "words", special: [], min_frequency: 1 }).to_map().tokens  //=> ["cat", "the"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(t: &mut Tokenizer) -> Fallible<Dynamic> {
        Ok(mapped(t)?)
    }
}
