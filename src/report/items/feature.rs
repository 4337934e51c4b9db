//! Features: what they stand for, where they are active as heat text, and tables of what is near them.

use serde_json::Value;

use super::heat_text::{spans, woven};
use super::{Item, card};
use crate::base::{Card, HeatText, Result};
use crate::features::FeatureCard;
use crate::features::card::{Description, Group};
use crate::report::html::escape;
use crate::report::json::{json, number};
use crate::report::live::part::{LiveFeature, LiveItem, LivePart};
use crate::report::number::fixed;
use crate::report::terminal::screen::{self, Screen};
use crate::report::visible_text::{count, visible};

/// Maximum number of contexts of a group that are shown in the terminal.
const SHOWN: usize = 5;

impl Item for FeatureCard {
    fn kind(&self) -> &'static str {
        "feature"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        let mut out = lines(&self.title, screen, |line| screen.bold(line));
        if let Some(description) = &self.description {
            out.push_str(&lines(&format!("{} ({})", description.text, held(description)), screen, str::to_owned));
        }
        out.push_str(&Card { title: String::new(), ..self.facts.clone() }.terminal(screen)?);
        let strongest = strongest(self);
        for group in &self.contexts {
            out.push_str(&format!("\n{}", lines(&group.name, screen, |line| screen.bold(line))));
            for text in group.texts.iter().take(SHOWN) {
                text.check()?;
                out.push_str(&woven(&around_strongest(text, screen), strongest, false, screen));
            }
            if group.texts.len() > SHOWN {
                out.push_str(&format!("{}\n", screen.dim(&format!("and {} more", group.texts.len() - SHOWN))));
            }
        }
        for table in &self.tables {
            out.push_str(&format!("\n{}", table.terminal(screen)?));
        }
        for note in &self.notes {
            out.push_str(&lines(note, screen, |line| screen.dim(line)));
        }
        Ok(out)
    }

    fn html(&self) -> Result<String> {
        let mut out = format!("<section class=\"card\"><h3>{}</h3>\n", escape::text(&self.title));
        if let Some(description) = &self.description {
            let text = escape::text(&description.text);
            let held = escape::text(&held(description));
            out.push_str(&format!("<p class=\"meaning\">{text} <small>{held}</small></p>\n"));
        }
        Ok(format!("{out}{}</section>\n", inside(self)?))
    }

    fn data(&self) -> Result<Value> {
        let mut data = json(self)?;
        data["facts"] = self.facts.data()?;
        if let Some(description) = &self.description {
            data["description"]["score"] = number(description.score);
        }
        for (i, group) in self.contexts.iter().enumerate() {
            data["contexts"][i]["texts"] = group.texts.iter().map(Item::data).collect::<Result<Value>>()?;
        }
        data["tables"] = self.tables.iter().map(Item::data).collect::<Result<Value>>()?;
        Ok(data)
    }

    fn live(&self) -> Option<LivePart> {
        let feature = LiveFeature { site: self.site.clone(), feature: self.feature, dictionary: None };
        (!self.site.is_empty()).then(|| LivePart::of_model(LiveItem::Feature(feature)))
    }
}

/// Returns the strongest value of all contexts of a feature, so that equal colours are equal activations.
fn strongest(card: &FeatureCard) -> f64 {
    card.contexts.iter().flat_map(|group| &group.texts).map(HeatText::strongest).fold(0.0, f64::max)
}

/// Writes all of the HTML of a feature but the title, the description and the frame.
pub(super) fn inside(card: &FeatureCard) -> Result<String> {
    let mut out = card::inside(&card.facts)?;
    let strongest = strongest(card);
    for (i, group) in card.contexts.iter().filter(|group| !group.texts.is_empty()).enumerate() {
        // One group is enough at first sight.
        let open = if i == 0 { " open" } else { "" };
        let name = format!("{} ({})", group.name, count(group.texts.len(), "context"));
        let texts = contexts(group, strongest)?;
        out.push_str(&format!("<details{open}><summary>{}</summary>\n{texts}</details>\n", escape::text(&name)));
    }
    if !card.tables.is_empty() {
        let tables = card.tables.iter().map(Item::html).collect::<Result<String>>()?;
        out.push_str(&format!("<div class=\"tables\">{tables}</div>\n"));
    }
    let notes: String =
        card.notes.iter().map(|note| format!("<p class=\"note\">{}</p>\n", escape::text(note))).collect();
    Ok(out + notes.as_str())
}

/// Tells how well a description fits.
fn held(description: &Description) -> String {
    format!("score {} on held-out text", fixed(description.score, 2))
}

