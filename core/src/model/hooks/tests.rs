//! Hooks at some positions and heads: in gradients, and at every step of a generation.

use kit::far;

use super::{Action, BoundHook, PatchSource};
use crate::base::{Task, random::stream};
use crate::model::batch::Batch;
use crate::model::decoder::{Decoder, Logits};
use crate::model::fixtures::{config, configs, decoder};
use crate::model::generate::SamplingSettings;
use crate::model::run::Ask;
use crate::model::site::select;
use crate::tensor::{DType, Tensor, create};

fn hook<'a>(model: &Decoder, site: &str, heads: Option<&[usize]>, positions: &[i64], action: Action) -> BoundHook<'a> {
    BoundHook::new(model.config(), site, heads, Some(positions.to_vec()), Box::new(action.begin())).unwrap()
}

#[test]
fn gradients_pass_through_what_hooks_leave_and_end_at_what_they_replace() {
    let model = decoder(config(), DType::F64);
    let texts = Batch::new(vec![vec![3, 1, 4, 1, 5], vec![9, 2, 6]]).unwrap();
    let task = Task::default();
    let given = create::randn(&[2, 1, 16], DType::F64, &mut stream(5, "given", 0)).unwrap();
    let hooks = || {
        vec![
            hook(&model, "z.0", Some(&[1, 2]), &[0, -1], Action::Scale(-0.5)),
            hook(&model, "resid_post.0", None, &[1], Action::Patch(PatchSource::Tensor(given.clone()))),
        ]
    };
    let places = ["embed", "z.0", "z.0.2", "resid_post.0"].map(|name| select(model.config(), name).unwrap()[0]);
    let metric = |logits: &Tensor| -> crate::base::Result<Tensor> {
        Ok((logits.get(0)?.get(4)?.get(7)? - logits.get(1)?.get(2)?.get(3)?)?)
    };
    let grads = model.grads(&texts, hooks(), &places, Logits::All, &mut |logits| metric(logits), &task).unwrap();
    for place in places {
        let gradient = grads.cache.at(place).unwrap();
        let direction = create::randn(gradient.dims(), DType::F64, &mut stream(3, "direction", 0)).unwrap();
        // Gradients are taken after the hooks of the place.
        let moved = |step: f64| {
            let push = Action::Add { vector: direction.clone(), scale: step };
            let push = BoundHook::new(model.config(), &place.to_string(), None, None, Box::new(push.begin())).unwrap();
            let all = hooks().into_iter().chain([push]).collect();
            metric(&model.logits(&texts, all, &task).unwrap()).unwrap().to_scalar::<f64>().unwrap()
        };
        let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        let found = (&gradient * &direction).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
        assert!((found - expected).abs() <= 1e-6 * (1.0 + expected.abs()), "`{place}`: {found} is not {expected}");
    }
    // The patch at position 1 cuts the direct path from the embedding there to the metric.
    let early = grads.cache.get("embed").unwrap().get(1).unwrap().get(1).unwrap().abs().unwrap();
    let other = grads.cache.get("embed").unwrap().get(0).unwrap().get(4).unwrap().abs().unwrap();
    let most = |t: Tensor| t.max(0).unwrap().to_scalar::<f64>().unwrap();
    assert!(most(early) < most(other));
}

#[test]
fn a_hook_at_the_last_position_moves_on_with_each_text() {
    let rows = [vec![3, 1, 4, 1, 5, 9], vec![2, 6], vec![5, 3, 5]];
    for config in configs().into_iter().filter(|config| config.causal) {
        let model = decoder(config, DType::F32);
        let vector = create::randn(&[16], DType::F32, &mut stream(4, "vector", 0)).unwrap();
        let speak = |rows: &[Vec<u32>]| {
            let push = Action::Add { vector: vector.clone(), scale: 3.0 };
            let hooks = vec![
                hook(&model, "resid_post.0", None, &[-1], push),
                hook(&model, "q.1", Some(&[3]), &[0], Action::Zero),
            ];
            let batch = Batch::new(rows.to_vec()).unwrap();
            model.generate(&batch, &SamplingSettings::greedy(6), hooks, &mut |_, _| Ok(true), &Task::default()).unwrap()
        };
        let together = speak(&rows);
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(together[i], speak(std::slice::from_ref(row))[0], "text {i} {:?}", model.config());
        }
    }
}

