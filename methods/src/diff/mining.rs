//! Diff mining: tokens whose logits rise from one model to another over a text, by how often each is among those that rise
//! most, and in groups that rise together (science-of-finetuning/diffing-toolkit, `diff_mining`).

use kernels::LogitsBeside;

use super::factorise::{Factorisation, SparseRow, factorise};
use super::pair::{ModelPair, RowPosition, context};
use crate::common::*;
use crate::model::by_words::ReferencePredictions;
use crate::options::seed::SeedOptions;

crate::options! {
    /// Options of mined tokens.
    pub struct MiningOptions {
        /// Number of tokens that rise most, which count at each position.
        top: usize = 20 => at_least(1.0);
        /// Number of groups of tokens that rise together; 0 forms none.
        topics: usize = 3;
        with seed: SeedOptions;
    }
}

/// The rise of each token's logit, over all positions.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenRise {
    /// The number of positions at which the token is among those that rise most.
    pub among_top: usize,
    /// The number of positions at which it rises.
    pub rises: usize,
    /// Its mean rise.
    pub mean: f64,
}

/// Tokens whose logits rise over a text.
#[derive(Debug, Clone)]
pub struct MinedTokens {
    /// The number of positions.
    pub positions: usize,
    /// The number of tokens that count at each position.
    pub top: usize,
    /// The rises of each token of the vocabulary.
    pub tokens: Vec<TokenRise>,
    /// Groups of tokens that rise together, those with the largest share first.
    pub topics: Vec<Topic>,
    /// The share of the squared rises that the groups leave out.
    pub unexplained: f64,
    rows: Vec<Vec<u32>>,
}

/// A group of tokens that rise together.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    /// The share of the group in all rises that the groups explain.
    pub share: f64,
    /// The share of positions at which it is the largest.
    pub prevalence: f64,
    /// Tokens and their weights, which sum to 1, the largest first.
    pub weights: Vec<(u32, f64)>,
    /// The positions at which it is largest, those first, with the rise that it explains there.
    pub strongest: Vec<(RowPosition, f64)>,
}

/// The number of contexts that are kept of each topic.
const CONTEXTS: usize = 50;

/// Computes how much the logit of each token rises from the base to the tuned model, less the mean rise at the position,
/// and counts the tokens that rise most. Their rises, positions by tokens, are factorised into topics. `draw` is the seed
/// of the factorisation's first topics.
pub fn mine(
    pair: ModelPair,
    rows: &[Vec<u32>],
    options: &MiningOptions,
    draw: u64,
    task: &Task,
) -> Result<MinedTokens> {
    let vocab = pair.base.decoder.config().outputs();
    if options.top > vocab {
        return Err(
            err!(Argument, "expected at most {vocab} tokens that rise most, found {}", options.top).about("top")
        );
    }
    let positions: usize = rows.iter().map(Vec::len).sum();
    memory::check(16 * positions as u128 * options.top as u128, || format!("the rises at {positions} positions"))?;
    let mut tokens = vec![TokenRise { among_top: 0, rises: 0, mean: 0.0 }; vocab];
    let mut found: Vec<SparseRow> = Vec::with_capacity(positions);
    let mut places: Vec<RowPosition> = Vec::with_capacity(positions);
    let mut take = |some: &[RowPosition], base: &ReferencePredictions, tuned: &ReferencePredictions| -> Result<()> {
        let mut means = vec![0.0; some.len()];
        tuned.beside(base, &mut |block| add_rises(&mut means, block), task)?;
        for (at, mean) in some.iter().zip(&mut means) {
            *mean /= vocab as f64;
            if !mean.is_finite() {
                let RowPosition { row, column } = at;
                return Err(err!(
                    Numeric,
                    "expected finite logits, found a mean rise of {mean} at position {column} of text {row}"
                )
                .hint("a model overflows there; load both in f32"));
            }
        }
        let mut top = vec![SparseRow::new(); some.len()];
        let mut count = |block: &LogitsBeside| {
            count_rises(&mut tokens[block.words.clone()], &means, block);
            keep_largest(&mut top, &means, options.top, block);
        };
        tuned.beside(base, &mut count, task)?;
        top.iter().flatten().for_each(|(token, _)| tokens[*token].among_top += 1);
        found.extend(top);
        places.extend(some);
        Ok(())
    };
    pair.predictions(rows, "mining logits", &mut take, task)?;
    tokens.iter_mut().for_each(|token| token.mean /= positions.max(1) as f64);
    let mut mined =
        MinedTokens { positions, top: options.top, tokens, topics: Vec::new(), unexplained: 1.0, rows: rows.to_vec() };
    // Two models that are the same have no rises to group.
    if options.topics > 0 && found.iter().any(|row| !row.is_empty()) {
        mined.group(&found, &places, options.topics, draw, task)?;
    }
    Ok(mined)
}

