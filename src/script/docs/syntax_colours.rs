//! Colours of words in a text of the script language: at the prompt and on pages.

use crate::script::docs::Docs;
use crate::script::engine::tokens::{KEYWORDS, Token, TokenKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Keyword,
    Text,
    Number,
    Comment,
    Module,
    Function,
    /// A command of the prompt.
    Command,
    /// The bracket at the prompt's cursor and its partner.
    Bracket,
}

/// Returns the colour of a token; a name is coloured as known only if it is.
pub fn paint(text: &str, code: &[Token], index: usize, docs: &Docs) -> Option<Paint> {
    match code.get(index)?.kind {
        TokenKind::Text => Some(Paint::Text),
        TokenKind::Number => Some(Paint::Number),
        TokenKind::Comment => Some(Paint::Comment),
        TokenKind::Symbol => None,
        TokenKind::Word => word(text, code, index, docs),
    }
}

fn word(text: &str, code: &[Token], index: usize, docs: &Docs) -> Option<Paint> {
    let at = |index: usize| code.get(index).map_or("", |token| token.of(text));
    let before = index.checked_sub(1).map_or("", at);
    if KEYWORDS.contains(&at(index)) && !matches!(before, "." | "?.") {
        return Some(Paint::Keyword);
    }
    match at(index + 1) {
        "::" => docs.modules().contains(&at(index)).then_some(Paint::Module),
        "(" => {
            let module = module_before(text, code, index);
            let known = docs.functions(at(index)).any(|entry| module.is_none_or(|module| entry.module == module));
            known.then_some(Paint::Function)
        }
        _ => None,
    }
}

/// Returns the module that a name is called through: `sae` of `sae::fit`.
pub fn module_before<'t>(text: &'t str, code: &[Token], index: usize) -> Option<&'t str> {
    let through = index.checked_sub(1).and_then(|before| code.get(before)).is_some_and(|token| token.of(text) == "::");
    through.then(|| index.checked_sub(2).and_then(|module| code.get(module)).map_or("", |module| module.of(text)))
}
