//! A text by lenses: what each layer predicts at the last positions, by the logit lens and the fitted ones.

use serde::{Deserialize, Serialize};

use super::super::state::Explorer;
use super::tokens::{name, tokens};
use crate::base::{Result, Task};
use crate::model::batch::Batch;
use crate::model::reading::fitted::FittedLens;
use crate::model::reading::lens_page::{LensPage, LensPageOptions};
use crate::model::run::RecordOptions;
use crate::report::items::Item;

/// Maximum number of positions that are read. Each has the ranks of all its guesses in all layers, so those of a whole
/// context would be too much for a page.
pub const MOST: usize = 32;

/// A text to be read by all lenses.
#[derive(Debug, Clone, Deserialize)]
pub struct LensesQuestion {
    pub text: String,
}

/// A text as the lenses read it.
#[derive(Debug, Default, Serialize)]
pub struct LensesAnswer {
    /// The maps of the lenses with their data, as a report has them; empty for a text without tokens.
    pub html: String,
    /// Number of positions that are read: the last ones.
    pub read: usize,
    /// Number of tokens of the text, as far as the model reads.
    pub tokens: usize,
}

/// Reads the last positions of a text.
pub fn lenses(explorer: &Explorer, reading: &LensesQuestion, task: &Task) -> Result<LensesAnswer> {
    let (tokens, _) = tokens(explorer, &reading.text, task)?;
    if tokens.is_empty() {
        return Ok(LensesAnswer::default());
    }
    let batch = Batch::new(vec![tokens.ids.clone()])?;
    let positions = (tokens.len().saturating_sub(MOST)..tokens.len()).map(|position| position as i64).collect();
    let options = LensPageOptions { record: RecordOptions { pos: Some(positions) }, ..LensPageOptions::default() };
    let fitted: Vec<&FittedLens> = explorer.lenses.iter().map(|(_, lens)| lens).collect();
    let name = |id: u32| name(explorer, id);
    let page = LensPage::of(&explorer.model, &batch, &fitted, &options, Vec::new(), &name, task)?;
    Ok(LensesAnswer { html: page.html()?, read: page.positions.len(), tokens: tokens.len() })
}
