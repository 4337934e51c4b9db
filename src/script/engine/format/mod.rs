//! The one way to write a script: what `microtome fmt` makes of it.
//!
//! Lines stay broken where the author broke them; this sets indentation, the blanks within a line, empty lines, and commas at
//! the end of lists. Comments stay where they are, and strings as they are. Only for texts that the parser takes.

mod lines;
mod pieces;
mod spaces;

use pieces::FormatPiece;

/// Formats a text; what this made stays as it is.
pub fn formatted(text: &str) -> String {
    lines::written(text, &pieces::pieces(text))
}

/// Lists what a text consists of beside white space, that of strings that go on behind a backslash included, and commas
/// before a closing bracket: formatting does not change it.
pub fn substance(text: &str) -> Vec<String> {
    let pieces = pieces::pieces(text);
    let code: Vec<&FormatPiece> = pieces.iter().filter(|piece| !piece.is_comment()).collect();
    let is_last = |at: usize| code.get(at + 1).is_some_and(|next| next.closes());
    let of_code = code.iter().enumerate().filter(|(at, piece)| !(piece.text == "," && is_last(*at)));
    let comments = pieces.iter().filter(|piece| piece.is_comment());
    of_code.map(|(_, piece)| *piece).chain(comments).map(without_indentation).collect()
}

fn without_indentation(piece: &FormatPiece) -> String {
    if !piece.is_carried_on() {
        return piece.text.to_string();
    }
    piece.text.split('\n').map(str::trim_start).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
