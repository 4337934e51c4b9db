//! Cards of attention heads: where each looks in a text, what it reads and writes, how much it does what heads of known
//! kinds do, and how much worse the model predicts without it.
//!
//! - `repeats.rs` reads random tokens twice, where heads of known kinds show (Olsson et al. 2022).
//! - `text.rs` reads a text: the contexts of each head and its mean output.
//! - `tokens.rs` gives each head the embeddings of tokens alone: which tokens it raises then.
//! - `ablation.rs` replaces the output of each head by its mean.
//! - `dictionaries.rs` names the features that a head reads and writes.
//! - `cards.rs` puts these together.

mod ablation;
mod cards;
mod dictionaries;
mod repeats;
#[cfg(test)]
mod tests;
mod text;
mod tokens;

pub use dictionaries::check_dictionary;

use serde::{Deserialize, Serialize};

use super::FeatureCard;
use crate::base::Grid;
use crate::base::results::MISSING;
use crate::common::*;
use crate::data::harvest;

crate::options! {
    pub struct HeadsOptions {
        /// Number of tokens in a row of `data::text`, at most the model's context; longer rows of other texts are cut.
        context: Option<usize> = None => usually("the model's context, at most 128").at_least(3.0);
        /// Maximum number of rows of the text.
        rows: usize = 16 => at_least(1.0);
        /// Number of contexts, and of rows of the tables of a card.
        top: usize = 5 => at_least(1.0);
        /// Number of tokens whose embeddings heads read: the most frequent ones of the text.
        tokens: usize = 256 => at_least(1.0);
        /// Number of sequences of random tokens that are read twice.
        sequences: usize = 8 => at_least(1.0);
        /// Number of tokens of such a sequence; each is another one.
        length: Option<usize> = None => usually("32, or as many as the context, windows and the vocabulary allow").at_least(3.0);
        /// Seed of the random tokens.
        seed: i64 = 0;
    }
}

/// The default length of rows of a text, if the model's context is not shorter.
const CONTEXT: usize = 128;

impl HeadsOptions {
    /// Returns the number of tokens in a row of a text.
    pub fn context(&self, model: &Model) -> Result<usize> {
        harvest::context_or(model.decoder.config(), self.context, CONTEXT)
    }
}

/// The scores of a head: its likeness to heads of known kinds, and the effect of its ablation.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct HeadScores {
    /// The mean attention on the token before, `A[t, t - 1]`.
    pub previous: f64,
    /// The mean attention, where n random tokens are read for the second time, on the same token at the first,
    /// `A[t, t - n]`.
    pub duplicate: f64,
    /// The mean attention, where n random tokens are read for the second time, on the token behind the same one at the
    /// first, `A[t, t - n + 1]` (Olsson et al. 2022).
    pub induction: f64,
    /// The share of tokens that are among the five whose logits the head raises most when it attends to their embedding
    /// alone: the copying score of name movers (Wang et al. 2022).
    pub copying: f64,
    /// The mean attention on the first token of a row of the text.
    pub first: f64,
    /// The rise of the mean loss of the text, in nats, when the head's output is its mean over the text.
    pub ablation: f64,
    /// The lower end of the 95 % interval of `ablation` over rows of the text; missing for one row.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
}

/// The names of scores that a map of heads has, in the order of the columns of their table.
pub const SCORES: [&str; 6] = ["previous", "duplicate", "induction", "copying", "first", "ablation"];

impl HeadScores {
    /// Returns the scores in the order of [`SCORES`].
    pub fn all(&self) -> [f64; 6] {
        [self.previous, self.duplicate, self.induction, self.copying, self.first, self.ablation]
    }
}

/// One attention head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadCard {
    pub layer: usize,
    pub head: usize,
    pub scores: HeadScores,
    pub card: FeatureCard,
}

