//! Pictures whose text is outlines of the embedded typefaces, or is set in them: pixels, PDF, and SVG that needs no font.

use std::sync::{Arc, LazyLock};

use resvg::{tiny_skia, usvg};

use super::draw::canvas::{Drawing, Size, root};
use super::draw::lettering::{Face, Font};
use super::palette::{GROUND, Rgb};
use super::pdf;
use crate::base::{Result, memory};
use crate::err;

/// Writes what stands within an SVG of the drawing, with its size there: outlines come in CSS pixels, whatever units the
/// drawing had.
pub fn svg(drawing: &Drawing) -> Result<(String, Size)> {
    let options = usvg::WriteOptions {
        coordinates_precision: 3,
        transforms_precision: 5,
        indent: usvg::Indent::None,
        ..Default::default()
    };
    let outlined = tree(drawing)?.to_string(&options);
    let body = outlined.split_once('>').map_or("", |(_, rest)| rest);
    Ok((body.to_string(), Size { width: drawing.width, height: drawing.height }))
}

/// Encodes a drawing as PNG, `scale` pixels to a CSS pixel.
pub fn png(drawing: &Drawing, scale: f32) -> Result<Vec<u8>> {
    let pixmap = pixels(drawing, scale)?;
    pixmap.encode_png().map_err(|e| err!(Bug, "the picture cannot be encoded: {e}"))
}

/// Writes a drawing as PDF.
pub fn pdf(drawing: &Drawing, title: &str, description: &str) -> Result<Vec<u8>> {
    pdf::written(&tree(drawing)?, title, description)
}

/// Draws in pixels, `scale` to a CSS pixel.
pub fn pixels(drawing: &Drawing, scale: f32) -> Result<tiny_skia::Pixmap> {
    let width = drawing.width as f32 * scale;
    let height = drawing.height as f32 * scale;
    // Four for a pixel, and as many again while they are encoded.
    let bytes = f64::from(width) * f64::from(height) * 8.0;
    memory::check(bytes as u128, || "the picture".into())?;
    let mut pixmap = tiny_skia::Pixmap::new(width.ceil() as u32, height.ceil() as u32)
        .ok_or_else(|| err!(Memory, "a picture of {width} x {height} pixels is too large"))?;
    let Rgb(r, g, b) = GROUND;
    pixmap.fill(tiny_skia::Color::from_rgba8(r, g, b, 255));
    resvg::render(&tree(drawing)?, tiny_skia::Transform::from_scale(scale, scale), &mut pixmap.as_mut());
    Ok(pixmap)
}

/// Returns the drawing as usvg sees it, text as outlines of the embedded typefaces.
fn tree(drawing: &Drawing) -> Result<usvg::Tree> {
    static FONTS: LazyLock<Arc<usvg::fontdb::Database>> = LazyLock::new(|| {
        let mut fonts = usvg::fontdb::Database::new();
        for face in Face::ALL {
            fonts.load_font_source(usvg::fontdb::Source::Binary(Arc::new(face.bytes())));
        }
        Arc::new(fonts)
    });
    let font_family = Font::Sans.family().into();
    let options = usvg::Options { fontdb: FONTS.clone(), font_family, ..Default::default() };
    let text = format!("{}{}</svg>", root(drawing, drawing.view_box(), ""), drawing.body);
    usvg::Tree::from_str(&text, &options).map_err(|e| err!(Bug, "the drawing cannot be read back: {e}"))
}
