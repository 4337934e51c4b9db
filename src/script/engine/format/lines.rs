//! Pieces written into lines: where lines end, how far they are indented, and where a comma belongs.

use super::pieces::{FormatPiece, PieceRole};
use super::spaces;

/// Blanks of a level.
const LEVEL: usize = 4;

/// A bracket that is open.
struct OpenBracket {
    role: PieceRole,
    /// The indentation of the line that it stands on.
    indent: usize,
    /// A block in which some statement begins a line.
    has_lines: bool,
    /// Whether a comma may stand behind its last element.
    is_list: bool,
}

/// Writes the pieces of a script as a text.
pub fn written(script: &str, pieces: &[FormatPiece]) -> String {
    let mut writer = LineWriter { script, pieces, open: Vec::new(), out: String::new(), code_ends: 0, indent: 0 };
    for at in 0..pieces.len() {
        writer.piece(at);
    }
    if !writer.out.is_empty() {
        writer.out.push('\n');
    }
    writer.out
}

struct LineWriter<'p, 't> {
    script: &'t str,
    pieces: &'p [FormatPiece<'t>],
    open: Vec<OpenBracket>,
    out: String,
    /// End of the last piece that is no comment.
    code_ends: usize,
    /// The indentation of the line that is being written.
    indent: usize,
}

