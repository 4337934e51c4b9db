//! From values to places on the sheet.

use super::canvas::Point;
use crate::report::chart::View;
use crate::report::clip::Frame;

/// The plot's place on the sheet, and the ranges that it shows.
pub struct Plot {
    pub frame: Frame,
    pub view: View,
}

impl Plot {
    /// Where a value stands on the sheet; it may lie outside of the frame.
    pub fn place(&self, x: f64, y: f64) -> Point {
        (self.x(x), self.y(y))
    }

    pub fn x(&self, value: f64) -> f64 {
        self.frame.left + self.view.x.share(value) * self.frame.width()
    }

    pub fn y(&self, value: f64) -> f64 {
        self.frame.bottom - self.view.y.share(value) * self.frame.height()
    }

    /// As [`Plot::y`], and no further than the frame.
    pub fn y_inside(&self, value: f64) -> f64 {
        self.y(value).clamp(self.frame.top, self.frame.bottom)
    }
}
