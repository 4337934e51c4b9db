//! `sae::temporal`: dictionaries that predict from the past and code what is new, and their methods.

use super::fit_calls::storage;
use super::text_dictionaries::{self, TextRandomOptions, of_texts};
use crate::sae::metrics::Measures;
use crate::sae::temporal::TemporalSae as Core;
use crate::sae::temporal::files::LoadTemporalOptions;
use crate::sae::temporal::fit::{FittedTemporal, TemporalFitOptions, fit};
use crate::sae::text_rows::dictionary::TextDictionary;
use crate::script::model::input::texts;
use crate::script::model::{Hook, Model};
use crate::script::prelude::*;

/// A temporal dictionary, with the losses of its fit where it was fitted in this run.
#[derive(Clone)]
pub struct TemporalSae {
    core: Rc<Core>,
    losses: Rc<Vec<f64>>,
}

impl From<Core> for TemporalSae {
    fn from(core: Core) -> Self {
        Self { core: core.into(), losses: Rc::default() }
    }
}

crate::options! {
    /// The attention pattern of a temporal dictionary.
    pub struct TemporalPatternOptions {
        /// Attention layer of the dictionary.
        layer: usize = 0;
    }
}

impl Handle for TemporalSae {
    const NAME: &'static str = "TemporalSae";

