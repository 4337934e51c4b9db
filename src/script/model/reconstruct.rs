//! `m.reconstruct`: vectors of descriptions, by the activation reconstructor of a natural language autoencoder.

use crate::checkpoint::reconstructor::{ReconstructOptions, Reconstructor};
use crate::script::model::Model;
use crate::script::prelude::*;

#[export_module(manifest)]
pub mod methods {
    /// Makes vectors of descriptions, by a model that was trained for it: the activation reconstructor of a natural language
    /// autoencoder (kitft/natural_language_autoencoders). The cosine of a vector with that of its own description by `m.verbalise`
    /// says how much of it the description has.
    ///
    /// `nla_meta.yaml` beside the model's files says which prompt is read, `value_head.safetensors` has the map behind the last layer;
    /// both come from the hub with a model of the hub. Such a model has no last norm and no unembedding, and where its training
    /// compared directions alone the length of a vector means nothing. A description has one vector, [d_model], and an array of
    /// them [descriptions, d_model].
    ///
    /// # Options
    /// - [reconstruct]
    ///
    /// # Example
    /// ```
    /// let words = ["it", "is", "a", "cat"];
    /// model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4, context: 16 }, #{ words: words, seed: 1 }).save("doc/ar");
    /// run::save_text("doc/ar/nla_meta.yaml", "kind: nla_model\nrole: ar\nd_model: 8\nprompt_templates:\n  ar: it is {explanation}\n");
    /// tensor::save("doc/ar/value_head.safetensors", #{ weight: tensor::eye(8) * 2 });
    /// let ar = model::load("doc/ar");
    /// let stream = ar.cache("it is a cat", "resid_post.0", #{ pos: -1 })["resid_post.0"];
    /// ar.reconstruct("a cat").all_close(stream[0][0] * 2)  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn reconstruct(ctx: NativeCallContext, m: &mut Model, explanations: Any, options: Options) -> Fallible<Tensor> {
        let env = env(&ctx)?;
        let options: ReconstructOptions = taken(options)?;
        let texts = Vec::<String>::of(&plain(&explanations)).filter(|texts| !texts.is_empty());
        let texts = texts.ok_or_else(|| given("explanations", &explanations).refuse("a text or an array of texts"))?;
        let place = options.meta.unwrap_or_else(|| m.plain().origin.clone());
        let reconstructor = Reconstructor::open(&env.files, &place, &env.task)?;
        let found = reconstructor.reconstruct(m.core(), &texts, &env.task)?;
        Ok(if explanations.is_array() { found } else { found.squeeze(0).map_err(Error::from)? })
    }
}
