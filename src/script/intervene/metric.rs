//! `metric::`: metrics of pairs of prompts as values, made before any run.

use crate::data::pairs::tokens::{Prompt, TokenPair};
use crate::intervene::metric::{self as core, Measure, Normaliser};
use crate::script::data::pairs::read_pairs;
use crate::script::model::Hook;
use crate::script::model::input::InputOptions;
use crate::script::model::prelude::*;
use crate::tensor::floats;

crate::options! {
    /// Options of all metrics.
    #[derive(Debug, Clone, Copy)]
    pub struct MetricOptions {
        /// Whether values become (value - corrupt) / D, with the metric of the pair's corrupt prompt and the mean D over
        /// all pairs of how far that of the clean prompt is above it: on average 0 for corrupt prompts and 1 for clean
        /// ones. Where D is 0, there is no such value, and the call says so.
        normalised: bool = false;
    }
}

crate::choices! {
    /// Positions at which predictions are compared.
    pub enum KlPositions {
        /// The position of the last token.
        Last = "last",
        /// All positions, over which the mean is taken.
        All = "all",
    }
}

crate::options! {
    /// Options of a divergence: the run that it is measured from, and where.
    #[derive(Debug, Clone, Copy)]
    pub struct KlOptions {
        /// The prompt whose distribution, in a run without hooks, is p in KL(p || q).
        reference: Prompt = Prompt::Clean;
        /// Whether the divergence is that after the last token, or ("all") its mean over all positions, at which the two
        /// prompts have as many tokens.
        positions: KlPositions = KlPositions::Last;
        with metric: MetricOptions;
    }

    /// Options of a metric's values: the prompts that are read, and the hooks.
    #[derive(Clone)]
    pub struct ValuesOptions {
        /// The prompts that the model reads.
        prompts: Prompt = Prompt::Clean;
        /// A hook, or an array of hooks, which act in their order.
        hooks: Vec<Hook> = Vec::new() => usually("none");
    }
}

/// The quantity that is measured; a function of the script is called with the logits and the pair.
#[derive(Clone)]
enum MetricQuantity {
    LogitDiff,
    Prob,
    LogProb,
    Rank,
    Kl(Prompt),
    MeanKl(Prompt),
    Loss,
    Own(FnPtr),
}

/// A metric of pairs.
#[derive(Clone)]
pub struct Metric {
    what: MetricQuantity,
    normalised: bool,
}

impl Default for Metric {
    /// Returns the logit difference.
    fn default() -> Self {
        Self { what: MetricQuantity::LogitDiff, normalised: false }
    }
}

impl Metric {
    fn new(what: MetricQuantity, MetricOptions { normalised }: MetricOptions) -> Self {
        Self { what, normalised }
    }

    /// Returns the KL to the runs of clean prompts.
    pub fn kl() -> Self {
        Self { what: MetricQuantity::Kl(Prompt::Clean), normalised: false }
    }

    pub fn is_normalised(&self) -> bool {
        self.normalised
    }

    /// Returns whether the metric is a function of the script.
    pub fn is_own(&self) -> bool {
        matches!(self.what, MetricQuantity::Own(_))
    }

    /// Runs `work` with the core's measure; `pairs` are the second arguments of a function of the script.
    pub fn with_measure<T>(
        &self,
        calls: &Callbacks,
        pairs: &Array,
        work: impl FnOnce(Measure) -> Result<T>,
    ) -> Result<T> {
        let own = |function: &FnPtr, number: usize, logits: &Tensor| {
            let pair = pairs.get(number).cloned().unwrap_or_default();
            number_of(&calls.call(function, [Dynamic::from(logits.clone()), pair])?, number)
        };
        match &self.what {
            MetricQuantity::LogitDiff => work(Measure::LogitDiff),
            MetricQuantity::Prob => work(Measure::Prob),
            MetricQuantity::LogProb => work(Measure::LogProb),
            MetricQuantity::Rank => work(Measure::Rank),
            MetricQuantity::Kl(reference) => work(Measure::Kl(*reference)),
            MetricQuantity::MeanKl(reference) => work(Measure::MeanKl(*reference)),
            MetricQuantity::Loss => work(Measure::Loss),
            MetricQuantity::Own(function) => work(Measure::Of(&|number, logits| own(function, number, logits))),
        }
    }

    /// Reads pairs, and runs `work` on them with the core's measure.
    pub fn over<T>(
        &self,
        ctx: &NativeCallContext,
        m: &Model,
        pairs: &Dynamic,
        work: impl FnOnce(&[TokenPair], Measure, &Task) -> Result<T>,
    ) -> Fallible<T> {
        let (pairs, maps) = read_pairs(ctx, m, pairs)?;
        let calls = Callbacks::new(ctx);
        let task = &env(ctx)?.task;
        calls.outcome(self.with_measure(&calls, &maps, |measure| work(&pairs, measure, task)))
    }

