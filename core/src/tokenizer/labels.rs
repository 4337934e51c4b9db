//! Labels of the tokens of a text: named columns of values, aligned with any tokenizer through byte offsets.

use crate::common::*;

/// The byte of a token that decides its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecidingByte {
    /// First byte that is not blank: the label of what the token is.
    First,
    /// Last byte: the label of what is known after the token, such as that a closing parenthesis is due.
    Last,
}

/// The kind of values that a column has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnKind {
    /// Numbers, such as a depth; 0 where nothing is marked.
    Number,
    /// Kinds by name, such as of a parenthesis; 0 is none of them, 1 the first.
    Kind(Vec<&'static str>),
    /// The number of tokens since something occurred: a mark's value is the byte where it occurred. 0 where nothing is
    /// marked, and at that token itself.
    Since,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub of: DecidingByte,
    pub values: ColumnKind,
}

/// A value that holds for a range of bytes, in one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub column: u16,
    pub start: u32,
    pub end: u32,
    pub value: u32,
}

/// The marks of one text. Where two of a column overlap, the later one in the list holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    pub columns: Arc<[Column]>,
    pub marks: Vec<Mark>,
}

/// The values of every token of a text, column by column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    pub columns: Arc<[Column]>,
    /// The values as `values[column][token]`.
    pub values: Vec<Vec<u32>>,
}

impl Labels {
    /// Returns one column and its values.
    pub fn column(&self, name: &str) -> Option<(&Column, &[u32])> {
        let at = self.columns.iter().position(|column| column.name == name)?;
        Some((&self.columns[at], &self.values[at]))
    }
}

impl Marks {
    /// Computes the values of tokens that stand for these bytes of the text. A token of no bytes has none.
    pub fn aligned(&self, text: &str, offsets: &[Range<usize>]) -> Labels {
        let mut values = vec![vec![0; offsets.len()]; self.columns.len()];
        for mark in &self.marks {
            let (column, line) =
                match (self.columns.get(usize::from(mark.column)), values.get_mut(mark.column as usize)) {
                    (Some(column), Some(line)) => (column, line),
                    _ => continue,
                };
            let start = mark.start as usize;
            let end = mark.end as usize;
            // Offsets ascend, so the tokens that may share a byte with the mark are adjacent.
            let from = offsets.partition_point(|range| range.end <= start);
            let since = offsets.partition_point(|range| range.end <= mark.value as usize);
            for (token, range) in offsets.iter().enumerate().skip(from).take_while(|(_, range)| range.start < end) {
                let decides = match column.of {
                    DecidingByte::First => first_byte(text, range),
                    DecidingByte::Last => range.end.saturating_sub(1),
                };
                if range.is_empty() || !(start..end).contains(&decides) {
                    continue;
                }
                line[token] = match column.values {
                    ColumnKind::Since => token.saturating_sub(since) as u32,
                    ColumnKind::Number | ColumnKind::Kind(_) => mark.value,
                };
            }
        }
        Labels { columns: self.columns.clone(), values }
    }
}

/// Returns the first byte of a token that is not blank, or its first byte.
fn first_byte(text: &str, range: &Range<usize>) -> usize {
    let bytes = text.as_bytes().get(range.clone()).unwrap_or_default();
    let blanks = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    if blanks == bytes.len() { range.start } else { range.start + blanks }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(marks: Vec<Mark>) -> Marks {
        let columns = [
            Column { name: "depth", of: DecidingByte::First, values: ColumnKind::Number },
            Column { name: "due", of: DecidingByte::Last, values: ColumnKind::Kind(vec!["due"]) },
            Column { name: "since", of: DecidingByte::First, values: ColumnKind::Since },
        ];
        Marks { columns: columns.into(), marks }
    }

    #[test]
    fn the_deciding_byte_of_a_token_gives_it_its_value() {
        //          0123456789
        let text = "as (NASA) ";
        let offsets = [0..2, 2..4, 4..6, 6..8, 8..9, 9..9, 9..10];
        let found = marks(vec![
            Mark { column: 0, start: 3, end: 9, value: 1 },
            Mark { column: 1, start: 7, end: 8, value: 1 },
            Mark { column: 2, start: 3, end: 9, value: 3 },
        ])
        .aligned(text, &offsets);
        assert_eq!(found.column("depth").unwrap().1, [0, 1, 1, 1, 1, 0, 0]);
        assert_eq!(found.column("due").unwrap().1, [0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(found.column("since").unwrap().1, [0, 0, 1, 2, 3, 0, 0]);
        assert_eq!(found.column("other"), None);
    }

    #[test]
    fn a_later_mark_lies_over_an_earlier_one() {
        let found =
            marks(vec![Mark { column: 0, start: 0, end: 6, value: 1 }, Mark { column: 0, start: 2, end: 4, value: 2 }]);
        assert_eq!(found.aligned("((()))", &[0..2, 2..4, 4..6]).values[0], [1, 2, 1]);
    }
}
