//! Metrics of a dictionary, similarity of two, and splicing one into a model.

use super::baselines::draws;
use super::rows::keeping;
use crate::base::error::both;
use crate::data::harvest::TextReading;
use crate::sae::metrics::{self, EffectByClassOptions, EffectOptions, MeasureOnOptions, MeasureStoreOptions, Measures};
use crate::sae::splice::SpliceOptions;
use crate::sae::writes_of;
use crate::script::data::Store;
use crate::script::model::Model;
use crate::script::model::{Hook, HookAction};
use crate::script::prelude::*;
use crate::script::sae::Sae;
use crate::script::tensor::values;

/// Reads the directions of a dictionary, or of a tensor `[features, d]`.
pub(super) fn directions(name: &str, value: &Dynamic) -> Result<Tensor> {
    match value.read_lock::<Sae>() {
        Some(sae) => Ok(sae.core.directions().clone()),
        None => values(name, value),
    }
}

/// Cosines are computed in single precision.
fn rounded(cosine: f64) -> f64 {
    (cosine * 1e6).round() / 1e6
}

#[export_module(manifest)]
pub mod functions {
    /// Computes the mean max cosine similarity: the mean over the directions of `a` of the largest cosine with a
    /// direction of `b` (MMCS; Sharkey et al. 2022). It is not symmetric.
    ///
    /// `a` and `b` are dictionaries, or tensors of directions `[features, d]`.
    ///
    /// # Example
    /// ```
    /// let a = sae::identity(3);
    /// sae::mmcs(a, a)  //=> 1.0
    /// sae::mmcs(tensor([[1, 0]]), tensor([[0, 2], [3, 4]]))  //=> 0.6
    /// ```
    #[rhai_fn(return_raw)]
    pub fn mmcs(ctx: NativeCallContext, a: Any, b: Any) -> Fallible<f64> {
        let (a, b) = both(super::directions("a", &a), super::directions("b", &b))?;
        let found = metrics::mmcs(&a, &b, &env(&ctx)?.task)?;
        Ok(super::rounded(found))
    }

