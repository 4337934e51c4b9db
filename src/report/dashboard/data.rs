//! The data of a dashboard's pages: scripts that hand over JSON, since pages that are opened from the file system may
//! load scripts, and no JSON.
//!
//! Texts are made visible in the data, and the page shows them as text nodes, so that nothing in them is markup. A long
//! token or text is cut, and says by how much.

use serde_json::{Value, json};

use crate::base::{Cell, HeatText, Result, Table};
use crate::err;
use crate::features::card::{Description, Group};
use crate::features::dashboard::IndexEntry;
use crate::features::heads::{HeadCard, SCORES, quantity};
use crate::features::{FeatureCard, HeadCards};
use crate::report::visible_text::visible;

/// Maximum numbers of characters that are shown of a token, and of a longer text.
const TOKEN: usize = 80;
const TEXT: usize = 2000;

/// Writes a script that hands over a value under a name.
pub fn script(kind: &str, name: &str, value: &Value) -> Result<String> {
    let json = |value: &Value| serde_json::to_string(value).map_err(|e| err!(Bug, "data of a page: {e}"));
    // `<` cannot stand in a script as it is, should one ever be put into a page.
    let name = json(&name.into())?;
    let value = json(value)?.replace('<', "\\u003c");
    Ok(format!("microtome({}, {name}, {value});\n", json(&kind.into())?))
}

/// Returns a text fit to be shown.
pub fn cut_text(text: &str) -> String {
    cut(text, TEXT)
}

fn token(text: &str) -> String {
    cut(text, TOKEN)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => visible(text),
        Some((end, _)) => {
            let left = text.get(end..).unwrap_or_default().chars().count();
            format!("{}… ({left} more characters)", visible(text.get(..end).unwrap_or_default()))
        }
    }
}

/// Returns a number as JSON; those that JSON has not are named.
fn number(value: f64) -> Value {
    // Four digits are read, and seven tell numbers of f32 apart.
    let short = format!("{value:.6e}").parse::<f64>().ok().filter(|short| short.is_finite());
    short.map_or_else(|| value.to_string().into(), |short| json!(short))
}

fn description_values(description: &Option<Description>) -> [Value; 2] {
    match description {
        None => [Value::Null, Value::Null],
        Some(description) if description.score.is_nan() => [cut_text(&description.text).into(), Value::Null],
        Some(description) => [cut_text(&description.text).into(), number(description.score)],
    }
}

/// Returns a line of the index: dictionary, feature, density, mean, largest, tokens, description and its score, label
/// and its score, and whether it has a card.
pub fn line(entry: &IndexEntry, has_card: bool) -> Value {
    let [words, score] = description_values(&entry.description);
    let [label, label_score] = description_values(&entry.label);
    let tokens: Vec<String> = entry.tokens.iter().map(|text| token(text)).collect();
    json!([
        entry.dictionary,
        entry.feature,
        number(entry.density),
        number(entry.mean),
        number(entry.largest),
        tokens.join(" "),
        words,
        score,
        label,
        label_score,
        usize::from(has_card),
    ])
}

/// Returns the texts that a feature is searched by, besides those of its line.
pub fn words(card: &FeatureCard) -> String {
    let texts = card.contexts.iter().flat_map(|group| &group.texts);
    let text = |text: &HeatText| text.tokens.iter().map(|text| token(text)).collect::<String>();
    texts.map(text).collect::<Vec<_>>().join("\n")
}

/// Returns a card, as card.js draws it.
pub fn card(card: &FeatureCard) -> Value {
    let fields = |(name, value): &(String, Cell)| json!([cut_text(name), cell(value)]);
    let histogram = card.facts.histogram.as_ref().map(|histogram| {
        let edges: Vec<Value> = histogram.edges.iter().map(|edge| number(*edge)).collect();
        json!([edges, histogram.counts])
    });
    json!({
        "title": cut_text(&card.title),
        "facts": card.facts.fields.iter().map(fields).collect::<Vec<_>>(),
        "histogram": histogram,
        "said": description_values(&card.description),
        "contexts": card.contexts.iter().map(group).collect::<Vec<_>>(),
        "tables": card.tables.iter().map(table).collect::<Vec<_>>(),
        "notes": card.notes.iter().map(|note| cut_text(note)).collect::<Vec<_>>(),
    })
}

/// Returns the scores of all heads, as head_map.js draws them: their names, the size of the map, a row for each head.
pub fn heads(heads: &HeadCards) -> Value {
    let row = |head: &HeadCard| json!([head.layer, head.head, head.scores.all()]);
    json!({
        "title": cut_text(&heads.title),
        "scores": SCORES.map(|name| [name, quantity(name)]),
        "layers": heads.layers,
        "heads": heads.heads,
        "rows": heads.cards.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Returns a group of contexts: of each where it is from, its tokens, and its values other than 0 with their places.
fn group(group: &Group) -> Value {
    let context = |text: &HeatText| {
        let values = text.values.iter().enumerate().filter(|(_, value)| **value != 0.0);
        let values: Vec<Value> = values.map(|(place, value)| json!([place, number(*value)])).collect();
        let tokens: Vec<String> = text.tokens.iter().map(|text| token(text)).collect();
        json!([cut_text(&text.title), tokens, values])
    };
    json!([cut_text(&group.name), group.texts.iter().map(context).collect::<Vec<_>>()])
}

fn table(table: &Table) -> Value {
    let row = |row: &Vec<Cell>| row.iter().map(cell).collect::<Vec<_>>();
    json!([cut_text(&table.title), table.columns, table.rows.iter().map(row).collect::<Vec<_>>()])
}

fn cell(cell: &Cell) -> Value {
    match cell {
        Cell::Missing => Value::Null,
        Cell::Bool(value) => (*value).into(),
        Cell::Int(value) => (*value).into(),
        Cell::Float(value) => number(*value),
        Cell::Text(text) => cut_text(text).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_say_by_how_much() {
        let long = "é".repeat(100_000);
        assert_eq!(token(&long), format!("{}… (99920 more characters)", "é".repeat(80)));
        assert_eq!(token("\u{202e}a\x1b"), "\\u{202e}a␛");
        assert!(cut_text(&long).len() < 5000);
    }

    #[test]
    fn no_text_ends_the_script_that_it_stands_in() {
        let evil = "</script><img src=x>\u{2028}\"\\";
        let text = script("card", evil, &json!({ evil: [evil] })).unwrap();
        assert!(!text[20..].contains("</script"), "{text}");
        let inside = text.strip_prefix("microtome(\"card\", ").and_then(|rest| rest.strip_suffix(");\n")).unwrap();
        let read: Value = serde_json::from_str(&format!("[{inside}]")).unwrap();
        assert_eq!((&read[0], &read[1][evil][0]), (&evil.into(), &evil.into()));
    }

    #[test]
    fn numbers_that_json_has_not_are_named() {
        assert_eq!(number(f64::NAN), Value::from("NaN"));
        assert_eq!(number(0.123_456_789), json!(0.1234568));
        assert_eq!(number(0.0), json!(0.0));
    }
}
