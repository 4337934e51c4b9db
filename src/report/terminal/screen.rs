//! Abilities of the terminal at hand, and text that fits it.

use serde::{Deserialize, Serialize};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::codes::code;
use crate::report::palette::Rgb;

/// The terminal, or what stands in for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Screen {
    /// Size in characters.
    pub width: usize,
    pub height: usize,
    /// Whether colour codes may be sent.
    pub colour: bool,
    pub graphics: Graphics,
}

impl Default for Screen {
    /// Returns a plain page of text.
    fn default() -> Self {
        Self { width: 80, height: 24, colour: false, graphics: Graphics::Text }
    }
}

/// Ways to show pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Graphics {
    /// The protocol of kitty, which Ghostty and WezTerm speak, too.
    Kitty,
    /// The protocol of iTerm2.
    Iterm,
    /// Sixel, of the VT340 and many after it.
    Sixel,
    /// Text in place of pictures: blocks and braille.
    Text,
}

impl Graphics {
    /// Judges a terminal by the environment, read through `get`. A multiplexer swallows pictures, whatever is around
    /// it.
    pub fn detect(get: impl Fn(&str) -> Option<String>) -> Self {
        let term = get("TERM").unwrap_or_default();
        let program = get("TERM_PROGRAM").unwrap_or_default();
        let inside = get("TMUX").is_some() || get("STY").is_some() || get("ZELLIJ").is_some();
        if inside || term.starts_with("screen") || term.starts_with("tmux") || term.is_empty() || term == "dumb" {
            return Graphics::Text;
        }
        if !cfg!(feature = "pictures") {
            return Graphics::Text;
        }
        let kitty = get("KITTY_WINDOW_ID").is_some() || term.contains("kitty") || term.contains("ghostty");
        if kitty || get("WEZTERM_EXECUTABLE").is_some() || matches!(&*program, "WezTerm" | "ghostty") {
            return Graphics::Kitty;
        }
        if program == "iTerm.app" || get("LC_TERMINAL").is_some_and(|t| t == "iTerm2") {
            return Graphics::Iterm;
        }
        let sixel = term.contains("sixel")
            || term.starts_with("foot")
            || term.starts_with("mlterm")
            || term.starts_with("contour");
        if sixel && cfg!(feature = "sixel") {
            return Graphics::Sixel;
        }
        Graphics::Text
    }
}

impl Screen {
    /// Writes the text in this colour, if colours may be sent.
    pub fn ink(&self, text: &str, Rgb(r, g, b): Rgb) -> String {
        self.coded(text, &format!("38;2;{r};{g};{b}"))
    }

    /// Writes the text in one colour on another, if colours may be sent.
    pub fn ink_on(&self, text: &str, Rgb(r, g, b): Rgb, ground: Rgb) -> String {
        let Rgb(gr, gg, gb) = ground;
        self.coded(text, &format!("38;2;{r};{g};{b};48;2;{gr};{gg};{gb}"))
    }

    pub fn bold(&self, text: &str) -> String {
        self.coded(text, "1")
    }

    pub fn dim(&self, text: &str) -> String {
        self.coded(text, "2")
    }

    /// Shortens a text to at most some lines: what is left out is counted.
    pub fn shortened(&self, text: &str) -> String {
        let room = (self.width * 12).max(400);
        let length = text.chars().count();
        if length <= room {
            return text.into();
        }
        let head: String = text.chars().take(room * 3 / 4).collect();
        let tail: String = text.chars().skip(length - room / 8).collect();
        format!("{head} .. ({} characters left out) .. {tail}", length - room * 3 / 4 - room / 8)
    }

    fn coded(&self, text: &str, attributes: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.into();
        }
        format!("{}{text}{}", code(&format!("\x1b[{attributes}m")), code("\x1b[0m"))
    }
}

