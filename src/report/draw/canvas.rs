//! A sheet to draw on: a backend of plotters that writes SVG, with finer coordinates than whole pixels.

use std::convert::Infallible;
use std::fmt::Arguments;

use plotters::element::{DashedPathElement, Drawable};
use plotters::style::text_anchor::{Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, ShapeStyle, TextStyle};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind};

use super::lettering::{Face, Font, Lettering};
use crate::base::Result;
use crate::err;
use crate::report::clip::Rectangle;
use crate::report::html::escape;
use crate::report::palette::Rgb;

/// Number of units to a pixel, since plotters draws on a grid of whole numbers.
const FINE: f64 = 10.0;

/// A point in CSS pixels from the upper left.
pub type Point = (f64, f64);

/// Look of a stroke or a filling: a colour, and how much of the ground it hides.
pub use plotters::style::RGBAColor as Ink;

impl From<Rgb> for Ink {
    fn from(colour: Rgb) -> Self {
        colour.faint(1.0)
    }
}

impl Rgb {
    pub fn faint(self, opacity: f64) -> Ink {
        let Rgb(r, g, b) = self;
        Ink(r, g, b, opacity)
    }
}

/// Size and weight of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TypeStyle {
    pub size: f64,
    pub face: Face,
}

impl TypeStyle {
    pub const fn regular(size: f64) -> Self {
        Self { size, face: Face { font: Font::Sans, is_bold: false } }
    }

    pub const fn bold(size: f64) -> Self {
        Self { size, face: Face { font: Font::Sans, is_bold: true } }
    }

    /// Returns the style in a family, for its widths: a sheet has one family, in which all of its text is drawn.
    pub fn of(self, font: Font) -> Self {
        Self { face: Face { font, ..self.face }, ..self }
    }

    /// Returns the type as plotters knows it.
    pub fn style(self, ink: impl Into<Ink>) -> TextStyle<'static> {
        let weight = if self.face.is_bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = (self.face.font.family(), self.size * FINE, weight).into();
        TextStyle { font, color: ink.into().to_backend_color(), pos: Pos::default() }
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

/// Side of a text that stands at its point.
pub use plotters::style::text_anchor::HPos as Anchor;

/// A sheet to draw on.
#[derive(Default)]
pub struct Canvas {
    body: String,
    size: (u32, u32),
    lettering: Lettering,
    areas: Vec<Area>,
}

/// A part of a drawing that stands for something, which a page can make a link of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    /// The frame of the part, in the units of the drawing's coordinates.
    pub frame: Rectangle,
    /// The number of the thing that the part stands for.
    pub index: usize,
}

/// A width and a height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    pub width: f64,
    pub height: f64,
}

/// A drawing: all between the opening and the closing tag of its SVG, in units of a tenth of a pixel.
pub struct Drawing {
    pub body: String,
    /// Size in pixels, with the scale.
    pub width: f64,
    pub height: f64,
    /// Factor by which everything on the sheet is larger than it was drawn.
    pub scale: f64,
    pub areas: Vec<Area>,
}

impl Drawing {
    /// Returns the size of the drawing in the units of its coordinates.
    pub fn view_box(&self) -> Size {
        let fine = |pixels: f64| (pixels / self.scale * FINE).ceil();
        Size { width: fine(self.width), height: fine(self.height) }
    }

    /// Returns the drawing with everything in it larger by a factor: letters, lines and the sheet.
    pub fn scaled(self, factor: f64) -> Self {
        let Self { width, height, scale, .. } = self;
        Self { width: width * factor, height: height * factor, scale: scale * factor, ..self }
    }
}

/// Lets `paint` draw on a sheet of this size.
pub fn draw(
    width: f64,
    height: f64,
    lettering: impl Into<Lettering>,
    paint: impl FnOnce(&mut Canvas) -> Result<()>,
) -> Result<Drawing> {
    let size = (units(width.ceil()) as u32, units(height.ceil()) as u32);
    let mut canvas = Canvas { size, lettering: lettering.into(), ..Canvas::default() };
    paint(&mut canvas)?;
    Ok(Drawing { body: canvas.body, width, height, scale: 1.0, areas: canvas.areas })
}

/// A drawing made of parts on sheets of one size that lie on each other, which a page can tell apart.
pub struct Layers {
    drawing: Drawing,
    lettering: Lettering,
}

impl Layers {
    pub fn new(width: f64, height: f64, lettering: impl Into<Lettering>) -> Self {
        let drawing = Drawing { body: String::new(), width, height, scale: 1.0, areas: Vec::new() };
        Self { drawing, lettering: lettering.into() }
    }

    /// Draws a layer on top of those that there are.
    pub fn add(&mut self, paint: impl FnOnce(&mut Canvas) -> Result<()>) -> Result<()> {
        let part = draw(self.drawing.width, self.drawing.height, self.lettering, paint)?;
        self.drawing.body.push_str(&part.body);
        self.drawing.areas.extend(part.areas);
        Ok(())
    }

