//! Functions that a text defines, with the place of each: for `??name`, and for saving a session.

use crate::script::engine::tokens::{Token, TokenKind, tokens};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub name: String,
    pub parameters: usize,
    /// The byte of the text at which the function begins, with its doc comment.
    pub start: usize,
    pub end: usize,
}

/// Finds the functions at the top of a text, in their order.
pub fn of(text: &str) -> Vec<Definition> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut index = 0;
    while index < tokens.len() {
        match tokens[index].of(text) {
            "fn" if depth == 0 && tokens[index].kind == TokenKind::Word => {
                if let Some((definition, last)) = definition(text, &tokens, index) {
                    found.push(definition);
                    index = last;
                }
            }
            _ => depth = tokens[index].depth_after(text, depth),
        }
        index += 1;
    }
    found
}

/// Finds the function whose `fn` is token `at`, and the index of its last token.
fn definition(text: &str, tokens: &[Token], at: usize) -> Option<(Definition, usize)> {
    let name = tokens.get(at + 1)?.of(text);
    let open = at + 1 + tokens.get(at + 1..)?.iter().position(|token| token.of(text) == "(")?;
    let close = open + tokens[open..].iter().position(|token| token.of(text) == ")")?;
    let parameters = tokens[open + 1..close].iter().filter(|token| token.kind == TokenKind::Word).count();
    let mut depth = 0;
    let last = (close + 1..tokens.len()).find(|index| {
        depth = tokens[*index].depth_after(text, depth);
        depth == 0
    })?;
    let mut first = at;
    while let Some(before) = first.checked_sub(1).map(|before| tokens[before].of(text))
        && (before == "private" || before.starts_with("///") || before.starts_with("/**"))
    {
        first -= 1;
    }
    let definition = Definition { name: name.into(), parameters, start: tokens[first].start, end: tokens[last].end };
    Some((definition, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_with_their_comments() {
        let text = "let a = 1;\n/// Adds.\nfn add(x, y) { #{ s: `${x}}` }; x + y }\nadd(1, 2);\nprivate fn none() {}\n{ fn inner() {} }";
        let found = of(text);
        let names: Vec<_> = found.iter().map(|d| (d.name.as_str(), d.parameters)).collect();
        assert_eq!(names, [("add", 2), ("none", 0)]);
        assert_eq!(&text[found[0].start..found[0].end], "/// Adds.\nfn add(x, y) { #{ s: `${x}}` }; x + y }");
        assert_eq!(&text[found[1].start..found[1].end], "private fn none() {}");
        assert_eq!(of("fn broken(").len(), 0);
        assert_eq!(of("fn").len(), 0);
    }
}
