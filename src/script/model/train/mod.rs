//! `model::train`: new models and existing ones, on texts, ids or what a function makes.

mod data;

use rand::Rng;
use rhai::plugin::*;
use rhai::{Dynamic, Map, NativeCallContext};

use super::load::NewTokenizer;
use super::{Model, TrainOptions};
use crate::base::{Result, Table, Task};
use crate::err;
use crate::model::init;
use crate::model::train::{self, Trainee, TrainingData};
use crate::report::chart::{Axis, Chart, Series};
use crate::script::env::{Env, env};
use crate::script::hooks::call::Calls;
use crate::script::options::options;
use crate::script::value::{Any, Fallible, Options, given, json};
use data::Reader;

pub use data::HeldData;

/// A config of a new model, or a model that is at hand.
fn trainee(value: &Dynamic) -> Result<Trainee> {
    if let Some(model) = value.read_lock::<Model>() {
        return Ok(Trainee::Model(model.core().clone()));
    }
    match value.is::<Map>() {
        true => init::described(&json(value, &Task::default())?)
            .map(|described| Trainee::New(described.into()))
            .map_err(|e| e.about("config")),
        false => Err(given("config", value).refuse("a map or a model")),
    }
}

/// The call's options: those of the core, held-out data, and a tokenizer.
struct Call {
    options: TrainOptions,
    held: HeldData,
    tokenizer: NewTokenizer,
}

fn run(config: &Dynamic, data: &Dynamic, call: Call, calls: &Calls, env: &Env) -> Result<Model> {
    let Call { options, held, tokenizer } = call;
    let (trainee, task) = (trainee(config)?, &env.task);
    let tokenizer = match (&trainee, tokenizer.made()?) {
        (Trainee::Model(model), None) => model.tokenizer.clone(),
        (_, made) => made,
    };
    // A script's numbers hold 63 bits.
    let seed = options.seed.stated().unwrap_or_else(|| env.random.generator(None).next_u64() >> 1);
    let context = options.context.unwrap_or(trainee.config().context);
    let reader = Reader { tokenizer: tokenizer.as_ref(), context, seed, calls, options: &options, task };
    let (rows, count) = reader.rows("data", data)?;
    let held_out = held.held.map(|held| reader.held_out(&held)).transpose()?;
    let data = TrainingData { rows, held_out, checkpoints: options.checkpoints.folder(&env.files) };
    let recipe = options.recipe(count, seed);
    Ok(train::train(&trainee, tokenizer.clone(), recipe, data, &env.device, task)?.into())
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
    /// - [train]
    /// - [held]
    /// - [new_tokenizer]
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
        let call = Call { options: read.declared()?, held: read.declared()?, tokenizer: read.declared()? };
        read.finish()?;
        let calls = Calls::new(&ctx);
        let outcome = super::run(&config, &data, call, &calls, &env);
        calls.outcome(outcome)
    }
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
