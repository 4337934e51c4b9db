//! `m.verbalise`: vectors in words, by the activation verbaliser of a natural language autoencoder.

use crate::checkpoint::verbaliser::{VerbaliseOptions, Verbaliser};
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::tensor::{DType, Values};

#[export_module(manifest)]
pub mod methods {
    /// Describes vectors in words, by a model that was trained for it: the activation verbaliser of a natural language
    /// autoencoder (kitft/natural_language_autoencoders).
    ///
    /// `nla_meta.yaml` beside the model's files says which prompt is read, which token the vector replaces in it, and which
    /// norm it gets; it comes from the hub with a model of the hub. The result is what stands between the marks
    /// of an explanation. A vector, [d_model], has one description, and several, [vectors, d_model], an array of them.
    ///
    /// # Options
    /// - [verbalise]
    ///
    /// # Example
    /// ```
    /// let words = ["user", "what", "is", "x"];
    /// model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4, context: 64 }, #{ words: words }).save("doc/av");
    /// run::save_text("doc/av/chat_template.jinja", "user {{ messages[0].content }} user");
    /// let meta = "kind: nla_model\nrole: av\nd_model: 8\nextraction:\n  injection_scale: 2.0\ntokens:\n  injection_char: x\n";
    /// meta += "  injection_token_id: 3\n  injection_left_neighbor_id: 2\n  injection_right_neighbor_id: 0\n";
    /// run::save_text("doc/av/nla_meta.yaml", meta + "prompt_templates:\n  av: what is {injection_char}\n");
    /// let av = model::load("doc/av");
    /// av.verbalise(tensor::ones([8]), #{ tokens: 3, temperature: 0 }).len() > 0  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn verbalise(ctx: NativeCallContext, m: &mut Model, vectors: Any, options: Options) -> Fallible<Any> {
        let env = env(&ctx)?;
        let options: VerbaliseOptions = taken(options)?;
        let refusal = || given("vectors", &vectors).refuse("a vector [d_model], or several [vectors, d_model]");
        let values = Values::of(&plain(&vectors)).ok_or_else(refusal)?;
        let several = match values.dims().len() {
            1 => false,
            2 => true,
            _ => return Err(refusal().into()),
        };
        let precise = if values.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let values = values.tensor("vectors", precise)?;
        let values = if several { values } else { values.unsqueeze(0).map_err(Error::from)? };
        let place = options.meta.clone().unwrap_or_else(|| m.plain().origin.clone());
        let verbaliser = Verbaliser::open(&env.files, &place, &env.task)?;
        let seed = if options.is_greedy() { Seed::of(0) } else { options.seed.seed };
        let said = env.drawing(&ctx, "Model.verbalise", seed, |seed| {
            verbaliser.describe(m.core(), &values, &options, seed.draws(), &env.task)
        })?;
        let mut said = said.into_iter().map(Dynamic::from);
        Ok(if several { said.collect::<Array>().into() } else { said.next().unwrap_or_default() })
    }
}
