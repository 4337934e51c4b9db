//! How good a dictionary is, and how alike two are; splicing one into a model.

use rhai::NativeCallContext;
use rhai::plugin::*;

use super::dictionary::Sae;
use super::rows::{harvested, keeping};
use super::transcode::{transcoded, writes_of};
use crate::base::{Result, Table, Task};
use crate::data::Text;
use crate::err;
use crate::sae;
use crate::sae::metrics::{self, Judged, Meter, Rules, Seen, Sites};
use crate::sae::splice::{Rest, Splice};
use crate::script::env::env;
use crate::script::hooks::{Hook, What};
use crate::script::model::Model;
use crate::script::options::options;
use crate::script::tensor::values;
use crate::script::value::{Any, Fallible, Given, Options};
use crate::tensor::{Tensor, dtype};

/// Rows that are encoded at once.
const ROWS: usize = 4096;

/// Measures of a dictionary on activations `[.., d_in]`.
fn measured(s: &sae::Sae, x: &Tensor, rules: Rules, task: &Task) -> Result<Table> {
    let mut meter = Meter::new(s.d_out(), s.d_sae(), rules)?;
    let x = dtype::convert(x, s.parts().encoder.dtype())?.reshape(((), s.d_in()))?;
    let rows = x.dims()[0];
    let bar = task.begin("measuring", Some(rows as u64));
    for start in (0..rows).step_by(ROWS) {
        task.check()?;
        let part = x.narrow(0, start, ROWS.min(rows - start))?;
        let (codes, x_hat) = s.encode_and_reconstruct(&part)?;
        meter.add(Seen { x: &part, codes: &codes, x_hat: &x_hat, positions: None }, task)?;
        bar.advance(part.dims()[0] as u64);
    }
    Ok(meter.finish()?.table())
}

/// The one site of a dictionary.
pub fn site_of(s: &sae::Sae) -> Result<String> {
    match s.parts().about.sites.as_slice() {
        [site] => Ok(site.clone()),
        [] => {
            Err(err!(Argument, "the dictionary does not say which site it reads")
                .hint("name it with the option `site`"))
        }
        several => Err(err!(Argument, "expected a dictionary of one site, found one of {}", several.join(", "))),
    }
}

