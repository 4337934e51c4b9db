//! `sae::lorsa`: low-rank sparse attention, a dictionary of an attention layer, and its methods.

use super::fit_calls::storage;
use super::text_dictionaries::{self, TextRandomOptions, of_texts};
use crate::features::lorsa::{LorsaCardOptions, cards};
use crate::sae::lorsa::Lorsa as Core;
use crate::sae::lorsa::fit::{FittedLorsa, fit};
use crate::sae::lorsa::openmoss::LoadLorsaOptions;
use crate::sae::lorsa::options::LorsaFitOptions;
use crate::sae::metrics::Measures;
use crate::sae::text_rows::dictionary::TextDictionary;
use crate::script::model::input::texts;
use crate::script::model::{Hook, Model};
use crate::script::prelude::*;

/// A dictionary of an attention layer, with the losses of its fit where it was fitted in this run.
#[derive(Clone)]
pub struct Lorsa {
    pub core: Rc<Core>,
    losses: Rc<Vec<f64>>,
}

impl From<Core> for Lorsa {
    fn from(core: Core) -> Self {
        Self { core: core.into(), losses: Rc::default() }
    }
}

impl Handle for Lorsa {
    const NAME: &'static str = "Lorsa";

    fn short(&self) -> String {
        let Core { about, groups, .. } = &*self.core;
        let heads = count(self.core.heads(), "head");
        format!("Lorsa of {heads} in {} for {}", count(*groups, "group"), about.reads)
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        let Core { about, turning, activation, groups, .. } = &*self.core;
        let fields = [
            ("model", about.model.as_ref().map(ToString::to_string).into()),
            ("reads", about.reads.as_str().into()),
            ("writes", about.writes.as_str().into()),
            ("heads", self.core.heads().into()),
            ("groups", (*groups).into()),
            ("d_qk", self.core.d_qk().into()),
            ("rotated coordinates", turning.as_ref().map(|turning| turning.rotary.dims).into()),
            ("activation", activation.name().into()),
            ("active at most", activation.most().into()),
            ("context", about.context.into()),
        ];
        Card::new(self.short(), fields).terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let Core { about, activation, groups, .. } = &*self.core;
        Ok(json!({
            "model": about.model, "reads": about.reads, "writes": about.writes, "heads": self.core.heads(),
            "groups": groups, "d_qk": self.core.d_qk(), "activation": activation.name(), "k": activation.most(),
            "context": about.context, "more": about.more,
        }))
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Fits a Lorsa (low-rank sparse attention, He et al. 2025) of one attention layer: it predicts what the layer writes from
    /// what it reads, with many heads of rank one, of which `k` are active at a token.
    ///
    /// A head reads one number at every token, mixes these numbers by the attention pattern of its group, and writes along one
    /// direction. Groups of heads share queries and keys, which are rotated as the layer's. With `start: "model"` groups begin
    /// with the layer's own queries and keys, as the authors advise; then patterns say less about what the fit found.
    /// Rows have `context` tokens, and the Lorsa reads no longer texts.
    ///
    /// Ctrl-C leaves the Lorsa as it is. A fit that has ended is cached, and one with a `dir` is not cached but resumes
    /// from its checkpoints there, as in `sae::fit`.
    ///
    /// # Options
    /// - [lorsa]
    /// - [keep]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let l = sae::lorsa(m, 1, text, #{ heads: 12, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// l  //=> Lorsa of 12 heads in 6 groups for attn_in.1
    /// ```
    #[rhai_fn(return_raw)]
    pub fn lorsa(ctx: NativeCallContext, m: Model, layer: Int, text: Text, options: Options) -> Fallible<Lorsa> {
        let env = env(&ctx)?;
        let (mut options, checkpoints) = taken_both::<LorsaFitOptions, _>(options)?;
        let layer = given("layer", &layer).size()?;
        let seed = options.descent.seed;
        let FittedLorsa { made, losses } = env.drawing(&ctx, "sae::lorsa", seed, |seed| {
            options.descent.seed = seed;
            fit(m.core(), layer, &text, &options, &storage(&env, checkpoints), &env.task)
        })?;
        Ok(Lorsa { core: made.into(), losses: losses.into() })
    }

    /// Loads a Lorsa: a file that `l.save(path)` wrote, or a folder in the layout of OpenMOSS's Language-Model-SAEs
    /// (config.json and sae_weights.safetensors), here or on the hub as `org/name/path`.
    ///
    /// Codes are those of the authors' own code. Mean norms of a data set become part of the weights. What would compute something
    /// else is refused by its name. A published one reads `blocks.N.ln1.hook_normalized`, which in models with RMS norms stands
    /// before the weights of the norm: give the model, and it reads `attn_in.N`.
    ///
    /// # Options
    /// - [load_lorsa]
    ///
    /// # Example
    /// ```
    /// sae::load_lorsa("tests/fixtures/lorsa/topk")  //=> Lorsa of 18 heads in 3 groups for blocks.2.ln1.hook_normalized
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load_lorsa(ctx: NativeCallContext, path: &str, options: Options) -> Fallible<Lorsa> {
        let env = env(&ctx)?;
        let options: LoadLorsaOptions = taken(options)?;
        let found = Core::load(&env.files, path, &options, &env.task).map_err(|e| e.about("path"))?;
        Ok(found.to_device(&env.device)?.into())
    }

    #[rhai_fn(name = "load_lorsa", return_raw)]
    pub fn load_lorsa_for(ctx: NativeCallContext, path: &str, m: Model, options: Options) -> Fallible<Lorsa> {
        let env = env(&ctx)?;
        let options: LoadLorsaOptions = taken(options)?;
        let found = Core::load(&env.files, path, &options, &env.task).map_err(|e| e.about("path"))?;
        Ok(found.of_model(m.core())?.to_device(&env.device)?.into())
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Computes the codes of a Lorsa's heads on texts: `[pos, heads]` of one text, `[text, pos, heads]` of several, with NaN
    /// after the end of shorter ones.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let l = sae::lorsa(m, 1, data::text("sample", #{ tokens: 200 }), #{ heads: 12, k: 2, steps: 2, context: 16, batch: 2 });
    /// l.codes(m, [5, 6, 7]).shape  //=> [3, 12]
    /// ```
    #[rhai_fn(global, name = "codes", pure, return_raw)]
    pub fn lorsa_codes(ctx: NativeCallContext, l: &mut Lorsa, m: Model, x: Any) -> Fallible<Tensor> {
        let input = texts(&ctx, &m, &x)?;
        let codes = l.core.codes(m.core(), &input.batch, &env(&ctx)?.task)?;
        Ok(of_texts(&input, &codes)?)
    }

    /// Computes the attention pattern that a head of a Lorsa shares with its group: `[query, key]` of one text, with an axis of
    /// texts before them of several, and NaN after the end of shorter ones.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let l = sae::lorsa(m, 1, data::text("sample", #{ tokens: 200 }), #{ heads: 12, k: 2, steps: 2, context: 16, batch: 2 });
    /// l.pattern(m, [5, 6, 7], 11).sum(1).all_close(tensor::ones([3]))  //=> true
    /// ```
    #[rhai_fn(global, name = "pattern", pure, return_raw)]
    pub fn lorsa_pattern(ctx: NativeCallContext, l: &mut Lorsa, m: Model, x: Any, head: Int) -> Fallible<Tensor> {
        let group = l.core.group_of(given("head", &head).size()?)?;
        let input = texts(&ctx, &m, &x)?;
        let read = l.core.attended_in(m.core(), &input.batch, &env(&ctx)?.task)?;
        Ok(of_texts(&input, &l.core.pattern(&read, group)?)?)
    }

    /// Computes what a head of a Lorsa reads from each token: its attention there times its value, `[query, key]` of one text,
    /// with an axis of texts before them of several. A row sums to the head's code where it is active.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let l = sae::lorsa(m, 1, data::text("sample", #{ tokens: 200 }), #{ heads: 12, k: 12, steps: 2, context: 16, batch: 2 });
    /// let read = l.reads(m, [5, 6, 7], 3).sum(1);
    /// read.maximum(0).all_close(l.codes(m, [5, 6, 7])[[":", 3]])  //=> true
    /// ```
    #[rhai_fn(global, name = "reads", pure, return_raw)]
    pub fn lorsa_reads(ctx: NativeCallContext, l: &mut Lorsa, m: Model, x: Any, head: Int) -> Fallible<Tensor> {
        let head = given("head", &head).size()?;
        l.core.group_of(head)?;
        let input = texts(&ctx, &m, &x)?;
        let read = l.core.attended_in(m.core(), &input.batch, &env(&ctx)?.task)?;
        Ok(of_texts(&input, &l.core.reads(&read, head)?)?)
    }

    /// Measures how well a Lorsa predicts what its layer writes on a text, as dictionaries are measured: its FVE, how many heads
    /// are active at a token, and the share that never are. `l.random` makes the control.
    ///
    /// # Options
    /// - [measure_lorsa]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let l = sae::lorsa(m, 1, text, #{ heads: 12, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// l.measure_on(m, text)["l0"] <= 2  //=> true
    /// ```
    #[rhai_fn(global, name = "measure_on", pure, return_raw)]
    pub fn measure_lorsa(
        ctx: NativeCallContext,
        l: &mut Lorsa,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Measures> {
        Ok(l.core.measured(m.core(), &text, &taken(options)?, &env(&ctx)?.task)?)
    }

    /// Measures what a model loses with a Lorsa in place of its attention layer, in nats, beside zeros and the mean there: the
    /// table is that of a dictionary's `effect`.
    ///
    /// # Options
    /// - [effect_lorsa]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let l = sae::lorsa(m, 1, text, #{ heads: 12, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// l.effect(m, text).columns[5]  //=> "recovered"
    /// ```
    #[rhai_fn(global, name = "effect", pure, return_raw)]
    pub fn effect_lorsa(
        ctx: NativeCallContext,
        l: &mut Lorsa,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        Ok(l.core.effect(m.core(), &text, &taken(options)?, &env(&ctx)?.task)?.table())
    }

    /// Returns a hook that puts what a Lorsa predicts in the place of what its layer writes.
    ///
    /// It reads a text from its first token on, so a generation takes it as one of its `hooks`: a model that keeps it has only the
    /// newest token at each step.
    ///
    /// # Options
    /// - [splice_lorsa]
    /// - `pos` = all: a position or several; negative ones count from the end of each text
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let l = sae::lorsa(m, 1, data::text("sample", #{ tokens: 200 }), #{ heads: 12, k: 2, steps: 2, context: 16, batch: 2 });
    /// let exact = l.splice(#{ error: true });
    /// m.logits([5, 6, 7], #{ hooks: exact }).all_close(m.logits([5, 6, 7]), #{ atol: 1e-4 })  //=> true
    /// ```
    #[rhai_fn(global, name = "splice", pure, return_raw)]
    pub fn splice_lorsa(l: &mut Lorsa, options: Options) -> Fallible<Hook> {
        Ok(text_dictionaries::splice(&*l.core, options)?)
    }

    /// Makes a control of a Lorsa: one of the same shape whose heads are drawn at random, with weights of the same sizes. What
    /// they write is scaled by one number and moved by a bias, which predict best what the layer writes on a text.
    ///
    /// # Options
    /// - [random_lorsa]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let l = sae::lorsa(m, 1, text, #{ heads: 12, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// l.random(m, text, #{ seed: 1 }).measure_on(m, text)["fve"] >= -0.001  //=> true
    /// ```
    #[rhai_fn(global, name = "random", pure, return_raw)]
    pub fn random_lorsa(
        ctx: NativeCallContext,
        l: &mut Lorsa,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Lorsa> {
        let env = env(&ctx)?;
        let TextRandomOptions { seed, rows } = taken(options)?;
        let found = env.drawing(&ctx, "Lorsa.random", seed, |seed| {
            l.core.random(m.core(), &text, &rows, seed.draws(), &env.task)
        })?;
        Ok(found.into())
    }

    /// Makes the cards of some heads of a Lorsa, like those of features: the contexts where a head is most active, what it read
    /// there and from which tokens, how far these are, and the tokens whose logits it raises.
    ///
    /// # Options
    /// - [lorsa_card]
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// let l = sae::lorsa(m, 1, text, #{ heads: 12, k: 2, steps: 2, context: 16, batch: 2, seed: 1 });
    /// l.cards(m, text, [3])[0].feature  //=> 3
    /// ```
    #[rhai_fn(global, name = "cards", pure, return_raw)]
    pub fn lorsa_cards(
        ctx: NativeCallContext,
        l: &mut Lorsa,
        m: Model,
        text: Text,
        heads: Array,
        options: Options,
    ) -> Fallible<Array> {
        let options: LorsaCardOptions = taken(options)?;
        let heads = given("heads", &Dynamic::from(heads)).sizes()?;
        let found = cards(&l.core, m.core(), &text, &heads, &options, &env(&ctx)?.task)?;
        Ok(found.into_iter().map(Dynamic::from).collect())
    }

    /// Returns the directions that the heads of a Lorsa write: `[heads, d_model]`.
    ///
    /// # Example
    /// ```
    /// sae::load_lorsa("tests/fixtures/lorsa/topk").directions.shape  //=> [18, 12]
    /// ```
    #[rhai_fn(global, get = "directions", pure)]
    pub fn lorsa_directions(l: &mut Lorsa) -> Tensor {
        l.core.decoder.clone()
    }

    /// Returns the number of heads of a Lorsa.
    ///
    /// # Example
    /// ```
    /// sae::load_lorsa("tests/fixtures/lorsa/topk").heads  //=> 18
    /// ```
    #[rhai_fn(global, get = "heads", pure)]
    pub fn lorsa_heads(l: &mut Lorsa) -> i64 {
        l.core.heads() as i64
    }

    /// Returns the number of groups of heads of a Lorsa. The heads of a group follow one another.
    ///
    /// # Example
    /// ```
    /// sae::load_lorsa("tests/fixtures/lorsa/topk").groups  //=> 3
    /// ```
    #[rhai_fn(global, get = "groups", pure)]
    pub fn lorsa_groups(l: &mut Lorsa) -> i64 {
        l.core.groups as i64
    }

    /// Returns the losses of a Lorsa's fit, in at most a hundred rows: steps, and the mean share of the variance that was not
    /// explained since the row before. It has no rows where the Lorsa was not fitted in this run.
    ///
    /// # Example
    /// ```
    /// let m = model::load("tiny");
    /// let text = data::text("sample", #{ tokens: 200 });
    /// sae::lorsa(m, 1, text, #{ heads: 12, k: 2, steps: 3, context: 16, batch: 2 }).history["step"]  //=> [1, 2, 3]
    /// ```
    #[rhai_fn(global, get = "history", pure)]
    pub fn lorsa_history(l: &mut Lorsa) -> Table {
        text_dictionaries::history(&l.losses)
    }

    /// Saves a Lorsa as safetensors; returns the path.
    ///
    /// # Example
    /// ```
    /// let l = sae::load_lorsa("tests/fixtures/lorsa/topk");
    /// l.save("lorsa.safetensors");
    /// sae::load_lorsa("lorsa.safetensors").directions.equal(l.directions)  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_lorsa(ctx: NativeCallContext, l: &mut Lorsa, path: &str) -> Fallible<String> {
        let place = l.core.save(&env(&ctx)?.files, Path::new(path)).map_err(|e| e.about("path"))?;
        Ok(place.display().to_string())
    }
}
