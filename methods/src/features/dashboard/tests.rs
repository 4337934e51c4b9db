//! Tests that cards of one pass equal the cards that are made one by one, and that every feature has an entry.

use super::*;
use crate::data::text::TextOptions;
use crate::features::card::{card, cards};
use crate::features::neighbours::{self, Neighbour};
use crate::features::samples::{dictionary, dictionary_of, model, text};

fn options() -> DashboardOptions {
    let card = CardOptions { before: 2, after: 1, ..CardOptions::default() };
    DashboardOptions { card, ..DashboardOptions::default() }
}

fn made(saes: Vec<Sae>, shown: Option<&[(usize, usize)]>) -> Dashboard {
    let text = text(300, TextOptions::default());
    Dashboard::of(&model(), saes, &text, shown, &options(), &Task::default()).unwrap()
}

/// Asserts that contexts and numbers agree; activations from another pass of the model agree to rounding.
fn alike(a: &FeatureCard, b: &FeatureCard) {
    assert_eq!((&a.title, &a.facts, &a.notes), (&b.title, &b.facts, &b.notes));
    assert_eq!(a.contexts.len(), b.contexts.len());
    for (a, b) in a.contexts.iter().zip(&b.contexts) {
        assert_eq!((&a.name, a.texts.len()), (&b.name, b.texts.len()));
        for (a, b) in a.texts.iter().zip(&b.texts) {
            assert_eq!((&a.title, &a.tokens), (&b.title, &b.tokens));
            assert!(a.values.iter().zip(&b.values).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");
        }
    }
    let titles = |tables: &[Table]| tables.iter().map(|table| table.title.clone()).collect::<Vec<_>>();
    assert_eq!(titles(&a.tables), titles(&b.tables));
    for (a, b) in a.tables.iter().zip(&b.tables) {
        let first = |table: &Table| table.rows.iter().map(|row| row[0].clone()).collect::<Vec<_>>();
        assert_eq!(first(a), first(b), "{}", a.title);
    }
}

#[test]
fn cards_of_one_pass_are_those_of_a_pass_for_each() {
    let saes = vec![dictionary("resid_post.1", 1), dictionary("resid_post.0", 2)];
    let found = made(saes.clone(), None);
    let plan = CardPlan { options: options().card, ablated_at: 0, company_of: 0 };
    let mut active = 0;
    for (number, sae) in saes.iter().enumerate() {
        let features: Vec<usize> = (0..24).collect();
        // The same survey without windows, so that each card runs the model.
        let plain = Survey { windows: Vec::new(), ..found.survey.clone() };
        let surveyed = SurveyedDictionary { survey: &plain, dictionary: number };
        let each = |feature| card(sae, feature, Some(&model()), Some(surveyed), &plan, &Task::default()).unwrap();
        for (card, feature) in found.cards(number, &features, &Task::default()).unwrap().iter().zip(features) {
            alike(card, &each(feature));
            active += usize::from(!card.contexts.is_empty());
        }
    }
    assert!(active > 30, "{active}");
}

#[test]
fn only_features_that_are_shown_have_windows_and_all_have_entries() {
    let found = made(vec![dictionary("resid_post.1", 1)], Some(&[(0, 7), (0, 3), (0, 7)]));
    assert_eq!((found.shown.as_slice(), found.counts().cards), ([vec![3, 7]].as_slice(), 2));
    assert!(found.has_card(0, 3) && !found.has_card(0, 4) && !found.has_card(1, 3));
    let watched: Vec<usize> = (0..24).filter(|feature| found.survey.windows[0][*feature].are_wanted()).collect();
    assert_eq!(watched, [3, 7]);
    for feature in 0..24 {
        let entry = found.entry(0, feature).unwrap();
        assert_eq!(entry.fired, found.survey.dictionaries[0][feature].fired);
        assert_eq!(entry.tokens.is_empty(), entry.fired == 0);
    }
    assert!(found.entry(0, 24).is_err());
}

#[test]
fn wrong_features_are_refused_and_many_have_no_cards_unasked() {
    let saes = vec![dictionary("resid_post.1", 1)];
    assert_eq!(chosen(&saes, Some(&[(0, 24)])).unwrap_err().about.as_deref(), Some("features"));
    assert!(chosen(&saes, Some(&[(1, 0)])).is_err());
    assert_eq!(chosen(&saes, None).unwrap()[0].len(), 24);
    let many = vec![dictionary("resid_post.1", 1); MOST_CARDS / 24 + 1];
    assert!(chosen(&many, None).unwrap().iter().all(Vec::is_empty));
}

#[test]
fn the_key_follows_what_the_pages_show() {
    let saes = vec![dictionary("resid_post.1", 1)];
    let first = made(saes.clone(), None);
    assert_eq!(first.key().unwrap(), made(saes.clone(), None).key().unwrap());
    assert_ne!(first.key().unwrap(), made(saes.clone(), Some(&[(0, 3)])).key().unwrap());
    assert_ne!(first.key().unwrap(), made(vec![dictionary("resid_post.1", 2)], None).key().unwrap());
    let card = CardOptions { top: 3, ..options().card };
    let other = DashboardOptions { card, ..options() };
    let text = text(300, TextOptions::default());
    let other = Dashboard::of(&model(), saes, &text, None, &other, &Task::default()).unwrap();
    assert_ne!(first.key().unwrap(), other.key().unwrap());
}

#[test]
fn logits_and_neighbours_of_many_are_those_of_each() {
    let sae = dictionary("resid_post.1", 1);
    let features = [5, 0, 23];
    let all = neighbours::nearest(&sae, &features, 4).unwrap();
    let logits = crate::features::logits::promoted_by(&model(), &sae, &features).unwrap();
    for (place, feature) in features.into_iter().enumerate() {
        let alone = neighbours::by_direction(&sae, feature, None, 4).unwrap();
        let numbers = |found: &[Neighbour]| found.iter().map(|one| one.feature).collect::<Vec<_>>();
        assert_eq!(numbers(&all[place]), numbers(&alone));
        let alone = crate::features::logits::promoted(&model(), &sae, feature).unwrap();
        assert!(logits[place].iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    assert!(
        cards(
            &sae,
            &[24],
            &model(),
            SurveyedDictionary { survey: &made(vec![sae.clone()], None).survey, dictionary: 0 },
            &CardPlan::brief(),
            &Task::default()
        )
        .is_err()
    );
}

#[test]
fn a_dictionary_of_very_many_features_has_an_entry_for_each_and_cards_on_demand() {
    let features = 1 << 16;
    let many = dictionary_of(features, "resid_post.1", 1);
    let text = text(30, TextOptions::default());
    let of = |shown: Option<&[(usize, usize)]>| {
        Dashboard::of(&model(), vec![many.clone()], &text, shown, &options(), &Task::default()).unwrap()
    };
    let found = of(None);
    let FeatureCounts { all, cards, silent } = found.counts();
    assert_eq!((all, cards), (features, 0));
    // Three at each position are active, and what is never active takes next to nothing.
    let active: Vec<usize> = (0..features).filter(|at| found.survey.dictionaries[0][*at].fired > 0).collect();
    assert!(
        active.len() + silent == features && active.len() > 10 && active.len() <= 3 * found.survey.positions as usize
    );
    let fired: u64 = found.survey.dictionaries[0].iter().map(|tally| tally.fired).sum();
    assert_eq!(fired, 3 * found.survey.positions);
    let last = *active.last().unwrap();
    assert_eq!(found.entry(0, last).unwrap().fired, found.survey.dictionaries[0][last].fired);
    let shown = of(Some(&[(0, last), (0, 0)]));
    let made = shown.cards(0, &shown.shown[0], &Task::default()).unwrap();
    assert_eq!((made.len(), made[1].feature), (2, last));
    assert!(!made[1].contexts.is_empty());
}
