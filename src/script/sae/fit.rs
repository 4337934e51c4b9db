//! Fitting dictionaries: `sae::fit`, `sae::fit_all`, and how a fit went.

use std::path::PathBuf;
use std::sync::Arc;

use rand::Rng;
use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};
use serde_json::{Map, Value};

use super::dictionary::Sae;
use super::rows::{harvested, keeping};
use crate::base::{Cell, Result, names};
use crate::data::Text;
use crate::err;
use crate::model::train::{Schedule, Shape as Fall};
use crate::report::chart::{Axis, Chart, Series};
use crate::report::symbols::count;
use crate::sae::About;
use crate::sae::fit::{Counting, Dead, Fit, Keep, OfTensor, Recipe, Rows, kinds};
use crate::script::env::{Env, env};
use crate::script::model::Model;
use crate::script::options::{OptionReader, options};
use crate::script::tensor::values;
use crate::script::value::{Any, Fallible, Given, Options, json};
use crate::tensor::Tensor;

/// What is asked of a fit, but for its data.
pub(super) struct Asked {
    kind: String,
    of_kind: Map<String, Value>,
    d_sae: Option<usize>,
    ratio: f64,
    steps: Option<usize>,
    passes: f64,
    batch: usize,
    lr: f64,
    fall: Fall,
    warmup: Option<usize>,
    decay: Option<usize>,
    betas: [f64; 2],
    eps: f64,
    clip: Option<f64>,
    sparsity_warmup: usize,
    counting: Option<Counting>,
    unit: Option<bool>,
    dead: Help,
    resample_at: Option<Vec<usize>>,
    k_aux: Option<usize>,
    aux: f64,
    dead_after: Option<usize>,
    scaled: bool,
    seed: u64,
    dir: Option<String>,
    every: usize,
    fresh: bool,
}

impl Asked {
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Where one of several fits is kept, if they are.
    pub(super) fn keep<'a>(&self, name: &str, env: &'a Env) -> Option<Keep<'a>> {
        let folder = PathBuf::from(self.dir.as_ref()?).join(name);
        Some(Keep { files: &env.files, folder, every: self.every as u64, fresh: self.fresh })
    }
}

/// What is done about dead features, by the names that scripts give.
#[derive(Clone, Copy, PartialEq)]
enum Help {
    AuxK,
    Resample,
    Leave,
}

const HELPS: [(&str, Help); 3] = [("auxk", Help::AuxK), ("resample", Help::Resample), ("leave", Help::Leave)];

const COUNTINGS: [(&str, Counting); 3] =
    [("mean", Counting::Mean), ("sum", Counting::Sum), ("normalised", Counting::Normalised)];

fn one_of<T: Copy>(given: &Given, all: &[(&'static str, T)]) -> Result<T> {
    let name = given.text()?;
    let known = || all.iter().map(|(known, _)| *known);
    let found = all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let wanted = format!("one of {}", known().collect::<Vec<_>>().join(", "));
        given.refuse(&wanted).maybe_hint(names::suggestion(&name, known()))
    })
}

pub(super) fn asked(read: &mut OptionReader, env: &Env) -> Result<Asked> {
    let kind = read.text("kind", "topk")?;
    let mut of_kind = Map::new();
    for name in kinds::options_of(&kind).map_err(|e| e.arg(1))? {
        if let Some(value) = read.value(name) {
            of_kind.insert((*name).into(), whole(json(&value)?));
        }
    }
    Ok(Asked {
        kind,
        of_kind,
        d_sae: read.get("d_sae", Given::size)?,
        ratio: read.number("ratio", 8.0)?,
        steps: read.get("steps", Given::size)?,
        passes: read.number("passes", 4.0)?,
        batch: read.size("batch", 4096)?,
        lr: read.number("lr", 1e-3)?,
        fall: read.get("schedule", |given| one_of(given, &Fall::ALL))?.unwrap_or(Fall::Trapezoid),
        warmup: read.get("warmup", Given::size)?,
        decay: read.get("decay", Given::size)?,
        betas: read.get("betas", Given::range)?.unwrap_or([0.9, 0.999]),
        eps: read.number("eps", 1e-8)?,
        clip: match read.value("clip") {
            Some(none) if none.is_unit() => None,
            Some(_) => read.get("clip", Given::number)?,
            None => Some(1.0),
        },
        sparsity_warmup: read.size("sparsity_warmup", 0)?,
        counting: read.get("loss", |given| one_of(given, &COUNTINGS))?,
        unit: read.get("unit", Given::flag)?,
        dead: read.get("dead", |given| one_of(given, &HELPS))?.unwrap_or(Help::AuxK),
        resample_at: read.get("resample_at", Given::sizes)?,
        k_aux: read.get("k_aux", Given::size)?,
        aux: read.number("aux", 1.0 / 32.0)?,
        dead_after: read.get("dead_after", Given::size)?,
        scaled: read.flag("scaled", true)?,
        seed: read.seed()?.unwrap_or_else(|| env.random.generator(None).next_u64() >> 1),
        dir: read.get("dir", Given::text)?,
        every: read.size("every", 1000)?,
        fresh: read.flag("fresh", false)?,
    })
}

