//! Pictures as sixels, for terminals that show them.

use icy_sixel::{BackgroundMode, SixelImage};

use crate::base::Result;
use crate::err;
use crate::report::draw::canvas::Drawing;
use crate::report::outlines;

/// Encodes a drawing. Sixel has no density of its own: one pixel of the picture is one of the screen.
pub fn sixel(drawing: &Drawing) -> Result<String> {
    let pixmap = outlines::pixels(drawing, 1.0)?;
    let width = pixmap.width() as usize;
    let height = pixmap.height() as usize;
    let image = SixelImage::try_from_rgba(pixmap.take(), width, height)
        .map(|image| image.with_background_mode(BackgroundMode::Opaque))
        .and_then(|image| image.encode());
    image.map(|sixel| sixel + "\n").map_err(|e| err!(Bug, "the picture cannot be sent as sixel: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::picture::Picture;

    #[test]
    fn the_picture_is_sent_in_its_own_size() {
        let (_, chart) = crate::report::samples::all().remove(0);
        let sent = sixel(&chart.draw(true).unwrap()).unwrap();
        let decoded = SixelImage::decode(sent.trim_end().as_bytes()).unwrap();
        // Sixels are six pixels high.
        assert_eq!((decoded.width, decoded.height), (720, 444));
    }
}
