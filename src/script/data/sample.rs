//! Text that a model generates: sampled, saved, and compared with its training text.

use std::path::Path;
use std::sync::Arc;

use rhai::plugin::*;
use rhai::{Array, Dynamic, Map, NativeCallContext};
use serde_json::{Value, json};

use super::baselines::text_of;
use crate::base::{Card, Cell, Result};
use crate::data::sample::{self, Asset, Settings};
use crate::err;
use crate::model::tokenizer::Tokenizer;
use crate::report::symbols::count;
use crate::report::{Item, Screen};
use crate::script::env::env;
use crate::script::model::Model;
use crate::script::options::options;
use crate::script::show::Handle;
use crate::script::value::{Any, Fallible, Options};
use crate::tensor::{Device, Tensor};

/// The default number of tokens.
const TOKENS: usize = 10_000;

/// Sampled text, with its tokenizer.
#[derive(Clone)]
pub struct Sample {
    asset: Arc<Asset>,
    tokenizer: Tokenizer,
    /// The first token of each row.
    start: u32,
}

impl Handle for Sample {
    const NAME: &'static str = "Sample";

    fn short(&self) -> String {
        let rows = self.asset.ids.len().div_ceil(self.asset.context.max(1) as usize);
        format!("sample of {} in {}", count(self.asset.ids.len(), "token"), count(rows, "row"))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        let beginning = self.asset.ids.get(..self.asset.ids.len().min(120)).unwrap_or_default();
        let settings = self.asset.settings;
        let fields: [(&str, Cell); 4] = [
            ("seed", (settings.seed as i64).into()),
            ("temperature", settings.temperature.into()),
            ("top_k", settings.top_k.into()),
            ("begins", self.tokenizer.decode(beginning)?.into()),
        ];
        let fields = fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        Card { title: self.short(), fields, ..Card::default() }.terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let settings = self.asset.settings;
        Ok(json!({
            "ids": self.asset.ids,
            "context": self.asset.context,
            "seed": settings.seed,
            "temperature": settings.temperature,
            "top_k": settings.top_k,
        }))
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Samples text from a model: many rows of its context at once, each of which begins with the EOS token.
    ///
    /// The same seed gives the same rows, and a larger sample begins with the rows of a smaller one. `save` writes the
    /// tokens into a small file.
    ///
    /// # Options
    /// - `tokens` = 10000: number of tokens
    /// - `seed` = 0: seed of the draws
    /// - `temperature` = 0.85: sampling temperature
    /// - `top_k` = 200: samples from this many most likely tokens
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 5 }, #{ tokenizer: t });
    /// data::draw(m, #{ tokens: 10 }).ids.shape  //=> [2, 5]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn draw(ctx: NativeCallContext, m: Model, options: Options) -> Fallible<Sample> {
        let (mut read, usual) = (super::options(options), Settings::default());
        let tokens = read.size("tokens", super::TOKENS)?;
        let settings = Settings {
            seed: read.seed()?.unwrap_or(usual.seed),
            temperature: read.number("temperature", usual.temperature)?,
            top_k: read.size("top_k", usual.top_k)?,
        };
        read.finish()?;
        let tokenizer = m.tokenizer().map_err(|e| e.about("m"))?.clone();
        let start = tokenizer.eos().or(tokenizer.bos()).ok_or_else(|| {
            err!(Argument, "expected a tokenizer with an EOS or BOS token to generate text, found none").about("m")
        })?;
        let task = &env(&ctx)?.task;
        let asset = Asset {
            ids: sample::sample(m.decoder(), start, tokens, settings, task).map_err(|e| e.about("options"))?,
            context: u32::try_from(m.config().context).map_err(|_| err!(Argument, "a context of 2^32 or more"))?,
            settings,
            weights: sample::fingerprint(m.decoder(), task)?,
        };
        Ok(Sample { asset: asset.into(), tokenizer, start })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// The ids of the complete rows: [rows, pos].
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 5 }, #{ tokenizer: t });
    /// data::draw(m, #{ tokens: 12 }).ids.shape  //=> [2, 5]
    /// ```
    #[rhai_fn(global, get = "ids", pure, return_raw)]
    pub fn ids(s: &mut Sample) -> Fallible<Tensor> {
        let context = s.asset.context as usize;
        let rows = s.asset.ids.len() / context.max(1);
        let ids: Vec<i64> = s.asset.ids.iter().take(rows * context).map(|id| i64::from(*id)).collect();
        Ok(Tensor::from_vec(ids, (rows, context), &Device::Cpu).map_err(crate::base::Error::from)?)
    }

    /// The passages as strings: rows, cut at EOS tokens.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c", #{ kind: "words", special: ["<end>"], min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 5 }, #{ tokenizer: t });
    /// data::draw(m, #{ tokens: 10 }).texts.some(|text| text.contains("<end>"))  //=> false
    /// ```
    #[rhai_fn(global, get = "texts", pure, return_raw)]
    pub fn texts(s: &mut Sample) -> Fallible<Array> {
        let rows = s.asset.ids.chunks(s.asset.context.max(1) as usize);
        let passages = rows.flat_map(|row| row.split(|id| *id == s.start)).filter(|ids| !ids.is_empty());
        Ok(passages.map(|ids| s.tokenizer.decode(ids).map(Dynamic::from)).collect::<Result<_>>()?)
    }

    /// Saves the tokens, packed, with the settings of the sample.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 5 }, #{ tokenizer: t });
    /// data::draw(m, #{ tokens: 10 }).save("doc/sample.bin")  //=> ()
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, s: &mut Sample, path: &str) -> Fallible<()> {
        let bytes = sample::write_asset(&s.asset)?;
        let _place = env(&ctx)?.files.save_whole(Path::new(path), bytes).map_err(|e| e.about("path"))?;
        Ok(())
    }

    /// The longest run of tokens that a row shares with a document of a text, to see whether the model has memorised
    /// it: a map of its `length`, its `text`, the `row` and, in the document from `origin`, the token where it begins
    /// (`place`).
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 5 }, #{ tokenizer: t });
    /// data::draw(m, #{ tokens: 10 }).longest_run("a a a a b b b b").length < 5  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn longest_run(ctx: NativeCallContext, s: &mut Sample, text: Any) -> Fallible<Map> {
        let corpus = text_of(&text)?;
        let (run, origin) = s.asset.longest_run_in(&corpus, &s.tokenizer, &env(&ctx)?.task)?;
        let ids = s.asset.ids.get(run.at..run.at + run.length).unwrap_or_default();
        let fields: [(&str, Dynamic); 5] = [
            ("length", (run.length as i64).into()),
            ("text", s.tokenizer.decode(ids)?.into()),
            ("row", ((run.at / s.asset.context.max(1) as usize) as i64).into()),
            ("origin", origin.map_or(Dynamic::UNIT, |origin| origin.to_string().into())),
            ("place", (run.place as i64).into()),
        ];
        Ok(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// The ids of all tokens, the length of rows, and the settings of the sample.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 5 }, #{ tokenizer: t });
    /// data::draw(m, #{ tokens: 10 }).to_map().ids.len()  //=> 10
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(s: &mut Sample) -> Fallible<Dynamic> {
        Ok(crate::script::value::from_json(s.json()?))
    }
}
