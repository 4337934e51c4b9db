//! The rows of text that a judgement looks at, and which of their positions count for what.

use rand::seq::SliceRandom;

use crate::base::random::stream;
use crate::base::{Result, Task};
use crate::circuit::tree::{Read, Reader, Stage};
use crate::err;
use crate::features::Survey;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::run::Ask;

use super::Options;

/// At most so many positions a row are looked at where the tokens are not due, and on other text.
const OF_ROW: usize = 4;
/// There is one row of other text for so many rows.
const FOR_ONE: usize = 4;

/// Rows of tokens, and positions of them by their number in `[rows, pos]`.
pub struct Contexts {
    pub batch: Batch,
    /// Where the target is active.
    pub active: Vec<u32>,
    /// Where one of the tokens comes next.
    pub due: Vec<u32>,
    /// Where another token comes next, in the same rows.
    pub elsewhere: Vec<u32>,
    /// Positions of rows in which the target is silent and none of the tokens stands.
    pub unrelated: Vec<u32>,
}

impl Contexts {
    /// Half of the rows are drawn from those where the target is active, the others from those where one of the tokens
    /// stands; all from the former where there are no tokens.
    pub fn of(
        model: &Model,
        stage: &Stage,
        (level, feature): (usize, usize),
        survey: &Survey,
        options: &Options,
        task: &Task,
    ) -> Result<Self> {
        let tally = survey.dictionaries.get(level).and_then(|tallies| tallies.get(feature));
        let active: Vec<u32> =
            tally.map(|tally| tally.some.iter().map(|moment| moment.row).collect()).unwrap_or_default();
        if active.is_empty() {
            return Err(err!(
                Argument,
                "feature {feature} of {} is never active in the text that it is judged on",
                stage.place
            )
            .hint("read more text, or judge a feature that fires"));
        }
        let row = |number: u32| survey.rows.get(number as usize).map(Vec::as_slice).unwrap_or_default();
        let has = |number: u32| row(number).iter().skip(1).any(|id| options.tokens.contains(id));
        let drawn = |purpose: &str, is_meant: &dyn Fn(u32) -> bool| -> Vec<u32> {
            let mut rows: Vec<u32> =
                (0..survey.rows.len() as u32).filter(|number| row(*number).len() > 1 && is_meant(*number)).collect();
            rows.shuffle(&mut stream(options.seed, purpose, 0));
            rows
        };
        let with_tokens = drawn("rows in which the tokens stand", &has);
        let half = if with_tokens.is_empty() { options.contexts } else { options.contexts.div_ceil(2) };
        let mut related: Vec<u32> = Vec::new();
        let mut add = |rows: &[u32], most: usize| {
            for number in rows {
                if related.len() < most && !related.contains(number) {
                    related.push(*number);
                }
            }
        };
        add(&active, half);
        add(&with_tokens, options.contexts);
        add(&active, options.contexts);
        let others = drawn("rows of other text", &|number| !related.contains(&number) && !has(number));
        let others: Vec<u32> = others.into_iter().take(options.contexts).collect();
        let rows = |numbers: &[u32]| -> Vec<Vec<u32>> { numbers.iter().map(|number| row(*number).to_vec()).collect() };
        let is_silent = silent(model, stage, feature, rows(&others), task)?;
        let silent = others.into_iter().zip(is_silent).filter(|(_, is_silent)| *is_silent).map(|(row, _)| row);
        let unrelated: Vec<u32> = silent.take(options.contexts.div_ceil(FOR_ONE)).collect();
        let counts = (related.len(), options.tokens.as_slice());
        Self::placed([rows(&related), rows(&unrelated)].concat(), counts)
    }

    /// Finds positions in rows, of which the first `related` are those that are about the target.
    fn placed(rows: Vec<Vec<u32>>, (related, tokens): (usize, &[u32])) -> Result<Self> {
        let batch = Batch::new(rows)?;
        let (mut due, mut elsewhere, mut unrelated) = (Vec::new(), Vec::new(), Vec::new());
        for (row, ids) in batch.rows().iter().enumerate() {
            let number = |position: usize| (row * batch.width() + position) as u32;
            let (mut here, mut others) = (Vec::new(), Vec::new());
            for (position, next) in ids.iter().skip(1).enumerate() {
                if tokens.contains(next) { here.push(number(position)) } else { others.push(number(position)) }
            }
            if row < related {
                due.extend(here);
                elsewhere.extend(spread(&others));
            } else {
                unrelated.extend(spread(&others));
            }
        }
        Ok(Self { batch, active: Vec::new(), due, elsewhere, unrelated })
    }
}

/// Some of these, evenly spread.
fn spread(positions: &[u32]) -> impl Iterator<Item = u32> + '_ {
    positions.iter().copied().step_by(positions.len().div_ceil(OF_ROW).max(1))
}

/// In which of these rows a feature is nowhere active.
fn silent(model: &Model, stage: &Stage, feature: usize, rows: Vec<Vec<u32>>, task: &Task) -> Result<Vec<bool>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let batch = Batch::new(rows)?;
    let ask = Ask { places: vec![stage.place], ..Ask::default() };
    let x = model.decoder.cache(&batch, ask, task)?.at(stage.place)?;
    let codes = Reader::new(&stage.sae, feature, Read::Code)?.of(&x.flatten(0, 1)?, task)?;
    let of_rows = codes.chunks(batch.width()).zip(batch.lengths());
    Ok(of_rows.map(|(codes, length)| codes.iter().take(length).all(|code| *code == 0.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_told_apart_by_the_token_that_comes_next() {
        let rows = vec![vec![1, 9, 2, 9, 3], vec![4, 4, 4], vec![5, 6, 7, 8]];
        let found = Contexts::placed(rows, (2, &[9])).unwrap();
        assert_eq!(found.due, [0, 2]);
        assert_eq!(found.elsewhere, [1, 3, 5, 6]);
        assert_eq!(found.unrelated, [10, 11, 12]);
    }

    #[test]
    fn few_positions_of_a_row_are_spread_over_it() {
        let all: Vec<u32> = (0..10).collect();
        assert_eq!(spread(&all).collect::<Vec<_>>(), [0, 3, 6, 9]);
        assert_eq!(spread(&all[..2]).collect::<Vec<_>>(), [0, 1]);
    }
}