    /// Places a drawing on top of the layers that there are, with its upper left corner at this point.
    pub fn place(&mut self, (left, top): Point, drawing: &Drawing) {
        let group = format!("<g transform=\"translate({}, {})\">\n{}</g>\n", units(left), units(top), drawing.body);
        self.drawing.body.push_str(&group);
    }

    /// Draws a layer as [`Layers::add`] does, in a group of this class which says what things it is about, by their
    /// numbers.
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

impl Canvas {
    /// Returns the family in which all text of the sheet is set.
    pub fn font(&self) -> Font {
        self.lettering.font
    }

    /// Records the frame within which thing `index` was drawn.
    pub fn area(&mut self, frame: Rectangle, index: usize) {
        let [left, top, right, bottom] =
            [frame.left, frame.top, frame.right, frame.bottom].map(|place| f64::from(units(place)));
        self.areas.push(Area { frame: Rectangle { left, top, right, bottom }, index });
    }

    /// Draws a stroke along the points.
    pub fn path(&mut self, points: &[Point], width: f64, ink: impl Into<Ink>) -> Result<()> {
        if points.len() < 2 {
            return Ok(());
        }
        let style = stroke(ink, width);
        self.draw_path(points.iter().map(|p| fine(*p)), &style).map_err(failed)
    }

    pub fn line(&mut self, from: Point, to: Point, width: f64, ink: impl Into<Ink>) -> Result<()> {
        self.path(&[from, to], width, ink)
    }

    /// Draws a stroke along the points that is drawn for `dash` pixels and then lifted for as many.
    pub fn dashed(&mut self, points: &[Point], dash: f64, width: f64, ink: impl Into<Ink>) -> Result<()> {
        let points: Vec<BackendCoord> = points.iter().map(|p| fine(*p)).collect();
        let dash = units(dash);
        let size = self.size;
        let element = DashedPathElement::new(points.iter().copied(), dash, dash, stroke(ink, width));
        element.draw(points.iter().copied(), self, size).map_err(failed)
    }

    /// Fills a shape.
    pub fn polygon(&mut self, points: &[Point], ink: impl Into<Ink>) -> Result<()> {
        if points.len() < 3 {
            return Ok(());
        }
        self.fill_polygon(points.iter().map(|p| fine(*p)), &ink.into()).map_err(failed)
    }

    /// Fills a rectangle between two corners.
    pub fn rectangle(&mut self, a: Point, b: Point, ink: impl Into<Ink>) -> Result<()> {
        let low = (a.0.min(b.0), a.1.min(b.1));
        let high = (a.0.max(b.0), a.1.max(b.1));
        self.draw_rect(fine(low), fine(high), &ink.into(), true).map_err(failed)
    }

    pub fn disc(&mut self, centre: Point, radius: f64, ink: impl Into<Ink>) -> Result<()> {
        let radius = units(radius).max(1) as u32;
        self.draw_circle(fine(centre), radius, &ink.into(), true).map_err(failed)
    }

    /// Writes a line of text whose middle line runs through `at`.
    pub fn text(&mut self, text: &str, at: Point, side: Anchor, kind: TypeStyle, ink: impl Into<Ink>) -> Result<()> {
        let style = kind.style(ink).pos(Pos::new(side, VPos::Center));
        self.draw_text(text, &style, fine(at)).map_err(failed)
    }

    /// Writes a line of text that reads upwards.
    pub fn text_upwards(&mut self, text: &str, at: Point, side: Anchor, kind: TypeStyle, ink: Rgb) -> Result<()> {
        let style = kind.style(ink).pos(Pos::new(side, VPos::Center)).transform(FontTransform::Rotate270);
        self.draw_text(text, &style, fine(at)).map_err(failed)
    }

