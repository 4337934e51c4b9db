//! Cards of the heads of a Lorsa: where a head is most active, what it reads there and from which tokens, and what it writes.

use super::card::{FeatureCard, Group};
use super::contexts::{name, quoted};
use super::logits;
use crate::base::{Card, HeatText};
use crate::sae::metrics::{EvaluationText, JudgedRowsOptions};
use crate::sae::prelude::*;
use crate::sae::text_rows::dictionary::TextDictionary;

/// Rows of text that are read at a time.
const AT_ONCE: usize = 8;

crate::options! {
    /// The contents of the card of a Lorsa's head, and the text that it is made from.
    pub struct LorsaCardOptions {
        /// Number of the contexts in which the head is most active.
        top: usize = 8;
        /// Number of tokens in a context before the position.
        before: usize = 24;
        /// Number of tokens after the position.
        after: usize = 8;
        /// Number of rows of the tables.
        table_rows: usize = 8;
        with rows: JudgedRowsOptions;
    }
}

/// The activity of one head on a text.
#[derive(Debug, Default)]
struct HeadUse {
    /// The place of each row where the head is most active.
    strongest: Vec<StrongPlace>,
    read: u64,
    active: u64,
    sum: f64,
    largest: f64,
    /// The sums of what it read, by distance and by the token that it read.
    by_distance: BTreeMap<usize, f64>,
    by_token: BTreeMap<u32, TokenSum>,
    /// The sums of its codes by the token where it was active.
    at_token: BTreeMap<u32, TokenSum>,
}

/// A count of a token, and a sum over its places.
#[derive(Debug, Clone, Copy, Default)]
struct TokenSum {
    count: u64,
    sum: f64,
}

/// A place where a head is active.
#[derive(Debug, Clone)]
struct StrongPlace {
    row: usize,
    column: usize,
    code: f32,
    /// The codes of the row, and what was read from each token for this place.
    codes: Vec<f32>,
    reads: Vec<f32>,
}

/// Makes the cards of some heads of a Lorsa from a text.
pub fn cards(
    lorsa: &Lorsa,
    model: &Model,
    text: &Text,
    heads: &[usize],
    options: &LorsaCardOptions,
    task: &Task,
) -> Result<Vec<FeatureCard>> {
    for head in heads {
        lorsa.group_of(*head).map_err(|e| e.about("heads"))?;
    }
    let rows = lorsa.rows(model, text, &options.rows, task)?;
    let mut uses: Vec<HeadUse> = heads.iter().map(|_| HeadUse::default()).collect();
    let bar = task.begin("reading heads", Some(rows.len() as u64));
    for (part, texts) in rows.chunks(AT_ONCE).enumerate() {
        let batch = Batch::new(texts.iter().map(|text| text.ids.clone()).collect())?;
        let read = lorsa.attended_in(model, &batch, task)?;
        let codes = lorsa.chosen(&lorsa.mixed(&read, None)?)?;
        for (head, found) in heads.iter().zip(&mut uses) {
            task.check()?;
            let codes = numbers(&codes.narrow(2, *head, 1)?)?;
            let reads = numbers(&lorsa.reads(&read, *head)?)?;
            let wide = batch.width();
            for (row, text) in texts.iter().enumerate() {
                let codes = &codes[row * wide..row * wide + text.ids.len()];
                let reads = &reads[row * wide * wide..(row + 1) * wide * wide];
                found.add(part * AT_ONCE + row, text, codes, reads, wide);
            }
        }
        bar.advance(texts.len() as u64);
    }
    let directions: Vec<Tensor> =
        heads.iter().map(|head| Ok(lorsa.decoder.narrow(0, *head, 1)?)).collect::<Result<_>>()?;
    let promoted =
        if directions.is_empty() { Vec::new() } else { logits::promoted_along(model, &Tensor::cat(&directions, 0)?)? };
    let cards = heads.iter().zip(uses).zip(promoted);
    cards.map(|((head, found), logits)| found.card(lorsa, model, *head, &rows, &logits, options)).collect()
}

