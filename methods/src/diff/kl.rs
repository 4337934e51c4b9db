//! The divergence of the predictions of two models at each token of a text, and the contexts where it is largest.

use super::pair::{ModelPair, RowPosition, context, token};
use crate::base::HeatText;
use crate::common::*;
use crate::tensor::normalise::log_probabilities;

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
    let mut take = |at: RowPosition, base: &Tensor, tuned: &Tensor| -> Result<()> {
        let p = log_probabilities(tuned)?;
        let q = log_probabilities(base)?;
        let terms = (p.exp()? * (&p - &q)?)?;
        let found = terms.sum(1)?.to_vec1::<f64>()?;
        if let Some(wrong) = found.iter().position(|value| !value.is_finite()) {
            let column = at.column + wrong;
            return Err(err!(
                Numeric,
                "expected finite logits, found a divergence of {} at position {column} of text {}",
                found[wrong],
                at.row
            )
            .hint("a model overflows there; load both in f32"));
        }
        values[at.row].extend(found);
        raised[at.row].extend(terms.argmax(1)?.to_dtype(DType::U32)?.to_vec1::<u32>()?);
        Ok(())
    };
    pair.logits(rows, "comparing predictions", &mut take, task)?;
    Ok(TokenDivergences { rows: rows.to_vec(), values, raised })
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
