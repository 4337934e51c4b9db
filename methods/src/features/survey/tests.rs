//! Tests that a survey counts what a plain loop over dense activations counts, whatever else it reads.

use super::*;
use crate::data::Text;
use crate::data::harvest::HarvestOptions as Harvesting;
use crate::data::text::TextOptions;
use crate::features::samples::{dictionary, model, text};
use crate::features::text_codes::TextLimits;
use crate::model::site::select;
use crate::sae::metrics::{MeasureOptions, measured_on};

fn survey(saes: &[Sae], text: &Text, harvesting: &Harvesting) -> Survey {
    let model = model();
    let reading = TextReading::new(&model, text, harvesting);
    Survey::of(saes, reading, KeptPositions { top: 5, some: 8, seed: 3 }, &Task::default()).unwrap()
}

/// Returns every position with a nonzero activation of a feature, from rows run by themselves.
fn plain(sae: &Sae, rows: &[Vec<u32>], feature: usize) -> Vec<Moment> {
    let model = model();
    let place = select(model.decoder.config(), site(sae).unwrap()).unwrap()[0];
    let mut found = Vec::new();
    for (row, ids) in rows.iter().enumerate() {
        let ask = Ask { places: vec![place], ..Ask::default() };
        let cache = model.decoder.cache(&Batch::new(vec![ids.clone()]).unwrap(), ask, &Task::default()).unwrap();
        let codes = sae.encode(&cache.at(place).unwrap()).unwrap().get(0).unwrap().to_vec2::<f32>().unwrap();
        for (column, codes) in codes.iter().enumerate().filter(|(_, codes)| codes[feature] != 0.0) {
            found.push(Moment { row: row as u32, column: column as u32, code: codes[feature] });
        }
    }
    found
}

#[test]
fn all_that_is_counted_is_what_a_plain_loop_counts() {
    let saes = [dictionary("resid_post.1", 1), dictionary("resid_post.0", 2), dictionary("resid_post.1", 3)];
    let text = text(70, TextOptions::default());
    let found = survey(&saes, &text, &Harvesting::default());
    assert_eq!(found.classes.iter().sum::<u64>(), found.positions);
    assert_eq!(found.occurrences.iter().sum::<u64>(), found.positions);
    for (number, sae) in saes.iter().enumerate() {
        for feature in [0, 3, 11, 23] {
            let expected = plain(sae, &found.rows, feature);
            let tally = &found.dictionaries[number][feature];
            let spread = &found.spreads[number][feature];
            assert_eq!(tally.fired as usize, expected.len());
            assert!((tally.sum - expected.iter().map(|m| f64::from(m.code)).sum::<f64>()).abs() < 1e-3);
            assert_eq!(spread.sizes.histogram().counts.iter().sum::<u64>(), tally.fired);
            assert_eq!(spread.positions.iter().map(|(fired, _)| fired).sum::<u64>(), tally.fired);
            assert_eq!(spread.tokens.strongest().iter().map(|at| at.fired).sum::<u64>(), tally.fired);
            let is_there = |moment: &Moment| {
                expected
                    .iter()
                    .any(|e| (e.row, e.column) == (moment.row, moment.column) && (e.code - moment.code).abs() < 1e-4)
            };
            assert!(tally.top.iter().chain(&tally.some).chain(spread.sizes.kept()).all(is_there));
            let mut codes: Vec<f32> = expected.iter().map(|moment| moment.code).collect();
            codes.sort_by(|a, b| b.total_cmp(a));
            assert!(tally.top.iter().zip(&codes).all(|(moment, code)| (moment.code - code).abs() < 1e-4));
            assert_eq!((tally.top.len(), tally.some.len()), (codes.len().min(5), codes.len().min(8)));
        }
    }
    // Beside others a dictionary is counted as alone.
    let alone = survey(&saes[..1], &text, &Harvesting::default());
    assert_eq!((&alone.dictionaries[0], &alone.spreads[0]), (&found.dictionaries[0], &found.spreads[0]));
}

