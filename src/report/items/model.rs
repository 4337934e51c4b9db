//! Pictures of models: drawn on pages, and as a table in the terminal.

use serde_json::Value;

use super::Item;
use crate::base::Result;
use crate::report::block::ModelPicture;
use crate::report::html::figure;
use crate::report::json::json;
use crate::report::picture::Picture;
use crate::report::terminal::Screen;

impl Item for ModelPicture {
    fn kind(&self) -> &'static str {
        "model picture"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        self.table().terminal(screen)
    }

    fn html(&self) -> Result<String> {
        figure(self)
    }

    fn data(&self) -> Result<Value> {
        Ok(serde_json::json!({ "title": self.title, "sections": json(&self.sections)? }))
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        Some(Box::new(self.clone()))
    }
}
