//! Grids: shown as heat maps.

use serde_json::Value;

use super::Item;
use crate::base::{Grid, Result};
use crate::report::chart::Chart;
use crate::report::html::figure;
use crate::report::json;
use crate::report::picture::Picture;
use crate::report::terminal::Screen;

impl Item for Grid {
    fn kind(&self) -> &'static str {
        "grid"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        Chart::heat(self.clone()).text(screen)
    }

    fn html(&self) -> Result<String> {
        figure(&Chart::heat(self.clone()))
    }

    fn data(&self) -> Result<Value> {
        json::grid(self)
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        Some(Box::new(Chart::heat(self.clone())))
    }
}
