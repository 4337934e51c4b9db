//! Text that a model generates: sampled, saved, and compared with its training text.

use super::text::text_of;
use crate::data::sample::{self, DrawOptions, SampledText};
use crate::script::model::prelude::*;

/// Sampled text.
#[derive(Clone)]
pub struct Sample {
    core: Arc<SampledText>,
}

impl Handle for Sample {
    const NAME: &'static str = "Sample";

    fn short(&self) -> String {
        format!("sample of {} in {}", count(self.core.asset.ids.len(), "token"), count(self.core.rows(), "row"))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        let beginning = self.core.asset.ids.get(..self.core.asset.ids.len().min(120)).unwrap_or_default();
        let settings = self.core.asset.settings;
        let fields = [
            ("seed", (settings.seed as i64).into()),
            ("temperature", settings.temperature.into()),
            ("top_k", settings.top_k.into()),
            ("begins", self.core.tokenizer.decode(beginning)?.into()),
        ];
        Card::new(self.short(), fields).terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let settings = self.core.asset.settings;
        Ok(json!({
            "ids": self.core.asset.ids,
            "context": self.core.asset.context,
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
    /// - [draw]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 5 }, #{ tokenizer: t });
    /// data::draw(m, #{ tokens: 10 }).ids.shape  //=> [2, 5]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn draw(ctx: NativeCallContext, m: Model, options: Options) -> Fallible<Sample> {
        let options: DrawOptions = taken(options)?;
        let tokenizer = m.tokenizer().map_err(|e| e.about("m"))?;
        let drawn =
            SampledText::new(&m.core().decoder, tokenizer, &options, &env(&ctx)?.task).map_err(|e| e.about("m"))?;
        Ok(Sample { core: drawn.into() })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Returns the ids of the complete rows: [rows, pos].
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 5 }, #{ tokenizer: t });
    /// data::draw(m, #{ tokens: 12 }).ids.shape  //=> [2, 5]
    /// ```
    #[rhai_fn(global, get = "ids", pure, return_raw)]
    pub fn ids(s: &mut Sample) -> Fallible<Tensor> {
        Ok(s.core.ids()?)
    }

    /// Returns the passages as strings: rows, cut at EOS tokens.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c", #{ kind: "words", special: ["<end>"], min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 5 }, #{ tokenizer: t });
    /// data::draw(m, #{ tokens: 10 }).texts.some(|text| text.contains("<end>"))  //=> false
    /// ```
    #[rhai_fn(global, get = "texts", pure, return_raw)]
    pub fn texts(s: &mut Sample) -> Fallible<Array> {
        Ok(s.core.texts()?.into_iter().map(Dynamic::from).collect())
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
        let bytes = sample::write_asset(&s.core.asset)?;
        let _place = env(&ctx)?.files.save_whole(Path::new(path), bytes).map_err(|e| e.about("path"))?;
        Ok(())
    }

    /// Finds the longest run of tokens that a row shares with a document of a text, to see whether the model has
    /// memorised it: a map of its `length`, its `text`, the `row` and, in the document from `origin`, the token where
    /// it begins (`place`).
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 5 }, #{ tokenizer: t });
    /// data::draw(m, #{ tokens: 10 }).longest_run("a a a a b b b b").length < 5  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn longest_run(ctx: NativeCallContext, s: &mut Sample, text: Any) -> Fallible<Map> {
        let run = s.core.longest_run(&text_of(&text)?, &env(&ctx)?.task)?;
        let fields: [(&str, Dynamic); 5] = [
            ("length", (run.length as i64).into()),
            ("text", run.text.into()),
            ("row", (run.row as i64).into()),
            ("origin", run.origin.map_or(Dynamic::UNIT, |origin| origin.to_string().into())),
            ("place", (run.place as i64).into()),
        ];
        Ok(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// Returns the ids of all tokens, the length of rows, and the settings of the sample.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("a b c", #{ kind: "words", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 5 }, #{ tokenizer: t });
    /// data::draw(m, #{ tokens: 10 }).to_map().ids.len()  //=> 10
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(s: &mut Sample) -> Fallible<Dynamic> {
        Ok(mapped(s)?)
    }
}
