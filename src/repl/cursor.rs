//! The place of the cursor: a name, a member after a dot, a key of options, a string; and the call that it is in.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::script::engine::tokens::{self, CLOSING, KEYWORDS, OPENING, Token, TokenKind};

/// The text up to the cursor, cut into tokens.
pub struct CursorText<'t> {
    pub text: &'t str,
    pub tokens: Cow<'t, [Token]>,
    /// The bracket that each token closes, found when it is first asked for.
    opened: OnceCell<Vec<Option<usize>>>,
}

/// The kind of text that may be completed, and where it begins (byte offset into the text).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompletionSpot<'t> {
    /// A comment, or the end of a number, where nothing is completed.
    Nowhere,
    /// The string that token `token` opens.
    Text {
        token: usize,
        start: usize,
    },
    /// A name after `path::`.
    Module {
        path: &'t str,
        start: usize,
    },
    /// A member after the dot at token `dot`.
    Member {
        dot: usize,
        start: usize,
    },
    /// A key in the map that token `map` opens.
    Key {
        map: usize,
        start: usize,
    },
    Name {
        start: usize,
    },
}

/// The function that a bracket calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callee<'t> {
    pub module: &'t str,
    pub name: &'t str,
    /// The dot before the name of a method.
    pub dot: Option<usize>,
}

/// A call that the cursor stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorCall<'t> {
    pub callee: Callee<'t>,
    /// The number of the argument that is being written, from 0.
    pub argument: usize,
}

impl<'t> CursorText<'t> {
    pub fn new(text: &'t str) -> Self {
        Self::of(text, tokens::tokens(text))
    }

    /// Takes a text whose tokens are known.
    pub fn of(text: &'t str, tokens: impl Into<Cow<'t, [Token]>>) -> Self {
        Self { text, tokens: tokens.into(), opened: OnceCell::new() }
    }

