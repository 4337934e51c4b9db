//! The data of a dashboard: a line for every feature of some dictionaries, and cards for the requested ones, all from
//! one pass over a text. `report::dashboard` writes its pages.

mod descriptions;

#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};

use super::card::{CardOptions, CardPlan, Description, FeatureCard, SurveyedDictionary, cards};
use super::contexts::quoted;
use super::feature::check_feature;
use super::survey::{KeptPositions, Survey};
use crate::base::files::hex;
use crate::data::harvest::{PositionOptions, TextReading};
use crate::sae::prelude::*;

pub use descriptions::{Said, SaidWords};

/// The largest number of features that have cards by default.
pub const MOST_CARDS: usize = 1 << 15;

/// The version of what is made from the numbers, raised with every change, so that no old card is taken for a new one.
const FORM: u32 = 1;

crate::options! {
    pub struct DashboardOptions {
        /// Folder of the pages.
        dir: String = "dashboard".into();
        /// Explanations of features, as a table like that of `features::describe`.
        descriptions: Option<Said> = None => usually("none");
        /// Labels of features, as a table like that of `features::labels`; of several rows of a feature the first counts.
        labels: Option<Said> = None => usually("none");
        /// Seed of the draws.
        seed: i64 = 0;
        with card: CardOptions;
        with positions: PositionOptions;
    }
}

/// Dictionaries, their survey, and the features that have cards.
#[derive(Debug, Clone)]
pub struct Dashboard {
    pub model: Model,
    pub saes: Vec<Sae>,
    pub survey: Survey,
    /// The features with cards, dictionary by dictionary, in order.
    pub shown: Vec<Vec<usize>>,
    descriptions: Option<Said>,
    labels: Option<Said>,
    plan: CardPlan,
}

/// A feature in the index.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexEntry {
    pub dictionary: usize,
    pub feature: usize,
    pub fired: u64,
    pub density: f64,
    pub mean: f64,
    pub largest: f64,
    /// The tokens at which the feature is active, those with the largest sums of activations first.
    pub tokens: Vec<String>,
    pub description: Option<Description>,
    pub label: Option<Description>,
}

/// The numbers of features of a dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureCounts {
    pub all: usize,
    /// The number of features with cards.
    pub cards: usize,
    /// The number of dead features.
    pub silent: usize,
}

impl Dashboard {
    /// Makes the data from one pass over a text. `shown` are the features that have cards, each by its dictionary and
    /// its index; without it all have, unless they are more than [`MOST_CARDS`].
    pub fn of(
        model: &Model,
        saes: Vec<Sae>,
        text: &Text,
        shown: Option<&[(usize, usize)]>,
        options: &DashboardOptions,
        task: &Task,
    ) -> Result<Self> {
        let shown = chosen(&saes, shown)?;
        for said in [&options.descriptions, &options.labels].into_iter().flatten() {
            said.check(&saes)?;
        }
        let card = &options.card;
        let plan = CardPlan { options: card.clone(), ablated_at: 0, company_of: 0 };
        let kept = KeptPositions { top: card.top.max(1), some: card.random, seed: options.seed as u64 };
        let is_shown = |number: usize, feature: usize| {
            shown.get(number).is_some_and(|features| features.binary_search(&feature).is_ok())
        };
        let watch = (card.window(), &is_shown as &dyn Fn(usize, usize) -> bool);
        let harvesting = options.positions.clone().into();
        let survey = Survey::watching(&saes, TextReading::new(model, text, &harvesting), kept, Some(watch), task)?;
        let descriptions = options.descriptions.clone();
        let labels = options.labels.clone();
        Ok(Self { model: model.clone(), saes, survey, shown, descriptions, labels, plan })
    }

    /// Counts the features.
    pub fn counts(&self) -> FeatureCounts {
        let all = || self.survey.dictionaries.iter().flatten();
        let silent = all().filter(|tally| tally.fired == 0).count();
        FeatureCounts { all: all().count(), cards: self.shown.iter().map(Vec::len).sum(), silent }
    }

