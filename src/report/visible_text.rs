//! Text from models made fit to be shown: control characters as visible symbols, long labels elided.

pub use crate::base::counts::count;

/// Returns the text with everything that a terminal or a reader could trip over made visible: line ends, tabs and
/// escapes as symbols, marks that turn the writing direction or have no width as their code.
pub fn visible(text: &str) -> String {
    text.chars().map(VisibleSymbol).map(|c| c.to_string()).collect()
}

/// Returns the text as [`visible`] does, but with its line ends, for text that is meant to have lines.
pub fn visible_lines(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}

/// Replaces what could move the cursor, change colours, write to the clipboard or turn the writing direction of a
/// terminal, one character for one; unlike [`visible`] it leaves lines, tabs and all the rest of the text as they are.
pub fn harmless(text: &str) -> String {
    let mut letters = text.chars().peekable();
    let mut shown = String::with_capacity(text.len());
    while let Some(c) = letters.next() {
        shown.push(match c {
            '\n' | '\t' => c,
            '\r' if letters.peek() == Some(&'\n') => c,
            '\u{7f}' => '\u{2421}',
            '\0'..='\u{1f}' => pictured(c),
            '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            _ => c,
        });
    }
    shown
}

/// Returns the picture of a control character. The pictures stand in the same order as the characters that they
/// picture.
fn pictured(control: char) -> char {
    char::from_u32(0x2400 + control as u32).unwrap_or('\u{fffd}')
}

/// Returns a token as a label: made [`visible`], and with spaces at its ends shown, since ` the` and `the` are
/// different tokens.
pub fn token(text: &str) -> String {
    let core = text.trim_matches(' ');
    if core.is_empty() {
        return if text.is_empty() { "(empty)".into() } else { "␣".repeat(text.len()) };
    }
    let before = text.len() - text.trim_start_matches(' ').len();
    let after = text.len() - text.trim_end_matches(' ').len();
    format!("{}{}{}", "␣".repeat(before), visible(core), "␣".repeat(after))
}

/// Cuts a text to at most `most` characters, the last of them an ellipsis where some were left off.
pub fn elided(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.into();
    }
    let mut kept: String = text.chars().take(most.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

struct VisibleSymbol(char);

impl std::fmt::Display for VisibleSymbol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            '\n' => f.write_str("↵"),
            '\t' => f.write_str("⇥"),
            '\u{7f}' => f.write_str("␡"),
            c @ '\0'..='\u{1f}' => write!(f, "{}", pictured(c)),
            c if is_unseen(c) => write!(f, "\\u{{{:x}}}", c as u32),
            c => write!(f, "{c}"),
        }
    }
}

/// Returns whether a character is a C1 control, a mark of writing direction, or one without width that stands alone in
/// tokens.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_symbols() {
        assert_eq!(visible("a\nb\tc\x1b[31m\0\x7f"), "a↵b⇥c␛[31m␀␡");
        assert_eq!(visible("\u{202e}evil\u{200b}\u{9b}"), "\\u{202e}evil\\u{200b}\\u{9b}");
        assert_eq!(visible("ẞ 東京 é"), "ẞ 東京 é");
        assert_eq!(visible_lines("a\tb\r\nc"), "a⇥b\nc");
    }

    #[test]
    fn no_text_moves_the_cursor_and_ordinary_text_stays() {
        assert_eq!(harmless("a\r\nb\rc\x1b]52;c;x\x07\u{9b}31m\u{202e}\x7f"), "a\r\nb␍c␛]52;c;x␇\u{fffd}31m\u{fffd}␡");
        assert_eq!(harmless("one\ttwo\n❤\u{fe0f} 東京"), "one\ttwo\n❤\u{fe0f} 東京");
    }

    #[test]
    fn spaces_at_the_ends_of_tokens_are_seen() {
        assert_eq!(token(" the cat "), "␣the cat␣");
        assert_eq!(token("  "), "␣␣");
        assert_eq!(token(""), "(empty)");
    }

    #[test]
    fn long_labels_are_elided_and_short_ones_are_not() {
        assert_eq!(elided("abcdef", 4), "abc…");
        assert_eq!(elided("abcd", 4), "abcd");
        assert_eq!(elided("abcd", 0), "…");
        assert_eq!(count(1, "point"), "1 point");
        assert_eq!(count(12_000, "point"), "12,000 points");
    }
}
