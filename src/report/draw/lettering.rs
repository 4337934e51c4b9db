//! Lettering: how wide a text is in the typefaces, and which characters they can show.

pub use super::face::{Face, Font};
use super::faces;

/// Setting of the text of a sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lettering {
    pub font: Font,
    /// Whether characters that the typefaces lack are spelled out, as they must be where text becomes outlines.
    pub spelling: bool,
}

impl Default for Lettering {
    fn default() -> Self {
        Self { font: Font::Sans, spelling: false }
    }
}

/// Setting in the usual family, with spelling or without.
impl From<bool> for Lettering {
    fn from(spelling: bool) -> Self {
        Self { spelling, ..Self::default() }
    }
}

impl Face {
    /// Returns how far a character moves on, in units of the font size: in the face itself, or in the sans where only it has
    /// the character.
    fn advance(self, c: char) -> Option<f64> {
        let faces = [self, Self { font: Font::Sans, ..self }];
        faces.into_iter().find_map(|face| faces::advance(face, c))
    }

    /// Returns the width of `text` in units of the font size.
    pub fn width(self, text: &str) -> f64 {
        text.chars().map(|c| self.advance(c).unwrap_or_else(|| faces::box_advance(self))).sum()
    }

    fn has(self, c: char) -> bool {
        self.advance(c).is_some()
    }

    /// Returns the text with every character that the typefaces lack written as its code, which says more than an empty
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

    const SANS: Face = Face::ALL[0];

    #[test]
    fn widths_grow_with_the_text_and_bold_is_wider() {
        for [regular, bold] in [[SANS, Face::ALL[1]], [Face::ALL[2], Face::ALL[3]]] {
            assert!(regular.width("iii") < regular.width("www"));
            assert!(bold.width("loss") > regular.width("loss"));
            assert_eq!(regular.width(""), 0.0);
        }
        assert_ne!(SANS.width("loss"), Face::ALL[2].width("loss"));
    }

    #[test]
    fn what_no_face_has_is_spelled() {
        for face in Face::ALL {
            // The serif has no Hebrew, which the sans then shows.
            assert_eq!(face.spelled("ok Ж π ␣ ↵ א ␛ 10⁻⁴ 東"), "ok Ж π ␣ ↵ א \\u{1b} 10⁻⁴ \\u{6771}");
        }
        assert_eq!(Face::ALL[2].width("א"), SANS.width("א"));
    }

    #[test]
    fn long_text_is_broken_and_then_elided() {
        let lines = SANS.wrapped("one two three four five six seven", 6.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|l| SANS.width(l) <= 6.0), "{lines:?}");
        assert!(lines[1].ends_with('…'));
        assert_eq!(SANS.wrapped("short", 99.0, 3), ["short"]);
        assert!(SANS.wrapped("", 9.0, 3).is_empty());
    }
}
