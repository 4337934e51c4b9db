//! Finished pictures: SVG for pages, SVG that looks the same everywhere, PNG and PDF, all from one drawing.

use super::clip::Rectangle;
use super::draw::canvas::{Area, Drawing, Size, root};
use super::html::escape;
use super::outlines;
use super::palette::{GROUND, INK, MUTED, RULE};
use super::text_svg;
use crate::base::Result;

/// PNG pixels to a CSS pixel.
const SHARPNESS: f32 = 2.0;

/// A result that can be drawn.
pub trait Picture {
    fn title(&self) -> String;

    /// Describes the picture in one sentence, for those who cannot see it.
    fn description(&self) -> String;

    /// Draws the picture. `spelling` asks for characters that the typeface lacks to be spelled out, as they must be
    /// where text becomes outlines.
    fn draw(&self, spelling: bool) -> Result<Drawing>;

    /// Returns whether files of the picture keep its text as text, since outlines of so much would be large.
    fn keeps_text(&self) -> bool {
        false
    }
}

/// Writes SVG for inside a page: real text, and colours that follow the page's light or dark dress.
pub fn inline_svg(picture: &dyn Picture) -> Result<String> {
    let drawing = picture.draw(false)?;
    Ok(format!("{}{}</svg>\n", opening(picture, &drawing, drawing.view_box(), "img"), dressed(&drawing)))
}

/// A link from a part of a picture: its address, and what is said of it.
pub struct PictureLink {
    pub address: String,
    pub title: String,
}

/// Writes SVG as [`inline_svg`] does, with a link over each part that has one, by the number of what it shows.
pub fn linked_svg(picture: &dyn Picture, links: &[PictureLink]) -> Result<String> {
    let drawing = picture.draw(false)?;
    let over = |area: &Area| {
        let Some(link) = links.get(area.index) else { return String::new() };
        let address = escape::text(&link.address);
        let title = escape::text(&link.title);
        let Rectangle { left, top, .. } = area.frame;
        let wide = area.frame.width();
        let high = area.frame.height();
        format!(
            "<a href=\"{address}\" aria-label=\"{title}\" data-of=\"{}\"><title>{title}</title>\
             <rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{high}\" rx=\"50\"/></a>\n",
            area.index
        )
    };
    let links: String = drawing.areas.iter().map(over).collect();
    Ok(format!("{}{}{links}</svg>\n", opening(picture, &drawing, drawing.view_box(), "group"), dressed(&drawing)))
}

/// Writes the drawing in the colours of the page around it.
fn dressed(drawing: &Drawing) -> String {
    let mut body = drawing.body.clone();
    for (colour, name) in [(INK, "ink"), (MUTED, "muted"), (RULE, "rule"), (GROUND, "ground")] {
        body = body.replace(&format!("\"{}\"", colour.hex()), &format!("\"var(--{name})\""));
    }
    body
}

/// Writes SVG that stands on its own, on a ground of its own: text turned into outlines, so that it needs no font, unless the
/// picture keeps it.
pub fn svg(picture: &dyn Picture) -> Result<String> {
    if picture.keeps_text() {
        let drawing = picture.draw(false)?;
        let opening = opening(picture, &drawing, drawing.view_box(), "img");
        return Ok(format!("{opening}{}</svg>\n", text_svg::body(&drawing)));
    }
    let drawing = picture.draw(true)?;
    let (body, size) = outlines::svg(&drawing)?;
    let ground = format!("<rect width=\"100%\" height=\"100%\" fill=\"{}\"/>", GROUND.hex());
    Ok(format!("{}{ground}{body}\n", opening(picture, &drawing, size, "img")))
}

/// The widest small picture, in pixels.
const SMALL: f64 = 720.0;

/// Maximum number of bytes of a small picture.
const FEW: usize = 60_000;

/// Draws a small PNG, for a gallery: at most 720 pixels wide, and narrower until it has no more than 60,000 bytes.
pub fn small_png(picture: &dyn Picture) -> Result<Vec<u8>> {
    let drawing = picture.draw(true)?;
    let mut scale = (SMALL / drawing.width.max(1.0)).min(1.0);
    loop {
        let bytes = outlines::png(&drawing, scale as f32)?;
        if bytes.len() <= FEW || drawing.width * scale < 100.0 {
            return Ok(bytes);
        }
        scale *= 0.8;
    }
}

