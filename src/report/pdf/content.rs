//! The page of a PDF: paths and texts of a drawing, as operators.

use std::collections::BTreeSet;

use resvg::usvg;
use usvg::layout::{PositionedGlyph, Span};
use usvg::tiny_skia_path::{PathSegment, Point};
use usvg::{FillRule, Group, LineCap, LineJoin, Node, Paint, Path, Text, Transform};

use super::font::UsedFont;
use crate::base::Result;

/// Digits of a coordinate after the point: a thousandth of a pixel is never seen.
const DIGITS: usize = 3;

/// Content of a page, in pixels from its upper left corner, with the fonts and opacities that it needs.
#[derive(Default)]
pub struct PageContent {
    pub operators: String,
    /// Fonts with the glyphs that are used, in the order of their first use.
    pub fonts: Vec<UsedFont>,
    /// Opacities other than none, in thousandths.
    pub opacities: BTreeSet<u16>,
    /// Opacity of what is drawn next, in thousandths.
    opacity: u16,
}

impl PageContent {
    pub fn of(tree: &usvg::Tree) -> Result<Self> {
        let mut page = Self { opacity: 1000, ..Self::default() };
        page.group(tree, tree.root(), 1.0)?;
        Ok(page)
    }

    /// Draws a group. In our drawings one that is translucent has one shape only, which then is.
    fn group(&mut self, tree: &usvg::Tree, group: &Group, opacity: f32) -> Result<()> {
        let opacity = opacity * group.opacity().get();
        for node in group.children() {
            match node {
                Node::Group(inner) => self.group(tree, inner, opacity)?,
                Node::Path(path) => self.path(path, opacity),
                Node::Text(text) => self.text(tree, text, opacity)?,
                // Drawings have none.
                Node::Image(_) => {}
            }
        }
        Ok(())
    }

    fn put(&mut self, line: &str) {
        self.operators.push_str(line);
        self.operators.push('\n');
    }

    /// Sets the opacity of what is drawn next.
    fn set_opacity(&mut self, opacity: f32) {
        let thousandths = (opacity * 1000.0).round() as u16;
        if thousandths != self.opacity {
            self.opacity = thousandths;
            self.opacities.insert(thousandths);
            self.put(&format!("/G{thousandths} gs"));
        }
    }

    /// Sets the colour by an operator; a paint that is no colour, which drawings have not, is black.
    fn set_colour(&mut self, paint: &Paint, operator: &str) {
        let levels = match paint {
            Paint::Color(colour) => [colour.red, colour.green, colour.blue],
            _ => [0; 3],
        };
        let [r, g, b] = levels.map(|level| number(f32::from(level) / 255.0));
        self.put(&format!("{r} {g} {b} {operator}"));
    }

    fn path(&mut self, path: &Path, opacity: f32) {
        let transform = path.abs_transform();
        let Some(data) = path.data().clone().transform(transform) else { return };
        if !path.is_visible() {
            return;
        }
        let outline = outline(&data);
        if let Some(fill) = path.fill() {
            self.set_opacity(opacity * fill.opacity().get());
            self.set_colour(fill.paint(), "rg");
            let operator = if fill.rule() == FillRule::EvenOdd { "f*" } else { "f" };
            self.put(&format!("{outline}{operator}"));
        }
        if let Some(stroke) = path.stroke() {
            self.set_opacity(opacity * stroke.opacity().get());
            self.set_colour(stroke.paint(), "RG");
            let cap = match stroke.linecap() {
                LineCap::Butt => 0,
                LineCap::Round => 1,
                LineCap::Square => 2,
            };
            let join = match stroke.linejoin() {
                LineJoin::Miter | LineJoin::MiterClip => 0,
                LineJoin::Round => 1,
                LineJoin::Bevel => 2,
            };
            let width = number(stroke.width().get() * transform.get_scale().0);
            self.put(&format!("{width} w {cap} J {join} j\n{outline}S"));
        }
    }

