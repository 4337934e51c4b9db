//! Sentences of a text as units (Bogdan et al. 2025, "Thought Anchors: Which LLM Reasoning Steps Matter?"): how far later
//! ones depend on earlier ones, by suppressed attention; which ones heads keep attending to; and what becomes of the answer
//! when one of them is written anew.

mod anchors;
mod cut;
mod receivers;
mod suppress;
#[cfg(test)]
mod tests;

pub use anchors::{AnchorFunctions, AnchorOptions, Answers, anchors};
pub use cut::{Sentence, cut, sentences_of};
pub use receivers::HeadScores;

use crate::base::Grid;
use crate::base::results::{MISSING, is_missing};
use crate::common::*;
use crate::model::site::select;
use crate::tokenizer::tokens::Tokens;

crate::options! {
    /// Options of how heads that receive attention are found.
    #[derive(Debug, Clone, Copy)]
    pub struct ReceiverOptions {
        /// Number of receiver heads: those of the largest kurtosis.
        heads: usize = 20 => at_least(1.0);
        /// The attention to a sentence is that of the sentences which are at least this number of places behind it.
        apart: usize = 4 => at_least(1.0);
    }

    /// Options of the sentences of a text.
    pub struct SentenceOptions {
        /// The temperature by which logits are divided before two distributions are compared.
        temperature: f64 = 0.6 => above(0.0);
        /// Receiver heads, such as "3.0", that were found on other texts.
        receivers: Option<Vec<String>> = None => usually("those of this text");
        with found: ReceiverOptions;
    }
}

/// Effects of the sentences of a text on each other, and the heads that attend to them.
#[derive(Debug, Clone)]
pub struct Sentences {
    pub sentences: Vec<Sentence>,
    /// The mean of ln(KL + 1e-9) over the tokens of a sentence (row) without attention to an earlier one (column); row
    /// after row, missing where the column is not earlier.
    pub log_kl: Vec<f64>,
    /// The attention of all heads, layer by layer.
    pub heads: Vec<HeadScores>,
    /// Indices of the receiver heads.
    pub receivers: Vec<usize>,
}

/// Reads the sentences of a text: suppresses the attention to each, and finds the heads that receive attention.
pub fn sentences(model: &Model, text: &Tokens, options: &SentenceOptions, task: &Task) -> Result<Sentences> {
    of_sentences(model, &text.ids, sentences_of(text)?, options, task)
}

/// Reads sentences that are cut already; they follow each other, and each has tokens.
pub fn of_sentences(
    model: &Model,
    ids: &[u32],
    sentences: Vec<Sentence>,
    options: &SentenceOptions,
    task: &Task,
) -> Result<Sentences> {
    check(model)?;
    let heads = receivers::head_scores(model, ids, &sentences, options.found.apart, task)?;
    let receivers = match &options.receivers {
        Some(names) => named(model, names, &heads).map_err(|e| e.about("receivers"))?,
        None => {
            let kurtoses: Vec<f64> = heads.iter().map(|head| head.kurtosis).collect();
            receivers::largest(&kurtoses, options.found.heads)
        }
    };
    let log_kl = suppress::suppression(model, ids, &sentences, options.temperature, task)?;
    Ok(Sentences { sentences, log_kl, heads, receivers })
}

/// Tabulates the heads that receive attention: all heads by the mean over texts of the kurtosis of their vertical scores,
/// the largest first.
pub fn receiver_heads(model: &Model, texts: &[Tokens], options: &ReceiverOptions, task: &Task) -> Result<Table> {
    check(model)?;
    let mut of_texts = Vec::new();
    for text in texts {
        let sentences = sentences_of(text)?;
        of_texts.push(receivers::head_scores(model, &text.ids, &sentences, options.apart, task)?);
    }
    let first =
        of_texts.first().ok_or_else(|| err!(Argument, "expected at least one text, found none").about("texts"))?;
    let mean = |place: usize| {
        let known: Vec<f64> =
            of_texts.iter().map(|heads| heads[place].kurtosis).filter(|kurtosis| !is_missing(*kurtosis)).collect();
        if known.len() < of_texts.len() { MISSING } else { known.iter().sum::<f64>() / known.len() as f64 }
    };
    let kurtoses: Vec<f64> = (0..first.len()).map(mean).collect();
    let chosen = receivers::largest(&kurtoses, options.heads);
    if chosen.is_empty() {
        return Err(err!(
            Argument,
            "expected texts of at least {} sentences, whose attention differs",
            options.apart + 2
        )
        .hint("give longer texts, or a smaller `apart`")
        .about("texts"));
    }
    let row = |place: &usize| vec![first[*place].name().into(), kurtoses[*place].into(), of_texts.len().into()];
    Ok(Table::new("receiver heads", ["head", "kurtosis", "texts"], chosen.iter().map(row)))
}

/// Refuses models whose sentences do not reach each other by attention alone.
fn check(model: &Model) -> Result<()> {
    let config = model.decoder.config();
    config.expect_next_token("the attention between sentences")?;
    if !config.causal {
        return Err(err!(Argument, "expected a causal model, found one that sees both ways").about("m"));
    }
    if let Some(found) = config.recurrent_layers() {
        return Err(err!(Argument, "expected a model whose tokens reach each other by attention alone, found {found}")
            .hint("`intervene::anchors` writes sentences anew, with any model that continues texts")
            .about("m"));
    }
    if config.layers == 0 {
        return Err(err!(Argument, "expected a model with attention, found one without layers").about("m"));
    }
    for kept in model.decoder.kept() {
        let hooks = kept.bound()?;
        let places = [SiteKind::Scores, SiteKind::Pattern].map(|kind| select(config, &format!("{}.*", kind.name())));
        for place in places.into_iter().collect::<Result<Vec<_>>>()?.concat() {
            if hooks.iter().any(|hook| hook.wants(place.site)) {
                return Err(err!(
                    Argument,
                    "the attention between sentences cannot be suppressed where a model keeps a hook of `{}`, found `{}`",
                    place.site,
                    kept.told()
                )
                .hint("give it the model without this hook")
                .about("m"));
            }
        }
    }
    Ok(())
}

