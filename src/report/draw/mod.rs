//! From a chart to a drawing.

mod axes;
mod bars;
pub mod canvas;
pub mod graph;
mod heat;
mod layout;
mod legend;
pub mod lettering;
mod marks;
mod plot;
mod points;

use crate::base::Result;
use crate::report::chart::{Chart, Content};
use crate::report::picture::Picture;
use canvas::Drawing;

impl Picture for Chart {
    fn title(&self) -> String {
        if self.title.is_empty() { self.kind().into() } else { self.title.clone() }
    }

    fn description(&self) -> String {
        self.described()
    }

    fn draw(&self, spelling: bool) -> Result<Drawing> {
        self.check()?;
        match &*self.content {
            Content::Heat { grid, colours } => heat::draw(self, grid, colours, spelling),
            _ => axes::draw(self, spelling),
        }
    }
}
