//! The divergence of the predictions of two models at each token of a text, and the contexts where it is largest.

use kernels::{LogitsBeside, RowDivergence, RowsBeside};

use super::pair::{ModelPair, RowPosition, context, token};
use crate::base::HeatText;
use crate::common::*;
use crate::model::by_words::ReferencePredictions;

/// KL(tuned || base) in nats of what two models predict at each position of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenDivergences {
    pub rows: Vec<Vec<u32>>,
    /// The divergence at each position.
    pub values: Vec<Vec<f64>>,
    /// The token that contributes most to it: one whose probability rises.
    pub raised: Vec<Vec<u32>>,
}

/// Computes KL(tuned || base) = sum p (log p - log q) of the predictions p of the tuned model and q of its base at every
/// position of some rows of tokens.
pub fn kl(pair: ModelPair, rows: &[Vec<u32>], task: &Task) -> Result<TokenDivergences> {
    let mut values: Vec<Vec<f64>> = vec![Vec::new(); rows.len()];
    let mut raised: Vec<Vec<u32>> = vec![Vec::new(); rows.len()];
    let mut take = |places: &[RowPosition], base: &ReferencePredictions, tuned: &ReferencePredictions| -> Result<()> {
        let mut sums = RowsBeside::new(places.len());
        tuned.beside(base, &mut |block| sums.add(block), task)?;
        let found = sums.divergences();
        for (at, found) in places.iter().zip(&found) {
            if !found.divergence.is_finite() {
                return Err(err!(
                    Numeric,
                    "expected finite logits, found a divergence of {} at position {} of text {}",
                    found.divergence,
                    at.column,
                    at.row
                )
                .hint("a model overflows there; load both in f32"));
            }
            values[at.row].push(found.divergence);
        }
        let mut largest = vec![NO_TERM; places.len()];
        tuned.beside(base, &mut |block| add_largest(&mut largest, &found, block), task)?;
        places.iter().zip(largest).for_each(|(at, largest)| raised[at.row].push(largest.token));
        Ok(())
    };
    pair.predictions(rows, "comparing predictions", &mut take, task)?;
    Ok(TokenDivergences { rows: rows.to_vec(), values, raised })
}

/// Token that contributes most to a divergence so far.
#[derive(Debug, Clone, Copy, PartialEq)]
struct LargestTerm {
    token: u32,
    term: f64,
}

const NO_TERM: LargestTerm = LargestTerm { token: 0, term: f64::NEG_INFINITY };

/// Takes in the contributions of a block's tokens, p (log p - log q), to the divergences of its rows; of equal ones the first
/// counts.
fn add_largest(largest: &mut [LargestTerm], found: &[RowDivergence], block: &LogitsBeside) {
    parallel::fill(&mut largest[block.rows.clone()], 1, &|row, largest| {
        let [of_p, of_q] = found[block.rows.start + row].totals;
        let [p, q] = block.row(row);
        for largest in largest {
            for (token, (p, q)) in block.words.clone().zip(p.iter().zip(q)) {
                let log_p = f64::from(*p) - of_p;
                let term = log_p.exp() * (log_p - (f64::from(*q) - of_q));
                if term > largest.term {
                    *largest = LargestTerm { token: token as u32, term };
                }
            }
        }
    });
}

impl TokenDivergences {
    /// Returns the number of positions.
    pub fn count(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }

    /// Returns the mean over all positions.
    pub fn mean(&self) -> f64 {
        self.values.iter().flatten().sum::<f64>() / self.count().max(1) as f64
    }

    /// Returns the largest value.
    pub fn largest(&self) -> f64 {
        self.values.iter().flatten().copied().fold(0.0, f64::max)
    }

    /// Returns the positions with the largest values, those first; equal ones in the order of the text.
    pub fn strongest(&self, count: usize) -> Vec<RowPosition> {
        let value = |at: &RowPosition| self.values[at.row][at.column];
        let of_row = |(row, values): (usize, &Vec<f64>)| {
            (0..values.len()).map(move |column| RowPosition { row, column }).collect::<Vec<_>>()
        };
        let mut all: Vec<RowPosition> = self.values.iter().enumerate().flat_map(of_row).collect();
        order::sort_descending(&mut all, value);
        all.truncate(count);
        all
    }

