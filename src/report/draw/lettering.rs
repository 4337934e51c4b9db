//! The embedded typeface: how wide a text is, and which characters it can show.

use std::sync::LazyLock;

use ab_glyph::{Font as _, FontRef};

/// The faces that pictures use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    Regular,
    Bold,
}

/// The family's name inside the font files, which SVG refers to.
pub const FAMILY: &str = "DejaVu Sans";

impl Face {
    /// Returns the bytes of the font file. The function is not inlined, since every piece of the crate that calls it
    /// would hold the fonts once more.
    #[inline(never)]
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Face::Regular => dejavu::sans::regular(),
            Face::Bold => dejavu::sans::bold(),
        }
    }

    fn font(self) -> Option<&'static FontRef<'static>> {
        static FONTS: LazyLock<[Option<FontRef<'static>>; 2]> =
            LazyLock::new(|| [Face::Regular, Face::Bold].map(|face| FontRef::try_from_slice(face.bytes()).ok()));
        FONTS[self as usize].as_ref()
    }

    /// Returns the width of `text` in units of the font size.
    pub fn width(self, text: &str) -> f64 {
        let Some(font) = self.font() else { return text.chars().count() as f64 };
        let units = f64::from(font.units_per_em().unwrap_or(2048.0));
        let glyphs = text.chars().map(|c| font.glyph_id(c));
        glyphs.map(|glyph| f64::from(font.h_advance_unscaled(glyph))).sum::<f64>() / units
    }

    fn has(self, c: char) -> bool {
        self.font().is_none_or(|font| font.glyph_id(c).0 != 0)
    }

    /// Returns the text with every character that the typeface lacks written as its code, which says more than an empty
    /// box, and the picture of a control character as the code of that character.
    pub fn spelled(self, text: &str) -> String {
        let spell = |c: char| match c {
            c if self.has(c) => c.to_string(),
            '\u{2400}'..='\u{241f}' => format!("\\u{{{:x}}}", c as u32 - 0x2400),
            c => format!("\\u{{{:x}}}", c as u32),
        };
        text.chars().map(spell).collect()
    }

    /// Cuts the text to `room` with an ellipsis; all measures are in units of the font size.
    pub fn fitted(self, text: &str, room: f64) -> String {
        if self.width(text) <= room {
            return text.into();
        }
        let mut kept = String::new();
        let mut used = self.width("…");
        for c in text.chars() {
            used += self.width(c.encode_utf8(&mut [0; 4]));
            if used > room {
                break;
            }
            kept.push(c);
        }
        kept.trim_end().to_string() + "…"
    }

    /// Breaks the text at spaces into lines of at most `room`; after `most` lines the rest is elided.
    pub fn wrapped(self, text: &str, room: f64, most: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut words = text.split_whitespace().peekable();
        while words.peek().is_some() {
            if lines.len() + 1 == most {
                let rest: Vec<&str> = words.collect();
                lines.push(self.fitted(&rest.join(" "), room));
                break;
            }
            let mut line = String::new();
            while let Some(word) = words.peek() {
                let longer = if line.is_empty() { word.to_string() } else { format!("{line} {word}") };
                if !line.is_empty() && self.width(&longer) > room {
                    break;
                }
                line = longer;
                words.next();
            }
            lines.push(self.fitted(&line, room));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_grow_with_the_text_and_bold_is_wider() {
        assert!(Face::Regular.width("iii") < Face::Regular.width("www"));
        assert!(Face::Bold.width("loss") > Face::Regular.width("loss"));
        assert_eq!(Face::Regular.width(""), 0.0);
    }

    #[test]
    fn what_the_face_lacks_is_spelled() {
        assert_eq!(Face::Regular.spelled("ok Ж π ␣ ↵ ␛ 10⁻⁴ 東"), "ok Ж π ␣ ↵ \\u{1b} 10⁻⁴ \\u{6771}");
    }

    #[test]
    fn long_text_is_broken_and_then_elided() {
        let lines = Face::Regular.wrapped("one two three four five six seven", 6.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|l| Face::Regular.width(l) <= 6.0), "{lines:?}");
        assert!(lines[1].ends_with('…'));
        assert_eq!(Face::Regular.wrapped("short", 99.0, 3), ["short"]);
        assert!(Face::Regular.wrapped("", 9.0, 3).is_empty());
    }
}
