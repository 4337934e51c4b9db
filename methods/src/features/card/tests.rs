//! Tests that a card has what its survey found, and names what it could not find.

use super::*;
use crate::base::{Cell, Task};
use crate::data::harvest::{HarvestOptions, TextReading};
use crate::data::text::TextOptions;
use crate::features::samples::{dictionary, model, text};
use crate::features::survey::{KeptPositions, Survey};
use crate::sae::Sae;

fn surveyed(sae: &Sae, documents: usize) -> Survey {
    let text = text(documents, TextOptions::default());
    let model = model();
    let options = HarvestOptions::default();
    let reading = TextReading::new(&model, &text, &options);
    Survey::of(std::slice::from_ref(sae), reading, KeptPositions::default(), &Task::default()).unwrap()
}

fn made(sae: &Sae, feature: usize, survey: Option<&Survey>, plan: CardPlan) -> FeatureCard {
    let surveyed = survey.map(|survey| SurveyedDictionary { survey, dictionary: 0 });
    card(sae, feature, Some(&model()), surveyed, &plan, &Task::default()).unwrap()
}

fn fact(card: &FeatureCard, name: &str) -> Option<Cell> {
    card.facts.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

#[test]
fn contexts_show_the_codes_that_the_survey_found_and_are_marked_by_group() {
    let sae = dictionary("resid_post.1", 1);
    let survey = surveyed(&sae, 80);
    let feature = (0..24).max_by_key(|f| survey.dictionaries[0][*f].fired).unwrap();
    let card = made(&sae, feature, Some(&survey), CardPlan::default());
    let tally = &survey.dictionaries[0][feature];
    let strongest = &card.contexts[0];
    assert_eq!((strongest.name.as_str(), strongest.texts.len()), ("strongest", 8));
    for (heat, moment) in strongest.texts.iter().zip(&tally.top) {
        assert_eq!(heat.tokens.len(), heat.values.len());
        assert!(heat.values.iter().any(|value| (value - f64::from(moment.code)).abs() < 1e-4), "{heat:?}");
    }
    assert_eq!(card.contexts.last().unwrap().name, "drawn at random");
    assert!(card.contexts.iter().any(|group| group.name == "0.20 to 0.40 of the largest"), "{:?}", card.contexts.len());
    assert_eq!(fact(&card, "active at"), Some(Cell::Int(tally.fired as i64)));
    assert_eq!(card.facts.histogram.as_ref().unwrap().counts.iter().sum::<u64>(), tally.fired);
    let titles: Vec<&str> = card.tables.iter().map(|table| table.title.as_str()).collect();
    let expected = [
        "Tokens that it is active at",
        "Positions in a row",
        "Without it, at its 16 strongest positions",
        "Active together, at 32 of its positions drawn at random",
        "Logits along its direction, a code of 1",
        "Nearest by direction",
    ];
    assert_eq!(titles, expected);
    assert_eq!(card.notes, [format!("Made from {} tokens of {}.", survey.positions, survey.name)]);
}

#[test]
fn a_feature_that_is_never_active_has_a_card_that_says_so() {
    let sae = dictionary("resid_post.1", 1);
    let mut survey = surveyed(&sae, 3);
    survey.dictionaries[0][7] = Default::default();
    survey.spreads[0][7] = Default::default();
    let card = made(&sae, 7, Some(&survey), CardPlan::default());
    assert!(card.contexts.is_empty() && card.notes.iter().any(|note| note == "It is not active in this text."));
    assert_eq!(fact(&card, "density"), Some(Cell::Float(0.0)));
}

#[test]
fn without_a_model_or_a_text_it_is_said_what_is_missing() {
    let sae = dictionary("resid_post.1", 1);
    let without_text = made(&sae, 0, None, CardPlan::default());
    assert_eq!(without_text.tables.len(), 2);
    assert!(without_text.notes[0].starts_with("No text has been read"));
    let alone = card(&sae, 0, None, None, &CardPlan::default(), &Task::default()).unwrap();
    assert_eq!(alone.tables.iter().map(|table| table.title.as_str()).collect::<Vec<_>>(), ["Nearest by direction"]);
    assert!(alone.notes[0].starts_with("Its model is unknown"));
    assert!(card(&sae, 24, None, None, &CardPlan::default(), &Task::default()).is_err());
}

#[test]
fn a_text_of_one_token_is_enough() {
    let sae = dictionary("resid_post.1", 1);
    let text = crate::data::Text::given(vec!["q".into()], TextOptions::default()).unwrap();
    let model = model();
    let options = HarvestOptions::default();
    let reading = TextReading::new(&model, &text, &options);
    let survey = Survey::of(std::slice::from_ref(&sae), reading, KeptPositions::default(), &Task::default()).unwrap();
    assert_eq!((survey.positions, survey.classes.as_slice()), (1, [1].as_slice()));
    let active = (0..24).find(|f| survey.dictionaries[0][*f].fired == 1).unwrap();
    let card = made(&sae, active, Some(&survey), CardPlan::default());
    assert_eq!(card.contexts[0].texts[0].tokens, ["q"]);
    let silent = (0..24).find(|f| survey.dictionaries[0][*f].fired == 0).unwrap();
    assert!(made(&sae, silent, Some(&survey), CardPlan::default()).contexts.is_empty());
}

#[test]
fn a_card_is_data_there_and_back() {
    let sae = dictionary("resid_post.1", 1);
    let card = made(&sae, 2, Some(&surveyed(&sae, 20)), CardPlan::default());
    let text = serde_json::to_string(&card).unwrap();
    assert_eq!(serde_json::from_str::<FeatureCard>(&text).unwrap(), card);
}
