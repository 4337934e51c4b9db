//! The card of a feature, as a dashboard has it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::state::Explorer;
use super::CardQuestion;
use crate::base::{Result, Task};
use crate::data::harvest::PositionOptions;
use crate::features::Overview;
use crate::features::overview::OverviewOptions;
use crate::report::dashboard;

/// Returns the card, made from the explorer's text.
pub fn card(explorer: &Explorer, of_card: CardQuestion, task: &Task) -> Result<Value> {
    let CardQuestion { dictionary, feature, without_first } = of_card;
    explorer.with_feature(dictionary, feature)?;
    let overview = overview(explorer, dictionary, without_first, task)?;
    let mut card = overview.card(&explorer.model, 0, feature, task)?;
    card.description = explorer.said.of(&card.site, feature).cloned();
    Ok(json!({ "card": dashboard::card(&card) }))
}

/// Returns the overview that the cards of a dictionary are made of. The first question reads the text for all of its features,
/// once with the positions 0 of its rows and once without them, as either is asked for.
pub fn overview(explorer: &Explorer, dictionary: usize, without_first: bool, task: &Task) -> Result<Arc<Overview>> {
    let of = explorer.dictionary(dictionary)?;
    let model = explorer.model.clone();
    let sae = of.sae.clone();
    let text = explorer.text.clone();
    let positions = PositionOptions { without_first: usize::from(without_first), ..PositionOptions::default() };
    let options = OverviewOptions { positions, ..OverviewOptions::default() };
    let kept = explorer.kept(&survey_name(dictionary, without_first))?;
    let read = move |task: &Task| match kept {
        Some(survey) => Ok(Overview::of_survey(vec![sae], survey.read()?, options.card)),
        None => Overview::of(&model, vec![sae], &text, options, task),
    };
    of.overviews[usize::from(without_first)].get(read, task)
}

/// Returns the name of the kept survey of a dictionary.
pub fn survey_name(dictionary: usize, without_first: bool) -> String {
    format!("survey-{dictionary}-{}.json", usize::from(without_first))
}