    pub fn has_card(&self, dictionary: usize, feature: usize) -> bool {
        self.shown.get(dictionary).is_some_and(|features| features.binary_search(&feature).is_ok())
    }

    pub fn entry(&self, dictionary: usize, feature: usize) -> Result<IndexEntry> {
        let tally = self.survey.dictionaries.get(dictionary).and_then(|all| all.get(feature));
        let spread = self.survey.spreads.get(dictionary).and_then(|all| all.get(feature));
        let (Some(tally), Some(spread)) = (tally, spread) else {
            return Err(err!(Bug, "feature {feature} of a dictionary that was not surveyed"));
        };
        let strongest = spread.tokens.strongest();
        Ok(IndexEntry {
            dictionary,
            feature,
            fired: tally.fired,
            density: self.survey.density(dictionary, feature),
            mean: tally.mean(),
            largest: tally.top.first().map_or(0.0, |moment| f64::from(moment.code)),
            tokens: strongest.iter().take(4).map(|at| quoted(&self.model, at.token)).collect(),
            description: self.said(&self.descriptions, dictionary, feature),
            label: self.said(&self.labels, dictionary, feature),
        })
    }

    /// Makes the cards of some features of one dictionary.
    pub fn cards(&self, dictionary: usize, features: &[usize], task: &Task) -> Result<Vec<FeatureCard>> {
        let sae = self.saes.get(dictionary).ok_or_else(|| err!(Bug, "a dictionary that was not read"))?;
        let surveyed = SurveyedDictionary { survey: &self.survey, dictionary };
        let mut made = cards(sae, features, &self.model, surveyed, &self.plan, task)?;
        for card in &mut made {
            card.description = self.said(&self.descriptions, dictionary, card.feature);
        }
        Ok(made)
    }

    fn said(&self, said: &Option<Said>, dictionary: usize, feature: usize) -> Option<Description> {
        let about = &self.saes.get(dictionary)?.parts().about;
        said.as_ref()?.of(&about.site(), feature).cloned()
    }

    /// Returns a hash of all that the pages are made of.
    pub fn key(&self) -> Result<String> {
        let mut hash = Sha256::new();
        let options = &self.plan.options;
        hash.update(format!("{FORM} {options:?} {:?} {:?} {:?}", self.descriptions, self.labels, self.shown));
        hash.update(format!("{} {} {:?}", self.survey.name, self.survey.positions, self.survey.occurrences));
        for (sae, tallies) in self.saes.iter().zip(&self.survey.dictionaries) {
            hash.update(format!("{:?}", sae.parts().about));
            for tally in tallies {
                hash.update(format!("{} {} {:?} {:?}", tally.fired, tally.sum, tally.top, tally.some));
            }
            numbers(&mut hash, sae.directions())?;
        }
        numbers(&mut hash, &self.model.decoder.weights().unembed.weight.tensor()?)?;
        Ok(hex(&hash.finalize()))
    }
}

fn numbers(hash: &mut Sha256, tensor: &Tensor) -> Result<()> {
    let numbers = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    hash.update(numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>());
    Ok(())
}

/// Returns the features with cards, dictionary by dictionary, in order and each once.
fn chosen(saes: &[Sae], shown: Option<&[(usize, usize)]>) -> Result<Vec<Vec<usize>>> {
    let all: usize = saes.iter().map(Sae::d_sae).sum();
    let Some(shown) = shown else {
        let is_small = all <= MOST_CARDS;
        return Ok(saes.iter().map(|sae| if is_small { (0..sae.d_sae()).collect() } else { Vec::new() }).collect());
    };
    let mut chosen = vec![Vec::new(); saes.len()];
    for (dictionary, feature) in shown {
        let (Some(sae), Some(features)) = (saes.get(*dictionary), chosen.get_mut(*dictionary)) else {
            return Err(err!(Bug, "a feature of dictionary {dictionary} of {}", saes.len()));
        };
        check_feature(sae, *feature).map_err(|e| e.about("features"))?;
        features.push(*feature);
    }
    for features in &mut chosen {
        features.sort_unstable();
        features.dedup();
    }
    Ok(chosen)
}
