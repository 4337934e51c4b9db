//! Pictures of outlines in a build without the feature `pictures`: pixels and PDF are refused, and SVG keeps its text as text,
//! for which whoever shows it has a typeface.

use super::draw::canvas::{Drawing, Size};
use super::draw::lettering::Font;
use crate::base::{Error, Result};

pub fn svg(drawing: &Drawing) -> Result<(String, Size)> {
    let family = Font::Sans.family();
    let style = format!("<style>text{{font-family:\"{family}\",Verdana,sans-serif}}</style>");
    Ok((format!("{style}{}</svg>", drawing.body), drawing.view_box()))
}

pub fn png(_drawing: &Drawing, _scale: f32) -> Result<Vec<u8>> {
    Err(Error::not_built("pictures of pixels", "pictures"))
}

pub fn pdf(_drawing: &Drawing, _title: &str, _description: &str) -> Result<Vec<u8>> {
    Err(Error::not_built("pictures in PDF", "pictures"))
}
