//! `m.jacobian_lens`: the Jacobian lens, and what it reads.

use std::path::Path;
use std::sync::Arc;

use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};
use serde_json::{Value, json};

use super::lens::Lens;
use crate::base::options::Setting;
use crate::base::{Card, Cell, Result};
use crate::data::Text;
use crate::data::pack::gathered;
use crate::model::reading::jacobian::{self as core, JACOBIAN_LENS, JacobianLensOptions};
use crate::model::reading::lens::{LOGIT_LENS, LensOptions};
use crate::model::tokens::TokenName;
use crate::report::symbols::count;
use crate::report::{Item, Screen};
use crate::script::engine::env::env;
use crate::script::engine::handle::handle;
use crate::script::engine::options::{options, taken};
use crate::script::engine::show::{Handle, mapped, saved};
use crate::script::engine::value::{Any, Fallible, Int, Options, from_json, given, plain};
use crate::script::model::input::texts;
use crate::script::model::look::places;
use crate::script::model::{Cache, InputOptions, Model};
use crate::tensor::Tensor;

/// A fitted lens.
#[derive(Clone)]
pub struct JacobianLens(Arc<core::JacobianLens>);

impl JacobianLens {
    fn layers(&self) -> Vec<i64> {
        self.0.layers().map(|layer| layer as i64).collect()
    }

    fn card(&self) -> Card {
        let layers = self.layers().iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let fields: [(&str, Cell); 3] =
            [("layers", layers.into()), ("prompts", self.0.prompts().into()), ("d_model", self.0.d_model().into())];
        let fields = fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        Card { title: JACOBIAN_LENS.into(), fields, ..Card::default() }
    }
}

impl Handle for JacobianLens {
    const NAME: &'static str = "JacobianLens";

    fn short(&self) -> String {
        format!("{JACOBIAN_LENS} of {}, {}", count(self.layers().len(), "layer"), count(self.0.prompts(), "prompt"))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.card().terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({ "layers": self.layers(), "prompts": self.0.prompts(), "d_model": self.0.d_model() }))
    }
}

/// The Jacobian lens beside the logit lens, on the same texts.
#[derive(Clone)]
pub struct BothLenses {
    jacobian: Lens,
    logit: Lens,
}

impl Item for BothLenses {
    fn kind(&self) -> &'static str {
        "lenses"
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        Ok([self.jacobian.terminal(screen)?, self.logit.terminal(screen)?].join("\n"))
    }

    fn html(&self) -> Result<String> {
        Ok([self.jacobian.html()?, self.logit.html()?].concat())
    }

    fn data(&self) -> Result<Value> {
        Ok(json!({ "jacobian": self.jacobian.data()?, "logit": self.logit.data()? }))
    }
}

handle!(BothLenses, "BothLenses", |both| format!("{JACOBIAN_LENS} and {LOGIT_LENS}: {}", both.jacobian.short()));

/// The prompts that a lens is fitted on.
fn prompts(ctx: &NativeCallContext, m: &Model, x: &Dynamic, options: &JacobianLensOptions) -> Result<Vec<Vec<u32>>> {
    let Some(text) = x.read_lock::<Text>() else {
        return Ok(texts(ctx, m, x).map_err(|e| e.about("text"))?.batch.rows().to_vec());
    };
    let context = options.context.min(m.config().context);
    gathered(&text, m.tokenizer()?, context, Some(options.prompts), &env(ctx)?.task, |row| Ok(row.ids))
        .map_err(|e| e.about("text"))
}

/// The sites that are read: those of the lens, if the call names none.
fn read(
    ctx: &NativeCallContext,
    lens: &JacobianLens,
    m: &Model,
    (x, sites): (&Dynamic, Option<&Dynamic>),
    map: Options,
) -> Fallible<BothLenses> {
    let mut read = options(map);
    let (asked, options): (InputOptions, LensOptions) = (read.declared()?, read.declared()?);
    read.finish()?;
    let places = match sites {
        Some(sites) => places(m.config(), sites)?,
        None => lens.0.places(m.decoder())?,
    };
    let input = asked.input(ctx, m, x)?;
    let both =
        asked.run(ctx, m, |hooks, task| lens.0.read(m.decoder(), &input.batch, &places, &options, hooks, task))?;
    let positions = options.record.pos.as_deref();
    Ok(BothLenses {
        jacobian: Lens::new((m, JACOBIAN_LENS), &input, positions, both.jacobian)?,
        logit: Lens::new((m, LOGIT_LENS), &input, positions, both.logit)?,
    })
}

