//! Attention heads: a table of scores in the terminal; on pages a map, layer by head, coloured by a score, whose cells lead
//! to the cards of heads.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::heat_text::ground;
use super::{Item, feature};
use crate::base::Result;
use crate::base::files::hex;
use crate::features::HeadCards;
use crate::features::heads::{HeadCard, SCORES, quantity};
use crate::report::html::escape;
use crate::report::html::page::HEADS;
use crate::report::json::json;
use crate::report::live::part::{LiveItem, LivePart};
use crate::report::number::{digits, fixed};
use crate::report::terminal::Screen;

/// The score that a map is coloured by at first.
const FIRST: &str = "induction";

impl Item for HeadCards {
    fn kind(&self) -> &'static str {
        "heads"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        self.table().terminal(screen)
    }

    fn html(&self) -> Result<String> {
        let key = key(self)?;
        let map = map(self, &key);
        let cards = self.cards.iter().map(|card| details(card, &key)).collect::<Result<String>>()?;
        Ok(format!("{HEADS} id=\"{key}\">\n{map}{cards}</section>\n"))
    }

    fn data(&self) -> Result<Value> {
        let card = |head: &HeadCard| -> Result<Value> {
            let mut data = json(&head.scores)?;
            data["layer"] = head.layer.into();
            data["head"] = head.head.into();
            data["card"] = head.card.data()?;
            Ok(data)
        };
        let mut data = json(self)?;
        data["scores"] = self.table().data()?;
        data["cards"] = self.cards.iter().map(card).collect::<Result<Value>>()?;
        Ok(data)
    }

    fn live(&self) -> Option<LivePart> {
        Some(LivePart::of_model(LiveItem::Heads))
    }
}

/// Returns the prefix that tells the addresses of these heads from those of others on the same page.
fn key(heads: &HeadCards) -> Result<String> {
    let digest = hex(&Sha256::digest(json(heads)?.to_string().as_bytes()));
    Ok(format!("heads-{}", digest.get(..8).unwrap_or_default()))
}

fn anchor(card: &HeadCard, key: &str) -> String {
    format!("{key}-{}-{}", card.layer, card.head)
}

/// Writes the map: a row for each layer, a cell for each head with all of its scores, the number of the first one shown.
fn map(heads: &HeadCards, key: &str) -> String {
    let shown = SCORES.iter().position(|name| *name == FIRST).unwrap_or_default();
    let strongest = heads.cards.iter().map(|card| card.scores.all()[shown].abs()).fold(0.0, f64::max);
    let names: Vec<String> = SCORES.iter().map(|name| format!("{name}: {}", quantity(name))).collect();
    let head = |head: usize| format!("<th scope=\"col\" class=\"number\">{head}</th>");
    let columns: String = (0..heads.heads).map(head).collect();
    let cell = |card: Option<&HeadCard>| match card {
        None => "<td></td>".into(),
        Some(card) => {
            let scores = card.scores.all();
            let share = if strongest > 0.0 { scores[shown] / strongest } else { 0.0 };
            let all = scores.map(|score| score.to_string()).join(" ");
            format!(
                "<td class=\"number\"><a href=\"#{}\" data-scores=\"{all}\" aria-label=\"head {}.{}\"{}>{}</a></td>",
                anchor(card, key),
                card.layer,
                card.head,
                ground(share),
                fixed(scores[shown], 2)
            )
        }
    };
    let row = |layer: usize| {
        let of = |head: usize| heads.cards.iter().find(|card| card.layer == layer && card.head == head);
        let cells: String = (0..heads.heads).map(|head| cell(of(head))).collect();
        format!("<tr><th scope=\"row\">{layer}</th>{cells}</tr>\n")
    };
    let rows: String = (0..heads.layers).map(row).collect();
    format!(
        "<div class=\"wide\"><table class=\"map\" data-names=\"{}\" data-shown=\"{shown}\">\n\
         <caption>{}: <span class=\"score\">{}</span></caption>\n\
         <thead><tr><th>layer</th>{columns}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n",
        escape::text(&names.join("|")),
        escape::text(&heads.title),
        escape::text(names.get(shown).map_or("", String::as_str))
    )
}

/// Writes the card of a head. Its address stands inside of it, since browsers open what an address is inside of.
fn details(card: &HeadCard, key: &str) -> Result<String> {
    let best = SCORES.iter().zip(card.scores.all()).map(|(name, score)| format!("{name} {}", digits(score, 2)));
    let best = best.collect::<Vec<_>>().join(", ");
    Ok(format!(
        "<details class=\"card feature\"><summary><b>{}</b> <small>{}</small></summary>\n\
         <div id=\"{}\">{}<p class=\"note back\"><a href=\"#{key}\">Back to all heads</a></p></div></details>\n",
        escape::text(&card.card.title),
        escape::text(&best),
        anchor(card, key),
        feature::inside(&card.card)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::HeatText;
    use crate::features::FeatureCard;
    use crate::features::card::Group;
    use crate::features::heads::HeadScores;

    fn sample() -> HeadCards {
        let card = |head: usize| {
            let tokens = vec!["<img src=x>".to_string(), "\u{202e}".into()];
            let text = HeatText { tokens, values: vec![1.0, 0.0], ..HeatText::default() };
            let card = FeatureCard {
                feature: head,
                title: format!("head 1.{head}"),
                contexts: vec![Group { name: "strongest".into(), texts: vec![text] }],
                ..FeatureCard::default()
            };
            let scores = HeadScores { induction: 0.25 * (1 + head) as f64, ablation: -0.5, ..HeadScores::default() };
            HeadCard { layer: 1, head, scores, card }
        };
        HeadCards { title: "heads of <b>".into(), layers: 2, heads: 2, cards: vec![card(0), card(1)] }
    }

    #[test]
    fn every_cell_leads_to_a_card_and_back() {
        let page = sample().html().unwrap();
        let key = key(&sample()).unwrap();
        for head in 0..2 {
            assert_eq!(page.matches(&format!("<div id=\"{key}-1-{head}\">")).count(), 1);
            assert!(page.contains(&format!("<a href=\"#{key}-1-{head}\" data-scores=")));
        }
        assert_eq!(page.matches("<td></td>").count(), 2, "{page}");
        assert!(page.contains("data-scores=\"0 0 0.5 0 0 -0.5\"") && page.contains(",0.620)\">0.50</a>"), "{page}");
        assert!(!page.contains("<img") && !page.contains("<b>\u{202e}") && page.contains("heads of &lt;b&gt;"));
    }

    #[test]
    fn the_data_has_the_table_and_the_cards() {
        let data = sample().data().unwrap();
        assert_eq!(data["cards"][1]["induction"], 0.5);
        assert_eq!(data["cards"][1]["card"]["title"], "head 1.1");
        assert_eq!(data["scores"]["rows"][0][4], 0.25);
    }
}