/// Number of words whose sums over rows one piece of work adds up.
const WORDS: usize = 1 << 8;

/// Adds the rises of all words of a block to those of its rows.
fn add_rises(sums: &mut [f64], block: &LogitsBeside) {
    parallel::fill(&mut sums[block.rows.clone()], 1, &|row, sums| {
        let [tuned, base] = block.row(row);
        for sum in sums {
            *sum += tuned.iter().zip(base).map(|(tuned, base)| f64::from(*tuned) - f64::from(*base)).sum::<f64>();
        }
    });
}

/// Adds the rises of a block, less the mean of each row, to those of its words.
fn count_rises(tokens: &mut [TokenRise], means: &[f64], block: &LogitsBeside) {
    parallel::fill(tokens, WORDS, &|first, tokens| {
        for (row, mean) in means[block.rows.clone()].iter().enumerate() {
            let [tuned, base] = block.row(row).map(|logits| &logits[first..first + tokens.len()]);
            for (token, (tuned, base)) in tokens.iter_mut().zip(tuned.iter().zip(base)) {
                let rise = f64::from(*tuned) - f64::from(*base) - mean;
                token.mean += rise;
                token.rises += usize::from(rise > 0.0);
            }
        }
    });
}

/// Keeps those words of each row that rise most, the first of equal ones, the largest first.
fn keep_largest(top: &mut [SparseRow], means: &[f64], count: usize, block: &LogitsBeside) {
    parallel::fill(&mut top[block.rows.clone()], 1, &|row, top| {
        let mean = means[block.rows.start + row];
        let [tuned, base] = block.row(row);
        for top in top {
            for (token, (tuned, base)) in block.words.clone().zip(tuned.iter().zip(base)) {
                let rise = f64::from(*tuned) - f64::from(*base) - mean;
                let is_among = top.len() < count || top.last().is_some_and(|(_, least)| rise > *least);
                if rise > 0.0 && is_among {
                    let place = top.partition_point(|(_, other)| *other >= rise);
                    top.insert(place, (token, rise));
                    top.truncate(count);
                }
            }
        }
    });
}

impl MinedTokens {
    /// Factorises the rises at all positions into topics.
    fn group(
        &mut self,
        rises: &[SparseRow],
        places: &[RowPosition],
        topics: usize,
        draw: u64,
        task: &Task,
    ) -> Result<()> {
        // Columns of the tokens that are ever among the top, in the order of their ids.
        let tokens: Vec<usize> = (0..self.tokens.len()).filter(|token| self.tokens[*token].among_top > 0).collect();
        let mut column = vec![0; self.tokens.len()];
        tokens.iter().enumerate().for_each(|(at, token)| column[*token] = at);
        let rows: Vec<SparseRow> =
            rises.iter().map(|row| row.iter().map(|(token, rise)| (column[*token], *rise)).collect()).collect();
        let fit = factorise(&rows, tokens.len(), topics, &mut stream(draw, "diff topics", 0), task)?;
        self.unexplained = if fit.total > 0.0 { fit.error / fit.total } else { 1.0 };
        self.topics = topics_of(&fit, &tokens, places);
        Ok(())
    }

    /// Tabulates tokens, those first that are most often among the tokens that rise most.
    pub fn table(&self, count: usize, name: &dyn Fn(u32) -> String) -> Table {
        let mut order: Vec<usize> = (0..self.tokens.len()).collect();
        let tokens = &self.tokens;
        order.sort_by(|a, b| {
            let by_count = tokens[*b].among_top.cmp(&tokens[*a].among_top);
            by_count.then(tokens[*b].mean.total_cmp(&tokens[*a].mean)).then(a.cmp(b))
        });
        let share = |part: usize| Cell::from(part as f64 / self.positions.max(1) as f64);
        let row = |token: usize| -> Vec<Cell> {
            let found = &tokens[token];
            vec![name(token as u32).into(), share(found.among_top), found.mean.into(), share(found.rises)]
        };
        Table::new(
            format!("tokens among the {} that rise most, at {} positions", self.top, self.positions),
            ["token", "among the top", "mean rise", "rises"],
            order.into_iter().take(count).map(row),
        )
    }