#[export_module(manifest)]
pub mod functions {
    /// Loads a Jacobian lens from a .safetensors file that `lens.save` wrote, or from a .pt file of other programs: a
    /// dictionary with `J` by layer, `n_prompts`, `source_layers` and `d_model`.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let lens = m.jacobian_lens([[1, 2, 3, 4], [5, 6, 7]], #{ skip_first: 0 });
    /// lens.save("doc/lens.safetensors");
    /// model::load_jacobian_lens("doc/lens.safetensors")  //=> Jacobian lens of 1 layer, 2 prompts
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load_jacobian_lens(ctx: NativeCallContext, path: &str) -> Fallible<JacobianLens> {
        let env = env(&ctx)?;
        let lens = core::JacobianLens::load(&env.files, Path::new(path), &env.task).map_err(|e| e.about("path"))?;
        Ok(JacobianLens(lens.into()))
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Fits a Jacobian lens: for each layer the matrix J that carries its output to the output of the last layer, so that
    /// it can be decoded there.
    ///
    /// J_l is the mean over prompts and positions t of the sum over t' >= t of d h_final(t') / d h_l(t), by backward
    /// passes; the first positions of each prompt and the last are left out. The lens reads softmax(W_U norm(J_l h)),
    /// and the logit lens is the same with the identity in place of J. 100 prompts give a usable lens. Ctrl-C ends the
    /// fit with the prompts that were read so far.
    ///
    /// `text` is one of `data::text`, or an array of texts or of ids.
    ///
    /// # Options
    /// - [jacobian_lens]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 3, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let lens = m.jacobian_lens([[1, 2, 3, 4], [5, 6, 7]], #{ skip_first: 0 });
    /// lens  //=> Jacobian lens of 2 layers, 2 prompts
    /// lens.jacobian(0).shape  //=> [8, 8]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn jacobian_lens(ctx: NativeCallContext, m: &mut Model, text: Any, options: Options) -> Fallible<JacobianLens> {
        let options: JacobianLensOptions = taken(options)?;
        let prompts = super::prompts(&ctx, m, &text, &options)?;
        let lens = core::fit(&m.shared().decoder, &prompts, &options, &env(&ctx)?.task)?;
        Ok(JacobianLens(lens.into()))
    }

    /// Reads texts by the Jacobian lens and by the logit lens: the likeliest tokens by layer and position.
    ///
    /// The sites are `resid_post` of the layers of the lens, and of the last layer, which is the model's own prediction.
    /// `.jacobian` and `.logit` of the result are one lens each, as `m.lens` returns it.
    ///
    /// # Options
    /// - [lens]
    /// - [input]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let lens = m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 });
    /// let both = lens.read(m, [1, 2, 3], "resid_post.*");
    /// both  //=> Jacobian lens and logit lens: lens on 2 sites, 1 text
    /// both.jacobian.logits("resid_post.1").all_close(m.logits([1, 2, 3]))  //=> true
    /// both.logit.logits("resid_post.0").equal(m.lens([1, 2, 3]).logits("resid_post.0"))  //=> true
    /// ```
    #[rhai_fn(global, name = "read", pure, return_raw)]
    pub fn read_all(ctx: NativeCallContext, lens: &mut JacobianLens, m: Model, x: Any) -> Fallible<BothLenses> {
        super::read(&ctx, lens, &m, (&x, None), Options::new())
    }

    #[rhai_fn(global, name = "read", pure, return_raw)]
    pub fn read_sites(
        ctx: NativeCallContext,
        lens: &mut JacobianLens,
        m: Model,
        x: Any,
        sites: Any,
        options: Options,
    ) -> Fallible<BothLenses> {
        super::read(&ctx, lens, &m, (&x, Some(&sites)), options)
    }

    /// The logits that the lens reads at one site of a cache: [batch, pos, vocab], NaN after the end of shorter texts.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let lens = m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 });
    /// lens.logits(m, m.cache([1, 2, 3], "resid_post.0"), "resid_post.0").shape  //=> [1, 3, 10]
    /// ```
    #[rhai_fn(global, name = "logits", pure, return_raw)]
    pub fn lens_logits(
        ctx: NativeCallContext,
        lens: &mut JacobianLens,
        m: Model,
        cache: Cache,
        site: &str,
    ) -> Fallible<Tensor> {
        let cache = cache.activations();
        Ok(lens.0.logits(m.decoder(), cache, cache.named(site)?, &env(&ctx)?.task)?)
    }

