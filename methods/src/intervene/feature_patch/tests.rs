//! Tests of feature patching: against the search one evaluation at a time, and against the known values at its ends.

use super::*;
use crate::fixtures::{config, decoder};
use crate::sae::baselines;

fn pairs() -> Vec<PatchPair> {
    let pair = |clean: &[u32], corrupt: &[u32]| PatchPair { clean: clean.to_vec(), corrupt: corrupt.to_vec() };
    vec![
        pair(&[1, 2, 3, 4], &[1, 5, 3, 4]),
        pair(&[6, 7, 8], &[6, 9, 8]),
        pair(&[2, 2, 10, 11, 12], &[2, 13, 10, 11, 12]),
    ]
}

fn options(order: PatchOrder, site: &str) -> FeaturePatchOptions {
    FeaturePatchOptions { order, reads: SiteOptions { site: Some(site.into()) }, ..FeaturePatchOptions::default() }
}

fn dictionary(features: usize) -> Sae {
    baselines::random(16, features, Some(5), &mut stream(3, "test", 0)).unwrap()
}

#[test]
fn with_all_neurons_the_patched_run_is_the_corrupt_one() {
    let model = decoder(config(), DType::F32);
    for site in ["resid_post.0", "mlp_out.1", "z.0"] {
        let sae = baselines::identity(16).unwrap();
        for order in [PatchOrder::Paper, PatchOrder::Attribution] {
            let sets = feature_patch(&model, &sae, &pairs(), &options(order, site), &Task::default()).unwrap();
            let first = sets.first().unwrap();
            let last = sets.last().unwrap();
            assert_eq!((first.count, last.count), (16, 0), "{site}");
            assert!(last.kl > 1e-4 && last.edit == 0.0, "{site}: {last:?}");
            // In the first layer's mlp_out the rest of the residual stream differs, too.
            if site == "resid_post.0" {
                assert!(first.kl.abs() < 1e-6, "{site}: {first:?}");
            }
        }
    }
}

/// Searches as the paper does: one candidate at a time, each by a whole run.
fn plain(runs: &PatchRuns, thresholds: &[f64], random: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let task = Task::default();
    let mut patched: Vec<usize> = (0..runs.features.len()).collect();
    let kl = |places: &[usize]| runs.kls(&[runs.change(places).unwrap()], &task).unwrap()[0];
    let mut found = Vec::new();
    for threshold in thresholds {
        let mut visited = patched.clone();
        visited.shuffle(random);
        for candidate in visited {
            let without: Vec<usize> = patched.iter().copied().filter(|place| *place != candidate).collect();
            if kl(&without) - kl(&patched) < *threshold {
                patched = without;
            }
        }
        let mut features: Vec<usize> = patched.iter().map(|place| runs.features[*place] as usize).collect();
        features.sort_unstable();
        found.push(features);
    }
    found
}

#[test]
fn sets_are_those_of_one_evaluation_at_a_time() {
    let model = decoder(config(), DType::F32);
    let sae = dictionary(40);
    let place = one_site(model.config(), "resid_post.0", "").unwrap();
    let thresholds = [1e-4, 1e-3, 1e-2, 0.1, 1.0];
    for seed in 0..3 {
        let runs = PatchRuns::new(&model, &sae, place, &pairs(), &Task::default()).unwrap();
        let expected = plain(&runs, &thresholds, &mut stream(seed, "feature patching", 0));
        let found = search(&runs, &thresholds, &mut stream(seed, "feature patching", 0), &Task::default()).unwrap();
        assert_eq!(found.len(), thresholds.len() + 2);
        for (found, expected) in found[1..].iter().zip(&expected) {
            assert_eq!(found.features, *expected, "seed {seed}, {:?}", found.threshold);
        }
    }
}

#[test]
fn the_edit_is_the_mean_length_of_what_is_added_at_real_positions() {
    let model = decoder(config(), DType::F32);
    let sae = baselines::identity(16).unwrap();
    let sets = feature_patch(&model, &sae, &pairs(), &options(PatchOrder::Paper, "embed"), &Task::default()).unwrap();
    // One token differs in each pair, and there are 12 tokens.
    let row = |id: u32| model.weights().embed.row(id as usize).unwrap();
    let length = |a: u32, b: u32| {
        let squares = (row(a) - row(b)).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        f64::from(squares).sqrt()
    };
    let expected = (length(2, 5) + length(7, 9) + length(2, 13)) / 12.0;
    assert!((sets[0].edit - expected).abs() < 1e-5 && sets[0].kl.abs() < 1e-6);
}

#[test]
fn a_gradient_orders_features_so_that_few_do_most() {
    let model = decoder(config(), DType::F32);
    let sets = feature_patch(
        &model,
        &dictionary(64),
        &pairs(),
        &options(PatchOrder::Attribution, "resid_post.0"),
        &Task::default(),
    )
    .unwrap();
    let counts: Vec<usize> = sets.iter().map(|set| set.count).collect();
    assert!(counts.windows(2).all(|two| two[0] > two[1]), "{counts:?}");
    assert_eq!((counts[0], *counts.last().unwrap()), (64, 0));
    let one = &sets[sets.len() - 2];
    assert!(one.count == 1 && one.kl < sets.last().unwrap().kl);
}

#[test]
fn pairs_that_differ_in_length_are_named() {
    let model = decoder(config(), DType::F32);
    let mut given = pairs();
    given[1].corrupt.push(3);
    let run = |pairs: &[PatchPair], options: &FeaturePatchOptions| {
        feature_patch(&model, &dictionary(20), pairs, options, &Task::default()).map(drop).unwrap_err().message
    };
    let site = options(PatchOrder::Paper, "resid_post.0");
    assert_eq!(run(&given, &site), "expected texts of the same length, found 3 and 4 tokens in pair 1");
    assert_eq!(run(&[], &site), "expected at least one text, found none");
    let backwards = FeaturePatchOptions { thresholds: Some(vec![0.1, 0.01]), ..site };
    assert_eq!(run(&pairs(), &backwards), "expected ascending thresholds, found others");
}

#[test]
fn a_dictionary_that_sees_no_difference_changes_nothing() {
    let model = decoder(config(), DType::F32);
    let same: Vec<PatchPair> =
        pairs().into_iter().map(|pair| PatchPair { corrupt: pair.clean.clone(), ..pair }).collect();
    for order in [PatchOrder::Paper, PatchOrder::Attribution] {
        let sets =
            feature_patch(&model, &dictionary(20), &same, &options(order, "resid_post.0"), &Task::default()).unwrap();
        assert!(sets.iter().all(|set| set.kl.abs() < 1e-9 && set.edit == 0.0));
        assert_eq!(sets.last().unwrap().count, 0);
    }
}
