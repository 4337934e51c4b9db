//! The embedded typefaces.

#[cfg(test)]
#[path = "no_faces.rs"]
mod table;

use std::sync::LazyLock;

use ab_glyph::{Font as _, FontRef, GlyphId};

use super::face::{Face, Font};

impl Face {
    /// Returns the bytes of the font file. The function is not inlined, since every piece of the crate that calls it
    /// would hold the fonts once more.
    #[inline(never)]
    pub fn bytes(self) -> &'static [u8] {
        match (self.font, self.is_bold) {
            (Font::Sans, false) => dejavu::sans::regular(),
            (Font::Sans, true) => dejavu::sans::bold(),
            (Font::Serif, false) => dejavu::serif::regular(),
            (Font::Serif, true) => dejavu::serif::bold(),
        }
    }
}

fn file(face: Face) -> Option<&'static FontRef<'static>> {
    static FILES: LazyLock<[Option<FontRef<'static>>; 4]> =
        LazyLock::new(|| Face::ALL.map(|face| FontRef::try_from_slice(face.bytes()).ok()));
    FILES[2 * face.font as usize + usize::from(face.is_bold)].as_ref()
}

fn advance_of(font: &FontRef<'static>, glyph: GlyphId) -> f64 {
    f64::from(font.h_advance_unscaled(glyph)) / f64::from(font.units_per_em().unwrap_or(2048.0))
}

/// Returns how far a character of the face moves on, in units of the font size.
pub fn advance(face: Face, c: char) -> Option<f64> {
    let font = file(face)?;
    Some(font.glyph_id(c)).filter(|glyph| glyph.0 != 0).map(|glyph| advance_of(font, glyph))
}

/// Returns how far the empty box moves on that is drawn for a character that no face has.
pub fn box_advance(face: Face) -> f64 {
    file(face).map_or(1.0, |font| advance_of(font, GlyphId(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the table of builds without the fonts, which `advances.py` writes.
    #[test]
    fn the_table_has_the_advances_of_the_fonts() {
        for face in Face::ALL {
            assert_eq!(table::box_advance(face), box_advance(face));
            for c in '\0'..='\u{2ffff}' {
                assert_eq!(table::advance(face, c), advance(face, c), "{face:?}: {c:?}");
            }
        }
    }
}