    /// The direction in the output of a layer that promotes a token at the end: v = J^T W_U[:, token], [d_model].
    ///
    /// It goes into `hooks::add` to steer; the token is a text that is one token, or an id.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let lens = m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 });
    /// let v = lens.direction(m, 0, 7);
    /// v.all_close(m.weight("unembed.weight")[7] @ lens.jacobian(0))  //=> true
    /// ```
    #[rhai_fn(global, name = "direction", pure, return_raw)]
    pub fn lens_direction(
        ctx: NativeCallContext,
        lens: &mut JacobianLens,
        m: Model,
        layer: Int,
        token: Any,
    ) -> Fallible<Tensor> {
        let wanted = || given("token", &token).refuse(&TokenName::wanted());
        let name = TokenName::of(&plain(&token)).ok_or_else(wanted)?;
        let id = m.core().token(&name, &env(&ctx)?.task).map_err(|e| e.about("token"))?;
        let layer = given("layer", &layer).index(m.config().layers, "a model", "layer")?;
        Ok(lens.0.direction(m.decoder(), layer, id)?)
    }

    /// The matrix of a layer: [d_model, d_model], the output dimension first.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).jacobian(0).shape  //=> [8, 8]
    /// ```
    #[rhai_fn(global, name = "jacobian", pure, return_raw)]
    pub fn layer_jacobian(lens: &mut JacobianLens, layer: Int) -> Fallible<Tensor> {
        Ok(lens.0.jacobian(given("layer", &layer).size()?)?.clone())
    }

    /// The layers that the lens reads.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 3, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).layers  //=> [0, 1]
    /// ```
    #[rhai_fn(global, get = "layers", pure)]
    pub fn lens_layers(lens: &mut JacobianLens) -> Array {
        lens.layers().into_iter().map(Dynamic::from).collect()
    }

    /// The number of prompts that the lens was fitted on.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).prompts  //=> 1
    /// ```
    #[rhai_fn(global, get = "prompts", pure)]
    pub fn lens_prompts(lens: &mut JacobianLens) -> i64 {
        lens.0.prompts() as i64
    }

    /// Saves the lens as .safetensors, in f16: the matrices as `J.0`, `J.1`, .., and `n_prompts`, `source_layers` and
    /// `d_model`.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).save("doc/lens.safetensors");
    /// tensor::load("doc/lens.safetensors").keys()  //=> ["J.0", "d_model", "n_prompts", "source_layers"]
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_lens(ctx: NativeCallContext, lens: &mut JacobianLens, path: &str) -> Fallible<()> {
        let env = env(&ctx)?;
        Ok(lens.0.save(&env.files, Path::new(path), &env.task).map_err(|e| e.about("path"))?)
    }

    /// The layers, the number of prompts and the width of the lens.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).to_map()  //=> #{ d_model: 8, layers: [0], prompts: 1 }
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn lens_map(lens: &mut JacobianLens) -> Fallible<Dynamic> {
        Ok(from_json(lens.json()?))
    }
}

#[export_module(manifest)]
pub mod parts {
    /// What the Jacobian lens has read.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let both = m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).read(m, [1, 2]);
    /// both.jacobian.grid()  //=> grid of 2 by 2 "Jacobian lens"
    /// ```
    #[rhai_fn(global, get = "jacobian", pure)]
    pub fn jacobian(both: &mut BothLenses) -> Lens {
        both.jacobian.clone()
    }

    /// What the logit lens has read in the same run.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let both = m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).read(m, [1, 2]);
    /// both.logit.grid()  //=> grid of 2 by 2 "logit lens"
    /// ```
    #[rhai_fn(global, get = "logit", pure)]
    pub fn logit(both: &mut BothLenses) -> Lens {
        both.logit.clone()
    }

    /// Saves both lenses as .json, .txt or .html, by the ending of the name. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let both = m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).read(m, [1, 2]);
    /// both.save("doc/lenses.html").ends_with("lenses.html")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_both(ctx: NativeCallContext, both: &mut BothLenses, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, both, path)?)
    }

    /// The data of both lenses, as `to_map` of one lens gives it.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let both = m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).read(m, [1, 2]);
    /// both.to_map().jacobian.sites  //=> ["resid_post.0", "resid_post.1"]
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn both_map(both: &mut BothLenses) -> Fallible<Dynamic> {
        Ok(mapped(both)?)
    }
}
