//! Accuracy in the tasks of a language with a dictionary spliced in: the share of pairs of prompts whose right answers
//! the model finds likelier than the wrong ones.

use super::reading::EvaluationReading;
use crate::data::pairs::tokens::{PairTokenOptions, token_pairs};
use crate::data::pairs::{PairOptions, TASKS};
use crate::intervene::metric::{Measure, MetricPlan, pairs_at_once};
use crate::model::hooks::{At, BoundHook, Chain, Edit};
use crate::sae::prelude::*;
use crate::sae::splice::{ErrorTreatment, Splice, masked};

/// The label column of a text of the labelled language, whose tasks the model may know.
const OF_THE_LANGUAGE: &str = "name_role";

/// The accuracies in one task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskAccuracy {
    pub task: &'static str,
    pub pairs: usize,
    pub clean: f64,
    pub spliced: f64,
    pub random: f64,
    pub zero: f64,
}

/// Activations that replace those at the site.
enum Replacement<'a> {
    Nothing,
    Dictionary(&'a Sae),
    Zeros,
}

/// A hook that puts zeros where a mask is set.
struct Zeros(Tensor);

impl Edit for Zeros {
    fn edit(&mut self, _at: &At, _place: Place, _positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        masked(&self.0, &x.zeros_like()?, x).map(Some)
    }
}

/// Measures the tasks of the labelled language; none of another text.
pub fn of_tasks(
    reading: &EvaluationReading,
    model: &Model,
    n: usize,
    seed: i64,
    task: &Task,
) -> Result<Vec<TaskAccuracy>> {
    if reading.tokens.text.label(OF_THE_LANGUAGE).is_none() || n == 0 {
        return Ok(Vec::new());
    }
    let bar = task.begin("tasks", Some(TASKS.len() as u64));
    let mut found = Vec::new();
    for name in TASKS {
        let options = PairOptions { n, seed, ..PairOptions::default() };
        let pairs = token_pairs(name, &options, &PairTokenOptions::default(), model.text_tokenizer()?, task)?;
        let pairs: Vec<TokenPair> = pairs.into_iter().map(|(_, tokens)| tokens).collect();
        let accuracy = |put| accuracy(reading, model, &pairs, put, task);
        found.push(TaskAccuracy {
            task: name,
            pairs: pairs.len(),
            clean: accuracy(Replacement::Nothing)?,
            spliced: accuracy(Replacement::Dictionary(&reading.own.sae))?,
            random: accuracy(Replacement::Dictionary(&reading.random.sae))?,
            zero: accuracy(Replacement::Zeros)?,
        });
        bar.advance(1);
    }
    Ok(found)
}

/// Returns the share of pairs whose logit difference is above 0.
fn accuracy(
    reading: &EvaluationReading,
    model: &Model,
    pairs: &[TokenPair],
    put: Replacement,
    task: &Task,
) -> Result<f64> {
    let config = model.decoder.config();
    let site = reading.tokens.place.to_string();
    let numbers: Vec<usize> = (0..pairs.len()).collect();
    let at_once = pairs_at_once(&model.decoder, pairs, Measure::LogitDiff);
    let mut right = 0;
    for (part, numbers) in pairs.chunks(at_once).zip(numbers.chunks(at_once)) {
        task.check()?;
        let plan = MetricPlan::new(Measure::LogitDiff, &model.decoder, part, Prompt::Clean, numbers, task)?;
        let mask = mask(model, plan.batch().rows())?;
        let hooks = match &put {
            Replacement::Nothing => Vec::new(),
            Replacement::Dictionary(sae) => {
                vec![Splice::new((*sae).clone(), ErrorTreatment::Dropped).only(mask).at(config, &site, None)?]
            }
            Replacement::Zeros => vec![BoundHook::new(config, &site, None, None, Box::new(Zeros(mask)))?],
        };
        let values = floats(&plan.run(&model.decoder, &mut Chain { hooks, ..Chain::default() }, task)?)?;
        right += values.iter().filter(|value| **value > 0.0).count();
    }
    Ok(right as f64 / pairs.len() as f64)
}

/// Returns a mask that keeps tokens that mark beginnings as they are, since dictionaries are not fitted on them.
fn mask(model: &Model, rows: &[Vec<u32>]) -> Result<Tensor> {
    let tokenizer = model.text_tokenizer()?;
    let marks = [tokenizer.bos(), tokenizer.eos()];
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let is_changed = |row: &Vec<u32>, at: usize| row.get(at).is_some_and(|id| !marks.contains(&Some(*id)));
    let all = rows.iter().flat_map(|row| (0..width).map(move |at| u8::from(is_changed(row, at))));
    Ok(Tensor::from_vec(all.collect::<Vec<u8>>(), (rows.len(), width), &Device::Cpu)?)
}

/// Returns a table with a row for each task.
pub fn table(found: &[TaskAccuracy]) -> Table {
    let row = |one: &TaskAccuracy| -> Vec<Cell> {
        let numbers = [one.clean, one.spliced, one.random, one.zero].map(Cell::Float);
        [vec![one.task.into(), one.pairs.into()], numbers.to_vec()].concat()
    };
    Table::new(
        "share of pairs whose right answer is the likelier one",
        ["task", "pairs", "clean", "spliced", "random", "zero"],
        found.iter().map(row),
    )
}
