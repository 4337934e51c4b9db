//! Fitting dictionaries on through the model's own loss.

use rand::Rng;
use rhai::NativeCallContext;
use rhai::plugin::*;
use serde_json::json;

use super::dictionary::Sae;
use super::measure::site_of;
use super::transcode::writes_of;
use crate::base::{Result, Task};
use crate::data::{Text, pack};
use crate::report::symbols::count;
use crate::sae;
use crate::sae::finetune::{Step, Tuned, Tuning, fine_tune};
use crate::sae::metrics::{Judged, Sites};
use crate::script::env::env;
use crate::script::model::Model;
use crate::script::options::options;
use crate::script::value::{Fallible, Given, Options};

/// The KL divergence is kept as means over so many stretches.
const STRETCHES: usize = 20;

/// The first rows of a text, tokens that mark a beginning or an end left out where that is asked for.
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

/// The dictionary with what was done to it.
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
    /// Fits a dictionary on through the model: what becomes small is KL(model || model with the reconstruction in place)
    /// (Braun et al. 2024), a short last part of a fit (Karvonen 2025). The new dictionary; this one stays.
    ///
    /// Directions keep their lengths, and thresholds stay as they are. How the divergence fell stands in the new
    /// dictionary's `more.fine_tuned.kl`.
    ///
    /// # Options
    /// - `steps` = 100: how many updates
    /// - `batch` = 8: rows of the text of an update
    /// - `lr` = 1e-4: the highest learning rate, which falls in a line
    /// - `l1` = 0: what the sum of codes counts, each by the length of its direction
    /// - `error` = 0: what the error of the reconstruction counts, over the variance of what is reconstructed
    /// - `clip` = 1: the longest gradient
    /// - `rows` = 512: how many rows of the text are read, again and again
    /// - `context` = that of the model: how many tokens a row has
    /// - `site` = the dictionary's: where it stands
    /// - `without_bos` = true: leaves alone tokens that mark a beginning, and counts no prediction at them
    /// - `seed` = none: a seed of this call's own; without one the run's seed decides
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
    pub fn fine_tune(ctx: NativeCallContext, s: &mut Sae, m: Model, text: Text) -> Fallible<Sae> {
        fine_tune_with(ctx, s, m, text, Options::new())
    }

    #[rhai_fn(global, name = "fine_tune", pure, return_raw)]
    pub fn fine_tune_with(
        ctx: NativeCallContext,
        s: &mut Sae,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Sae> {
        let (env, mut read) = (env(&ctx)?, super::options(2, options));
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
        if !tuned.is_whole {
            let (made, all) = (tuned.steps.len(), count(tuning.steps as usize, "step"));
            env.task.say(&format!("stopped after {made} of {all}; the dictionary so far goes on"));
        }
        Ok(super::told(tuned, tuning)?.into())
    }
}