/// A float without a fraction is a whole number, so that `k: 24.0` is `k: 24`.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(x) if x.fract() == 0.0 && x.abs() < 1e15 => Value::from(x as i64),
            _ => Value::Number(number),
        },
        Value::Array(values) => Value::Array(values.into_iter().map(whole).collect()),
        other => other,
    }
}

impl Asked {
    /// The recipe for so many rows of this width, and how many features there are.
    pub(super) fn recipe(&self, rows: usize, width: usize) -> Result<(Recipe, usize)> {
        let kind = kinds::kind(&self.kind, self.of_kind.clone()).map_err(|e| e.arg(1))?;
        let d_sae = self.d_sae.unwrap_or((self.ratio * width as f64).round() as usize);
        let batch = self.batch.min(rows);
        let steps = self.steps.unwrap_or((self.passes * rows as f64 / batch as f64).ceil() as usize) as u64;
        let schedule = Schedule {
            shape: self.fall,
            warmup: self.warmup.map_or(steps / 50, |steps| steps as u64),
            decay: self.decay.map_or(steps / 5, |steps| steps as u64),
            floor: 0.0,
        };
        let (is_tied, unit) = (kind.is_tied(), self.unit.unwrap_or(kind.likes_unit()));
        let usual = if is_tied { Counting::Mean } else { Counting::Normalised };
        // Gao et al. 2024 wait for 10 million tokens; a quarter of a pass where there are fewer.
        let mut dead_after = (rows / 4).clamp(1, 10_000_000) as u64;
        let dead = match self.dead {
            // Bricken et al. 2023 do so four times at equal distances, for features silent over half of one.
            Help::Resample => {
                let distance = (steps / 8).max(1);
                dead_after = (distance * batch as u64 / 2).max(1);
                let after = self.resample_at.as_ref().map(|steps| steps.iter().map(|step| *step as u64).collect());
                Dead::Resample { after: after.unwrap_or_else(|| (1..=4).map(|turn| turn * distance).collect()) }
            }
            Help::AuxK if !is_tied => {
                Dead::AuxK { k: self.k_aux.unwrap_or(width / 2).clamp(1, d_sae.max(1)), weight: self.aux }
            }
            Help::AuxK | Help::Leave => Dead::Leave,
        };
        let recipe = Recipe {
            kind,
            steps,
            batch,
            lr: self.lr,
            schedule,
            betas: self.betas,
            eps: self.eps,
            clip: self.clip,
            sparsity_warmup: self.sparsity_warmup as u64,
            counting: self.counting.unwrap_or(usual),
            unit,
            dead,
            dead_after: self.dead_after.map_or(dead_after, |rows| rows as u64),
            scaled: self.scaled,
            skip: false,
            seed: self.seed,
        };
        Ok((recipe, d_sae))
    }

    fn fitted(&self, x: &Tensor, about: About, dir: Option<PathBuf>, env: &Env) -> Result<Sae> {
        let rows = OfTensor::new(x, self.seed)?;
        let width = x.dims().last().copied().unwrap_or_default();
        let (recipe, d_sae) = self.recipe(x.elem_count() / width.max(1), width)?;
        let keep = dir.map(|folder| Keep { files: &env.files, folder, every: self.every as u64, fresh: self.fresh });
        let steps = recipe.steps;
        let rows: Box<dyn Rows> = Box::new(rows);
        let done = Fit::new(recipe, d_sae, rows, keep, &env.task)?.run(about, &env.task)?;
        if !done.is_whole {
            let made = done.history.steps.len();
            env.task.say(&format!(
                "stopped after {made} of {}; the dictionary so far goes on",
                count(steps as usize, "step")
            ));
        }
        Ok(Sae { core: done.sae, history: Some(Arc::new(done.history)) })
    }
}

fn of_sites(env: &Env, m: &Model, sites: &[&str], text: &Text, map: Options) -> Result<Vec<Sae>> {
    let mut read = options(3, map);
    let asked = asked(&mut read, env)?;
    let keep = keeping(&mut read)?;
    read.finish()?;
    let found = harvested(m.core(), sites, text, &keep, &env.task)?;
    let several = found.len() > 1;
    let fit = |(site, x): (String, Tensor)| {
        let dir = asked.dir.as_ref().map(|dir| match several {
            true => PathBuf::from(dir).join(&site),
            false => PathBuf::from(dir),
        });
        if several {
            env.task.say(&format!("fitting {site}"));
        }
        let about = About { model: Some(m.core().origin.clone()), sites: vec![site], ..About::default() };
        asked.fitted(&x, about, dir, env)
    };
    found.into_iter().map(fit).collect()
}

