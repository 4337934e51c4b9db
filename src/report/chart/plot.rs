//! Places of values on the sheet, by plotters' coordinates.

use std::ops::Range;

use plotters::coord::CoordTranslate;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::*;
use crate::report::clip::Rectangle;
use crate::report::draw::canvas::{pixels, units};
use crate::report::scale::Tick;

/// An axis as plotters knows it: a range, with the ticks that were chosen for its length.
#[derive(Clone)]
pub struct Ruler {
    pub scale: Scale,
    pub ticks: Vec<Tick>,
}

impl Ranged for Ruler {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + units(self.scale.share(*value) * pixels(to - from))
    }

    /// Returns the ticks of the axis, and no lines beside those of the ticks.
    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let ticks = if hint.weight().allow_light_points() { &[] } else { self.ticks.as_slice() };
        ticks.iter().map(|tick| tick.at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.scale.low..self.scale.high
    }
}

impl ValueFormatter<f64> for Ruler {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.at == *value);
        tick.map(|tick| tick.label.clone()).unwrap_or_default()
    }
}

/// Map from values to places on the sheet.
pub type Space = Cartesian2d<Ruler, Ruler>;

/// The part of the sheet between the axes, and what can be seen in it.
pub struct Plot<'a> {
    pub canvas: &'a mut Canvas,
    pub frame: Rectangle,
    pub view: ChartView,
    pub space: Space,
    /// Looks of the series.
    pub styles: &'a [SeriesStyle],
}

impl Plot<'_> {
    /// Returns the plot with the y axis that a series is on, the left one or the right one.
    pub fn of_side(&mut self, is_right: bool) -> Plot<'_> {
        let view = self.view.of_side(is_right);
        // The range of places comes from the top down, whatever the direction of the axis.
        let up = self.space.get_y_axis_pixel_range();
        let places = (self.space.get_x_axis_pixel_range(), up.end..up.start);
        let ruler = Ruler { scale: view.y, ticks: Vec::new() };
        let space = Space::new(self.space.x_spec().clone(), ruler, places);
        Plot { canvas: &mut *self.canvas, frame: self.frame, view, space, styles: self.styles }
    }

    /// Returns the place of a value on the sheet; it may lie outside of the frame.
    pub fn place(&self, x: f64, y: f64) -> Point {
        let (x, y) = self.space.translate(&(x, y));
        (pixels(x), pixels(y))
    }

    pub fn x(&self, value: f64) -> f64 {
        self.place(value, self.view.y.low).0
    }

    pub fn y(&self, value: f64) -> f64 {
        self.place(self.view.x.low, value).1
    }

    /// Returns the height of a value, as [`Plot::y`] does, and no further than the frame.
    pub fn y_inside(&self, value: f64) -> f64 {
        self.inside(Direction::Y, value)
    }

    /// Returns the place of a value along an axis.
    pub fn at(&self, direction: Direction, value: f64) -> f64 {
        match direction {
            Direction::X => self.x(value),
            Direction::Y => self.y(value),
        }
    }

    /// Returns the place of a value along an axis, and no further than the frame.
    pub fn inside(&self, direction: Direction, value: f64) -> f64 {
        let (from, to) = match direction {
            Direction::X => (self.frame.left, self.frame.right),
            Direction::Y => (self.frame.top, self.frame.bottom),
        };
        self.at(direction, value).clamp(from, to)
    }
}
