//! A script as pieces that are written as they are, each with its part in the text.

use crate::script::engine::tokens::{KEYWORDS, Token, TokenKind, tokens};

/// The role of a piece, as far as the white space around it depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceRole {
    Comment,
    /// A name, a number, a string.
    Value,
    Keyword,
    /// A round bracket after what is called, a square one after what is indexed.
    OpenCall,
    OpenIndex,
    /// A round bracket of its own, and that of an array.
    OpenGroup,
    OpenArray,
    OpenMap,
    OpenBlock,
    Close,
    Comma,
    Semicolon,
    Colon,
    Arrow,
    /// A sign that joins its neighbours without a blank: `.`, `::`, `..`.
    Joint,
    Binary,
    /// A sign before its value.
    Unary,
    /// A minus before a number that is not the number's sign, and would be without a blank.
    UnaryOfMore,
    /// A sign before its value or between two, which the author's blanks tell.
    Sign,
    /// The first bar of a closure, and its last one, or both in one.
    OpenBar,
    CloseBar,
    Bars,
}

#[derive(Debug, Clone, Copy)]
pub struct FormatPiece<'t> {
    pub text: &'t str,
    /// The byte at which it begins in the script.
    pub start: usize,
    pub role: PieceRole,
    /// Number of line ends before it.
    pub breaks: usize,
    /// Number of characters of white space before it on its line.
    pub gap: usize,
}

impl FormatPiece<'_> {
    pub fn is_comment(&self) -> bool {
        self.role == PieceRole::Comment
    }

    /// Returns whether the piece is a comment that ends with its line.
    pub fn is_line_comment(&self) -> bool {
        self.is_comment() && self.text.starts_with("//")
    }

    /// Returns whether the piece is a string that goes on behind a backslash, on other lines.
    pub fn is_carried_on(&self) -> bool {
        self.text.starts_with('"') && self.text.contains('\n')
    }

    pub fn opens(&self) -> bool {
        use PieceRole::*;
        matches!(self.role, OpenCall | OpenIndex | OpenGroup | OpenArray | OpenMap | OpenBlock)
    }

    pub fn closes(&self) -> bool {
        self.role == PieceRole::Close
    }

    /// Returns whether a value may begin after it, so that a sign there is the sign of that value.
    fn expects_value(&self) -> bool {
        use PieceRole::*;
        self.opens() || !matches!(self.role, Value | Close | Sign)
    }
}

/// Cuts a text into its pieces.
pub fn pieces(text: &str) -> Vec<FormatPiece<'_>> {
    let tokens = tokens(text);
    let mut pieces: Vec<FormatPiece> = Vec::new();
    let mut at = 0;
    let mut end = 0;
    let mut bar_is_open = false;
    while let Some(token) = tokens.get(at) {
        let last = last_of(text, &tokens, at);
        let stop = tokens.get(last).map_or(token.end, |last| last.end);
        let white = &text[end..token.start];
        let written = &text[token.start..stop];
        let before = pieces.iter().rev().find(|piece| !piece.is_comment());
        let next = tokens.get(last + 1).map(|next| next.of(text));
        let mut piece = FormatPiece {
            text: if token.kind == TokenKind::Comment { written.trim_end() } else { written },
            start: token.start,
            role: PieceRole::Value,
            breaks: white.matches('\n').count(),
            gap: white.rsplit('\n').next().map_or(0, |gap| gap.chars().count()),
        };
        piece.role = match token.kind {
            TokenKind::Comment => PieceRole::Comment,
            TokenKind::Word => word(written, before, next),
            TokenKind::Number | TokenKind::Text => PieceRole::Value,
            TokenKind::Symbol => symbol(&piece, before, bar_is_open, next),
        };
        if piece.role == PieceRole::Unary && written == "-" && is_of_more(text, &tokens[at..]) {
            piece.role = PieceRole::UnaryOfMore;
        }
        let is_behind_digits = before.is_some_and(|before| is_digits(before.text));
        if written == "." && is_behind_digits && is_before_break(text, &tokens[at..]) {
            piece.role = PieceRole::Binary;
        }
        match piece.role {
            PieceRole::OpenBar => bar_is_open = true,
            PieceRole::CloseBar => bar_is_open = false,
            _ => {}
        }
        pieces.push(piece);
        (at, end) = (last + 1, stop);
    }
    pieces
}

