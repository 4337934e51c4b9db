//! Models as scripts hold them, and where they come from.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use rhai::plugin::*;
use rhai::{Dynamic, Map, NativeCallContext};
use serde_json::{Value, json};

use crate::base::{Card, Cell, Result, Task};
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::tokenizer::Tokenizer;
use crate::model::{self, init, load};
use crate::report::symbols::count;
use crate::report::{Item, Screen};
use crate::script::env::env;
use crate::script::options::{OptionReader, options};
use crate::script::show::Handle;
use crate::script::value::{Fallible, Given, Options, from_json, json as json_of};
use crate::tensor::{DType, dtype};
use crate::{bail, err};

#[derive(Clone)]
pub struct Model(Arc<model::Model>);

impl From<model::Model> for Model {
    fn from(model: model::Model) -> Self {
        Self(Arc::new(model))
    }
}

impl From<Arc<model::Model>> for Model {
    fn from(model: Arc<model::Model>) -> Self {
        Self(model)
    }
}

impl Model {
    pub fn shared(&self) -> &Arc<model::Model> {
        &self.0
    }

    pub fn config(&self) -> &Config {
        self.0.decoder.config()
    }

    pub fn decoder(&self) -> &Decoder {
        &self.0.decoder
    }

    pub fn core(&self) -> &model::Model {
        &self.0
    }

    /// The tokenizer, where there is one; else an error that says how to do without.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.0.text_tokenizer()
    }
}

impl Model {
    /// The config as a value of scripts.
    pub fn config_data(&self) -> Result<Dynamic> {
        Ok(from_json(written(self.config())?))
    }

    /// Where it is from, and its sizes.
    pub fn card(&self) -> Result<Card> {
        let weights = self.config().parameters()?;
        let parameters: usize = weights.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let tokenizer = self.core().tokenizer.as_ref().map(|tokenizer| format!("{tokenizer:?}"));
        let about: [(&str, Cell); 4] = [
            ("from", self.core().origin.clone().into()),
            ("parameters", parameters.into()),
            ("dtype", self.decoder().dtype().as_str().into()),
            ("tokenizer", tokenizer.map_or(Cell::Missing, Cell::from)),
        ];
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
        let fields = about.into_iter().chain(sizes).map(|(name, value)| (name.to_string(), value)).collect();
        Ok(Card { title: format!("{} model", config.family), fields, ..Card::default() })
    }
}

fn written(config: &Config) -> Result<Value> {
    serde_json::to_value(config).map_err(|e| err!(Bug, "a config that cannot be written: {e}"))
}

impl Handle for Model {
    const NAME: &'static str = "Model";

    fn short(&self) -> String {
        let config = self.config();
        format!("{} model of {}, d_model {}", config.family, count(config.layers, "layer"), config.d_model)
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.card()?.terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({ "origin": self.core().origin, "config": written(self.config())? }))
    }

    fn item(&self) -> Result<Option<Rc<dyn Item>>> {
        Ok(Some(Rc::new(self.card()?)))
    }
}

/// The tokenizer of a model that is made here: one that the script has, or one of given words or characters.
pub(super) fn tokenizer(read: &mut OptionReader) -> Result<Option<Tokenizer>> {
    let whole = read.get("tokenizer", |given| {
        let of_model = || given.handle::<Model>()?.core().tokenizer.clone();
        let found = given.handle::<Tokenizer>().or_else(of_model);
        found.ok_or_else(|| given.refuse("a tokenizer, as `data::tokenizer` makes, or a model that has one"))
    })?;
    let (words, characters) = (read.get("words", Given::texts)?, read.get("characters", Given::texts)?);
    let (bos, unknown) = (read.get("bos", Given::text)?, read.get("unknown", Given::text)?);
    if let Some(whole) = whole {
        if words.is_some() || characters.is_some() || bos.is_some() || unknown.is_some() {
            bail!(Argument, "expected `tokenizer` alone, found a list of tokens or one of their names beside it");
        }
        return Ok(Some(whole));
    }
    match (words, characters) {
        (None, None) => Ok(None),
        (Some(words), None) => Tokenizer::words(words, bos.as_deref(), unknown.as_deref()).map(Some),
        (None, Some(all)) => Tokenizer::characters(all, bos.as_deref(), unknown.as_deref()).map(Some),
        (Some(_), Some(_)) => bail!(Argument, "expected either `words` or `characters`, found both"),
    }
}

