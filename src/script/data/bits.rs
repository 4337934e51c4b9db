//! Bits per byte: how well a model predicts a text.

use super::text::text_of;
use crate::data::bits::{BitsOptions, bits};
use crate::script::model::prelude::*;

#[export_module(manifest)]
pub mod methods {
    /// Computes the model's bits per byte on a text: `sum of -log2 p / bytes`, over all tokens that it predicts.
    ///
    /// It compares models with different tokenizers, and compressors. Each document is read from its beginning, after
    /// the EOS token (or the BOS token), in sliding windows of the model's context: each begins `stride` tokens after
    /// the one before and scores the tokens that that one did not reach. `text` is one of `data::text`, with its option
    /// `tokens`, a string or an array of strings.
    ///
    /// # Options
    /// - [bits]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t });
    /// m.bits_per_byte("not to be") < 8.0  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn bits_per_byte(ctx: NativeCallContext, m: &mut Model, text: Any, options: Options) -> Fallible<f64> {
        let options: BitsOptions = taken(options)?;
        let text = text_of(&text)?;
        Ok(bits(&m.core().decoder, m.tokenizer()?, &text, options.stride, &env(&ctx)?.task)?.per_byte())
    }
}