    fn short(&self) -> String {
        let site = self.core.about.site();
        let place = if site.is_empty() { String::new() } else { format!(" for {site}") };
        format!("temporal dictionary of {}{place}", count(self.core.d_sae(), "feature"))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        let Core { about, activation, heads, layers, context, .. } = &*self.core;
        let fields = [
            ("model", about.model().into()),
            ("sites", (!about.sites.is_empty()).then(|| about.site()).into()),
            ("d_in", self.core.d_in().into()),
            ("d_sae", self.core.d_sae().into()),
            ("layers", layers.len().into()),
            ("heads", (*heads).into()),
            ("activation", activation.name().into()),
            ("novel codes at most", activation.most().into()),
            ("context", (*context).into()),
        ];
        Card::new(self.short(), fields).terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let Core { about, activation, heads, layers, context, .. } = &*self.core;
        Ok(json!({
            "model": about.model(), "sites": about.sites, "d_in": self.core.d_in(), "d_sae": self.core.d_sae(),
            "layers": layers.len(), "heads": heads, "activation": activation.name(), "k": activation.most(),
            "context": context, "more": about.metadata(),
        }))
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Fits a temporal dictionary (temporal feature analysis, Lubana et al. 2025) of a site: attention over the codes
    /// of earlier tokens predicts a part of each activation, and `k` novel codes reconstruct what the prediction
    /// leaves.
    ///
    /// Codes that are predicted are dense, and novel ones sparse. The dictionary has one attention layer, its encoder
    /// is its decoder transposed, and activations are scaled. Rows have `context` tokens.
    ///
    /// Ctrl-C leaves the dictionary as it is. A fit that has ended is cached, and one with a `dir` is not cached but
    /// resumes from its checkpoints there, as in `sae::fit`.
    ///
    /// # Options
    /// - [temporal]
    /// - [keep]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let t = sae::temporal(m, "resid_post.1", text, #{ d_sae: 16, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// t  //=> temporal dictionary of 16 features for resid_post.1
    /// ```
    #[rhai_fn(return_raw)]
    pub fn temporal(
        ctx: NativeCallContext,
        m: Model,
        site: &str,
        text: Text,
        options: Options,
    ) -> Fallible<TemporalSae> {
        let env = env(&ctx)?;
        let (mut options, checkpoints) = taken_both::<TemporalFitOptions, _>(options)?;
        let seed = options.descent.seed;
        let FittedTemporal { made, losses } = env.drawing(&ctx, "sae::temporal", seed, |seed| {
            options.descent.seed = seed;
            fit(m.core(), site, &text, &options, &storage(&env, checkpoints), &env.task)
        })?;
        Ok(TemporalSae { core: made.into(), losses: losses.into() })
    }

    /// Loads a temporal dictionary from a folder, here or on the hub as `org/name/path`: in the layout of SAELens
    /// (cfg.json and sae_weights.safetensors), as `t.save(path)` writes it, or in that of its authors (conf.yaml and
    /// latest_ckpt.safetensors).
    ///
    /// Codes are those of SAELens and of the authors' own code, computed in f32. What would compute something else is
    /// refused by its name. The authors' files name no site: it is the residual stream behind the layer in their path,
    /// `layer_12`.
    ///
    /// # Options
    /// - [load_temporal]
    ///
    /// # Example
    /// ```
    /// sae::load_temporal("tests/fixtures/temporal/topk")  //=> temporal dictionary of 24 features for resid_post.1
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load_temporal(ctx: NativeCallContext, path: &str, options: Options) -> Fallible<TemporalSae> {
        let env = env(&ctx)?;
        let options: LoadTemporalOptions = taken(options)?;
        let found = Core::load(&env.files, path, &options, &env.task).map_err(|e| e.about("path"))?;
        Ok(found.to_device(&env.device)?.into())
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Computes the novel codes of a temporal dictionary on texts: `[pos, d_sae]` of one text, `[text, pos, d_sae]` of
    /// several, with NaN after the end of shorter ones.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let t = sae::temporal(m, "resid_post.1", text, #{ d_sae: 16, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// t.codes(m, [5, 6, 7]).shape  //=> [3, 16]
    /// ```
    #[rhai_fn(global, name = "codes", pure, return_raw)]
    pub fn temporal_codes(ctx: NativeCallContext, t: &mut TemporalSae, m: Model, x: Any) -> Fallible<Tensor> {
        let input = texts(&ctx, &m, &x)?;
        let codes = t.core.codes_in(m.core(), &input.batch, &env(&ctx)?.task)?;
        Ok(of_texts(&input, &codes.novel)?)
    }

    /// Computes the codes that a temporal dictionary predicts from the tokens before, on texts: `[pos, d_sae]` of one
    /// text, `[text, pos, d_sae]` of several, with NaN after the end of shorter ones. They are dense, and may be below
    /// 0.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let t = sae::temporal(m, "resid_post.1", text, #{ d_sae: 16, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// t.predicted(m, [[5, 6, 7], [5]]).shape  //=> [2, 3, 16]
    /// ```
    #[rhai_fn(global, name = "predicted", pure, return_raw)]
    pub fn temporal_predicted(ctx: NativeCallContext, t: &mut TemporalSae, m: Model, x: Any) -> Fallible<Tensor> {
        let input = texts(&ctx, &m, &x)?;
        let codes = t.core.codes_in(m.core(), &input.batch, &env(&ctx)?.task)?;
        Ok(of_texts(&input, &codes.predicted)?)
    }

    /// Computes the attention pattern of a head of a temporal dictionary: `[query, key]` of one text, with an axis of
    /// texts before them of several, and NaN after the end of shorter ones. Key t is token t - 1, and key 0 stands for
    /// nothing.
    ///
    /// # Options
    /// - [pattern_temporal]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let t = sae::temporal(m, "resid_post.1", text, #{ d_sae: 16, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// t.pattern(m, [5, 6, 7], 3).sum(1).all_close(tensor::ones([3]))  //=> true
    /// ```
    #[rhai_fn(global, name = "pattern", pure, return_raw)]
    pub fn temporal_pattern(
        ctx: NativeCallContext,
        t: &mut TemporalSae,
        m: Model,
        x: Any,
        head: Int,
        options: Options,
    ) -> Fallible<Tensor> {
        let TemporalPatternOptions { layer } = taken(options)?;
        let head = given("head", &head).size()?;
        let input = texts(&ctx, &m, &x)?;
        let found = t.core.pattern_in(m.core(), &input.batch, layer, head, &env(&ctx)?.task)?;
        Ok(of_texts(&input, &found)?)
    }

    /// Measures what the parts of a temporal dictionary reconstruct on a text, each with the bias: the predicted part,
    /// the novel one, and both; and as a control the predicted part where the tokens before are those of another row of
    /// the text.
    ///
    /// `l0` is the mean number of codes that are not 0, and `energy` the part's share of the squared lengths of
    /// predicted and novel part together.
    ///
    /// # Options
    /// - [measure_temporal]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let t = sae::temporal(m, "resid_post.1", text, #{ d_sae: 16, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// t.parts(m, text)["part"]  //=> ["predicted", "predicted from another text", "novel", "both"]
    /// ```
    #[rhai_fn(global, name = "parts", pure, return_raw)]
    pub fn temporal_parts(
        ctx: NativeCallContext,
        t: &mut TemporalSae,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        Ok(t.core.parts(m.core(), &text, &taken(options)?, &env(&ctx)?.task)?)
    }

    /// Measures how well a temporal dictionary reconstructs its site on a text, as dictionaries are measured: its FVE,
    /// by predicted and novel codes together, the number of novel codes of a token, and the share of features that
    /// never are one.
    ///
    /// # Options
    /// - [measure_temporal]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let t = sae::temporal(m, "resid_post.1", text, #{ d_sae: 16, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// t.measure_on(m, text)["l0"] <= 2  //=> true
    /// ```
    #[rhai_fn(global, name = "measure_on", pure, return_raw)]
    pub fn measure_temporal(
        ctx: NativeCallContext,
        t: &mut TemporalSae,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Measures> {
        Ok(t.core.measured(m.core(), &text, &taken(options)?, &env(&ctx)?.task)?)
    }

    /// Measures what a model loses with the reconstruction of a temporal dictionary in the place of the activations, in
    /// nats, beside zeros and the mean there: the table is that of a dictionary's `effect`.
    ///
    /// # Options
    /// - [effect_temporal]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let t = sae::temporal(m, "resid_post.1", text, #{ d_sae: 16, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// t.effect(m, text).columns[5]  //=> "recovered"
    /// ```
    #[rhai_fn(global, name = "effect", pure, return_raw)]
    pub fn effect_temporal(
        ctx: NativeCallContext,
        t: &mut TemporalSae,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        Ok(t.core.effect(m.core(), &text, &taken(options)?, &env(&ctx)?.task)?.table())
    }

    /// Returns a hook that puts the reconstruction of a temporal dictionary in the place of the activations.
    ///
    /// It reads a text from its first token on, in generations, too, in one call or in a model that keeps it.
    ///
    /// # Options
    /// - [splice_temporal]
    /// - `pos` = all: a position or several; negative ones count from the end of each text
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let t = sae::temporal(m, "resid_post.1", text, #{ d_sae: 16, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// let exact = t.splice(#{ error: true });
    /// m.logits([5, 6, 7], #{ hooks: exact }).all_close(m.logits([5, 6, 7]), #{ atol: 1e-4 })  //=> true
    /// ```
    #[rhai_fn(global, name = "splice", pure, return_raw)]
    pub fn splice_temporal(t: &mut TemporalSae, options: Options) -> Fallible<Hook> {
        Ok(text_dictionaries::splice(&*t.core, options)?)
    }

    /// Makes a control of a temporal dictionary: one of the same shape whose weights are drawn at random, with the same
    /// sizes and the same bias. What its novel codes write is scaled by the one number that reconstructs a text best.
    ///
    /// # Options
    /// - [random_temporal]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let t = sae::temporal(m, "resid_post.1", text, #{ d_sae: 16, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// t.random(m, text, #{ seed: 1 })  //=> temporal dictionary of 16 features for resid_post.1
    /// ```
    #[rhai_fn(global, name = "random", pure, return_raw)]
    pub fn random_temporal(
        ctx: NativeCallContext,
        t: &mut TemporalSae,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<TemporalSae> {
        let env = env(&ctx)?;
        let TextRandomOptions { seed, rows } = taken(options)?;
        let found = env.drawing(&ctx, "TemporalSae.random", seed, |seed| {
            t.core.random(m.core(), &text, &rows, seed.draws(), &env.task)
        })?;
        Ok(found.into())
    }

    /// Returns the directions that the features of a temporal dictionary write: `[d_sae, d_in]`.
    ///
    /// # Example
    /// ```
    /// sae::load_temporal("tests/fixtures/temporal/topk").directions.shape  //=> [24, 6]
    /// ```
    #[rhai_fn(global, get = "directions", pure)]
    pub fn temporal_directions(t: &mut TemporalSae) -> Tensor {
        t.core.decoder.clone()
    }

    /// Returns the number of features of a temporal dictionary.
    ///
    /// # Example
    /// ```
    /// sae::load_temporal("tests/fixtures/temporal/topk").d_sae  //=> 24
    /// ```
    #[rhai_fn(global, get = "d_sae", pure)]
    pub fn temporal_d_sae(t: &mut TemporalSae) -> i64 {
        t.core.d_sae() as i64
    }

    /// Returns the losses of a temporal dictionary's fit, in at most a hundred rows: steps, and the mean share of the
    /// variance that was not explained since the row before. It has no rows where the dictionary was not fitted in this
    /// run.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let shape = #{ d_sae: 16, k: 2, steps: 3, context: 16, batch: 2 };
    /// sae::temporal(m, "resid_post.1", text, shape).history["step"]  //=> [1, 2, 3]
    /// ```
    #[rhai_fn(global, get = "history", pure)]
    pub fn temporal_history(t: &mut TemporalSae) -> Table {
        text_dictionaries::history(&t.losses)
    }

    /// Saves a temporal dictionary in a folder in the layout of SAELens, which loads it, too; returns the paths.
    ///
    /// # Example
    /// ```
    /// let t = sae::load_temporal("tests/fixtures/temporal/topk");
    /// t.save("temporal");
    /// sae::load_temporal("temporal").directions.equal(t.directions)  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_temporal(ctx: NativeCallContext, t: &mut TemporalSae, path: &str) -> Fallible<Array> {
        let places = t.core.save(&env(&ctx)?.files, Path::new(path)).map_err(|e| e.about("path"))?;
        Ok(places.into_iter().map(|place| place.display().to_string().into()).collect())
    }
}
