//! `intervene::steer`, steering vectors and pinned sampling.

use rand_chacha::rand_core::Rng;
use rhai::plugin::*;
use rhai::{Dynamic, FnPtr, Map, NativeCallContext};

use crate::base::options::{Plain, Setting};
use crate::base::{Result, Table};
use crate::data::Text;
use crate::err;
use crate::intervene::steer::{self as core, Direction, Effect, PinnedOptions, Push, SteerOptions, VectorOptions};
use crate::model::site::{NAME_ONE, one_site};
use crate::model::tokens::TokenName;
use crate::script::engine::calls::Calls;
use crate::script::engine::env::env;
use crate::script::engine::options::options;
use crate::script::engine::value::{Any, Fallible, Options, described, given, handle};
use crate::script::features::Feature;
use crate::script::model::Model;
use crate::script::model::input::{one_text, texts};
use crate::script::tensor::values;
use crate::tensor::Tensor;

/// A function of the script.
#[derive(Clone)]
pub struct TextMetric(FnPtr);

impl Setting for TextMetric {
    fn wanted() -> String {
        "a function of a text that gives a number".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        handle(value).map(Self)
    }

    fn written(&self) -> String {
        self.0.fn_name().into()
    }
}

crate::options! {
    /// What steering should do: one of both is given.
    pub struct EffectOptions {
        /// The token or tokens that should come next, as text or id; their total probability is the effect.
        token: Vec<TokenName> = Vec::new() => usually("none");
        /// A function |text| of what is written after each prompt, whose number is the effect.
        metric: Option<TextMetric> = None => usually("none");
    }
}

crate::options! {
    /// The text that a feature's maximum is found on.
    pub struct PinnedText {
        /// Maximum number of rows of the text.
        rows: usize = 20 => at_least(1.0);
        /// Tokens in a row.
        context: Option<usize> = None => usually("the model's");
    }
}

/// Features, or vectors by site.
fn directions(value: &Dynamic) -> Result<Vec<Direction>> {
    let place = given("direction", value);
    if let Some(map) = value.read_lock::<Map>() {
        let one =
            |(site, vector): (&rhai::Identifier, &Dynamic)| Direction::of_vector(site, &values("direction", vector)?);
        return map.iter().map(one).collect();
    }
    let feature = |given: &crate::script::engine::value::Given| {
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

/// Rows of a text of `data::text`, or texts as they are given.
pub fn rows(
    ctx: &NativeCallContext,
    m: &Model,
    text: &Dynamic,
    (context, count): (Option<usize>, usize),
) -> Result<Vec<Vec<u32>>> {
    if let Some(text) = text.read_lock::<Text>() {
        return core::rows(m.core(), &text, context, count, &env(ctx)?.task);
    }
    let batch = texts(ctx, m, text).map_err(|error| crate::base::Error { about: Some("text".into()), ..error })?.batch;
    let most = context.unwrap_or(usize::MAX).min(m.config().context);
    let cut = |ids: &Vec<u32>| ids.iter().copied().take(most).collect();
    Ok(batch.rows().iter().take(count).map(cut).collect())
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
    /// A steering vector at a site, from texts with something to texts without it: [d].
    ///
    /// By default the difference of the means at the last position (difference of means; CAA, Panickssery et al. 2023,
    /// where texts come in pairs). `method: "pca"` is the first principal component of the differences of pairs (Zou et
    /// al. 2023), about 0, as long as the mean difference is along it. It goes into `hooks::add` and `intervene::steer`.
    ///
    /// # Options
    /// - [steering_vector]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let v = intervene::steering_vector(m, [[1, 2], [3, 2]], [[1, 4], [3, 4]], "resid_post.0");
    /// v.shape  //=> [8]
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
        let options: VectorOptions = crate::script::engine::options::taken(options)?;
        let place = one_site(m.config(), site, NAME_ONE)?;
        let named = |name: &str, x: &Dynamic| {
            texts(&ctx, &m, x).map_err(|error| crate::base::Error { about: Some(name.into()), ..error })
        };
        let (with, without) = (named("with", &with)?.batch, named("without", &without)?.batch);
        Ok(core::steering_vector(&m.core().decoder, (&with, &without), place, &options, &env(&ctx)?.task)?)
    }

    /// Steers a model by features or vectors at several strengths, and sets the effect beside the damage.
    ///
    /// `direction` is a feature, an array of features, or a map of vectors by site. A strength multiplies a vector; for
    /// features it is in multiples of their maximum on `text`, which is added to their codes at all positions, or with
    /// `clamp` takes their place; strength 0 clamps features off. The effect is the probability of `token` after each
    /// prompt, or the `metric` of the text that is written after it. The damage is measured on other text: `loss`,
    /// cross-entropy in nats, and `kl`, KL(clean || steered); and on what is written: `repetition`, the share of triples
    /// of tokens that were there before. Each is a mean over prompts or rows with a 95 % bootstrap interval. The rows
    /// `random` are the mean of random directions, whose change is as long at every position.
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
        let (env, mut read) = (env(&ctx)?, super::options(options));
        let (wanted, options): (EffectOptions, SteerOptions) = (read.declared()?, read.declared()?);
        read.finish()?;
        let prompts = texts(&ctx, &m, &prompts)
            .map_err(|error| crate::base::Error { about: Some("prompts".into()), ..error })?
            .batch;
        let rows = super::rows(&ctx, &m, &text, (options.context, options.rows))?;
        let push = Push::new(&m.core().decoder, super::directions(&direction)?, &rows, options.clamp, &env.task)?;
        let seed = options.seed.stated().unwrap_or_else(|| env.random.generator(None).next_u64());
        let calls = Calls::new(&ctx);
        let mut of_text = |text: &str| match &wanted.metric {
            Some(metric) => super::number(&calls.call(&metric.0, [Dynamic::from(text.to_string())])?),
            None => Err(err!(Bug, "a text without its metric")),
        };
        let mut effect = match (&wanted.metric, wanted.token.as_slice()) {
            (Some(_), []) => Effect::Texts(&mut of_text),
            (None, [_, ..]) => {
                let ids = wanted.token.iter().map(|token| m.core().token(token, &env.task));
                Effect::Tokens(ids.collect::<Result<_>>().map_err(|e| e.about("token"))?)
            }
            (Some(_), _) => {
                return Err(err!(Argument, "expected `token` or `metric`, found both").about("metric").into());
            }
            (None, []) => {
                return Err(err!(Argument, "expected `token` or `metric`, by which the effect is measured")
                    .hint("#{ token: \" he\" }, or #{ metric: |text| text.len() }")
                    .about("options")
                    .into());
            }
        };
        let task = &env.task;
        let found = core::steer(m.core(), &push, &prompts, &rows, (&mut effect, &options, seed), task);
        calls.outcome(found)
    }

    /// Text that a model writes after a prompt while a feature is held at multiples of its maximum on a text (pinned
    /// sampling; Bricken et al. 2023).
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
        let (env, mut read) = (env(&ctx)?, super::options(options));
        let (options, extent): (PinnedOptions, PinnedText) = (read.declared()?, read.declared()?);
        read.finish()?;
        let prompt = one_text(&ctx, &m, "prompt", &prompt)?;
        let rows = super::rows(&ctx, &m, &text, (extent.context, extent.rows))?;
        let seed = options.generate.seed.stated().unwrap_or_else(|| env.random.generator(None).next_u64());
        Ok(core::pinned(m.core(), (&f.sae.core, f.index), (&prompt, &rows), &options, seed, &env.task)?)
    }
}
