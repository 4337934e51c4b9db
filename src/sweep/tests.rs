//! Plans and the cells that they stand for.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::plan_sources::{PlanModel, PlanSources};
use super::{Sweep, SweepPlan};

fn known(models: &[&str]) -> PlanSources {
    let model = |source: &&str| PlanModel {
        source: source.to_string(),
        weights: format!("weights of {source}"),
        sites: ["resid_post.0", "resid_post.1"].map(|site| vec![site.to_string()]).to_vec(),
    };
    PlanSources { models: models.iter().map(model).collect(), text: "contents".into(), judge: None }
}

fn plan(more: Value) -> SweepPlan {
    let mut value = json!({ "model": "tiny", "text": "sample", "sites": "resid_post.*" });
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    SweepPlan::read(&value, 0).unwrap()
}

fn sweep(more: Value) -> Sweep {
    Sweep::expand(&plan(more), &known(&["tiny"]), "cpu")
}

fn ids(sweep: &Sweep) -> Vec<String> {
    sweep.cells.iter().map(super::SweepCell::id).collect()
}

fn refused(value: Value) -> String {
    let error = SweepPlan::read(&value, 0).unwrap_err();
    format!("{}{}", error.message, error.hint.map(|hint| format!(" ({hint})")).unwrap_or_default())
}

#[test]
fn the_cells_are_all_combinations_and_a_kind_has_its_own_options() {
    let found = sweep(json!({ "kind": ["topk", "relu"], "k": [4, 8], "l1": 0.01, "d_sae": [64, 128], "seed": [0, 1] }));
    let of_site: Vec<String> = found.cells.iter().filter(|c| c.site == "resid_post.0").map(|c| c.label()).collect();
    let expected = [
        "tiny resid_post.0 topk k 4 d_sae 64 seed 0",
        "tiny resid_post.0 topk k 4 d_sae 64 seed 1",
        "tiny resid_post.0 topk k 4 d_sae 128 seed 0",
        "tiny resid_post.0 topk k 4 d_sae 128 seed 1",
        "tiny resid_post.0 topk k 8 d_sae 64 seed 0",
        "tiny resid_post.0 topk k 8 d_sae 64 seed 1",
        "tiny resid_post.0 topk k 8 d_sae 128 seed 0",
        "tiny resid_post.0 topk k 8 d_sae 128 seed 1",
        "tiny resid_post.0 relu l1 0.01 d_sae 64 seed 0",
        "tiny resid_post.0 relu l1 0.01 d_sae 64 seed 1",
        "tiny resid_post.0 relu l1 0.01 d_sae 128 seed 0",
        "tiny resid_post.0 relu l1 0.01 d_sae 128 seed 1",
    ];
    assert_eq!(of_site, expected);
    assert_eq!((found.cells.len(), found.harvests.len()), (24, 1));
    assert_eq!(found.harvests[0].sites, ["resid_post.0", "resid_post.1"]);
}

#[test]
fn cells_share_a_harvest_unless_they_read_something_else() {
    let two = Sweep::expand(&plan(json!({ "k": [4, 8] })), &known(&["tiny", "other", "tiny"]), "cpu");
    assert_eq!((two.cells.len(), two.harvests.len()), (8, 2));
    for cell in &two.cells {
        assert_eq!(two.harvest(cell).unwrap().reading.model.source, cell.reading.model.source);
    }
    let before = sweep(json!({ "k": 4 }));
    let ids_of = |more: Value| sweep(more).harvests[0].id();
    assert_eq!(ids_of(json!({ "k": [4, 8] })), before.harvests[0].id());
    assert_ne!(ids_of(json!({ "k": 4, "context": 32 })), before.harvests[0].id());
}

/// Checks that the name of a cell has whatever decides the result, and nothing else.
#[test]
fn other_settings_are_other_cells() {
    let one = |more: Value| ids(&sweep(more))[0].clone();
    let before = one(json!({ "k": 4, "steps": 10 }));
    let others = [
        json!({ "k": 5, "steps": 10 }),
        json!({ "k": 4, "steps": 11 }),
        json!({ "k": 4, "steps": 10, "seed": 1 }),
        json!({ "k": 4, "steps": 10, "threads": 2 }),
        json!({ "k": 4, "steps": 10, "context": 16 }),
        json!({ "k": 4, "steps": 10, "effect_rows": 4 }),
        json!({ "k": 4, "steps": 10, "text": { "source": "sample", "tokens": 1000 } }),
    ];
    let names: BTreeSet<String> = others.into_iter().map(one).chain([before.clone()]).collect();
    assert_eq!(names.len(), 8);
    // The order of the map, points, and the seed that is there anyway change nothing.
    assert_eq!(one(json!({ "seed": 0.0, "steps": 10.0, "k": [4] })), before);
    let mut changed = known(&["tiny"]);
    let of = |known: &PlanSources| Sweep::expand(&plan(json!({ "k": 4, "steps": 10 })), known, "cpu").cells[0].id();
    assert_eq!(of(&changed), before);
    changed.text = "other contents".into();
    assert_ne!(of(&changed), before);
    changed = known(&["tiny"]);
    changed.models[0].weights = "other weights".into();
    assert_ne!(of(&changed), before);
    assert_ne!(Sweep::expand(&plan(json!({ "k": 4, "steps": 10 })), &known(&["tiny"]), "cuda").cells[0].id(), before);
}