/// Counts the columns that a text without codes takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Cuts the text to at most `room` columns, with an ellipsis where it was cut.
pub fn fitted(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.into();
    }
    let mut kept = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > room {
            break;
        }
        kept.push(c);
    }
    if room > 0 {
        kept.push('…');
    }
    kept
}

/// Cuts the text to at most `room` columns, with an ellipsis in its middle if it is longer.
pub fn without_middle(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.into();
    }
    let behind = room.saturating_sub(1) / 2;
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= behind
    };
    let tail: Vec<char> = text.chars().rev().take_while(fits).collect();
    let mut kept = fitted(text, room - behind);
    kept.extend(tail.into_iter().rev());
    kept
}

/// Fills the text up to `room` columns, with spaces before it.
pub fn right(text: &str, room: usize) -> String {
    format!("{}{text}", " ".repeat(room.saturating_sub(width(text))))
}

/// Fills the text up to `room` columns, with spaces after it.
pub fn left(text: &str, room: usize) -> String {
    format!("{text}{}", " ".repeat(room.saturating_sub(width(text))))
}

/// Breaks a text into lines of at most `room` columns, at spaces where there are any.
pub fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // The columns that the last line takes.
    let mut used = 0;
    for word in text.split_whitespace() {
        let wide = width(word);
        match lines.last_mut() {
            Some(line) if used + 1 + wide <= room => {
                line.push(' ');
                line.push_str(word);
                used += 1 + wide;
            }
            _ if wide <= room.max(2) => {
                lines.push(word.into());
                used = wide;
            }
            _ => used = broken(word, room.max(2), &mut lines),
        }
    }
    lines
}

/// Adds the lines of a word that is too long for one, and tells how many columns the last of them takes.
fn broken(word: &str, room: usize, lines: &mut Vec<String>) -> usize {
    let mut line = String::new();
    let mut used = 0;
    for c in word.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide > room {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        line.push(c);
        used += wide;
    }
    lines.push(line);
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(pairs: &[(&str, &str)]) -> Graphics {
        Graphics::detect(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string()))
    }

    #[test]
    fn terminals_are_known_by_their_environment() {
        assert_eq!(detect(&[("TERM", "xterm-kitty"), ("KITTY_WINDOW_ID", "1")]), Graphics::Kitty);
        assert_eq!(detect(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "WezTerm")]), Graphics::Kitty);
        assert_eq!(detect(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "iTerm.app")]), Graphics::Iterm);
        assert_eq!(detect(&[("TERM", "foot")]), Graphics::Sixel);
        assert_eq!(detect(&[("TERM", "xterm-256color")]), Graphics::Text);
        assert_eq!(detect(&[]), Graphics::Text);
    }

    #[test]
    fn inside_a_multiplexer_there_are_no_pictures() {
        let kitty = [("TERM", "xterm-kitty"), ("KITTY_WINDOW_ID", "1"), ("TMUX", "/tmp/x")];
        assert_eq!(detect(&kitty), Graphics::Text);
        assert_eq!(detect(&[("TERM", "screen-256color"), ("KITTY_WINDOW_ID", "1")]), Graphics::Text);
    }

    #[test]
    fn text_is_fitted_by_columns_and_not_by_characters() {
        assert_eq!(fitted("東京都", 5), "東京…");
        assert_eq!(fitted("abc", 3), "abc");
        assert_eq!(fitted("abc", 0), "");
        assert_eq!([without_middle("abcdefgh", 5), without_middle("abcdefgh", 8)], ["ab…gh", "abcdefgh"]);
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped("an abcdefgh i", 3), ["an", "abc", "def", "gh", "i"]);
        assert!(wrapped("", 5).is_empty());
    }

    #[test]
    fn without_colour_no_code_is_sent() {
        let plain = Screen::default();
        assert_eq!([plain.ink("a", Rgb(1, 2, 3)), plain.bold("b"), plain.dim("c")], ["a", "b", "c"]);
    }
}
