//! The files of features that the viewers of attribution graphs show beside a graph: one for each, called by its number.

use serde_json::{Value, json};

use super::cantor;
use crate::base::{Cell, HeatText, Result, Table};
use crate::err;
use crate::features::FeatureCard;
use crate::features::card::Group;
use crate::sae::site_layer;

/// The number of a card's feature among those of all layers, and its file: where it is active, and what it promotes.
pub fn feature_file(card: &FeatureCard, scan: &str) -> Result<(usize, Value)> {
    let Some(layer) = site_layer(&card.site) else {
        return Err(err!(Argument, "expected the card of a transcoder's feature, found one of {}", card.title));
    };
    let number = cantor(layer, card.feature);
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
    let codes = card.contexts.iter().flat_map(|group| &group.texts).flat_map(|text| &text.values);
    let largest = codes.copied().fold(0.0, f64::max);
    let density = card.facts.fields.iter().find(|(name, _)| name == "density").map(|(_, cell)| cell);
    let file = json!({
        "transcoder_id": scan,
        "index": number,
        "examples_quantiles": card.contexts.iter().map(group).collect::<Vec<_>>(),
        "top_logits": tokens(card, "raised"),
        "bottom_logits": tokens(card, "lowered"),
        "act_min": 0.0,
        "act_max": largest,
        "quantile_values": [],
        "histogram": [],
        "activation_frequency": density.and_then(|cell| if let Cell::Float(share) = cell { Some(*share) } else { None }),
    });
    Ok((number, file))
}

/// A column of the table of tokens whose logits it changes.
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
