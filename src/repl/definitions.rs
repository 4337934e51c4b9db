//! Functions that a text defines, with the place of each: for `??name`, and for saving a session.

use crate::script::engine::tokens::{Token, TokenKind, tokens};

/// A function as calls tell it apart: two of one name with other numbers of parameters, or methods of other types, are
/// two functions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionForm {
    /// The type whose method it is, without quotes.
    pub receiver: Option<String>,
    pub name: String,
    pub parameters: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub form: FunctionForm,
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
    let first = tokens.get(at + 1)?.of(text);
    let is_method = tokens.get(at + 2).is_some_and(|token| token.is_symbol(text, &["."]));
    let receiver = is_method.then(|| unquoted(first).to_string());
    let name = if is_method { tokens.get(at + 3)?.of(text) } else { first };
    let open = at + 1 + tokens.get(at + 1..)?.iter().position(|token| token.is_symbol(text, &["("]))?;
    let close = open + tokens[open..].iter().position(|token| token.is_symbol(text, &[")"]))?;
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
    let form = FunctionForm { receiver, name: name.into(), parameters };
    let definition = Definition { form, start: tokens[first].start, end: tokens[last].end };
    Some((definition, last))
}

/// Returns the name of a type, which may stand between quotes.
fn unquoted(word: &str) -> &str {
    let is_quote = |c: char| c == '"' || c == '`';
    word.trim_matches(is_quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_with_their_comments() {
        let text = "let a = 1;\n/// Adds.\nfn add(x, y) { #{ s: `${x}}` }; x + y }\nadd(1, 2);\nprivate fn none() {}\n{ fn inner() {} }";
        let found = of(text);
        let names: Vec<_> = found.iter().map(|d| (d.form.name.as_str(), d.form.parameters)).collect();
        assert_eq!(names, [("add", 2), ("none", 0)]);
        assert_eq!(&text[found[0].start..found[0].end], "/// Adds.\nfn add(x, y) { #{ s: `${x}}` }; x + y }");
        assert_eq!(&text[found[1].start..found[1].end], "private fn none() {}");
        assert_eq!(of("fn broken(").len(), 0);
        assert_eq!(of("fn").len(), 0);
    }

    #[test]
    fn methods_are_told_apart_by_their_types() {
        let text = "fn int.up() { this + 1 } private fn \"My-Type (1).x\".up(by) { this } fn up(by) { by }";
        let forms: Vec<_> = of(text).into_iter().map(|definition| definition.form).collect();
        let form = |receiver: Option<&str>, parameters: usize| FunctionForm {
            receiver: receiver.map(String::from),
            name: "up".into(),
            parameters,
        };
        assert_eq!(forms, [form(Some("int"), 0), form(Some("My-Type (1).x"), 1), form(None, 1)]);
    }
}
