//! A fitted lens, how it reads, and its parts.

use super::both_lenses::BothLenses;
use super::lens::Lens;
use crate::model::reading::fitted::{self as core, LensKind};
use crate::model::reading::lens::{LOGIT_LENS, LensOptions};
use crate::script::model::properties::places;
use crate::script::model::{Cache, InputOptions, Model};
use crate::script::prelude::*;
use crate::tokenizer::tokens::TokenName;

/// A fitted lens.
#[derive(Clone)]
pub struct FittedLens(pub Arc<core::FittedLens>);

impl FittedLens {
    fn name(&self) -> &'static str {
        self.0.kind().name()
    }

    /// Refuses a lens of another kind.
    fn expect(&self, kind: LensKind, part: &str) -> Result<()> {
        if self.0.kind() == kind {
            return Ok(());
        }
        Err(err!(Argument, "a {} has no `{part}`, which a {} has", self.name(), kind.name()))
    }

    fn layers(&self) -> Vec<i64> {
        self.0.layers().map(|layer| layer as i64).collect()
    }

    fn card(&self) -> Card {
        let layers = self.layers().iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let fields =
            [("layers", layers.into()), ("prompts", self.0.prompts().into()), ("d_model", self.0.d_model().into())];
        Card::new(self.name(), fields)
    }
}

impl Handle for FittedLens {
    const NAME: &'static str = "FittedLens";

    fn short(&self) -> String {
        let layers = count(self.layers().len(), "layer");
        let prompts = count(self.0.prompts(), "prompt");
        format!("{} of {layers}, {prompts}", self.name())
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.card().terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        let layers = self.layers();
        let prompts = self.0.prompts();
        let d_model = self.0.d_model();
        Ok(json!({ "kind": self.name(), "layers": layers, "prompts": prompts, "d_model": d_model }))
    }
}

/// Reads the sites of a call, or those of the lens if it names none.
fn read(
    ctx: &NativeCallContext,
    lens: &FittedLens,
    m: &Model,
    x: &Dynamic,
    sites: Option<&Dynamic>,
    map: Options,
) -> Fallible<BothLenses> {
    let (asked, options) = taken_both::<InputOptions, LensOptions>(map)?;
    let places = match sites {
        Some(sites) => places(m.config(), sites)?,
        None => lens.0.places(m.decoder())?,
    };
    let input = asked.input(ctx, m, x)?;
    let both =
        asked.run(ctx, m, |hooks, task| lens.0.read(m.decoder(), &input.batch, &places, &options, hooks, task))?;
    let positions = options.record.pos.as_deref();
    Ok(BothLenses {
        kind: lens.0.kind(),
        fitted: Lens::new(m, lens.name(), &input, positions, both.fitted)?,
        logit: Lens::new(m, LOGIT_LENS, &input, positions, both.logit)?,
    })
}

#[export_module(manifest)]
pub mod methods {
    /// Reads texts by the lens and by the logit lens: the likeliest tokens by layer and position.
    ///
    /// The sites are `resid_post` of the layers of the lens, and of the last layer, which is the model's own prediction.
    /// `.fitted` and `.logit` of the result are one lens each, as `m.lens` returns it.
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
    /// both.fitted.logits("resid_post.1").all_close(m.logits([1, 2, 3]))  //=> true
    /// both.logit.logits("resid_post.0").equal(m.lens([1, 2, 3]).logits("resid_post.0"))  //=> true
    /// ```
    #[rhai_fn(global, name = "read", pure, return_raw)]
    pub fn read_all(ctx: NativeCallContext, lens: &mut FittedLens, m: Model, x: Any) -> Fallible<BothLenses> {
        super::read(&ctx, lens, &m, &x, None, Options::new())
    }

    #[rhai_fn(global, name = "read", pure, return_raw)]
    pub fn read_sites(
        ctx: NativeCallContext,
        lens: &mut FittedLens,
        m: Model,
        x: Any,
        sites: Any,
        options: Options,
    ) -> Fallible<BothLenses> {
        super::read(&ctx, lens, &m, &x, Some(&sites), options)
    }

