//! The cards of heads, from what each part has found.

use super::ablation::{LossRise, rises};
use super::dictionaries::HeadDictionary;
use super::repeats::{KnownKinds, Repeats, known_kinds};
use super::text::{HeadContext, HeadReading};
use super::tokens::{TokenReading, entering, raised_by};
use super::{HeadCard, HeadCards, HeadScores, HeadsOptions, layers, text, tokens};
use crate::base::{Card, HeatText};
use crate::features::FeatureCard;
use crate::features::card::Group;
use crate::features::contexts::{name as token_name, quoted};
use crate::sae::prelude::*;

/// Tokens of a context before the key, and the least number of them before the query.
const BEFORE_KEY: usize = 4;
const BEFORE_QUERY: usize = 16;

impl HeadCards {
    /// Reads rows of a text, cut to the context, and makes the cards of all heads. `name` is that of the text.
    pub fn of(
        model: &Model,
        name: &str,
        mut rows: Vec<Vec<u32>>,
        saes: &[Sae],
        options: &HeadsOptions,
        task: &Task,
    ) -> Result<Self> {
        let layers = layers(model)?;
        let config = model.decoder.config();
        let context = options.context(model)?;
        rows.truncate(options.rows);
        rows.iter_mut().for_each(|row| row.truncate(context));
        if rows.iter().all(|row| row.len() < 2) {
            return Err(err!(Argument, "expected a text with rows of at least two tokens, found none")
                .hint("the loss of a text begins at its second token")
                .about("text"));
        }
        let repeats = Repeats::of(model, options, task)?;
        let dictionaries = saes.iter().map(|sae| HeadDictionary::of(model, sae, &rows, task));
        let dictionaries = dictionaries.collect::<Result<Vec<_>>>().map_err(|e| e.about("dictionaries"))?;
        let known = known_kinds(model, &layers, &repeats, task)?;
        let readings = text::read(&model.decoder, &layers, &rows, options.top, task)?;
        let frequent = frequent(&rows, options.tokens);
        let of_tokens = tokens::read(model, &layers, &frequent, options.top, task)?;
        let rises = rises(&model.decoder, &layers, &rows, &readings, options.seed as u64, task)?;
        let maker = CardMaker {
            model,
            rows: &rows,
            dictionaries: &dictionaries,
            top: options.top,
            notes: notes(name, &rows, &repeats, frequent.len()),
            task,
        };
        let mut cards = Vec::new();
        for (at, layer) in layers.iter().enumerate() {
            let here = at * config.heads..(at + 1) * config.heads;
            let vectors = maker.vectors(*layer, &readings[here.clone()])?;
            for (number, vectors) in here.zip(vectors) {
                let found = Found {
                    layer: *layer,
                    head: number % config.heads,
                    known: known[number],
                    reading: &readings[number],
                    tokens: &of_tokens[number],
                    rise: rises[number],
                    vectors,
                };
                cards.push(maker.card(&found)?);
            }
        }
        Ok(Self { title: format!("heads of {}", model.name()), layers: config.layers, heads: config.heads, cards })
    }
}

/// Returns the most frequent tokens of a text, those first; the lower id of equally frequent ones.
fn frequent(rows: &[Vec<u32>], count: usize) -> Vec<u32> {
    let mut times: BTreeMap<u32, usize> = BTreeMap::new();
    rows.iter().flatten().for_each(|token| *times.entry(*token).or_default() += 1);
    let mut order: Vec<(u32, usize)> = times.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    order.into_iter().take(count).map(|(token, _)| token).collect()
}

fn notes(name: &str, rows: &[Vec<u32>], repeats: &Repeats, tokens: usize) -> Vec<String> {
    let positions: usize = rows.iter().map(Vec::len).sum();
    vec![
        format!("Contexts and the rise of the loss are of {positions} tokens of {name}, in {} rows.", rows.len()),
        format!(
            "Previous, duplicate and induction are of {} random tokens that are read twice, in {} rows.",
            repeats.length,
            repeats.rows.len()
        ),
        format!("Copying is of the {tokens} most frequent tokens of the text, each by its embedding alone."),
    ]
}

/// The findings about one head.
struct Found<'a> {
    layer: usize,
    head: usize,
    known: KnownKinds,
    reading: &'a HeadReading,
    tokens: &'a TokenReading,
    rise: LossRise,
    /// The outputs of the head in its contexts, `[contexts, d_model]`; None without contexts.
    vectors: Option<Tensor>,
}

struct CardMaker<'a> {
    model: &'a Model,
    rows: &'a [Vec<u32>],
    dictionaries: &'a [HeadDictionary<'a>],
    top: usize,
    notes: Vec<String>,
    task: &'a Task,
}

