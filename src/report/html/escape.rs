//! Text made harmless in HTML and SVG: nothing in it can open a tag, end an attribute, or turn the reading direction.

use crate::report::visible_text::{visible, visible_lines};

/// Escapes a text for between tags and between the quotes of an attribute, control characters shown as symbols.
pub fn text(text: &str) -> String {
    escaped(&visible(text))
}

/// Escapes a text as [`text`] does, line ends kept.
pub fn lines(text: &str) -> String {
    escaped(&visible_lines(text))
}

/// Escapes a piece of several lines as [`text`] does, all line ends kept.
pub fn piece(piece: &str) -> String {
    piece.split('\n').map(text).collect::<Vec<_>>().join("\n")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_opens_a_tag_or_ends_an_attribute() {
        let evil = "</script><img src=x onerror='a(\"b\")'>-->&\u{202e}\x1b\n";
        let safe = "&lt;/script&gt;&lt;img src=x onerror=&#39;a(&quot;b&quot;)&#39;&gt;--&gt;&amp;\\u{202e}␛↵";
        assert_eq!(text(evil), safe);
        assert_eq!(lines("a<\nb"), "a&lt;\nb");
        assert_eq!(piece("\na<\n"), "\na&lt;\n");
    }
}
