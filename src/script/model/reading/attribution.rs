//! Direct logit attribution.

use rhai::plugin::*;
use rhai::{Dynamic, NativeCallContext};
use serde_json::{Value, json};

use super::super::{Asked, Model};
use super::{name, one, token};
use crate::base::{Grid, Result, Table};
use crate::err;
use crate::model::reading::attribution::{Attribution as Core, By, Target, attribute, places};
use crate::model::run::Ask;
use crate::report::{Item, Screen};
use crate::script::options::options;
use crate::script::show::Handle;
use crate::script::value::{Any, Fallible, Given, Options, from_json};

/// A logit split into what made it.
#[derive(Clone)]
pub struct Attribution {
    model: Model,
    split: Core,
}

impl Attribution {
    fn table(&self) -> Table {
        self.split.table(|id| name(&self.model, id))
    }

    fn heads(&self) -> Result<Grid> {
        let refusal = || err!(Argument, "this logit was not split by head").hint("ask for #{ by: \"head\" }");
        self.split.heads().ok_or_else(refusal)
    }
}

impl Handle for Attribution {
    const NAME: &'static str = "Attribution";

    fn short(&self) -> String {
        self.table().title
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.table().terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let parts: serde_json::Map<_, _> =
            self.split.parts.iter().map(|(writer, value)| (writer.to_string(), json!(value))).collect();
        Ok(json!({
            "parts": parts,
            "norm_bias": self.split.norm_bias,
            "unembed_bias": self.split.unembed_bias,
            "rest": self.split.rest(),
            "logit": self.split.logit,
        }))
    }
}

fn by(given: &Given) -> Result<By> {
    match given.text()?.as_str() {
        "layer" => Ok(By::Layer),
        "part" => Ok(By::Part),
        "head" => Ok(By::Head),
        _ => Err(given.refuse("\"layer\", \"part\" or \"head\"")),
    }
}

fn split(ctx: &NativeCallContext, m: &Model, x: &Dynamic, of: &Dynamic, map: Options) -> Fallible<Attribution> {
    let mut read = options(2, map);
    let asked = Asked::read(2, &mut read)?;
    let by = read.get("by", by)?.unwrap_or(By::Part);
    let against = read.value("against");
    let position = read.get("pos", Given::integer)?.unwrap_or(-1);
    read.finish()?;
    let against = against.map(|against| token(m, 2, "against", &against)).transpose()?;
    let target = Target { token: token(m, 1, "token", of)?, against };
    let input = one(&asked, ctx, m, x)?;
    let split = asked.run(ctx, m, |hooks, task| {
        let ask = Ask { hooks, places: places(m.config(), by), positions: None };
        let cache = m.decoder().cache(&input.batch, ask, task)?;
        Ok(attribute(m.decoder(), &cache, by, position, &[target])?.remove(0))
    })?;
    Ok(Attribution { model: m.clone(), split })
}

#[export_module(manifest)]
pub mod methods {
    /// Direct logit attribution: the logit of a token, given by id or by text, as the sum of what embeddings, attention
    /// and MLPs wrote into the stream of a text.
    ///
    /// The divisor of the last norm is frozen at what it was, so the sum is exact, and says nothing of what a change in
    /// one part would do to it. A logit that the model caps is split as it was before the cap.
    ///
    /// # Options
    /// - `by` = "part": "layer" for what each block adds, "part" for attention and MLP, "head" for heads and MLP
    /// - `against` = none: a token whose logit is taken off, by id or by text
    /// - `pos` = -1: the position after which the token would stand; negative ones count from the end
    /// - `hooks` = none: a hook, or an array of them, in the order that they act in
    /// - `bos` = the tokenizer's own rule: whether the token that marks a beginning is put before the text
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let split = m.attribute([1, 2, 3], 4, #{ against: 5 });
    /// split.to_map().parts.keys()  //=> ["attn_out.0", "embed", "mlp_out.0"]
    /// let logits = m.logits([1, 2, 3])[0][-1];
    /// (split.to_map().logit - (logits[4] - logits[5])).abs() < 1e-6  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn attribute(ctx: NativeCallContext, m: &mut Model, x: Any, token: Any) -> Fallible<Attribution> {
        super::split(&ctx, m, &x, &token, Options::new())
    }

    #[rhai_fn(global, name = "attribute", pure, return_raw)]
    pub fn attribute_with(
        ctx: NativeCallContext,
        m: &mut Model,
        x: Any,
        token: Any,
        options: Options,
    ) -> Fallible<Attribution> {
        super::split(&ctx, m, &x, &token, options)
    }

    /// The contributions, a row for each part, and the logit at the end.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.attribute([1, 2, 3], 4).table.columns  //=> ["part", "contribution"]
    /// ```
    #[rhai_fn(global, get = "table", pure)]
    pub fn table(attribution: &mut Attribution) -> Table {
        attribution.table()
    }

    /// The contributions of the heads alone: a row for each layer, a column for each head.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 4, vocab: 10, context: 16 });
    /// m.attribute([1, 2, 3], 4, #{ by: "head" }).heads  //=> grid of 2 by 4 "direct attribution to heads"
    /// ```
    #[rhai_fn(global, get = "heads", pure, return_raw)]
    pub fn heads(attribution: &mut Attribution) -> Fallible<Grid> {
        Ok(attribution.heads()?)
    }

    /// The contributions by the names of the parts, the constants, and the logit.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.attribute([1, 2, 3], 4).to_map().rest.abs() < 1e-5  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(attribution: &mut Attribution) -> Fallible<Dynamic> {
        Ok(from_json(&attribution.json()?))
    }
}
