//! `diff::mine`: tokens whose logits rise, and groups of them, and their result.

use super::{names, rows};
use crate::diff::{DiffText, MinedTokens as Core, MiningOptions, ModelPair, mine as mined};
use crate::script::model::prelude::*;

/// The number of tokens that are shown.
const SHOWN: usize = 20;
/// The number of tokens of each topic that are shown.
const SHOWN_OF_TOPIC: usize = 5;

/// Tokens whose logits rise from one model to another.
#[derive(Clone)]
pub struct MinedTokens {
    core: Rc<Core>,
    base: Model,
}

impl Handle for MinedTokens {
    const NAME: &'static str = "MinedTokens";

    fn short(&self) -> String {
        let topics = count(self.core.topics.len(), "topic");
        format!("tokens that rise at {}, {topics}", count(self.core.positions, "position"))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        let name = names(&self.base);
        let tokens = self.core.table(SHOWN, &name).terminal(screen)?;
        if self.core.topics.is_empty() {
            return Ok(tokens);
        }
        Ok(format!("{tokens}\n{}", self.core.topic_table(SHOWN_OF_TOPIC, &name).terminal(screen)?))
    }

    fn json(&self) -> Result<Value> {
        let name = names(&self.base);
        Ok(json!({
            "positions": self.core.positions,
            "top": self.core.top,
            "unexplained": number(self.core.unexplained),
            "tokens": self.core.table(SHOWN, &name).data()?,
            "topics": self.core.topic_table(SHOWN_OF_TOPIC, &name).data()?,
        }))
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Finds tokens whose logits rise from the base to the tuned model over a text: diff mining.
    ///
    /// At each position the `top` tokens that rise most count, where a rise is that of the logit less the mean rise of all
    /// tokens there. `d.tokens(20)` are those that count most often: what the tuned model is inclined to say on any text.
    /// The rises of the counted tokens, positions by tokens, are factorised into `topics` (nonnegative, by least squares),
    /// tokens that rise together: `d.topics(10)`, and where, `d.contexts(0, 10)`.
    ///
    /// # Options
    /// - [diff_mine]
    /// - [diff_text]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[3, 3, 3, 3, 3]], #{ steps: 60, lr: 0.02, lora: #{ rank: 4 } });
    /// let d = diff::mine(m, tuned, [[5, 6, 7], [8, 9]], #{ top: 2, topics: 1, seed: 1 });
    /// d  //=> tokens that rise at 5 positions, 1 topic
    /// d.tokens(3).len  //=> 3
    /// ```
    #[rhai_fn(return_raw)]
    pub fn mine(
        ctx: NativeCallContext,
        base: Model,
        tuned: Model,
        text: Any,
        options: Options,
    ) -> Fallible<MinedTokens> {
        let env = env(&ctx)?;
        let (options, extent) = taken_both::<MiningOptions, DiffText>(options)?;
        let rows = rows(&ctx, &base, &tuned, &text, &extent)?;
        let pair = ModelPair::new(base.core(), tuned.core())?;
        // Without topics nothing is drawn.
        let seed = if options.topics == 0 { Seed::of(0) } else { options.seed.seed };
        let found =
            env.drawing(&ctx, "diff::mine", seed, |seed| mined(pair, &rows, &options, seed.draws(), &env.task))?;
        Ok(MinedTokens { core: Rc::new(found), base })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Tabulates the `n` tokens that are most often among those that rise most: the share of positions, the mean rise of
    /// the logit over all positions, and the share of positions at which it rises.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let d = diff::mine(m, m, [[5, 6, 7]], #{ top: 2 });
    /// d.tokens(1).columns  //=> ["token", "among the top", "mean rise", "rises"]
    /// d.tokens(1)["among the top"]  //=> [0.0]
    /// ```
    #[rhai_fn(global, name = "tokens", pure, return_raw)]
    pub fn mined_tokens(found: &mut MinedTokens, n: Int) -> Fallible<Table> {
        Ok(found.core.table(given("n", &n).size()?, &names(&found.base)))
    }

    /// Returns the mean rise of the logit of every token of the vocabulary: [vocab].
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::mine(m, m, [[5, 6, 7]], #{ top: 2 }).rises.sum()  //=> 0.0
    /// ```
    #[rhai_fn(global, get = "rises", pure, return_raw)]
    pub fn mined_rises(found: &mut MinedTokens) -> Fallible<Tensor> {
        let means: Vec<f64> = found.core.tokens.iter().map(|token| token.mean).collect();
        Ok(Tensor::new(means.as_slice(), &Device::Cpu).map_err(crate::base::Error::from)?)
    }

    /// Returns the share of the squared rises that topics leave out; 1 without topics.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::mine(m, m, [[5, 6, 7]], #{ top: 2 }).unexplained  //=> 1.0
    /// ```
    #[rhai_fn(global, get = "unexplained", pure)]
    pub fn mined_unexplained(found: &mut MinedTokens) -> f64 {
        found.core.unexplained
    }

    /// Tabulates the `n` tokens with the largest weights of each topic, those topics first that explain most: the share of
    /// the topic in what is explained, and the share of positions at which it is the largest.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[3, 3, 3, 3, 3]], #{ steps: 60, lr: 0.02, lora: #{ rank: 4 } });
    /// diff::mine(m, tuned, [[5, 6, 7], [8, 9]], #{ top: 2, topics: 1, seed: 1 }).topics(1)["share"]  //=> [1.0]
    /// ```
    #[rhai_fn(global, name = "topics", pure, return_raw)]
    pub fn mined_topics(found: &mut MinedTokens, n: Int) -> Fallible<Table> {
        Ok(found.core.topic_table(given("n", &n).size()?, &names(&found.base)))
    }

    /// Tabulates the `n` positions at which a topic is strongest, at most 50, each with the rise that it explains there.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[3, 3, 3, 3, 3]], #{ steps: 60, lr: 0.02, lora: #{ rank: 4 } });
    /// let d = diff::mine(m, tuned, [[5, 6, 7], [8, 9]], #{ top: 2, topics: 1, seed: 1 });
    /// d.contexts(0, 2).columns  //=> ["rise", "context", "row", "position"]
    /// ```
    #[rhai_fn(global, name = "contexts", pure, return_raw)]
    pub fn mined_contexts(found: &mut MinedTokens, topic: Int, n: Int) -> Fallible<Table> {
        let topic = given("topic", &topic).size()?;
        Ok(found.core.contexts(topic, given("n", &n).size()?, &names(&found.base))?)
    }

    /// Returns what was mined as a map: tokens, topics, and the share that topics leave out.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// diff::mine(m, m, [[5, 6, 7]], #{ top: 2 }).to_map().positions  //=> 3
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn mined_map(found: &mut MinedTokens) -> Fallible<Dynamic> {
        Ok(mapped(found)?)
    }
}
