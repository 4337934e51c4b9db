//! The plain result types: what the core returns and the report draws.

use serde::{Deserialize, Serialize};

use super::{Result, names};
use crate::err;

/// One value of a table or a card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    Missing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl Cell {
    pub fn is_number(&self) -> bool {
        matches!(self, Cell::Int(_) | Cell::Float(_))
    }

    /// Returns a number, which is missing where it is NaN.
    pub fn unless_nan(value: f64) -> Self {
        (!value.is_nan()).then_some(value).into()
    }

    /// Returns both ends of an interval, which are missing where there is none.
    pub fn ends(interval: Option<[f64; 2]>) -> [Self; 2] {
        interval.map_or([None; 2], |ends| ends.map(Some)).map(Self::from)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.into())
    }
}
impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}
impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Cell::Int(value)
    }
}
impl From<usize> for Cell {
    fn from(value: usize) -> Self {
        Cell::Int(value as i64)
    }
}
impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Cell::Int(value.into())
    }
}
impl From<u64> for Cell {
    fn from(value: u64) -> Self {
        Cell::Int(value as i64)
    }
}
impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Cell::Float(value)
    }
}
impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Cell::Bool(value)
    }
}
impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Missing, Into::into)
    }
}

/// Rows under named columns.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Table {
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Makes a table of rows, whose cells stand in the order of the columns.
    pub fn new(
        title: impl Into<String>,
        columns: impl IntoIterator<Item = impl Into<String>>,
        rows: impl IntoIterator<Item = Vec<Cell>>,
    ) -> Self {
        Self {
            title: title.into(),
            columns: columns.into_iter().map(Into::into).collect(),
            rows: rows.into_iter().collect(),
        }
    }

    /// Returns the cells under a name, from the first row to the last.
    pub fn column(&self, name: &str) -> Result<Vec<&Cell>> {
        let place = self.place(name)?;
        Ok(self.rows.iter().map(|row| row.get(place).unwrap_or(&Cell::Missing)).collect())
    }

    /// Returns the place of the column that has a name.
    pub fn place(&self, name: &str) -> Result<usize> {
        let places: Vec<usize> = (0..self.columns.len()).filter(|place| self.columns[*place] == name).collect();
        match places.as_slice() {
            [place] => Ok(*place),
            [] => {
                let near = names::nearest(name, self.columns.iter().map(String::as_str));
                Err(err!(Name, "this table has no column `{name}`").hint(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => self.listed(),
                }))
            }
            several => Err(err!(Name, "expected one column `{name}`, found {}", several.len())
                .hint("`table.rows` has the cells of all columns, row after row")),
        }
    }

    /// Returns the names of the columns as one sentence.
    fn listed(&self) -> String {
        match self.columns.as_slice() {
            [] => "it has no columns".into(),
            columns => format!("it has {}", columns.join(", ")),
        }
    }

    /// Returns one row, each cell with the name of its column.
    pub fn row(&self, place: usize) -> Option<impl Iterator<Item = (&str, &Cell)>> {
        let row = self.rows.get(place)?;
        let cells = (0..self.columns.len()).map(|column| row.get(column).unwrap_or(&Cell::Missing));
        Some(self.columns.iter().map(String::as_str).zip(cells))
    }
}

/// Number that stands for one that is not due, as of a receiver that lies before its sender, or of a cell of a column
/// that is missing. It is NaN to all arithmetic, but has bits of its own: what could not be computed is another thing.
pub const MISSING: f64 = f64::from_bits(0x7ff8_0000_0000_07a2);

/// Returns whether a number is [`MISSING`].
pub fn is_missing(value: f64) -> bool {
    value.to_bits() == MISSING.to_bits()
}

/// A matrix of numbers with a label for every row and column, as of a heat map: sites by positions, layers by heads.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Grid {
    pub title: String,
    pub row_axis: String,
    pub column_axis: String,
    pub rows: Vec<String>,
    pub columns: Vec<String>,
    /// The quantity of the numbers, with their unit: it labels the colour bar.
    pub quantity: String,
    /// Row after row, [`MISSING`] where none is due; `values.len() == rows.len() * columns.len()`.
    pub values: Vec<f64>,
    /// The lower and upper end of the 95 % interval of each value; empty where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<[f64; 2]>,
}

/// Named facts about one thing, with a histogram and a body of text where there are such.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Card {
    pub title: String,
    pub fields: Vec<(String, Cell)>,
    pub histogram: Option<Histogram>,
    /// Preformatted lines, shown as they are.
    pub body: Option<String>,
}

impl Card {
    /// Makes a card of named facts.
    pub fn new(title: impl Into<String>, fields: impl IntoIterator<Item = (impl Into<String>, Cell)>) -> Self {
        let fields = fields.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Self { title: title.into(), fields, ..Self::default() }
    }
}

/// Counts between edges: `edges.len() == counts.len() + 1`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Histogram {
    pub edges: Vec<f64>,
    pub counts: Vec<u64>,
}

/// Tokens with a number each, shown as text on a coloured ground.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HeatText {
    pub title: String,
    pub tokens: Vec<String>,
    pub values: Vec<f64>,
    /// The quantity of the numbers, with their unit.
    pub quantity: String,
}

impl HeatText {
    /// Checks that each token has one value.
    pub fn check(&self) -> Result<()> {
        if self.tokens.len() == self.values.len() {
            return Ok(());
        }
        Err(crate::err!(
            Shape,
            "expected one value for each token, found {} for {}",
            self.values.len(),
            self.tokens.len()
        ))
    }

    /// Returns the largest of the finite values, by size.
    pub fn strongest(&self) -> f64 {
        self.values.iter().filter(|v| v.is_finite()).fold(0.0, |most: f64, v| most.max(v.abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name() {
        let columns = ["step", "loss", "by", "by"];
        let table = Table::new("", columns, [vec![0_i64.into(), 2.5.into()], vec![1_i64.into()]]);
        assert_eq!(table.column("loss"), Ok(vec![&Cell::Float(2.5), &Cell::Missing]));
        let hint = |name: &str| table.column(name).unwrap_err().hint.unwrap();
        assert_eq!(hint("los"), "did you mean `loss`?");
        assert_eq!(hint("fve"), "it has step, loss, by, by");
        assert!(hint("by").contains("`table.rows`"));
        assert_eq!(table.row(1).unwrap().nth(1), Some(("loss", &Cell::Missing)));
        assert!(table.row(2).is_none());
    }

    #[test]
    fn what_is_missing_is_not_what_could_not_be_computed() {
        assert!(is_missing(MISSING) && MISSING.is_nan());
        assert!(![f64::NAN, -f64::NAN, f64::INFINITY, 0.0].into_iter().any(is_missing));
    }
}
