//! The names of the series, in rows between the title and the plot, where they cover nothing.

use super::canvas::{Anchor, Canvas};
use super::layout::{LABEL, PAD};
use super::points::{Look, marker};
use crate::base::Result;
use crate::report::palette::INK;
use crate::report::symbols::{elided, token};

const ROW: f64 = 19.0;
const KEY: f64 = 20.0;
const MOST_ROWS: usize = 4;

/// What the key beside a name shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Line,
    Block,
    Point,
}

pub struct Legend {
    key: Key,
    /// Name, index of the series, and where its key begins.
    entries: Vec<(String, usize, (f64, usize))>,
    rows: usize,
    /// "and 12 more" after the last name.
    more: Option<(String, (f64, usize))>,
}

impl Legend {
    /// Lays out the names that are not empty.
    pub fn new(names: &[&str], key: Key, width: f64) -> Self {
        let named: Vec<(usize, String)> =
            names.iter().enumerate().filter(|(_, n)| !n.is_empty()).map(|(i, n)| (i, elided(&token(n), 48))).collect();
        let mut legend = Self { key, entries: Vec::new(), rows: 0, more: None };
        let (mut x, mut row) = (PAD, 0);
        let room = width - PAD;
        for (at, (index, name)) in named.iter().enumerate() {
            let name = LABEL.fitted(name, room - PAD - KEY - 16.0);
            let wide = KEY + 6.0 + LABEL.width(&name) + 18.0;
            let left = format!("and {} more", named.len() - at);
            let last_row = row + 1 == MOST_ROWS;
            // On the last row there must be room for the count of those that follow.
            let kept = if last_row && at + 1 < named.len() { LABEL.width(&left) + 6.0 } else { 0.0 };
            if x > PAD && x + wide - 18.0 + kept > room {
                if last_row {
                    legend.more = Some((left, (x, row)));
                    break;
                }
                (x, row) = (PAD, row + 1);
            }
            legend.entries.push((name, *index, (x, row)));
            x += wide;
        }
        legend.rows = if legend.entries.is_empty() { 0 } else { row + 1 };
        legend
    }

    pub fn height(&self) -> f64 {
        if self.rows == 0 { 0.0 } else { self.rows as f64 * ROW + 6.0 }
    }

    pub fn draw(&self, canvas: &mut Canvas, top: f64) -> Result<()> {
        let middle = |row: usize| top + (row as f64 + 0.5) * ROW;
        for (name, index, (x, row)) in &self.entries {
            let (y, look) = (middle(*row), Look::of(*index));
            match self.key {
                Key::Line => look.stroke(canvas, &[(*x, y), (x + KEY, y)])?,
                Key::Block => canvas.rectangle((x + 5.0, y - 5.0), (x + 16.0, y + 5.0), look.colour)?,
                Key::Point => marker(canvas, (x + 11.0, y), 4.0, look, 1.0)?,
            }
            canvas.text(name, (x + KEY + 6.0, y), Anchor::Start, LABEL, INK)?;
        }
        if let Some((text, (x, row))) = &self.more {
            canvas.text(text, (*x, middle(*row)), Anchor::Start, LABEL, INK)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_flow_into_rows_and_the_rest_is_counted() {
        let few = Legend::new(&["a", "", "b"], Key::Line, 720.0);
        assert_eq!((few.entries.len(), few.rows, few.more), (2, 1, None));
        let names: Vec<String> = (0..100).map(|i| format!("a rather long name {i}")).collect();
        let many = Legend::new(&names.iter().map(String::as_str).collect::<Vec<_>>(), Key::Line, 720.0);
        assert_eq!(many.rows, MOST_ROWS);
        assert_eq!(many.more.unwrap().0, format!("and {} more", 100 - many.entries.len()));
        assert_eq!(Legend::new(&["", ""], Key::Block, 720.0).height(), 0.0);
    }
}
