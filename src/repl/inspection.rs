//! The name at a cursor, for who asks what it means without typing `?`.

use super::cursor::CursorText;
use super::value_shape;
use crate::script::Session;
use crate::script::engine::tokens::{KEYWORDS, TokenKind};

/// Returns the name at a byte of a text as the reference has it, or that of the function whose call is being written
/// there.
pub fn name_at(text: &str, cursor: usize, session: &Session) -> Option<String> {
    let whole = CursorText::new(text);
    let touches = |index: &usize| {
        let token = whole.tokens[*index];
        token.start <= cursor && cursor <= token.end && token.kind == TokenKind::Word
    };
    let word = (0..whole.tokens.len()).rfind(touches).filter(|index| !KEYWORDS.contains(&whole.word(*index)));
    let Some(word) = word else {
        let before = CursorText::new(text.get(..cursor)?);
        let callee = before.call()?.callee;
        return Some(match (callee.module, callee.dot) {
            ("", None) => callee.name.into(),
            ("", Some(dot)) => member(&before, dot, callee.name, session),
            (module, _) => format!("{module}::{}", callee.name),
        });
    };
    let name = whole.word(word);
    Some(match word.checked_sub(1) {
        Some(before) if whole.is_symbol(before, &["::"]) => {
            format!("{}::{name}", before.checked_sub(1).map_or("", |module| whole.word(module)))
        }
        Some(before) if whole.is_symbol(before, &[".", "?."]) => member(&whole, before, name, session),
        _ => name.into(),
    })
}

/// Returns the name of a member with the type before its dot, where that is known.
fn member(text: &CursorText, dot: usize, name: &str, session: &Session) -> String {
    match value_shape::before(text, dot, session) {
        Some(shape) => format!("{}.{name}", shape.kind),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_their_module_or_type() {
        let mut session = Session::for_tests();
        let _nothing = session.eval("<1>", "let t = tensor::zeros([2]); let list = [1];").unwrap();
        let at = |marked: &str| {
            let cursor = marked.find('|').unwrap();
            name_at(&marked.replacen('|', "", 1), cursor, &session)
        };
        assert_eq!(at("let x = tensor::ze|ros([1])").as_deref(), Some("tensor::zeros"));
        assert_eq!(at("ten|sor::zeros([1])").as_deref(), Some("tensor"));
        assert_eq!(at("t.su|m()").as_deref(), Some("Tensor.sum"));
        assert_eq!(at("unknown().su|m()").as_deref(), Some("sum"));
        assert_eq!(at("list|").as_deref(), Some("list"));
        assert_eq!(at("tensor::zeros([1], |").as_deref(), Some("tensor::zeros"));
        assert_eq!(at("t.sum( |").as_deref(), Some("Tensor.sum"));
        assert_eq!(at("|let x = 1"), None);
        assert_eq!(at("// t|"), None);
        assert_eq!(at("1 + | 2"), None);
    }
}
