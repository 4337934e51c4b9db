//! Quotations: opening and closing marks.

use super::apostrophes::{self, Sense};
use super::{APOSTROPHES, Col, Letter, Pen, SignPair, nested, prefixed, run};

pub const DOUBLE: usize = 1;
pub const SINGLE: usize = 2;

/// An opening mark whose closing mark has not been found yet.
struct OpenQuote {
    kind: usize,
    at: usize,
}

/// Marks the quotations and apostrophes of one paragraph. A quotation that is not closed within it does not count.
pub fn mark(letters: &[Letter], pen: &mut Pen) {
    let mut found = QuoteSearch { letters, open: Vec::new(), pairs: Vec::new() };
    for (index, letter) in letters.iter().enumerate() {
        match letter.sign {
            '“' => found.opens(DOUBLE, index),
            '”' => found.closes(DOUBLE, index),
            '"' => found.straight(index),
            '\'' | '’' | '‘' => match apostrophes::sense(letters, index, found.is_open(SINGLE)) {
                Sense::Apostrophe(kind) => pen.mark(Col::Apostrophe, letter.at, letter.end(), kind),
                Sense::Opens => found.opens(SINGLE, index),
                Sense::Closes => found.closes(SINGLE, index),
                Sense::Nothing => {}
            },
            _ => {}
        }
    }
    write(letters, found.pairs, pen);
}

fn write(letters: &[Letter], pairs: Vec<SignPair>, pen: &mut Pen) {
    for (pair, depth) in nested(pairs) {
        let (Some(open), Some(close)) = (letters.get(pair.open), letters.get(pair.close)) else { continue };
        pen.mark(Col::Quote, open.at, close.end(), pair.kind);
        pen.mark(Col::QuoteDepth, open.at, close.end(), depth);
        for (sign, value) in [(open, 1), (close, 2)] {
            pen.mark(Col::QuoteSign, sign.at, sign.end(), value);
            if pair.kind == SINGLE {
                pen.mark(Col::Apostrophe, sign.at, sign.end(), APOSTROPHES.len());
            }
        }
    }
}

struct QuoteSearch<'a> {
    letters: &'a [Letter],
    open: Vec<OpenQuote>,
    pairs: Vec<SignPair>,
}

impl QuoteSearch<'_> {
    fn is_open(&self, kind: usize) -> bool {
        self.open.iter().any(|open| open.kind == kind)
    }

    /// Marks the quotations and apostrophes of one paragraph. A quotation that is not closed within it does not count.
    fn opens(&mut self, kind: usize, at: usize) {
        self.open.retain(|open| open.kind != kind);
        self.open.push(OpenQuote { kind, at });
    }

    fn closes(&mut self, kind: usize, at: usize) {
        let found = self.open.iter().rposition(|open| open.kind == kind);
        if let Some(open) = found.and_then(|found| self.open.drain(found..).next()) {
            self.pairs.push(SignPair { open: open.at, close: at, kind });
        }
    }

    /// Handles a straight mark, which may open or close.
    fn straight(&mut self, at: usize) {
        if run(self.letters, at) >= 3 {
            return;
        }
        let before = at.checked_sub(1).and_then(|at| self.letters.get(at)).map(|letter| letter.sign);
        let after = self.letters.get(at + 1).map(|letter| letter.sign);
        let blank_before = before.is_none_or(char::is_whitespace);
        // A closing mark has no space before it and a word after it, so this one opens, and the open one has no match.
        let opens_anew = blank_before && after.is_some_and(char::is_alphanumeric);
        if self.is_open(DOUBLE) && !opens_anew {
            self.closes(DOUBLE, at);
        } else if after.is_some_and(|sign| !sign.is_whitespace())
            && (before.is_none_or(|sign| !sign.is_alphanumeric()) || prefixed(self.letters, at))
        {
            self.opens(DOUBLE, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;

    #[test]
    fn quotations_reach_from_mark_to_mark() {
        assert_eq!(line("He said \"no (\" x", "quote"), "........111111..");
        assert_eq!(line("“a ‘b’ c”", "quote"), "111222111");
        assert_eq!(line("“a ‘b’ c”", "quote_depth"), "111222111");
        assert_eq!(line("“a ‘b’ c”", "quote_sign"), "1..1.2..2");
        assert_eq!(line("f(b\"x\", \"\")", "quote"), "...111..11.");
        assert_eq!(line("\"\"\"doc\"\"\"", "quote"), ".........");
    }

    #[test]
    fn what_is_not_closed_in_its_paragraph_is_no_quotation() {
        assert_eq!(line("a \"b\n\nc \"d\" 5\"", "quote"), "........111...");
        assert_eq!(line("\"a b, \"c\"", "quote"), "......111");
    }
}