#[test]
fn what_is_wrong_with_a_plan_is_named() {
    let with = |more: Value| {
        let mut value = json!({ "model": "tiny", "text": "sample", "sites": "resid_post.*" });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        refused(value)
    };
    assert!(refused(json!(3)).starts_with("expected a map as the value of a plan, found integer 3 (a plan ends in"));
    assert!(refused(json!({ "text": "sample", "sites": "x" })).contains("for `model`, found nothing"));
    assert!(refused(json!({ "model": "tiny", "sites": "x" })).starts_with("expected a text for `text`, found nothing"));
    assert_eq!(with(json!({ "sitse": 1 })), "a plan has no option `sitse` (did you mean `sites`?)");
    assert!(with(json!({ "dir": "x" })).starts_with("a plan has no option `dir`"));
    assert_eq!(with(json!({ "l1": 0.1 })), "expected no `l1` for topk");
    assert_eq!(with(json!({ "k": [] })), "expected values for `k`, found an empty list");
    assert_eq!(with(json!({ "sites": [] })), "expected at least one for `sites`, found an empty list");
    assert_eq!(
        with(json!({ "of": "crosscoder", "judge": "sample" })),
        "expected no `judge` for a sweep of `crosscoder` (leave it out: they are judged on the activations that they were \
         fitted to)"
    );
    assert!(with(json!({ "kind": "topp" })).contains("unknown kind of dictionary `topp`"));
    assert!(with(json!({ "steps": "many" })).contains("expected an integer of at least 0 for `steps`"));
    for threads in [json!(0), json!(i64::MAX)] {
        assert!(with(json!({ "threads": threads })).contains("at least 1 and at most 1024"));
    }
    assert_eq!(
        with(json!({ "text": { "source": "sample", "token": 5 } })),
        "unknown option `text.token` (did you mean `tokens`?)"
    );
    assert!(with(json!({ "text": { "tokens": 5 } })).starts_with("expected the source of a text for `text`"));
}

/// Checks that what takes several sites has cells of its own, and that those of dictionaries are named as before.
#[test]
fn targets_of_several_sites_are_cells() {
    let dictionary = sweep(json!({ "k": 4 }));
    assert!(dictionary.cells.iter().all(|cell| cell.target.is_none()));
    assert!(!serde_json::to_string(&dictionary).unwrap().contains("target"));
    let mut known = known(&["tiny"]);
    known.models[0].sites = vec![["mlp_in.0", "mlp_out.0"].map(String::from).to_vec()];
    let plan = plan(json!({ "of": "transcoder", "sites": ["mlp_in.*", "mlp_out.*"], "k": [4, 8], "skip": true }));
    let found = Sweep::expand(&plan, &known, "cpu");
    let labels: Vec<String> = found.cells.iter().map(super::SweepCell::label).collect();
    let expected = ["tiny mlp_in.0 to mlp_out.0 topk k 4 seed 0", "tiny mlp_in.0 to mlp_out.0 topk k 8 seed 0"];
    assert_eq!(labels, expected);
    assert_eq!(found.harvests[0].sites, ["mlp_in.0", "mlp_out.0"]);
    assert!(found.cells.iter().all(|cell| cell.target.as_ref().is_some_and(|target| target.skip)));
    let again: Sweep = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
    assert_eq!(again, found);
}

/// Returns the values of a list without repetitions.
fn once(values: &[u8]) -> BTreeSet<u8> {
    values.iter().copied().collect()
}

proptest! {
    /// Checks that every combination is there once, however the plan names them, and that a cell's name depends on the
    /// cell alone.
    #[test]
    fn every_combination_is_there_once(
        k in proptest::collection::vec(1..6_u8, 1..5),
        d_sae in proptest::collection::vec(8..12_u8, 1..4),
        seeds in proptest::collection::vec(0..4_u8, 1..4),
        turn in any::<prop::sample::Index>(),
    ) {
        let found = sweep(json!({ "k": k, "d_sae": d_sae, "seed": seeds }));
        let combinations: BTreeSet<(String, u64, u64, u64)> = found.cells.iter().map(|cell| {
            let number = |name: &str| cell.fit[name].as_u64().unwrap();
            (cell.site.clone(), number("k"), number("d_sae"), number("seed"))
        }).collect();
        let wanted = 2 * once(&k).len() * once(&d_sae).len() * once(&seeds).len();
        prop_assert_eq!((found.cells.len(), combinations.len()), (wanted, wanted));
        let names: BTreeSet<String> = ids(&found).into_iter().collect();
        prop_assert_eq!(names.len(), wanted);
        // The same values in another order.
        let mut turned = k.clone();
        turned.rotate_left(turn.index(k.len()));
        turned.reverse();
        let again: BTreeSet<String> = ids(&sweep(json!({ "seed": seeds, "d_sae": d_sae, "k": turned }))).into_iter().collect();
        prop_assert_eq!(again, names);
    }
}

#[test]
fn the_largest_seeds_are_those_of_scripts() {
    let value = json!({ "model": "tiny", "text": "sample", "sites": "resid_post.0", "k": 2 });
    for (seed, written) in [(7, 7), (u64::MAX, -1), (1 << 63, i64::MIN)] {
        let plan = SweepPlan::read(&value, seed).unwrap();
        assert_eq!(plan.fits[0]["seed"], json!(written));
    }
}
