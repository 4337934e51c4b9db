//! Baselines for language models: n-grams with the methods of a model, and compressors.

use std::sync::Arc;

use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};
use serde_json::{Value, json};

use super::tokenizer::documents;
use crate::base::{Card, Cell, Result, Table, Task, memory};
use crate::data::Text;
use crate::data::baselines::{self, Program};
use crate::err;
use crate::model::predict::{USUAL_COUNT, likeliest, table};
use crate::model::tokenizer::Tokenizer;
use crate::model::tokens::Tokens;
use crate::report::{Item, Screen};
use crate::script::env::env;
use crate::script::model::Model;
use crate::script::model::input::{Reads, texts};
use crate::script::options::options;
use crate::script::show::Handle;
use crate::script::value::{Any, Fallible, Given, Int, Options, given};
use crate::tensor::{Device, Tensor};

/// The default order of n-grams: with more, files grow and predictions hardly improve.
const ORDER: usize = 5;

/// The length of the rows that a text is read in.
const ROW: usize = 256;

/// An n-gram model with its tokenizer.
#[derive(Clone)]
pub struct Ngram {
    core: Arc<baselines::Ngram>,
    tokenizer: Tokenizer,
}

impl Reads for Ngram {
    fn tokenizer(&self) -> Result<&Tokenizer> {
        Ok(&self.tokenizer)
    }

    fn vocab(&self) -> usize {
        self.core.vocab()
    }

    fn context(&self) -> usize {
        ROW
    }
}

impl Ngram {
    fn card(&self) -> Card {
        let sizes = self.core.sizes().into_iter().zip(1..);
        let sizes = sizes.map(|(size, length)| (format!("different runs of {length}"), Cell::from(size)));
        let first: [(String, Cell); 2] =
            [("order".into(), self.core.order().into()), ("vocab".into(), self.core.vocab().into())];
        Card { title: self.short(), fields: first.into_iter().chain(sizes).collect(), ..Card::default() }
    }

    /// The log probabilities after each token of some rows: `[batch, pos, vocab]`. Shorter rows are padded with 0.
    fn logits(&self, rows: &[Vec<u32>], width: usize, task: &Task) -> Result<Tensor> {
        let vocab = self.core.vocab();
        let numbers = (rows.len() as u128) * (width as u128) * (vocab as u128);
        memory::check(numbers * size_of::<f32>() as u128, || "the predictions for all positions".into())?;
        let mut all = Vec::with_capacity(rows.len() * width * vocab);
        for row in rows {
            for end in 1..=row.len() {
                task.check()?;
                all.extend(self.core.logprobs(row.get(..end).unwrap_or_default())?);
            }
            all.resize(all.len() + (width - row.len()) * vocab, 0.0);
        }
        Ok(Tensor::from_vec(all, (rows.len(), width, vocab), &Device::Cpu)?)
    }
}

impl Handle for Ngram {
    const NAME: &'static str = "Ngram";

    fn short(&self) -> String {
        format!("n-gram model of order {}", self.core.order())
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.card().terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({ "order": self.core.order(), "vocab": self.core.vocab(), "sizes": self.core.sizes() }))
    }
}

/// A text to read: one of `data::text`, or strings.
pub fn text_of(text: &Dynamic) -> Result<Text> {
    match text.read_lock::<Text>() {
        Some(text) => Ok(text.clone()),
        None => Text::given(given("text", text).texts()?, Default::default()).map_err(|e| e.about("text")),
    }
}

/// The prediction after the last token of one text, or after another.
fn predicted(ctx: &NativeCallContext, n: &Ngram, x: &Dynamic, k: &Dynamic, map: Options) -> Result<Table> {
    let mut read = options(map);
    let position = read.get("pos", Given::integer)?.unwrap_or(-1);
    read.finish()?;
    let k = given("k", k).size()?;
    let input = texts(ctx, n, x)?;
    let [row] = input.batch.rows() else {
        let found = input.batch.rows().len();
        return Err(err!(Argument, "expected one text to predict from, found {found}").about("x"));
    };
    let length = row.len() as i64;
    let place = if position < 0 { position + length } else { position };
    let Some(context) = usize::try_from(place).ok().and_then(|place| row.get(..=place)) else {
        return Err(
            err!(Argument, "expected a position within the {length} tokens of the text, found {position}").about("pos")
        );
    };
    let logits = Tensor::from_vec(n.core.logprobs(context)?, (1, n.core.vocab()), &Device::Cpu)?;
    Ok(table(Some(&n.tokenizer), likeliest(&logits, -1, k)?))
}

