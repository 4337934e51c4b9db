//! Tests of interactions: against effects of whole runs, with features that are redundant by construction.

use super::*;
use crate::fixtures::{config, decoder};
use crate::model::hooks::Action;
use crate::sae::{Parts, baselines};

fn dictionary(site: &str) -> Sae {
    let made = baselines::neurons_relu(16, None).unwrap();
    let mut parts: Parts = made.parts().clone();
    parts.about.sites = vec![site.into()];
    Sae::new(parts).unwrap()
}

fn units(all: &[&[(usize, usize)]]) -> Vec<FeatureUnit> {
    all.iter().map(|features| FeatureUnit { name: format!("{features:?}"), features: features.to_vec() }).collect()
}

fn text() -> Vec<Vec<u32>> {
    vec![vec![1, 2, 3, 4, 5], vec![6, 7, 8], vec![9, 10, 11, 12]]
}

fn found(model: &Decoder, saes: &[Sae], units: &[FeatureUnit], measure: SetMeasure) -> Interactions {
    interactions(model, saes, units, &text(), measure, &InteractionOptions::default(), &Task::default()).unwrap()
}

/// Computes the loss without features, by the hooks that scripts use.
fn loss(model: &Decoder, saes: &[Sae], features: &[(usize, usize)]) -> f64 {
    let hooks = || {
        let each = saes.iter().enumerate().map(|(number, sae)| {
            let here = features.iter().filter(|(sae, _)| *sae == number).map(|(_, feature)| *feature).collect();
            let zero = Box::new(Action::Zero.begin());
            let hook = OnFeatures::new(sae.clone(), &FeatureChoice::Only(here), ErrorTreatment::Kept, zero).unwrap();
            hook.at(model.config(), &sae.parts().about.sites[0].name, None).unwrap()
        });
        each.collect::<Vec<_>>()
    };
    let row = |ids: &Vec<u32>| {
        let losses = model.losses(&Batch::new(vec![ids.clone()]).unwrap(), hooks(), &Task::default()).unwrap();
        floats(&losses[0]).unwrap().iter().sum::<f64>() / (ids.len() - 1) as f64
    };
    text().iter().map(row).sum::<f64>() / 3.0
}

#[test]
fn interactions_are_joint_effects_less_single_ones() {
    let model = decoder(config(), DType::F32);
    let saes = [dictionary("resid_post.0"), dictionary("mlp_out.1")];
    let units = units(&[&[(0, 3)], &[(0, 7), (0, 8)], &[(1, 2)]]);
    let found = found(&model, &saes, &units, SetMeasure::Loss);
    let clean = loss(&model, &saes, &[]);
    let effect = |features: &[(usize, usize)]| loss(&model, &saes, features) - clean;
    for (unit, alone) in units.iter().zip(&found.alone) {
        assert!((alone.mean - effect(&unit.features)).abs() < 1e-5, "{}", unit.name);
    }
    assert_eq!(found.pairs.len(), 3);
    for pair in &found.pairs {
        let [a, b] = pair.units.map(|unit| units[unit].features.clone());
        let joint = effect(&[a.clone(), b.clone()].concat());
        assert!((pair.joint.mean - joint).abs() < 1e-5);
        assert!((pair.interaction.mean - (joint - effect(&a) - effect(&b))).abs() < 1e-5, "{pair:?}");
        let [low, high] = pair.interaction.interval.unwrap();
        assert!(low <= pair.interaction.mean && pair.interaction.mean <= high);
    }
    let whole: Vec<(usize, usize)> = units.iter().flat_map(|unit| unit.features.clone()).collect();
    let sum: f64 = units.iter().map(|unit| effect(&unit.features)).sum();
    assert!((found.all.mean - (effect(&whole) - sum)).abs() < 1e-5);
    let matrix = found.matrix(false);
    let table = found.table();
    assert_eq!((matrix.values[1], matrix.values[4]), (found.pairs[0].interaction.mean, found.alone[1].mean));
    assert_eq!(matrix.values[1], matrix.values[3]);
    assert_eq!((table.rows.len(), table.columns.len()), (3, table.rows[0].len()));
}

#[test]
fn the_control_is_not_the_interaction_and_divergences_are_not_negative() {
    let model = decoder(config(), DType::F32);
    let saes = [dictionary("resid_post.0")];
    let found = found(
        &model,
        &saes,
        &units(&[&[(0, 0), (0, 1), (0, 2), (0, 3)], &[(0, 4), (0, 5), (0, 6), (0, 7)]]),
        SetMeasure::Kl,
    );
    assert!(found.alone.iter().all(|alone| alone.mean >= -1e-9));
    let pair = &found.pairs[0];
    assert!((pair.control.mean - pair.interaction.mean).abs() > 1e-9, "{pair:?}");
    assert!(found.matrix(true).values[0].is_nan());
}

#[test]
fn a_metric_of_ones_own_reads_the_logits_after_each_row() {
    let model = decoder(config(), DType::F32);
    let saes = [dictionary("resid_post.0")];
    let units = units(&[&[(0, 3), (0, 5)], &[(0, 7)]]);
    let own = |number: usize, logits: &Tensor| -> Result<Tensor> { Ok(logits.get(text()[number][0] as usize)?) };
    let found = found(&model, &saes, &units, SetMeasure::Of(&own));
    let last = |ids: &Vec<u32>, hooks: Vec<BoundHook>| -> f64 {
        let logits = model.logits(&Batch::new(vec![ids.clone()]).unwrap(), hooks, &Task::default()).unwrap();
        let last = logits.get(0).unwrap().get(ids.len() - 1).unwrap();
        floats(&last).unwrap()[ids[0] as usize]
    };
    let effect = |ids: &Vec<u32>| {
        let zero = Box::new(Action::Zero.begin());
        let hook = OnFeatures::new(saes[0].clone(), &FeatureChoice::Only(vec![7]), ErrorTreatment::Kept, zero).unwrap();
        last(ids, vec![hook.at(model.config(), "resid_post.0", None).unwrap()]) - last(ids, Vec::new())
    };
    let expected = text().iter().map(effect).sum::<f64>() / 3.0;
    assert!((found.alone[1].mean - expected).abs() < 1e-5, "{expected}");
    assert_eq!(found.quantity, "metric");
}

#[test]
fn too_little_is_refused() {
    let model = decoder(config(), DType::F32);
    let saes = [dictionary("resid_post.0")];
    let refused = |units: &[FeatureUnit], text: &[Vec<u32>]| {
        let options = InteractionOptions::default();
        interactions(&model, &saes, units, text, SetMeasure::Loss, &options, &Task::default()).unwrap_err().message
    };
    assert_eq!(refused(&units(&[&[(0, 1)]]), &text()), "expected at least two features or groups, found 1");
    assert_eq!(refused(&units(&[&[(0, 1)], &[(0, 1)]]), &text()), "expected each feature once, found feature 1 twice");
    let two = units(&[&[(0, 1)], &[(0, 2)]]);
    assert_eq!(refused(&two, &[vec![1], vec![2, 3]]), "expected at least two rows of two tokens, found 1");
    assert_eq!(refused(&units(&[&[(0, 1)], &[(0, 16)]]), &text()), "expected features below 16, found 16");
}