    /// Tabulates the tokens of each topic with the largest weights.
    pub fn topic_table(&self, count: usize, name: &dyn Fn(u32) -> String) -> Table {
        let of_topic = |(number, topic): (usize, &Topic)| {
            let row = |(token, weight): &(u32, f64)| -> Vec<Cell> {
                vec![number.into(), topic.share.into(), topic.prevalence.into(), name(*token).into(), (*weight).into()]
            };
            topic.weights.iter().take(count).map(row).collect::<Vec<_>>()
        };
        let columns = ["topic", "share", "prevalence", "token", "weight"];
        Table::new("tokens that rise together", columns, self.topics.iter().enumerate().flat_map(of_topic))
    }

    /// Tabulates the positions at which a topic is strongest, with the rise that it explains there.
    pub fn contexts(&self, topic: usize, count: usize, name: &dyn Fn(u32) -> String) -> Result<Table> {
        let found = self.topics.get(topic).ok_or_else(|| {
            err!(Argument, "expected a topic below {}, found {topic}", self.topics.len()).about("topic")
        })?;
        let row = |(at, rise): &(RowPosition, f64)| -> Vec<Cell> {
            vec![(*rise).into(), context(&self.rows, *at, name).into(), at.row.into(), at.column.into()]
        };
        let rows = found.strongest.iter().take(count).map(row);
        Ok(Table::new(format!("strongest contexts of topic {topic}"), ["rise", "context", "row", "position"], rows))
    }
}

/// Turns the factors into topics whose weights sum to 1, so that a code is the rise that a topic explains at a position.
fn topics_of(fit: &Factorisation, tokens: &[usize], places: &[RowPosition]) -> Vec<Topic> {
    let sizes: Vec<f64> = fit.topics.iter().map(|topic| topic.iter().sum()).collect();
    let code = |row: usize, topic: usize| fit.codes[row][topic] * sizes[topic];
    let masses: Vec<f64> = (0..sizes.len()).map(|topic| (0..places.len()).map(|row| code(row, topic)).sum()).collect();
    let mass: f64 = masses.iter().sum();
    let mut largest = vec![0_usize; sizes.len()];
    for row in 0..places.len() {
        let best = (0..sizes.len()).max_by(|a, b| code(row, *a).total_cmp(&code(row, *b)).then(b.cmp(a)));
        if let Some(best) = best.filter(|best| code(row, *best) > 0.0) {
            largest[best] += 1;
        }
    }
    let topic = |topic: usize| {
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let mut weights: Vec<(u32, f64)> = tokens
            .iter()
            .zip(&fit.topics[topic])
            .filter(|(_, weight)| **weight > 0.0)
            .map(|(token, weight)| (*token as u32, share(*weight, sizes[topic])))
            .collect();
        weights.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut order: Vec<usize> = (0..places.len()).filter(|row| code(*row, topic) > 0.0).collect();
        order::sort_descending(&mut order, |row| code(*row, topic));
        Topic {
            share: share(masses[topic], mass),
            prevalence: share(largest[topic] as f64, places.len() as f64),
            weights,
            strongest: order.into_iter().take(CONTEXTS).map(|row| (places[row], code(row, topic))).collect(),
        }
    };
    let mut found: Vec<Topic> = (0..sizes.len()).map(topic).collect();
    order::sort_descending(&mut found, |topic| topic.share);
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::{blocks, logits_beside};
    use super::*;

    #[test]
    fn rises_in_blocks_are_those_of_all_words() {
        let both = logits_beside();
        let found = |rows: usize, words: usize| {
            let mut means = vec![0.0; 5];
            blocks(&both, rows, words, &mut |block| add_rises(&mut means, block));
            means.iter_mut().for_each(|mean| *mean /= 11.0);
            let mut tokens = vec![TokenRise { among_top: 0, rises: 0, mean: 0.0 }; 11];
            let mut top = vec![SparseRow::new(); 5];
            blocks(&both, rows, words, &mut |block| {
                count_rises(&mut tokens[block.words.clone()], &means, block);
                keep_largest(&mut top, &means, 3, block);
            });
            (tokens, top)
        };
        let (whole, most) = found(5, 11);
        // All rises of a row are 0 together.
        assert!(whole.iter().map(|token| token.mean).sum::<f64>().abs() < 1e-6);
        assert!(most.iter().all(|row| !row.is_empty() && row.len() <= 3 && row.is_sorted_by(|a, b| a.1 >= b.1)));
        for (rows, words) in [(5, 4), (2, 11), (3, 5), (1, 1)] {
            let (tokens, top) = found(rows, words);
            for (found, expected) in tokens.iter().zip(&whole) {
                assert!(found.rises == expected.rises && (found.mean - expected.mean).abs() < 1e-12);
            }
            for (found, expected) in top.iter().zip(&most) {
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-12);
                }
            }
        }
    }
}
