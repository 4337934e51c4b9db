//! Running a model: logits, losses, and runs that keep what was asked for.

use std::rc::Rc;

use rhai::plugin::*;
use rhai::{Array, Dynamic, Map, NativeCallContext};
use serde_json::{Value, json};

use super::cache::{self, Cache};
use super::look::places;
use super::{Asked, Model, Wanted};
use crate::base::{Error, Result, Table};
use crate::data::Text;
use crate::err;
use crate::model::batch::Batch;
use crate::model::padding::blanked;
use crate::model::run::{Ask, Run as Core};
use crate::model::site::{Kind, Place, Site};
use crate::report::symbols::count;
use crate::report::{Item, Screen};
use crate::script::env::env;
use crate::script::options::options;
use crate::script::show::Handle;
use crate::script::value::{Any, Fallible, Given, Num, Options};
use crate::tensor::reduce::{Reduction, number};
use crate::tensor::{DType, Tensor, dtype};

/// Logits and cache of one forward pass.
#[derive(Clone)]
pub struct Run {
    /// NaN behind the end of each text.
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

    /// What was recorded, with its shapes.
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
        let (texts, sites) = (count(cache.lengths().len(), "text"), count(cache.len(), "site"));
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

/// What a run records where nothing else is said: every site but what each head writes, which is as large as all the
/// others together.
fn usual_places(m: &Model) -> Vec<Place> {
    let sites = Site::all(m.config()).into_iter().filter(|site| site.kind != Kind::HeadOut);
    sites.map(|site| Place { site, head: None }).collect()
}

/// The loss of each token but the first, for each text.
fn losses_of(ctx: &NativeCallContext, m: &Model, x: &Dynamic, map: Options) -> Fallible<(Vec<Tensor>, bool)> {
    let mut read = options(map);
    let asked = Asked::read(&mut read)?;
    let windowed = read.flag("windowed", false)?;
    read.finish()?;
    let input = asked.input(ctx, m, x)?;
    if x.is::<Text>() {
        return Ok((losses_by_rows(ctx, m, &asked, &input.batch)?, true));
    }
    let losses = asked.run(ctx, m, |hooks, task| match windowed {
        true => m.decoder().windowed_losses(&input.batch, hooks, task),
        false => m.decoder().losses(&input.batch, hooks, task),
    })?;
    Ok((losses, input.several))
}

/// About so many logits are computed at once of a text that is long.
const LOGITS: usize = 1 << 25;

/// The losses of the rows of a text, some rows at a time.
fn losses_by_rows(ctx: &NativeCallContext, m: &Model, asked: &Asked, batch: &Batch) -> Fallible<Vec<Tensor>> {
    let at_once = LOGITS / (batch.width() * m.config().outputs()).max(1);
    let bar = env(ctx)?.task.begin("reading rows", Some(batch.rows().len() as u64));
    let mut losses = Vec::new();
    for part in batch.parts(at_once) {
        losses.extend(asked.run(ctx, m, |hooks, task| m.decoder().losses(&part, hooks, task))?);
        bar.advance(part.rows().len() as u64);
    }
    Ok(losses)
}

/// The mean over all tokens that have a loss.
fn mean(losses: &[Tensor]) -> Result<f64> {
    let mut total = 0.0;
    for loss in losses {
        total += number(&dtype::cast(loss, DType::F64)?, Reduction::Sum)?.as_f64();
    }
    match losses.iter().map(Tensor::elem_count).sum::<usize>() {
        0 => Err(err!(Argument, "expected at least two tokens, found texts of one: the first has no loss").about("x")),
        count => Ok(total / count as f64),
    }
}

#[export_module(manifest)]
pub mod methods {
    /// The logits of a text at every position: [batch, pos, vocab]; at one position alone [batch, vocab].
    ///
    /// `x` is a text, an array of texts, tokens, an array of token ids or of such arrays, or a tensor of ids, [pos] or
    /// [batch, pos]; so it is wherever a model reads something. Where texts have different lengths, logits behind the end
    /// of a shorter one are NaN; `#{ pos: -1 }` are those after the last token of each. A text of `data::text` is read in
    /// rows as long as the model's context.
    ///
    /// # Options
    /// - `pos` = all: the positions whose logits are wanted, and no others are computed; negative ones count from the end of
    ///   each text
    /// - `hooks` = none: a hook, or an array of them, in the order that they act in
    /// - `bos` = the tokenizer's own rule: whether the token that marks a beginning is put before each text
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
        let mut read = super::options(options);
        let asked = Asked::read(&mut read)?;
        let wanted = Wanted::read(&mut read)?;
        read.finish()?;
        let input = asked.input(&ctx, m, &x)?;
        asked.run(&ctx, m, |hooks, task| match wanted.positions() {
            Some(positions) => wanted.shaped(&m.decoder().logits_at(&input.batch, positions, hooks, task)?),
            None => blanked(&m.decoder().logits(&input.batch, hooks, task)?, &input.batch.lengths(), &[1]),
        })
    }

