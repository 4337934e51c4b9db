//! Families of typefaces and their faces.

crate::choices! {
    /// Families of typefaces, in which the text of pictures is set.
    pub enum Font {
        /// DejaVu Sans.
        Sans = "sans",
        /// DejaVu Serif.
        Serif = "serif",
    }
}

impl Font {
    /// Returns the family's name inside the font files, which SVG refers to.
    pub fn family(self) -> &'static str {
        match self {
            Font::Sans => "DejaVu Sans",
            Font::Serif => "DejaVu Serif",
        }
    }
}

/// Face of a family: its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Face {
    pub font: Font,
    pub is_bold: bool,
}

impl Face {
    /// Faces of all families.
    pub const ALL: [Self; 4] = [
        Self { font: Font::Sans, is_bold: false },
        Self { font: Font::Sans, is_bold: true },
        Self { font: Font::Serif, is_bold: false },
        Self { font: Font::Serif, is_bold: true },
    ];
}
