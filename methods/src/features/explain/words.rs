//! Wording of tokens, fragments and explanations in questions and answers.

/// The largest number of characters of a token in questions, where a longer one would take as much room as a whole
/// text.
const LONGEST_TOKEN: usize = 60;

/// The largest number of characters of an explanation.
const LONGEST_EXPLANATION: usize = 500;

/// Returns a token as questions show it.
pub fn shown(token: &str) -> String {
    cut(token, LONGEST_TOKEN)
}

/// Returns an explanation on one line, without control characters.
pub fn one_line(text: &str) -> String {
    let visible: String = text.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
    cut(&visible.split_whitespace().collect::<Vec<_>>().join(" "), LONGEST_EXPLANATION)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// Returns tokens as one text, in which marked ones are between << and >>, several in a row together.
pub fn marked(tokens: &[&str], marks: &[bool]) -> String {
    let is_marked = |at: usize| marks.get(at).copied().unwrap_or_default();
    let mut text = String::new();
    for (at, token) in tokens.iter().enumerate() {
        if is_marked(at) && (at == 0 || !is_marked(at - 1)) {
            text.push_str("<<");
        }
        text.push_str(&shown(token));
        if is_marked(at) && !is_marked(at + 1) {
            text.push_str(">>");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_marked_together() {
        let tokens = ["a", " b", " c", " d", " e"];
        assert_eq!(marked(&tokens, &[true, false, true, true, false]), "<<a>> b<< c d>> e");
        assert_eq!(marked(&tokens, &[false, false, false, false, true]), "a b c d<< e>>");
        assert_eq!(marked(&tokens, &[]), "a b c d e");
    }

    #[test]
    fn no_text_is_longer_than_a_question_can_hold() {
        let long = "é".repeat(100_000);
        assert_eq!(shown(&long).chars().count(), LONGEST_TOKEN + 1);
        assert_eq!(one_line(" <b>a\u{1b}[2J\n\tb\0"), "<b>a [2J b");
        assert_eq!(one_line(&long).chars().count(), LONGEST_EXPLANATION + 1);
    }
}