/// A map as JSON.
fn json_map(given: &Given) -> Result<serde_json::Map<String, Value>> {
    match json_of(&given.map()?.into(), &Task::default())? {
        Value::Object(fields) => Ok(fields),
        other => bail!(Bug, "a map that became {other}"),
    }
}

fn dtype_option(read: &mut OptionReader) -> Result<DType> {
    Ok(read.get("dtype", |given| dtype::parse(&given.text()?))?.unwrap_or(DType::F32))
}

#[export_module(manifest)]
pub mod functions {
    /// Loads a model: a folder as a hub download has it, one file, or `org/name` from the hub.
    ///
    /// A folder holds config.json, safetensors (in one file or several) or PyTorch's .bin, and a tokenizer. A file is
    /// GGUF, llama2.c's .bin with its tokenizer.bin beside it, .pt or safetensors with a config.json beside it or with
    /// the names that TransformerLens gives to weights. What is not on disk is looked for on the hub: `org/name`,
    /// `org/name@revision`, `org/name/file.gguf`, by way of its cache. `HF_TOKEN`, `HF_HOME`, `HF_ENDPOINT` and
    /// `HF_HUB_OFFLINE` mean what they mean elsewhere. Weights are used as they were published: nothing is folded or
    /// centred. What is not understood is refused by name.
    ///
    /// # Options
    /// - `dtype` = "f32": the dtype that the model computes in
    /// - `ignore` = none: keys of a config.json that are not to be looked at, where one is refused that is not known
    /// - `config` = none: a map of what the file of a TransformerLens model does not say
    /// - `tokenizer` = the one in or beside the file: the file or folder of another
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
        let mut read = super::options(options);
        let options = load::Options {
            dtype: super::dtype_option(&mut read)?,
            device: env.device.clone(),
            ignore: read.get("ignore", Given::texts)?.unwrap_or_default(),
            config: read.get("config", super::json_map)?.unwrap_or_default(),
            tokenizer: read.get("tokenizer", Given::text)?.map(PathBuf::from),
        };
        read.finish()?;
        let model: Model =
            model::Model::load(&env.files, source, &options, &env.task).map_err(|e| e.about("source"))?.into();
        env.models.remember(model.shared());
        Ok(model)
    }

    /// Makes a model of any size with random weights.
    ///
    /// `config` is a map; only `vocab`, the number of tokens, has to be given. What else it may hold is what
    /// `m.config` has, with these values where nothing is said: 2 `layers`, `d_model` 64, 4 `heads` of `d_head` d_model
    /// / heads, `kv_heads` as many, `d_mlp` 4 d_model (0 for attention only), `context` 128, `act` "gelu" (or relu, silu,
    /// ..), `norm` "layer" ("rms", or () for none), `positions` "rotary" ("learned", "none"), `causal` true, `tied`
    /// false, and biases, which `biases: false` leaves out. `model::init(m.config)` is a model like `m` that knows
    /// nothing. A map with a `model_type` is read as a config.json of that family, and the model is saved as one of its
    /// models is. Without words or characters the model has no tokenizer and reads ids.
    ///
    /// # Options
    /// - `seed` = none: a seed of this call's own; without one the run's seed decides
    /// - `dtype` = "f32": the dtype that the model computes in
    /// - `tokenizer` = none: the tokenizer that it reads texts with, as `data::tokenizer` makes, or a model whose is taken
    /// - `words` = none: the words that are its tokens, in the order of their ids
    /// - `characters` = none: the characters that are its tokens
    /// - `bos` = none: which of them marks the beginning of a text
    /// - `unknown` = none: which of them stands for all others; without it they are refused
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
        let mut read = super::options(options);
        let dtype = super::dtype_option(&mut read)?;
        let mut random = env.random.generator(read.seed()?);
        let tokenizer = super::tokenizer(&mut read)?;
        read.finish()?;
        let (config, published) =
            init::described(&super::json_of(&config.into(), &env.task)?).map_err(|e| e.about("config"))?;
        let weights = init::init(&config, &mut random, dtype, &env.device, &env.task)?;
        let decoder = Arc::new(Decoder::new(config, weights));
        Ok(model::Model {
            decoder,
            tokenizer,
            origin: "made here".into(),
            published: published.map(Arc::new),
            history: None,
        }
        .into())
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Writes the model into a folder: config.json, model.safetensors and its tokenizer.
    ///
    /// A model that was loaded is written as it was published, under the names of its own files.
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
        m.core().save(&env.files, Path::new(path), &env.task).map_err(|e| e.about("path"))?;
        Ok(())
    }
}
