//! Baselines for language models: n-grams, which have the methods of a model, and compressors.

use super::text::text_of;
use super::tokenizer::tokenizer_of;
use crate::data::baselines::{self, NgramOptions, NgramPredictOptions, Program};
use crate::model::padding::stacked;
use crate::model::predict::{USUAL_COUNT, table};
use crate::options::chosen;
use crate::script::model::input::ReadsTokens;
use crate::script::model::prelude::*;
use crate::tokenizer::Tokenizer;

/// Tokens in the rows that a text is read in.
const ROW: usize = 256;

/// An n-gram model with its tokenizer.
#[derive(Clone)]
pub struct Ngram {
    core: Arc<baselines::Ngram>,
    tokenizer: Tokenizer,
}

impl ReadsTokens for Ngram {
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
        let first = [("order".to_string(), self.core.order().into()), ("vocab".into(), self.core.vocab().into())];
        Card::new(self.short(), first.into_iter().chain(sizes))
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

/// Returns the most likely next tokens after one text.
fn predicted(ctx: &NativeCallContext, n: &Ngram, x: &Dynamic, k: &Dynamic, map: Options) -> Result<Table> {
    let options: NgramPredictOptions = taken(map)?;
    let k = given("k", k).size()?;
    let input = texts(ctx, n, x)?;
    let [row] = input.batch.rows() else {
        let found = input.batch.rows().len();
        return Err(err!(Argument, "expected one text to predict from, found {found}").about("x"));
    };
    Ok(table(Some(&n.tokenizer), n.core.predict(row, &options, k).map_err(|e| e.about("k"))?))
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
    /// - [ngram]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "words", min_frequency: 1 });
    /// let n = data::ngram(["to be or not to be", "not to be"], t, #{ order: 2 });
    /// n.predict("or to", 1).to_map().rows[0][0]  //=> " be"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn ngram(ctx: NativeCallContext, text: Any, tokens_of: Any, options: Options) -> Fallible<Ngram> {
        let options: NgramOptions = taken(options)?;
        let (tokenizer, model) = tokenizer_of("tokens_of", &tokens_of)?;
        let vocab = model.map_or(tokenizer.vocab().size(), |model| model.config().vocab);
        let core = baselines::Ngram::of_text(&text_of(&text)?, &tokenizer, options.order, vocab, &env(&ctx)?.task)?;
        Ok(Ngram { core: core.into(), tokenizer })
    }

    /// Returns the bits per byte of a text after compression: "gzip" or "xz", each at its strongest setting.
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
        let program = chosen::<Program>("program", program)?;
        let text = text_of(&text)?;
        Ok(baselines::bits_per_byte(&text, program, &env(&ctx)?.task).map_err(|e| e.about("text"))?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Splits a text into the n-grams' tokens.
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

    /// Returns the log probabilities of all tokens after each token: [batch, pos, vocab], like the logits of a model.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b a c", #{ kind: "words", special: [], min_frequency: 1 });
    /// data::ngram("a b a b a c", t).logits("a b").shape  //=> [1, 2, 3]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn logits(ctx: NativeCallContext, n: &mut Ngram, x: Any) -> Fallible<Tensor> {
        let input = texts(&ctx, n, &x)?;
        Ok(n.core.logits(input.batch.rows(), input.batch.width(), &env(&ctx)?.task)?)
    }

    /// Returns the loss in nats of each token but the first: [pos - 1] for a text, [batch, pos - 1] for several, with
    /// NaN after the end of shorter ones.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b a c", #{ kind: "words", special: [], min_frequency: 1 });
    /// data::ngram("a b a b a c", t).losses("a b a").shape  //=> [2]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn losses(ctx: NativeCallContext, n: &mut Ngram, x: Any) -> Fallible<Tensor> {
        let input = texts(&ctx, n, &x)?;
        let task = &env(&ctx)?.task;
        let tensor = |row: &Vec<u32>| -> Result<Tensor> {
            let losses = n.core.losses(row, task)?;
            let count = losses.len();
            Ok(Tensor::from_vec(losses, count, &Device::Cpu)?)
        };
        let losses = stacked(&input.batch.rows().iter().map(tensor).collect::<Result<Vec<_>>>()?)?;
        Ok(if input.several { losses } else { losses.squeeze(0).map_err(Error::from)? })
    }

    /// Returns the `k` most likely next tokens after a text, with their probabilities and logits; 5 by default.
    ///
    /// # Options
    /// - [ngram_predict]
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

    /// Returns the n-grams' bits per byte on a text: `sum of -log2 p / bytes`, each document from its beginning.
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
        let text = text_of(&text)?;
        Ok(n.core.bits(&text, &n.tokenizer, &env(&ctx)?.task).map_err(|e| e.about("text"))?.per_byte())
    }
}
