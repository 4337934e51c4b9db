//! `intervene::sentences`, `intervene::receiver_heads` and `intervene::anchors`.

use crate::intervene::sentences::{
    self as core, AnchorFunctions, AnchorOptions, Answers, ReceiverOptions, SentenceOptions,
};
use crate::report::picture::Picture;
use crate::script::model::input::one_in_tokens;
use crate::script::model::prelude::*;
use crate::tensor::floats;

/// The sentences of a text as scripts hold them.
#[derive(Clone)]
pub struct Sentences(Rc<core::Sentences>);

handle_setting!(Embedding(FnPtr), "a function of a text that gives numbers", |function| function.fn_name().into());

crate::options! {
    /// A call of thought anchors.
    #[derive(Clone)]
    pub struct AnchorCall {
        /// A function |text| that gives the embedding of a sentence, an array or a tensor of numbers.
        embedding: Option<Embedding> = None => usually("the number of times that each word occurs");
        with anchors: AnchorOptions;
    }
}

impl Item for Sentences {
    fn kind(&self) -> &'static str {
        "sentences"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        self.0.table().terminal(screen)
    }

    fn html(&self) -> Result<String> {
        let grids = [self.0.suppression().html()?, self.0.vertical().html()?];
        Ok([self.0.table().html()?, grids.concat(), self.0.head_table().html()?].concat())
    }

    fn data(&self) -> Result<Value> {
        Ok(json!({
            "sentences": self.0.table().data()?,
            "suppression": self.0.suppression().data()?,
            "log_kl": self.0.log_kl().data()?,
            "vertical": self.0.vertical().data()?,
            "heads": self.0.head_table().data()?,
        }))
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        Some(Box::new(Chart::heat(self.0.suppression())))
    }
}

handle!(Sentences, "Sentences", |found| {
    format!("{}, {}", count(found.0.len(), "sentence"), count(found.0.receivers.len(), "receiver head"))
});

