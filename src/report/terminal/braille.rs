//! A raster of braille dots, two across and four down in every character.

use crate::report::clip::Rectangle;

type RasterPoint = (f64, f64);

/// Dots, and which series drew last in each character.
pub struct Braille {
    pub columns: usize,
    pub rows: usize,
    dots: Vec<u8>,
    owners: Vec<Option<usize>>,
}

/// The bit of each dot, by column and row inside a character (Unicode 1.1 numbered the lowest row last).
const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

impl Braille {
    pub fn new(columns: usize, rows: usize) -> Self {
        Self { columns, rows, dots: vec![0; columns * rows], owners: vec![None; columns * rows] }
    }

    /// Returns the frame through the middles of the outermost dots.
    pub fn frame(&self) -> Rectangle {
        Rectangle { left: 0.0, top: 0.0, right: (self.columns * 2 - 1) as f64, bottom: (self.rows * 4 - 1) as f64 }
    }

    /// Draws a point, if it is inside of the frame.
    pub fn dot(&mut self, (x, y): RasterPoint, owner: usize) {
        if !self.frame().contains((x.round(), y.round())) {
            return;
        }
        let x = x.round() as usize;
        let y = y.round() as usize;
        let at = (y / 4) * self.columns + x / 2;
        self.dots[at] |= BITS[x % 2][y % 4];
        self.owners[at] = Some(owner);
    }

    /// Draws a straight stroke, cut to the frame.
    pub fn stroke(&mut self, a: RasterPoint, b: RasterPoint, owner: usize) {
        let Some((a, b)) = self.frame().segment(a, b) else { return };
        let steps = (b.0 - a.0).abs().max((b.1 - a.1).abs()).ceil().max(1.0);
        for step in 0..=steps as usize {
            let share = step as f64 / steps;
            self.dot((a.0 + (b.0 - a.0) * share, a.1 + (b.1 - a.1) * share), owner);
        }
    }

    /// Returns the character at a place and the series that drew it, if any did.
    pub fn cell(&self, column: usize, row: usize) -> Option<(char, usize)> {
        let at = row * self.columns + column;
        let owner = self.owners[at]?;
        Some((char::from_u32(0x2800 + u32::from(self.dots[at])).unwrap_or('.'), owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_fall_where_they_should_and_strokes_are_cut() {
        let mut raster = Braille::new(2, 1);
        raster.stroke((0.0, 0.0), (3.0, 3.0), 7);
        assert_eq!((raster.cell(0, 0), raster.cell(1, 0)), (Some(('⠑', 7)), Some(('⢄', 7))));
        let mut raster = Braille::new(1, 1);
        raster.stroke((-100.0, 0.0), (100.0, 0.0), 0);
        assert_eq!(raster.cell(0, 0), Some(('⠉', 0)));
        raster.stroke((5.0, 5.0), (9.0, 9.0), 1);
        raster.dot((f64::NAN, 0.0), 1);
        assert_eq!(raster.cell(0, 0), Some(('⠉', 0)));
    }
}