fn numbers(t: &Tensor) -> Result<Vec<f32>> {
    Ok(t.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}

impl HeadUse {
    /// Takes in the codes of a row, and what was read from each token for each: `[query, key]`.
    fn add(&mut self, row: usize, text: &EvaluationText, codes: &[f32], reads: &[f32], wide: usize) {
        let mut best: Option<usize> = None;
        for (column, code) in codes.iter().enumerate().filter(|(column, _)| text.counts(*column)) {
            self.read += 1;
            if *code == 0.0 {
                continue;
            }
            let size = f64::from(*code);
            self.active += 1;
            self.sum += size;
            self.largest = self.largest.max(size);
            let at = self.at_token.entry(text.ids[column]).or_default();
            at.count += 1;
            at.sum += size;
            for (key, read) in reads[column * wide..=column * wide + column].iter().enumerate() {
                *self.by_distance.entry(column - key).or_default() += f64::from(*read);
                let token = self.by_token.entry(text.ids[key]).or_default();
                token.count += 1;
                token.sum += f64::from(*read);
            }
            if best.is_none_or(|best| codes[best] < *code) {
                best = Some(column);
            }
        }
        if let Some(column) = best {
            let reads = reads[column * wide..=column * wide + column].to_vec();
            self.strongest.push(StrongPlace { row, column, code: codes[column], codes: codes.to_vec(), reads });
        }
    }

    fn card(
        mut self,
        lorsa: &Lorsa,
        model: &Model,
        head: usize,
        rows: &[EvaluationText],
        promoted: &[f64],
        options: &LorsaCardOptions,
    ) -> Result<FeatureCard> {
        let title = format!("head {head} of the Lorsa of {}", lorsa.about.writes);
        let mean = (self.active > 0).then(|| self.sum / self.active as f64);
        let facts = [
            ("model", model.name().to_string().into()),
            ("group", lorsa.group_of(head)?.into()),
            ("positions read", self.read.into()),
            ("active at", self.active.into()),
            ("density", (self.active as f64 / self.read.max(1) as f64).into()),
            ("mean code", mean.into()),
            ("largest code", self.largest.into()),
        ];
        let facts = Card::new(&title, facts);
        let site = lorsa.about.reads.clone();
        let mut card = FeatureCard { feature: head, site, title, facts, ..FeatureCard::default() };
        if self.strongest.is_empty() {
            card.notes.push("It is not active in this text.".into());
        } else {
            order::sort_descending(&mut self.strongest, |place| place.code);
            let top: Vec<&StrongPlace> = self.strongest.iter().take(options.top).collect();
            let active = top.iter().map(|place| place.heat(model, rows, options)).collect();
            let reads = top.iter().map(|place| place.reads(model, rows)).collect();
            card.contexts.push(Group { name: "strongest".into(), texts: active });
            card.contexts.push(Group { name: "what it read there".into(), texts: reads });
            card.tables.push(self.distances(options));
            card.tables.push(tokens("Tokens that it reads", model, &self.by_token, options));
            card.tables.push(tokens("Tokens where it is active", model, &self.at_token, options));
        }
        let name = |token: u32| quoted(model, token);
        card.tables.push(logits::extremes("Logits along what it writes", promoted, &name, options.table_rows));
        Ok(card)
    }

    /// Lists from how far it reads.
    fn distances(&self, options: &LorsaCardOptions) -> Table {
        let mut all: Vec<(usize, f64)> = self.by_distance.iter().map(|(distance, sum)| (*distance, *sum)).collect();
        order::sort_descending(&mut all, |(_, sum)| *sum);
        let rows = all.iter().take(options.table_rows);
        Table::new(
            "How far back it reads",
            ["tokens back", "share"],
            rows.map(|(distance, sum)| vec![(*distance).into(), (sum / self.sum).into()]),
        )
    }
}

/// Lists the tokens with the largest sums.
fn tokens(title: &str, model: &Model, sums: &BTreeMap<u32, TokenSum>, options: &LorsaCardOptions) -> Table {
    let mut all: Vec<(&u32, &TokenSum)> = sums.iter().collect();
    order::sort_descending(&mut all, |(_, found)| found.sum);
    let row = |(id, found): &(&u32, &TokenSum)| {
        vec![quoted(model, **id).into(), found.count.into(), (found.sum / found.count as f64).into()]
    };
    Table::new(title, ["token", "times", "mean"], all.iter().take(options.table_rows).map(row))
}

impl StrongPlace {
    /// Returns the context of the place, with the head's code at every token.
    fn heat(&self, model: &Model, rows: &[EvaluationText], options: &LorsaCardOptions) -> HeatText {
        let ids = &rows[self.row].ids;
        let start = self.column.saturating_sub(options.before);
        let end = (self.column + options.after + 1).min(ids.len());
        HeatText {
            title: format!("row {}, token {}", self.row, self.column),
            tokens: ids[start..end].iter().map(|id| name(model, *id)).collect(),
            values: self.codes[start..end].iter().map(|code| f64::from(*code)).collect(),
            quantity: "code".into(),
        }
    }

    /// Returns the text up to the place, with what the head read from every token.
    fn reads(&self, model: &Model, rows: &[EvaluationText]) -> HeatText {
        HeatText {
            title: format!("row {}, read at token {}", self.row, self.column),
            tokens: rows[self.row].ids[..=self.column].iter().map(|id| name(model, *id)).collect(),
            values: self.reads.iter().map(|read| f64::from(*read)).collect(),
            quantity: "attention times value".into(),
        }
    }
}
