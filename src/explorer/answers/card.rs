//! The card of a feature, as a dashboard has it.

use serde_json::{Value, json};

use super::super::state::Explorer;
use crate::base::{Result, Task};
use crate::features::Overview;
use crate::features::overview::OverviewOptions;
use crate::report::dashboard;

/// The card, made from the explorer's text. The first one of a dictionary reads that text for all of its features.
pub fn card(explorer: &Explorer, dictionary: usize, feature: usize, task: &Task) -> Result<Value> {
    let of = explorer.with_feature(dictionary, feature)?;
    let (model, sae, text) = (explorer.model.clone(), of.sae.clone(), explorer.text.clone());
    let read = move |task: &Task| Overview::of(&model, vec![sae], &text, OverviewOptions::default(), task);
    let overview = of.overview.get(read, task)?;
    let mut card = overview.card(&explorer.model, 0, feature, task)?;
    card.description = explorer.said.of(&card.site, feature).cloned();
    Ok(json!({ "card": dashboard::card(&card) }))
}
