//! `intervene::steer`, its AxBench score, steering vectors and pinned sampling.

use crate::base::error::both;
use crate::data::harvest;
use crate::intervene::steer::{
    self as core, ContrastTexts, Direction, Effect, Grader, HeldFeature, LabelShare, PinnedOptions, Push, ReadTexts,
    SteerOptions, SteeringSweep, VectorOptions,
};
use crate::model::site::{NAME_ONE, one_site};
use crate::script::features::Feature;
use crate::script::model::Endpoint;
use crate::script::model::input::{Answers, GivenTexts, answers, named_texts};
use crate::script::model::prelude::*;
use crate::tokenizer::tokens::TokenName;

handle_setting!(TextMetric(FnPtr), "a function of a text that gives a number", |function| function.fn_name().into());

crate::options! {
    /// A label of what is written.
    pub struct WrittenLabel {
        /// A label that rules find in real text, such as "gender" or "quote"; see `data::text`.
        label: Option<String> = None => usually("none");
        /// The value of the label that counts.
        value: Option<String> = None => usually("any but none");
    }
}

impl WrittenLabel {
    fn share(&self, m: &Model) -> Result<Option<LabelShare>> {
        match (&self.label, &self.value) {
            (Some(label), value) => Ok(Some(LabelShare::new(m.core().tokenizer()?, label, value.as_deref())?)),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(err!(Argument, "expected a `label` that has this value, found none").about("value")),
        }
    }
}

crate::options! {
    /// Options of the effect of steering: one of `token`, `label` and `metric` is given.
    #[derive(Clone)]
    pub struct EffectOptions {
        /// The token or tokens that should come next, as text or id; their total probability is the effect.
        token: Vec<TokenName> = Vec::new() => usually("none");
        /// A function |text| of what is written after each prompt, whose number is the effect.
        metric: Option<TextMetric> = None => usually("none");
        with written: WrittenLabel;
    }

    /// Options of the grader of what is written: a `judge` with a `concept`, or the rules that find a `label`.
    pub struct GraderOptions {
        /// A language model that grades.
        judge: Option<Endpoint> = None => usually("none");
        /// Concept that a judge looks for in the written text, in words.
        concept: Option<String> = None => usually("none");
        with written: WrittenLabel;
    }

    /// The text that a feature's maximum is found on.
    pub struct PinnedText {
        /// Maximum number of rows of the text.
        rows: usize = 20 => at_least(1.0);
        /// Tokens in a row.
        context: Option<usize> = None => usually("the model's, at most 1,024");
    }

    /// Text whose principal components are confounds.
    #[derive(Clone)]
    pub struct NeutralText {
        /// Text that has nothing to do with what the vector is for.
        neutral: Option<GivenTexts> = None => usually("none");
    }
}

/// Reads the texts of one side of a contrast, or answers.
fn side(ctx: &NativeCallContext, m: &Model, name: &'static str, x: &Dynamic) -> Result<ReadTexts> {
    Ok(match answers(ctx, m, name, x)? {
        Some(Answers { batch, answers }) => ReadTexts { batch, answers: Some(answers) },
        None => ReadTexts { batch: named_texts(ctx, m, name, x)?.batch, answers: None },
    })
}

/// Reads features, or vectors by site.
fn directions(value: &Dynamic) -> Result<Vec<Direction>> {
    let place = given("direction", value);
    if let Some(map) = value.read_lock::<Map>() {
        let one =
            |(site, vector): (&rhai::Identifier, &Dynamic)| Direction::of_vector(site, &values("direction", vector)?);
        return map.iter().map(one).collect();
    }
    let feature = |given: &crate::script::engine::value::GivenValue| {
        given
            .handle::<Feature>()
            .ok_or_else(|| given.refuse("a feature, an array of features, or a map of vectors by site"))
    };
    let features = place.elements().iter().map(feature).collect::<Result<Vec<Feature>>>()?;
    let mut dictionaries: Vec<(&Feature, Vec<usize>)> = Vec::new();
    for feature in &features {
        match dictionaries.iter_mut().find(|(first, _)| first.sae.core.is(&feature.sae.core)) {
            Some((_, known)) => known.push(feature.index),
            None => dictionaries.push((feature, vec![feature.index])),
        }
    }
    dictionaries.into_iter().map(|(first, known)| Direction::of_features(&first.sae.core, &known, None)).collect()
}