#[test]
fn codes_that_were_read_before_are_counted_as_those_of_a_pass() {
    let saes = [dictionary("resid_post.1", 1), dictionary("resid_post.0", 2)];
    let model = model();
    let text = text(70, TextOptions::default());
    let task = Task::default();
    let kept = KeptPositions { top: 5, some: 8, seed: 3 };
    let window = Window { before: 4, after: 2 };
    let features = [(0, 3), (1, 11), (0, 3), (1, 0)];
    let is_shown = |number, feature| features.contains(&(number, feature));
    let watch = Some((window, &is_shown as &dyn Fn(usize, usize) -> bool));
    let harvesting = Harvesting::default();
    let all = Survey::watching(&saes, TextReading::new(&model, &text, &harvesting), kept, watch, &task).unwrap();
    let read = TextCodes::of(&model, &saes, &features, &text, TextLimits::default(), &task).unwrap();
    let some = Survey::of_codes(&all.name, &saes, &features, &read, kept, window, &task).unwrap();
    assert_eq!((&some.rows, some.positions, &some.classes), (&all.rows, all.positions, &all.classes));
    assert_eq!(some.occurrences, all.occurrences);
    for (number, feature) in features {
        let places = |survey: &Survey| {
            let tally = &survey.dictionaries[number][feature];
            let moments = tally.top.iter().chain(&tally.some).map(|moment| (moment.row, moment.column));
            (tally.fired, moments.collect::<Vec<_>>())
        };
        assert_eq!(places(&some), places(&all), "{number}, {feature}");
        for moment in &some.dictionaries[number][feature].top {
            let context = |survey: &Survey| {
                survey.windows[number][feature].context(moment, &survey.rows[moment.row as usize]).unwrap().0
            };
            assert_eq!(context(&some), context(&all));
        }
    }
    let fired: Vec<u64> = features.iter().map(|(number, feature)| some.dictionaries[*number][*feature].fired).collect();
    assert!(fired.iter().any(|fired| *fired > 0) && fired[0] == fired[2], "{fired:?}");
    assert_eq!(some.dictionaries[0][4].fired, 0);
}

#[test]
fn densities_are_those_that_are_measured() {
    let sae = dictionary("resid_post.1", 1);
    let text = text(40, TextOptions::default());
    let found = survey(std::slice::from_ref(&sae), &text, &Harvesting::default());
    let model = model();
    let reading = Harvesting::default();
    let rules = MeasureOptions { dead_at_most: 0 };
    let reading = TextReading::new(&model, &text, &reading);
    let measured = measured_on(&[&sae], reading, "resid_post.1", rules, &Task::default()).unwrap();
    let densities: Vec<f64> = (0..24).map(|feature| found.density(0, feature)).collect();
    assert_eq!(densities, measured[0].features.densities());
}

#[test]
fn rows_are_whole_where_positions_are_left_out() {
    let sae = dictionary("resid_post.1", 1);
    let text = text(20, TextOptions::default());
    let all = survey(std::slice::from_ref(&sae), &text, &Harvesting::default());
    let keep = Skipped { without_first: 2, without_ids: [26].into(), ..Skipped::default() };
    let some = survey(std::slice::from_ref(&sae), &text, &Harvesting { skip: keep, context: None });
    assert!(some.positions < all.positions);
    assert!(some.rows.iter().zip(&all.rows).all(|(a, b)| a.is_empty() || a == b));
    assert_eq!(some.classes[0] + some.classes[1], 0);
}

#[test]
fn what_no_position_stands_in_is_forgotten() {
    let sae = dictionary("resid_post.1", 1);
    let mut found = survey(std::slice::from_ref(&sae), &text(40, TextOptions::default()), &Harvesting::default());
    let whole = found.rows.clone();
    found.dictionaries[0].iter_mut().for_each(|tally| *tally = Tally::default());
    found.spreads[0].iter_mut().for_each(|spread| *spread = Spread::default());
    found.dictionaries[0][2].top = vec![Moment { row: 5, column: 1, code: 1.0 }];
    found.forget();
    assert_eq!(found.rows.len(), whole.len());
    assert_eq!(found.rows[5], whole[5]);
    assert_eq!(found.rows.iter().filter(|row| !row.is_empty()).count(), 1);
}

#[test]
fn codes_that_are_not_finite_are_told_with_their_place() {
    let sae = dictionary("resid_post.1", 1);
    let mut parts = sae.parts().clone();
    parts.encoder = (parts.encoder * 1e38).unwrap();
    let sae = Sae::new(parts).unwrap();
    let text = text(3, TextOptions::default());
    let model = model();
    let harvesting = Harvesting::default();
    let reading = TextReading::new(&model, &text, &harvesting);
    let error = Survey::of(&[sae], reading, KeptPositions::default(), &Task::default()).unwrap_err();
    assert!(error.message.contains("expected finite codes, found inf of feature"), "{}", error.message);
}
