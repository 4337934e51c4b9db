//! Running a model: logits, losses, and runs that record activations.

use super::cache::{self, Cache};
use super::{Input, InputOptions, LogitsOptions, LossOptions, RunOptions};
use crate::model::batch::Batch;
use crate::model::inject::InjectOptions;
use crate::model::padding::{blanked, stacked};
use crate::model::run::{Ask, Run as Core, mean_of_losses};
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::tensor::reduce::{Reduction, reduce};
use crate::tensor::shape;

/// Logits and cache of one forward pass.
#[derive(Clone)]
pub struct Run {
    /// NaN after the end of each text.
    logits: Tensor,
    cache: Cache,
    batch: Batch,
}

impl Run {
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    pub fn logits(&self) -> &Tensor {
        &self.logits
    }

    /// Tabulates what was recorded, with its shapes.
    pub fn table(&self) -> Table {
        self.cache.table(self.short())
    }

    pub fn core(&self) -> Core {
        let cache = self.cache.activations().as_ref().clone();
        Core { logits: self.logits.clone(), cache, batch: self.batch.clone() }
    }
}

impl TryFrom<Core> for Run {
    type Error = Error;

    fn try_from(run: Core) -> Result<Self> {
        let logits = blanked(&run.logits, &run.batch.lengths(), &[1])?;
        Ok(Self { logits, cache: run.cache.into(), batch: run.batch })
    }
}

impl Handle for Run {
    const NAME: &'static str = "Run";

    fn short(&self) -> String {
        let cache = self.cache.activations();
        let texts = count(cache.lengths().len(), "text");
        let sites = count(cache.len(), "site");
        format!("run of {texts}, {sites} recorded")
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.table().terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        Ok(json!({ "logits": self.logits.json()?, "cache": self.cache.json()? }))
    }

    fn item(&self) -> Result<Option<Rc<dyn Item>>> {
        Ok(Some(Rc::new(self.table())))
    }
}

/// Computes the loss of each token but the first, for each text; and tells whether several were given.
fn losses_of(ctx: &NativeCallContext, m: &Model, x: &Dynamic, map: Options) -> Fallible<(Vec<Tensor>, bool)> {
    let (asked, LossOptions { windowed }) = taken_both::<InputOptions, _>(map)?;
    let Input { batch, several } = asked.input(ctx, m, x)?;
    let losses = asked.run(ctx, m, |hooks, task| {
        if x.is::<Text>() {
            m.decoder().losses_by_rows(&batch, hooks, task)
        } else if windowed {
            m.decoder().windowed_losses(&batch, hooks, task)
        } else {
            m.decoder().losses(&batch, hooks, task)
        }
    })?;
    Ok((losses, several))
}

#[export_module(manifest)]
pub mod methods {
    /// Computes the logits of a text at every position: [batch, pos, vocab]; at one position alone [batch, vocab].
    ///
    /// `x` is a text, an array of texts, tokens, an array of token ids or of such arrays, or a tensor of ids, [pos] or
    /// [batch, pos], as in every call that reads tokens. Where texts have different lengths, logits after the end of a
    /// shorter one are NaN; `#{ pos: -1 }` gives those after the last token of each. A text of `data::text` is read in
    /// rows of the model's context.
    ///
    /// # Options
    /// - [logits]
    /// - [inject]
    /// - [input]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.logits([1, 2, 3]).shape  //=> [1, 3, 10]
    /// m.logits([[1, 2, 3], [4, 5]]).shape  //=> [2, 3, 10]
    /// m.logits([[1, 2, 3], [4, 5]], #{ pos: -1 }).shape  //=> [2, 10]
    /// m.logits([[1, 2, 3], [4, 5]], #{ pos: [0, -1] }).shape  //=> [2, 2, 10]
    /// m.logits([1, 2], #{ hooks: hooks::zero("final_norm") }).sum()  //=> 0.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn logits(ctx: NativeCallContext, m: &mut Model, x: Any, options: Options) -> Fallible<Tensor> {
        let (asked, wanted, inject) = taken_three::<InputOptions, LogitsOptions, InjectOptions>(options)?;
        let input = asked.input(&ctx, m, &x)?;
        asked.run_injected(&ctx, m, &inject, &input.batch, |hooks, task| match wanted.positions() {
            Some(positions) => wanted.shaped(&m.decoder().logits_at(&input.batch, positions, hooks, task)?),
            None => blanked(&m.decoder().logits(&input.batch, hooks, task)?, &input.batch.lengths(), &[1]),
        })
    }

    /// Runs the model and records the logits and the activations of sites.
    ///
    /// `run["resid_post.3"]` is the activation of a site, `run.logits` the logits, `run.cache` all that was recorded.
    ///
    /// # Options
    /// - [run]
    /// - [inject]
    /// - [input]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let run = m.run([1, 2, 3], #{ sites: ["resid_post.*", "z.1.0"] });
    /// run  //=> run of 1 text, 3 sites recorded
    /// run["resid_post.1"].shape  //=> [1, 3, 8]
    /// run["blocks.0.hook_resid_post"].equal(run["resid_post.0"])  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn run(ctx: NativeCallContext, m: &mut Model, x: Any, options: Options) -> Fallible<Run> {
        let (asked, options, inject) = taken_three::<InputOptions, RunOptions, InjectOptions>(options)?;
        let places = options.places(m.config())?;
        let positions = options.record.pos;
        let input = asked.input(&ctx, m, &x)?;
        asked.run_injected(&ctx, m, &inject, &input.batch, |hooks, task| {
            m.decoder().run(&input.batch, Ask { hooks, places, positions }, task)?.try_into()
        })
    }
}