    /// Runs the model and keeps the logits and what flowed at the sites.
    ///
    /// `run["resid_post.3"]` is what flowed there, `run.logits` the logits, `run.cache` all that was recorded.
    ///
    /// # Options
    /// - `sites` = all but `head_out.*`: the sites to record
    /// - `pos` = all: the positions to keep; negative ones count from the end of each text
    /// - `hooks` = none: a hook, or an array of them, in the order that they act in
    /// - `bos` = the tokenizer's own rule: whether the token that marks a beginning is put before each text
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
        let mut read = super::options(options);
        let asked = Asked::read(&mut read)?;
        let sites = read.value("sites");
        let positions = read.get("pos", Given::integers)?;
        read.finish()?;
        let places = match sites {
            Some(sites) => super::places(m.config(), &sites)?,
            None => super::usual_places(m),
        };
        let input = asked.input(&ctx, m, &x)?;
        asked.run(&ctx, m, |hooks, task| {
            m.decoder().run(&input.batch, Ask { hooks, places, positions }, task)?.try_into()
        })
    }
}

#[export_module(manifest)]
pub mod losses {
    /// The mean loss in nats: -log of the probability that the model gave each token but the first.
    ///
    /// Over several texts it is the mean over all of their tokens.
    ///
    /// # Options
    /// - `hooks` = none: a hook, or an array of them, in the order that they act in
    /// - `bos` = the tokenizer's own rule: whether the token that marks a beginning is put before each text
    /// - `windowed` = false: whether a text beyond the context is read in windows of it that overlap by half, so that
    ///   no token is judged with less than half a context; hooks count positions within each window
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
        Ok(super::mean(&losses)?.into())
    }

    /// The loss in nats of each token but the first: a tensor for a text, an array of them for several.
    ///
    /// # Options
    /// - `hooks` = none: a hook, or an array of them, in the order that they act in
    /// - `bos` = the tokenizer's own rule: whether the token that marks a beginning is put before each text
    /// - `windowed` = false: whether a text beyond the context is read in windows of it that overlap by half, so that
    ///   no token is judged with less than half a context; hooks count positions within each window
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 16 });
    /// m.losses([1, 2, 3]).shape  //=> [2]
    /// m.losses([[1, 2, 3], [4, 5]]).len()  //=> 2
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn losses(ctx: NativeCallContext, m: &mut Model, x: Any, options: Options) -> Fallible<Dynamic> {
        let (losses, several) = super::losses_of(&ctx, m, &x, options)?;
        let mut losses = losses.into_iter().map(Dynamic::from);
        Ok(if several { losses.collect::<Array>().into() } else { losses.next().unwrap_or_default() })
    }
}

#[export_module(manifest)]
pub mod parts {
    /// The logits of the run: [batch, pos, vocab], with NaN behind the end of shorter texts.
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

    /// All that the run recorded.
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

    /// What flowed at a site; names of TransformerLens are taken too.
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

    /// Writes the logits and all that was recorded to .safetensors or .npz, under the names of TransformerLens.
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

    /// The logits and the recorded tensors, by their names.
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
