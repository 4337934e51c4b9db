//! Nonnegative factorisation of a matrix of which most numbers are 0: tokens that rise together, in few groups.

use rand::Rng;

use crate::common::*;
use crate::tensor::create;

/// A row of a sparse matrix: its columns, and the number in each, none below 0.
pub type SparseRow = Vec<(usize, f64)>;

/// Maximum number of rounds.
const ROUNDS: usize = 500;

/// Share of the squared matrix: a round that lowers the error by less is the last one.
const TOLERANCE: f64 = 1e-7;

/// Updates of each code of a row in a round.
const SWEEPS: usize = 4;

/// Factors of a nonnegative matrix V ~ H W.
#[derive(Debug, Clone, PartialEq)]
pub struct Factorisation {
    /// H: `[rows][topics]`.
    pub codes: Vec<Vec<f64>>,
    /// W: `[topics][columns]`.
    pub topics: Vec<Vec<f64>>,
    /// The squared error |V - H W|².
    pub error: f64,
    /// The squared matrix |V|².
    pub total: f64,
}

/// Factorises V ~ H W with H, W >= 0 by hierarchical alternating least squares (Cichocki & Phan 2009): codes, then topics,
/// each in turn set to its best value while the others stay. Only what is not 0 is stored or visited.
pub fn factorise(
    rows: &[SparseRow],
    columns: usize,
    topics: usize,
    draws: &mut impl Rng,
    task: &Task,
) -> Result<Factorisation> {
    if topics == 0 || columns == 0 || rows.is_empty() {
        return Err(err!(
            Argument,
            "expected rows, columns and topics to factorise, found {} by {columns} in {topics}",
            rows.len()
        ));
    }
    memory::check(8 * topics as u128 * (rows.len() + 2 * columns) as u128, || format!("{topics} topics"))?;
    let total: f64 = rows.iter().flatten().map(|(_, value)| value * value).sum();
    let drawn = create::uniform(&[topics, columns], 0.0, 1.0, DType::F64, draws)?;
    let mut fit = Factorisation {
        codes: vec![vec![0.0; topics]; rows.len()],
        topics: drawn.to_vec2::<f64>()?,
        error: total,
        total,
    };
    let bar = task.begin("factorising", Some(ROUNDS as u64));
    for _ in 0..ROUNDS {
        let before = fit.error;
        fit.coded(rows, task)?;
        fit.improved(rows, columns, task)?;
        bar.advance(1);
        if before - fit.error <= TOLERANCE * total {
            break;
        }
    }
    Ok(fit)
}

impl Factorisation {
    /// Sets the codes of all rows, one by one, to their best values for these topics.
    fn coded(&mut self, rows: &[SparseRow], task: &Task) -> Result<()> {
        let gram = products(&self.topics);
        for (row, codes) in rows.iter().zip(&mut self.codes) {
            task.check()?;
            let wanted: Vec<f64> = self
                .topics
                .iter()
                .map(|topic| row.iter().map(|(column, value)| value * topic[*column]).sum())
                .collect();
            for _ in 0..SWEEPS {
                for topic in 0..codes.len() {
                    let size = gram[topic][topic];
                    let mixed: f64 = gram[topic].iter().zip(codes.iter()).map(|(product, code)| product * code).sum();
                    codes[topic] =
                        if size > 0.0 { (codes[topic] + (wanted[topic] - mixed) / size).max(0.0) } else { 0.0 };
                }
            }
        }
        Ok(())
    }

    /// Sets each topic in turn to its best value for these codes, and computes the error.
    fn improved(&mut self, rows: &[SparseRow], columns: usize, task: &Task) -> Result<()> {
        let topics = self.topics.len();
        let mut gram = vec![vec![0.0; topics]; topics];
        let mut wanted = vec![vec![0.0; columns]; topics];
        for (row, codes) in rows.iter().zip(&self.codes) {
            task.check()?;
            for (topic, code) in codes.iter().enumerate().filter(|(_, code)| **code > 0.0) {
                gram[topic].iter_mut().zip(codes).for_each(|(sum, other)| *sum += code * other);
                row.iter().for_each(|(column, value)| wanted[topic][*column] += code * value);
            }
        }
        for topic in 0..topics {
            task.check()?;
            let size = gram[topic][topic];
            // A topic that no row has stays as it is.
            if size <= 0.0 {
                continue;
            }
            let mut next = Vec::with_capacity(columns);
            for (column, wanted) in wanted[topic].iter().enumerate() {
                let mixed: f64 = (0..topics).map(|other| gram[topic][other] * self.topics[other][column]).sum();
                next.push((self.topics[topic][column] + (wanted - mixed) / size).max(0.0));
            }
            self.topics[topic] = next;
        }
        let mut error = self.total;
        for topic in 0..topics {
            task.check()?;
            for (column, wanted) in wanted[topic].iter().enumerate() {
                let mixed: f64 = (0..topics).map(|other| gram[topic][other] * self.topics[other][column]).sum();
                error += self.topics[topic][column] * (mixed - 2.0 * wanted);
            }
        }
        self.error = error.max(0.0);
        Ok(())
    }
}

/// Computes the products of all pairs of rows.
fn products(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum();
    rows.iter().map(|a| rows.iter().map(|b| product(a, b)).collect()).collect()
}