    /// Counts the features of `a` that are found again in another dictionary `b` of the same site: the stability of a
    /// recipe over seeds or texts. A feature is found again if a feature of `b` has a direction with a cosine of at
    /// least 0.7 to its own, and codes with a correlation of at least 0.7 over the activations `x`.
    ///
    /// Returns a map: the `share` that is found again of those features of `a` that are active in `x` at all, its 95 %
    /// `interval` (Wilson 1927), the number of these `living` features, and of the `found` ones.
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([100, 4], #{ seed: 1 });
    /// let own = sae::found_again(sae::identity(4), sae::identity(4), x);
    /// [own.share, own.living]  //=> [1.0, 4]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn found_again(ctx: NativeCallContext, a: Sae, b: Sae, x: Any) -> Fallible<Map> {
        let found = metrics::again(&a.core, &b.core, &values("x", &x)?, &env(&ctx)?.task).map_err(|e| e.about("x"))?;
        let number = |x: Option<f64>| x.map_or(Dynamic::UNIT, Dynamic::from);
        let interval = found.interval().map_or(Dynamic::UNIT, |ends| ends.map(Dynamic::from).to_vec().into());
        let fields: [(&str, Dynamic); 4] = [
            ("share", number(found.share())),
            ("interval", interval),
            ("living", (found.living as i64).into()),
            ("found", (found.found as i64).into()),
        ];
        Ok(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// Measures how the features of a dictionary split in a larger one of the same site, over the activations `x`.
    ///
    /// A feature of `large` is a child of the feature of `small` that its direction is nearest to, if their cosine is
    /// at least 0.7; without such a parent it is new. Features that are not active in `x` are left out.
    ///
    /// Returns a map of two tables. `summary`: how many features of `small` have one child, have split, and are lost,
    /// how many of `large` are new, and how many random directions have a parent, with 95 % intervals (Wilson 1927).
    /// `table`: each parent with its children, the largest cosine, the share of its rows where a child fires
    /// (`covered`), and the share of the children's rows where it fires (`within`), compared with what is expected at
    /// random.
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([100, 4], #{ seed: 1 });
    /// let found = sae::splitting(sae::identity(4), sae::identity(4), x);
    /// found.summary.to_map().rows[0][1]  //=> 4
    /// ```
    #[rhai_fn(return_raw)]
    pub fn splitting(ctx: NativeCallContext, small: Sae, large: Sae, x: Any) -> Fallible<Map> {
        let env = env(&ctx)?;
        let x = values("x", &x)?;
        let found = env.drawing(&ctx, "sae::splitting", Seed::default(), |seed| {
            metrics::splitting(&small.core, &large.core, &x, &mut draws(seed), &env.task).map_err(|e| e.about("x"))
        })?;
        let tables = [("summary", found.summary()), ("table", found.table())];
        Ok(tables.into_iter().map(|(name, table)| (name.into(), Dynamic::from(table))).collect())
    }

    /// Matches the directions of `a` and `b` one to one with the largest sum of cosines (Hungarian algorithm;
    /// Cunningham et al. 2023).
    ///
    /// Returns a map: the `mean` of the cosines, the `share_above` 0.9, and `pairs`, each a row of `a`, a row of `b`
    /// and their cosine. Every direction of the smaller dictionary is matched.
    ///
    /// # Example
    /// ```
    /// let found = sae::matches(tensor([[1, 0], [0.6, 0.8]]), tensor([[0, 1], [2, 0], [-1, 0]]));
    /// found.pairs  //=> [[0, 1, 1.0], [1, 0, 0.8]]
    /// [found.mean, found.share_above]  //=> [0.9, 0.5]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn matches(ctx: NativeCallContext, a: Any, b: Any) -> Fallible<Map> {
        let (a, b) = both(super::directions("a", &a), super::directions("b", &b))?;
        let found = metrics::matches(&a, &b, &env(&ctx)?.task)?;
        let pair = |pair: metrics::DirectionPair| -> Dynamic {
            vec![Dynamic::from(pair.a as i64), Dynamic::from(pair.b as i64), super::rounded(pair.cosine).into()].into()
        };
        let pairs: Vec<Dynamic> = found.pairs.into_iter().map(pair).collect();
        let fields: [(&str, Dynamic); 3] = [
            ("pairs", pairs.into()),
            ("mean", super::rounded(found.mean).into()),
            ("share_above", found.share_above.into()),
        ];
        Ok(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Measures reconstruction and sparsity on activations `[.., d_in]`, each metric with its formula.
    ///
    /// # Options
    /// - [measure_store]
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([100, 4], #{ seed: 1 });
    /// sae::identity(4).measure(x)["fve"]  //=> 1.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn measure(ctx: NativeCallContext, s: &mut Sae, x: Any, options: Options) -> Fallible<Measures> {
        let MeasureStoreOptions { site, measure } = taken(options)?;
        if site.is_some() {
            return Err(err!(Argument, "expected `site` with a store, found it with a tensor").about("site").into());
        }
        s.core.check_writes_what_it_reads()?;
        let found = metrics::measured(&[&s.core], &values("x", &x)?, measure, &env(&ctx)?.task)?;
        Ok(found.into_iter().next().ok_or_else(|| err!(Bug, "a dictionary without measures"))?)
    }

    #[rhai_fn(global, name = "measure", pure, return_raw)]
    pub fn measure_store(ctx: NativeCallContext, s: &mut Sae, store: Store, options: Options) -> Fallible<Measures> {
        let MeasureStoreOptions { site, measure } = taken(options)?;
        let site = match (site, s.core.parts().about.sites.as_slice()) {
            (Some(site), _) => site,
            (None, [site]) => site.to_string(),
            (None, _) => store.core.only_site()?,
        };
        let found = metrics::measured_in(&s.core, &store.core, &site, measure, &env(&ctx)?.task);
        Ok(found.map_err(|e| e.about("store"))?)
    }

    /// Measures reconstruction and sparsity on a model's activations on a text; for a transcoder, at the site that it
    /// writes.
    ///
    /// # Options
    /// - [measure_on]
    /// - [positions]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// sae::identity(8).measure_on(m, data::texts(["to be", "or not"]), #{ site: "resid_post.0" })["fve"]  //=> 1.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn measure_on(
        ctx: NativeCallContext,
        s: &mut Sae,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Measures> {
        let env = env(&ctx)?;
        let mut read = super::options(options);
        let options: MeasureOnOptions = read.declared()?;
        let reading = keeping(&mut read)?;
        read.finish()?;
        let reading = TextReading::new(m.core(), &text, &reading);
        Ok(metrics::measured_in_model(&s.core, reading, &options, &env.task)?)
    }

    /// Measures what a model loses when the dictionary is spliced in: next-token cross-entropy and KL(clean || changed)
    /// in nats, for the reconstruction, zero ablation and mean ablation, and the loss recovered, (zero - spliced) /
    /// (zero - clean).
    ///
    /// Losses and KL are means over the positions behind which another token of the row stands. SAEBench's KL has the
    /// last position of each row, too, and so has this one with `kl: "all"`.
    ///
    /// # Options
    /// - [effect]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let table = sae::identity(8).effect(m, data::texts(["to be or not to be"]), #{ site: "resid_post.0", rows: 1 });
    /// table["recovered"][0]  //=> 1.0
    /// let all = sae::identity(8).effect(m, data::texts(["to be or not to be"]), #{ site: "resid_post.0", rows: 1, kl: "all" });
    /// all.to_map().title  //=> "what is lost over 15 predictions, KL over 16 positions, in nats"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn effect(ctx: NativeCallContext, s: &mut Sae, m: Model, text: Text, options: Options) -> Fallible<Table> {
        let options: EffectOptions = taken(options)?;
        Ok(metrics::effect_on_text(&s.core, m.core(), &text, &options, &env(&ctx)?.task)?.table())
    }

    /// Measures next-token cross-entropy by the class of that token, in the runs that `effect` compares.
    ///
    /// Tokens are classified by their text: a word after a space, the rest of a word, a number, punctuation, white
    /// space, and others; or by the values of a label of the text.
    ///
    /// # Options
    /// - [effect_by_class]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let table = sae::identity(8).effect_by_class(m, data::texts(["to be or not to be"]), #{ site: "resid_post.0" });
    /// table.to_map().rows.map(|row| row[0])  //=> ["rest of a word", "blank"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn effect_by_class(
        ctx: NativeCallContext,
        s: &mut Sae,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        let options: EffectByClassOptions = taken(options)?;
        Ok(metrics::effect_by_class(&s.core, m.core(), &text, &options, &env(&ctx)?.task)?)
    }

    /// Returns a hook that replaces the activations at the dictionary's site by its reconstruction.
    ///
    /// # Options
    /// - [splice]
    /// - `pos` = all: a position or several; negative ones count from the end of each text
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let s = sae::identity(8);
    /// let hook = s.splice(#{ site: "resid_post.0" });
    /// m.logits([1, 2], #{ hooks: hook }).all_close(m.logits([1, 2]))  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn splice(s: &mut Sae, options: Options) -> Fallible<Hook> {
        let mut read = super::options(options);
        let options: SpliceOptions = read.declared()?;
        // Unknown options are refused before an unknown site.
        let site = options.reads.of(&s.core);
        let reads = site.as_deref().unwrap_or_default();
        let writes = writes_of(&s.core, options.writes.as_deref())?;
        let named = writes.as_deref().unwrap_or(reads);
        let splice = options.splice(s.core.clone())?;
        let hook = Hook::new(HookAction::Splice(splice), named, &mut read)?;
        let hook = hook.reading(writes.is_some().then(|| reads.to_string()));
        read.finish()?;
        site?;
        Ok(hook)
    }
}
