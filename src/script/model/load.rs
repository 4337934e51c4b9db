//! Models as scripts hold them, and where they come from.

use super::{Hook, InitOptions, LoadOptions};
use crate::base::random::generator;
use crate::checkpoint::described::TokenListOptions;
use crate::model;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::script::engine::value::{handle, json as json_of};
use crate::script::prelude::*;
use crate::tokenizer::Tokenizer;

/// A model, and the hooks that it keeps. The core's model keeps those, too, but cannot call functions of a script: calls
/// that run the model with hooks bind all of them to the plain one.
#[derive(Clone)]
pub struct Model {
    core: Arc<model::Model>,
    plain: Arc<model::Model>,
    kept: Vec<Hook>,
}

impl From<model::Model> for Model {
    fn from(model: model::Model) -> Self {
        Arc::new(model).into()
    }
}

impl From<Arc<model::Model>> for Model {
    fn from(model: Arc<model::Model>) -> Self {
        Self { core: model.clone(), plain: model, kept: Vec::new() }
    }
}

impl Model {
    pub fn shared(&self) -> &Arc<model::Model> {
        &self.core
    }

    pub fn config(&self) -> &Config {
        self.plain.decoder.config()
    }

    /// Returns the decoder without the hooks that the model keeps, for calls that bind [`Model::kept`].
    pub fn decoder(&self) -> &Decoder {
        &self.plain.decoder
    }

    /// Returns the model without the hooks that it keeps.
    pub fn plain(&self) -> &model::Model {
        &self.plain
    }

    pub fn kept(&self) -> &[Hook] {
        &self.kept
    }

    pub fn core(&self) -> &model::Model {
        &self.core
    }

    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.core.tokenizer()
    }

    /// Returns the model with these hooks, which it keeps after those that it has.
    pub fn with(&self, hooks: Vec<Hook>) -> Result<Self> {
        let count = self.kept.len() + hooks.len();
        if count > MOST_KEPT {
            return Err(err!(Argument, "expected a model that keeps at most {MOST_KEPT} hooks, found {count}")
                .hint("one hook acts at many sites: hooks::zero(\"mlp_out.*\")"));
        }
        let new = hooks.iter().map(|hook| hook.kept(&self.plain)).collect::<Result<Vec<_>>>()?;
        let in_core = [self.core.decoder.kept(), &new].concat();
        let kept = [&self.kept[..], &hooks].concat();
        Ok(Self { core: Arc::new(self.plain.keeping(in_core)), plain: self.plain.clone(), kept })
    }
}

/// Largest number of hooks that a model keeps: each pass asks all of them at every site.
const MOST_KEPT: usize = 1000;

impl Model {
    /// Returns the config as a value of scripts.
    pub fn config_data(&self) -> Result<Dynamic> {
        Ok(from_json(written(self.config())?))
    }

    /// Names the dtype, the formats of quantised matrices, and products of another dtype.
    fn computing(&self) -> String {
        let dtype = self.decoder().dtype().as_str();
        let weights = self.decoder().weights();
        let mut about = match weights.packings().as_slice() {
            [] => dtype.into(),
            formats => format!("{dtype}, matrices in {}", formats.join(", ")),
        };
        if let Some(rounding) = weights.rounding() {
            about += ", products of ";
            about += rounding;
        }
        about
    }

    /// Shows the origin of the model and its sizes.
    pub fn card(&self) -> Result<Card> {
        let weights = self.config().parameters()?;
        let parameters: usize = weights.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let tokenizer = self.core().tokenizer.as_ref().map(|tokenizer| format!("{tokenizer:?}"));
        let about: [(&str, Cell); 4] = [
            ("from", self.core().name().to_string().into()),
            ("parameters", parameters.into()),
            ("dtype", self.computing().into()),
            ("tokenizer", tokenizer.into()),
        ];
        let adapter = self.core().adapter.as_ref().map(|adapter| ("adapter", adapter.to_string().into()));
        let config = self.config();
        let sizes: [(&str, usize); 6] = [
            ("layers", config.layers),
            ("d_model", config.d_model),
            ("heads", config.heads),
            ("d_mlp", config.d_mlp),
            ("vocab", config.vocab),
            ("context", config.context),
        ];
        let sizes = sizes.map(|(name, size)| (name, size.into()));
        Ok(Card::new(format!("{} model", config.family), about.into_iter().chain(adapter).chain(sizes)))
    }
}

