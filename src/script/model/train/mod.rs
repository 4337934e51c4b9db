//! `model::train`: new models and old ones, on texts, ids or what a function makes.

mod data;

use std::path::PathBuf;
use std::sync::Arc;

use rand::Rng;
use rhai::plugin::*;
use rhai::{Dynamic, FnPtr, Map, NativeCallContext};

use super::Model;
use crate::base::{Result, Table, Task, memory, names, task};
use crate::data::Text;
use crate::err;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::load::Published;
use crate::model::tokenizer::Tokenizer;
use crate::model::train::{Batches, Beginning, HeldOut, Recipe, Tables, Trained, Training};
use crate::model::{self, init};
use crate::report::chart::{Axis, Chart, Series};
use crate::report::symbols::count;
use crate::script::env::{Env, env};
use crate::script::hooks::call::Calls;
use crate::script::options::{OptionReader, options};
use crate::script::value::{Any, Fallible, Given, Options, json as json_of};
use crate::training::{CheckpointFolder, Schedule, ScheduleShape, Trainer};

/// What is trained: a config of a new model, or a model that is at hand.
enum Start {
    New(Box<(Config, Option<Published>)>),
    Model(Model),
}

impl Start {
    fn of(value: &Dynamic) -> Result<Self> {
        if let Some(model) = value.read_lock::<Model>() {
            return Ok(Start::Model(model.clone()));
        }
        match value.is::<Map>() {
            true => init::described(&json_of(value, &Task::default())?)
                .map(|described| Start::New(described.into()))
                .map_err(|e| e.about("config")),
            false => Err(crate::script::value::given("config", value).refuse("a map or a model")),
        }
    }

    fn beginning(&self) -> Beginning<'_> {
        match self {
            Start::New(described) => Beginning::New(&described.0),
            Start::Model(model) => Beginning::Model(model.decoder()),
        }
    }
}

/// All options of a training.
struct Asked {
    recipe: Recipe,
    rows: Option<usize>,
    context: Option<usize>,
    judge: Option<Dynamic>,
    judge_rows: usize,
    judge_every: u64,
    dir: Option<String>,
    every: u64,
    fresh: bool,
}

fn asked(read: &mut OptionReader, env: &Env) -> Result<Asked> {
    let plain = Recipe::default();
    let steps = read.size("steps", plain.steps as usize)? as u64;
    let shape = read.get("schedule", shape)?.unwrap_or(plain.schedule.shape);
    let schedule = Schedule {
        shape,
        warmup: read.size("warmup", (steps / 50) as usize)? as u64,
        decay: read.size("decay", (steps / 5) as usize)? as u64,
        floor: read.number("floor", plain.schedule.floor)?,
    };
    let recipe = Recipe {
        steps,
        rows: plain.rows,
        accumulate: read.size("accumulate", plain.accumulate)?,
        lr: read.number("lr", plain.lr)?,
        schedule,
        betas: read.get("betas", Given::range)?.unwrap_or(plain.betas),
        eps: read.number("eps", plain.eps)?,
        weight_decay: read.number("weight_decay", plain.weight_decay)?,
        clip: match read.value("clip") {
            Some(none) if none.is_unit() => None,
            Some(_) => read.get("clip", Given::number)?,
            None => plain.clip,
        },
        dropout: read.number("dropout", plain.dropout)?,
        seed: read.seed()?.unwrap_or_else(|| env.random.generator(None).next_u64() >> 1),
    };
    Ok(Asked {
        recipe,
        rows: read.get("batch", Given::size)?,
        context: read.get("context", Given::size)?,
        judge: read.value("held"),
        judge_rows: read.size("held_rows", 64)?,
        judge_every: read.size("held_every", (steps / 20) as usize)? as u64,
        dir: read.get("dir", Given::text)?,
        every: read.size("every", 1000)? as u64,
        fresh: read.flag("fresh", false)?,
    })
}

fn shape(given: &Given) -> Result<ScheduleShape> {
    let name = given.text()?;
    let known = ScheduleShape::ALL.iter().find(|(known, _)| *known == name);
    known.map(|(_, shape)| *shape).ok_or_else(|| {
        given
            .refuse("constant, linear, cosine or trapezoid")
            .maybe_hint(names::suggestion(&name, ScheduleShape::ALL.iter().map(|(known, _)| *known)))
    })
}

/// What goes with the data of a training.
struct Reading<'a> {
    tokenizer: Option<&'a Tokenizer>,
    /// The length of the rows that a text is cut into.
    context: usize,
    seed: u64,
    calls: &'a Calls<'a>,
    task: &'a Task,
}

