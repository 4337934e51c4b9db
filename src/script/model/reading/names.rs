//! Labels of tokens: their text, or their id where the model has no text for it.

use crate::model::Model;
use crate::report::visible_text;

/// Returns the text of a token; rows of a model beyond the tokens of its tokenizer have none.
fn known(model: &Model, id: u32) -> Option<String> {
    model.tokenizer.as_ref()?.text_of(id).ok()
}

/// Names a token by itself, in data.
pub fn name(model: &Model, id: u32) -> String {
    known(model, id).unwrap_or_else(|| id.to_string())
}

/// Names a token as a label: spaces at its ends are shown.
pub fn label(model: &Model, id: u32) -> String {
    visible_text::token(&name(model, id))
}

/// Names a token as the label of its position.
pub fn placed(model: &Model, position: usize, id: u32) -> String {
    format!("{position} {}", label(model, id))
}

/// Writes tokens as running text; ids are set apart by spaces.
pub fn running(model: &Model, ids: &[u32]) -> Vec<String> {
    ids.iter().map(|id| known(model, *id).unwrap_or_else(|| format!(" {id}"))).collect()
}
