//! Reading a run, on a tiny model of every family: logits split into their parts, and the logit lens.

use std::path::PathBuf;

use microtome::base::{Cell, Task};
use microtome::checkpoint::load::LoadSettings;
use microtome::model::batch::Batch;
use microtome::model::reading::attribution::{By, Target, attribute, places};
use microtome::model::reading::lens;
use microtome::model::run::Ask;
use microtome::model::site::select;
use microtome::tensor::floats;

use crate::families::files::{files, load};

/// The folders of all families.
fn families() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(kit::fixture("models")).unwrap().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.join("config.json").is_file()).collect();
    found.sort();
    assert_eq!(found.len(), 51);
    found
}

fn texts() -> Batch {
    Batch::new(vec![(1..40).collect(), vec![17, 4, 99, 5, 8]]).unwrap()
}

#[test]
fn the_parts_of_a_logit_sum_to_it_in_every_family() {
    for folder in families() {
        let model = load(&files(), &folder, &LoadSettings::default());
        let target = Target { token: 42, against: None };
        if model.config().beyond_reading().is_some() {
            let run = model.run(&texts(), Ask::default(), &Task::default()).unwrap();
            let refused = attribute(&model, &run.cache, By::Layer, 0, &[target]).unwrap_err();
            assert!(refused.message.starts_with("a logit is no sum"), "{}", refused.message);
            continue;
        }
        for by in [By::Layer, By::Part, By::Head] {
            let ask = Ask { places: places(model.config(), by), ..Ask::default() };
            let run = model.run(&texts(), ask, &Task::default()).unwrap();
            for position in [0, 3, -1] {
                for (row, found) in attribute(&model, &run.cache, by, position, &[target]).unwrap().iter().enumerate() {
                    let column = if position < 0 { texts().lengths()[row] - 1 } else { position as usize };
                    let here = run.logits.get(row).unwrap().get(column).unwrap();
                    let logit = floats(&here).unwrap()[42];
                    let capped = match model.config().logit_cap {
                        Some(cap) => cap * (found.sum() / cap).tanh(),
                        None => found.sum(),
                    };
                    assert!((capped - logit).abs() < 1e-4, "{} {by:?}: {capped} {logit}", folder.display());
                    assert!(found.rest().abs() < 1e-4, "{} {by:?}: {}", folder.display(), found.rest());
                }
            }
        }
    }
}

#[test]
fn the_lens_at_the_last_layer_is_the_model_in_every_family() {
    for folder in families() {
        let model = load(&files(), &folder, &LoadSettings::default());
        let places = select(model.config(), "resid_post.*").unwrap();
        let ask = Ask { places: places.clone(), ..Ask::default() };
        let run = model.run(&texts(), ask, &Task::default()).unwrap();
        let readings = lens::lens(&model, &run.cache, &places, None, 1, &Task::default()).unwrap();
        let last = readings.last().unwrap();
        let logits = last.logits(&model, &Task::default()).unwrap();
        for (found, expected) in floats(&logits).unwrap().into_iter().zip(floats(&run.logits).unwrap()) {
            assert!((found - expected).abs() < 1e-4, "{}: {found} {expected}", folder.display());
        }
        let labels: Vec<String> = (0..5).map(|position| position.to_string()).collect();
        let table = lens::table(lens::LOGIT_LENS, &readings, 1, &labels, |token| token.to_string()).unwrap();
        assert_eq!(table.rows.len(), model.config().layers);
        assert_eq!(table.rows[0][0], Cell::Text("resid_post.0".into()));
    }
}