/// The examples of an option or argument, and how many rows of them make a pass.
fn batches<'a>(value: &Dynamic, reading: &Reading<'a>, rows: Option<usize>) -> Result<(Box<dyn Batches + 'a>, usize)> {
    if let Some(text) = value.read_lock::<Text>() {
        let Some(tokenizer) = reading.tokenizer else {
            return Err(err!(Argument, "expected a tokenizer to read the text with, found none")
                .hint("data::tokenizer(text) makes one, for the option `tokenizer`")
                .about("options"));
        };
        let rows = rows.unwrap_or(Recipe::default().rows);
        return Ok((text.batches(tokenizer, reading.context, reading.seed, reading.task)?, rows));
    }
    if let Some(function) = value.read_lock::<FnPtr>() {
        let (made, count) = data::Made::new(reading.calls, function.clone())?;
        if rows.is_some() {
            return Err(err!(Argument, "expected no `batch` where a function makes the rows").about("options"));
        }
        return Ok((Box::new(made), count));
    }
    let tables = Tables::new(data::examples("data", value)?, reading.seed);
    let rows = rows.unwrap_or(Recipe::default().rows.min(tables.rows()));
    Ok((Box::new(tables), rows))
}

fn trained(start: &Start, decoder: Arc<Decoder>, tokenizer: Option<Tokenizer>, trained: Trained) -> Model {
    let (origin, published) = match start {
        Start::New(described) => {
            let steps = count(trained.history.steps.len(), "step");
            (format!("trained here, {steps}"), described.1.clone().map(Arc::new))
        }
        Start::Model(model) => (format!("{}, trained on", model.core().origin), model.core().published.clone()),
    };
    model::Model { decoder, tokenizer, origin, published, history: Some(Arc::new(trained.history)) }.into()
}

/// What a training will take, for whoever watches.
fn announced(training: &Training, steps: u64, task: &Task) {
    let estimate = training.estimate();
    let before = match training.made() {
        0 => String::new(),
        done => format!(", going on after step {done}"),
    };
    task.say(&format!(
        "training {} for {} ({} in all{before}): about {} of memory and {}",
        count(estimate.parameters as usize, "parameter"),
        count(steps as usize, "step"),
        count(estimate.tokens as usize, "token"),
        memory::human(estimate.bytes),
        task::human(estimate.seconds),
    ));
}

#[export_module(manifest)]
pub mod functions {
    /// Trains a model to predict what comes next, from random weights or from those of a model.
    ///
    /// `config` is a map as `model::init` takes it, or a model, which stays what it is. `data` is a text, a tensor
    /// of ids [rows, pos] (or an array of arrays), a map `#{ ids, targets, mask }`, or a function `|pass|` that makes
    /// either of the last two. Without `targets` every token is to be followed by the next one of its row. `mask` says
    /// how much each loss counts (0 is not at all): it has the shape of `targets`, or else of the ids, where it is of the
    /// tokens that should come.
    ///
    /// AdamW, with weight decay on matrices only. A line with the memory and time that it will take stands before the
    /// first step, and a bar with the loss, the speed and the time left while it goes. Ctrl-C ends the training, not the
    /// script: the model so far is what comes back. With `dir` the training is kept there and goes on from there when
    /// it is called again, to the same last bit as if nobody had stopped it. `m.history` and `m.curve` say how it went.
    ///
    /// # Options
    /// - `steps` = 1000: how many updates
    /// - `batch` = 32: rows of a pass, or all rows where there are fewer; all of them at once come in their own order
    /// - `context` = that of the model: how many tokens of a text a row has
    /// - `accumulate` = 1: passes of one step
    /// - `lr` = 1e-3: the highest learning rate
    /// - `schedule` = "cosine": or "linear", "constant", "trapezoid"
    /// - `warmup` = a fiftieth of the steps: steps on which the rate rises
    /// - `decay` = a fifth of the steps: steps on which the rate of a trapezoid falls
    /// - `floor` = 0: where the rate ends, as a share of the highest
    /// - `betas` = [0.9, 0.95]: how long the moments remember
    /// - `eps` = 1e-8: what is added to the root of the second moment
    /// - `weight_decay` = 0.1: how fast matrices shrink, times the learning rate
    /// - `clip` = 1: the longest gradient, or () for any
    /// - `dropout` = 0: the share of what is embedded, and of what attention and MLP write, that is left out
    /// - `seed` = none: a seed of this call's own; without one the run's seed decides
    /// - `held` = none: data like `data`, by which the model is judged while it is trained
    /// - `held_every` = a twentieth of the steps: steps between judgements
    /// - `held_rows` = 64: rows of a judgement, where there are more
    /// - `dir` = none: the folder where the training is kept
    /// - `every` = 1000: steps between writing it down
    /// - `fresh` = false: whether to begin again although a training is kept in `dir`
    /// - `tokenizer` = that of a model, or none: the tokenizer that the model reads texts with
    /// - `words` = none: the words that are its tokens, in the order of their ids
    /// - `characters` = none: the characters that are its tokens
    /// - `bos` = none: which of them marks the beginning of a text
    /// - `unknown` = none: which of them stands for all others; without it they are refused
    ///
    /// # Example
    /// ```
    /// let rows = [[1, 2, 3, 1, 2, 3], [2, 3, 1, 2, 3, 1], [3, 1, 2, 3, 1, 2]];
    /// let m = model::train(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, rows, #{ steps: 60, lr: 0.02 });
    /// m.generate_ids([1, 2], #{ tokens: 2, temperature: 0 })  //=> [3, 1]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn train(ctx: NativeCallContext, config: Any, data: Any, options: Options) -> Fallible<Model> {
        let env = env(&ctx)?;
        let mut read = super::options(options);
        let mut asked = super::asked(&mut read, &env)?;
        let tokenizer = super::super::load::tokenizer(&mut read)?;
        read.finish()?;
        let start = Start::of(&config)?;
        let calls = Calls::new(&ctx);
        let outcome = super::run(&start, &data, &mut asked, tokenizer, &calls, &env);
        calls.outcome(outcome)
    }
}