#[export_module(manifest)]
pub mod functions {
    /// How well each direction of `a` is found in `b`: the mean over the rows of `a` of their largest cosine with a row of
    /// `b` (MMCS; Sharkey et al. 2022). It is not symmetric.
    ///
    /// `a` and `b` are dictionaries, or tensors of directions `[features, d]`.
    ///
    /// # Example
    /// ```
    /// let a = sae::identity(3);
    /// sae::mmcs(a, a)  //=> 1.0
    /// sae::mmcs(tensor([[1, 0]]), tensor([[0, 2], [3, 4]]))  //=> 0.6
    /// ```
    #[rhai_fn(return_raw)]
    pub fn mmcs(ctx: NativeCallContext, a: Any, b: Any) -> Fallible<f64> {
        let directions = |index: usize, name: &str, value: &rhai::Dynamic| match value.read_lock::<Sae>() {
            Some(sae) => Ok(sae.core.directions().clone()),
            None => values(index, name, value),
        };
        let found = metrics::mmcs(&directions(0, "a", &a)?, &directions(1, "b", &b)?, &env(&ctx)?.task)?;
        // Cosines are computed in single precision.
        Ok((found * 1e6).round() / 1e6)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// How well the dictionary reconstructs activations `[.., d_in]`, and how sparsely: each number with its formula.
    ///
    /// # Options
    /// - `dead_at_most` = 0: a feature is dead that fires in at most so many rows
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([100, 4], #{ seed: 1 });
    /// sae::identity(4).measure(x).to_map().rows[2][1]  //=> 1.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn measure(ctx: NativeCallContext, s: &mut Sae, x: Any) -> Fallible<Table> {
        measure_with(ctx, s, x, Options::new())
    }

    #[rhai_fn(global, name = "measure", pure, return_raw)]
    pub fn measure_with(ctx: NativeCallContext, s: &mut Sae, x: Any, options: Options) -> Fallible<Table> {
        let mut read = super::options(1, options);
        let rules = Rules { dead_at_most: read.size("dead_at_most", 0)? as u64 };
        read.finish()?;
        s.core.check_writes_what_it_reads()?;
        Ok(super::measured(&s.core, &values(0, "x", &x)?, rules, &env(&ctx)?.task)?)
    }

    /// How well the dictionary reconstructs a model's activations on a text.
    ///
    /// # Options
    /// - `site` = the dictionary's: where they are read
    /// - `dead_at_most` = 0: a feature is dead that fires in at most so many rows
    /// - `without_bos` = false: leaves out tokens that mark a beginning
    /// - `without_first` = 0: leaves out so many positions of each row
    /// - `context` = that of the model: how many tokens a row has
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let table = sae::identity(8).measure_on(m, data::texts(["to be", "or not"]), #{ site: "resid_post.0" });
    /// table.to_map().rows[2][1]  //=> 1.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn measure_on(ctx: NativeCallContext, s: &mut Sae, m: Model, text: Text) -> Fallible<Table> {
        measure_on_with(ctx, s, m, text, Options::new())
    }

    #[rhai_fn(global, name = "measure_on", pure, return_raw)]
    pub fn measure_on_with(
        ctx: NativeCallContext,
        s: &mut Sae,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        let (env, mut read) = (env(&ctx)?, super::options(2, options));
        let site = read.text("site", "")?;
        let rules = Rules { dead_at_most: read.size("dead_at_most", 0)? as u64 };
        let keep = keeping(&mut read)?;
        read.finish()?;
        let site = if site.is_empty() { super::site_of(&s.core)? } else { site };
        if let Some(writes) = &s.core.parts().about.writes {
            let sites = Sites { reads: &site, writes };
            return Ok(transcoded(&s.core, m.core(), sites, &text, (&keep, rules), &env.task)?.table());
        }
        let found = harvested(m.core(), &[&site], &text, &keep, &env.task)?;
        let [(_, x)] = found.as_slice() else {
            return Err(err!(Argument, "expected one site, and `{site}` names several").into());
        };
        Ok(super::measured(&s.core, x, rules, &env.task)?)
    }

    /// What a model loses when the dictionary stands at a site: the cross-entropy of the next token and
    /// KL(clean || changed) in nats, with the reconstruction, with zeros and with the mean in its place, and the share
    /// that is recovered, (zero - spliced) / (zero - clean).
    ///
    /// # Options
    /// - `site` = the dictionary's: where it stands
    /// - `writes` = the dictionary's: where a transcoder writes
    /// - `rows` = 64: how many rows of the text are read
    /// - `without_bos` = true: leaves alone tokens that mark a beginning, and counts no prediction at them
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let table = sae::identity(8).effect(m, data::texts(["to be or not to be"]), #{ site: "resid_post.0", rows: 1 });
    /// table.to_map().rows[0][5]  //=> 1.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn effect(ctx: NativeCallContext, s: &mut Sae, m: Model, text: Text) -> Fallible<Table> {
        effect_with(ctx, s, m, text, Options::new())
    }

    #[rhai_fn(global, name = "effect", pure, return_raw)]
    pub fn effect_with(ctx: NativeCallContext, s: &mut Sae, m: Model, text: Text, options: Options) -> Fallible<Table> {
        let (env, mut read) = (env(&ctx)?, super::options(2, options));
        let site = read.text("site", "")?;
        let (count, without_bos) = (read.size("rows", 64)?, read.flag("without_bos", true)?);
        let writes = read.get("writes", Given::text)?;
        read.finish()?;
        let site = if site.is_empty() { super::site_of(&s.core)? } else { site };
        let writes = writes_of(&s.core, writes)?;
        let tokenizer = m.tokenizer()?;
        let mut rows = crate::data::pack::rows(&text, tokenizer, m.config().context, &env.task)?;
        let marks = [tokenizer.bos(), tokenizer.eos()];
        let mut judged = Vec::new();
        while judged.len() < count
            && let Some(row) = rows.next(&env.task)?
        {
            let left_out = row.ids.iter().map(|id| without_bos && marks.contains(&Some(*id))).collect();
            judged.push(Judged { ids: row.ids, left_out, classes: Vec::new() });
        }
        let sites = Sites { reads: &site, writes: writes.as_deref().unwrap_or(&site) };
        Ok(metrics::effect(m.decoder(), sites, &s.core, &judged, &env.task)?.table())
    }

    /// A hook that puts the dictionary's reconstruction in the place of what flows at its site.
    ///
    /// # Options
    /// - `site` = the dictionary's: where it stands
    /// - `writes` = the dictionary's: where a transcoder writes
    /// - `error` = false: whether what is not reconstructed is added, as a number that has no gradient
    /// - `pos` = all: a position or several; negative ones count from the end of each text
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let s = sae::identity(8);
    /// let hook = s.splice(#{ site: "resid_post.0" });
    /// m.logits([1, 2], #{ hooks: hook }).all_close(m.logits([1, 2]))  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn splice(s: &mut Sae) -> Fallible<Hook> {
        splice_with(s, Options::new())
    }

    #[rhai_fn(global, name = "splice", pure, return_raw)]
    pub fn splice_with(s: &mut Sae, options: Options) -> Fallible<Hook> {
        let mut read = super::options(0, options);
        let site = read.text("site", "")?;
        let rest = if read.flag("error", false)? { Rest::Kept } else { Rest::Dropped };
        // Options that are not known are refused before a site that is not.
        let site = if site.is_empty() { super::site_of(&s.core) } else { Ok(site) };
        let reads = site.as_deref().unwrap_or_default();
        let writes = writes_of(&s.core, read.get("writes", Given::text)?)?;
        let named = writes.as_deref().unwrap_or(reads);
        let hook = Hook::new(What::Splice(Splice::new(s.core.clone(), rest)), named, &mut read)?;
        let hook = hook.reading(writes.is_some().then(|| reads.to_string()));
        read.finish()?;
        site?;
        Ok(hook)
    }
}
