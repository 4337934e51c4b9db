//! A sheet to draw on: plotters' SVG backend with finer coordinates than whole pixels.

use plotters::backend::SVGBackend;
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, RGBAColor, ShapeStyle, TextStyle};

use super::lettering::{FAMILY, Face};
use crate::base::Result;
use crate::err;
use crate::report::clip::Frame;
use crate::report::palette::Rgb;

/// plotters draws on a grid of whole numbers; ours has this many to a pixel.
const FINE: f64 = 10.0;

/// plotters takes a font's line height for its size; this is the factor by which its SVG divides it again.
const LINE_HEIGHT: f64 = 1.24;

/// A point in CSS pixels from the upper left.
pub type Point = (f64, f64);

/// How a stroke or a filling looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ink {
    pub colour: Rgb,
    pub opacity: f64,
}

impl From<Rgb> for Ink {
    fn from(colour: Rgb) -> Self {
        Ink { colour, opacity: 1.0 }
    }
}

impl Rgb {
    pub fn faint(self, opacity: f64) -> Ink {
        Ink { colour: self, opacity }
    }
}

/// Size and weight of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Type {
    pub size: f64,
    pub face: Face,
}

impl Type {
    pub const fn regular(size: f64) -> Self {
        Self { size, face: Face::Regular }
    }

    pub const fn bold(size: f64) -> Self {
        Self { size, face: Face::Bold }
    }

    pub fn width(self, text: &str) -> f64 {
        self.face.width(text) * self.size
    }

    pub fn fitted(self, text: &str, room: f64) -> String {
        self.face.fitted(text, room / self.size)
    }

    pub fn wrapped(self, text: &str, room: f64, most: usize) -> Vec<String> {
        self.face.wrapped(text, room / self.size, most)
    }
}

/// Which end of a text stands at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// The sheet.
pub struct Canvas<'a> {
    backend: SVGBackend<'a>,
    /// Whether characters that the typeface lacks are spelled out, as they must be where text becomes outlines.
    spelling: bool,
    areas: Vec<Area>,
}

/// A part of a drawing that stands for something, which a page can make a link of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    /// In the units of the drawing's coordinates.
    pub frame: Frame,
    /// Which of the things drawn it is.
    pub index: usize,
}

/// What plotters wrote between the opening and the closing tag, in units of a tenth of a pixel.
pub struct Drawing {
    pub body: String,
    pub width: f64,
    pub height: f64,
    pub areas: Vec<Area>,
}

impl Drawing {
    /// The size of the drawing in the units of its coordinates.
    pub fn view_box(&self) -> (f64, f64) {
        ((self.width * FINE).ceil(), (self.height * FINE).ceil())
    }
}

/// Lets `paint` draw on a sheet of this size.
pub fn draw(width: f64, height: f64, spelling: bool, paint: impl FnOnce(&mut Canvas) -> Result<()>) -> Result<Drawing> {
    let mut text = String::new();
    let size = ((width * FINE).ceil() as u32, (height * FINE).ceil() as u32);
    let mut canvas = Canvas { backend: SVGBackend::with_string(&mut text, size), spelling, areas: Vec::new() };
    paint(&mut canvas)?;
    canvas.backend.present().map_err(failed)?;
    let areas = std::mem::take(&mut canvas.areas);
    drop(canvas);
    // The opening tag is replaced by one of our own.
    let body = text.split_once('\n').map_or("", |(_, rest)| rest);
    let body = body.trim_end().strip_suffix("</svg>").unwrap_or(body);
    Ok(Drawing { body: body.into(), width, height, areas })
}

/// A drawing made of parts on sheets of one size that lie on each other, which a page can tell apart.
pub struct Layers {
    drawing: Drawing,
    spelling: bool,
}

impl Layers {
    pub fn new(width: f64, height: f64, spelling: bool) -> Self {
        Self { drawing: Drawing { body: String::new(), width, height, areas: Vec::new() }, spelling }
    }

    /// Draws on top of what there is.
    pub fn add(&mut self, paint: impl FnOnce(&mut Canvas) -> Result<()>) -> Result<()> {
        let part = draw(self.drawing.width, self.drawing.height, self.spelling, paint)?;
        self.drawing.body.push_str(&part.body);
        self.drawing.areas.extend(part.areas);
        Ok(())
    }

    /// As [`Layers::add`], in a group of this class which says what things it is about, by their numbers.
    pub fn add_about(
        &mut self,
        class: &'static str,
        things: &[usize],
        paint: impl FnOnce(&mut Canvas) -> Result<()>,
    ) -> Result<()> {
        let things: Vec<String> = things.iter().map(usize::to_string).collect();
        self.drawing.body.push_str(&format!("<g class=\"{class}\" data-of=\"{}\">\n", things.join(" ")));
        self.add(paint)?;
        self.drawing.body.push_str("</g>\n");
        Ok(())
    }

    pub fn finished(self) -> Drawing {
        self.drawing
    }
}

