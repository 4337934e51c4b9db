//! Documents with the labels that rules find in real text.

use crate::base::{Result, Task};
use crate::data::{Document, Documents, labels};

pub struct LabelledDocuments(pub Box<dyn Documents>);

impl Documents for LabelledDocuments {
    fn next(&mut self, task: &Task) -> Result<Option<Document>> {
        let Some(mut document) = self.0.next(task)? else { return Ok(None) };
        if document.marks.is_none() && document.ids.is_none() {
            document.marks = Some(labels::label(&document.text)?);
        }
        Ok(Some(document))
    }
}
