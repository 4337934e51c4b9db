//! Harvesting activations into a store on disk, from scripts.

use super::store::Store;
use crate::data::store::StoreOptions;
use crate::script::model::prelude::*;

#[export_module(manifest)]
pub mod functions {
    /// Runs a model over a text once and writes the activations of some sites into a folder, a store, on which
    /// dictionaries are fitted and evaluated in constant memory.
    ///
    /// `sites` is a set such as `resid_post.*`, or an array of sites. The forward pass stops after the last of them.
    /// The folder has shards in safetensors, which Python can open, with a tensor for each site and the `tokens`,
    /// `rows` and `positions`, and a manifest with model, weights, sites, text, seed and hashes. Called again, an
    /// interrupted harvest resumes after its last complete shard, a complete one is opened, and a folder that was made
    /// from anything else is refused. The folder may be in object storage, `s3://bucket/folder`, with credentials from
    /// the environment. Without `dir` it is a temporary one in the output folder, which is removed once nothing uses the
    /// store any more, and is in no record.
    ///
    /// # Options
    /// - [harvest]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not to be"]);
    /// data::harvest(m, "resid_post.*", text, #{ dir: "activations", without_tokens: [" "] })
    /// //=> store of 11 rows at resid_post.0, resid_post.1
    /// ```
    #[rhai_fn(return_raw)]
    pub fn harvest(ctx: NativeCallContext, m: Model, sites: Any, text: Text, options: Options) -> Fallible<Store> {
        let env = env(&ctx)?;
        let options: StoreOptions = taken(options)?;
        let sites = given("sites", &sites).texts()?;
        let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
        let (core, folder) = options.harvest(&env.files, m.core(), &sites, &text, &env.task)?;
        Ok(Store { core, folder })
    }
}
