//! `m.patchscope`: what the model says of vectors of its stream.

use crate::model::reading::patchscope::{self as core, PatchscopeOptions};
use crate::script::model::Model;
use crate::script::model::input::{one_text, texts};
use crate::script::prelude::*;

#[export_module(manifest)]
pub mod methods {
    /// Reads the stream of a text with a patchscope (Ghandeharioun et al. 2024): each vector stands in a prompt in the place
    /// of a token, and the model goes on with the prompt.
    ///
    /// By default the vectors are those of the last token behind each layer, and replace what the same layer has at the last
    /// token of the prompt. The table has a row for each site: what the model says, and the probability of the first token
    /// of it; with several texts, a column of their numbers. SelfIE (Chen et al. 2024) puts all vectors in after
    /// the first layer, `#{ into: "resid_post.0" }`, in the place of several tokens named by `at`.
    ///
    /// # Options
    /// - [patchscope]
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat", "x"];
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 4, context: 16 }, #{ words: words });
    /// let said = m.patchscope("the cat sat", "the cat x", #{ tokens: 2 });
    /// said["site"]  //=> ["resid_post.0", "resid_post.1"]
    /// let same = m.patchscope("the cat", "the cat", #{ sites: "embed", tokens: 2 });
    /// same["says"][0] == m.generate("the cat", #{ tokens: 2 })  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn patchscope(ctx: NativeCallContext, m: &mut Model, x: Any, prompt: Any, options: Options) -> Fallible<Table> {
        let options: PatchscopeOptions = taken(options)?;
        let input = texts(&ctx, m, &x)?;
        let prompt = one_text(&ctx, m, "prompt", &prompt)?;
        let answers = core::patchscope(m.core(), &input.batch, &prompt, &options, &env(&ctx)?.task)?;
        Ok(core::table(answers, input.several))
    }
}