    /// Tabulates the positions with the largest values, with the tokens up to them and the one that rises most.
    pub fn contexts(&self, count: usize, name: &dyn Fn(u32) -> String) -> Table {
        let row = |at: RowPosition| -> Vec<Cell> {
            let value = self.values[at.row][at.column];
            let raised = if value > 0.0 { name(self.raised[at.row][at.column]).into() } else { Cell::Missing };
            vec![value.into(), context(&self.rows, at, name).into(), raised, at.row.into(), at.column.into()]
        };
        Table::new(
            format!("largest KL(tuned || base) of {} positions", self.count()),
            ["kl", "context", "raised", "row", "position"],
            self.strongest(count).into_iter().map(row),
        )
    }

    /// Tabulates the tokens after which the predictions differ most on average, at least so often read.
    pub fn by_token(&self, count: usize, least: usize, name: &dyn Fn(u32) -> String) -> Table {
        let mut sums: BTreeMap<u32, TokenSum> = BTreeMap::new();
        for (row, values) in self.values.iter().enumerate() {
            for (column, value) in values.iter().enumerate() {
                let sum = sums.entry(token(&self.rows, RowPosition { row, column })).or_default();
                sum.times += 1;
                sum.sum += value;
                sum.largest = sum.largest.max(*value);
            }
        }
        let mut found: Vec<(u32, TokenSum)> = sums.into_iter().filter(|(_, sum)| sum.times >= least).collect();
        order::sort_descending(&mut found, |(_, sum)| sum.mean());
        let row = |(token, sum): (u32, TokenSum)| -> Vec<Cell> {
            vec![name(token).into(), sum.mean().into(), sum.largest.into(), sum.times.into()]
        };
        Table::new(
            format!("KL(tuned || base) after each token, read at least {least} times"),
            ["token", "mean", "largest", "times"],
            found.into_iter().take(count).map(row),
        )
    }

    /// Returns a row as heat text, each token coloured by the divergence of what is predicted after it.
    pub fn heat(&self, row: usize, name: &dyn Fn(u32) -> String) -> Result<HeatText> {
        match (self.rows.get(row), self.values.get(row)) {
            (Some(ids), Some(values)) => Ok(HeatText {
                title: format!("KL(tuned || base), row {row}"),
                tokens: ids.iter().map(|id| name(*id)).collect(),
                values: values.clone(),
                quantity: "nats".into(),
            }),
            _ => Err(err!(Argument, "expected a row below {}, found {row}", self.rows.len()).about("row")),
        }
    }
}

/// The divergences after one token.
#[derive(Debug, Clone, Copy, Default)]
struct TokenSum {
    times: usize,
    sum: f64,
    largest: f64,
}

impl TokenSum {
    fn mean(&self) -> f64 {
        self.sum / self.times.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{blocks, logits_beside};
    use super::*;

    #[test]
    fn what_blocks_contribute_is_what_all_words_do() {
        let both = logits_beside();
        let found = |rows: usize, words: usize| {
            let mut sums = RowsBeside::new(5);
            blocks(&both, rows, words, &mut |block| sums.add(block));
            let found = sums.divergences();
            let mut largest = vec![NO_TERM; 5];
            blocks(&both, rows, words, &mut |block| add_largest(&mut largest, &found, block));
            (found, largest)
        };
        let (whole, largest) = found(5, 11);
        for (rows, words) in [(5, 4), (2, 11), (3, 5), (1, 1)] {
            let (some, of_blocks) = found(rows, words);
            for row in 0..5 {
                assert!((some[row].divergence - whole[row].divergence).abs() < 1e-12);
                assert_eq!(of_blocks[row].token, largest[row].token);
                assert!((of_blocks[row].term - largest[row].term).abs() < 1e-12);
            }
        }
        assert!(whole.iter().all(|row| row.divergence > 0.0));
    }
}