fn written(config: &Config) -> Result<Value> {
    serde_json::to_value(config).map_err(|e| err!(Bug, "a config that cannot be written: {e}"))
}

impl Handle for Model {
    const NAME: &'static str = "Model";

    fn short(&self) -> String {
        let config = self.config();
        let kept =
            if self.kept.is_empty() { String::new() } else { format!(", with {}", count(self.kept.len(), "hook")) };
        format!("{} model of {}, d_model {}{kept}", config.family, count(config.layers, "layer"), config.d_model)
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.card()?.terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({ "origin": self.core().name(), "config": written(self.config())? }))
    }

    fn item(&self) -> Result<Option<Rc<dyn Item>>> {
        Ok(Some(Rc::new(self.card()?)))
    }
}

/// A tokenizer that a script gives, or that of a model.
#[derive(Clone)]
pub struct GivenTokenizer(Tokenizer);

impl Setting for GivenTokenizer {
    fn wanted() -> String {
        "a tokenizer, as `data::tokenizer` makes, or a model that has one".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let of_model = || handle::<Model>(value)?.core().tokenizer.clone();
        handle::<Tokenizer>(value).or_else(of_model).map(Self)
    }

    fn written(&self) -> String {
        format!("{:?}", self.0)
    }
}

crate::options! {
    /// The tokenizer of a model that is made here.
    #[derive(Clone)]
    pub struct NewTokenizer {
        /// The tokenizer for its texts, as `data::tokenizer` makes, or a model that has one.
        tokenizer: Option<GivenTokenizer> = None => usually("that of a trained model, or none");
        with tokens: TokenListOptions;
    }
}

impl NewTokenizer {
    pub(super) fn made(self) -> Result<Option<Tokenizer>> {
        self.tokens.tokenizer(self.tokenizer.map(|given| given.0))
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Loads a model: a folder in the layout of the hub, one file, or `org/name` from the hub.
    ///
    /// A folder has config.json, safetensors (in one file or several) or PyTorch's .bin, and a tokenizer. A file is
    /// GGUF (any part of a model in several), llama2.c's .bin with its tokenizer.bin beside it, or .pt or safetensors,
    /// with a config.json beside it or with TransformerLens' names of weights. What is not on disk is downloaded from the hub into its cache: `org/name`,
    /// `org/name@revision`, `org/name/file.gguf`. `HF_TOKEN`, `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` are
    /// respected. Weights are used as published: nothing is folded or centred. Unknown settings are refused by name.
    ///
    /// `adapter` is a folder that PEFT's `save_pretrained` wrote, of LoRA with any ranks, alphas and rsLoRA, embeddings, biases
    /// and whole modules; DoRA and other kinds are refused by name, and so is an adapter of another base, before any weight
    /// is read. Its matrices stay beside the weights: `m.adapter.scale(1.5)` amplifies it, and `m.adapter.merge()` merges it.
    ///
    /// # Options
    /// - [load_model]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10 });
    /// m.save("small");
    /// model::load("small").logits([1, 2]).equal(m.logits([1, 2]))  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load(ctx: NativeCallContext, source: &str, options: Options) -> Fallible<Model> {
        let env = env(&ctx)?;
        let options: LoadOptions = taken(options)?;
        let words = format!("{source:?} {options:?}");
        let loading = options.onto(env.device.clone());
        let load = |files: &Files| model::Model::load(files, source, &loading, &env.task);
        let model = env.models.loaded(&words, &env.files, load).map_err(|e| e.about("source"))?;
        env.models.remember(&model);
        Ok(model.into())
    }

