//! Colours for the line that is being typed. A name is coloured as known only if it is.

use super::commands;
use crate::script::Session;
use crate::script::docs::syntax_colours::{Paint, paint};
use crate::script::engine::tokens::{CLOSING, OPENING, Token, TokenKind, tokens};

/// Returns the terminal's own code of a colour, so that it suits its ground; never red, which is for errors.
fn code_of(paint: Paint) -> &'static str {
    match paint {
        Paint::Keyword => "35",
        Paint::Text => "32",
        Paint::Number => "36",
        Paint::Comment => "2",
        Paint::Module => "34",
        Paint::Function => "33",
        Paint::Command => "1",
        Paint::Bracket => "1;4",
    }
}

/// Returns the line with escape codes; it is as wide as the line itself. `cursor` is None once the line is sent off.
pub fn painted(line: &str, cursor: Option<usize>, session: &Session) -> String {
    let mut text = String::with_capacity(line.len() * 2);
    let mut at = 0;
    for (token, paint) in spans(line, cursor, session) {
        text.push_str(&line[at..token.start]);
        text.push_str(&format!("\x1b[{}m{}\x1b[0m", code_of(paint), token.of(line)));
        at = token.end;
    }
    text.push_str(&line[at..]);
    text
}

/// Returns the parts that are coloured, in the order of the line.
pub fn spans(line: &str, cursor: Option<usize>, session: &Session) -> Vec<(Token, Paint)> {
    let (head, code_start) = head(line);
    let mut spans: Vec<(Token, Paint)> = head.into_iter().collect();
    let code: Vec<Token> = tokens(&line[code_start..])
        .into_iter()
        .map(|t| Token { start: t.start + code_start, end: t.end + code_start, ..t })
        .collect();
    let brackets = cursor.map(|cursor| brackets(line, &code, cursor)).unwrap_or_default();
    let docs = session.docs();
    for (index, token) in code.iter().enumerate() {
        let paint = if brackets.contains(&index) { Some(Paint::Bracket) } else { paint(line, &code, index, &docs) };
        spans.extend(paint.map(|paint| (*token, paint)));
    }
    spans
}

/// Returns `:command` or `?` at the beginning of the line, and where the code after it begins. A question has no code.
fn head(line: &str) -> (Option<(Token, Paint)>, usize) {
    let start = line.len() - line.trim_start().len();
    let token = |end: usize| Token { kind: TokenKind::Word, start, end, open: false };
    if let Some(rest) = line[start..].strip_prefix(':') {
        let name = rest.split_whitespace().next().unwrap_or_default();
        let end = start + 1 + if rest.starts_with(name) { name.len() } else { 0 };
        let known = commands::find(name).is_some();
        return (known.then(|| (token(end), Paint::Command)), end);
    }
    let marks = line[start..].bytes().take_while(|b| *b == b'?').count();
    if marks > 0 { (Some((token(start + marks), Paint::Command)), line.len()) } else { (None, 0) }
}

/// Returns the bracket at the cursor, or the one just before it, with its partner; none if it has no partner.
fn brackets(line: &str, code: &[Token], cursor: usize) -> Vec<usize> {
    let closes = |index: usize| code[index].is_symbol(line, CLOSING);
    let is_bracket = |index: &usize| closes(*index) || code[*index].is_symbol(line, OPENING);
    let touching = |place: fn(&Token) -> usize| {
        code.iter().position(|token| place(token) == cursor).filter(|index| is_bracket(index))
    };
    let Some(here) = touching(|token| token.start).or_else(|| touching(|token| token.end)) else { return Vec::new() };
    let mut open: Vec<usize> = Vec::new();
    for index in (0..code.len()).filter(is_bracket) {
        if closes(index) {
            let Some(partner) = open.pop() else { return Vec::new() };
            if here == index || here == partner {
                return vec![partner, index];
            }
        } else {
            open.push(index);
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(line: &str, cursor: Option<usize>) -> Vec<(String, Paint)> {
        let mut session = Session::for_tests();
        let _nothing = session.eval("<1>", "fn own(x) { x }").unwrap();
        spans(line, cursor, &session).into_iter().map(|(token, paint)| (token.of(line).to_string(), paint)).collect()
    }

    fn pairs(wanted: &[(&str, Paint)]) -> Vec<(String, Paint)> {
        wanted.iter().map(|(text, paint)| (text.to_string(), *paint)).collect()
    }

    #[test]
    fn each_word_has_its_colour_and_the_unknown_have_none() {
        let line = "let x = run::check(own(1.5), \"a\") + oops(2) + nope::check(x.len()) // done";
        assert_eq!(
            seen(line, None),
            pairs(&[
                ("let", Paint::Keyword),
                ("run", Paint::Module),
                ("check", Paint::Function),
                ("own", Paint::Function),
                ("1.5", Paint::Number),
                ("\"a\"", Paint::Text),
                ("2", Paint::Number),
                ("len", Paint::Function),
                ("// done", Paint::Comment),
            ])
        );
    }

    #[test]
    fn brackets_at_the_cursor_are_shown_in_pairs() {
        let found = |line, cursor| -> Vec<usize> {
            let painted = spans(line, Some(cursor), &Session::for_tests());
            painted.into_iter().filter(|(_, p)| *p == Paint::Bracket).map(|(token, _)| token.start).collect()
        };
        assert_eq!(found("a([b])", 1), [1, 5]);
        assert_eq!(found("a([b])", 6), [1, 5]);
        assert_eq!(found("a([b])", 2), [2, 4]);
        assert_eq!(found("a([b])", 3), [2, 4]);
        assert_eq!(found("a([b]", 1), [0_usize; 0]);
        assert_eq!(found("\"(\" )", 5), [0_usize; 0]);
    }

    #[test]
    fn commands_and_questions_are_told_from_code() {
        assert_eq!(seen(":time 1", None), pairs(&[(":time", Paint::Command), ("1", Paint::Number)]));
        assert_eq!(seen(":tiem 1", None), pairs(&[("1", Paint::Number)]));
        assert_eq!(seen("??let", None), pairs(&[("??", Paint::Command)]));
    }

    #[test]
    fn painting_adds_escape_codes_only() {
        let line = "if x { f(\"é\", [1]) }";
        let painted = painted(line, Some(5), &Session::for_tests());
        let mut plain = String::new();
        let mut rest = painted.as_str();
        while let Some(at) = rest.find('\x1b') {
            plain.push_str(&rest[..at]);
            rest = &rest[at + rest[at..].find('m').unwrap() + 1..];
        }
        assert_eq!(plain + rest, line);
        assert_ne!(painted, line);
    }
}
