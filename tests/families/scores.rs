//! In every family with attention each head's score is a sum over pairs of what was written at the query and at the key.

use super::{ENCODERS, FAMILIES, expected, files, fixture, ids, load};
use microtome::base::Task;
use microtome::checkpoint::load::LoadSettings;
use microtome::circuit::qk::{QkDictionaries, QkOptions, qk};
use microtome::model::Model;
use microtome::model::batch::Batch;
use microtome::model::run::Ask;
use microtome::model::site::{Place, Site, SiteKind};
use microtome::tensor::floats;

#[test]
fn pairs_of_parts_sum_to_the_score_in_every_family() {
    let mut split = Vec::new();
    let mut refused = Vec::new();
    for family in FAMILIES.into_iter().chain(ENCODERS) {
        let decoder = load(&files(), &fixture(family), &LoadSettings::default());
        let config = decoder.config().clone();
        let text = ids(&expected(family)["input_ids"]).remove(0);
        let Some(layer) = (0..config.layers).rev().find(|layer| config.attends(*layer)) else { continue };
        let model = Model::new(decoder, None, "made");
        let from = text.len() - 2;
        for head in 0..config.heads {
            let options = QkOptions { from: from as i64, to: Some(from as i64 - 1) };
            let site = format!("scores.{layer}.{head}");
            let found = match qk(&model, &text, &site, &QkDictionaries::default(), &options, &Task::default()) {
                Ok(found) => found,
                Err(error) if error.message.contains("norms of the residual stream") => {
                    refused.push(family);
                    break;
                }
                Err(error) => panic!("{family}: {error:?}"),
            };
            let place = Place { site: Site::new(SiteKind::Scores, layer), head: None };
            let ask = Ask { places: vec![place], ..Ask::default() };
            let batch = Batch::new(vec![text.clone()]).unwrap();
            let scores = model.decoder.cache(&batch, ask, &Task::default()).unwrap().at(place).unwrap();
            let score = scores.get(0).unwrap().get(head).unwrap().get(from).unwrap().narrow(0, from - 1, 1).unwrap();
            let score = floats(&score).unwrap()[0];
            let size: f64 = found.values.iter().map(|value| value.abs()).sum();
            assert!((found.score - score).abs() < 1e-5 * (1.0 + score.abs()), "{family}: {} of {score}", found.score);
            assert!(found.rest().abs() < 1e-5 * (1.0 + size), "{family} {site}: {} of {size}", found.rest());
            split.push(family);
        }
    }
    split.dedup();
    assert!(split.len() > 45, "{} families: {split:?}", split.len());
    assert!(refused.len() < 4, "{refused:?}");
}