#[export_module(manifest)]
pub mod functions {
    /// Fits an n-gram model to a text: one of `data::text`, a string or an array of strings.
    ///
    /// It predicts a token from the few before it by their counts: interpolated modified Kneser-Ney (Chen & Goodman
    /// 1999), the best of the methods that only count. The second argument is a model or a tokenizer, whose tokens are
    /// counted. Documents are separated by the tokenizer's EOS token.
    ///
    /// # Options
    /// - `order` = 5: tokens in an n-gram, the predicted one included; from 1 to 5
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "words", min_frequency: 1 });
    /// let n = data::ngram(["to be or not to be", "not to be"], t, #{ order: 2 });
    /// n.predict("or to", 1).to_map().rows[0][0]  //=> " be"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn ngram(ctx: NativeCallContext, text: Any, tokens_of: Any, options: Options) -> Fallible<Ngram> {
        let mut read = super::options(options);
        let order = read.size("order", super::ORDER)?;
        read.finish()?;
        let (tokenizer, vocab) = match (tokens_of.read_lock::<Model>(), tokens_of.read_lock::<Tokenizer>()) {
            (Some(model), _) => (model.tokenizer().map_err(|e| e.about("tokens_of"))?.clone(), model.config().vocab),
            (None, Some(tokenizer)) => (tokenizer.clone(), tokenizer.vocab().size()),
            (None, None) => return Err(given("tokens_of", &tokens_of).refuse("a model or a tokenizer").into()),
        };
        let text = super::text_of(&text)?;
        let core = baselines::Ngram::of_text(&text, &tokenizer, order, vocab, &env(&ctx)?.task)?;
        Ok(Ngram { core: core.into(), tokenizer })
    }

    /// Bits per byte of a text after compression: "gzip" or "xz", each at its strongest setting.
    ///
    /// `text` is one of `data::text`, a string or an array of strings.
    ///
    /// # Example
    /// ```
    /// let text = "";
    /// for line in 0..200 { text += "to be or not to be\n" }
    /// data::compressed(text, "gzip") < 0.3  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn compressed(ctx: NativeCallContext, text: Any, program: &str) -> Fallible<f64> {
        let env = env(&ctx)?;
        let program = Program::parse(program).map_err(|e| e.about("program"))?;
        let mut next = documents(&text, None, &env.task)?;
        Ok(baselines::bits_per_byte(&mut next, program, &env.task).map_err(|e| e.about("text"))?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// A text in the n-grams' tokens.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b a c", #{ kind: "words", special: [], min_frequency: 1 });
    /// data::ngram("a b a b a c", t).tokens("b a").ids  //=> [1, 0]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn tokens(ctx: NativeCallContext, n: &mut Ngram, text: &str) -> Fallible<Tokens> {
        Ok(n.tokenizer()?.encode(text, None, &env(&ctx)?.task).map_err(|e| e.about("text"))?)
    }

    /// The log probabilities of all tokens after each token: [batch, pos, vocab], like the logits of a model.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b a c", #{ kind: "words", special: [], min_frequency: 1 });
    /// data::ngram("a b a b a c", t).logits("a b").shape  //=> [1, 2, 3]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn logits(ctx: NativeCallContext, n: &mut Ngram, x: Any) -> Fallible<Tensor> {
        let input = texts(&ctx, n, &x)?;
        Ok(n.logits(input.batch.rows(), input.batch.width(), &env(&ctx)?.task)?)
    }

    /// The loss in nats of each token but the first: a tensor for a text, an array of them for several.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b a c", #{ kind: "words", special: [], min_frequency: 1 });
    /// data::ngram("a b a b a c", t).losses("a b a").shape  //=> [2]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn losses(ctx: NativeCallContext, n: &mut Ngram, x: Any) -> Fallible<Dynamic> {
        let input = texts(&ctx, n, &x)?;
        let task = &env(&ctx)?.task;
        let tensor = |row: &Vec<u32>| -> Result<Tensor> {
            let losses = n.core.losses(row, task)?;
            let count = losses.len();
            Ok(Tensor::from_vec(losses, count, &Device::Cpu)?)
        };
        let mut losses =
            input.batch.rows().iter().map(tensor).collect::<Result<Vec<_>>>()?.into_iter().map(Dynamic::from);
        Ok(if input.several { losses.collect::<Array>().into() } else { losses.next().unwrap_or_default() })
    }

    /// The `k` most likely next tokens after a text, with their probabilities and logits; 5 by default.
    ///
    /// # Options
    /// - `pos` = -1: the position whose next token is predicted; negative ones count from the end
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b a c", #{ kind: "words", special: [], min_frequency: 1 });
    /// data::ngram("a b a b a b a c", t, #{ order: 2 }).predict("c a", 1).to_map().rows[0][0]  //=> " b"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn predict(ctx: NativeCallContext, n: &mut Ngram, x: Any) -> Fallible<Table> {
        let few = USUAL_COUNT.min(n.core.vocab());
        Ok(super::predicted(&ctx, n, &x, &(few as i64).into(), Options::new())?)
    }

    #[rhai_fn(global, name = "predict", pure, return_raw)]
    pub fn predict_some(ctx: NativeCallContext, n: &mut Ngram, x: Any, k: Int) -> Fallible<Table> {
        Ok(super::predicted(&ctx, n, &x, &k, Options::new())?)
    }

    #[rhai_fn(global, name = "predict", pure, return_raw)]
    pub fn predict_with(ctx: NativeCallContext, n: &mut Ngram, x: Any, k: Int, options: Options) -> Fallible<Table> {
        Ok(super::predicted(&ctx, n, &x, &k, options)?)
    }

    /// The n-grams' bits per byte on a text: `sum of -log2 p / bytes`, each document from its beginning.
    ///
    /// `text` is one of `data::text`, with its option `tokens`, a string or an array of strings.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b a c", #{ kind: "words", min_frequency: 1 });
    /// data::ngram("a b a b a c", t).bits_per_byte("a b a") < 1.0  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn bits_per_byte(ctx: NativeCallContext, n: &mut Ngram, text: Any) -> Fallible<f64> {
        let text = super::text_of(&text)?;
        Ok(n.core.bits(&text, &n.tokenizer, &env(&ctx)?.task).map_err(|e| e.about("text"))?.per_byte())
    }
}
