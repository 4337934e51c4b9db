//! Effects of a feature on the logits, and its nearest features.

use rhai::NativeCallContext;
use rhai::plugin::*;

use super::Feature;
use crate::base::{Result, Table};
use crate::data::Text;
use crate::err;
use crate::features::card::place;
use crate::features::contexts::name;
use crate::features::survey::{KeptPositions, Survey};
use crate::features::{logits, near};
use crate::script::env::env;
use crate::script::model::Model;
use crate::script::options::options;
use crate::script::sae::Sae;
use crate::script::show::Handle;
use crate::script::value::{Fallible, Options};

/// The model with the feature ablated, at its strongest positions in a text.
fn without(ctx: &NativeCallContext, m: &Model, f: &Feature, text: &Text, map: Options) -> Result<Table> {
    let (env, mut read) = (env(ctx)?, options(map));
    let (rows, positions) = (read.size("rows", 10)?, read.size("positions", 16)?);
    read.finish()?;
    if positions == 0 {
        return Err(err!(Argument, "expected at least one position for `positions`, found 0").about("positions"));
    }
    let (model, sae) = (m.core(), &f.sae.core);
    let place = place(model, sae)?;
    let kept = KeptPositions { top: positions, some: 0, seed: 0 };
    let survey = Survey::of(model, std::slice::from_ref(sae), text, &Default::default(), kept, &env.task)?;
    let top = survey.dictionaries.first().and_then(|tallies| tallies.get(f.index)).map(|tally| tally.top.as_slice());
    let texts: Vec<Vec<u32>> = top.unwrap_or_default().iter().map(|moment| survey.up_to(moment)).collect();
    if texts.is_empty() {
        return Err(err!(Argument, "{} is active nowhere in {}", f.short(), text.name())
            .hint("read more text")
            .about("text"));
    }
    let title = format!("without {}, at {} of its strongest positions", f.short(), texts.len());
    let changes = logits::ablated(model, (sae, place), f.index, texts, &env.task)?;
    Ok(logits::changed(&title, &changes, &|id| name(model, id), rows))
}

#[export_module(manifest)]
pub mod functions {
    /// The effects of a feature on the logits, as a table of tokens.
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
    /// - `rows` = 10: tokens of each kind
    /// - `positions` = 16: with a text, number of its strongest positions
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
        let mut read = super::options(options);
        let (rows, positions) = (read.size("rows", 10)?, read.value("positions"));
        read.finish()?;
        if positions.is_some() {
            let error = err!(Argument, "expected a text for `positions` to be found in, found none");
            return Err(error.hint("features::logits(m, f, text, #{ positions: 16 })").about("options").into());
        }
        let found = logits::promoted(m.core(), &f.sae.core, f.index)?;
        let title = format!("logits along {}, a code of 1", f.short());
        Ok(logits::extremes(&title, &found, &|id| name(m.core(), id), rows))
    }

    #[rhai_fn(name = "logits", return_raw)]
    pub fn logits_on(ctx: NativeCallContext, m: Model, f: Feature, text: Text, options: Options) -> Fallible<Table> {
        Ok(super::without(&ctx, &m, &f, &text, options)?)
    }

    /// The features nearest to one: of its own dictionary, or of another one.
    ///
    /// Without a text, by the cosine of their directions. With a text, by co-activation: the correlation of being
    /// active over all positions, `(n both - a b) / sqrt(a (n - a) b (n - b))` of n positions with a and b of them
    /// active, counted exactly in one pass.
    ///
    /// # Options
    /// - `rows` = 10: number of features
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
        Ok(super::together(&ctx, (&m, &text), (&f, None), options)?)
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
        Ok(super::together(&ctx, (&m, &text), (&f, Some(&other)), options)?)
    }
}

fn nearest(f: &Feature, other: Option<&Sae>, map: Options) -> Result<Table> {
    let mut read = options(map);
    let rows = read.size("rows", 10)?;
    read.finish()?;
    let found = near::by_direction((&f.sae.core, f.index), other.map(|other| &other.core), rows)?;
    let title = match other {
        Some(other) => format!("nearest to {} in a {}", f.short(), other.short()),
        None => format!("nearest to {}", f.short()),
    };
    Ok(near::directions(&title, &found))
}

/// Those that are active where it is.
fn together(
    ctx: &NativeCallContext,
    (m, text): (&Model, &Text),
    (f, other): (&Feature, Option<&Sae>),
    map: Options,
) -> Result<Table> {
    let (env, mut read) = (env(ctx)?, options(map));
    let rows = read.size("rows", 10)?;
    read.finish()?;
    let (one, other) = ((&f.sae.core, f.index), other.map(|other| &other.core));
    let (found, positions, active) = near::by_activity(m.core(), one, other, text, rows, &env.task)?;
    let title = format!("active where {} is, at {active} of {positions} positions of {}", f.short(), text.name());
    Ok(near::activities(&title, &found))
}