    fn name(&self) -> String {
        match &self.what {
            MetricQuantity::LogitDiff => "logit_diff".into(),
            MetricQuantity::Prob => "prob".into(),
            MetricQuantity::LogProb => "logprob".into(),
            MetricQuantity::Rank => "rank".into(),
            MetricQuantity::Kl(reference) => format!("kl to {} prompts", reference.word()),
            MetricQuantity::MeanKl(reference) => format!("mean kl to {} prompts", reference.word()),
            MetricQuantity::Loss => "loss".into(),
            MetricQuantity::Own(_) => "of a function".into(),
        }
    }
}

/// Returns the result of a function of the script for a pair, as a tensor that knows how it was computed.
fn number_of(returned: &Dynamic, pair: usize) -> Result<Tensor> {
    if let Some(tensor) = returned.read_lock::<Tensor>() {
        return Ok(tensor.clone());
    }
    let number = given("metric", returned).number().map_err(|_| {
        let found = described(returned);
        err!(Argument, "expected a number from the metric of pair {pair}, found {found}")
            .hint("the function is |logits, pair|: the logits after the prompt's last token, [vocab], to one number")
            .about("metric")
    })?;
    Ok(Tensor::new(number, &crate::tensor::Device::Cpu)?)
}

impl Handle for Metric {
    const NAME: &'static str = "Metric";

    fn short(&self) -> String {
        let normalised = if self.normalised { ", normalised" } else { "" };
        format!("metric {}{normalised}", self.name())
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({ "metric": self.name(), "normalised": self.normalised }))
    }
}

handle_setting!(Metric, "a metric, such as metric::logit_diff()");