    fn text(&mut self, tree: &usvg::Tree, text: &Text, opacity: f32) -> Result<()> {
        for span in text.layouted() {
            let Span { fill: Some(fill), visible: true, positioned_glyphs, .. } = span else { continue };
            self.set_opacity(opacity * fill.opacity().get());
            self.set_colour(fill.paint(), "rg");
            // An accent that stands above a letter is off the line.
            let is_on_line = |a: &PositionedGlyph, b: &PositionedGlyph| {
                let off = a.outline_transform().ty - b.outline_transform().ty;
                a.font == b.font && off.abs() < 1e-3 * a.font_size()
            };
            for run in positioned_glyphs.chunk_by(is_on_line) {
                self.run(tree, run, text.abs_transform())?;
            }
        }
        Ok(())
    }

    /// Writes glyphs of one font that stand on one line.
    fn run(&mut self, tree: &usvg::Tree, glyphs: &[PositionedGlyph], transform: Transform) -> Result<()> {
        let Some(first) = glyphs.first() else { return Ok(()) };
        let number_of_font = self.font(tree, first.font)?;
        let font = &mut self.fonts[number_of_font];
        // Outlines are in units of the font, and text in PDF is in its size.
        let place = |glyph: &PositionedGlyph| transform.pre_concat(glyph.outline_transform());
        let start = place(first);
        let units = f32::from(font.units());
        let size = (start.sx * units).hypot(start.ky * units);
        let along = (start.sx * units / size, start.ky * units / size);
        let mut shown = String::new();
        // The place where the next glyph would stand by the widths alone, in thousandths of the size.
        let mut next = 0.0;
        for glyph in glyphs {
            let Ok(id) = u16::try_from(glyph.id.0) else { continue };
            let at = place(glyph);
            let wanted = ((at.tx - start.tx) * along.0 + (at.ty - start.ty) * along.1) / size * 1000.0;
            let back = (next - wanted).round();
            if back != 0.0 {
                shown.push_str(&format!("> {back} <"));
                next -= back;
            }
            shown.push_str(&format!("{id:04X}"));
            next += f32::from(font.width(id)?);
            // Of several glyphs that are one cluster only the last has its text.
            let known = font.glyphs.entry(id).or_default();
            if known.is_empty() {
                known.clone_from(&glyph.text);
            }
        }
        let turn = [start.sx, start.ky, start.kx, start.sy].map(|part| number(part * units)).join(" ");
        let place = [start.tx, start.ty].map(number).join(" ");
        self.put(&format!("BT /F{number_of_font} 1 Tf {turn} {place} Tm [<{shown}>] TJ ET"));
        Ok(())
    }

    /// Returns the number of a font on the page.
    fn font(&mut self, tree: &usvg::Tree, id: usvg::fontdb::ID) -> Result<usize> {
        if let Some(known) = self.fonts.iter().position(|font| font.id == id) {
            return Ok(known);
        }
        self.fonts.push(UsedFont::of(tree.fontdb(), id)?);
        Ok(self.fonts.len() - 1)
    }
}

/// Writes a number with as many digits as are seen.
pub fn number(value: f32) -> String {
    let text = format!("{value:.DIGITS$}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".into() } else { short.into() }
}

/// Writes the segments of a path.
fn outline(path: &usvg::tiny_skia_path::Path) -> String {
    let mut out = String::new();
    let at = |point: Point| format!("{} {}", number(point.x), number(point.y));
    let mut last = Point::zero();
    for segment in path.segments() {
        let line = match segment {
            PathSegment::MoveTo(to) => format!("{} m\n", at(to)),
            PathSegment::LineTo(to) => format!("{} l\n", at(to)),
            PathSegment::QuadTo(control, to) => {
                // A curve of the third degree with the same course.
                let toward = |end: Point| {
                    Point::from_xy(end.x + (control.x - end.x) * 2.0 / 3.0, end.y + (control.y - end.y) * 2.0 / 3.0)
                };
                format!("{} {} {} c\n", at(toward(last)), at(toward(to)), at(to))
            }
            PathSegment::CubicTo(first, second, to) => format!("{} {} {} c\n", at(first), at(second), at(to)),
            PathSegment::Close => "h\n".into(),
        };
        out.push_str(&line);
        last = match segment {
            PathSegment::MoveTo(to)
            | PathSegment::LineTo(to)
            | PathSegment::QuadTo(_, to)
            | PathSegment::CubicTo(_, _, to) => to,
            PathSegment::Close => last,
        };
    }
    out
}
