//! `features::explain`, `features::score` and `features::interpretability`: explanations of features, and how well they
//! say where the features are active.

use super::feature_argument::features;
use super::person::Person;
use crate::features::FeatureList;
use crate::features::explain::{self, Answerer, ExplainOptions, Method, ModelAnswerer, ScoreOptions};
use crate::questions::Answers;
use crate::script::engine::value::handle;
use crate::script::model::Endpoint;
use crate::script::model::prelude::*;

/// The explanation of a feature, as scripts hold it.
#[derive(Debug, Clone)]
pub struct Explanation(explain::Explanation);

impl Handle for Explanation {
    const NAME: &'static str = "Explanation";

    fn short(&self) -> String {
        if self.0.text.is_empty() { "no explanation".into() } else { format!("explanation {:?}", self.0.text) }
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({ "text": self.0.text, "by_rules": self.0.rule.is_some() }))
    }
}

/// The explainer or judge of features: a language model or a person.
#[derive(Clone)]
pub enum AnswerSource {
    Endpoint(Endpoint),
    Model(Model),
    Person,
}

impl Setting for AnswerSource {
    fn wanted() -> String {
        "a language model of `model::endpoint` or `model::load`, or \"person\"".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        if matches!(value, Plain::Text(word) if word == "person") {
            return Some(Self::Person);
        }
        let endpoint = handle(value).map(Self::Endpoint);
        endpoint.or_else(|| handle(value).map(Self::Model))
    }

    fn written(&self) -> String {
        match self {
            Self::Endpoint(endpoint) => endpoint.short(),
            Self::Model(model) => model.short(),
            Self::Person => "\"person\"".into(),
        }
    }
}

impl AnswerSource {
    /// Runs `work` with what answers questions.
    pub fn asked<T>(&self, env: &Env, work: impl FnOnce(&dyn Answers) -> Result<T>) -> Result<T> {
        match self {
            Self::Endpoint(endpoint) => work(&endpoint.connected(env)?),
            Self::Model(model) => work(&ModelAnswerer(model.core())),
            Self::Person => work(&Person::at_prompt(env)?),
        }
    }
}

/// Runs `work` with the explainer or judge; with rules where there is none.
fn with<T>(asked: Option<&AnswerSource>, env: &Env, work: impl FnOnce(Answerer) -> Result<T>) -> Result<T> {
    match asked {
        None => work(Answerer::Rules),
        Some(source) => source.asked(env, |answers| work(Answerer::Words(answers))),
    }
}

crate::options! {
    /// Options of the explainer.
    #[derive(Clone)]
    pub struct ExplainerOptions {
        /// Explainer of features: a language model of `model::endpoint` or `model::load`, or "person", who sits at the
        /// prompt.
        explainer: Option<AnswerSource> = None => usually("rules, as `features::describe` finds them");
    }

    /// Options of the judge.
    #[derive(Clone)]
    pub struct JudgeOptions {
        /// Simulator and judge of explanations: a language model of `model::endpoint` or `model::load`, or "person",
        /// for detection and fuzzing, who sits at the prompt.
        judge: Option<AnswerSource> = None => usually("rules, which read explanations made by rules alone");
    }
}

impl JudgeOptions {
    /// Refuses simulation by a person: nobody types a number for each of 640 tokens.
    fn check(&self, method: Method) -> Result<()> {
        match (&self.judge, method) {
            (Some(AnswerSource::Person), Method::Simulation) => {
                Err(err!(Argument, "expected a language model to simulate codes, found a person")
                    .hint("a person judges with #{ method: \"detection\" } or \"fuzzing\"")
                    .about("judge"))
            }
            _ => Ok(()),
        }
    }
}

/// Reads one explanation or an array of them, where words stand for themselves.
fn explanations(given: &GivenValue) -> Result<Vec<explain::Explanation>> {
    let explanation = |element: &GivenValue| match (element.handle::<Explanation>(), element.text()) {
        (Some(found), _) => Ok(found.0),
        (None, Ok(words)) => Ok(explain::Explanation::in_words(&words)),
        _ => Err(element.refuse("an explanation of `features::explain`, a string, or an array of such")),
    };
    given.elements().iter().map(explanation).collect()
}

/// Reads the groups of features, by their names.
fn groups(map: &GivenValue) -> Result<Vec<(String, FeatureList)>> {
    let map = map.map().map_err(|_| map.refuse("a map of arrays of features by their names"))?;
    if map.is_empty() {
        return Err(err!(Argument, "expected at least one group of features, found an empty map").about("groups"));
    }
    let group = |(name, value): (&rhai::Identifier, &Dynamic)| {
        let list = features(&given("groups", value)).map_err(|e| crate::base::Error { about: None, ..e });
        Ok((name.to_string(), list.map_err(|e| e.about("groups"))?))
    };
    map.iter().map(group).collect()
}

