//! The card of a feature, as a dashboard has it.

use serde_json::{Value, json};

use super::super::state::Explorer;
use super::CardQuestion;
use crate::base::{Result, Task};
use crate::data::harvest::PositionOptions;
use crate::features::Overview;
use crate::features::overview::OverviewOptions;
use crate::report::dashboard;

/// Returns the card, made from the explorer's text. The first one of a dictionary reads that text for all of its
/// features, once with the positions 0 of its rows and once without them, as either is asked for.
pub fn card(explorer: &Explorer, of_card: CardQuestion, task: &Task) -> Result<Value> {
    let CardQuestion { dictionary, feature, without_first } = of_card;
    let of = explorer.with_feature(dictionary, feature)?;
    let model = explorer.model.clone();
    let sae = of.sae.clone();
    let text = explorer.text.clone();
    let positions = PositionOptions { without_first: usize::from(without_first), ..PositionOptions::default() };
    let options = OverviewOptions { positions, ..OverviewOptions::default() };
    let read = move |task: &Task| Overview::of(&model, vec![sae], &text, options, task);
    let overview = of.overviews[usize::from(without_first)].get(read, task)?;
    let mut card = overview.card(&explorer.model, 0, feature, task)?;
    card.description = explorer.said.of(&card.site, feature).cloned();
    Ok(json!({ "card": dashboard::card(&card) }))
}