    /// Makes a model of any size with random weights.
    ///
    /// `config` is a map; only `vocab`, the number of tokens, is required. Its other keys are those of `m.config`, with
    /// these defaults: 2 `layers`, `d_model` 64, 4 `heads` of `d_head` d_model / heads, `kv_heads` equal to `heads`,
    /// `d_mlp` 4 d_model (0 for attention only), `context` 128, `act` "gelu" (or relu, silu, ..), `norm` "layer" ("rms",
    /// or () for none), `positions` "rotary" ("learned", "alibi", "none"), `causal` true, `tied` false, and biases, which
    /// `biases: false` removes. `model::init(m.config)` is an untrained model with the config of `m`. A map with a
    /// `model_type` is read as a config.json of that family, and the model is saved in that family's format. Without
    /// `tokenizer`, `words` or `characters` the model reads ids only.
    ///
    /// # Options
    /// - [init_model]
    /// - [new_tokenizer]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 16, heads: 4, d_mlp: 0, vocab: 10 });
    /// m  //=> microtome model of 2 layers, d_model 16
    /// let m = model::init(#{ vocab: 3 }, #{ words: ["the", "cat", "sat"], seed: 1 });
    /// m.logits("the cat").shape  //=> [1, 2, 3]
    /// let sizes = #{ vocab_size: 10, hidden_size: 16, intermediate_size: 32, num_attention_heads: 2, num_hidden_layers: 1 };
    /// let m = model::init(#{ model_type: "gpt_neox" } + sizes);
    /// m.save("neox");
    /// model::load("neox")  //=> gpt_neox model of 1 layer, d_model 16
    /// ```
    #[rhai_fn(return_raw)]
    pub fn init(ctx: NativeCallContext, config: Map, options: Options) -> Fallible<Model> {
        let env = env(&ctx)?;
        let (InitOptions { dtype, seed }, tokenizer) = taken_both::<_, NewTokenizer>(options)?;
        let config = super::json_of(&config.into(), &env.task)?;
        let tokenizer = tokenizer.made()?;
        let made = env.drawing(&ctx, "model::init", seed.seed, |seed| {
            let mut random = generator(seed.draws());
            model::Model::init(&config, tokenizer, dtype, &mut random, &env.device, &env.task)
        });
        Ok(made?.into())
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the model with hooks that it keeps: they act in every run of it, before those of a call.
    ///
    /// It goes wherever a model goes: its logits, losses, gradients, generation, harvests and evaluations are those of the
    /// model as the hooks change it. `m.with(a).with(b)` keeps both, in that order. What reads weights alone is not changed
    /// by hooks; what computes parts of passes, as a causal tree does, trains the model or saves it refuses them by name.
    /// A hook with a function of the script acts in calls that take `hooks`, and others refuse it.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let without = m.with(hooks::zero("mlp_out.*"));
    /// without  //=> microtome model of 2 layers, d_model 8, with 1 hook
    /// without.logits([1, 2]).equal(m.logits([1, 2], #{ hooks: hooks::zero("mlp_out.*") }))  //=> true
    /// without.with(hooks::zero("final_norm")).logits([1, 2]).sum()  //=> 0.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn with(m: &mut Model, hooks: Any) -> Fallible<Model> {
        Ok(m.with(Hook::list(&hooks)?).map_err(|e| e.about("hooks"))?)
    }

    /// Returns the model with keys and values of its own for each query head, where heads share them (grouped-query
    /// attention): copies, so that its outputs are equal.
    ///
    /// In a model whose heads share keys and values, `k`, `k_rot` and `v` have a head for each group, and what is done to one
    /// of them is done to all of its query heads. Here each query head has its own, so that hooks, grids, paths and other
    /// calls by head tell query heads apart. Edges of `circuit::edges` are those of query heads in any model.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 4, kv_heads: 2, vocab: 10, context: 8 }, #{ seed: 1 });
    /// m.run([1, 2])["v.0"].shape  //=> [1, 2, 2, 2]
    /// let u = m.ungrouped();
    /// u.run([1, 2])["v.0"].shape  //=> [1, 2, 4, 2]
    /// u.logits([1, 2]).all_close(m.logits([1, 2]), #{ atol: 1e-6 })  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn ungrouped(ctx: NativeCallContext, m: &mut Model) -> Fallible<Model> {
        m.core().decoder.check_keeps_none("a model with keys and values for each query head")?;
        if !m.config().is_grouped() {
            return Ok(m.clone());
        }
        let core = m.core().clone();
        Ok(env(&ctx)?.task.apart(move || core.ungrouped())?.into())
    }

    /// Saves the model in a folder: config.json, model.safetensors and its tokenizer.
    ///
    /// A model that was loaded is saved in the format of its publisher, with the same names of files and weights.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 2 }, #{ words: ["the", "cat"] });
    /// m.save("small");
    /// model::load("small").tokens("cat").ids  //=> [1]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, m: &mut Model, path: &str) -> Fallible<()> {
        let env = env(&ctx)?;
        m.core().decoder.check_keeps_none("a saved model")?;
        m.core().save(&env.files, Path::new(path), &env.task).map_err(|e| e.about("path"))?;
        Ok(())
    }
}
