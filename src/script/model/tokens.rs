//! Tokenized texts: `m.tokens(text)` and its parts, and back to text.

use super::input::{one_in_tokens, one_text};
use crate::report::visible_text::elided;
use crate::script::engine::value;
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::tokenizer::tokens::{Tokens, TokensOptions};

impl Handle for Tokens {
    const NAME: &'static str = "Tokens";

    fn short(&self) -> String {
        let added = match self.front + self.back {
            0 => String::new(),
            added => format!(", {added} added"),
        };
        format!("{}{added}: {:?}", count(self.len(), "token"), elided(&visible(&self.text), 40))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        table(self)?.terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let offsets: Vec<[usize; 2]> = self.offsets.iter().map(|range| [range.start, range.end]).collect();
        Ok(json!({
            "text": self.text,
            "ids": self.ids,
            "strings": self.strings()?,
            "offsets": offsets,
            "front": self.front,
            "back": self.back,
        }))
    }

    fn item(&self) -> Result<Option<Rc<dyn Item>>> {
        Ok(Some(Rc::new(table(self)?)))
    }
}

/// Returns a table with a row for each token; tokens that were added to the text are marked.
pub fn table(tokens: &Tokens) -> Result<Table> {
    let strings = tokens.strings()?;
    let row = |(at, (id, string)): (usize, (&u32, String))| -> Vec<Cell> {
        let added = tokens.is_added(at).then_some("added");
        vec![at.into(), (*id).into(), format!("{string:?}").into(), added.into()]
    };
    let mut columns: Vec<String> = ["pos", "id", "token", ""].map(String::from).into();
    let mut rows: Vec<Vec<Cell>> = tokens.ids.iter().zip(strings).enumerate().map(row).collect();
    if tokens.front + tokens.back == 0 {
        columns.pop();
        rows.iter_mut().for_each(|row| row.truncate(3));
    }
    Ok(Table { title: String::new(), columns, rows })
}

fn numbers(numbers: impl IntoIterator<Item = usize>) -> Dynamic {
    numbers.into_iter().map(|n| Dynamic::from(n as i64)).collect::<Array>().into()
}

#[export_module(manifest)]
pub mod methods {
    /// Tokenizes a text: the ids, the text of each token, and its place in the text. Ids are taken as they are, an array or
    /// a tensor, and the text is what they make.
    ///
    /// Special tokens are added only by the tokenizer's own rule or by `bos`, and are marked where tokens are shown. All
    /// calls that read tokens accept strings and ids, too.
    ///
    /// # Options
    /// - [tokens]
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// m.tokens("the cat sat").ids  //=> [0, 1, 2]
    /// m.tokens([2, 0]).strings  //=> [" sat", " the"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn tokens(ctx: NativeCallContext, m: &mut Model, text: Any, options: Options) -> Fallible<Tokens> {
        let TokensOptions { bos } = taken(options)?;
        Ok(one_in_tokens(&ctx, m, "text", &text, bos)?)
    }

    /// Returns the text of each token of a text, of ids or of a tensor of ids: `m.tokens(x).strings`.
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// m.token_texts([2, 0])  //=> [" sat", " the"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn token_texts(ctx: NativeCallContext, m: &mut Model, text: Any) -> Fallible<Array> {
        let tokens = one_in_tokens(&ctx, m, "text", &text, None)?;
        Ok(tokens.strings()?.into_iter().map(Dynamic::from).collect())
    }

    /// Messages as the model was trained to read them: the chat template of its tokenizer, filled in. The result has the
    /// special tokens that the template names, so calls that read tokens add none.
    ///
    /// Each message is a map with `role` and `content`, and what else the template reads. Fields come in alphabetical order
    /// where a template writes a map as JSON.
    ///
    /// # Options
    /// - [chat]
    ///
    /// # Example
    /// ```
    /// let words = ["hello", "user", "assistant"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// let template = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}{% if add_generation_prompt %}assistant{% endif %}";
    /// m.chat([#{ role: "user", content: "hello" }], #{ template: template, answer: true }).text  //=> "user hello assistant"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn chat(ctx: NativeCallContext, m: &mut Model, messages: Array, options: Options) -> Fallible<Tokens> {
        let task = &env(&ctx)?.task;
        let messages = value::json(&messages.into(), task).map_err(|e| e.about("messages"))?;
        Ok(m.plain().chat(messages, &taken(options)?, task)?)
    }

    /// Returns the text that tokens make; special ones are shown.
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// m.text([0, 2])  //=> "the sat"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn text(ctx: NativeCallContext, m: &mut Model, tokens: Any) -> Fallible<String> {
        let ids = one_text(&ctx, m, "tokens", &tokens)?;
        Ok(m.tokenizer()?.decode(&ids).map_err(|e| e.about("tokens"))?)
    }

    /// Returns the id of a text that is one token; for a text of several tokens, the error shows how it is split.
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// m.token(" cat")  //=> 1
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn token(ctx: NativeCallContext, m: &mut Model, text: &str) -> Fallible<i64> {
        Ok(i64::from(m.tokenizer()?.token(text, &env(&ctx)?.task).map_err(|e| e.about("text"))?))
    }

    /// Returns the ids of all tokens whose text, without its leading space, begins with a text.
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "cats"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// m.token_set("cat")  //=> [1, 2]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn token_set(m: &mut Model, text: &str) -> Fallible<Array> {
        let ids = m.tokenizer()?.token_set(text).map_err(|e| e.about("text"))?;
        Ok(ids.into_iter().map(|id| Dynamic::from(i64::from(id))).collect())
    }
}