/// Reads the answer that a function of the script found.
fn answer(found: &Dynamic) -> Result<Option<String>> {
    if found.is_unit() {
        return Ok(None);
    }
    match found.read_lock::<rhai::ImmutableString>() {
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => Ok(Some(text.to_string())),
        None => Err(err!(
            Argument,
            "expected a text, or () for none, from the function of answers, found {}",
            described(found)
        )
        .about("answers")),
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Reads how the sentences of a text depend on each other (thought anchors; Bogdan et al. 2025): what later ones
    /// predict when attention to an earlier one is suppressed, and which ones many later ones attend to.
    ///
    /// A sentence ends with `.`, `?` or `!` before a space or the end of a line, or at a blank line; one of less than ten
    /// characters is a part of the next. For each sentence no query of the text attends to its tokens, in any layer or
    /// head; the effect on a later one is the mean over its tokens of ln(KL(p || q) + 1e-9), of what is predicted after
    /// the token with the sentence (p) and without, over all tokens of the vocabulary. In `suppression` the mean of each
    /// row is taken off.
    ///
    /// The vertical score of a sentence is the mean attention that a head pays to it from the sentences at least `apart`
    /// places behind it. Receiver heads are those whose vertical scores have the largest kurtosis: they attend to few
    /// sentences. The fewer sentences, the less it says: read heads from several texts with `intervene::receiver_heads`.
    ///
    /// Encoders and models with recurrent layers are refused, and hooks that a model keeps of scores or patterns.
    ///
    /// # Options
    /// - [sentences]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = "Ann and Hugo went to the inn. It was late in the year. Hugo gave a lantern to Ann.";
    /// let found = intervene::sentences(m, text, #{ apart: 1 });
    /// found  //=> 3 sentences, 20 receiver heads
    /// found.table["text"][1]  //=> "It was late in the year."
    /// ```
    #[rhai_fn(name = "sentences", return_raw)]
    pub fn sentences_of(ctx: NativeCallContext, m: Model, text: Any, options: Options) -> Fallible<Sentences> {
        let options: SentenceOptions = taken(options)?;
        let text = one_in_tokens(&ctx, &m, "text", &text, None)?;
        Ok(Sentences(Rc::new(core::sentences(m.core(), &text, &options, &env(&ctx)?.task)?)))
    }

    /// Finds receiver heads on several texts: the heads whose vertical scores have the largest kurtosis, the mean over
    /// texts (see `intervene::sentences`, whose option `receivers` takes their names).
    ///
    /// # Options
    /// - [receiver_heads]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = "The boat was old. The sea was calm. A gull cried. The crew slept. At dawn they left.";
    /// let heads = intervene::receiver_heads(m, [text, text], #{ heads: 3, apart: 1 });
    /// heads.len  //=> 3
    /// intervene::sentences(m, text, #{ apart: 1, receivers: heads["head"] })  //=> 5 sentences, 3 receiver heads
    /// ```
    #[rhai_fn(return_raw)]
    pub fn receiver_heads(ctx: NativeCallContext, m: Model, texts: Array, options: Options) -> Fallible<Table> {
        let options: ReceiverOptions = taken(options)?;
        let read = |text: &Dynamic| one_in_tokens(&ctx, &m, "texts", text, None);
        let texts = texts.iter().map(read).collect::<Result<Vec<Tokens>>>()?;
        Ok(core::receiver_heads(m.core(), &texts, &options, &env(&ctx)?.task)?)
    }

    /// Finds thought anchors: sentences without which the answer would be another one (Bogdan et al. 2025). Each is
    /// written anew by the model, with all that follows, and the answers of these rollouts are compared.
    ///
    /// `answers` is an array of texts, of which the one that a rollout says first is its answer, or a function |text| of
    /// what the model wrote that returns a text, or () for none. With `ending`, such as "\nThe answer is", that text is
    /// put behind the rollout, and the answer is read from what the model writes next.
    ///
    /// The table has a row for each sentence. `counterfactual` is its importance KL(P || Q) in nats: P is the
    /// distribution of the answers of the rollouts that begin with another sentence, of which there are `differ` of `n`,
    /// and Q that of the rollouts from behind the sentence and of those that said the same again. Another one is one whose
    /// similarity to the sentence, the cosine of their embeddings, is below `similarity`. 1 is added to each count. `low`
    /// and `high` are the 95 % bootstrap interval over rollouts; `chance` is the importance with the answers shuffled
    /// among the two, its mean, and `p` the share of shuffles that have at least as much. `resampling` is KL of all
    /// rollouts from before the sentence and all from behind it. `without` and `with` are the most frequent answers.
    ///
    /// An estimate of KL from few rollouts is too high, as `chance` shows, and so is its interval.
    ///
    /// # Options
    /// - [anchors]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = "Ann and Hugo went to the inn. It was late in the year.";
    /// let options = #{ rollouts: 4, tokens: 8, ending: " Hugo gave a lantern to", answer_tokens: 2, only: [1], seed: 1 };
    /// let found = intervene::anchors(m, text, ["Ann", "Hugo"], options);
    /// found["n"]  //=> [4]
    /// intervene::anchors(m, text, |said| said.sub_string(0, 2), options)["sentence"]  //=> [1]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn anchors(ctx: NativeCallContext, m: Model, text: Any, answers: Any, options: Options) -> Fallible<Table> {
        let env = env(&ctx)?;
        let AnchorCall { embedding, anchors: options } = taken(options)?;
        let text = one_in_tokens(&ctx, &m, "text", &text, None)?;
        let calls = Callbacks::new(&ctx);
        let mut embed = |sentence: &str| {
            let function = embedding.as_ref().ok_or_else(|| err!(Bug, "an embedding without its function"))?;
            let found = calls.call(&function.0, [sentence.to_string().into()])?;
            floats(&values("embedding", &found)?.flatten_all()?)
        };
        let function = answers.read_lock::<FnPtr>().map(|function| function.clone());
        let texts = match &function {
            Some(_) => Vec::new(),
            None => given("answers", &answers).texts()?,
        };
        let mut by = |said: &str| {
            let function = function.as_ref().ok_or_else(|| err!(Bug, "answers without their function"))?;
            super::answer(&calls.call(function, [said.to_string().into()])?)
        };
        env.drawing(&ctx, "intervene::anchors", options.seed, |seed| {
            let functions = AnchorFunctions {
                answers: if function.is_some() { Answers::By(&mut by) } else { Answers::Among(&texts) },
                embedding: if embedding.is_some() { Some(&mut embed) } else { None },
            };
            let options = AnchorOptions { seed, ..options.clone() };
            calls.outcome(core::anchors(m.core(), &text, functions, &options, &env.task))
        })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Tabulates the sentences of a text: the mean effect of suppressing each on all later ones, and the mean attention
    /// that it receives from receiver heads.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = "The boat was old. The sea was calm. A gull cried. The crew slept. At dawn they left.";
    /// intervene::sentences(m, text).table["sentence"]  //=> [0, 1, 2, 3, 4]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn sentence_table(found: &mut Sentences) -> Table {
        found.0.table()
    }

    /// Returns how far the predictions in each sentence (row) depend on each earlier one (column): the mean of ln KL without
    /// attention to it, less the mean of the row.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = "The boat was old. The sea was calm. A gull cried. The crew slept. At dawn they left.";
    /// intervene::sentences(m, text).suppression.tensor.shape  //=> [5, 5]
    /// ```
    #[rhai_fn(global, get = "suppression", pure)]
    pub fn sentence_suppression(found: &mut Sentences) -> Grid {
        found.0.suppression()
    }

    /// Returns the mean of ln(KL + 1e-9) over the tokens of each sentence (row) without attention to each earlier one
    /// (column).
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = "The boat was old. The sea was calm. A gull cried. The crew slept. At dawn they left.";
    /// intervene::sentences(m, text).log_kl.tensor.shape  //=> [5, 5]
    /// ```
    #[rhai_fn(global, get = "log_kl", pure)]
    pub fn sentence_log_kl(found: &mut Sentences) -> Grid {
        found.0.log_kl()
    }

    /// Returns the vertical scores of the receiver heads: the mean attention of later sentences to each sentence.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = "The boat was old. The sea was calm. A gull cried. The crew slept. At dawn they left.";
    /// intervene::sentences(m, text, #{ apart: 1, heads: 2 }).vertical.tensor.shape  //=> [2, 5]
    /// ```
    #[rhai_fn(global, get = "vertical", pure)]
    pub fn sentence_vertical(found: &mut Sentences) -> Grid {
        found.0.vertical()
    }

    /// Tabulates all heads by the kurtosis of their vertical scores, the largest first.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = "The boat was old. The sea was calm. A gull cried. The crew slept. At dawn they left.";
    /// intervene::sentences(m, text, #{ apart: 1, heads: 2 }).heads["receiver"].extract(0, 3)  //=> [true, true, false]
    /// ```
    #[rhai_fn(global, get = "heads", pure)]
    pub fn sentence_heads(found: &mut Sentences) -> Table {
        found.0.head_table()
    }

    /// Saves the sentences as .html, .json, .txt, .svg, .png or .pdf, by the ending of the name. Returns the path of the
    /// file.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = "The boat was old. The sea was calm. A gull cried. The crew slept. At dawn they left.";
    /// intervene::sentences(m, text).save("doc/sentences.json").ends_with("sentences.json")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_sentences(ctx: NativeCallContext, found: &mut Sentences, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, found, path)?)
    }

    /// Returns the sentences, the effects of suppression, the vertical scores and the heads as a map.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = "The boat was old. The sea was calm. A gull cried. The crew slept. At dawn they left.";
    /// intervene::sentences(m, text).to_map().sentences.rows.len()  //=> 5
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn sentence_map(found: &mut Sentences) -> Fallible<Dynamic> {
        Ok(mapped(found)?)
    }
}