/// Finds heads by their names.
fn named(model: &Model, names: &[String], heads: &[HeadScores]) -> Result<Vec<usize>> {
    let config = model.decoder.config();
    let mut found = Vec::new();
    for name in names {
        for Place { site, head } in select(config, &format!("pattern.{name}"))? {
            let is_it = |scores: &HeadScores| scores.layer == site.layer && head.is_none_or(|head| scores.head == head);
            found.extend((0..heads.len()).filter(|place| is_it(&heads[*place])));
        }
    }
    Ok(found)
}

impl Sentences {
    /// Counts the sentences.
    pub fn len(&self) -> usize {
        self.sentences.len()
    }

    /// Returns whether there are none, which no text gives.
    pub fn is_empty(&self) -> bool {
        self.sentences.is_empty()
    }

    /// Returns the labels of sentences in grids: their number, and how they begin.
    fn labels(&self) -> Vec<String> {
        const SHOWN: usize = 24;
        let label = |(number, sentence): (usize, &Sentence)| {
            let begin: String = sentence.text.chars().take(SHOWN).collect();
            let rest = if sentence.text.chars().nth(SHOWN).is_some() { "…" } else { "" };
            format!("{number} {begin}{rest}")
        };
        self.sentences.iter().enumerate().map(label).collect()
    }

    /// Returns how far the predictions in each sentence (row) depend on each earlier one (column): the logarithms of the
    /// divergence, less the mean of the row.
    pub fn suppression(&self) -> Grid {
        Grid {
            title: "what later sentences predict without attention to earlier ones".into(),
            row_axis: "sentence".into(),
            column_axis: "suppressed sentence".into(),
            rows: self.labels(),
            columns: self.labels(),
            quantity: "ln KL, less the row's mean".into(),
            values: suppress::centred(&self.log_kl, self.len()),
            ..Grid::default()
        }
    }

    /// Returns the logarithms of the divergence as they are.
    pub fn log_kl(&self) -> Grid {
        Grid { quantity: "mean of ln(KL + 1e-9)".into(), values: self.log_kl.clone(), ..self.suppression() }
    }

    /// Returns the vertical scores of the receiver heads.
    pub fn vertical(&self) -> Grid {
        let heads = self.receivers.iter().map(|place| &self.heads[*place]);
        Grid {
            title: "attention to sentences of the heads that receive it".into(),
            row_axis: "head".into(),
            column_axis: "sentence".into(),
            rows: heads.clone().map(HeadScores::name).collect(),
            columns: self.labels(),
            quantity: "mean attention of later sentences".into(),
            values: heads.flat_map(|head| head.vertical.clone()).collect(),
            ..Grid::default()
        }
    }

    /// Computes the mean effect of suppressing a sentence on all later ones.
    fn effect(&self, centred: &[f64], column: usize) -> f64 {
        let count = self.len();
        mean((column + 1..count).map(|row| centred[row * count + column]))
    }

    /// Computes the mean vertical score of a sentence over the receiver heads.
    fn received(&self, column: usize) -> f64 {
        mean(self.receivers.iter().map(|place| self.heads[*place].vertical[column]))
    }

    /// Returns a table of the sentences: the mean effect of suppressing each on all later ones, and the attention that it
    /// receives.
    pub fn table(&self) -> Table {
        let centred = suppress::centred(&self.log_kl, self.len());
        let row = |number: usize| {
            let sentence = &self.sentences[number];
            let [effect, received] = [self.effect(&centred, number), self.received(number)].map(cell);
            vec![number.into(), sentence.text.as_str().into(), sentence.tokens.len().into(), effect, received]
        };
        Table::new("sentences", ["sentence", "text", "tokens", "suppression", "received"], (0..self.len()).map(row))
    }

    /// Returns a table of all heads, those of the largest kurtosis first: whether they are receiver heads, and which
    /// sentence they attend to most.
    pub fn head_table(&self) -> Table {
        let mut places: Vec<usize> = (0..self.heads.len()).collect();
        let size = |place: &usize| Some(self.heads[*place].kurtosis).filter(|kurtosis| !is_missing(*kurtosis));
        order::sort_descending(&mut places, |place| size(place).unwrap_or(f64::NEG_INFINITY));
        let row = |place: usize| {
            let head = &self.heads[place];
            let known = (0..head.vertical.len()).filter(|at| !is_missing(head.vertical[*at]));
            let strongest = known.max_by(|a, b| head.vertical[*a].total_cmp(&head.vertical[*b]));
            vec![head.name().into(), cell(head.kurtosis), self.receivers.contains(&place).into(), strongest.into()]
        };
        Table::new("heads", ["head", "kurtosis", "receiver", "attends most to"], places.into_iter().map(row))
    }
}

/// Computes the mean of numbers that are all there; missing if one is not, or of none.
fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let numbers: Vec<f64> = numbers.collect();
    if numbers.is_empty() || numbers.iter().any(|number| is_missing(*number)) {
        return MISSING;
    }
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn cell(number: f64) -> Cell {
    (!is_missing(number)).then_some(number).into()
}
