//! Blanks between two pieces of a line.

use super::pieces::{FormatPiece, PieceRole};

pub fn is_between(a: &FormatPiece, b: &FormatPiece) -> bool {
    use PieceRole::*;
    match (a.role, b.role) {
        (_, Comma | Semicolon | Colon) => false,
        (Comment, _) | (_, Comment) => true,
        // The author's blanks tell what such a sign belongs to.
        (_, Sign) | (Sign, _) => b.gap > 0 || b.breaks > 0,
        (OpenMap | OpenBlock, Close) => false,
        (OpenMap | OpenBlock, _) => true,
        (_, Close) => b.text == "}",
        // Two dots and a sign that begins with `=` are not `..=`.
        (Joint, _) if a.text == ".." && b.text.starts_with('=') => true,
        // A range may begin with its dots.
        (Comma | Binary | Arrow | Keyword, Joint) => true,
        // A number may end with its point, which would be the first of two.
        (Value, Joint) => a.text.ends_with('.'),
        // Two dots and a number are not a number with a dot.
        (Joint, _) | (_, Joint) => false,
        // Two signs that touch are another one.
        (Unary, Unary | UnaryOfMore) => a.text == b.text && a.text != "!",
        (Unary, _) => false,
        (OpenCall | OpenIndex | OpenGroup | OpenArray, _) => false,
        (_, OpenCall | OpenIndex) => false,
        (OpenBar, _) | (_, CloseBar) => false,
        _ => true,
    }
}
