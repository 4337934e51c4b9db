//! Overview of all features of dictionaries: their activity in a text, and the cards that are made from it.

use crate::data::harvest::{PositionOptions, TextReading};
use crate::sae::prelude::*;

use super::card::{CardOptions, CardPlan, FeatureCard, SurveyedDictionary, card};
use super::contexts::quoted;
use super::survey::{KeptPositions, Survey};

crate::options! {
    pub struct OverviewOptions {
        /// Seed of the draws.
        seed: i64 = 0;
        with card: CardOptions;
        with positions: PositionOptions;
    }
}

/// Dictionaries, and their survey of a text.
#[derive(Debug, Clone)]
pub struct Overview {
    pub saes: Vec<Sae>,
    pub survey: Survey,
    plan: CardPlan,
}

impl Overview {
    /// Surveys all dictionaries in one pass over a text.
    pub fn of(model: &Model, saes: Vec<Sae>, text: &Text, options: OverviewOptions, task: &Task) -> Result<Self> {
        let OverviewOptions { seed, card, positions } = options;
        let usual = KeptPositions::default();
        let kept = KeptPositions { top: usual.top.max(card.top), some: usual.some.max(card.random), seed: seed as u64 };
        let survey = Survey::of(&saes, TextReading::new(model, text, &positions.into()), kept, task)?;
        Ok(Self::of_survey(saes, survey, card))
    }

    /// Takes a survey of the dictionaries that was made before.
    pub fn of_survey(saes: Vec<Sae>, survey: Survey, card: CardOptions) -> Self {
        Self { saes, survey, plan: CardPlan { options: card, ..CardPlan::default() } }
    }

    /// Makes the card of a feature of one of the dictionaries.
    pub fn card(&self, model: &Model, dictionary: usize, feature: usize, task: &Task) -> Result<FeatureCard> {
        let sae = self.saes.get(dictionary).ok_or_else(|| err!(Bug, "a dictionary that was not read"))?;
        let surveyed = SurveyedDictionary { survey: &self.survey, dictionary };
        card(sae, feature, Some(model), Some(surveyed), &self.plan, task)
    }

    /// Returns a table of features with their counts, those that are active most often first.
    pub fn table(&self, model: &Model, title: String, most: usize) -> Table {
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (number, tallies) in self.survey.dictionaries.iter().enumerate() {
            order.extend((0..tallies.len()).map(|feature| (number, feature)));
        }
        let fired = |(number, feature): (usize, usize)| self.survey.dictionaries[number][feature].fired;
        order.sort_by_key(|which| (std::cmp::Reverse(fired(*which)), *which));
        let columns = ["site", "feature", "active at", "density", "mean code", "largest code", "tokens"];
        Table::new(
            title,
            columns,
            order.into_iter().take(most).map(|(number, feature)| self.row(model, number, feature)),
        )
    }

    fn row(&self, model: &Model, number: usize, feature: usize) -> Vec<Cell> {
        let tally = &self.survey.dictionaries[number][feature];
        let sites = self.saes.get(number).map(|sae| sae.parts().about.site()).unwrap_or_default();
        let where_active = |value: f64| Cell::from((tally.fired > 0).then_some(value));
        let strongest = self.survey.spreads[number][feature].tokens.strongest();
        let tokens = strongest.iter().take(3).map(|at| quoted(model, at.token));
        vec![
            sites.into(),
            feature.into(),
            tally.fired.into(),
            self.survey.density(number, feature).into(),
            where_active(tally.mean()),
            where_active(tally.top.first().map_or(0.0, |moment| f64::from(moment.code))),
            tokens.collect::<Vec<_>>().join(" ").into(),
        ]
    }

    /// Returns the share of positions at which each feature of a dictionary is active: `[d_sae]`.
    pub fn densities(&self, dictionary: usize) -> Result<Tensor> {
        let features = self.survey.dictionaries.get(dictionary).map_or(0, Vec::len);
        let shares: Vec<f32> = (0..features).map(|feature| self.survey.density(dictionary, feature) as f32).collect();
        Ok(Tensor::from_vec(shares, features, &Device::Cpu)?)
    }
}