/// Draws a picture as PNG, two pixels to a CSS pixel.
pub fn png(picture: &dyn Picture) -> Result<Vec<u8>> {
    encoded(&picture.draw(true)?)
}

/// Pixels of a picture to an inch, where a PNG has one for each.
const INCH: f64 = 96.0;

/// Draws a picture as PNG with so many pixels to an inch. The file says so, and other programs show it at its size.
pub fn png_at(picture: &dyn Picture, dpi: f64) -> Result<Vec<u8>> {
    Ok(with_resolution(&outlines::png(&picture.draw(true)?, (dpi / INCH) as f32)?, dpi))
}

/// Bytes of a PNG before its second chunk: those that open the file, and the header.
const OPENING: usize = 33;

/// Returns a PNG with the number of its pixels to a metre (chunk pHYs).
fn with_resolution(png: &[u8], dpi: f64) -> Vec<u8> {
    let per_metre = ((dpi / 0.0254).round() as u32).to_be_bytes();
    let chunk = [b"pHYs".as_slice(), &per_metre, &per_metre, &[1]].concat();
    let length = (chunk.len() as u32 - 4).to_be_bytes();
    let mut check = flate2::Crc::new();
    check.update(&chunk);
    let (opening, rest) = png.split_at(OPENING.min(png.len()));
    [opening, &length, &chunk, &check.sum().to_be_bytes(), rest].concat()
}

/// Writes a picture as PDF, on one page of its size, without a ground of its own: its text is text, of the embedded
/// typeface.
pub fn pdf(picture: &dyn Picture) -> Result<Vec<u8>> {
    outlines::pdf(&picture.draw(true)?, &picture.title(), &picture.description())
}

/// Encodes a drawing as PNG.
pub fn encoded(drawing: &Drawing) -> Result<Vec<u8>> {
    outlines::png(drawing, SHARPNESS)
}

/// Writes the opening tag with the title and the description that screen readers speak.
fn opening(picture: &dyn Picture, drawing: &Drawing, view_box: Size, role: &str) -> String {
    let title = escape::text(&picture.title());
    let description = escape::text(&picture.description());
    let root = root(drawing, view_box, &format!(" role=\"{role}\" aria-label=\"{title}\""));
    format!("{root}<title>{title}</title><desc>{description}</desc>\n")
}

#[cfg(test)]
mod tests {
    use resvg::{tiny_skia, usvg};

    use super::*;
    use crate::report::outlines::pixels;
    use crate::report::samples;

    #[test]
    fn a_png_has_the_pixels_to_an_inch_that_it_says() {
        let (_, chart) = samples::all().remove(0);
        let bytes = png_at(&chart, 300.0).unwrap();
        let read = tiny_skia::Pixmap::decode_png(&bytes).unwrap();
        // 720 by 440 pixels are 7.5 by 4.58 inches.
        assert_eq!((read.width(), read.height()), (2250, 1375));
        // 300 to an inch are 11,811 to a metre; the sum of the chunk was computed by Python's zlib.
        let chunk = b"\0\0\0\x09pHYs\0\0\x2e\x23\0\0\x2e\x23\x01\x78\xa5\x3f\x76";
        assert_eq!(&bytes[OPENING..OPENING + chunk.len()], chunk);
        assert!(!png(&chart).unwrap().windows(4).any(|name| name == b"pHYs"));
    }

    /// Checks that a stand-alone SVG, read back, is the same picture as the PNG: same size, and the same ink in the
    /// same places.
    #[test]
    fn the_svg_on_its_own_shows_what_the_png_shows() {
        for (name, chart) in samples::all().into_iter().step_by(4) {
            let alone = usvg::Tree::from_str(&svg(&chart).unwrap(), &usvg::Options::default()).unwrap();
            let drawing = chart.draw(true).unwrap();
            let expected = pixels(&drawing, 1.0).unwrap();
            let mut found = tiny_skia::Pixmap::new(expected.width(), expected.height()).unwrap();
            resvg::render(&alone, tiny_skia::Transform::identity(), &mut found.as_mut());
            let far = |(a, b): (&u8, &u8)| a.abs_diff(*b) > 64;
            let different = found.data().iter().zip(expected.data()).filter(|pair| far(*pair)).count();
            assert!(different * 200 < expected.data().len(), "{name}: {different} bytes differ");
            assert!(expected.data().iter().any(|byte| *byte < 128), "{name}: nothing is drawn");
        }
    }
}