#[test]
fn a_mean_is_over_what_is_text() {
    let model = decoder(config(), DType::F64);
    let rows = [vec![3, 1, 4], vec![1]];
    let record = |rows: &[Vec<u32>], positions| {
        let places = select(model.config(), "z.1").unwrap();
        let ask = Ask { places, positions, ..Ask::default() };
        model.cache(&Batch::new(rows.to_vec()).unwrap(), ask, &Task::default()).unwrap()
    };
    let apart = |place: &str| {
        let place = select(model.config(), place).unwrap()[0];
        let of = |row: &Vec<u32>| record(std::slice::from_ref(row), None).at(place).unwrap().squeeze(0).unwrap();
        let all = Tensor::cat(&rows.each_ref().map(of), 0).unwrap();
        let mean = record(&rows, None).mean(place, false).unwrap();
        far(mean.flatten_all().unwrap(), all.mean(0).unwrap().flatten_all().unwrap())
    };
    for place in ["z.1", "z.1.2"] {
        assert!(apart(place) < 1e-12, "{place}");
    }
    // All kept positions are real ones.
    let place = select(model.config(), "z.1").unwrap()[0];
    let kept = record(&rows, Some(vec![-1])).mean(place, false).unwrap();
    let each = record(&rows, Some(vec![-1])).get("z.1").unwrap().mean_keepdim((0, 1)).unwrap();
    assert!(far(kept, each) < 1e-12);
}

#[test]
fn what_hooks_do_to_attention_lets_no_padding_in() {
    let rows = [vec![3, 1, 4, 1, 5], vec![9, 2, 6], vec![5]];
    let task = Task::default();
    for config in configs() {
        let model = decoder(config, DType::F64);
        let of = |rows: &[Vec<u32>], site: &str, action: &Action| {
            let hook = BoundHook::new(model.config(), site, None, None, Box::new(action.clone().begin())).unwrap();
            let places = select(model.config(), "pattern.*").unwrap();
            let ask = Ask { hooks: vec![hook], places, ..Ask::default() };
            model.run(&Batch::new(rows.to_vec()).unwrap(), ask, &task).unwrap()
        };
        let number = |x: f64| Tensor::new(x, model.device()).unwrap();
        let push = Action::Add { vector: number(0.5), scale: 1.0 };
        let put = Action::Patch(PatchSource::Tensor(number(0.3)));
        for site in ["pattern.*", "scores.*"] {
            if select(model.config(), site).is_err() {
                continue;
            }
            for action in [&push, &put, &Action::Scale(2.0)] {
                let together = of(&rows, site, action);
                for (i, row) in rows.iter().enumerate() {
                    let length = row.len();
                    let alone = of(std::slice::from_ref(row), site, action);
                    let beside = together.logits.narrow(0, i, 1).unwrap().narrow(1, 0, length).unwrap();
                    let same = |a: Tensor, b: &Tensor| {
                        assert!(far(a, b) < 1e-9, "{site} {action:?} {:?}", model.config());
                    };
                    same(beside, &alone.logits);
                    for (place, pattern) in alone.cache.iter() {
                        let both =
                            together.cache.at(*place).unwrap().narrow(0, i, 1).unwrap().narrow(2, 0, length).unwrap();
                        same(both.narrow(3, 0, length).unwrap().contiguous().unwrap(), pattern);
                        // Nothing is attended to behind the end.
                        same(both.sum_keepdim(3).unwrap(), &pattern.sum_keepdim(3).unwrap());
                    }
                }
            }
        }
    }
}

#[test]
fn keys_behind_the_end_of_a_recorded_text_are_not_patched_in() {
    let config = configs().into_iter().find(|config| !config.causal).unwrap();
    let model = decoder(config, DType::F64);
    let task = Task::default();
    let place = select(model.config(), "scores.0").unwrap();
    let recorded = Batch::new(vec![vec![3, 1, 4], vec![5, 6]]).unwrap();
    let cache = model.cache(&recorded, Ask { places: place, ..Ask::default() }, &task).unwrap();
    let patch = Action::Patch(PatchSource::Cache(std::sync::Arc::new(cache)));
    let hooks = vec![hook(&model, "scores.0", None, &[0], patch)];
    let texts = Batch::new(vec![vec![1, 2, 3], vec![4, 5, 7]]).unwrap();
    let error = model.logits(&texts, hooks, &task).unwrap_err();
    assert_eq!(error.message, "text 1 has 3 tokens, and the cache's has 2 keys of `scores.0`");
}