impl<'t> LineWriter<'_, 't> {
    fn get(&self, at: usize) -> Option<&FormatPiece<'t>> {
        self.pieces.get(at)
    }

    /// Returns the piece that is written before this one.
    fn last(&self, at: usize) -> Option<&FormatPiece<'t>> {
        let last = at.checked_sub(1)?;
        if self.is_needless(last) || self.is_behind_comment(last) { self.last(last) } else { self.get(last) }
    }

    /// Returns the piece before it that is no comment.
    fn before(&self, at: usize) -> Option<&FormatPiece<'t>> {
        self.pieces.iter().take(at).rev().find(|piece| !piece.is_comment())
    }

    fn piece(&mut self, at: usize) {
        let Some(piece) = self.get(at).copied() else { return };
        if self.is_needless(at) {
            return;
        }
        if self.is_behind_comment(at) {
            self.out.insert(self.code_ends, ',');
            self.code_ends += 1;
            return;
        }
        let is_new = self.begins_line(at);
        if is_new {
            self.comma_before(at, &piece);
            self.out.push_str(if self.is_after_empty_line(at, &piece) { "\n\n" } else { "\n" });
        }
        if is_new || at == 0 {
            self.indent = self.indentation(at, &piece);
            self.out.push_str(&" ".repeat(self.indent));
        } else if piece.is_comment() {
            self.out.push_str(&" ".repeat(piece.gap.max(1)));
        } else if self.last(at).is_some_and(|last| spaces::is_between(last, &piece)) {
            self.out.push(' ');
        }
        self.text(&piece);
        if !piece.is_comment() {
            self.code_ends = self.out.len();
        }
        if piece.opens() {
            self.open.push(OpenBracket {
                role: piece.role,
                indent: self.indent,
                has_lines: piece.role == PieceRole::OpenBlock && self.has_lines(at),
                is_list: self.is_list(at, &piece),
            });
        } else if piece.closes()
            && let Some(closed) = self.open.pop()
        {
            // What is opened behind it on the line belongs to where that was opened.
            self.indent = self.indent.min(closed.indent);
        }
    }

    /// Writes the text of a piece. A string that goes on behind a backslash keeps its value: the white space of its lines
    /// is part of it only beyond the column of the string's own text.
    fn text(&mut self, piece: &FormatPiece) {
        if !piece.is_carried_on() {
            self.out.push_str(piece.text);
            return;
        }
        let old_column = last_column(&self.script[..piece.start]) + 1;
        let new_column = last_column(&self.out) + 1;
        let mut lines = piece.text.split('\n');
        self.out.push_str(lines.next().unwrap_or_default());
        for line in lines {
            let text = line.trim_start();
            let white = &line[..line.len() - text.len()];
            let own: String = white.chars().skip(old_column).collect();
            let outside = if own.is_empty() { white.chars().count().min(new_column) } else { new_column };
            self.out.push('\n');
            self.out.push_str(&" ".repeat(outside));
            self.out.push_str(&own);
            self.out.push_str(text);
        }
    }

    /// Returns whether a piece begins a line: where the author began one, behind a comment that ends its line, and
    /// between statements, unless their block is on one line.
    fn begins_line(&self, at: usize) -> bool {
        let (Some(piece), Some(last)) = (self.get(at), self.last(at)) else { return false };
        if last.is_line_comment() {
            return true;
        }
        if last.text == "}" && matches!(piece.text, "else" | "catch") && piece.role == PieceRole::Keyword {
            return false;
        }
        if piece.breaks > 0 {
            return true;
        }
        let is_in_lines = self.open.last().is_none_or(|open| open.role == PieceRole::OpenBlock && open.has_lines);
        let begins_block = last.role == PieceRole::OpenBlock && is_in_lines;
        let ends_block = piece.closes() && is_in_lines && !self.open.is_empty();
        (last.role == PieceRole::Semicolon || begins_block) && is_in_lines && !piece.is_comment() || ends_block
    }

    /// Returns whether some statement of a block begins a line.
    fn has_lines(&self, opening: usize) -> bool {
        let mut depth = 0_usize;
        for piece in self.pieces.iter().skip(opening + 1) {
            if depth == 0 && piece.breaks > 0 {
                return true;
            }
            if piece.opens() {
                depth += 1;
            } else if piece.closes() {
                let Some(outer) = depth.checked_sub(1) else { return false };
                depth = outer;
            }
        }
        false
    }

    /// Returns whether an empty line stands before a piece: at most one, and none at the beginning or the end of a
    /// block.
    fn is_after_empty_line(&self, at: usize, piece: &FormatPiece) -> bool {
        let opens = self.last(at).is_some_and(FormatPiece::opens);
        piece.breaks > 1 && !opens && !piece.closes()
    }

    /// Blanks before a line that begins with this piece.
    fn indentation(&self, at: usize, piece: &FormatPiece) -> usize {
        let inner = self.open.last().map_or(0, |open| open.indent + LEVEL);
        if piece.closes() {
            return self.open.last().map_or(0, |open| open.indent);
        }
        // A comment stands like the code that it is about.
        let code = self.pieces.iter().skip(at).find(|piece| !piece.is_comment());
        match code {
            Some(code) if !code.closes() && self.goes_on(at, code) => inner + LEVEL,
            _ => inner,
        }
    }

    /// Returns whether a line that begins with this piece goes on with the statement or the element of the line before.
    fn goes_on(&self, at: usize, piece: &FormatPiece) -> bool {
        let Some(before) = self.before(at) else { return false };
        if before.opens() || matches!(before.role, PieceRole::Comma | PieceRole::Semicolon) || piece.text == "{" {
            return false;
        }
        if matches!(piece.role, PieceRole::Joint | PieceRole::Binary | PieceRole::Arrow) {
            return true;
        }
        // Behind a value only a word such as `in` goes on; another value begins a line of its own.
        let is_value = matches!(before.role, PieceRole::Value | PieceRole::Close);
        !is_value || piece.role == PieceRole::Keyword && matches!(piece.text, "in" | "as")
    }

    /// Returns whether a comma may end what this bracket holds: the elements of an array or a map, or the arguments of
    /// a call.
    fn is_list(&self, at: usize, piece: &FormatPiece) -> bool {
        let name = self.before(at);
        let defines = at >= 2 && self.get(at - 2).is_some_and(|word| word.text == "fn");
        match piece.role {
            PieceRole::OpenArray | PieceRole::OpenMap => true,
            // The language's own form takes none.
            PieceRole::OpenCall => !defines && name.is_some_and(|name| name.text != "eval"),
            _ => false,
        }
    }

    /// Writes the comma behind the last element of a list whose closing bracket begins a line.
    fn comma_before(&mut self, at: usize, piece: &FormatPiece) {
        let is_list = piece.closes() && self.open.last().is_some_and(|open| open.is_list);
        if !is_list || self.before(at).is_none_or(|last| last.opens() || last.role == PieceRole::Comma) {
            return;
        }
        // Comments behind the last element stay behind the comma.
        self.out.insert(self.code_ends, ',');
    }

    fn is_comma(&self, at: usize) -> bool {
        self.get(at).is_some_and(|piece| piece.role == PieceRole::Comma)
    }

    /// Returns whether a comma stands behind a comment that ends its line: it is written before that.
    fn is_behind_comment(&self, at: usize) -> bool {
        self.is_comma(at) && at.checked_sub(1).and_then(|last| self.get(last)).is_some_and(FormatPiece::is_line_comment)
    }

    /// Returns whether a comma stands behind the last element of a list that ends on its line.
    fn is_needless(&self, at: usize) -> bool {
        let is_last = self.get(at + 1).is_some_and(|next| next.closes() && next.breaks == 0);
        let is_list = self.open.last().is_some_and(|open| open.is_list);
        self.is_comma(at) && is_last && is_list && !self.is_behind_comment(at)
    }
}

/// Counts the characters of the last line.
fn last_column(text: &str) -> usize {
    text.rsplit('\n').next().map_or(0, |line| line.chars().count())
}