/// Finds the last token of the piece that begins with this one: a string between backticks is one piece with the code
/// in it, `!in` one word, and `6.` one number.
fn last_of(text: &str, tokens: &[Token], first: usize) -> usize {
    let of = |at: usize| tokens.get(at).map_or("", |token| token.of(text));
    let follows =
        |at: usize| tokens.get(at + 1).is_some_and(|next| tokens.get(at).is_some_and(|one| one.end == next.start));
    if of(first) == "!" && of(first + 1) == "in" && follows(first) {
        return first + 1;
    }
    if is_digits(of(first)) && of(first + 1) == "." && follows(first) && ends_number(text, &tokens[first + 1]) {
        return first + 1;
    }
    if !of(first).starts_with('`') || of(first + 1) != "${" {
        return first;
    }
    // For each hole that is open, how many braces are open within it.
    let mut holes: Vec<usize> = Vec::new();
    let mut at = first + 1;
    while at < tokens.len() {
        match of(at) {
            "${" => holes.push(0),
            "{" | "#{" => {
                if let Some(depth) = holes.last_mut() {
                    *depth += 1;
                }
            }
            "}" => match holes.last_mut() {
                Some(0) => {
                    holes.pop();
                    // The string goes on behind the hole, to its end or to the next hole.
                    at += 1;
                    if holes.is_empty() && of(at + 1) != "${" {
                        return at.min(tokens.len() - 1);
                    }
                }
                Some(depth) => *depth -= 1,
                None => {}
            },
            _ => {}
        }
        at += 1;
    }
    tokens.len() - 1
}

fn is_digits(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit()) && word.chars().all(|c| c.is_ascii_digit() || c == '_')
}

/// Returns whether a point behind digits belongs to their number, as the language tells: no name and no other point
/// follows, and not the end.
fn ends_number(text: &str, point: &Token) -> bool {
    let next = text[point.end..].chars().next();
    next.is_some_and(|c| !c.is_ascii_alphanumeric() && c != '_' && c != '.')
}

/// Returns whether a point is the last of its line, or before a comment. Without a blank before it, it would be part of
/// the number on its left.
fn is_before_break(text: &str, from_point: &[Token]) -> bool {
    let [point, next, ..] = from_point else { return false };
    next.kind == TokenKind::Comment || text[point.end..next.start].contains('\n')
}

/// Returns whether a minus before a number is not its sign: that of a whole value, `- 1.abs()`, where `-1.abs()` begins
/// with a number, or before `0x`, where the language reads no sign.
fn is_of_more(text: &str, from_sign: &[Token]) -> bool {
    let mut code = from_sign.iter().filter(|token| token.kind != TokenKind::Comment);
    let (Some(sign), Some(number)) = (code.next(), code.next()) else { return false };
    if number.kind != TokenKind::Number || sign.end == number.start {
        return false;
    }
    let has_radix = number.of(text)[1..].starts_with(['x', 'X', 'o', 'O', 'b', 'B']);
    has_radix || code.next().is_some_and(|behind| matches!(behind.of(text), "." | "?." | "[" | "?["))
}

/// Keywords that stand where a value does.
const VALUES: [&str; 4] = ["true", "false", "this", "global"];

fn word(text: &str, before: Option<&FormatPiece>, next: Option<&str>) -> PieceRole {
    let is_name = before.is_some_and(|before| before.role == PieceRole::Joint && !before.text.starts_with(".."))
        || next == Some(":");
    if KEYWORDS.contains(&text) && !VALUES.contains(&text) && !is_name { PieceRole::Keyword } else { PieceRole::Value }
}

fn symbol(piece: &FormatPiece, before: Option<&FormatPiece>, bar_is_open: bool, next: Option<&str>) -> PieceRole {
    let begins = before.is_none_or(FormatPiece::expects_value);
    let after_block = before.is_some_and(|before| before.text == "}");
    // Behind a block a new statement may begin, or the expression goes on.
    let is_apart = piece.breaks > 0 || piece.gap > 0;
    match piece.text {
        "{" => PieceRole::OpenBlock,
        "#{" => PieceRole::OpenMap,
        // What a block comes to is never called.
        "(" if begins || after_block => PieceRole::OpenGroup,
        "(" => PieceRole::OpenCall,
        "[" if begins || after_block && is_apart => PieceRole::OpenArray,
        "[" | "?[" => PieceRole::OpenIndex,
        ")" | "]" | "}" => PieceRole::Close,
        "," => PieceRole::Comma,
        ";" => PieceRole::Semicolon,
        ":" => PieceRole::Colon,
        "=>" => PieceRole::Arrow,
        "." | "?." | "::" | ".." | "..=" => PieceRole::Joint,
        "|" if bar_is_open => PieceRole::CloseBar,
        "|" if begins || after_block && piece.breaks > 0 => PieceRole::OpenBar,
        "||" if begins || after_block && piece.breaks > 0 => PieceRole::Bars,
        "!in" => PieceRole::Binary,
        // A call with the variables around it, `f!(x)`.
        "!" if !begins && next == Some("(") => PieceRole::Joint,
        "-" | "+" | "!" if begins => PieceRole::Unary,
        "-" | "+" if after_block => PieceRole::Sign,
        "!" => PieceRole::Unary,
        _ => PieceRole::Binary,
    }
}
