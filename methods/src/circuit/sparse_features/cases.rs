//! Cases of a feature circuit: the prompts that are run, and the number that is measured of each.

use std::rc::Rc;

use crate::circuit::due::{Due, DueBatch};
use crate::intervene::metric::{Measure, MetricPlan, Normaliser, pairs_at_once};
use crate::sae::prelude::*;

/// Pairs of prompts with a metric, or the rows of a text with the probability of some tokens where they are due.
pub struct Cases<'a> {
    model: &'a Model,
    about: About<'a>,
    /// The numbers of the cases that go into each pass.
    parts: Vec<Vec<usize>>,
    /// The plans of clean prompts of pairs, by pass: that of a KL has the reference's run.
    clean: Vec<Rc<MetricPlan<'a>>>,
}

enum About<'a> {
    Pairs {
        pairs: &'a [TokenPair],
        measure: Measure<'a>,
        normaliser: Option<Normaliser>,
    },
    /// The rows of a text, with the number of positions of each.
    Due {
        tokens: Vec<u32>,
        counts: Vec<f64>,
        batches: Vec<DueBatch>,
    },
}

/// The cases of one pass.
pub enum Portion<'a> {
    Pairs(Rc<MetricPlan<'a>>),
    Due(&'a DueBatch, &'a [u32]),
}

impl<'a> Cases<'a> {
    /// Splits pairs of prompts into passes of one length. `share` is the part of a usual pass that each may take.
    pub fn of_pairs(
        model: &'a Model,
        pairs: &'a [TokenPair],
        measure: Measure<'a>,
        is_normalised: bool,
        share: usize,
        task: &Task,
    ) -> Result<Self> {
        if pairs.is_empty() {
            return Err(err!(Argument, "expected at least one pair, found none").about("pairs"));
        }
        let normaliser = if is_normalised { Some(Normaliser::of(measure, &model.decoder, pairs, task)?) } else { None };
        let at_once = (pairs_at_once(&model.decoder, pairs, measure) / share.max(1)).max(1);
        let mut numbers: Vec<usize> = (0..pairs.len()).collect();
        numbers.sort_by_key(|number| pairs[*number].clean.len());
        let same = |a: &usize, b: &usize| pairs[*a].clean.len() == pairs[*b].clean.len();
        let parts: Vec<Vec<usize>> =
            numbers.chunk_by(same).flat_map(|part| part.chunks(at_once).map(<[usize]>::to_vec)).collect();
        let plan = |numbers: &Vec<usize>| planned(model, pairs, measure, Prompt::Clean, numbers, task);
        let clean = parts.iter().map(plan).collect::<Result<_>>()?;
        Ok(Self { model, about: About::Pairs { pairs, measure, normaliser }, parts, clean })
    }

    /// Takes the rows of a text in which some tokens are due.
    pub fn of_due(model: &'a Model, due: &Due) -> Result<Self> {
        let batches = due.parts(model.decoder.config().outputs())?;
        let mut next = 0;
        let rows = |batch: &DueBatch| {
            next += batch.batch.rows().len();
            (next - batch.batch.rows().len()..next).collect()
        };
        let parts = batches.iter().map(rows).collect();
        let about = About::Due { tokens: due.tokens.clone(), counts: due.by_row(), batches };
        Ok(Self { model, about, parts, clean: Vec::new() })
    }

    /// Returns the number of passes.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Returns the numbers of the cases of a pass.
    pub fn numbers(&self, part: usize) -> &[usize] {
        self.parts.get(part).map_or(&[], Vec::as_slice)
    }

    /// Returns the number of cases.
    pub fn count(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    /// Returns the divisor of effects that are summed over the cases of a pass: a case each, or a position each where
    /// tokens are due.
    pub fn weight(&self, part: usize) -> f64 {
        match &self.about {
            About::Pairs { .. } => self.numbers(part).len() as f64,
            About::Due { batches, .. } => batches.get(part).map_or(0.0, |batch| batch.positions.len() as f64),
        }
    }

    /// Returns how many positions each case's value is summed over; 1 for pairs.
    pub fn weights(&self) -> Vec<f64> {
        match &self.about {
            About::Pairs { pairs, .. } => vec![1.0; pairs.len()],
            About::Due { counts, .. } => counts.clone(),
        }
    }

    /// Returns the pass over some cases; with the corrupt prompts in place of the clean ones, if requested.
    pub fn portion(&self, part: usize, which: Prompt, task: &Task) -> Result<Portion<'_>> {
        match &self.about {
            About::Pairs { pairs, measure, .. } => {
                let clean = self.clean.get(part).filter(|_| which == Prompt::Clean).cloned();
                let plan = || planned(self.model, pairs, *measure, which, self.numbers(part), task);
                Ok(Portion::Pairs(clean.map_or_else(plan, Ok)?))
            }
            About::Due { tokens, batches, .. } => match batches.get(part) {
                Some(batch) => Ok(Portion::Due(batch, tokens)),
                None => Err(err!(Bug, "a pass {part} that there is none of")),
            },
        }
    }

