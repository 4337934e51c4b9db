//! Harvesting activations into a store on disk, from scripts.

use std::path::Path;

use rhai::NativeCallContext;
use rhai::plugin::*;

use super::store::Store;
use crate::base::Result;
use crate::data::Text;
use crate::data::store::{self, Storing};
use crate::err;
use crate::script::env::env;
use crate::script::model::Model;
use crate::script::options::{OptionReader, options};
use crate::script::sae::choosing;
use crate::script::value::{Any, Fallible, Given, Options, given};
use crate::tensor::{DType, dtype};

/// Where and how activations are stored.
fn storing(read: &mut OptionReader) -> Result<(String, Storing)> {
    let dir = read.get("dir", Given::text)?;
    let dir = dir.ok_or_else(|| {
        err!(Argument, "expected `dir`, the folder of the store").hint("#{ dir: \"activations\" }").about("dir")
    });
    let wanted = |given: &Given| dtype::parse(&given.text()?);
    let storing = Storing {
        dtype: read.get("dtype", wanted)?.unwrap_or(DType::F32),
        shard_rows: read.get("shard_rows", Given::size)?,
    };
    Ok((dir?, storing))
}

#[export_module(manifest)]
pub mod functions {
    /// Runs a model over a text once and writes the activations of some sites into a folder, a store, on which
    /// dictionaries are fitted and evaluated in constant memory.
    ///
    /// `sites` is a set such as `resid_post.*`, or an array of sites. The forward pass stops after the last of them.
    /// The folder has shards in safetensors, which Python can open, with a tensor for each site and the `tokens`,
    /// `rows` and `positions`, and a manifest with model, weights, sites, text, seed and hashes. Called again, an
    /// interrupted harvest resumes after its last complete shard, a complete one is opened, and a folder that was made
    /// from anything else is refused.
    ///
    /// # Options
    /// - `dir`: the folder
    /// - `dtype` = "f32": or "f16", "bf16", which take half the space
    /// - `shard_rows` = as many as make 128 MiB: minimum number of positions in a shard
    /// - `without_bos` = false: skips BOS tokens
    /// - `without_first` = 0: skips this many first positions of each row
    /// - `without_tokens` = none: skips these tokens, given as ids or as texts of one token
    /// - `without_labels` = none: for a text with labels, skips tokens by their labels, as in `#{ depth: [0] }`
    /// - `context` = the model's: tokens in a row
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
        let (env, mut read) = (env(&ctx)?, super::options(options));
        let asked = super::storing(&mut read);
        let keep = choosing(&mut read, m.core(), &text, &env.task)?;
        // Unknown options are refused before a missing folder.
        read.finish()?;
        let ((dir, storing), sites) = (asked?, given("sites", &sites).texts()?);
        let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
        let place = (&env.files, Path::new(&dir));
        let core = store::harvest(place, m.core(), &sites, &text, &keep, storing, &env.task)?;
        Ok(Store { core, folder: dir.into() })
    }
}