    /// Writes a shape, unless nothing of it could be seen.
    fn shape<S: BackendStyle>(&mut self, shape: Arguments, style: &S, filled: bool) -> DrawingResult {
        let BackendColor { rgb: (r, g, b), alpha } = style.color();
        let ink = Rgb(r, g, b).hex();
        let paint = if filled {
            format!("fill=\"{ink}\"")
        } else {
            format!("fill=\"none\" stroke=\"{ink}\" stroke-width=\"{}\"", style.stroke_width())
        };
        if alpha > 0.0 {
            self.body.push_str(&format!("<{shape} opacity=\"{alpha}\" {paint}/>\n"));
        }
        Ok(())
    }
}

/// Result of a shape as plotters expects it; drawing a shape cannot fail.
type DrawingResult = std::result::Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Canvas {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> DrawingResult {
        Ok(())
    }

    fn present(&mut self) -> DrawingResult {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, colour: BackendColor) -> DrawingResult {
        self.draw_rect((x, y), (x + 1, y + 1), &colour, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> DrawingResult {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        a: BackendCoord,
        b: BackendCoord,
        style: &S,
        filled: bool,
    ) -> DrawingResult {
        let size = format_args!("width=\"{}\" height=\"{}\"", b.0 - a.0, b.1 - a.1);
        self.shape(format_args!("rect x=\"{}\" y=\"{}\" {size}", a.0, a.1), style, filled)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> DrawingResult {
        self.shape(format_args!("polyline points=\"{}\"", points(path)), style, false)
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> DrawingResult {
        self.shape(format_args!("polygon points=\"{}\"", points(path)), style, true)
    }

    fn draw_circle<S: BackendStyle>(&mut self, (x, y): BackendCoord, r: u32, style: &S, filled: bool) -> DrawingResult {
        self.shape(format_args!("circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\""), style, filled)
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> DrawingResult {
        let side = match style.anchor().h_pos {
            Anchor::Left => "start",
            Anchor::Center => "middle",
            Anchor::Right => "end",
        };
        // How far the base line lies below the point.
        let down = match style.anchor().v_pos {
            VPos::Top => "0.76em",
            VPos::Center => "0.5ex",
            VPos::Bottom => "-0.5ex",
        };
        let Lettering { font, spelling } = self.lettering;
        let is_bold = matches!(style.style(), FontStyle::Bold);
        let weight = if is_bold { " font-weight=\"bold\"" } else { "" };
        let turn = match style.transform() {
            FontTransform::None => 0,
            FontTransform::Rotate90 => 90,
            FontTransform::Rotate180 => 180,
            FontTransform::Rotate270 => 270,
        };
        let BackendColor { rgb: (r, g, b), alpha } = style.color();
        let place = format_args!("x=\"{x}\" y=\"{y}\" dy=\"{down}\" text-anchor=\"{side}\"");
        let turn = if turn == 0 { String::new() } else { format!(" transform=\"rotate({turn}, {x}, {y})\"") };
        let face = Face { font, is_bold };
        let set = format_args!("font-family=\"{}\" font-size=\"{}\"{weight}", font.family(), style.size());
        let ink = format_args!("opacity=\"{alpha}\" fill=\"{}\"", Rgb(r, g, b).hex());
        let text = escape::text(&if spelling { face.spelled(text) } else { text.into() });
        self.body.push_str(&format!("<text {place}{turn} {set} {ink}>\n{text}\n</text>\n"));
        Ok(())
    }
}

fn points(path: impl IntoIterator<Item = BackendCoord>) -> String {
    path.into_iter().map(|(x, y)| format!("{x},{y} ")).collect()
}

/// Converts pixels to units of plotters' grid; a place far off the sheet is drawn at a distance that plotters can
/// count.
pub fn units(pixels: f64) -> i32 {
    (pixels * FINE).round().clamp(-1e8, 1e8) as i32
}

/// Converts units of plotters' grid to pixels.
pub fn pixels(units: i32) -> f64 {
    f64::from(units) / FINE
}

fn fine((x, y): Point) -> BackendCoord {
    (units(x), units(y))
}

/// Returns a stroke of this width as plotters knows it.
pub fn stroke(ink: impl Into<Ink>, width: f64) -> ShapeStyle {
    ShapeStyle { color: ink.into(), filled: false, stroke_width: units(width).max(1) as u32 }
}

pub fn failed(error: impl std::fmt::Display) -> crate::base::Error {
    err!(Bug, "the drawing failed: {error}")
}

/// Writes the opening tag of a drawing, with `more` attributes.
pub fn root(drawing: &Drawing, Size { width, height }: Size, more: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {width} {height}\" stroke-linejoin=\"round\"{more}>",
        drawing.width, drawing.height
    )
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
    fn a_drawing_that_is_placed_or_scaled_keeps_its_coordinates() {
        let dot = draw(4.0, 4.0, false, |canvas| canvas.disc((1.0, 2.0), 1.0, Rgb(4, 5, 6))).unwrap();
        let mut layers = Layers::new(20.0, 10.0, false);
        layers.place((12.5, 3.0), &dot);
        let placed = layers.finished();
        assert_eq!(placed.body, format!("<g transform=\"translate(125, 30)\">\n{}</g>\n", dot.body));
        let large = placed.scaled(1.5);
        assert_eq!((large.width, large.height, large.view_box()), (30.0, 15.0, Size { width: 200.0, height: 100.0 }));
    }

    #[test]
    fn dashes_and_gaps_alternate_around_corners() {
        let corner = [(0.0, 0.0), (5.0, 0.0), (5.0, 5.0)];
        let drawing = draw(9.0, 9.0, false, |canvas| canvas.dashed(&corner, 2.0, 1.0, Rgb(1, 2, 3))).unwrap();
        let drawn = |piece: &str| drawing.body.contains(&format!("points=\"{piece} \""));
        assert!(drawn("0,0 20,0") && drawn("40,0 50,0 50,10") && drawn("50,30 50,50"), "{}", drawing.body);
    }
}
