//! Pages of lenses: on a page the likeliest tokens by layer and position of all lenses side by side, with a panel of what is
//! pointed at; in the terminal a table for each lens.

use serde_json::{Value, json};

use super::Item;
use crate::base::{Cell, Result, Table};
use crate::model::by_words::TokenRank;
use crate::model::reading::lens::Guess;
use crate::model::reading::lens_page::{LensPage, PageLens, TrackedToken};
use crate::report::html::escape;
use crate::report::html::page::LENSES;
use crate::report::json::number;
use crate::report::live::part::{LiveItem, LiveLenses, LivePart};
use crate::report::number::fixed;
use crate::report::terminal::Screen;
use crate::report::visible_text;

impl Item for LensPage {
    fn kind(&self) -> &'static str {
        "lenses"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        let tables = self.lenses.iter().map(|lens| table(self, lens).terminal(screen));
        Ok(tables.collect::<Result<Vec<_>>>()?.join("\n"))
    }

    fn html(&self) -> Result<String> {
        let maps: String = self.lenses.iter().enumerate().map(|(number, lens)| map(self, number, lens)).collect();
        let data = escape::text(&shown(self).to_string());
        Ok(format!("{LENSES} data-page=\"{data}\">\n<div class=\"side\">\n{maps}</div>\n</section>\n"))
    }

    fn data(&self) -> Result<Value> {
        let guess = |guess: &Guess| json!({ "id": guess.token, "token": self.name(guess.token), "probability": number(guess.probability) });
        let cells = |positions: &Vec<Vec<Guess>>| -> Value {
            positions.iter().map(|guesses| guesses.iter().map(guess).collect::<Value>()).collect()
        };
        let layers = |lens: &PageLens| -> Value {
            lens.guesses.iter().map(|layer| layer.as_ref().map_or(Value::Null, cells)).collect()
        };
        let lens = |lens: &PageLens| json!({ "name": lens.name, "guesses": layers(lens) });
        let token = |token: &TrackedToken| {
            let rank = |layer: &Option<_>| layer.map_or(Value::Null, rank);
            let ranks: Value = token.ranks.iter().map(|layers| layers.iter().map(rank).collect::<Value>()).collect();
            json!({ "id": token.id, "token": self.name(token.id), "ranks": ranks })
        };
        let tracked: Value = self.tracked.iter().map(|tokens| tokens.iter().map(token).collect::<Value>()).collect();
        Ok(json!({
            "ids": self.ids,
            "positions": self.positions,
            "tokens": self.ids.iter().map(|id| self.name(*id)).collect::<Vec<_>>(),
            "lenses": self.lenses.iter().map(lens).collect::<Vec<_>>(),
            "tracked": tracked,
            "pinned": self.pinned,
        }))
    }

    fn live(&self) -> Option<LivePart> {
        let cells = self.lenses.iter().flat_map(|lens| &lens.guesses).flatten().flatten();
        let guesses = cells.map(Vec::len).max().unwrap_or_default();
        Some(LivePart::of_model(LiveItem::Lenses(LiveLenses { guesses, pinned: self.pinned.clone() })))
    }
}

fn rank(rank: TokenRank) -> Value {
    json!({ "rank": rank.rank, "probability": number(rank.probability) })
}

/// Names a token as it is shown; spaces at its ends are seen.
fn shown_name(page: &LensPage, id: u32) -> String {
    visible_text::token(&page.name(id))
}

/// Names the token of the text at a position.
fn token_at(page: &LensPage, position: usize) -> String {
    page.ids.get(position).map_or_else(String::new, |id| shown_name(page, *id))
}

/// Returns what the page's script reads: names of tokens, those of the text, for each lens, layer and position the guesses
/// as ids and probabilities, for each position its tokens with rank and probability by lens and layer, and the tokens that
/// are pinned when it is opened.
fn shown(page: &LensPage) -> Value {
    let short = |value: f64| number(format!("{value:.5e}").parse().unwrap_or(value));
    let guess = |guess: &Guess| json!([guess.token, short(guess.probability)]);
    let cells = |positions: &Vec<Vec<Guess>>| -> Value {
        positions.iter().map(|guesses| guesses.iter().map(guess).collect::<Value>()).collect()
    };
    let lens = |lens: &PageLens| -> Value {
        let layers: Value = lens.guesses.iter().map(|layer| layer.as_ref().map_or(Value::Null, cells)).collect();
        json!([visible_text::visible(&lens.name), layers])
    };
    let token = |token: &TrackedToken| -> (String, Value) {
        let ranks = token.ranks.iter().map(|layers| -> Value {
            layers
                .iter()
                .map(|rank| rank.map_or(Value::Null, |rank| json!([rank.rank, short(rank.probability)])))
                .collect()
        });
        (token.id.to_string(), ranks.collect())
    };
    let of_position =
        |tokens: &Vec<TrackedToken>| Value::Object(tokens.iter().map(token).collect::<serde_json::Map<_, _>>());
    let names: serde_json::Map<String, Value> =
        page.names.keys().map(|id| (id.to_string(), shown_name(page, *id).into())).collect();
    json!({
        "names": names,
        "ids": page.ids,
        "positions": page.positions,
        "lenses": page.lenses.iter().map(lens).collect::<Vec<_>>(),
        "tracked": page.tracked.iter().map(of_position).collect::<Vec<_>>(),
        "pinned": page.pinned,
    })
}

