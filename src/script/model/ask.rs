//! `m.ask`: questions about vectors, by an activation oracle.

use crate::checkpoint::oracle::{Oracle, OracleOptions};
use crate::model::inject::InjectedVectors;
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::tensor::{DType, Values};

/// Forms of the vectors of a question.
const WANTED: &str = "a vector [d_model], several [vectors, d_model], or an array of such";

#[export_module(manifest)]
pub mod methods {
    /// Asks a question about vectors, of a model that was trained to answer it: an activation oracle (Karvonen et al. 2025),
    /// which is loaded as any adapter is.
    ///
    /// `ao_config.json` beside the adapter's files says where vectors are added in the prompt, and of which layers they were in
    /// the training; it comes from the hub with an adapter of the hub. `layers` says behind which of them these vectors were read,
    /// in the model without the adapter. A vector, [d_model], or those of a text, [vectors, d_model], have one answer, and an array of
    /// such one for each.
    ///
    /// # Options
    /// - [ask]
    ///
    /// # Example
    /// ```
    /// let words = ["user", "assistant", "what", "is", "?", "Layer:", "0"];
    /// model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 7, context: 32 }, #{ words: words, seed: 1 }).save("doc/ao");
    /// run::save_text("doc/ao/chat_template.jinja", "user {{ messages[0].content }} assistant");
    /// let settings = #{ schema_version: 1, special_token: " ?", hook_onto_layer: 1, steering_coefficient: 1.0 };
    /// settings.prefix_template = "Layer: {layer}\\n{special_token} * {num_positions} \\n";
    /// settings.act_layer_combinations = [[0]];
    /// run::save_json("doc/ao/ao_config.json", settings);
    /// let oracle = model::load("doc/ao");
    /// oracle.ask(tensor::ones([3, 8]), "what is", #{ tokens: 2 }).len() > 0  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn ask(ctx: NativeCallContext, m: &mut Model, vectors: Any, question: &str, options: Options) -> Fallible<Any> {
        let env = env(&ctx)?;
        let options: OracleOptions = taken(options)?;
        let refusal = || given("vectors", &vectors).refuse(WANTED);
        let (values, several) = match InjectedVectors::of(&plain(&vectors)) {
            Some(InjectedVectors::Same(one)) => (vec![one], false),
            Some(InjectedVectors::Each(each)) => (each, true),
            None => return Err(refusal().into()),
        };
        let rows = |values: &Values| -> Result<Tensor> {
            let precise = if values.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
            let tensor = values.tensor("vectors", precise)?;
            match tensor.rank() {
                1 => Ok(tensor.unsqueeze(0)?),
                2 => Ok(tensor),
                _ => Err(refusal()),
            }
        };
        let rows = values.iter().map(rows).collect::<Result<Vec<_>>>()?;
        let own = m.plain().adapter.as_ref().map_or(&m.plain().origin, |adapter| &adapter.name);
        let place = options.meta.clone().unwrap_or_else(|| own.clone());
        let oracle = Oracle::open(&env.files, &place, &env.task)?;
        let seed = if options.is_greedy() { Seed::of(0) } else { options.seed.seed };
        let said = env.drawing(&ctx, "Model.ask", seed, |seed| {
            oracle.answers(m.core(), &rows, question, &options, seed.draws(), &env.task)
        })?;
        let mut said = said.into_iter().map(Dynamic::from);
        Ok(if several { said.collect::<Array>().into() } else { said.next().unwrap_or_default() })
    }
}
