//! Metrics of a dictionary, similarity of two, and splicing one into a model.

use rhai::plugin::*;
use rhai::{Dynamic, Map, NativeCallContext};

use super::dictionary::Sae;
use super::judged::Judging;
use super::rows::keeping;
use super::transcode::writes_of;
use crate::base::{Result, Table};
use crate::data::Text;
use crate::err;
use crate::sae;
use crate::sae::metrics::{self, Measures, Rules, Sites};
use crate::sae::splice::{Rest, Splice};
use crate::script::env::env;
use crate::script::hooks::{Hook, What};
use crate::script::model::Model;
use crate::script::options::options;
use crate::script::tensor::values;
use crate::script::value::{Any, Fallible, Given, Options};
use crate::tensor::Tensor;

/// One site that is asked for, or else the dictionary's.
fn site_or(s: &sae::Sae, asked: String) -> Result<String> {
    if asked.is_empty() { site_of(s) } else { Ok(asked) }
}

fn first<T>(found: Vec<T>) -> Result<T> {
    found.into_iter().next().ok_or_else(|| err!(Bug, "a dictionary without measures"))
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

/// The directions of a dictionary, or of a tensor `[features, d]`.
fn directions(name: &str, value: &Dynamic) -> Result<Tensor> {
    match value.read_lock::<Sae>() {
        Some(sae) => Ok(sae.core.directions().clone()),
        None => values(name, value),
    }
}

/// Cosines are computed in single precision.
fn rounded(cosine: f64) -> f64 {
    (cosine * 1e6).round() / 1e6
}

#[export_module(manifest)]
pub mod functions {
    /// Mean max cosine similarity: the mean over the directions of `a` of the largest cosine with a direction of `b`
    /// (MMCS; Sharkey et al. 2022). It is not symmetric.
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
        let found = metrics::mmcs(&super::directions("a", &a)?, &super::directions("b", &b)?, &env(&ctx)?.task)?;
        Ok(super::rounded(found))
    }

    /// How many features of `a` are found again in another dictionary `b` of the same site: the stability of a recipe
    /// over seeds or texts. A feature is found again if a feature of `b` has a direction with a cosine of at least 0.7
    /// to its own, and codes with a correlation of at least 0.7 over the activations `x`.
    ///
    /// A map: the `share` that is found again of those features of `a` that are active in `x` at all, its 95 %
    /// `interval` (Wilson 1927), the number of these `living` features, and of the `found` ones.
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([100, 4], #{ seed: 1 });
    /// let own = sae::found_again(sae::identity(4), sae::identity(4), x);
    /// [own.share, own.living]  //=> [1.0, 4]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn found_again(ctx: NativeCallContext, a: Sae, b: Sae, x: Any) -> Fallible<Map> {
        let found = metrics::again(&a.core, &b.core, &values("x", &x)?, &env(&ctx)?.task)?;
        let number = |x: Option<f64>| x.map_or(Dynamic::UNIT, Dynamic::from);
        let interval = found.interval().map_or(Dynamic::UNIT, |ends| ends.map(Dynamic::from).to_vec().into());
        let fields: [(&str, Dynamic); 4] = [
            ("share", number(found.share())),
            ("interval", interval),
            ("living", (found.living as i64).into()),
            ("found", (found.found as i64).into()),
        ];
        Ok(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// One-to-one matching of the directions of `a` and `b` with the largest sum of cosines (Hungarian algorithm;
    /// Cunningham et al. 2023).
    ///
    /// A map: the `mean` of the cosines, the `share_above` 0.9, and `pairs`, each a row of `a`, a row of `b` and their
    /// cosine. Every direction of the smaller dictionary is matched.
    ///
    /// # Example
    /// ```
    /// let found = sae::matches(tensor([[1, 0], [0.6, 0.8]]), tensor([[0, 1], [2, 0], [-1, 0]]));
    /// found.pairs  //=> [[0, 1, 1.0], [1, 0, 0.8]]
    /// [found.mean, found.share_above]  //=> [0.9, 0.5]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn matches(ctx: NativeCallContext, a: Any, b: Any) -> Fallible<Map> {
        let found = metrics::matches(&super::directions("a", &a)?, &super::directions("b", &b)?, &env(&ctx)?.task)?;
        let pair = |(row, other, cosine): (usize, usize, f64)| -> Dynamic {
            vec![Dynamic::from(row as i64), Dynamic::from(other as i64), super::rounded(cosine).into()].into()
        };
        let pairs: Vec<Dynamic> = found.pairs.into_iter().map(pair).collect();
        let fields: [(&str, Dynamic); 3] = [
            ("pairs", pairs.into()),
            ("mean", super::rounded(found.mean).into()),
            ("share_above", found.share_above.into()),
        ];
        Ok(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Reconstruction and sparsity metrics on activations `[.., d_in]`, each with its formula.
    ///
    /// # Options
    /// - `dead_at_most` = 0: a feature is dead if it is active in at most this many rows
    ///
    /// # Example
    /// ```
    /// let x = tensor::randn([100, 4], #{ seed: 1 });
    /// sae::identity(4).measure(x)["fve"]  //=> 1.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn measure(ctx: NativeCallContext, s: &mut Sae, x: Any, options: Options) -> Fallible<Measures> {
        let mut read = super::options(options);
        let rules = Rules { dead_at_most: read.size("dead_at_most", 0)? as u64 };
        read.finish()?;
        s.core.check_writes_what_it_reads()?;
        Ok(super::first(metrics::measured(&[&s.core], &values("x", &x)?, rules, &env(&ctx)?.task)?)?)
    }

    /// Reconstruction and sparsity metrics on a model's activations on a text; for a transcoder, at the site that it
    /// writes.
    ///
    /// # Options
    /// - `site` = the dictionary's: where activations are read
    /// - `writes` = the dictionary's: where a transcoder writes, after that
    /// - `dead_at_most` = 0: a feature is dead if it is active in at most this many rows
    /// - `without_bos` = false: skips BOS tokens
    /// - `without_first` = 0: skips this many first positions of each row
    /// - `context` = the model's: tokens in a row
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// sae::identity(8).measure_on(m, data::texts(["to be", "or not"]), #{ site: "resid_post.0" })["fve"]  //=> 1.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn measure_on(
        ctx: NativeCallContext,
        s: &mut Sae,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Measures> {
        let (env, mut read) = (env(&ctx)?, super::options(options));
        let site = read.text("site", "")?;
        let rules = Rules { dead_at_most: read.size("dead_at_most", 0)? as u64 };
        let (keep, writes) = (keeping(&mut read)?, read.get("writes", Given::text)?);
        read.finish()?;
        let (site, writes) = (super::site_or(&s.core, site)?, writes_of(&s.core, writes)?);
        if let Some(writes) = &writes {
            let sites = Sites { reads: &site, writes };
            return Ok(metrics::measured_between(&s.core, (m.core(), sites), &text, (&keep, rules), &env.task)?);
        }
        let found = metrics::measured_on(&[&s.core], (m.core(), &site), &text, (&keep, rules), &env.task)?;
        Ok(super::first(found)?)
    }

    /// What a model loses when the dictionary is spliced in: next-token cross-entropy and KL(clean || changed) in nats,
    /// for the reconstruction, zero ablation and mean ablation, and the loss recovered, (zero - spliced) / (zero -
    /// clean).
    ///
    /// # Options
    /// - `site` = the dictionary's: where it is spliced in
    /// - `writes` = the dictionary's: where a transcoder writes
    /// - `rows` = 64: number of rows of the text
    /// - `without_bos` = true: leaves BOS tokens unchanged, and counts no prediction at them
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let table = sae::identity(8).effect(m, data::texts(["to be or not to be"]), #{ site: "resid_post.0", rows: 1 });
    /// table["recovered"][0]  //=> 1.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn effect(ctx: NativeCallContext, s: &mut Sae, m: Model, text: Text, options: Options) -> Fallible<Table> {
        let (env, mut read) = (env(&ctx)?, super::options(options));
        let (site, judging) = (read.text("site", "")?, Judging::read(&mut read)?);
        let writes = read.get("writes", Given::text)?;
        read.finish()?;
        let (site, writes) = (super::site_or(&s.core, site)?, writes_of(&s.core, writes)?);
        let (rows, _) = judging.rows(&m, &text, false, &env.task)?;
        let sites = Sites { reads: &site, writes: writes.as_deref().unwrap_or(&site) };
        Ok(metrics::effect(m.decoder(), sites, &s.core, &rows, &env.task)?.table())
    }

    /// Next-token cross-entropy by the class of that token, in the runs that `effect` compares.
    ///
    /// Tokens are classified by their text: a word after a space, the rest of a word, a number, punctuation, white
    /// space, and others; or by the values of a label of the text.
    ///
    /// # Options
    /// - `label` = none: the label of the text whose values are the classes
    /// - `site` = the dictionary's: where it is spliced in
    /// - `rows` = 64: number of rows of the text
    /// - `without_bos` = true: leaves BOS tokens unchanged, and counts no prediction at them
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let table = sae::identity(8).effect_by_class(m, data::texts(["to be or not to be"]), #{ site: "resid_post.0" });
    /// table.to_map().rows.map(|row| row[0])  //=> ["rest of a word", "blank"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn effect_by_class(
        ctx: NativeCallContext,
        s: &mut Sae,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        let (env, mut read) = (env(&ctx)?, super::options(options));
        let (site, judging) = (read.text("site", "")?, Judging::read_by_class(&mut read)?);
        read.finish()?;
        let (site, writes) = (super::site_or(&s.core, site)?, writes_of(&s.core, None)?);
        let (rows, names) = judging.rows(&m, &text, true, &env.task)?;
        let sites = Sites { reads: &site, writes: writes.as_deref().unwrap_or(&site) };
        let found = metrics::effect(m.decoder(), sites, &s.core, &rows, &env.task)?;
        Ok(found.by_class(&names.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    /// A hook that replaces the activations at the dictionary's site by its reconstruction.
    ///
    /// # Options
    /// - `site` = the dictionary's: where it is spliced in
    /// - `writes` = the dictionary's: where a transcoder writes
    /// - `error` = false: whether the reconstruction error is added, without a gradient
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
    pub fn splice(s: &mut Sae, options: Options) -> Fallible<Hook> {
        let mut read = super::options(options);
        let site = read.text("site", "")?;
        let rest = if read.flag("error", false)? { Rest::Kept } else { Rest::Dropped };
        // Unknown options are refused before an unknown site.
        let site = super::site_or(&s.core, site);
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
