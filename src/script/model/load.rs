//! Models as scripts hold them, and where they come from.

use std::sync::Arc;

use rhai::plugin::*;
use rhai::{Dynamic, Map, NativeCallContext};
use serde_json::{Value, json};

use crate::base::{Card, Cell, Result};
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::tokenizer::Tokenizer;
use crate::model::{self, init};
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

impl Model {
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
        self.0.tokenizer.as_ref().ok_or_else(|| {
            err!(Argument, "this model has no tokenizer: it reads token ids, and no text")
                .hint("give it ids, such as [1, 2, 3]")
        })
    }
}

impl Model {
    /// The config as a value of scripts.
    pub fn config_data(&self) -> Result<Dynamic> {
        Ok(from_json(&written(self.config())?))
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
        Card { title: format!("{} model", config.family), fields, ..Card::default() }.terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({ "origin": self.core().origin, "config": written(self.config())? }))
    }
}

/// The tokenizer of a model that is made here: one of given words or characters.
fn tokenizer(read: &mut OptionReader) -> Result<Option<Tokenizer>> {
    let (words, characters) = (read.get("words", Given::texts)?, read.get("characters", Given::texts)?);
    let (bos, unknown) = (read.get("bos", Given::text)?, read.get("unknown", Given::text)?);
    match (words, characters) {
        (None, None) => Ok(None),
        (Some(words), None) => Tokenizer::words(words, bos.as_deref(), unknown.as_deref()).map(Some),
        (None, Some(all)) => Tokenizer::characters(all, bos.as_deref(), unknown.as_deref()).map(Some),
        (Some(_), Some(_)) => bail!(Argument, "expected either `words` or `characters`, found both"),
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Makes a model of any size with random weights.
    ///
    /// `config` is a map; only `vocab`, the number of tokens, has to be given. What else it may hold is what
    /// `m.config` has, with these values where nothing is said: 2 `layers`, `d_model` 64, 4 `heads` of `d_head` d_model
    /// / heads, `kv_heads` as many, `d_mlp` 4 d_model (0 for attention only), `context` 128, `act` "gelu" (or relu, silu,
    /// ..), `norm` "layer" ("rms", or () for none), `positions` "rotary" ("learned", "none"), `causal` true, `tied`
    /// false, and biases, which `biases: false` leaves out. Without words or characters the model has no tokenizer and
    /// reads ids.
    ///
    /// # Options
    /// - `seed` = none: a seed of this call's own; without one the run's seed decides
    /// - `dtype` = "f32": the dtype that the model computes in
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
    /// ```
    #[rhai_fn(return_raw)]
    pub fn init(ctx: NativeCallContext, config: Map) -> Fallible<Model> {
        init_with(ctx, config, Options::new())
    }

    #[rhai_fn(name = "init", return_raw)]
    pub fn init_with(ctx: NativeCallContext, config: Map, options: Options) -> Fallible<Model> {
        let env = env(&ctx)?;
        let mut read = super::options(1, options);
        let dtype = read.get("dtype", |given| dtype::parse(&given.text()?))?.unwrap_or(DType::F32);
        let mut random = env.random.generator(read.seed()?);
        let tokenizer = super::tokenizer(&mut read)?;
        read.finish()?;
        let config = init::config(&super::json_of(&config.into())?).map_err(|e| e.arg(0))?;
        let weights = init::init(&config, &mut random, dtype, &env.device, &env.task)?;
        let decoder = Arc::new(Decoder::new(config, weights));
        Ok(model::Model { decoder, tokenizer, origin: "made here".into(), published: None }.into())
    }
}