    pub fn word(&self, index: usize) -> &'t str {
        self.tokens.get(index).map_or("", |token| token.of(self.text))
    }

    pub fn kind(&self, index: usize) -> Option<TokenKind> {
        self.tokens.get(index).map(|token| token.kind)
    }

    pub fn is_symbol(&self, index: usize, symbols: &[&str]) -> bool {
        self.tokens.get(index).is_some_and(|token| token.is_symbol(self.text, symbols))
    }

    /// Returns whether a name that is not a keyword stands at a token.
    pub fn is_name(&self, index: usize) -> bool {
        self.kind(index) == Some(TokenKind::Word) && !KEYWORDS.contains(&self.word(index))
    }

    pub fn spot(&self) -> CompletionSpot<'t> {
        let end = self.text.len();
        let Some(last) = self.tokens.len().checked_sub(1) else { return CompletionSpot::Name { start: end } };
        let token = self.tokens[last];
        let touches = token.end == end;
        match token.kind {
            TokenKind::Comment if token.open || touches && self.word(last).starts_with("//") => {
                return CompletionSpot::Nowhere;
            }
            TokenKind::Text if token.open => {
                let quote = self.word(last).find(['"', '\'', '`']).map_or(0, |at| at + 1);
                return CompletionSpot::Text { token: last, start: token.start + quote };
            }
            TokenKind::Number | TokenKind::Text if touches => return CompletionSpot::Nowhere,
            _ => {}
        }
        let (start, next) =
            if token.kind == TokenKind::Word && touches { (token.start, last) } else { (end, last + 1) };
        let Some(before) = next.checked_sub(1) else { return CompletionSpot::Name { start } };
        if self.is_symbol(before, &["::"]) {
            return match before.checked_sub(1).filter(|module| self.is_name(*module)) {
                Some(module) => CompletionSpot::Module { path: self.word(module), start },
                None => CompletionSpot::Nowhere,
            };
        }
        if self.is_symbol(before, &[".", "?."]) {
            return CompletionSpot::Member { dot: before, start };
        }
        match self.open_brackets(next).last() {
            Some(map) if self.word(*map) == "#{" && (before == *map || self.is_symbol(before, &[","])) => {
                CompletionSpot::Key { map: *map, start }
            }
            _ => CompletionSpot::Name { start },
        }
    }

    /// Returns indices of the brackets that are open before token `end`; a closing one that does not fit is passed
    /// over.
    fn open_brackets(&self, end: usize) -> Vec<usize> {
        let mut open = Vec::new();
        for index in 0..end {
            if self.is_symbol(index, OPENING) {
                open.push(index);
            } else if self.is_symbol(index, CLOSING) {
                open.pop();
            }
        }
        open
    }

    /// Counts the arguments between the brackets of a call.
    pub fn arguments(&self, open: usize, close: usize) -> usize {
        if close <= open + 1 { 0 } else { self.commas(open, close) + 1 }
    }

    /// Returns the bracket that token `closing` closes: the last that is open there, whether it fits or not.
    pub fn opening(&self, closing: usize) -> Option<usize> {
        let opened = self.opened.get_or_init(|| {
            let mut open = Vec::new();
            let find = |(index, token): (usize, &Token)| {
                if token.is_symbol(self.text, OPENING) {
                    open.push(index);
                    return None;
                }
                token.is_symbol(self.text, CLOSING).then(|| open.pop()).flatten()
            };
            self.tokens.iter().enumerate().map(find).collect()
        });
        opened.get(closing).copied().flatten()
    }

    /// Returns the function that the round bracket at `open` calls, if a name stands before it.
    pub fn callee(&self, open: usize) -> Option<Callee<'t>> {
        let name = open.checked_sub(1).filter(|name| self.is_name(*name) && self.is_symbol(open, &["("]))?;
        let mut callee = Callee { module: "", name: self.word(name), dot: None };
        if let Some(before) = name.checked_sub(1) {
            if self.is_symbol(before, &["::"]) {
                callee.module = before.checked_sub(1).map_or("", |module| self.word(module));
            } else if self.is_symbol(before, &[".", "?."]) {
                callee.dot = Some(before);
            } else if self.word(before) == "fn" {
                // A definition looks like a call.
                return None;
            }
        }
        Some(callee)
    }

    /// Returns the innermost call around the cursor. A block of code, as of a closure, is a world of its own.
    pub fn call(&self) -> Option<CursorCall<'t>> {
        let open = self.open_brackets(self.tokens.len());
        for (level, &bracket) in open.iter().enumerate().rev() {
            if self.is_symbol(bracket, &["{", "${"]) {
                return None;
            }
            if let Some(callee) = self.callee(bracket) {
                let end = open.get(level + 1).copied().unwrap_or(self.tokens.len());
                return Some(CursorCall { callee, argument: self.commas(bracket, end) });
            }
        }
        None
    }

    /// Returns the call that the map opened at token `map` is an argument of.
    pub fn call_of_map(&self, map: usize) -> Option<Callee<'t>> {
        let around = *self.open_brackets(map).last()?;
        self.callee(around)
    }

    /// Lists keys that are written in the map opened at `map`; the last one may be the one whose value is being
    /// written.
    pub fn keys(&self, map: usize) -> Vec<&'t str> {
        self.keys_before(map, self.tokens.len())
    }

    /// Lists keys that are written in the map opened at `map` before token `end`.
    pub fn keys_before(&self, map: usize, end: usize) -> Vec<&'t str> {
        let colons = self.within(map, end).filter(|index| self.is_symbol(*index, &[":"]));
        colons.map(|colon| self.word(colon - 1).trim_matches('"')).collect()
    }

    /// Returns the text that is written for a key of the map opened at `map`.
    pub fn text_of_key(&self, map: usize, key: &str) -> Option<&'t str> {
        let is_colon = |index: &usize| self.is_symbol(*index, &[":"]) && self.word(index - 1).trim_matches('"') == key;
        let value = self.within(map, self.tokens.len()).find(is_colon)? + 1;
        let whole = self.tokens.get(value).is_some_and(|token| token.kind == TokenKind::Text && !token.open);
        whole.then(|| self.word(value).trim_matches(['"', '`']))
    }

    /// Returns the innermost map of options around the cursor, if it is an argument of a call.
    pub fn map_of_options(&self) -> Option<(usize, Callee<'t>)> {
        let map = *self.open_brackets(self.tokens.len()).last()?;
        if self.word(map) != "#{" {
            return None;
        }
        Some((map, self.call_of_map(map)?))
    }

    fn commas(&self, open: usize, end: usize) -> usize {
        self.within(open, end).filter(|index| self.is_symbol(*index, &[","])).count()
    }

    /// Returns the tokens between the bracket at `open` and `end` that stand in no bracket within it.
    fn within(&self, open: usize, end: usize) -> impl Iterator<Item = usize> {
        let mut depth = 0;
        (open + 1..end).filter(move |index| {
            depth = self.tokens[*index].depth_after(self.text, depth);
            depth == 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(text: &str) -> CompletionSpot<'_> {
        CursorText::new(text).spot()
    }

    #[test]
    fn every_kind_of_spot_is_told() {
        assert_eq!(spot(""), CompletionSpot::Name { start: 0 });
        assert_eq!(spot("let x = fo"), CompletionSpot::Name { start: 8 });
        assert_eq!(spot("tensor::ze"), CompletionSpot::Module { path: "tensor", start: 8 });
        assert_eq!(spot("f(tensor::"), CompletionSpot::Module { path: "tensor", start: 10 });
        assert_eq!(spot("x.sh"), CompletionSpot::Member { dot: 1, start: 2 });
        assert_eq!(spot("x .\n"), CompletionSpot::Member { dot: 1, start: 4 });
        assert_eq!(spot("f(x, #{ "), CompletionSpot::Key { map: 4, start: 8 });
        assert_eq!(spot("f(x, #{ a: 1, b"), CompletionSpot::Key { map: 4, start: 14 });
        assert_eq!(spot("f(x, #{ a: b"), CompletionSpot::Name { start: 11 });
        assert_eq!(spot("f(x, #{ a: [b, c"), CompletionSpot::Name { start: 15 });
        assert_eq!(spot("load(\"da"), CompletionSpot::Text { token: 2, start: 6 });
        assert_eq!(spot("`a ${x."), CompletionSpot::Member { dot: 3, start: 7 });
        assert_eq!(spot("// x."), CompletionSpot::Nowhere);
        assert_eq!(spot("12"), CompletionSpot::Nowhere);
        assert_eq!(spot("0..n"), CompletionSpot::Name { start: 3 });
        assert_eq!(spot("\"whole\""), CompletionSpot::Nowhere);
    }

    #[test]
    fn the_call_and_its_argument_are_found() {
        let call =
            |text| CursorText::new(text).call().map(|call| (call.callee.module, call.callee.name, call.argument));
        assert_eq!(call("tensor::zeros("), Some(("tensor", "zeros", 0)));
        assert_eq!(call("f(1, [2, 3], g(4), "), Some(("", "f", 3)));
        assert_eq!(call("f(1, [2, "), Some(("", "f", 1)));
        assert_eq!(call("f(1, #{ a: 2, b"), Some(("", "f", 1)));
        assert_eq!(call("f(1, g(2, "), Some(("", "g", 1)));
        assert_eq!(call("f(1, |x| { y"), None);
        assert_eq!(call("f(1) + "), None);
        assert_eq!(call("if (1 + "), None);
        assert_eq!(call("fn f(a, "), None);
        assert_eq!(call("(1, "), None);
    }

    #[test]
    fn a_bracket_closes_the_last_that_is_open() {
        let opened = |text: &str| {
            let text = CursorText::new(text);
            (0..text.tokens.len()).filter_map(|at| Some((at, text.opening(at)?))).collect::<Vec<_>>()
        };
        assert_eq!(opened("f(a[1], #{ b: 2 })"), [(5, 3), (11, 7), (12, 1)]);
        assert_eq!(opened(") ( } ( ]"), [(2, 1), (4, 3)]);
        assert_eq!(opened("`${x}`"), [(3, 1)]);
    }

    #[test]
    fn the_keys_of_a_map_are_read() {
        let before = CursorText::new("f(x, #{ a: 1, \"b\": #{ c: 2 }, d: ");
        let (map, callee) = before.map_of_options().unwrap();
        assert_eq!((map, callee.name), (4, "f"));
        assert_eq!((before.keys(map), before.keys_before(map, 8)), (vec!["a", "b", "d"], vec!["a"]));
        let before = CursorText::new("f(x, #{ kind: \"topk\", n: 1, ");
        assert_eq!([before.text_of_key(4, "kind"), before.text_of_key(4, "n")], [Some("topk"), None]);
    }
}
