//! Fine-tuning dictionaries end to end, with the model's own loss.

use rand::Rng;
use rhai::NativeCallContext;
use rhai::plugin::*;
use serde_json::json;

use super::dictionary::Sae;
use super::measure::site_of;
use super::transcode::writes_of;
use crate::base::{Result, Task};
use crate::data::{Text, pack};
use crate::sae;
use crate::sae::finetune::{Step, Tuned, Tuning, fine_tune};
use crate::sae::metrics::{Judged, Sites};
use crate::script::env::env;
use crate::script::model::Model;
use crate::script::options::options;
use crate::script::value::{Fallible, Given, Options};

/// The KL divergence is kept as means over this many intervals.
const STRETCHES: usize = 20;

/// The first rows of a text, without BOS and EOS tokens where that is asked for.
fn rows(
    m: &Model,
    text: &Text,
    (most, context): (usize, usize),
    without_bos: bool,
    task: &Task,
) -> Result<Vec<Judged>> {
    let tokenizer = m.tokenizer()?;
    let mut rows = pack::rows(text, tokenizer, context, task)?;
    let marks = [tokenizer.bos(), tokenizer.eos()];
    let mut all = Vec::new();
    while all.len() < most
        && let Some(row) = rows.next(task)?
    {
        let left_out = row.ids.iter().map(|id| without_bos && marks.contains(&Some(*id))).collect();
        all.push(Judged { ids: row.ids, left_out, classes: Vec::new() });
    }
    Ok(all)
}

/// The dictionary, with a record of the fine-tuning.
fn told(tuned: Tuned, tuning: Tuning) -> Result<sae::Sae> {
    let mut parts = tuned.sae.parts().clone();
    let stretch = tuned.steps.len().div_ceil(STRETCHES).max(1);
    let mean = |part: &[Step]| part.iter().map(|step| step.kl).sum::<f64>() / part.len() as f64;
    let kl: Vec<f64> = tuned.steps.chunks(stretch).map(mean).collect();
    let said = json!({
        "steps": tuned.steps.len(), "batch": tuning.batch, "lr": tuning.lr, "l1": tuning.l1, "error": tuning.error,
        "kl": kl,
    });
    parts.about.more.insert("fine_tuned".into(), said);
    sae::Sae::new(parts)
}

#[export_module(manifest)]
pub mod methods {
    /// Fine-tunes the dictionary end to end: minimises KL(model || model with the reconstruction spliced in) (Braun et
    /// al. 2024), as a short last stage of training (Karvonen 2025). Returns a new dictionary; this one stays as it is.
    ///
    /// Directions keep their norms, and thresholds stay as they are. The curve of the divergence is in the new
    /// dictionary's `more.fine_tuned.kl`.
    ///
    /// # Options
    /// - `steps` = 100: number of updates
    /// - `batch` = 8: rows of text in a batch
    /// - `lr` = 1e-4: peak learning rate, which decays linearly
    /// - `l1` = 0: weight of the L1 penalty, each code times the norm of its direction
    /// - `error` = 0: weight of the reconstruction error, relative to the variance of what is reconstructed
    /// - `clip` = 1: maximum gradient norm
    /// - `rows` = 512: number of rows of the text, which are read again in each epoch
    /// - `context` = the model's: tokens in a row
    /// - `site` = the dictionary's: where it is spliced in
    /// - `without_bos` = true: leaves BOS tokens unchanged, and counts no prediction at them
    /// - `seed` = the run's seed: the seed of this call
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
        let (env, mut read) = (env(&ctx)?, super::options(options));
        let site = read.text("site", "")?;
        let tuning = Tuning {
            steps: read.size("steps", 100)? as u64,
            batch: read.size("batch", 8)?,
            lr: read.number("lr", 1e-4)?,
            l1: read.number("l1", 0.0)?,
            error: read.number("error", 0.0)?,
            clip: read.number("clip", 1.0)?,
            seed: read.seed()?.unwrap_or_else(|| env.random.generator(None).next_u64() >> 1),
        };
        let (most, without_bos) = (read.size("rows", 512)?, read.flag("without_bos", true)?);
        let context = read.get("context", Given::size)?.unwrap_or(m.config().context).min(m.config().context);
        read.finish()?;
        let reads = if site.is_empty() { super::site_of(&s.core)? } else { site };
        let writes = writes_of(&s.core, None)?.unwrap_or_else(|| reads.clone());
        let texts = super::rows(&m, &text, (most, context), without_bos, &env.task)?;
        let sites = Sites { reads: &reads, writes: &writes };
        let tuned = super::fine_tune(m.decoder(), sites, &s.core, &texts, tuning, &env.task)?;
        Ok(super::told(tuned, tuning)?.into())
    }
}