#[export_module(manifest)]
pub mod parts {
    /// Returns the ids of the tokens.
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// m.tokens("cat sat").ids  //=> [1, 2]
    /// ```
    #[rhai_fn(global, get = "ids", pure)]
    pub fn ids(tokens: &mut Tokens) -> Dynamic {
        super::numbers(tokens.ids.iter().map(|id| *id as usize))
    }

    /// Returns the text of each token; incomplete bytes of a character are written as `<0xE2>`.
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// m.tokens("cat sat").strings  //=> [" cat", " sat"]
    /// ```
    #[rhai_fn(global, get = "strings", pure, return_raw)]
    pub fn strings(tokens: &mut Tokens) -> Fallible<Array> {
        Ok(tokens.strings()?.into_iter().map(Dynamic::from).collect())
    }

    /// Returns the place of each token in the text, as [start, end] in bytes; added tokens have an empty range.
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// m.tokens("cat sat").offsets  //=> [[0, 3], [4, 7]]
    /// ```
    #[rhai_fn(global, get = "offsets", pure)]
    pub fn offsets(tokens: &mut Tokens) -> Array {
        tokens.offsets.iter().map(|range| super::numbers([range.start, range.end])).collect()
    }

    /// Tells for each token whether it was added to the text, such as BOS.
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// m.tokens("cat sat").added  //=> [false, false]
    /// ```
    #[rhai_fn(global, get = "added", pure)]
    pub fn added(tokens: &mut Tokens) -> Array {
        (0..tokens.len()).map(|at| Dynamic::from(tokens.is_added(at))).collect()
    }

    /// Returns the text that was tokenized.
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// m.tokens("cat sat").text  //=> "cat sat"
    /// ```
    #[rhai_fn(global, get = "text", pure)]
    pub fn text(tokens: &mut Tokens) -> String {
        tokens.text.clone()
    }

    /// Returns the number of tokens.
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// m.tokens("cat sat").len  //=> 2
    /// ```
    #[rhai_fn(global, get = "len", pure)]
    pub fn len(tokens: &mut Tokens) -> i64 {
        tokens.ids.len() as i64
    }

    /// Finds the positions of a word: its first and last token, for each occurrence in the text.
    ///
    /// A part of a word is found, too, in the tokens that share a byte with it.
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// m.tokens("the cat sat the").positions("the")  //=> [[0, 0], [3, 3]]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn positions(tokens: &mut Tokens, word: &str) -> Fallible<Array> {
        let places = tokens.positions(word).map_err(|e| e.about("word"))?;
        Ok(places.into_iter().map(|(first, last)| super::numbers([first, last])).collect())
    }

    /// Returns the text, the ids, their strings and offsets, and how many tokens were added in front and behind, as a
    /// map.
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// m.tokens("cat").to_map().ids  //=> [1]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(tokens: &mut Tokens) -> Fallible<Dynamic> {
        Ok(mapped(tokens)?)
    }
}