/// Refuses a value that is NaN, by its pair.
fn no_nan(values: &Tensor) -> Result<()> {
    match floats(&values.detach())?.iter().position(|value| value.is_nan()) {
        Some(pair) => Err(err!(Numeric, "the metric of pair {pair} is NaN").about("pairs")),
        None => Ok(()),
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Returns the logit difference of a pair as a metric: log sum_a exp s(a) - log sum_w exp s(w), over its correct
    /// answers a and its wrong answers w.
    ///
    /// s(a), the score of an answer, is the sum of the log probabilities of its tokens after the prompt, each read
    /// after those before it. With one answer of one token on either side this is logit(a) - logit(w) after the last
    /// token (Wang et al. 2022), since what normalises both is the same.
    ///
    /// # Options
    /// - [metric]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let pairs = data::pairs([[1, 2], [3, 4]], [[1, 5], [3, 6]], #{ answers: [7, 8], wrong: [8, 9] });
    /// let found = metric::logit_diff().values(m, pairs);
    /// let last = m.logits([1, 2], #{ pos: -1 })[0];
    /// (found[0] - (last[7] - last[8])).abs() < 1e-5  //=> true
    /// metric::logit_diff(#{ normalised: true })  //=> metric logit_diff, normalised
    /// ```
    #[rhai_fn(return_raw)]
    pub fn logit_diff(options: Options) -> Fallible<Metric> {
        Ok(Metric::new(MetricQuantity::LogitDiff, taken(options)?))
    }

    /// Returns the probability of a pair's correct answers as a metric: sum_a exp s(a), with the score s(a) of
    /// `metric::logit_diff`.
    ///
    /// # Options
    /// - [metric]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let found = metric::prob().values(m, #{ clean: [1, 2], answers: [7, 8] });
    /// let p = m.logits([1, 2], #{ pos: -1 })[0].softmax(0);
    /// (found[0] - (p[7] + p[8])).abs() < 1e-6  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn prob(options: Options) -> Fallible<Metric> {
        Ok(Metric::new(MetricQuantity::Prob, taken(options)?))
    }

    /// Returns the log probability of a pair's correct answers as a metric: log sum_a exp s(a), with the score s(a) of
    /// `metric::logit_diff`.
    ///
    /// # Options
    /// - [metric]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// // An answer of two tokens.
    /// let found = metric::logprob().values(m, #{ clean: [1, 2], answers: [[7, 3]] });
    /// (found[0] + m.losses([1, 2, 7, 3])[1..3].sum()).abs() < 1e-5  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn logprob(options: Options) -> Fallible<Metric> {
        Ok(Metric::new(MetricQuantity::LogProb, taken(options)?))
    }

    /// Returns the rank of a pair's best correct answer as a metric: 1 + the number of tokens with a larger logit; for
    /// an answer of several tokens the largest of their ranks.
    ///
    /// It has no gradient.
    ///
    /// # Options
    /// - [metric]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let likeliest = m.predict([1, 2], 1)[0].id;
    /// metric::rank().values(m, #{ clean: [1, 2], answers: likeliest })[0]  //=> 1.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn rank(options: Options) -> Fallible<Metric> {
        Ok(Metric::new(MetricQuantity::Rank, taken(options)?))
    }

    /// Returns the distance of the distribution after the prompt from that of a run without hooks as a metric: KL(p ||
    /// q) = sum_v p_v log(p_v / q_v) in nats, with p of the reference prompt and q of this run.
    ///
    /// # Options
    /// - [metric_kl]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let pair = #{ clean: [1, 2], corrupt: [1, 5] };
    /// metric::kl().values(m, pair)[0]  //=> 0.0
    /// metric::kl().values(m, pair, #{ prompts: "corrupt" })[0] > 0  //=> true
    /// metric::kl(#{ positions: "all" })  //=> metric mean kl to clean prompts
    /// ```
    #[rhai_fn(return_raw)]
    pub fn kl(options: Options) -> Fallible<Metric> {
        let KlOptions { reference, positions, metric } = taken(options)?;
        let what = match positions {
            KlPositions::Last => MetricQuantity::Kl(reference),
            KlPositions::All => MetricQuantity::MeanKl(reference),
        };
        Ok(Metric::new(what, metric))
    }

    /// Returns the loss of a prompt as a metric: the mean of -log p(x_t | x_1 .. x_(t-1)) over its tokens but the
    /// first, in nats.
    ///
    /// # Options
    /// - [metric]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let found = metric::loss().values(m, #{ clean: [1, 2, 3] });
    /// (found[0] - m.loss([1, 2, 3])).abs() < 1e-5  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn loss(options: Options) -> Fallible<Metric> {
        Ok(Metric::new(MetricQuantity::Loss, taken(options)?))
    }

    /// Returns a metric of your own: a function `|logits, pair|` of the logits after the prompt's last token, [vocab],
    /// and the pair as it was given, to one number.
    ///
    /// Gradients pass where it computes the number with operations of tensors.
    ///
    /// # Options
    /// - [metric]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let chosen = |logits, pair| logits[pair.token];
    /// let own = metric::of(chosen);
    /// own.values(m, [#{ clean: [1, 2], token: 3 }])[0] == m.logits([1, 2], #{ pos: -1 })[0][3]  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn of(function: FnPtr, options: Options) -> Fallible<Metric> {
        Ok(Metric::new(MetricQuantity::Own(function), taken(options)?))
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Computes the metric of each pair, [pairs], from a run of its clean prompt.
    ///
    /// `pairs` are those of `data::pairs`, or maps of your own with `clean`, `corrupt`, `answers` and `wrong`, as far as the
    /// metric needs them. Prompts may have different lengths: the metric is read after the last token of each. With hooks
    /// all prompts are one batch. Gradients pass from the values to tensors that hooks use.
    ///
    /// # Options
    /// - [metric_values]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let pairs = data::pairs([[1, 2], [3, 4, 5]], [[1, 5], [3, 6, 5]], #{ answers: [7, 8], wrong: [8, 9] });
    /// let normalised = metric::logit_diff(#{ normalised: true });
    /// let found = normalised.values(m, pairs);
    /// round_to(found.mean(), 4)  //=> 1.0
    /// round_to(normalised.values(m, pairs, #{ prompts: "corrupt" }).mean(), 4) + 0.0  //=> 0.0
    /// let without = metric::logit_diff().values(m, pairs, #{ hooks: hooks::zero("final_norm") });
    /// without  //=> tensor([0.0, 0.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn values(
        ctx: NativeCallContext,
        metric: &mut Metric,
        m: Model,
        pairs: Any,
        options: Options,
    ) -> Fallible<Tensor> {
        let ValuesOptions { prompts, hooks } = taken(options)?;
        let (pairs, maps) = read_pairs(&ctx, &m, &pairs)?;
        let calls = Callbacks::new(&ctx);
        InputOptions { hooks, ..InputOptions::default() }.run_with(&calls, &ctx, &m, |hooks, task| {
            metric.with_measure(&calls, &maps, |measure| {
                let reference = m.core().decoder.as_ref();
                let found = core::values(measure, m.decoder(), reference, &pairs, prompts, hooks, task)?;
                no_nan(&found)?;
                if !metric.normalised {
                    return Ok(found);
                }
                Normaliser::of(measure, &m.core().decoder, &pairs, task)?.values(&found)
            })
        })
    }
}
