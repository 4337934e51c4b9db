//! Tables with notes below them, as results show them, and fields beside the data of a table.

use serde_json::Value;

use crate::base::{Result, Table};
use crate::report::html::escape;
use crate::report::terminal::screen::wrapped;
use crate::report::visible_text::visible;
use crate::report::{Item, Screen};

/// Writes a table for the screen, and below it notes, broken into lines.
pub fn noted(table: &Table, notes: &[String], screen: &Screen) -> Result<String> {
    let notes: Vec<String> = notes.iter().map(|note| wrapped(&visible(note), screen.width).join("\n")).collect();
    Ok(format!("{}\n{}\n", table.terminal(screen)?.trim_end(), notes.join("\n")))
}

/// Writes notes as paragraphs of a page.
pub fn paragraphs(notes: &[impl AsRef<str>]) -> String {
    notes.iter().map(|note| format!("<p>{}</p>\n", escape::text(note.as_ref()))).collect::<Vec<_>>().concat()
}

/// Adds fields to the data of a table.
pub fn with_fields(mut data: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (data.as_object_mut(), more) {
        fields.extend(more);
    }
    data
}