impl CardMaker<'_> {
    /// Computes what each head of a layer writes in its contexts.
    fn vectors(&self, layer: usize, readings: &[HeadReading]) -> Result<Vec<Option<Tensor>>> {
        let decoder = &self.model.decoder;
        let heads = readings.len();
        let each = readings.iter().enumerate().map(|(head, reading)| {
            let count = reading.contexts.len();
            if count == 0 {
                return Ok(None);
            }
            let size = reading.mean.len();
            let mut z = vec![0.0_f32; count * heads * size];
            for (place, context) in reading.contexts.iter().enumerate() {
                let start = (place * heads + head) * size;
                z[start..start + size].copy_from_slice(&context.z);
            }
            let z = Tensor::from_vec(z, (count, 1, heads, size), decoder.device())?.to_dtype(decoder.dtype())?;
            let written = decoder.each_head_out(layer, &z)?.get(head)?.squeeze(1)?;
            Ok(Some(written.detach().to_dtype(DType::F32)?))
        });
        each.collect()
    }

    fn card(&self, found: &Found) -> Result<HeadCard> {
        let scores = HeadScores {
            previous: found.known.previous,
            duplicate: found.known.duplicate,
            induction: found.known.induction,
            copying: found.tokens.copying,
            first: found.reading.first,
            ablation: found.rise.mean,
            low: found.rise.interval.map(|[low, _]| low),
            high: found.rise.interval.map(|[_, high]| high),
        };
        let texts = found.reading.contexts.iter().map(|context| self.heat(context)).collect();
        let name = "strongest attention to a token other than the first and itself".to_string();
        let contexts = if found.reading.contexts.is_empty() { Vec::new() } else { vec![Group { name, texts }] };
        let card = FeatureCard {
            feature: found.head,
            site: format!("head_out.{}", found.layer),
            title: format!("head {}.{}", found.layer, found.head),
            facts: self.facts(found, &scores),
            description: None,
            contexts,
            tables: self.tables(found)?,
            notes: self.notes.clone(),
        };
        Ok(HeadCard { layer: found.layer, head: found.head, scores, card })
    }

    fn facts(&self, found: &Found, scores: &HeadScores) -> Card {
        let config = self.model.decoder.config();
        let named = super::SCORES.into_iter().zip(scores.all());
        let mut fields: Vec<(&str, Cell)> = named.map(|(name, value)| (super::quantity(name), value.into())).collect();
        if let (Some(low), Some(high)) = (scores.low, scores.high) {
            fields.push(("95 % interval from", low.into()));
            fields.push(("to", high.into()));
        }
        if config.is_grouped() {
            let shared = format!("{} of {}", config.kv_head(found.layer, found.head), config.kv_heads_of(found.layer));
            fields.push(("keys and values of head", shared.into()));
        }
        if let Some(window) = config.window(found.layer) {
            fields.push(("window", window.into()));
        }
        Card::new("scores", fields)
    }

    /// Draws a context: the attention of its last token to those before it.
    fn heat(&self, context: &HeadContext) -> HeatText {
        let start = context.key.saturating_sub(BEFORE_KEY).min(context.query.saturating_sub(BEFORE_QUERY));
        let ids = &self.rows[context.row][start..=context.query];
        HeatText {
            title: format!("row {}, position {}", context.row, context.query),
            tokens: ids.iter().map(|id| token_name(self.model, *id)).collect(),
            values: context.pattern[start..].iter().map(|weight| f64::from(*weight)).collect(),
            quantity: "attention".into(),
        }
    }

    fn tables(&self, found: &Found) -> Result<Vec<Table>> {
        let mut tables = Vec::new();
        let quoted = |id: u32| quoted(self.model, id);
        let listed = |ids: &[u32]| ids.iter().map(|id| quoted(*id)).collect::<Vec<_>>().join(" ");
        if let Some(vectors) = &found.vectors {
            let raised = raised_by(self.model, found.layer, vectors, self.task)?;
            let row = |(context, raised): (&HeadContext, &Vec<u32>)| -> Vec<Cell> {
                let ids = &self.rows[context.row];
                let weight = f64::from(context.weight);
                let ends = [ids[context.query], ids[context.key]].map(|id| Cell::from(quoted(id)));
                ends.into_iter().chain([weight.into(), listed(raised).into()]).collect()
            };
            tables.push(Table::new(
                "What it does in these contexts",
                ["from", "attends to", "attention", "raises"],
                found.reading.contexts.iter().zip(&raised).map(row),
            ));
        }
        let row = |read: &tokens::RaisedTokens| -> Vec<Cell> {
            vec![quoted(read.token).into(), listed(&read.raised).into(), read.by.into()]
        };
        tables.push(Table::new(
            "What the embedding of a token raises through it",
            ["token", "raises", "by"],
            found.tokens.raised.iter().map(row),
        ));
        tables.extend(self.feature_tables(found)?);
        Ok(tables)
    }

    fn feature_tables(&self, found: &Found) -> Result<Vec<Table>> {
        let Some(vectors) = &found.vectors else { return Ok(Vec::new()) };
        let mut tables = Vec::new();
        let mean = entering(&self.model.decoder, found.layer, vectors)?.mean(0)?;
        for dictionary in self.dictionaries {
            if dictionary.is_read_in(found.layer) {
                tables.push(dictionary.read_table(&found.reading.contexts, self.top));
            }
            if dictionary.is_written_in(found.layer) {
                tables.push(dictionary.written_table(&mean, self.top)?);
            }
        }
        Ok(tables)
    }
}