#[export_module(manifest)]
pub mod functions {
    /// Explains a feature in words, or each of an array of features, from where it is active in a text.
    ///
    /// One random fragment of 64 tokens is taken of each document. Half of the fragments are for explaining, and the other
    /// half for `features::score`, which takes the same fragments of the same text. A language model sees five of the ten
    /// strongest. Without one, rules over facts of tokens are found, as `features::describe` does: they see a token, the one
    /// before it, their form and their labels; neither meaning, nor anything further back, nor how strong a code is. A
    /// feature that is active in less than five fragments has no explanation.
    ///
    /// # Options
    /// - [feature_explainer]
    /// - [feature_fragments]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let texts = []; texts.pad(40, "to be or not to be");
    /// let s = sae::fit(m, "resid_post.0", data::texts(texts), #{ d_sae: 4, k: 1, steps: 2, seed: 1 });
    /// features::explain(m, [s.feature(0), s.feature(1)], data::texts(texts)).len  //=> 2
    /// ```
    #[rhai_fn(return_raw)]
    pub fn explain(ctx: NativeCallContext, m: Model, f: Any, text: Text, options: Options) -> Fallible<Dynamic> {
        let env = env(&ctx)?;
        let (who, options) = taken_both::<ExplainerOptions, ExplainOptions>(options)?;
        let f = given("f", &f);
        let list = super::features(&f)?;
        let found = super::with(who.explainer.as_ref(), &env, |by| {
            super::explain::explain(m.core(), &list, &text, by, &options, &env.task)
        });
        let mut found: Array =
            found.map_err(|e| e.about("f"))?.into_iter().map(|one| Dynamic::from(Explanation(one))).collect();
        let is_several = f.value().is_array();
        Ok(if is_several { found.into() } else { found.pop().unwrap_or_default() })
    }

    /// Scores how well explanations say where features are active, a row for each: an explanation of
    /// `features::explain` or one in your own words for a feature, or arrays of both.
    ///
    /// `"simulation"` (Bills et al. 2023): the codes at every token of five of the strongest fragments and of five drawn ones
    /// are simulated from the explanation alone, and the score is their correlation with the real ones, over both, `top` and
    /// `random` fragments; where the judge offers probabilities of its tokens, a simulated code is an expectation.
    /// `"detection"` and `"fuzzing"` (Paulo et al. 2024): the judge tells contexts of 32 tokens with the feature from those
    /// without it, or those whose marked tokens are the feature's; the score is the balanced accuracy, the mean of the shares
    /// told right of either. `low` and `high` are its 95 % interval by the bootstrap over fragments or contexts. `by another's`
    /// is the baseline: the score by the explanation of the next feature, or, of one feature alone, by the same predictions in
    /// another order. Answers that cannot be read are left out and counted as `failed`. A feature that is active in too few
    /// fragments has no score.
    ///
    /// # Options
    /// - [feature_judge]
    /// - [feature_score]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let texts = []; texts.pad(40, "to be or not to be");
    /// let text = data::texts(texts);
    /// let s = sae::fit(m, "resid_post.0", text, #{ d_sae: 4, k: 1, steps: 2, seed: 1 });
    /// let f = [s.feature(0), s.feature(1)];
    /// let found = features::score(m, f, features::explain(m, f, text), text);
    /// found.columns
    /// //=> ["feature", "explanation", "score", "low", "high", "by another's", "top", "random", "fragments", "failed"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn score(
        ctx: NativeCallContext,
        m: Model,
        f: Any,
        explanation: Any,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let (who, options) = taken_both::<JudgeOptions, ScoreOptions>(options)?;
        who.check(options.method)?;
        let list = super::features(&given("f", &f))?;
        let explanations = super::explanations(&given("explanation", &explanation))?;
        let found = super::with(who.judge.as_ref(), &env, |by| {
            env.drawing(&ctx, "features::score", options.seed, |seed| {
                let options = ScoreOptions { seed, ..options };
                let scored = super::explain::score(m.core(), &list, &explanations, &text, by, &options, &env.task)?;
                Ok(super::explain::table(&list.names, &explanations, &scored, &by.name(), options.method))
            })
        });
        Ok(found.map_err(|e| e.about("f"))?)
    }

    /// Measures how interpretable the features of several methods are (Cunningham et al. 2023, figure 4): a map of
    /// arrays of features by the name of their method. They are explained as `features::explain` does, judged as
    /// `features::score` does, and averaged.
    ///
    /// `score` is the mean over the features that could be scored, `low` and `high` its 95 % interval by the bootstrap over
    /// them, and `by another's` the mean with each other's explanations. `scored` counts them; the rest of the `features` are
    /// active in too few fragments.
    ///
    /// # Options
    /// - [feature_explainer]
    /// - [feature_judge]
    /// - [feature_score]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let texts = []; texts.pad(40, "to be or not to be");
    /// let text = data::texts(texts);
    /// let s = sae::fit(m, "resid_post.0", text, #{ d_sae: 4, k: 1, steps: 2, seed: 1 });
    /// let found = features::interpretability(m, #{ dictionary: s.features(0..4) }, text);
    /// found["features"]  //=> [4]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn interpretability(
        ctx: NativeCallContext,
        m: Model,
        groups: Any,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let (explainer, judge, options) = taken_three::<ExplainerOptions, JudgeOptions, ScoreOptions>(options)?;
        judge.check(options.method)?;
        let groups = super::groups(&given("groups", &groups))?;
        let found = super::with(explainer.explainer.as_ref(), &env, |explainer| {
            super::with(judge.judge.as_ref(), &env, |judge| {
                env.drawing(&ctx, "features::interpretability", options.seed, |seed| {
                    let options = ScoreOptions { seed, ..options };
                    super::explain::interpretability(m.core(), &groups, &text, explainer, judge, &options, &env.task)
                })
            })
        });
        Ok(found.map_err(|e| e.about("groups"))?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the words of the explanation; empty where the feature is active too seldom to be explained.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let texts = []; texts.pad(8, "to be or not to be");
    /// let f = sae::fit(m, "resid_post.0", data::texts(texts), #{ d_sae: 4, k: 1, steps: 2, seed: 1 }).feature(0);
    /// features::explain(m, f, data::texts(texts)).text  //=> ""
    /// ```
    #[rhai_fn(global, get = "text", pure)]
    pub fn text(explanation: &mut Explanation) -> String {
        explanation.0.text.clone()
    }
}
