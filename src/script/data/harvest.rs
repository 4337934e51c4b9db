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

/// How activations are stored, and where.
fn storing(read: &mut OptionReader) -> Result<(String, Storing)> {
    let dir = read.get("dir", Given::text)?;
    let dir = dir.ok_or_else(|| {
        err!(Argument, "expected `dir`, the folder of the store").hint("#{ dir: \"activations\" }").arg(3)
    });
    let wanted = |given: &Given| dtype::parse(&given.text()?).map_err(|e| e.arg(3));
    let storing = Storing {
        dtype: read.get("dtype", wanted)?.unwrap_or(DType::F32),
        shard_rows: read.get("shard_rows", Given::size)?,
    };
    Ok((dir?, storing))
}

#[export_module(manifest)]
pub mod functions {
    /// Runs a model over a text once and writes the activations of some sites into a folder, a store, that dictionaries are
    /// fitted and measured on in constant memory.
    ///
    /// `sites` is a set such as `resid_post.*`, or an array of sites. The model stops behind the last of them. The folder
    /// has shards in safetensors, with a tensor for each site and the `tokens`, `rows` and `positions` beside them, so that
    /// Python opens them, and a manifest that says what made it: model, weights, sites, text, seed, hashes. A harvest that
    /// was killed goes on behind its last whole shard when it is called again, one that is complete is opened, and a folder
    /// that was made from anything else is refused.
    ///
    /// # Options
    /// - `dir`: the folder
    /// - `dtype` = "f32": or "f16", "bf16", which take half the room
    /// - `shard_rows` = as many as make 128 MiB: how many positions a shard has at least
    /// - `without_bos` = false: leaves out tokens that mark a beginning
    /// - `without_first` = 0: leaves out so many positions of each row
    /// - `without_tokens` = none: leaves out these tokens, ids or texts of one token
    /// - `without_labels` = none: of a text with labels, leaves out tokens with some values, as in `#{ depth: [0] }`
    /// - `context` = that of the model: how many tokens a row has
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
        let (env, mut read) = (env(&ctx)?, super::options(3, options));
        let asked = super::storing(&mut read);
        let keep = choosing(&mut read, m.core(), &text, &env.task)?;
        // Options that are not known are refused before a folder that is missing.
        read.finish()?;
        let ((dir, storing), sites) = (asked?, given(1, "sites", &sites).texts()?);
        let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
        let place = (&env.files, Path::new(&dir));
        let core = store::harvest(place, m.core(), &sites, &text, &keep, storing, &env.task)?;
        Ok(Store { core, folder: dir.into() })
    }
}
