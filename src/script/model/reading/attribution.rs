//! `m.attribution`: direct logit attribution, and its parts.

use super::names;
use crate::model::reading::attribution::{Attribution as Core, Target, attribute_texts, mean};
use crate::report::picture::Picture;
use crate::script::model::{AttributionOptions, InputOptions, Model};
use crate::script::prelude::*;
use crate::tokenizer::tokens::TokenName;

#[derive(Clone)]
pub struct Attribution(Arc<Split>);

/// A split logit, with its tokens by name, or the mean of several.
struct Split {
    core: Core,
    /// Half of the 95 % interval of each line of the table; none for one text.
    margins: Vec<f64>,
    texts: usize,
    token: String,
    against: Option<String>,
    table: Table,
    heads: Option<Grid>,
}

impl Attribution {
    fn new(m: &Model, targets: &[Target], all: &[Core]) -> Result<Self> {
        let (core, margins) = mean(all)?;
        let texts = all.len();
        let name = |id: u32| names::name(m.core(), id);
        let token = name(core.target.token);
        let against = core.target.against.map(name);
        let mut table = core.table(|id| names::label(m.core(), id));
        let is_one = targets.iter().all(|target| *target == core.target);
        if texts > 1 {
            let whose = if is_one { table.title.as_str() } else { "direct attribution of each text's own token" };
            table.title = format!("{whose}, mean over {texts} texts");
            table.columns.push("margin".into());
            table.rows.iter_mut().zip(&margins).for_each(|(row, margin)| row.push(Cell::Float(*margin)));
        }
        let heads = core.heads();
        let (token, against) = if is_one { (token, against) } else { ("each text's own token".into(), None) };
        Ok(Self(Arc::new(Split { core, margins, texts, token, against, table, heads })))
    }

    /// Returns all terms of the sum.
    fn terms(&self) -> Value {
        let terms = self.0.core.terms().into_iter().enumerate();
        let term = |(at, (writer, value)): (usize, (String, f64))| {
            let mut term = json!({ "writer": writer, "value": number(value) });
            if let Some(margin) = self.0.margins.get(at) {
                term["margin"] = number(*margin);
            }
            term
        };
        terms.map(term).collect()
    }
}

impl Item for Attribution {
    fn kind(&self) -> &'static str {
        "attribution"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        self.0.table.terminal(screen)
    }

    fn html(&self) -> Result<String> {
        let heads = self.0.heads.as_ref().map(Item::html).transpose()?;
        Ok([self.0.table.html()?, heads.unwrap_or_default()].concat())
    }

    fn data(&self) -> Result<Value> {
        let Core { target, logit, .. } = &self.0.core;
        let against = target.against.map(|id| json!({ "id": id, "text": self.0.against }));
        Ok(json!({
            "token": { "id": target.token, "text": self.0.token },
            "against": against,
            "parts": self.terms(),
            "sum": number(self.0.core.sum()),
            "rest": number(self.0.core.rest()),
            "logit": number(*logit),
            "texts": self.0.texts,
        }))
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        let heads = self.0.heads.clone()?;
        Some(Box::new(Chart::heat(heads)))
    }
}

handle!(Attribution, "Attribution", |attribution| {
    let Split { token, against, .. } = &*attribution.0;
    match against {
        None => format!("attribution of the logit of {token:?}"),
        Some(other) => format!("attribution of the logit of {token:?} less that of {other:?}"),
    }
});

fn split(ctx: &NativeCallContext, m: &Model, x: &Dynamic, of: &Dynamic, map: Options) -> Fallible<Attribution> {
    let (asked, options) = taken_both::<InputOptions, AttributionOptions>(map)?;
    let task = &env(ctx)?.task;
    let of = Vec::<TokenName>::of(&plain(of)).ok_or_else(|| given("token", of).refuse(&Vec::<TokenName>::wanted()))?;
    let input = asked.input(ctx, m, x)?;
    let texts = input.batch.rows().len();
    let ids =
        |names: &[TokenName], what: &'static str| -> Result<Vec<u32>> {
            let ids = names.iter().map(|name| m.core().token(name, task)).collect::<Result<Vec<_>>>();
            match ids.map_err(|e| e.about(what))? {
                ids if ids.len() == texts => Ok(ids),
                ids if ids.len() == 1 => Ok(ids.repeat(texts)),
                ids => Err(err!(Argument, "expected one token, or one for each of {texts} texts, found {}", ids.len())
                    .about(what)),
            }
        };
    let tokens = ids(&of, "token")?;
    let against = if options.against.is_empty() { Vec::new() } else { ids(&options.against, "against")? };
    let target = |(at, token): (usize, &u32)| Target { token: *token, against: against.get(at).copied() };
    let targets: Vec<Target> = tokens.iter().enumerate().map(target).collect();
    let all =
        asked.run(ctx, m, |hooks, task| attribute_texts(m.decoder(), &input.batch, &targets, &options, hooks, task))?;
    Ok(Attribution::new(m, &targets, &all)?)
}