#[export_module(manifest)]
pub mod functions {
    /// Fits a dictionary to activations: a tensor `[.., d]`, or those of a model at a site on a text.
    ///
    /// Activations are centred and scaled to mean square 1 while they are fitted, and that is folded back: the directions
    /// of what comes back have length 1, and its codes are in the model's own units. Kinds, with options of their own:
    ///
    /// - "topk": `k` codes of a row (Gao et al. 2024)
    /// - "batch_topk": `k` on average, and a threshold later (Bussmann et al. 2024)
    /// - "matryoshka": that with `prefixes` that each reconstruct, and their `weights`
    /// - "relu": a penalty `l1`, by the directions' lengths where `weighted` (Bricken et al. 2023)
    /// - "tied": encoder and decoder in one, a penalty `l1` (Cunningham et al. 2023)
    /// - "p_anneal": a penalty `l1` on codes to the power p, which falls from 1 to `p_end` (0.2) in so many `updates` (10),
    ///   from the step `anneal_start` on (a tenth of the steps) (Karvonen et al. 2024)
    /// - "gated": a penalty `l1` on gates (Rajamanoharan et al. 2024)
    /// - "jumprelu": thresholds, a penalty `l0`, towards a `target` where there is one, `bandwidth`, where `threshold`
    ///   begins, and whose `estimate`, "paper" or "dictionary_learning"
    ///
    /// Ctrl-C ends the fit, not the script: the dictionary so far is what comes back.
    ///
    /// # Options
    /// - `kind` = "topk": one of these
    /// - `d_sae` = `ratio` times d: how many features
    /// - `ratio` = 8: how many times as many features as dimensions
    /// - `passes` = 4: how often each row is read
    /// - `steps` = as many as that: how many updates
    /// - `batch` = 4096: rows of an update
    /// - `lr` = 1e-3: the highest learning rate
    /// - `schedule` = "trapezoid": or "constant", "linear", "cosine"
    /// - `warmup` = a fiftieth of the steps: steps on which the rate rises
    /// - `decay` = a fifth of the steps: steps on which the rate of a trapezoid falls
    /// - `betas` = [0.9, 0.999]: how long Adam's moments remember
    /// - `eps` = 1e-8: what is added to the root of the second moment
    /// - `clip` = 1: the longest gradient, or () for any
    /// - `sparsity_warmup` = 0: steps on which a penalty rises
    /// - `loss` = "normalised", or "mean" for "tied": errors over the variance, their mean over dimensions, or their "sum"
    /// - `unit` = true, but for "tied" and where a penalty is weighted: whether directions are kept at length 1
    /// - `dead` = "auxk": dead features learn from what is left; or "resample": they begin anew as rows of that step that
    ///   are badly reconstructed; or "leave"
    /// - `resample_at` = four times in the first half: after how many steps they begin anew
    /// - `k_aux` = d / 2: how many of them in a row
    /// - `aux` = 1/32: what their error counts
    /// - `dead_after` = a quarter of a pass, at most 10 million: rows without firing after which a feature is dead; where
    ///   they begin anew, a sixteenth of the fit
    /// - `scaled` = true: whether activations are centred and scaled while they are fitted
    /// - `seed` = none: a seed of this call's own; without one the run's seed decides
    /// - `dir` = none: a folder where the fit is kept, and goes on from
    /// - `every` = 1000: steps between writing it down
    /// - `fresh` = false: whether to begin again although a fit is kept in `dir`
    /// - `without_bos` = false: of a text, leaves out tokens that mark a beginning
    /// - `without_first` = 0: of a text, leaves out so many positions of each row
    /// - `context` = that of the model: of a text, how many tokens a row has
    ///
    /// # Example
    /// ```
    /// let truth = tensor::randn([6, 4], #{ seed: 1 });
    /// let x = tensor::uniform([512, 6], #{ low: -4, high: 1, seed: 2 }).relu() @ truth;
    /// let s = sae::fit(x, #{ k: 2, d_sae: 12, batch: 128, steps: 100, seed: 1 });
    /// s.measure(x).to_map().rows.len() > 5  //=> true
    /// s.encode(x).shape  //=> [512, 12]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn fit(ctx: NativeCallContext, x: Any) -> Fallible<Sae> {
        fit_with(ctx, x, Options::new())
    }

    #[rhai_fn(name = "fit", return_raw)]
    pub fn fit_with(ctx: NativeCallContext, x: Any, options: Options) -> Fallible<Sae> {
        let (env, mut read) = (env(&ctx)?, super::options(1, options));
        let asked = super::asked(&mut read, &env)?;
        let of_text = keeping(&mut read)?;
        read.finish()?;
        if of_text != Default::default() {
            return Err(err!(Argument, "expected no options of a text where activations are given").arg(1).into());
        }
        let dir = asked.dir.as_ref().map(PathBuf::from);
        Ok(asked.fitted(&values(0, "x", &x)?, About::default(), dir, &env)?)
    }

    #[rhai_fn(name = "fit", return_raw)]
    pub fn fit_site(ctx: NativeCallContext, m: Model, site: &str, text: Text) -> Fallible<Sae> {
        fit_site_with(ctx, m, site, text, Options::new())
    }

    #[rhai_fn(name = "fit", return_raw)]
    pub fn fit_site_with(ctx: NativeCallContext, m: Model, site: &str, text: Text, options: Options) -> Fallible<Sae> {
        let mut found = super::of_sites(&*env(&ctx)?, &m, &[site], &text, options)?;
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => Err(err!(Argument, "expected one site to fit, and `{site}` names several")
                .hint("sae::fit_all fits a dictionary to each")
                .arg(1)
                .into()),
        }
    }

    /// Fits a dictionary to each of several sites, whose activations one pass of the model gives; in the order of the
    /// computation.
    ///
    /// `sites` is a set such as `resid_post.*`. A fit that is kept in `dir` has a folder there for each site.
    ///
    /// # Options
    /// - `kind` = "topk": one of those of `sae::fit`, with its own options
    /// - `ratio` = 8: how many times as many features as dimensions
    /// - `passes` = 4: how often each row is read
    /// - `dir` = none: a folder where the fits are kept, and go on from; all other options of `sae::fit` are taken, too
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not to be"]);
    /// sae::fit_all(m, "resid_post.*", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 })
    /// //=> [topk dictionary of 16 features for resid_post.0, topk dictionary of 16 features for resid_post.1]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn fit_all(ctx: NativeCallContext, m: Model, sites: &str, text: Text) -> Fallible<Array> {
        fit_all_with(ctx, m, sites, text, Options::new())
    }

    #[rhai_fn(name = "fit_all", return_raw)]
    pub fn fit_all_with(
        ctx: NativeCallContext,
        m: Model,
        sites: &str,
        text: Text,
        options: Options,
    ) -> Fallible<Array> {
        let found = super::of_sites(&*env(&ctx)?, &m, &[sites], &text, options)?;
        Ok(found.into_iter().map(Dynamic::from).collect())
    }
}

