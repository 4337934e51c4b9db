//! Codes that a terminal obeys, told from all the text around them.
//!
//! What a screen is to show is put together as text: it is cut, joined and filled up. A code of ours stands in it
//! between two marks, with a number that this process has drawn, so that nothing from a script, a file or the net can
//! be taken for one. [`obeyed`] is the only way to a terminal: it sends our codes and makes all others visible.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use crate::report::visible_text::harmless;

/// Marks around a code. No text needs them: Unicode keeps them for what programs do within themselves.
const OPEN: char = '\u{fdd0}';
const CLOSE: char = '\u{fdd1}';

/// Returns the beginning of a code of ours.
fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| format!("{OPEN}{:016x}", RandomState::new().hash_one(OPEN)))
}

/// Returns the sequence, marked as one of ours.
pub fn code(sequence: &str) -> String {
    format!("{}{sequence}{CLOSE}", mark())
}

/// Returns the text as a terminal is to get it: with our codes, and with every other control character made visible.
pub fn obeyed(text: &str) -> String {
    resolved(text, harmless)
}

/// Returns the text as a pipe or a file is to get it: with our codes, and every other byte as it is.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(mark()) { resolved(text, str::to_string).into() } else { text.into() }
}

fn resolved(text: &str, around: impl Fn(&str) -> String) -> String {
    let mut pieces = text.split(mark());
    let mut out = around(pieces.next().unwrap_or_default());
    for piece in pieces {
        match piece.split_once(CLOSE) {
            Some((sequence, rest)) => {
                out.push_str(sequence);
                out.push_str(&around(rest));
            }
            // Cut off within a code, which is no code any more.
            None => out.push_str(&around(piece)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_our_codes_and_no_others() {
        let text = format!("{}a\x1b[2J\u{9b}1m{}b", code("\x1b[1m"), code("\x1b[0m"));
        assert_eq!(obeyed(&text), "\x1b[1ma␛[2J\u{fffd}1m\x1b[0mb");
        assert_eq!(plain(&text), "\x1b[1ma\x1b[2J\u{9b}1m\x1b[0mb");
    }

    #[test]
    fn a_mark_cannot_be_forged_nor_left_open() {
        let forged = format!("{OPEN}\x1b[2J{CLOSE}");
        assert!(!obeyed(&forged).contains('\x1b'));
        assert_eq!(plain(&forged), forged);
        let half = code("\x1b[1m");
        assert!(!obeyed(half.trim_end_matches(CLOSE)).contains('\x1b'));
    }
}