fn contexts(group: &Group, strongest: f64) -> Result<String> {
    let mut out = String::from("<ol class=\"contexts\">");
    for text in &group.texts {
        text.check()?;
        let from = match &text.title {
            title if title.is_empty() => String::new(),
            title => format!("<small>{}</small>", escape::text(title)),
        };
        out.push_str(&format!("<li>{from}<span>{}</span></li>\n", spans(text, strongest, false)));
    }
    Ok(out + "</ol>\n")
}

/// Cuts a context to what fits on a line, with its strongest token near the middle.
fn around_strongest(text: &HeatText, screen: &Screen) -> HeatText {
    let size = |value: &f64| if value.is_finite() { value.abs() } else { 0.0 };
    let strongest = (0..text.values.len()).max_by(|a, b| size(&text.values[*a]).total_cmp(&size(&text.values[*b])));
    let Some(strongest) = strongest else { return text.clone() };
    // Two brackets may come to each side of a token.
    let wide = |i: usize| screen::width(&visible(&text.tokens[i])) + if size(&text.values[i]) > 0.0 { 4 } else { 0 };
    let mut from = strongest;
    let mut to = strongest + 1;
    let mut used = wide(strongest);
    loop {
        let before = from.checked_sub(1).map(wide);
        let after = (to < text.tokens.len()).then(|| wide(to));
        let fits = |more: Option<usize>| more.is_some_and(|more| used + more <= screen.width);
        // The shorter side grows, unless it has come to its end.
        let left_is_shorter = strongest - from <= to - strongest;
        match (fits(before), fits(after)) {
            (true, right) if left_is_shorter || !right => {
                from -= 1;
                used += before.unwrap_or(0);
            }
            (_, true) => {
                to += 1;
                used += after.unwrap_or(0);
            }
            _ => break,
        }
    }
    let tokens = text.tokens[from..to].to_vec();
    let values = text.values[from..to].to_vec();
    HeatText { tokens, values, ..text.clone() }
}

/// Breaks a text into lines that fit, each ending in a line end.
fn lines(text: &str, screen: &Screen, style: impl Fn(&str) -> String) -> String {
    screen::wrapped(&visible(text), screen.width).iter().map(|line| format!("{}\n", style(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Cell, Table};

    fn sample() -> FeatureCard {
        let text = |tokens: [&str; 4], values: [f64; 4]| HeatText {
            title: "row 3".into(),
            tokens: tokens.map(String::from).to_vec(),
            values: values.to_vec(),
            quantity: "code".into(),
        };
        let group = |name: &str, texts| Group { name: name.into(), texts };
        FeatureCard {
            feature: 7,
            site: "resid_post.1".into(),
            title: "feature 7 of resid_post.1".into(),
            facts: Card::new("codes", [("density", 0.02.into())]),
            description: Some(Description { text: "token is \"(\"".into(), score: 0.714 }),
            contexts: vec![
                group("strongest", vec![text([" see", " (", "<b>\x1b[2J", "\n"], [0.0, 3.0, 0.0, 0.0])]),
                group("drawn at random", vec![text([" a", " (", "x", ")"], [0.0, 1.2, 0.0, f64::NAN])]),
                group("nowhere", Vec::new()),
            ],
            tables: vec![Table::new("near", ["feature"], [vec![Cell::Int(9)]])],
            notes: vec!["from 1,000 tokens".into()],
        }
    }

    #[test]
    fn a_card_is_read_from_top_to_bottom_in_the_terminal() {
        let expected = "\
feature 7 of resid_post.1
token is \"(\" (score 0.71 on held-out text)
density  0.02

strongest
 see[[ (]]<b>␛[2J↵

drawn at random
 a[ (]x)

nowhere

near
 feature
─────────
       9
from 1,000 tokens
";
        assert_eq!(sample().terminal(&Screen::default()).unwrap(), expected);
    }

    #[test]
    fn on_pages_equal_colours_are_equal_codes_and_nothing_is_markup() {
        let html = sample().html().unwrap();
        // 0.62 is the strongest ground; 1.2 of 3 takes 0.4 of it.
        assert!(
            html.contains("0,0.620)\"> (</span>&lt;b&gt;␛[2J↵") && html.contains("0,0.248)\"> (</span>x"),
            "{html}"
        );
        assert!(html.contains("<summary>strongest (1 context)</summary>") && !html.contains("nowhere"));
        assert!(!html.contains("<b>") && !html.contains('\x1b'));
    }

    #[test]
    fn data_keeps_what_json_has_no_number_for() {
        let data = sample().data().unwrap();
        assert_eq!(data["contexts"][1]["texts"][0]["values"][3], "NaN");
        assert_eq!(data["facts"]["fields"]["density"], 0.02);
        assert_eq!(data["description"]["score"], 0.714);
    }
}
