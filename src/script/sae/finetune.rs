//! Fine-tuning dictionaries end to end, with the model's own loss.

use crate::sae::finetune::{FineTuneOptions, fine_tune_on};
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::script::sae::Sae;

#[export_module(manifest)]
pub mod methods {
    /// Trains the dictionary further, end to end: minimises KL(model || model with the reconstruction spliced in)
    /// (Braun et al. 2024), as a short last stage of training (Karvonen 2025). Returns a new dictionary; this one stays
    /// as it is.
    ///
    /// Directions keep their norms, and thresholds stay as they are. The curve of the divergence is in the new
    /// dictionary's `more.fine_tuned.kl`.
    ///
    /// # Options
    /// - [fine_tune]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let s = sae::random(8, 16, #{ k: 2, seed: 1 });
    /// let tuned = s.fine_tune(m, data::texts(["to be or not to be"]), #{ site: "resid_post.0", steps: 5, lr: 0.01, seed: 1 });
    /// let kl = tuned.more.fine_tuned.kl;
    /// kl[-1] < kl[0]  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn fine_tune(ctx: NativeCallContext, s: &mut Sae, m: Model, text: Text, options: Options) -> Fallible<Sae> {
        let env = env(&ctx)?;
        let options: FineTuneOptions = taken(options)?;
        let found = env.drawing(&ctx, "Sae.fine_tune", options.seed, |seed| {
            fine_tune_on(&s.core, m.core(), &text, &FineTuneOptions { seed, ..options.clone() }, &env.task)
        })?;
        Ok(found.into())
    }
}
