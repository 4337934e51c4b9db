//! A score as a sum over pairs of parts, and what is read off it.

use super::parts::QkPart;
use crate::base::{Cell, Grid, Result, Table, memory, order};
use crate::tensor::{Device, Tensor};

/// The score of a head between a query and a key, split into pairs of their parts.
#[derive(Debug, Clone, PartialEq)]
pub struct QkScore {
    /// The head, such as `scores.3.0`.
    pub site: String,
    /// The position of the query.
    pub from: usize,
    /// The position of the key.
    pub to: usize,
    /// The texts of the tokens at the query and at the key.
    pub tokens: [String; 2],
    /// The score that the model computed, as its site has it.
    pub score: f64,
    /// The soft cap of the model's scores; pairs sum to the score before it.
    pub cap: Option<f64>,
    /// The term that the position of the key adds to the score in attention with linear biases.
    pub position_bias: Option<f64>,
    /// The parts at the query. The last is that of biases, which maps and norms add to queries.
    pub queries: Vec<QkPart>,
    /// The parts at the key. The last is that of biases, which maps and norms add to keys.
    pub keys: Vec<QkPart>,
    /// Values of all pairs: a row for each part at the query, a column for each part at the key.
    pub values: Vec<f64>,
}

impl QkScore {
    /// Returns the sum of all pairs: the scaled product of query and key.
    pub fn sum(&self) -> f64 {
        self.values.iter().sum()
    }

    /// Returns what the pairs do not account for, which is rounding.
    pub fn rest(&self) -> f64 {
        let sum = self.sum();
        let capped = self.cap.map_or(sum, |cap| cap * (sum / cap).tanh());
        self.score - capped - self.position_bias.unwrap_or(0.0)
    }

    /// Returns for each part at the query the sum over the parts at the key.
    pub fn of_queries(&self) -> Vec<f64> {
        self.values.chunks(self.keys.len().max(1)).map(|row| row.iter().sum()).collect()
    }

    /// Returns for each part at the key the sum over the parts at the query.
    pub fn of_keys(&self) -> Vec<f64> {
        let width = self.keys.len();
        (0..width).map(|key| self.values.iter().skip(key).step_by(width).sum()).collect()
    }

    /// Describes what is split: `scores.3.0 from " the"@9 to " cat"@4`.
    pub fn title(&self) -> String {
        let [query, key] = &self.tokens;
        format!("{} from {query:?}@{} to {key:?}@{}", self.site, self.from, self.to)
    }

    /// Returns the sum of the pairs with the biases of the key, the last of its parts. All keys have them in common, but for the
    /// rotation by their positions.
    pub fn of_key_biases(&self) -> f64 {
        self.of_keys().last().copied().unwrap_or(0.0)
    }

    /// Lists the pairs with the largest values in size, without those that are 0: the part at the query, that at the key, the value.
    pub fn largest(&self, top: usize) -> Vec<(&str, &str, f64)> {
        self.largest_of(top, |_| true)
    }

    /// Lists the largest pairs without those with the biases of the key.
    pub fn largest_without_key_biases(&self, top: usize) -> Vec<(&str, &str, f64)> {
        self.largest_of(top, |key| key + 1 < self.keys.len())
    }

    fn largest_of(&self, top: usize, is_meant: impl Fn(usize) -> bool) -> Vec<(&str, &str, f64)> {
        let width = self.keys.len().max(1);
        let is_shown = |pair: &usize| self.values[*pair] != 0.0 && is_meant(pair % width);
        let mut order: Vec<usize> = (0..self.values.len()).filter(is_shown).collect();
        let larger = |a: &usize, b: &usize| self.values[*b].abs().total_cmp(&self.values[*a].abs());
        if order.len() > top {
            order.select_nth_unstable_by(top, larger);
            order.truncate(top);
        }
        order.sort_by(|a, b| larger(a, b).then(a.cmp(b)));
        let pair = |at: usize| {
            let query = &self.queries[at / width];
            let key = &self.keys[at % width];
            (query.name.as_str(), key.name.as_str(), self.values[at])
        };
        order.into_iter().map(pair).collect()
    }

