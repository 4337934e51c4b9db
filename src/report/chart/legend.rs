//! The names of the series, in rows between the title and the plot, where they cover nothing.

use super::points::marker;
use super::*;
use crate::report::draw::canvas::Anchor;
use crate::report::draw::layout::{LABEL, PAD};
use crate::report::palette::INK;

const ROW: f64 = 19.0;
const KEY: f64 = 20.0;
const MOST_ROWS: usize = 4;

/// Shape of the key beside a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegendSymbol {
    Line,
    Block,
    Point,
}

/// Names with the looks of their series, and the shape of the keys beside them.
#[derive(Debug, Clone, PartialEq)]
pub struct LegendKeys {
    pub symbol: LegendSymbol,
    /// Names of the series, empty where one has none.
    pub names: Vec<String>,
    pub styles: Vec<SeriesStyle>,
}

impl LegendKeys {
    /// Returns the keys of a chart.
    pub fn of(chart: &Chart) -> Self {
        Self { symbol: chart.content.kind().symbol(), names: chart.listed(), styles: chart.styles() }
    }
}

pub struct Legend {
    symbol: LegendSymbol,
    entries: Vec<LegendEntry>,
}

struct LegendEntry {
    text: String,
    /// Look of the series that the name belongs to; none for "and 12 more" after the last name.
    style: Option<SeriesStyle>,
    left: f64,
    row: usize,
}

impl Legend {
    /// Lays out the names that are not empty.
    pub fn new(keys: &LegendKeys, width: f64, font: Font) -> Self {
        let label = LABEL.of(font);
        let all = keys.names.iter().zip(&keys.styles);
        let named: Vec<(&String, &SeriesStyle)> = all.filter(|(name, _)| !name.is_empty()).collect();
        let mut legend = Self { symbol: keys.symbol, entries: Vec::new() };
        let mut x = PAD;
        let mut row = 0;
        let room = width - PAD;
        for (at, (name, style)) in named.iter().enumerate() {
            let name = label.fitted(&elided(&token(name), 48), room - PAD - KEY - 16.0);
            let wide = KEY + 6.0 + label.width(&name) + 18.0;
            let rest = format!("and {} more", named.len() - at);
            let last_row = row + 1 == MOST_ROWS;
            // On the last row there must be room for the count of those that follow.
            let kept = if last_row && at + 1 < named.len() { label.width(&rest) + 6.0 } else { 0.0 };
            if x > PAD && x + wide - 18.0 + kept > room {
                if last_row {
                    legend.entries.push(LegendEntry { text: rest, style: None, left: x, row });
                    break;
                }
                x = PAD;
                row += 1;
            }
            legend.entries.push(LegendEntry { text: name, style: Some(**style), left: x, row });
            x += wide;
        }
        legend
    }

    pub fn height(&self) -> f64 {
        self.entries.last().map_or(0.0, |last| (last.row + 1) as f64 * ROW + 6.0)
    }

    pub fn draw(&self, canvas: &mut Canvas, top: f64) -> Result<()> {
        let middle = |row: usize| top + (row as f64 + 0.5) * ROW;
        for LegendEntry { text, style, left, row } in &self.entries {
            let y = middle(*row);
            let Some(look) = *style else {
                canvas.text(text, (*left, y), Anchor::Left, LABEL, INK)?;
                continue;
            };
            match self.symbol {
                LegendSymbol::Line => look.stroke(canvas, &[(*left, y), (left + KEY, y)])?,
                LegendSymbol::Block => canvas.rectangle((left + 5.0, y - 5.0), (left + 16.0, y + 5.0), look.colour)?,
                LegendSymbol::Point => marker(canvas, (left + 11.0, y), 4.0, look, 1.0)?,
            }
            canvas.text(text, (left + KEY + 6.0, y), Anchor::Left, LABEL, INK)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_numbers_and_others_take_those_that_are_left() {
        let numbers = |names: &[&str]| {
            let series = |name: &&str| Series { name: name.to_string(), ..Series::default() };
            let colour_numbers =
                [("b", 0_usize), ("elsewhere", 2)].map(|(name, number)| (name.to_string(), number)).into();
            Chart { colour_numbers, ..Chart::line(names.iter().map(series).collect()) }.numbers()
        };
        assert_eq!(numbers(&["a", "b", "c", "d"]), [1, 0, 3, 4]);
        assert_eq!(numbers(&["b"]), [0]);
        // Dashes and markers are of the number, too.
        let mut chart = Chart::line(vec![Series { name: "b".into(), ..Series::default() }]);
        chart.colour_numbers = [("b".to_string(), 7_usize)].into();
        let keys = LegendKeys::of(&chart);
        assert_eq!(keys.styles, [SeriesStyle::of(7, Palette::Colour)]);
        assert_ne!(keys.styles, [SeriesStyle::of(1, Palette::Colour)]);
    }

    #[test]
    fn names_flow_into_rows_and_the_rest_is_counted() {
        let legend = |names: &[&str]| {
            let series = |name: &&str| Series { name: name.to_string(), ..Series::default() };
            Legend::new(&LegendKeys::of(&Chart::line(names.iter().map(series).collect())), 720.0, Font::Sans)
        };
        let few = legend(&["a", "", "b"]);
        assert_eq!((few.entries.len(), few.height()), (2, ROW + 6.0));
        let names: Vec<String> = (0..100).map(|i| format!("a rather long name {i}")).collect();
        let many = legend(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let (last, named) = many.entries.split_last().unwrap();
        assert_eq!(
            (last.row, last.style, &last.text),
            (MOST_ROWS - 1, None, &format!("and {} more", 100 - named.len()))
        );
        assert_eq!(legend(&["", ""]).height(), 0.0);
    }
}
