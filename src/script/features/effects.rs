//! Effects of a feature on the logits, and its nearest features.

use crate::features::contexts::name;
use crate::features::logits::{self, LogitsOptions};
use crate::features::neighbours::{self, Coactivations, NearOptions};
use crate::script::features::Feature;
use crate::script::model::prelude::*;
use crate::script::sae::Sae;

#[export_module(manifest)]
pub mod functions {
    /// Computes the effects of a feature on the logits, as a table of tokens.
    ///
    /// Without a text it is the direct effect of a code of 1: its direction, through the weights of the final norm,
    /// times the unembedding, minus the mean over all tokens; the tokens that are promoted most and those that are
    /// suppressed most. The division by the norm is left out.
    ///
    /// With a text it is the effect by ablation (its code set to 0 at all positions, the reconstruction error kept) at
    /// each of its strongest positions: P of the next token with the feature and without it, and the change of log P,
    /// each as a mean over these positions. Tokens whose P falls most come first, those whose P rises most last.
    ///
    /// # Options
    /// - [feature_logits]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// let f = s.feature(features::contexts(m, s, text).table.to_map().rows[0][1]);
    /// let found = features::logits(m, f, text);
    /// found.columns  //=> ["token", "P", "P without it", "mean change of log P"]
    /// features::logits(m, f, #{ rows: 2 }).columns  //=> ["raised", "raised by", "lowered", "lowered by"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn logits(m: Model, f: Feature, options: Options) -> Fallible<Table> {
        let options: LogitsOptions = taken(options)?;
        if options.positions.is_some() {
            let error = err!(Argument, "expected a text for `positions` to be found in, found none");
            return Err(error.hint("features::logits(m, f, text, #{ positions: 16 })").about("positions").into());
        }
        let found = logits::promoted(m.core(), &f.sae.core, f.index)?;
        let title = format!("logits along {}, a code of 1", f.short());
        Ok(logits::extremes(&title, &found, &|id| name(m.core(), id), options.rows))
    }

    #[rhai_fn(name = "logits", return_raw)]
    pub fn logits_on(ctx: NativeCallContext, m: Model, f: Feature, text: Text, options: Options) -> Fallible<Table> {
        let env = env(&ctx)?;
        let options: LogitsOptions = taken(options)?;
        let (changes, positions) =
            logits::ablation_effects(m.core(), &f.sae.core, f.index, &text, &options, &env.task)?;
        let title = format!("without {}, at {positions} of its strongest positions", f.short());
        Ok(logits::changed(&title, &changes, &|id| name(m.core(), id), options.rows))
    }

    /// Finds the features nearest to one: in its own dictionary, or in another one.
    ///
    /// Without a text, by the cosine of their directions. With a text, by co-activation: the correlation of being
    /// active over all positions, `(n both - a b) / sqrt(a (n - a) b (n - b))` of n positions with a and b of them
    /// active, counted exactly in one pass.
    ///
    /// # Options
    /// - [feature_neighbours]
    ///
    /// # Example
    /// ```
    /// let s = sae::identity(3);
    /// features::near(s.feature(1)).to_map().rows.len()  //=> 2
    /// features::near(s.feature(1), s, #{ rows: 1 }).to_map().rows  //=> [[1, 1.0]]
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// features::near(m, s.feature(0), text).columns  //=> ["feature", "active together", "active at all", "correlation"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn near(f: Feature, options: Options) -> Fallible<Table> {
        Ok(super::nearest(&f, None, options)?)
    }

    #[rhai_fn(name = "near", return_raw)]
    pub fn near_in(f: Feature, other: Sae, options: Options) -> Fallible<Table> {
        Ok(super::nearest(&f, Some(&other), options)?)
    }

    #[rhai_fn(name = "near", return_raw)]
    pub fn near_on(ctx: NativeCallContext, m: Model, f: Feature, text: Text, options: Options) -> Fallible<Table> {
        Ok(super::together(&ctx, &m, &text, &f, None, options)?)
    }

    #[rhai_fn(name = "near", return_raw)]
    pub fn near_in_on(
        ctx: NativeCallContext,
        m: Model,
        f: Feature,
        text: Text,
        other: Sae,
        options: Options,
    ) -> Fallible<Table> {
        Ok(super::together(&ctx, &m, &text, &f, Some(&other), options)?)
    }
}

fn nearest(f: &Feature, other: Option<&Sae>, map: Options) -> Result<Table> {
    let NearOptions { rows } = taken(map)?;
    let found = neighbours::by_direction(&f.sae.core, f.index, other.map(|other| &other.core), rows)?;
    let title = match other {
        Some(other) => format!("nearest to {} in a {}", f.short(), other.short()),
        None => format!("nearest to {}", f.short()),
    };
    Ok(neighbours::directions(&title, &found))
}

/// Finds the features that are active where a feature is.
fn together(
    ctx: &NativeCallContext,
    m: &Model,
    text: &Text,
    f: &Feature,
    other: Option<&Sae>,
    map: Options,
) -> Result<Table> {
    let env = env(ctx)?;
    let NearOptions { rows } = taken(map)?;
    let other = other.map(|other| &other.core);
    let Coactivations { found, positions, active } =
        neighbours::by_activity(m.core(), &f.sae.core, f.index, other, text, rows, &env.task)?;
    let title = format!("active where {} is, at {active} of {positions} positions of {}", f.short(), text.name());
    Ok(neighbours::activities(&title, &found))
}
