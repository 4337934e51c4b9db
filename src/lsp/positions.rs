//! Positions of the protocol, a line and a number of UTF-16 code units, and bytes of a text.

use std::ops::Range as Bytes;

use lsp_types::{Position, Range};

/// A text with the bytes at which its lines begin. A line ends with "\n", "\r\n" or "\r", as the protocol has it.
pub struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub fn new(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let ends = (0..bytes.len()).filter(|at| match bytes.get(*at) {
            Some(b'\n') => true,
            Some(b'\r') => bytes.get(*at + 1) != Some(&b'\n'),
            _ => false,
        });
        let starts = std::iter::once(0).chain(ends.map(|end| end + 1)).collect();
        Self { text, starts }
    }

    /// Returns the byte of a position. Behind the end of a line it is that end, and behind the last line the end of
    /// the text.
    pub fn byte(&self, position: Position) -> usize {
        let Some(start) = self.starts.get(position.line as usize).copied() else { return self.text.len() };
        let end = self.starts.get(position.line as usize + 1).copied().unwrap_or(self.text.len());
        let line = self.text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r']);
        let mut units = 0;
        for (at, letter) in line.char_indices() {
            units += letter.len_utf16();
            // Within a letter of two units it is the beginning of that.
            if units > position.character as usize {
                return start + at;
            }
        }
        start + line.len()
    }

    pub fn bytes(&self, range: Range) -> Bytes<usize> {
        let start = self.byte(range.start);
        start..self.byte(range.end).max(start)
    }

    pub fn position(&self, byte: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= byte).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or_default();
        let before = self.text.get(start..byte.min(self.text.len())).unwrap_or_default();
        let units: usize = before.chars().map(char::len_utf16).sum();
        Position { line: line as u32, character: units as u32 }
    }

    pub fn range(&self, bytes: Bytes<usize>) -> Range {
        Range { start: self.position(bytes.start), end: self.position(bytes.end) }
    }

    /// Returns the range of the whole text.
    pub fn whole(&self) -> Range {
        self.range(0..self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_in_units_of_utf_16() {
        let text = "let a = \"é\";\nlet b = \"🙂\" + x;\n";
        let lines = Lines::new(text);
        for (byte, _) in text.char_indices().chain([(text.len(), ' ')]) {
            assert_eq!(lines.byte(lines.position(byte)), byte, "{byte}");
        }
        let x = text.find('x').unwrap();
        assert_eq!(lines.position(x), Position::new(1, 15));
        // The second unit of the emoji is within it.
        assert_eq!(lines.byte(Position::new(1, 10)), text.find('🙂').unwrap());
        assert_eq!(lines.byte(Position::new(1, 9)), text.find('🙂').unwrap());
    }

    #[test]
    fn every_kind_of_line_end_is_one() {
        let text = "a\r\nb\rc\nd";
        let lines = Lines::new(text);
        let starts: Vec<usize> = (0..4).map(|line| lines.byte(Position::new(line, 0))).collect();
        assert_eq!(starts, [0, 3, 5, 7]);
        assert_eq!(lines.byte(Position::new(0, 9)), 1);
        assert_eq!(lines.position(4), Position::new(1, 1));
        assert_eq!(lines.whole(), Range::new(Position::new(0, 0), Position::new(3, 1)));
    }

    #[test]
    fn what_is_outside_of_the_text_is_at_its_end() {
        let lines = Lines::new("ab\n");
        assert_eq!(lines.byte(Position::new(0, u32::MAX)), 2);
        assert_eq!(lines.byte(Position::new(u32::MAX, 0)), 3);
        assert_eq!(lines.byte(Position::new(1, 5)), 3);
        assert_eq!(lines.position(99), Position::new(1, 0));
        assert_eq!(lines.bytes(Range::new(Position::new(1, 0), Position::new(0, 1))), 3..3);
        assert_eq!(Lines::new("").whole(), Range::default());
    }
}