    /// Tabulates the largest pairs.
    pub fn pairs(&self, top: usize) -> Table {
        let row = |(query, key, value): (&str, &str, f64)| vec![query.into(), key.into(), value.into()];
        Table::new(self.title(), ["query part", "key part", "score"], self.largest(top).into_iter().map(row))
    }

    /// Tabulates the parts at the query, the largest first.
    pub fn query_table(&self) -> Table {
        marginal(&self.queries, &self.of_queries(), format!("parts of the query of {}", self.title()))
    }

    /// Tabulates the parts at the key, the largest first.
    pub fn key_table(&self) -> Table {
        marginal(&self.keys, &self.of_keys(), format!("parts of the key of {}", self.title()))
    }

    /// Returns the values of all pairs as a matrix.
    pub fn matrix(&self) -> Result<Tensor> {
        memory::check(4 * self.values.len() as u128, || "all pairs as a tensor".into())?;
        let values: Vec<f32> = self.values.iter().map(|value| *value as f32).collect();
        Ok(Tensor::from_vec(values, (self.queries.len(), self.keys.len()), &Device::Cpu)?)
    }

    /// Makes a heat map of the parts that matter most on either side; the others are summed in a last row and column.
    pub fn grid(&self, most: usize) -> Grid {
        let width = self.keys.len().max(1);
        let size = |at: usize, is_query: bool| -> f64 {
            if is_query {
                self.values[at * width..(at + 1) * width].iter().map(|value| value.abs()).sum()
            } else {
                self.values.iter().skip(at).step_by(width).map(|value| value.abs()).sum()
            }
        };
        let rows = chosen(self.queries.len(), most, |at| size(at, true));
        let columns = chosen(self.keys.len(), most, |at| size(at, false));
        let labels = |parts: &[QkPart], groups: &[Vec<usize>]| -> Vec<String> {
            let label = |group: &Vec<usize>| match group.as_slice() {
                [one] => parts[*one].name.clone(),
                others => format!("{} others", others.len()),
            };
            groups.iter().map(label).collect()
        };
        let value = |row: &Vec<usize>, column: &Vec<usize>| -> f64 {
            row.iter().flat_map(|query| column.iter().map(move |key| self.values[query * width + key])).sum()
        };
        Grid {
            title: self.title(),
            row_axis: "part of the query".into(),
            column_axis: "part of the key".into(),
            rows: labels(&self.queries, &rows),
            columns: labels(&self.keys, &columns),
            quantity: "score".into(),
            values: rows.iter().flat_map(|row| columns.iter().map(move |column| value(row, column))).collect(),
            ..Grid::default()
        }
    }
}

/// Groups parts: each of the largest by itself, in their order, and all others together.
fn chosen(count: usize, most: usize, size: impl Fn(usize) -> f64) -> Vec<Vec<usize>> {
    let sizes: Vec<f64> = (0..count).map(size).collect();
    let mut order = order::descending(&sizes);
    let others = order.split_off(most.min(count));
    order.sort_unstable();
    let mut groups: Vec<Vec<usize>> = order.into_iter().map(|one| vec![one]).collect();
    if !others.is_empty() {
        groups.push(others);
    }
    groups
}

fn marginal(parts: &[QkPart], values: &[f64], title: String) -> Table {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order::sort_descending(&mut order, |at| values[*at].abs());
    let has_features = parts.iter().any(|part| part.activation.is_some());
    let row = |at: &usize| {
        let part = &parts[*at];
        let activation = has_features.then(|| Cell::from(part.activation));
        let mut row: Vec<Cell> = vec![part.name.as_str().into()];
        row.extend(activation);
        row.push(values[*at].into());
        row
    };
    let mut columns = vec!["part".to_string()];
    columns.extend(has_features.then(|| "activation".to_string()));
    columns.push("score".into());
    Table::new(title, columns, order.iter().map(row))
}