/// Reads rows of a text of `data::text`, or texts as they are given.
pub(in crate::script) fn rows(
    ctx: &NativeCallContext,
    m: &Model,
    text: &Dynamic,
    context: Option<usize>,
    count: usize,
) -> Result<Vec<Vec<u32>>> {
    if let Some(text) = text.read_lock::<Text>() {
        return core::rows(m.core(), &text, context, count, &env(ctx)?.task);
    }
    let batch = named_texts(ctx, m, "text", text)?.batch;
    let most = harvest::context(m.config(), context)?;
    let cut = |ids: &Vec<u32>| ids.iter().copied().take(most).collect();
    Ok(batch.rows().iter().take(count).map(cut).collect())
}

/// Reads the prompts that a model continues.
fn prompts(ctx: &NativeCallContext, m: &Model, prompts: &Dynamic) -> Result<Batch> {
    Ok(named_texts(ctx, m, "prompts", prompts)?.batch)
}

/// The arguments of calls that steer at several strengths.
struct SteeringArguments {
    prompts: Batch,
    rows: Vec<Vec<u32>>,
    push: Push,
    options: SteerOptions,
}

impl SteeringArguments {
    fn read(
        ctx: &NativeCallContext,
        m: &Model,
        [direction, prompts, text]: [&Dynamic; 3],
        options: SteerOptions,
    ) -> Fallible<Self> {
        let env = env(ctx)?;
        let prompts = self::prompts(ctx, m, prompts)?;
        let rows = rows(ctx, m, text, options.context, options.rows)?;
        let push = Push::new(&m.core().decoder, directions(direction)?, &rows, &options.push, &env.task)?;
        Ok(Self { prompts, rows, push, options })
    }

    fn sweep<'a>(&'a self, m: &'a Model, seed: Seed) -> SteeringSweep<'a> {
        let push = &self.push;
        let prompts = &self.prompts;
        let options = &self.options;
        SteeringSweep { model: m.core(), push, prompts, options, seed: seed.draws() }
    }
}

fn number(returned: &Dynamic) -> Result<f64> {
    let found = returned.as_float().or_else(|_| returned.as_int().map(|whole| whole as f64));
    let found = found.or_else(|_| returned.as_bool().map(|flag| f64::from(u8::from(flag))));
    found.map_err(|_| {
        err!(Argument, "expected a number from the metric of a text, found {}", described(returned)).about("metric")
    })
}