#[export_module(manifest)]
pub mod methods {
    /// How the dictionary was fitted, in at most a hundred rows: steps, rows, loss, error, FVE and L0 (means of the
    /// steps since the row before) and how many features were dead; () if it was not fitted here.
    ///
    /// # Example
    /// ```
    /// let s = sae::fit(tensor::randn([64, 4], #{ seed: 1 }), #{ k: 1, d_sae: 8, steps: 3, seed: 1 });
    /// s.history.columns  //=> ["step", "rows", "loss", "error", "fve", "l0", "dead"]
    /// ```
    #[rhai_fn(global, get = "history", pure)]
    pub fn history(s: &mut Sae) -> Dynamic {
        match &s.history {
            Some(history) => Dynamic::from(history.table(100)),
            None => Dynamic::UNIT,
        }
    }

    /// The fraction of variance explained over the rows that the dictionary was fitted on, as a chart.
    ///
    /// # Example
    /// ```
    /// let s = sae::fit(tensor::randn([64, 4], #{ seed: 1 }), #{ k: 1, d_sae: 8, steps: 3, seed: 1 });
    /// s.curve().save("fit.svg");
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn curve(s: &mut Sae) -> Fallible<Chart> {
        let Some(history) = &s.history else {
            return Err(err!(Argument, "this dictionary was not fitted here, so there is no curve of it").into());
        };
        let table = history.table(200);
        let column = |at: usize| {
            let number = |row: &Vec<Cell>| match row.get(at) {
                Some(Cell::Int(x)) => *x as f64,
                Some(Cell::Float(x)) => *x,
                _ => f64::NAN,
            };
            table.rows.iter().map(number).collect()
        };
        let mut chart =
            Chart::line(vec![Series { name: "fit".into(), x: column(1), y: column(4), ..Series::default() }]);
        chart.x = Axis { label: "rows".into(), ..Axis::default() };
        chart.y = Axis { label: "fraction of variance explained".into(), ..Axis::default() };
        Ok(chart)
    }
}
