//! Tests of coverage by a dictionary that has a label for a feature, and by one that has none.

use super::*;
use crate::features::samples::plain;
use crate::features::text_codes::tests::{WORDS, model};
use crate::model::site::select;
use crate::sae::{About, Parts, baselines};

/// Returns documents of words in which brackets, numbers and capitals occur at irregular places.
fn text() -> Text {
    let word = |i: usize| WORDS[(i * i * 31 + i / 3) / 7 % WORDS.len()];
    let document = |d: usize| -> String { (0..32).map(|i| word(d * 37 + i)).collect::<Vec<_>>().join(" ") };
    Text::given((0..60).map(document).collect(), Default::default()).unwrap()
}

fn of(parts: Parts) -> Sae {
    Sae::new(Parts { about: About { sites: vec!["embed".into()], ..parts.about.clone() }, ..parts }).unwrap()
}

/// Builds a dictionary with a feature that is active at one token, and one that is active nowhere.
fn at_token(model: &Model, id: u32) -> Sae {
    let place = select(model.decoder.config(), "embed").unwrap()[0];
    let ask = Ask { places: vec![place], ..Ask::default() };
    let x =
        model.decoder.cache(&Batch::new(vec![vec![id]]).unwrap(), ask, &Task::default()).unwrap().at(place).unwrap();
    let x = x.reshape((1, 16)).unwrap();
    let size = x.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    let rows = Tensor::cat(&[&x, &x], 0).unwrap();
    let encoder_bias = Some(Tensor::new(&[-0.95 * size, -9.0 * size], &Device::Cpu).unwrap());
    of(Parts { encoder_bias, ..plain(rows.clone(), rows) })
}

fn row<'a>(table: &'a Table, label: &str) -> &'a [Cell] {
    table.rows.iter().find(|row| row.contains(&Cell::from(label))).unwrap()
}

#[test]
fn a_feature_that_is_a_label_covers_it_and_no_other() {
    let (model, _) = model();
    let opening = WORDS.iter().position(|word| *word == "(").unwrap() as u32;
    let sae = at_token(&model, opening);
    let found = coverage(&model, &sae, &text(), &ReadingOptions::default(), &Task::default()).unwrap();
    let labels = found.part("labels").unwrap();
    let opens = row(labels, "opens a bracket");
    let column = |name: &str| opens[labels.columns.iter().position(|column| column == name).unwrap()].clone();
    assert_eq!(column("feature"), Cell::Int(0));
    for name in ["F1 where chosen", "F1", "low", "high", "precision", "recall", "AUROC"] {
        assert_eq!(column(name), Cell::Float(1.0), "{name}");
    }
    assert_eq!(column("p"), Cell::Float(1.0 / 500.0));
    let closes = row(labels, "closes a bracket");
    assert_eq!(closes[2], Cell::Missing, "{closes:?}");
    // The feature that is never active is none of those that could have a label.
    assert_eq!(
        (found.score("features with a label").unwrap().value, found.part("features").unwrap().rows.len()),
        (Some(1.0), 1)
    );
    let score = found.score("coverage").unwrap();
    let [low, high] = score.interval.unwrap();
    assert!(score.value.is_some_and(|value| low <= value && value <= high && value < 0.5), "{score:?}");
    assert!(score.random.is_some() && score.n == labels.rows.len());
}

#[test]
fn random_directions_cover_what_random_directions_cover() {
    let (model, _) = model();
    let random = baselines::random(16, 30, Some(4), &mut crate::base::random::stream(7, "test", 0)).unwrap();
    let sae = of(random.parts().clone());
    let found = coverage(&model, &sae, &text(), &ReadingOptions::default(), &Task::default()).unwrap();
    let score = found.score("coverage").unwrap();
    assert!((score.value.unwrap() - score.random.unwrap()).abs() < 0.25, "{score:?}");
    let again = coverage(&model, &sae, &text(), &ReadingOptions::default(), &Task::default()).unwrap();
    assert_eq!(found.parts, again.parts);
}

#[test]
fn a_text_without_labels_is_refused() {
    let (model, sae) = model();
    let text = Text::given(vec!["a a a a a a a a a a a a a a a a a a a a a a a a".into()], Default::default()).unwrap();
    let refused = coverage(&model, &sae, &text, &ReadingOptions::default(), &Task::default()).unwrap_err();
    assert!(refused.message.starts_with("expected a label on at least 20 tokens of either half"), "{refused}");
}