#[export_module(manifest)]
pub mod functions {
    /// Computes a steering vector at a site, from texts with something to texts without it: [d].
    ///
    /// By default the difference of the means at the last position (difference of means; CAA, Panickssery et al. 2023,
    /// where texts come in pairs). `method: "pca"` is the first principal component of the differences of pairs (Zou et
    /// al. 2023), about 0, as long as the mean difference is along it. Answers, maps of `prompt` and `answer`, are read
    /// at the tokens of the answer, of which each text counts with the mean (persona vectors; Chen et al. 2025).
    ///
    /// With `neutral` text, its largest principal components, which together explain the share `confounds` of its
    /// variance, are projected out of the vector (Sofroniew et al. 2026); the first token of each text is left out. The
    /// vector goes into `hooks::add`, `intervene::steer`, `intervene::monitor` and the option `added` of `model::train`.
    ///
    /// # Options
    /// - [steering_vector]
    /// - [neutral_text]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let v = intervene::steering_vector(m, [[1, 2], [3, 2]], [[1, 4], [3, 4]], "resid_post.0");
    /// v.shape  //=> [8]
    /// let said = |ids| [#{ prompt: [1], answer: ids }];
    /// intervene::steering_vector(m, said.call([2, 3]), said.call([4]), "embed", #{ neutral: [[5, 6, 7]] }).shape  //=> [8]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn steering_vector(
        ctx: NativeCallContext,
        m: Model,
        with: Any,
        without: Any,
        site: &str,
        options: Options,
    ) -> Fallible<Tensor> {
        let (options, NeutralText { neutral }) = taken_both::<VectorOptions, _>(options)?;
        let place = one_site(m.config(), site, NAME_ONE)?;
        let (with, without) = both(super::side(&ctx, &m, "with", &with), super::side(&ctx, &m, "without", &without))?;
        let neutral = neutral.map(|given| given.read(&ctx, &m, "neutral")).transpose()?;
        let texts = ContrastTexts { with, without, neutral };
        Ok(core::steering_vector(&m.core().decoder, &texts, place, &options, &env(&ctx)?.task)?)
    }

    /// Steers a model by features or vectors at several strengths, and sets the effect beside the damage.
    ///
    /// `direction` is a feature, an array of features, or a map of vectors by site, several layers at once. A strength
    /// multiplies a vector; for features it is in multiples of their maximum on `text`, which is added to their codes
    /// at all positions, or with `clamp` takes their place; strength 0 clamps features off. With `unit: "median"`
    /// strengths compare between directions and sites: the change is that many times as long as the median activation
    /// at the site on `text`. The effect is the probability of `token` after each prompt; or of what is written after
    /// it the share of tokens with a `label`, or a `metric`. The damage is measured on `text`: `loss`, cross-entropy in
    /// nats, and `kl`, KL(clean || steered); and on what is written: `repetition`, the share of triples of tokens that
    /// were there before. Each is a mean over prompts or rows with a 95 % bootstrap interval. The rows `random` are the
    /// mean of random directions, whose change is as long at every position.
    ///
    /// # Options
    /// - [steer_effect]
    /// - [steer]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 32 }, #{ seed: 1 });
    /// let v = m.weight("unembed.weight")[7];
    /// let text = [[1, 2, 3, 4], [5, 6, 7]];
    /// let sweep = intervene::steer(m, #{ "resid_post.1": v }, [[1, 2], [3]], text, #{ token: 7, strengths: [0, 40], seed: 1 });
    /// sweep["direction"]  //=> ["own", "random", "own", "random"]
    /// sweep["effect"][2] > sweep["effect"][3]  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn steer(
        ctx: NativeCallContext,
        m: Model,
        direction: Any,
        prompts: Any,
        text: Any,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let (wanted, options) = taken_both::<EffectOptions, SteerOptions>(options)?;
        let steered = SteeringArguments::read(&ctx, &m, [&direction, &prompts, &text], options)?;
        let share = wanted.written.share(&m)?;
        let calls = Callbacks::new(&ctx);
        let mut of_text = |text: &str| match &wanted.metric {
            Some(metric) => super::number(&calls.call(&metric.0, [Dynamic::from(text.to_string())])?),
            None => Err(err!(Bug, "a text without its metric")),
        };
        let mut effect = match (wanted.token.as_slice(), &share, &wanted.metric) {
            ([], None, Some(_)) => Effect::Texts(&mut of_text),
            ([], Some(share), None) => Effect::Label(share),
            ([_, ..], None, None) => {
                let ids = wanted.token.iter().map(|token| m.core().token(token, &env.task));
                Effect::Tokens(ids.collect::<Result<_>>().map_err(|e| e.about("token"))?)
            }
            ([], None, None) => {
                return Err(err!(Argument, "expected `token`, `label` or `metric`, by which the effect is measured")
                    .hint("#{ token: \" he\" }, #{ label: \"gender\", value: \"male\" }, or #{ metric: |text| text.len() }")
                    .about("options")
                    .into());
            }
            _ => return Err(err!(Argument, "expected one of `token`, `label` and `metric`, found more").into()),
        };
        env.drawing(&ctx, "intervene::steer", steered.options.seed.seed, |seed| {
            calls.outcome(core::steer(&steered.sweep(&m, seed), &steered.rows, &mut effect, &env.task))
        })
    }

    /// Computes AxBench's score of steering (Wu et al. 2025) at several strengths: grades from 0 to 2 of what is
    /// written after each prompt, for the concept in it, for what it has to do with the prompt (instruct) and for
    /// fluency, and their harmonic mean, 0 where one of them is 0.
    ///
    /// `direction`, `text` and strengths are those of `intervene::steer`. A `judge`, a language model, grades a `concept` in
    /// words; texts to which it gives no grade are left out and counted. Without one, grades come from a `label` that rules
    /// find and from the unsteered model: concept = 2 s, with s the share of the written tokens that have the label;
    /// instruct = 2 max(0, 2 a - 1), with a the share of (at most eight) other prompts after which the text is less likely
    /// than after its own; fluency = 2 min(1, exp(L' - L)) (1 - r), with L the loss of the text, L' the mean loss of what the
    /// unsteered model writes, and r the share of triples of tokens that come again. These are not a judge's grades: compare
    /// them with each other only. Each is a mean over prompts with a 95 % bootstrap interval; the rows `random` are the mean
    /// of random directions.
    ///
    /// # Options
    /// - [grader]
    /// - [steer]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to (be) or not", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 32 }, #{ tokenizer: t, seed: 1 });
    /// let v = m.weight("unembed.weight")[m.token("(")] + m.weight("unembed.weight")[m.token(")")];
    /// let asked = #{ label: "bracket", strengths: [0, 2], unit: "median", seed: 1 };
    /// let found = intervene::axbench(m, #{ "resid_post.0": v }, ["to be", "or not"], data::texts(["to be"]), asked);
    /// found["direction"]  //=> ["own", "random", "own", "random"]
    /// found["score"].filter(|score| score < 0 || score > 2)  //=> []
    /// ```
    #[rhai_fn(return_raw)]
    pub fn axbench(
        ctx: NativeCallContext,
        m: Model,
        direction: Any,
        prompts: Any,
        text: Any,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let (wanted, options) = taken_both::<GraderOptions, SteerOptions>(options)?;
        let steered = SteeringArguments::read(&ctx, &m, [&direction, &prompts, &text], options)?;
        let share = wanted.written.share(&m)?;
        let ask = |question: &str| match &wanted.judge {
            Some(judge) => judge.answer(&env, question, &env.task),
            None => Err(err!(Bug, "a question without a judge")),
        };
        let grader = match (&wanted.judge, &wanted.concept, &share) {
            (Some(_), Some(concept), None) => Grader::Judge { concept, ask: &ask },
            (None, None, Some(share)) => Grader::Label(share),
            _ => {
                return Err(err!(
                    Argument,
                    "expected a `judge` and a `concept`, or a `label`, by which texts are graded"
                )
                .hint("#{ label: \"gender\", value: \"male\" }, or #{ judge: model::endpoint(..), concept: \"men\" }")
                .about("options")
                .into());
            }
        };
        let found = env.drawing(&ctx, "intervene::axbench", steered.options.seed.seed, |seed| {
            core::axbench(&steered.sweep(&m, seed), &grader, &env.task)
        });
        Ok(found?)
    }

    /// Generates text after a prompt while a feature is held at multiples of its maximum on a text (pinned sampling;
    /// Bricken et al. 2023).
    ///
    /// # Options
    /// - [pinned]
    /// - [pinned_text]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 32 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be", "or not"]);
    /// let table = intervene::pinned(m, sae::identity(8).feature(2), "to", text, #{ site: "resid_post.0", tokens: 4, seed: 1 });
    /// table["strength"]  //=> [0.0, 1.0, 2.0, 5.0]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn pinned(
        ctx: NativeCallContext,
        m: Model,
        f: Feature,
        prompt: Any,
        text: Any,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let (options, extent) = taken_both::<PinnedOptions, PinnedText>(options)?;
        let prompt = one_text(&ctx, &m, "prompt", &prompt)?;
        let rows = super::rows(&ctx, &m, &text, extent.context, extent.rows)?;
        // What takes the likeliest token each time draws nothing.
        let seed = if options.generate.is_greedy() { Seed::of(0) } else { options.generate.seed.seed };
        let found = env.drawing(&ctx, "intervene::pinned", seed, |seed| {
            let held = HeldFeature { sae: &f.sae.core, feature: f.index };
            core::pinned(m.core(), held, &prompt, &rows, &options, seed.draws(), &env.task)
        });
        Ok(found?)
    }
}
