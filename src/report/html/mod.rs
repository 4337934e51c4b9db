//! Pages: escaping, Markdown, and the frame around the items of a report.

pub mod escape;
pub mod markdown;
pub mod page;

use super::picture::{self, Picture};
use crate::base::Result;

/// Draws a picture inside a page; on narrow screens it keeps a readable size and is moved sideways.
pub fn figure(picture: &dyn Picture) -> Result<String> {
    Ok(format!("<figure class=\"picture\">{}</figure>\n", picture::inline_svg(picture)?))
}
