//! The model and text of a dictionary, on which its features are looked at.

use std::cell::RefCell;

use crate::data::harvest::{HarvestOptions as Harvesting, TextReading};
use crate::data::text::TextOptions;
use crate::features::survey::KeptPositions;
use crate::features::{FeatureCard, Survey, card};
use crate::sae;
use crate::script::model::Model;
use crate::script::prelude::*;

/// The number of tokens of the text that are read for the cards of features.
const TOKENS: u64 = 50_000;

/// The model and text of a dictionary, with the survey that was made last.
pub struct ModelAndText {
    pub model: Model,
    /// Text and positions that are read: those that the dictionary was fitted on.
    text: Option<(Text, Harvesting)>,
    task: Task,
    survey: RefCell<Option<(sae::Sae, Rc<Survey>)>>,
}

impl ModelAndText {
    pub fn new(model: Model, text: Option<(Text, Harvesting)>, task: &Task) -> Rc<Self> {
        let text = text.map(|(text, reading)| (text.limited(TOKENS), reading));
        Rc::new(Self { model, text, task: task.clone(), survey: RefCell::default() })
    }

    /// Finds what the session knows of the model that a dictionary names: the model, if it was loaded, and for the one
    /// inside the binary the text "sample".
    pub fn found(sae: &sae::Sae, env: &Env) -> Result<Option<Rc<Self>>> {
        let about = &sae.parts().about;
        let name = if let ([name], [_]) = (&about.models[..], &about.sites[..]) { Some(name) } else { None };
        let model = name.and_then(|name| env.models.called(name));
        model.map(|model| Self::of(model.into(), env)).transpose()
    }

    /// Builds what the session knows of a model, which for the one inside the binary includes the text "sample".
    pub fn of(model: Model, env: &Env) -> Result<Rc<Self>> {
        let text = if model.core().is_inside() {
            Some((Text::of_tiny(&env.files, TextOptions::default(), &env.task)?, Harvesting::default()))
        } else {
            None
        };
        Ok(Self::new(model, text, &env.task))
    }

    /// Finds where all features of the dictionary are active in the text, which is read once.
    fn survey(&self, sae: &sae::Sae) -> Result<Option<Rc<Survey>>> {
        if let Some((of, survey)) = self.survey.borrow().as_ref()
            && std::ptr::eq(of.parts(), sae.parts())
        {
            return Ok(Some(survey.clone()));
        }
        let Some((text, reading)) = &self.text else { return Ok(None) };
        let model = self.model.core();
        let saes = std::slice::from_ref(sae);
        let reading = TextReading::new(model, text, reading);
        let survey = Rc::new(Survey::of(saes, reading, KeptPositions::default(), &self.task)?);
        *self.survey.borrow_mut() = Some((sae.clone(), survey.clone()));
        Ok(Some(survey))
    }

    /// Returns the card of a feature.
    pub fn card(&self, sae: &sae::Sae, feature: usize) -> Result<FeatureCard> {
        let survey = self.survey(sae)?;
        let surveyed = survey.as_deref().map(|survey| card::SurveyedDictionary { survey, dictionary: 0 });
        card::card(sae, feature, Some(self.model.core()), surveyed, &card::CardPlan::default(), &self.task)
    }
}
