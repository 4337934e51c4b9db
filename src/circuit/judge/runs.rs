//! The model on the contexts of a judgement, with codes of its dictionaries changed.

use crate::base::{Result, Task};
use crate::circuit::tree::Stage;
use crate::err;
use crate::features::survey::{Survey, Tally, site};
use crate::intervene::OnFeatures;
use crate::intervene::features::Which;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::hooks::{Action, Bound, Source};
use crate::model::run::Ask;
use crate::sae::Sae;
use crate::sae::splice::Rest;
use crate::tensor::{DType, Tensor, normalise};

use super::Options;

/// What is done to the features of one dictionary.
pub enum Change {
    /// They are set to their means over the text.
    Means(Which),
    Zero(Vec<usize>),
}

/// What a run shows, as means.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The target's code at the positions where it was active.
    pub code: f64,
    /// The tokens' probability there.
    pub due: Option<f64>,
    /// And in rows where the target is silent.
    pub elsewhere: Option<f64>,
    /// KL(clean || changed) there, in nats a position.
    pub kl: f64,
}

/// One number of a run.
type Measure<'a> = Box<dyn Fn(&Found) -> Option<f64> + 'a>;

pub struct Runs<'a> {
    model: &'a Model,
    stages: &'a [Stage],
    survey: &'a Survey,
    /// Which dictionary of the survey each stage is.
    order: Vec<usize>,
    /// The sites of the dictionaries before the target's.
    pub names: Vec<String>,
    target: (usize, usize),
    tokens: Vec<u32>,
    active: Contexts,
    silent: Contexts,
    /// log P of every token in the silent rows, as the model has it.
    clean_silent: Tensor,
    pub clean: Found,
}

/// Rows of tokens, and the one position of each that is measured; all positions where there is none.
struct Contexts {
    batch: Batch,
    columns: Vec<usize>,
}

impl<'a> Runs<'a> {
    pub fn of(
        model: &'a Model,
        saes: &[Sae],
        stages: &'a [Stage],
        survey: &'a Survey,
        target: (usize, usize),
        options: &Options,
        task: &Task,
    ) -> Result<Self> {
        let order = stages.iter().map(|stage| {
            let place = stage.place.to_string();
            saes.iter().position(|sae| site(sae).is_ok_and(|site| site == place))
        });
        let order = order.collect::<Option<Vec<_>>>().ok_or_else(|| err!(Bug, "a dictionary without its place"))?;
        let (level, feature) = target;
        let tally = order.get(level).and_then(|at| survey.dictionaries.get(*at)?.get(feature));
        let Some(tally) = tally.filter(|tally| tally.fired > 0) else {
            return Err(err!(Argument, "feature {feature} is never active in the text that it is judged on")
                .hint("read more text"));
        };
        let moments = tally.some.iter().take(options.contexts);
        let active = Contexts::of(moments.map(|moment| (survey.up_to(moment), moment.column as usize)))?;
        let fires: std::collections::BTreeSet<u32> =
            tally.top.iter().chain(&tally.some).map(|moment| moment.row).collect();
        let silent =
            survey.rows.iter().enumerate().filter(|(row, ids)| !ids.is_empty() && !fires.contains(&(*row as u32)));
        let silent = Contexts::of(silent.take(options.contexts).map(|(_, ids)| (ids.clone(), ids.len() - 1)))?;
        let clean_silent = normalise::log_softmax(&model.decoder.logits(&silent.batch, Vec::new(), task)?, -1)?;
        let names = stages.iter().take(level).map(|stage| stage.place.to_string()).collect();
        let nothing = Found { code: 0.0, due: None, elsewhere: None, kl: 0.0 };
        let tokens = options.tokens.clone();
        let mut runs =
            Self { model, stages, survey, order, names, target, tokens, active, silent, clean_silent, clean: nothing };
        runs.clean = runs.changed(&[], Rest::Kept, task)?;
        Ok(runs)
    }

    /// What is known of the features of a level.
    pub fn tallies(&self, level: usize) -> &[Tally] {
        self.order.get(level).and_then(|at| self.survey.dictionaries.get(*at)).map(Vec::as_slice).unwrap_or_default()
    }