    /// Computes the logits that the lens reads at one site of a cache: [batch, pos, vocab], NaN after the end of
    /// shorter texts.
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
        lens: &mut FittedLens,
        m: Model,
        cache: Cache,
        site: &str,
    ) -> Fallible<Tensor> {
        let cache = cache.activations();
        Ok(lens.0.logits(m.decoder(), cache, cache.named(site)?, &env(&ctx)?.task)?)
    }

    /// Computes the direction in the output of a layer that promotes a token at the end: v = A^T W_U[:, token],
    /// [d_model], where A is the matrix of the lens: for a Jacobian lens, J.
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
        lens: &mut FittedLens,
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

    /// Returns the matrix J of a layer of a Jacobian lens: [d_model, d_model], the output dimension first.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).jacobian(0).shape  //=> [8, 8]
    /// ```
    #[rhai_fn(global, name = "jacobian", pure, return_raw)]
    pub fn layer_jacobian(lens: &mut FittedLens, layer: Int) -> Fallible<Tensor> {
        lens.expect(LensKind::Jacobian, "jacobian")?;
        Ok(lens.0.map(given("layer", &layer).size()?)?.matrix.clone())
    }

    /// Returns the map of a tuned lens for the output of a layer: the `matrix` A, [d_model, d_model], the output
    /// dimension first, and the `bias` b, [d_model].
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let found = m.tuned_lens([[1, 2, 3, 4]], #{ steps: 1 }).translator(0);
    /// [found.matrix.shape, found.bias.shape]  //=> [[8, 8], [8]]
    /// ```
    #[rhai_fn(global, name = "translator", pure, return_raw)]
    pub fn layer_translator(lens: &mut FittedLens, layer: Int) -> Fallible<Map> {
        lens.expect(LensKind::Tuned, "translator")?;
        let map = lens.0.map(given("layer", &layer).size()?)?;
        let parts = [("matrix", Some(&map.matrix)), ("bias", map.bias.as_ref())];
        Ok(parts.into_iter().filter_map(|(name, part)| Some((name.into(), Dynamic::from(part?.clone())))).collect())
    }

    /// Returns the layers that the lens reads.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 3, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).layers  //=> [0, 1]
    /// ```
    #[rhai_fn(global, get = "layers", pure)]
    pub fn lens_layers(lens: &mut FittedLens) -> Array {
        lens.layers().into_iter().map(Dynamic::from).collect()
    }

    /// Returns the number of prompts that the lens was fitted on.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).prompts  //=> 1
    /// ```
    #[rhai_fn(global, get = "prompts", pure)]
    pub fn lens_prompts(lens: &mut FittedLens) -> i64 {
        lens.0.prompts() as i64
    }

    /// Saves the lens as .safetensors, by layer and with `n_prompts`, `source_layers` and `d_model`: a Jacobian lens as
    /// `J.0`, `J.1`, .., in f16, a tuned lens as `A.0`, `b.0`, .., in f32.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).save("doc/lens.safetensors");
    /// tensor::load("doc/lens.safetensors").keys()  //=> ["J.0", "d_model", "n_prompts", "source_layers"]
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_lens(ctx: NativeCallContext, lens: &mut FittedLens, path: &str) -> Fallible<()> {
        let env = env(&ctx)?;
        Ok(lens.0.save(&env.files, Path::new(path), &env.task).map_err(|e| e.about("path"))?)
    }

    /// Returns the kind, the layers, the number of prompts and the width of the lens, as a map.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 }).to_map()
    /// //=> #{ d_model: 8, kind: "Jacobian lens", layers: [0], prompts: 1 }
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn lens_map(lens: &mut FittedLens) -> Fallible<Dynamic> {
        Ok(mapped(lens)?)
    }
}
