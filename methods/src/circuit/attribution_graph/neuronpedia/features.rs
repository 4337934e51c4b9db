//! The files of features that the viewers of attribution graphs show with a graph: one for each, named by its number.

use serde_json::{Map, Value, json};

use super::cantor;
use crate::base::results::Histogram;
use crate::base::{Cell, HeatText, Result, Table};
use crate::err;
use crate::features::FeatureCard;
use crate::features::card::Group;
use crate::sae::site_layer;

/// Returns the number of a card's feature among those of all layers, and its file: where it is active, and what it
/// promotes.
pub fn feature_file(card: &FeatureCard, scan: &str) -> Result<(i64, Value)> {
    let Some(layer) = site_layer(&card.site) else {
        return Err(err!(Argument, "expected the card of a transcoder's feature, found one of {}", card.title));
    };
    let number = cantor(layer, card.feature)?;
    let example = |text: &HeatText| {
        let strongest = text.values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(place, _)| place);
        json!({
            "tokens": text.tokens, "tokens_acts_list": text.values,
            "train_token_ind": strongest, "is_repeated_datapoint": false,
        })
    };
    let group = |group: &Group| {
        let examples: Vec<Value> = group.texts.iter().map(example).collect();
        json!({ "quantile_name": group.name, "examples": examples })
    };
    let mut file = empty(number, scan);
    let mut put = |key: &str, value: Value| file.insert(key.into(), value);
    put("examples_quantiles", card.contexts.iter().map(group).collect());
    put("top_logits", tokens(card, "raised").into());
    put("bottom_logits", tokens(card, "lowered").into());
    let codes = card.contexts.iter().flat_map(|group| &group.texts).flat_map(|text| &text.values);
    put("act_min", 0.0.into());
    put("act_max", codes.copied().fold(0.0, f64::max).into());
    // Viewers show what is 0 or empty as if it were known.
    if let Some((_, Cell::Float(share))) = card.facts.fields.iter().find(|(name, _)| name == "density") {
        put("activation_frequency", (*share).into());
    }
    if let Some(Histogram { edges, counts }) = &card.facts.histogram
        && let [0.0, .., last] = edges.as_slice()
    {
        put("act_max", (*last).into());
        put("histogram", counts.clone().into());
        put("quantile_values", hundredths(edges, counts).into());
    }
    Ok((number, file.into()))
}

/// Returns the file of a feature of which nothing is known.
pub fn empty(number: i64, scan: &str) -> Map<String, Value> {
    let known = [("transcoder_id", scan.into()), ("index", number.into())];
    let lists = ["examples_quantiles", "top_logits", "bottom_logits"].map(|key| (key, json!([])));
    known.into_iter().chain(lists).map(|(key, value)| (key.to_string(), value)).collect()
}

/// Returns the percentiles of the activations, 1 to 100: the upper edges of their bins.
fn hundredths(edges: &[f64], counts: &[u64]) -> Vec<f64> {
    let all: u64 = counts.iter().sum();
    let mut found = Vec::with_capacity(100);
    let mut reached = 0;
    for (edge, count) in edges.iter().skip(1).zip(counts) {
        reached += count;
        while found.len() < 100 && 100 * reached >= all * (found.len() as u64 + 1) {
            found.push(*edge);
        }
    }
    found
}

/// Returns a column of the table of tokens whose logits the feature changes.
fn tokens(card: &FeatureCard, column: &str) -> Vec<String> {
    let place = |table: &Table| table.columns.iter().position(|name| name == column);
    let Some((table, place)) = card.tables.iter().find_map(|table| Some((table, place(table)?))) else {
        return Vec::new();
    };
    let cell = |row: &Vec<Cell>| match row.get(place) {
        Some(Cell::Text(token)) => Some(token.clone()),
        _ => None,
    };
    table.rows.iter().filter_map(cell).collect()
}