#[export_module(manifest)]
pub mod losses {
    /// Computes the mean loss in nats: -log of the probability that the model gave to each token but the first.
    ///
    /// Over several texts it is the mean over all of their tokens. Within `tensor::grad` it is a tensor without axes, so that
    /// gradients flow through hooks.
    ///
    /// # Options
    /// - [loss]
    /// - [input]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// let uniform = hooks::zero("final_norm");
    /// m.loss([1, 2, 3], #{ hooks: uniform })  //=> 2.3025851
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn loss(ctx: NativeCallContext, m: &mut Model, x: Any, options: Options) -> Fallible<Num> {
        let (losses, _) = super::losses_of(&ctx, m, &x, options)?;
        if losses.iter().any(|loss| loss.track_op()) {
            // Within a gradient the number stays a tensor.
            return Ok(Dynamic::from(reduce(&shape::cat(&losses, 0)?, Reduction::Mean, None, false)?));
        }
        Ok(mean_of_losses(&losses)?.into())
    }

    /// Computes the loss in nats of each token but the first: [pos - 1] for a text, [batch, pos - 1] for several, with
    /// NaN after the end of shorter ones.
    ///
    /// # Options
    /// - [loss]
    /// - [input]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.losses([1, 2, 3]).shape  //=> [2]
    /// let losses = m.losses([[1, 2, 3], [4, 5]]);
    /// losses.shape  //=> [2, 2]
    /// losses.is_nan().to_array()  //=> [[0, 0], [0, 1]]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn losses(ctx: NativeCallContext, m: &mut Model, x: Any, options: Options) -> Fallible<Tensor> {
        let (losses, several) = super::losses_of(&ctx, m, &x, options)?;
        let losses = stacked(&losses)?;
        Ok(if several { losses } else { losses.squeeze(0).map_err(Error::from)? })
    }
}

#[export_module(manifest)]
pub mod parts {
    /// Returns the logits of the run: [batch, pos, vocab], NaN after the end of shorter texts.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.run([1, 2, 3]).logits.shape  //=> [1, 3, 10]
    /// ```
    #[rhai_fn(global, get = "logits", pure)]
    pub fn logits(run: &mut Run) -> Tensor {
        run.logits().clone()
    }

    /// Returns all recorded activations.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.run([1, 2, 3], #{ sites: "embed" }).cache.names()  //=> ["embed"]
    /// ```
    #[rhai_fn(global, get = "cache", pure)]
    pub fn cache(run: &mut Run) -> Cache {
        run.cache().clone()
    }

    /// Returns the activation of a site; TransformerLens' names are accepted, too.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.run([1, 2, 3])["mlp_out.0"].shape  //=> [1, 3, 8]
    /// ```
    #[rhai_fn(global, index_get, pure, return_raw)]
    pub fn at(run: &mut Run, site: &str) -> Fallible<Tensor> {
        Ok(run.cache().get(site)?)
    }

    /// Saves the logits and the recorded tensors as .safetensors or .npz, under TransformerLens' names.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.run([1, 2, 3], #{ sites: "resid_post.0" }).save("run.safetensors");
    /// tensor::load("run.safetensors").keys()  //=> ["blocks.0.hook_resid_post", "logits"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, run: &mut Run, path: &str) -> Fallible<()> {
        let mut named = run.cache().named()?;
        named.tensors.insert("logits".into(), run.logits().clone());
        Ok(super::cache::save(&*env(&ctx)?, path, named)?)
    }

    /// Returns the logits and the recorded tensors, by their names.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.run([1, 2, 3], #{ sites: "embed" }).to_map().keys()  //=> ["embed", "logits"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(run: &mut Run) -> Fallible<Map> {
        let mut map = run.cache().map()?;
        map.insert("logits".into(), Dynamic::from(run.logits().clone()));
        Ok(map)
    }
}
