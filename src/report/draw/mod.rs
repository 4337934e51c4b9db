//! From a chart to a drawing.

mod axes;
mod bars;
pub mod canvas;
mod dashes;
mod heat;
mod layout;
mod legend;
pub mod lettering;
mod marks;
mod points;

use crate::base::Result;
use crate::report::chart::{Chart, Content};
use canvas::Drawing;

/// Draws the chart. `spelling` asks for characters that the typeface lacks to be spelled out, as they must be where
/// the text becomes outlines.
pub fn chart(chart: &Chart, spelling: bool) -> Result<Drawing> {
    chart.check()?;
    match &chart.content {
        Content::Heat { grid, colours } => heat::draw(chart, grid, colours, spelling),
        _ => axes::draw(chart, spelling),
    }
}
