//! Lines: their starts, their indentation, and paragraphs, which empty lines separate.

use super::{Col, Letter, Pen};

/// The width of a tab.
const TAB: usize = 8;

pub fn mark(text: &str, pen: &mut Pen) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let blank = |sign: &char| matches!(sign, ' ' | '\t');
        let indent = line.chars().take_while(blank).fold(0, |column, sign| match sign {
            '\t' => (column / TAB + 1) * TAB,
            _ => column + 1,
        });
        let first = line.char_indices().find(|(_, sign)| !sign.is_whitespace());
        if let Some((at, sign)) = first {
            pen.mark(Col::LineStart, start + at, start + at + sign.len_utf8(), 1);
            if indent > 0 {
                pen.mark(Col::Indent, start, end, indent);
            }
        }
        start = end;
    }
}

/// Returns the paragraphs: the text between empty or blank lines.
pub fn paragraphs(letters: &[Letter]) -> impl Iterator<Item = &[Letter]> {
    let mut rest = letters;
    std::iter::from_fn(move || {
        let mut ended = false;
        let mut cut = rest.len();
        for (index, letter) in rest.iter().enumerate() {
            match letter.sign {
                '\n' if ended => {
                    cut = index + 1;
                    break;
                }
                '\n' => ended = true,
                sign if !sign.is_whitespace() => ended = false,
                _ => {}
            }
        }
        let (paragraph, after) = rest.split_at_checked(cut)?;
        rest = after;
        (!paragraph.is_empty()).then_some(paragraph)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;
    use super::*;

    #[test]
    fn lines_start_at_their_first_letter() {
        assert_eq!(line("a b\n  cd\n\n\te", "line_start"), "1.....1....1");
        assert_eq!(line(" ab\nc\n\td", "indent"), "1111..88");
    }

    #[test]
    fn paragraphs_are_the_whole_text() {
        let text = "one\ntwo\n \nthree\n\n\nfour";
        let letters: Vec<Letter> = text.char_indices().map(|(at, sign)| Letter { at, sign }).collect();
        let found: Vec<String> = paragraphs(&letters).map(|part| part.iter().map(|l| l.sign).collect()).collect();
        assert_eq!(found, ["one\ntwo\n \n", "three\n\n", "\nfour"]);
    }
}
