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

pub struct Legend {
    key: LegendSymbol,
    palette: Palette,
    entries: Vec<LegendEntry>,
}

struct LegendEntry {
    text: String,
    /// The series that the name belongs to; none for "and 12 more" after the last name.
    series: Option<usize>,
    left: f64,
    row: usize,
}

impl Legend {
    /// Lays out the names that are not empty.
    pub fn new(names: &[impl AsRef<str>], key: LegendSymbol, palette: Palette, width: f64) -> Self {
        let names = names.iter().map(|name| name.as_ref()).enumerate();
        let named: Vec<(usize, &str)> = names.filter(|(_, name)| !name.is_empty()).collect();
        let mut legend = Self { key, palette, entries: Vec::new() };
        let mut x = PAD;
        let mut row = 0;
        let room = width - PAD;
        for (at, (index, name)) in named.iter().enumerate() {
            let name = LABEL.fitted(&elided(&token(name), 48), room - PAD - KEY - 16.0);
            let wide = KEY + 6.0 + LABEL.width(&name) + 18.0;
            let rest = format!("and {} more", named.len() - at);
            let last_row = row + 1 == MOST_ROWS;
            // On the last row there must be room for the count of those that follow.
            let kept = if last_row && at + 1 < named.len() { LABEL.width(&rest) + 6.0 } else { 0.0 };
            if x > PAD && x + wide - 18.0 + kept > room {
                if last_row {
                    legend.entries.push(LegendEntry { text: rest, series: None, left: x, row });
                    break;
                }
                x = PAD;
                row += 1;
            }
            legend.entries.push(LegendEntry { text: name, series: Some(*index), left: x, row });
            x += wide;
        }
        legend
    }

    pub fn height(&self) -> f64 {
        self.entries.last().map_or(0.0, |last| (last.row + 1) as f64 * ROW + 6.0)
    }

    pub fn draw(&self, canvas: &mut Canvas, top: f64) -> Result<()> {
        let middle = |row: usize| top + (row as f64 + 0.5) * ROW;
        for LegendEntry { text, series, left, row } in &self.entries {
            let y = middle(*row);
            let Some(look) = series.map(|index| SeriesStyle::of(index, self.palette)) else {
                canvas.text(text, (*left, y), Anchor::Left, LABEL, INK)?;
                continue;
            };
            match self.key {
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
    fn names_flow_into_rows_and_the_rest_is_counted() {
        let legend = |names: &[&str]| Legend::new(names, LegendSymbol::Line, Palette::Colour, 720.0);
        let few = legend(&["a", "", "b"]);
        assert_eq!((few.entries.len(), few.height()), (2, ROW + 6.0));
        let names: Vec<String> = (0..100).map(|i| format!("a rather long name {i}")).collect();
        let many = legend(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let (last, named) = many.entries.split_last().unwrap();
        assert_eq!(
            (last.row, last.series, &last.text),
            (MOST_ROWS - 1, None, &format!("and {} more", 100 - named.len()))
        );
        assert_eq!(legend(&["", ""]).height(), 0.0);
    }
}