/// Tabulates the likeliest tokens of a lens: a row for each layer, a column for each position.
fn table(page: &LensPage, lens: &PageLens) -> Table {
    let columns = page.positions.iter().map(|at| format!("{at} {}", token_at(page, *at)));
    let cell = |guesses: &Vec<Guess>| Cell::from(guesses.first().map(|guess| shown_name(page, guess.token)));
    let row = |(layer, positions): (usize, &Option<Vec<Vec<Guess>>>)| {
        let cells: Vec<Cell> = match positions {
            Some(positions) => positions.iter().map(cell).collect(),
            None => vec![Cell::Missing; page.positions.len()],
        };
        std::iter::once(Cell::from(layer)).chain(cells).collect()
    };
    Table::new(
        format!("{}: the likeliest next token", lens.name),
        std::iter::once("layer".to_string()).chain(columns),
        lens.guesses.iter().enumerate().map(row),
    )
}

/// Writes the likeliest tokens of a lens. The page's script lays each on a ground as strong as its probability, so that a
/// page that allows no styles in what it is sent has these maps, too.
fn map(page: &LensPage, number: usize, lens: &PageLens) -> String {
    let column =
        |at: &usize| format!("<th scope=\"col\" title=\"position {at}\">{}</th>", escape::text(&token_at(page, *at)));
    let columns: String = page.positions.iter().map(column).collect();
    let cell = |layer: usize, at: usize, guesses: Option<&Vec<Guess>>| match guesses.and_then(|all| all.first()) {
        None => "<td></td>".to_string(),
        Some(first) => format!(
            "<td data-at=\"{number} {layer} {at}\" title=\"{}\">{}</td>",
            escape::text(&listed(page, guesses)),
            escape::text(&shown_name(page, first.token))
        ),
    };
    let row = |(layer, positions): (usize, &Option<Vec<Vec<Guess>>>)| {
        let of = |at: usize| cell(layer, at, positions.as_ref().and_then(|positions| positions.get(at)));
        let cells: String = (0..page.positions.len()).map(of).collect();
        format!("<tr><th scope=\"row\">{layer}</th>{cells}</tr>\n")
    };
    let rows: String = lens.guesses.iter().enumerate().map(row).collect();
    let name = escape::text(&lens.name);
    format!(
        "<figure><figcaption>{name}</figcaption><div class=\"wide\"><table aria-label=\"{name}\">\n\
         <thead><tr><th scope=\"col\">layer</th>{columns}</tr></thead>\n<tbody>\n{rows}</tbody></table></div></figure>\n"
    )
}

/// Lists guesses with their probabilities.
fn listed(page: &LensPage, guesses: Option<&Vec<Guess>>) -> String {
    let one = |guess: &Guess| format!("{} {} %", shown_name(page, guess.token), fixed(100.0 * guess.probability, 1));
    guesses.into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn sample() -> LensPage {
        let guess = |token, probability| Guess { token, probability };
        let rank = |rank, probability| Some(TokenRank { rank, probability });
        LensPage {
            ids: vec![0, 1],
            positions: vec![0, 1],
            lenses: vec![
                PageLens {
                    name: "logit lens".into(),
                    guesses: vec![Some(vec![vec![guess(1, 0.5)], vec![guess(0, 1.0)]])],
                },
                PageLens { name: "tuned lens".into(), guesses: vec![None] },
            ],
            tracked: vec![
                vec![TrackedToken { id: 1, ranks: vec![vec![rank(1, 0.5)], vec![None]] }],
                vec![TrackedToken { id: 0, ranks: vec![vec![rank(1, 1.0)], vec![None]] }],
            ],
            pinned: vec![0],
            names: BTreeMap::from([(0, "</script>\"\u{202e}\n".into()), (1, " the".into())]),
        }
    }

    #[test]
    fn the_page_holds_what_its_script_reads_and_nothing_is_markup() {
        let html = sample().html().unwrap();
        assert!(html.starts_with("<section class=\"lenses\" data-page=\""));
        assert!(!html.contains("<script") && !html.contains("</script") && !html.contains('\u{202e}'), "{html}");
        let data = html.split("data-page=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let data = data.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&#39;", "'");
        let data: Value = serde_json::from_str(&data.replace("&amp;", "&")).unwrap();
        assert_eq!(data["lenses"][0][1][0][0][0], json!([1, 0.5]));
        assert_eq!(data["lenses"][1][1][0], Value::Null);
        assert_eq!(data["tracked"][0]["1"], json!([[[1, 0.5]], [null]]));
        assert_eq!(data["pinned"], json!([0]));
        assert_eq!(html.matches("data-at=").count(), 2);
        assert_eq!(html.matches("<td></td>").count(), 2);
    }

    #[test]
    fn data_and_tables_have_the_same_tokens() {
        let data = sample().data().unwrap();
        assert_eq!(data["lenses"][0]["guesses"][0][0][0]["token"], " the");
        assert_eq!(data["tracked"][1][0]["ranks"][0][0]["rank"], 1);
        let text = sample().terminal(&Screen::default()).unwrap();
        assert!(text.contains("logit lens") && text.contains("tuned lens"), "{text}");
    }
}