/// Cards of all attention heads of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadCards {
    pub title: String,
    /// Number of layers of the model; those without attention have no heads here.
    pub layers: usize,
    /// Number of heads in a layer.
    pub heads: usize,
    /// The heads, layer by layer.
    pub cards: Vec<HeadCard>,
}

impl HeadCards {
    /// Returns one head.
    pub fn head(&self, layer: usize, head: usize) -> Result<&HeadCard> {
        self.cards.iter().find(|card| card.layer == layer && card.head == head).ok_or_else(|| {
            let layers: Vec<usize> = (0..self.layers).filter(|layer| self.has(*layer)).collect();
            let about = if layers.contains(&layer) { "head" } else { "layer" };
            err!(Index, "there is no head {layer}.{head}")
                .hint(format!("each of the layers {layers:?} has the heads 0 to {}", self.heads.saturating_sub(1)))
                .about(about)
        })
    }

    fn has(&self, layer: usize) -> bool {
        self.cards.iter().any(|card| card.layer == layer)
    }

    /// Tabulates the scores: a row for each head.
    pub fn table(&self) -> Table {
        let ends = ["low", "high"].map(String::from);
        let columns = ["layer", "head"].iter().chain(&SCORES).map(|name| name.to_string()).chain(ends);
        let row = |card: &HeadCard| -> Vec<Cell> {
            let place = [card.layer.into(), card.head.into()];
            let scores = card.scores.all().map(Cell::from);
            place.into_iter().chain(scores).chain([card.scores.low.into(), card.scores.high.into()]).collect()
        };
        Table::new(&self.title, columns, self.cards.iter().map(row))
    }

    /// Returns one score of all heads, a row for each layer; NaN in layers without attention.
    pub fn grid(&self, score: &str) -> Result<Grid> {
        let place = SCORES.iter().position(|name| *name == score).ok_or_else(|| {
            err!(Argument, "expected a score of heads, found `{score}`")
                .hint(names::suggestion(score, SCORES).unwrap_or_else(|| format!("one of {}", SCORES.join(", "))))
                .about("score")
        })?;
        let mut values = vec![MISSING; self.layers * self.heads];
        for card in &self.cards {
            if let Some(value) = values.get_mut(card.layer * self.heads + card.head) {
                *value = card.scores.all()[place];
            }
        }
        Ok(Grid {
            title: format!("{score} of {}", self.title),
            row_axis: "layer".into(),
            column_axis: "head".into(),
            rows: (0..self.layers).map(|layer| layer.to_string()).collect(),
            columns: (0..self.heads).map(|head| head.to_string()).collect(),
            quantity: quantity(score).into(),
            values,
            ..Grid::default()
        })
    }
}

/// Names what a score is a measure of.
pub fn quantity(score: &str) -> &'static str {
    match score {
        "previous" => "attention on the token before",
        "duplicate" => "attention on the same token before",
        "induction" => "attention on what followed before",
        "copying" => "share of tokens that raise themselves",
        "first" => "attention on the first token",
        _ => "rise of the loss without it (nats)",
    }
}

/// Refuses a model whose heads have no cards, and returns the layers that have heads.
fn layers(model: &Model) -> Result<Vec<usize>> {
    let config = model.decoder.config();
    config.expect_next_token("a card of a head")?;
    if !config.causal {
        return Err(err!(
            Argument,
            "expected a model in which no token attends to later ones, found one of `{}`",
            config.family
        )
        .hint("`m.attention_map` has the pattern of a head")
        .about("m"));
    }
    if let Some(what) = config.beyond_reading() {
        return Err(err!(Argument, "what a head writes has no effect on logits by itself in a model with {what}")
            .hint("`m.attention_map` has the pattern of a head")
            .about("m"));
    }
    let layers: Vec<usize> = (0..config.layers).filter(|layer| config.attends(*layer)).collect();
    if layers.is_empty() {
        let what = config.recurrent_layers().unwrap_or("no attention");
        return Err(err!(Argument, "expected a model with attention heads, found one with {what}").about("m"));
    }
    Ok(layers)
}
