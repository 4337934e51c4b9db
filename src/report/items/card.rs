//! Cards: facts about one thing, with a small histogram and lines of text.

use serde_json::Value;

use super::Item;
use crate::base::results::Histogram;
use crate::base::{Card, Cell, Result};
use crate::report::chart::{Chart, HistogramCounts};
use crate::report::html::{escape, figure};
use crate::report::json::{cell, json};
use crate::report::number::{self, NumberFormat};
use crate::report::palette;
use crate::report::terminal::screen::{self, Screen};
use crate::report::visible_text::{visible, visible_lines};

/// The columns that a histogram in a line of text takes at most.
const BLOCKS: usize = 40;

crate::options! {
    pub struct CardOptions {
        /// Lines of text under the facts, shown as they are.
        body: Option<String> = None;
    }
}

impl Item for Card {
    fn kind(&self) -> &'static str {
        "card"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        let mut lines: Vec<String> = screen::wrapped(&screen.shortened(&visible(&self.title)), screen.width);
        lines.iter_mut().for_each(|line| *line = screen.bold(line));
        let names = self.fields.iter().map(|(name, _)| screen::width(&visible(name)));
        let widest = names.max().unwrap_or(0).min(screen.width / 2);
        for (name, value) in &self.fields {
            let name = screen::left(&screen::fitted(&visible(name), widest), widest);
            let mut written =
                screen::wrapped(&screen.shortened(&written(value)), screen.width.saturating_sub(widest + 2))
                    .into_iter();
            lines.push(format!("{}  {}", screen.dim(&name), written.next().unwrap_or_default()));
            lines.extend(written.map(|rest| format!("{}  {rest}", " ".repeat(widest))));
        }
        lines.extend(self.histogram.as_ref().map(|h| blocks(h, screen)));
        lines.extend(
            self.body.iter().flat_map(|body| visible_lines(body).lines().map(String::from).collect::<Vec<_>>()),
        );
        Ok(lines.iter().map(|line| format!("{}\n", line.trim_end())).collect())
    }

    fn html(&self) -> Result<String> {
        Ok(format!("<section class=\"card\"><h3>{}</h3>\n{}</section>\n", escape::text(&self.title), inside(self)?))
    }

    fn data(&self) -> Result<Value> {
        let mut data = json(self)?;
        let fields = self.fields.iter().map(|(name, value)| Ok((name.clone(), cell(value)?)));
        data["fields"] = Value::Object(fields.collect::<Result<_>>()?);
        Ok(data)
    }
}

/// Writes all of the HTML of a card but the title and the frame.
pub(super) fn inside(card: &Card) -> Result<String> {
    let mut out = String::from("<div class=\"facts\"><dl>");
    for (name, value) in &card.fields {
        out.push_str(&format!("<dt>{}</dt><dd>{}</dd>\n", escape::text(name), escape::lines(&written(value))));
    }
    out.push_str("</dl>\n");
    if let Some(chart) = card.histogram.as_ref().and_then(drawn) {
        out.push_str(&figure(&chart)?);
    }
    out.push_str("</div>\n");
    if let Some(body) = &card.body {
        out.push_str(&format!("<pre>{}</pre>\n", escape::lines(body)));
    }
    Ok(out)
}

fn written(value: &Cell) -> String {
    NumberFormat::Free.write(value)
}

/// Draws the counts in one line of blocks between the outermost edges.
fn blocks(histogram: &Histogram, screen: &Screen) -> String {
    let (Some(first), Some(last)) = (histogram.edges.first(), histogram.edges.last()) else { return String::new() };
    let pooled = pooled(&histogram.counts, BLOCKS.min(screen.width.saturating_sub(24)).max(1));
    let most = pooled.iter().copied().max().unwrap_or(0).max(1);
    let block = |count: &u64| match *count {
        0 => ' ',
        // What is there at all is seen, however little it is.
        count => ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
            [((count as f64 / most as f64 * 8.0).ceil() as usize).clamp(1, 8) - 1],
    };
    let text: String = pooled.iter().map(block).collect();
    format!("{} {} {}", number::digits(*first, 3), screen.ink(&text, palette::series(0)), number::digits(*last, 3))
}

/// Adds up neighbouring counts, so that at most `most` are left.
fn pooled(counts: &[u64], most: usize) -> Vec<u64> {
    let each = counts.len().div_ceil(most).max(1);
    counts.chunks(each).map(|run| run.iter().fold(0_u64, |sum, c| sum.saturating_add(*c))).collect()
}

/// Returns the histogram as a small chart, if it can be drawn.
fn drawn(histogram: &Histogram) -> Option<Chart> {
    let counts = HistogramCounts { counts: histogram.counts.clone(), ..HistogramCounts::default() };
    let mut chart = Chart { width: 420, height: 180, ..Chart::histogram(histogram.edges.clone(), vec![counts]) };
    chart.y.label = "count".into();
    chart.x.label = "value".into();
    chart.check().is_ok().then_some(chart)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Card {
        let fields = [("shape", "[2, 3]".into()), ("mean", 0.123_456.into()), ("NaN", 0_i64.into())];
        Card {
            histogram: Some(Histogram { edges: vec![-1.0, 0.0, 1.0, 2.0], counts: vec![1, 0, 100] }),
            body: Some("[[1, 2],\n [3, \x1b]]".into()),
            ..Card::new("tensor", fields)
        }
    }

    #[test]
    fn facts_stand_in_columns_and_the_histogram_in_blocks() {
        let expected = "\
tensor
shape  [2, 3]
mean   0.1235
NaN    0
-1 ▁ █ 2
[[1, 2],
 [3, ␛]]
";
        assert_eq!(sample().terminal(&Screen::default()).unwrap(), expected);
    }

    #[test]
    fn a_histogram_without_sense_is_left_out_of_the_page_and_does_no_harm() {
        let mut card = sample();
        card.histogram = Some(Histogram { edges: vec![1.0, 1.0], counts: vec![u64::MAX] });
        assert!(!card.html().unwrap().contains("<svg"));
        assert!(sample().html().unwrap().contains("<svg"));
        card.histogram = Some(Histogram::default());
        assert!(card.terminal(&Screen { width: 1, ..Screen::default() }).is_ok());
    }
}