fn run(
    start: &Start,
    data: &Dynamic,
    asked: &mut Asked,
    tokenizer: Option<Tokenizer>,
    calls: &Calls,
    env: &Env,
) -> Result<Model> {
    let tokenizer = match start {
        Start::Model(model) if tokenizer.is_none() => model.core().tokenizer.clone(),
        _ => tokenizer,
    };
    let context = asked.context.unwrap_or(start.beginning().config().context);
    let reading = Reading { tokenizer: tokenizer.as_ref(), context, seed: asked.recipe.seed, calls, task: &env.task };
    let (data, rows) = batches(data, &reading, asked.rows)?;
    asked.recipe.rows = rows;
    let judge = match &asked.judge {
        Some(value) => {
            let (mut judging, all) = batches(value, &reading, None)?;
            let rows = if value.is::<FnPtr>() { all } else { asked.judge_rows };
            Some(HeldOut { examples: judging.next(rows, &env.task)?, every: asked.judge_every })
        }
        None => None,
    };
    let keep = asked.dir.as_ref().map(|dir| CheckpointFolder {
        files: &env.files,
        folder: PathBuf::from(dir),
        every: asked.every,
        fresh: asked.fresh,
    });
    let recipe = asked.recipe.clone();
    let steps = recipe.steps;
    let training = Training::new(start.beginning(), recipe, data, judge, keep, &env.device, &env.task)
        .map_err(|e| e.about("options"))?;
    announced(&training, steps, &env.task);
    let done = training.run(&env.task)?;
    Ok(trained(start, done.decoder.clone(), tokenizer, done))
}

#[export_module(manifest)]
pub mod methods {
    /// How the model was trained, in at most a hundred rows: steps, tokens, loss, the loss on `held`, the gradient's
    /// norm and the learning rate, each the mean of the steps since the row before; () if it was not trained here.
    ///
    /// # Example
    /// ```
    /// let rows = [[1, 2, 3, 1, 2, 3], [2, 3, 1, 2, 3, 1]];
    /// let m = model::train(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, rows, #{ steps: 5 });
    /// m.history.columns  //=> ["step", "tokens", "loss", "gradient norm", "lr"]
    /// m.history.to_map().rows.len()  //=> 5
    /// ```
    #[rhai_fn(global, get = "history", pure)]
    pub fn history(m: &mut Model) -> Dynamic {
        match &m.core().history {
            Some(history) => Dynamic::from(history.table(100)),
            None => Dynamic::UNIT,
        }
    }

    /// The loss over the tokens that the model was trained on, as a chart.
    ///
    /// # Example
    /// ```
    /// let rows = [[1, 2, 3, 1, 2, 3], [2, 3, 1, 2, 3, 1]];
    /// let m = model::train(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, rows, #{ steps: 5 });
    /// m.curve().save("curve.svg");
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn curve(m: &mut Model) -> Fallible<Chart> {
        let Some(history) = &m.core().history else {
            return Err(err!(Argument, "this model was not trained here, so there is no curve of its losses").into());
        };
        Ok(super::curve_of(&history.table(200), history.held_out.as_slice(), history.read_per_step))
    }
}

fn curve_of(table: &Table, judged: &[(u64, f64)], tokens_per_step: u64) -> Chart {
    let number = |row: &[crate::base::Cell], at: usize| match row.get(at) {
        Some(crate::base::Cell::Int(x)) => *x as f64,
        Some(crate::base::Cell::Float(x)) => *x,
        _ => f64::NAN,
    };
    let column = |at: usize| table.rows.iter().map(|row| number(row, at)).collect();
    let mut series = vec![Series { name: "training".into(), x: column(1), y: column(2), ..Series::default() }];
    if !judged.is_empty() {
        let x = judged.iter().map(|(step, _)| (step * tokens_per_step) as f64).collect();
        let y = judged.iter().map(|(_, loss)| *loss).collect();
        series.push(Series { name: "held out".into(), x, y, ..Series::default() });
    }
    let mut chart = Chart::line(series);
    chart.x = Axis { label: "tokens".into(), ..Axis::default() };
    chart.y = Axis { label: "loss (nats)".into(), ..Axis::default() };
    chart
}