    /// What a run shows in which the dictionaries of the first levels are changed.
    pub fn changed(&self, changes: &[Change], rest: Rest, task: &Task) -> Result<Found> {
        task.check()?;
        let stage = &self.stages[self.target.0];
        let ask = Ask { hooks: self.hooks(changes, rest)?, places: vec![stage.place], positions: None };
        let run = self.model.decoder.run(&self.active.batch, ask, task)?;
        let x = self.active.measured(&run.cache.at(stage.place)?)?;
        let codes = stage.sae.encode(&x.to_dtype(DType::F32)?)?.narrow(1, self.target.1, 1)?;
        let due = self.probability(&self.active.measured(&run.logits)?)?;
        let logits = self.model.decoder.logits(&self.silent.batch, self.hooks(changes, rest)?, task)?;
        let log = normalise::log_softmax(&logits, -1)?;
        let gap = (self.clean_silent.exp()? * (&self.clean_silent - &log)?)?.sum(2)?;
        Ok(Found {
            code: mean(&codes)?,
            due,
            elsewhere: self.probability(&logits)?,
            kl: self.silent.mean_of_all(&gap)?,
        })
    }

    fn hooks(&self, changes: &[Change], rest: Rest) -> Result<Vec<Bound<'static>>> {
        let mut hooks = Vec::new();
        for (level, change) in changes.iter().enumerate() {
            let stage = &self.stages[level];
            let (which, action) = match change {
                Change::Zero(features) if features.is_empty() => continue,
                Change::Zero(features) => (Which::Only(features.clone()), Action::Zero),
                Change::Means(which) => {
                    let positions = self.survey.positions.max(1) as f64;
                    let means = which.indices(stage.sae.d_sae())?.into_iter().map(|feature| {
                        self.tallies(level).get(feature as usize).map_or(0.0, |tally| (tally.sum / positions) as f32)
                    });
                    let means = Tensor::new(means.collect::<Vec<f32>>(), self.model.decoder.device())?;
                    (which.clone(), Action::Patch(Source::Tensor(means)))
                }
            };
            let inner = Box::new(action.begin());
            let hook = OnFeatures::new(stage.sae.clone(), &which, rest, inner)?;
            hooks.push(hook.at(self.model.decoder.config(), &stage.place.to_string(), None)?);
        }
        Ok(hooks)
    }

    /// The mean over rows and positions of the tokens' probability together.
    fn probability(&self, logits: &Tensor) -> Result<Option<f64>> {
        if self.tokens.is_empty() {
            return Ok(None);
        }
        let tokens = Tensor::new(self.tokens.as_slice(), logits.device())?;
        let p = normalise::softmax(logits, -1)?;
        let axis = p.rank() - 1;
        let together = p.contiguous()?.index_select(&tokens, axis)?.sum(axis)?;
        Ok(Some(if together.rank() == 2 { self.silent.mean_of_all(&together)? } else { mean(&together)? }))
    }

    /// What necessity is told of, each as the change from the model as it is.
    pub fn measures(&self) -> [(&'static str, Measure<'_>); 4] {
        let clean = &self.clean;
        let less = |a: Option<f64>, b: Option<f64>| Some(a? - b?);
        [
            (
                "target's code, share",
                Box::new(move |found| Some(found.code / clean.code - 1.0).filter(|x| x.is_finite())),
            ),
            ("P(tokens) at the target", Box::new(move |found| less(found.due, clean.due))),
            ("P(tokens) elsewhere", Box::new(move |found| less(found.elsewhere, clean.elsewhere))),
            ("KL elsewhere, nats", Box::new(move |found| Some(found.kl))),
        ]
    }
}

impl Contexts {
    fn of(rows: impl Iterator<Item = (Vec<u32>, usize)>) -> Result<Self> {
        let (rows, columns): (Vec<_>, Vec<_>) = rows.unzip();
        if rows.is_empty() {
            return Err(err!(Argument, "expected rows where the target is silent and rows where it is active")
                .hint("read more text"));
        }
        Ok(Self { batch: Batch::new(rows)?, columns })
    }

    /// The measured position of each row: `[rows, ..]` of `[rows, pos, ..]`.
    fn measured(&self, x: &Tensor) -> Result<Tensor> {
        let each = self.columns.iter().enumerate().map(|(row, column)| Ok(x.get(row)?.get(*column)?));
        Ok(Tensor::stack(&each.collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// The mean of `[rows, pos]` over the real positions.
    fn mean_of_all(&self, x: &Tensor) -> Result<f64> {
        let numbers: Vec<Vec<f64>> = x.to_dtype(DType::F64)?.to_vec2()?;
        let real = numbers.iter().zip(self.batch.lengths()).flat_map(|(row, length)| row.iter().take(length));
        let (sum, count) = real.fold((0.0, 0_usize), |(sum, count), number| (sum + number, count + 1));
        Ok(sum / count.max(1) as f64)
    }
}

fn mean(x: &Tensor) -> Result<f64> {
    Ok(x.to_dtype(DType::F64)?.mean_all()?.to_scalar::<f64>()?)
}
