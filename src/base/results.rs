//! The plain result types: what the core returns and the report draws.

use serde::{Deserialize, Serialize};

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

/// Rows under named columns.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Table {
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

/// A matrix of numbers with a label for every row and column, as of a heat map: sites by positions, layers by heads.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Grid {
    pub title: String,
    pub row_axis: String,
    pub column_axis: String,
    pub rows: Vec<String>,
    pub columns: Vec<String>,
    /// What the numbers are, with their unit: it labels the colour bar.
    pub quantity: String,
    /// Row after row; `values.len() == rows.len() * columns.len()`.
    pub values: Vec<f64>,
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
    /// What the numbers are, with their unit.
    pub quantity: String,
}