    /// Returns the number of tokens that all prompts have; refuses different numbers, since units by position need the
    /// same.
    pub fn length(&self) -> Result<usize> {
        let About::Pairs { pairs, .. } = &self.about else {
            return Err(err!(Argument, "nodes by position need pairs of prompts, found a text").about("positions"));
        };
        let length = pairs.first().map_or(0, |pair| pair.clean.len());
        match pairs.iter().enumerate().find(|(_, pair)| pair.clean.len() != length) {
            None => Ok(length),
            Some((number, pair)) => {
                let found = pair.clean.len();
                Err(err!(Argument, "nodes by position need prompts of one length, found {length} and {found} tokens in pair {number}")
                    .hint("data::pairs(task, #{ for: m, same_length: true }) makes such pairs; positions: \"summed\" needs none")
                    .about("pairs"))
            }
        }
    }

    /// Refuses pairs without a corrupt prompt of the same length as the clean one.
    pub fn check_corrupt(&self) -> Result<()> {
        let About::Pairs { pairs, .. } = &self.about else {
            return Err(err!(Argument, "`patch` needs pairs of prompts, found a text")
                .hint("ablation: \"mean\" and \"zero\" need none")
                .about("ablation"));
        };
        match pairs.iter().enumerate().find(|(_, pair)| pair.clean.len() != pair.corrupt.len()) {
            None => Ok(()),
            Some((number, pair)) => {
                let clean = pair.clean.len();
                let corrupt = pair.corrupt.len();
                Err(err!(
                    Argument,
                    "`patch` needs two prompts of the same length, found {clean} and {corrupt} tokens in pair {number}"
                )
                .hint("ablation: \"mean\" and \"zero\" need no corrupt prompt")
                .about("pairs"))
            }
        }
    }

    /// Returns all prompts of the pairs, those of one length together.
    pub fn prompts(&self) -> Vec<Vec<u32>> {
        match &self.about {
            About::Pairs { pairs, .. } => {
                let all = pairs.iter().flat_map(|pair| [&pair.clean, &pair.corrupt]);
                all.filter(|prompt| !prompt.is_empty()).cloned().collect()
            }
            About::Due { batches, .. } => batches.iter().flat_map(|batch| batch.batch.rows().to_vec()).collect(),
        }
    }

    /// Returns the factor from a difference of two values to one of normalised values.
    pub fn scale(&self) -> f64 {
        match &self.about {
            About::Pairs { normaliser: Some(normaliser), .. } => 1.0 / normaliser.distance(),
            _ => 1.0,
        }
    }

    /// Returns the value of a case as it is reported: normalised, if the measure is.
    pub fn reported(&self, number: usize, value: f64) -> f64 {
        match &self.about {
            About::Pairs { normaliser: Some(normaliser), .. } => normaliser.value(number, value),
            _ => value,
        }
    }

    /// Refuses a metric without a gradient.
    pub fn check_gradient(&self, method: &str) -> Result<()> {
        match &self.about {
            About::Pairs { measure, .. } if !measure.has_gradient() => {
                Err(err!(Argument, "`{}` has no gradient, which {method} needs", measure.name()).about("metric"))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the plan of some of the pairs.
fn planned<'a>(
    model: &Model,
    pairs: &[TokenPair],
    measure: Measure<'a>,
    which: Prompt,
    numbers: &[usize],
    task: &Task,
) -> Result<Rc<MetricPlan<'a>>> {
    task.check()?;
    let some: Vec<TokenPair> = numbers.iter().map(|number| pairs[*number].clone()).collect();
    Ok(Rc::new(MetricPlan::new(measure, &model.decoder, &some, which, numbers, task)?))
}

impl Portion<'_> {
    pub fn batch(&self) -> &Batch {
        match self {
            Portion::Pairs(plan) => plan.batch(),
            Portion::Due(batch, _) => &batch.batch,
        }
    }

    /// Returns the points where logits are needed.
    pub fn points(&self) -> Vec<(usize, usize)> {
        match self {
            Portion::Pairs(plan) => plan.points().to_vec(),
            Portion::Due(batch, _) => batch.points(),
        }
    }

    /// Returns the value of each case from the end of a pass at these points, with gradients where this has some.
    pub fn values(&self, model: &Decoder, end: &PassEnd, task: &Task) -> Result<Tensor> {
        match self {
            Portion::Pairs(plan) => plan.values(model, end, task),
            Portion::Due(batch, tokens) => batch.values(model, end, tokens, 1, task),
        }
    }

    /// Returns the value of each case in each of some copies of the batch, from the end of a pass at these points of one copy
    /// after the other.
    pub fn values_of_copies(
        &self,
        model: &Decoder,
        end: &PassEnd,
        copies: usize,
        task: &Task,
    ) -> Result<Vec<Vec<f64>>> {
        match self {
            Portion::Pairs(plan) => plan.values_of_copies(model, end, copies, task),
            Portion::Due(batch, tokens) => {
                let found = floats(&batch.values(model, end, tokens, copies, task)?)?;
                Ok(found.chunks(batch.batch.rows().len()).map(<[f64]>::to_vec).collect())
            }
        }
    }
}
