//! `diff::transcoder_adapters` and `diff::adapted`: sparse branches beside MLPs, which learn what fine-tuning changed in them.

use crate::diff::ModelPair;
use crate::diff::transcoder_adapters::{AdapterOptions, fit, hybrid};
use crate::sae::splice::Splice;
use crate::sae::{SiteOptions, writes_of};
use crate::script::model::prelude::*;
use crate::script::model::{Hook, HookAction};
use crate::script::sae::Sae;
use crate::training::CheckpointOptions;

crate::options! {
    /// A fit of transcoder adapters: its size, its loss and its checkpoints.
    pub struct AdaptersCall {
        with fit: AdapterOptions;
        with checkpoints: CheckpointOptions;
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Fits transcoder adapters: beside each MLP of the base a sparse branch, which learns what fine-tuning changed in that MLP
    /// (Hu et al. 2026).
    ///
    /// The model that is fitted is the tuned one with the MLPs of its base, to each of which its adapter adds
    /// W_d relu(W_e x + b_e) + b_d, x being what the MLP reads. Only the adapters learn, to predict what the tuned model
    /// predicts, alone and with some layers taken from it, and to write what its layers write. The result is an array of
    /// dictionaries, one for each layer; `diff::adapted` is the model with them. `mlp_out` is meant, so that in a model with a
    /// norm behind its MLPs the adapter adds to what that norm gives. Rows that are shorter than `context` are left out.
    /// Checkpoints in `dir` let an interrupted fit go on.
    ///
    /// # Options
    /// - [transcoder_adapters]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let tuned = model::train(m, text, #{ steps: 20, lr: 0.02, context: 8, lora: #{ rank: 4 } });
    /// let adapters = diff::transcoder_adapters(m, tuned, text, #{ features: 12, steps: 2, context: 8, seed: 1 });
    /// adapters[0]  //=> transcoder dictionary of 12 features for mlp_in.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn transcoder_adapters(
        ctx: NativeCallContext,
        base: Model,
        tuned: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Array> {
        let env = env(&ctx)?;
        let AdaptersCall { fit: options, checkpoints } = taken(options)?;
        let pair = ModelPair::new(base.core(), tuned.core())?;
        let found = env.drawing(&ctx, "diff::transcoder_adapters", options.seed, |seed| {
            let options = AdapterOptions { seed, ..options };
            fit(pair, &text, &options, checkpoints.folder(&env.files), &env.task)
        })?;
        Ok(found.adapters.into_iter().map(|adapter| Dynamic::from(Sae::from(adapter))).collect())
    }

    /// Returns the tuned model with the MLPs of its base and adapters beside them, which it keeps as hooks. With no adapters, `[]`, it
    /// shows what fine-tuning did outside of MLPs.
    ///
    /// Every call takes it as it does any model: `diff::kl(tuned, adapted, text)` says how much of the change the adapters miss,
    /// and `circuit::attribution_graph(adapted, adapters, prompt)` which of their features make a token likely; what the base's MLPs
    /// write are the graph's errors there.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let tuned = model::train(m, [[3, 2, 1, 3, 2, 1]], #{ steps: 20, lr: 0.02, lora: #{ rank: 4 } });
    /// diff::adapted(m, m, []).logits([3, 2]).equal(m.logits([3, 2]))  //=> true
    /// diff::adapted(m, tuned, []).logits([3, 2]).equal(tuned.logits([3, 2]))  //=> false
    /// ```
    #[rhai_fn(return_raw)]
    pub fn adapted(base: Model, tuned: Model, adapters: Any) -> Fallible<Model> {
        let hybrid = Model::from(Arc::new(hybrid(ModelPair::new(base.core(), tuned.core())?)?));
        let adapters = given("adapters", &adapters).handles::<Sae>("dictionaries")?;
        let hooks = adapters.iter().map(beside).collect::<Result<Vec<Hook>>>();
        Ok(hooks.and_then(|hooks| hybrid.with(hooks)).map_err(|e| e.about("adapters"))?)
    }
}

/// Makes the hook of an adapter.
fn beside(sae: &Sae) -> Result<Hook> {
    let reads = SiteOptions::default().of(&sae.core)?;
    let writes = writes_of(&sae.core, None)?.ok_or_else(|| {
        err!(Argument, "expected an adapter, which reads one site and writes another, found a dictionary of `{reads}`")
            .hint("`diff::transcoder_adapters` fits them")
    })?;
    Ok(Hook::everywhere(HookAction::Splice(Splice::beside(sae.core.clone())), &writes).reading(Some(reads)))
}
