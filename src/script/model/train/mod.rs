//! `model::train`: new models and existing ones, on texts, ids or what a function makes.

mod data;

use super::TrainOptions;
use super::load::NewTokenizer;
use crate::checkpoint::described;
use crate::model::train::{self, Trainee, TrainingData};
use crate::report::chart::{Axis, Series};
use crate::script::engine::value::json;
use crate::script::model::Model;
use crate::script::prelude::*;
use data::DataReader;

pub use data::HeldData;

/// Reads a config of a new model, or an existing model.
fn trainee(value: &Dynamic) -> Result<Trainee> {
    if let Some(model) = value.read_lock::<Model>() {
        model.core().decoder.check_keeps_none("training").map_err(|e| Error { about: Some("config".into()), ..e })?;
        return Ok(Trainee::Model(model.core().clone()));
    }
    if value.is::<Map>() {
        described::described(&json(value, &Task::default())?)
            .map(|described| Trainee::New(described.into()))
            .map_err(|e| e.about("config"))
    } else {
        Err(given("config", value).refuse("a map or a model"))
    }
}

/// The call's options: those of the core, held-out data, and a tokenizer.
struct TrainCall {
    options: TrainOptions,
    held: HeldData,
    tokenizer: NewTokenizer,
}

fn run(config: &Dynamic, data: &Dynamic, call: TrainCall, seed: u64, calls: &Callbacks, env: &Env) -> Result<Model> {
    let TrainCall { options, held, tokenizer } = call;
    let trainee = match (&options.lora, trainee(config)?) {
        (None, trainee) => trainee,
        (Some(lora), Trainee::Model(model)) => Trainee::adapter(model, lora, seed)?,
        (Some(_), _) => {
            return Err(err!(Argument, "expected a model, whose weights `lora` leaves as they are, found a config")
                .hint("model::init(config) makes a model with random weights")
                .about("config"));
        }
    };
    let task = &env.task;
    let tokenizer = match (&trainee, tokenizer.made()?) {
        (Trainee::Model(model) | Trainee::Adapter { base: model, .. }, None) => model.tokenizer.clone(),
        (_, made) => made,
    };
    let context = options.context.unwrap_or(trainee.config().context);
    let reader = DataReader { tokenizer: tokenizer.as_ref(), context, seed, calls, options: &options, task };
    let (rows, count) = reader.rows("data", data)?;
    let held_out = held.held.map(|held| reader.held_out(&held)).transpose()?;
    let data = TrainingData { rows, held_out, checkpoints: options.checkpoints.folder(&env.files) };
    let recipe = options.recipe(count, seed);
    Ok(train::train(&trainee, tokenizer.clone(), recipe, data, &env.device, task)?.into())
}

#[export_module(manifest)]
pub mod functions {
    /// Trains a model on next-token prediction, from random weights or from those of a model.
    ///
    /// `config` is a map as `model::init` takes it, or a model, which itself is not changed. `data` is a text, a tensor
    /// of ids [rows, pos] (or an array of arrays), a map `#{ ids, targets, mask }`, or a function `|pass|` that returns
    /// either of the last two. Without `targets` the target of each token is the next one of its row. `mask` is the
    /// weight of each loss (0 leaves it out): it has the shape of `targets`, or without targets that of the ids, where
    /// the weight of a token is that of its prediction.
    ///
    /// The optimizer is AdamW, with weight decay on matrices only. Estimates of peak memory and time are printed before
    /// the first step, and a progress bar shows loss, speed and remaining time. Ctrl-C ends the training, not the script:
    /// the call returns the model as it is. With `dir`, checkpoints are saved, and the same call resumes bit for bit.
    /// `m.history` and `m.curve` show the course of the training.
    ///
    /// With `lora`, the weights of a model stay, and low-rank matrices beside them are trained (Hu et al. 2022): of all linear
    /// maps of its layers, or of `modules`, which are ends of names, of ours (`attn.q`, `mlp.up`) or the published ones (`q_proj`).
    /// `m.adapter` is what was trained; it may be scaled, merged, and saved for PEFT.
    ///
    /// # Options
    /// - [train_model]
    /// - [held_data]
    /// - [new_tokenizer]
    ///
    /// # Example
    /// ```
    /// let rows = [[1, 2, 3, 1, 2, 3], [2, 3, 1, 2, 3, 1], [3, 1, 2, 3, 1, 2]];
    /// let m = model::train(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, rows, #{ steps: 60, lr: 0.02 });
    /// m.generate_ids([1, 2], #{ tokens: 2, temperature: 0 })  //=> [3, 1]
    /// let tuned = model::train(m, [[3, 2, 1, 3, 2, 1]], #{ steps: 60, lr: 0.02, lora: #{ rank: 4 } });
    /// tuned.generate_ids([3, 2], #{ tokens: 2, temperature: 0 })  //=> [1, 3]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn train(ctx: NativeCallContext, config: Any, data: Any, options: Options) -> Fallible<Model> {
        let env = env(&ctx)?;
        let mut read = super::options(options);
        let call = TrainCall { options: read.declared()?, held: read.declared()?, tokenizer: read.declared()? };
        read.finish()?;
        let calls = Callbacks::new(&ctx);
        env.drawing(&ctx, "model::train", call.options.seed.seed, |seed| {
            calls.outcome(super::run(&config, &data, call, seed.draws(), &calls, &env))
        })
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Tabulates the training history, in at most a hundred rows: steps, tokens, loss, held-out loss, gradient norm
    /// (means of the steps since the row before) and learning rate; () if it was not trained here.
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

    /// Draws the training curve as a chart: loss and held-out loss over tokens.
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
            return Err(err!(Argument, "this model was not trained here, so it has no training curve").into());
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