#[export_module(manifest)]
pub mod methods {
    /// Computes the direct logit attribution: the contributions of embeddings, attention and MLPs to the logit of a
    /// token.
    ///
    /// The token is given as its text or its id. Of several texts it is the mean, with the margin of each contribution's
    /// 95 % interval, 1.96 standard errors; the token may then be an array, one for each text. The final norm is taken as the linear map that it was in
    /// this run, its divisor frozen, so that the sum is exact; `rest` is rounding, and what hooks added to the residual
    /// stream. Where a model caps its logits, this is the logit before the cap.
    ///
    /// # Options
    /// - [attribution]
    /// - [input]
    ///
    /// # Example
    /// ```
    /// let words = ["the", "cat", "sat"];
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words });
    /// let by_part = m.attribution("the cat", " sat");
    /// by_part.parts.map(|part| part.writer)  //=> ["embed", "attn_out.0", "mlp_out.0", "norm bias", "unembed bias"]
    /// (by_part.sum - m.logits("the cat").at([0, -1, 2])).abs() < 1e-5  //=> true
    /// m.attribution(["the cat", "cat"], [" sat", " the"]).parts[0].keys()  //=> ["margin", "value", "writer"]
    /// m.attribution("the cat", 2, #{ against: " the", by: "head" }).heads()  //=> grid of 1 by 2 "direct attribution to heads"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn attribution(ctx: NativeCallContext, m: &mut Model, x: Any, token: Any) -> Fallible<Attribution> {
        super::split(&ctx, m, &x, &token, Options::new())
    }

    #[rhai_fn(global, name = "attribution", pure, return_raw)]
    pub fn attribution_with(
        ctx: NativeCallContext,
        m: &mut Model,
        x: Any,
        token: Any,
        options: Options,
    ) -> Fallible<Attribution> {
        super::split(&ctx, m, &x, &token, options)
    }
}

#[export_module(manifest)]
pub mod parts {
    /// Tabulates all contributions, the rest, and the logit that they sum to.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.attribution([1, 2, 3], 4).table()  //=> table of 7 rows "direct attribution of the logit of `4`"
    /// ```
    #[rhai_fn(global, pure)]
    pub fn table(attribution: &mut Attribution) -> Table {
        attribution.0.table.clone()
    }

    /// Returns the contribution of each head, layer by layer, of an attribution by head.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 4, vocab: 10, context: 16 });
    /// m.attribution([1, 2, 3], 4, #{ by: "head" }).heads()  //=> grid of 2 by 4 "direct attribution to heads"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn heads(attribution: &mut Attribution) -> Fallible<Grid> {
        let heads = attribution.0.heads.clone();
        let unsplit = || err!(Argument, "expected an attribution by head").hint("ask for it with #{ by: \"head\" }");
        Ok(heads.ok_or_else(unsplit)?)
    }

    /// Lists every contribution, as maps with the keys `writer` and `value`, in the order of the computation.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let parts = m.attribution([1, 2, 3], 4, #{ hooks: hooks::zero("mlp_out.0") }).parts;
    /// parts[2]  //=> #{ value: 0.0, writer: "mlp_out.0" }
    /// ```
    #[rhai_fn(global, get = "parts", pure)]
    pub fn parts(attribution: &mut Attribution) -> Dynamic {
        from_json(attribution.terms())
    }

    /// Returns the sum of all parts.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let found = m.attribution([1, 2, 3], 4);
    /// (found.sum - found.logit).abs() < 1e-5  //=> true
    /// ```
    #[rhai_fn(global, get = "sum", pure)]
    pub fn sum(attribution: &mut Attribution) -> f64 {
        attribution.0.core.sum()
    }

    /// Returns the logit that was split, as the model computed it before any cap, or its distance to that of the other
    /// token.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.attribution([1, 2, 3], 4, #{ against: 4 }).logit  //=> 0.0
    /// ```
    #[rhai_fn(global, get = "logit", pure)]
    pub fn logit(attribution: &mut Attribution) -> f64 {
        attribution.0.core.logit
    }

    /// Returns the logit less the sum of all parts: rounding, and what hooks added to the residual stream.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.attribution([1, 2, 3], 4).rest.abs() < 1e-5  //=> true
    /// ```
    #[rhai_fn(global, get = "rest", pure)]
    pub fn rest(attribution: &mut Attribution) -> f64 {
        attribution.0.core.rest()
    }

    /// Saves the attribution as .json, .txt or .html, by the ending of the name, and by head as .svg, .png or .pdf, too.
    /// Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.attribution([1, 2, 3], 4).save("doc/logit.txt").ends_with("logit.txt")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, attribution: &mut Attribution, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, attribution, path)?)
    }

    /// Returns the token or tokens, the parts, their sum, the rest, and the logit, as a map.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.attribution([1, 2, 3], 4).to_map().token  //=> #{ id: 4, text: "4" }
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(attribution: &mut Attribution) -> Fallible<Dynamic> {
        Ok(mapped(attribution)?)
    }
}