impl Canvas<'_> {
    /// Notes that thing `index` was drawn within this frame.
    pub fn area(&mut self, frame: Frame, index: usize) {
        let ((left, top), (right, bottom)) = (fine((frame.left, frame.top)), fine((frame.right, frame.bottom)));
        let [left, top, right, bottom] = [left, top, right, bottom].map(f64::from);
        self.areas.push(Area { frame: Frame { left, top, right, bottom }, index });
    }

    /// A stroke along the points.
    pub fn path(&mut self, points: &[Point], width: f64, ink: impl Into<Ink>) -> Result<()> {
        if points.len() < 2 {
            return Ok(());
        }
        let style = stroke(ink.into(), width);
        self.backend.draw_path(points.iter().map(|p| fine(*p)), &style).map_err(failed)
    }

    pub fn line(&mut self, from: Point, to: Point, width: f64, ink: impl Into<Ink>) -> Result<()> {
        self.path(&[from, to], width, ink)
    }

    /// A stroke along the points that is drawn for `dash` pixels and then lifted for as many.
    pub fn dashed(&mut self, points: &[Point], dash: f64, width: f64, ink: impl Into<Ink>) -> Result<()> {
        let ink = ink.into();
        dashed(points, dash).iter().try_for_each(|piece| self.path(piece, width, ink))
    }

    /// A filled shape.
    pub fn polygon(&mut self, points: &[Point], ink: impl Into<Ink>) -> Result<()> {
        if points.len() < 3 {
            return Ok(());
        }
        self.backend.fill_polygon(points.iter().map(|p| fine(*p)), &colour(ink.into())).map_err(failed)
    }

    /// A filled rectangle between two corners.
    pub fn rectangle(&mut self, a: Point, b: Point, ink: impl Into<Ink>) -> Result<()> {
        let (low, high) = (fine((a.0.min(b.0), a.1.min(b.1))), fine((a.0.max(b.0), a.1.max(b.1))));
        self.backend.draw_rect(low, high, &colour(ink.into()), true).map_err(failed)
    }

    pub fn disc(&mut self, centre: Point, radius: f64, ink: impl Into<Ink>) -> Result<()> {
        let radius = (radius * FINE).round().max(1.0) as u32;
        self.backend.draw_circle(fine(centre), radius, &colour(ink.into()), true).map_err(failed)
    }

    /// A line of text whose middle line runs through `at`.
    pub fn text(&mut self, text: &str, at: Point, anchor: Anchor, kind: Type, ink: impl Into<Ink>) -> Result<()> {
        self.letters(text, at, anchor, kind, ink.into(), FontTransform::None)
    }

    /// A line of text that reads upwards.
    pub fn text_upwards(
        &mut self,
        text: &str,
        at: Point,
        anchor: Anchor,
        kind: Type,
        ink: impl Into<Ink>,
    ) -> Result<()> {
        self.letters(text, at, anchor, kind, ink.into(), FontTransform::Rotate270)
    }

    fn letters(
        &mut self,
        text: &str,
        at: Point,
        anchor: Anchor,
        kind: Type,
        ink: Ink,
        turn: FontTransform,
    ) -> Result<()> {
        let style = match kind.face {
            Face::Regular => FontStyle::Normal,
            Face::Bold => FontStyle::Bold,
        };
        let side = match anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let font = (FAMILY, kind.size * FINE * LINE_HEIGHT, style).into();
        let style = TextStyle { font, color: colour(ink).to_backend_color(), pos: Pos::new(side, VPos::Center) }
            .transform(turn);
        let text = if self.spelling { kind.face.spelled(text) } else { text.into() };
        self.backend.draw_text(&text, &style, fine(at)).map_err(failed)
    }
}

/// The nearest place on plotters' grid; what lies far off the sheet is drawn at a distance that it can count.
fn fine((x, y): Point) -> (i32, i32) {
    let place = |v: f64| (v * FINE).round().clamp(-1e8, 1e8) as i32;
    (place(x), place(y))
}

fn colour(Ink { colour: Rgb(r, g, b), opacity }: Ink) -> RGBAColor {
    RGBAColor(r, g, b, opacity)
}

fn stroke(ink: Ink, width: f64) -> ShapeStyle {
    colour(ink).stroke_width((width * FINE).round().max(1.0) as u32)
}

fn failed(error: impl std::fmt::Display) -> crate::base::Error {
    err!(Bug, "the drawing failed: {error}")
}

/// The pieces of a path that are drawn when the pen is down for `dash` and up for `dash`, in turn.
fn dashed(points: &[Point], dash: f64) -> Vec<Vec<Point>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<Point> = points.first().copied().into_iter().collect();
    let (mut down, mut left) = (true, dash);
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        let mut length = (to.0 - from.0).hypot(to.1 - from.1);
        while length > left {
            let share = left / length;
            from = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
            length -= left;
            if down {
                piece.push(from);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![from];
            }
            (down, left) = (!down, dash);
        }
        left -= length;
        if down {
            piece.push(to);
        }
    }
    if piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_lie_on_each_other_and_say_what_they_are_about() {
        let mut layers = Layers::new(10.0, 5.0, false);
        layers.add(|canvas| canvas.line((0.0, 0.0), (9.0, 0.0), 1.0, Rgb(1, 2, 3))).unwrap();
        layers.add_about("edge", &[3, 7], |canvas| canvas.disc((5.0, 2.0), 1.0, Rgb(4, 5, 6))).unwrap();
        let body = layers.finished().body;
        let at = |text: &str| body.find(text).unwrap();
        assert!(at("#010203") < at("<g class=\"edge\" data-of=\"3 7\">") && at("data-of") < at("#040506"), "{body}");
        assert!(!body.contains("svg") && body.trim_end().ends_with("</g>"), "{body}");
    }

    #[test]
    fn dashes_and_gaps_alternate_around_corners() {
        let pieces = dashed(&[(0.0, 0.0), (5.0, 0.0), (5.0, 5.0)], 2.0);
        assert_eq!(
            pieces,
            [vec![(0.0, 0.0), (2.0, 0.0)], vec![(4.0, 0.0), (5.0, 0.0), (5.0, 1.0)], vec![(5.0, 3.0), (5.0, 5.0)],]
        );
        assert!(dashed(&[], 2.0).is_empty());
    }
}
