//! Charts: drawn on pages, and as far as characters go in the terminal.

use serde_json::Value;

use super::Item;
use crate::base::Result;
use crate::report::chart::Chart;
use crate::report::html::figure;
use crate::report::json::json;
use crate::report::picture::Picture;
use crate::report::terminal::Screen;

impl Item for Chart {
    fn kind(&self) -> &'static str {
        "chart"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        self.text(screen)
    }

    fn html(&self) -> Result<String> {
        figure(self)
    }

    fn data(&self) -> Result<Value> {
        json(self)
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        Some(Box::new(self.clone()))
    }
}
