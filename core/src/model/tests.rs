//! Tests of the decoder on small models of every kind: caches, batches, hooks, sums, gradients.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use kit::largest;

use super::batch::Batch;
use super::config::Config;
use super::decoder::{Decoder, Logits, Pass, Past};
use super::fixtures::{config, configs, decoder};
use super::generate::SamplingSettings;
use super::hooks::{Action, At, BoundHook, Edit, NoHooks, PatchSource};
use super::run::Ask;
use super::site::{Place, Site, SiteKind, select};
use crate::base::{Result, Task, random::stream};
use crate::tensor::{DType, Tensor, create};

const TEXT: [u32; 9] = [3, 1, 4, 1, 5, 9, 2, 6, 19];

fn batch(rows: &[&[u32]]) -> Batch {
    Batch::new(rows.iter().map(|row| row.to_vec()).collect()).unwrap()
}

/// Returns the largest difference, relative to the largest value where that is more than 1.
fn far(a: &Tensor, b: &Tensor) -> f64 {
    kit::far(a, b) / largest(a).max(1.0)
}

fn logits(model: &Decoder, batch: &Batch) -> Tensor {
    model.logits(batch, Vec::new(), &Task::default()).unwrap()
}

fn everything(model: &Decoder) -> Vec<Place> {
    Site::all(model.config()).into_iter().map(|site| Place { site, head: None }).collect()
}

fn place(model: &Decoder, name: &str) -> Place {
    select(model.config(), name).unwrap()[0]
}

fn bound<'a>(model: &Decoder, site: &str, action: Action) -> BoundHook<'a> {
    BoundHook::new(model.config(), site, None, None, Box::new(action.begin())).unwrap()
}

#[test]
fn rows_of_the_unembedding_and_their_mean_are_those_of_all_rows() {
    for config in configs() {
        let model = decoder(config, DType::F32);
        let Ok(all) = model.unembedding() else { continue };
        assert_eq!(kit::far(model.mean_unembedding().unwrap(), all.mean(0).unwrap()), 0.0);
        for token in 0..model.config().outputs() {
            let row = model.unembedding_row(token as u32).unwrap();
            assert_eq!(kit::far(row, all.get(token).unwrap()), 0.0);
        }
    }
}

#[test]
fn reading_in_pieces_is_reading_at_once() {
    for config in configs().into_iter().filter(|config| config.causal) {
        let model = decoder(config, DType::F32);
        let whole = logits(&model, &batch(&[&TEXT]));
        let mut past = Past::new();
        let mut parts = Vec::new();
        for piece in [&TEXT[..4], &TEXT[4..5], &TEXT[5..8], &TEXT[8..]] {
            let task = Task::default();
            let pass = Pass { hooks: &mut NoHooks, past: Some(&mut past), logits: Logits::All, task: &task };
            parts.push(model.forward(&batch(&[piece]), pass).unwrap().unwrap());
        }
        let gap = far(&whole, &Tensor::cat(&parts, 1).unwrap());
        assert!(gap < 1e-5, "{gap} {:?}", model.config());
    }
}

#[test]
fn texts_of_a_batch_are_read_as_if_alone() {
    for config in configs() {
        let model = decoder(config, DType::F32);
        let rows: [&[u32]; 3] = [&TEXT, &TEXT[2..5], &TEXT[4..]];
        let together = logits(&model, &batch(&rows));
        for (i, row) in rows.iter().enumerate() {
            let alone = logits(&model, &batch(&[row]));
            let part = together.narrow(0, i, 1).unwrap().narrow(1, 0, row.len()).unwrap();
            let gap = far(&part, &alone);
            assert!(gap < 1e-5, "{gap} text {i} {:?}", model.config());
        }
    }
}

#[test]
fn texts_of_a_batch_go_on_as_if_alone() {
    let choice = SamplingSettings { repetition_penalty: 1.3, ..SamplingSettings::greedy(6) };
    for config in configs().into_iter().filter(|config| config.causal) {
        let model = decoder(config, DType::F32);
        let rows: [&[u32]; 3] = [&TEXT, &TEXT[2..5], &TEXT[4..]];
        let speak = |rows: &[&[u32]]| {
            model.generate(&batch(rows), &choice, vec![], &mut |_, _| Ok(true), &Task::default()).unwrap()
        };
        let together = speak(&rows);
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(together[i], speak(&[row])[0], "text {i} {:?}", model.config());
        }
    }
}

#[test]
fn looking_changes_nothing_and_what_flows_adds_up() {
    for config in configs() {
        let model = decoder(config, DType::F32);
        let texts = batch(&[&TEXT, &TEXT[3..]]);
        let plain = logits(&model, &texts);
        let ask = Ask { places: everything(&model), ..Ask::default() };
        let run = model.run(&texts, ask, &Task::default()).unwrap();
        assert!(far(&plain, &run.logits) < 1e-5, "{:?}", model.config());
        assert_eq!(run.cache.len(), everything(&model).len());
        for layer in 0..2 {
            let at = |kind| run.cache.at(Place { site: Site::new(kind, layer), head: None });
            let mut sum = (at(SiteKind::ResidPre).unwrap() + at(SiteKind::AttnOut).unwrap()).unwrap();
            if model.config().has_mlp() {
                sum = (sum + at(SiteKind::MlpOut).unwrap()).unwrap();
            }
            if model.config().layer_inputs.is_some() {
                sum = (sum + at(SiteKind::LayerOut).unwrap()).unwrap();
            }
            if let Some(scale) = &model.weights().blocks[layer].scale {
                sum = sum.broadcast_mul(scale).unwrap();
            }
            if model.config().stream_norm {
                // The stream goes on as norms give it: tests of families compare them.
                assert!(far(&sum, &at(SiteKind::ResidPost).unwrap()) > 0.1);
                continue;
            }
            assert!(far(&sum, &at(SiteKind::ResidPost).unwrap()) < 1e-5);
        }
    }
}

#[test]
fn a_cache_ends_where_nothing_more_is_asked_for() {
    let model = decoder(config(), DType::F32);
    let ids = batch(&[&TEXT]);
    let all = model.run(&ids, Ask { places: everything(&model), ..Ask::default() }, &Task::default()).unwrap().cache;
    for site in Site::all(model.config()) {
        // A hook beyond the last site would fail; it is never reached.
        struct Never;
        impl Edit for Never {
            fn edit(&mut self, at: &At, _: Place, _: Option<&[i64]>, _: &Tensor) -> Result<Option<Tensor>> {
                crate::bail!(Bug, "`{}` was computed", at.site)
            }
        }
        let beyond: Vec<Site> = Site::all(model.config()).into_iter().filter(|other| *other > site).collect();
        let hooks = beyond
            .iter()
            .map(|other| BoundHook::new(model.config(), &other.to_string(), None, None, Box::new(Never)).unwrap());
        let ask = Ask { hooks: hooks.collect(), places: vec![Place { site, head: None }], positions: None };
        let cache = model.cache(&ids, ask, &Task::default()).unwrap();
        assert_eq!(cache.len(), 1);
        let one = Place { site, head: None };
        assert!(far(&cache.at(one).unwrap(), &all.at(one).unwrap()) < 1e-5, "{site}");
    }
}

#[test]
fn hooks_do_what_they_say() {
    let model = decoder(config(), DType::F32);
    let ids = batch(&[&TEXT]);
    let other = batch(&[&[7, 7, 1, 0, 2, 2, 11, 12, 13]]);
    let task = Task::default();
    let record = |hooks: Vec<BoundHook>, site: &str| {
        let ask = Ask { hooks, places: vec![place(&model, site)], positions: None };
        model.cache(&ids, ask, &task).unwrap().get(site).unwrap()
    };
    let ask = Ask { places: everything(&model), ..Ask::default() };
    let others = Arc::new(model.run(&other, ask, &task).unwrap().cache);
    let before = record(vec![], "mlp_out.1");

    assert_eq!(
        far(&record(vec![bound(&model, "mlp_out.1", Action::Zero)], "mlp_out.1"), &before.zeros_like().unwrap()),
        0.0
    );
    let halved = record(vec![bound(&model, "mlp_out.1", Action::Scale(0.5))], "mlp_out.1");
    assert_eq!(far(&halved, &(&before * 0.5).unwrap()), 0.0);
    let vector = Tensor::ones(16, DType::F32, model.device()).unwrap();
    let added = record(vec![bound(&model, "mlp_out.1", Action::Add { vector, scale: 2.0 })], "mlp_out.1");
    assert_eq!(far(&added, &(&before + 2.0).unwrap()), 0.0);
    // Patching in the whole stream of another text gives that text's logits.
    let patched =
        record(vec![bound(&model, "resid_pre.1", Action::Patch(PatchSource::Cache(others.clone())))], "logits");
    assert!(far(&patched, &others.get("logits").unwrap()) < 1e-5);
    // In the order given: scaled and then zeroed is zero; zeroed, then moved is moved.
    let one = Tensor::ones(1, DType::F32, model.device()).unwrap();
    let both = vec![
        bound(&model, "mlp_out.1", Action::Zero),
        bound(&model, "mlp_out.1", Action::Add { vector: one, scale: 3.0 }),
    ];
    assert_eq!(far(&record(both, "mlp_out.1"), &before.ones_like().unwrap().affine(3.0, 0.0).unwrap()), 0.0);
    let mean = record(
        vec![bound(&model, "mlp_out.1", Action::Mean { cache: others.clone(), by_position: false })],
        "mlp_out.1",
    );
    let expected = others.get("mlp_out.1").unwrap().mean_keepdim(1).unwrap().broadcast_as(mean.shape()).unwrap();
    assert!(far(&mean, &expected) < 1e-6);
}

#[test]
fn a_head_and_a_position_are_changed_alone() {
    let model = decoder(config(), DType::F32);
    let ids = batch(&[&TEXT, &TEXT[..5]]);
    let ask = |hooks| Ask { hooks, places: vec![place(&model, "z.1")], positions: None };
    let before = model.cache(&ids, ask(vec![]), &Task::default()).unwrap().get("z.1").unwrap();
    let zero = Box::new(Action::Zero.begin());
    let hook = BoundHook::new(model.config(), "z.1", Some(&[2]), Some(vec![1, -1]), zero).unwrap();
    let after = model.cache(&ids, ask(vec![hook]), &Task::default()).unwrap().get("z.1").unwrap();
    for row in 0..2 {
        for pos in 0..9 {
            for head in 0..4 {
                let at = |t: &Tensor| t.get(row).unwrap().get(pos).unwrap().get(head).unwrap();
                let hit = head == 2 && (pos == 1 || pos == [8, 4][row]);
                let expected = if hit { at(&before).zeros_like().unwrap() } else { at(&before) };
                assert_eq!(far(&at(&after), &expected), 0.0, "row {row} pos {pos} head {head}");
            }
        }
    }
}

#[test]
fn what_a_hook_returns_must_fit() {
    struct Returns(Tensor);
    impl Edit for Returns {
        fn edit(&mut self, _: &At, _: Place, _: Option<&[i64]>, _: &Tensor) -> Result<Option<Tensor>> {
            Ok(Some(self.0.clone()))
        }
    }
    let model = decoder(config(), DType::F32);
    let answer = |t: Tensor| {
        let hook = BoundHook::new(model.config(), "mlp_out.1", None, None, Box::new(Returns(t))).unwrap();
        model.logits(&batch(&[&TEXT]), vec![hook], &Task::default()).unwrap_err().message
    };
    let fit = Tensor::zeros((1, 9, 16), DType::F32, model.device()).unwrap();
    assert_eq!(
        answer(fit.narrow(1, 0, 8).unwrap()),
        "expected a tensor of shape [1, 9, 16] from the hook at `mlp_out.1`, found [1, 8, 16]"
    );
    assert_eq!(answer(fit.to_dtype(DType::F64).unwrap()), "expected f32 from the hook at `mlp_out.1`, found f64");
    let nan = (fit.clone() / 0.0).unwrap();
    assert_eq!(answer((&nan - &nan).unwrap()), "the hook at `mlp_out.1` returned NaN, first at [0, 0, 0]");
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for config in configs() {
        let model = decoder(config, DType::F64);
        let ids = batch(&[&TEXT[..5]]);
        let places = everything(&model);
        let task = Task::default();
        let mut metric = |logits: &Tensor| Ok(logits.get(0)?.get(3)?.get(2)?.affine(1.0, 0.0)?);
        let grads = model.grads(&ids, vec![], &places, Logits::All, &mut metric, &task).unwrap();
        for place in places.iter().filter(|place| place.site.kind != SiteKind::Logits) {
            let gradient = grads.cache.at(*place).unwrap();
            // Along a fixed direction, both ways.
            let direction = create::randn(gradient.dims(), DType::F64, &mut stream(3, "direction", 0)).unwrap();
            let moved = |step: f64| {
                let push = Action::Add { vector: direction.clone(), scale: step };
                let hook = bound(&model, &place.to_string(), push);
                let logits = model.logits(&ids, vec![hook], &task).unwrap();
                logits.get(0).unwrap().get(3).unwrap().get(2).unwrap().to_scalar::<f64>().unwrap()
            };
            let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            let found = (&gradient * &direction).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
            let close = (found - expected).abs() <= 1e-5 * (1.0 + expected.abs());
            assert!(close, "`{place}`: {found} is not {expected} {:?}", model.config());
        }
    }
}

#[test]
fn half_precision_computes_right() {
    for config in configs() {
        let exact = logits(&decoder(config.clone(), DType::F32), &batch(&[&TEXT]));
        for (dtype, most) in [(DType::F16, 0.02), (DType::BF16, 0.15)] {
            let half = logits(&decoder(config.clone(), dtype), &batch(&[&TEXT]));
            assert_eq!(half.dtype(), dtype);
            let gap = far(&exact, &half.to_dtype(DType::F32).unwrap());
            // There are more norms in a row, each of what was rounded before it.
            let most = if config.layer_scale { 2.0 * most } else { most };
            assert!(gap < most && gap > 0.0, "{dtype:?} {gap} {config:?}");
        }
    }
}

#[test]
fn a_text_may_outgrow_the_context_where_asked() {
    let model = decoder(config(), DType::F32);
    let mut choice = SamplingSettings::greedy(60);
    let speak = |choice: &SamplingSettings| {
        model.generate(&batch(&[&TEXT]), choice, vec![], &mut |_, _| Ok(true), &Task::default())
    };
    let error = speak(&choice).unwrap_err();
    assert!(error.message.contains("with 60 more it is longer than the 32"), "{error:?}");
    assert!(error.hint.unwrap().contains("at most 24 tokens"));
    choice.windowed = true;
    let ragged = batch(&[&TEXT, &TEXT[..2]]);
    let error = model.generate(&ragged, &choice, vec![], &mut |_, _| Ok(true), &Task::default()).unwrap_err();
    assert!(error.message.contains("texts of the same length"), "{error:?}");
    let new = speak(&choice).unwrap().remove(0);
    assert_eq!(new.len(), 60);
    // 24 tokens fit; then the last 16 are read as a text of their own.
    let text: Vec<u32> = TEXT.iter().chain(&new).copied().collect();
    let last = logits(&model, &batch(&[&text[33 - 16..33]])).get(0).unwrap().get(15).unwrap();
    assert_eq!(last.argmax(0).unwrap().to_scalar::<u32>().unwrap(), text[33]);
}

#[test]
fn losses_are_the_logarithms_of_probabilities() {
    let model = decoder(config(), DType::F64);
    let texts = batch(&[&TEXT, &TEXT[..1]]);
    let task = Task::default();
    let losses = model.losses(&texts, vec![], &task).unwrap();
    assert_eq!((losses[0].dims(), losses[1].dims()), (&[8][..], &[0][..]));
    let chances = crate::tensor::normalise::softmax(&logits(&model, &texts).get(0).unwrap(), 1).unwrap();
    for (i, loss) in losses[0].to_vec1::<f64>().unwrap().into_iter().enumerate() {
        let chance = chances.get(i).unwrap().get(TEXT[i + 1] as usize).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss + chance.ln()).abs() < 1e-9);
    }
    // Windows over a text that fits are the text.
    let windowed = model.windowed_losses(&batch(&[&TEXT]), vec![], &task).unwrap();
    assert!(far(&windowed[0], &losses[0]) < 1e-9);
    let long: Vec<u32> = (0..100).map(|i| i * 7 % 20).collect();
    let windowed = model.windowed_losses(&batch(&[&long]), vec![], &task).unwrap().remove(0);
    assert_eq!(windowed.dims(), [99]);
    // The token at 40 is scored in the window 16..48, with 24 tokens before it.
    let window = model.losses(&batch(&[&long[16..48]]), vec![], &task).unwrap();
    assert!(far(&windowed.get(39).unwrap(), &window[0].get(23).unwrap()) < 1e-9);
}

#[test]
fn chance_is_seeded_and_keeps_to_its_limits() {
    let model = decoder(config(), DType::F32);
    let speak = |seed: u64, top_k: Option<usize>, top_p: Option<f64>| {
        let choice = SamplingSettings { temperature: 2.0, top_k, top_p, seed, ..SamplingSettings::greedy(20) };
        model.generate(&batch(&[&TEXT]), &choice, vec![], &mut |_, _| Ok(true), &Task::default()).unwrap().remove(0)
    };
    assert_eq!(speak(1, None, None), speak(1, None, None));
    assert_ne!(speak(1, None, None), speak(2, None, None));
    // With one candidate, sampling is greedy at any temperature.
    assert_eq!(speak(1, Some(1), None), speak(2, None, Some(1e-9)));
}

#[test]
fn steps_are_counted_on_where_a_text_outgrows_the_context() {
    let model = decoder(Config { context: 6, ..config() }, DType::F32);
    let steps = Rc::new(RefCell::new(Vec::new()));
    struct Watch(Rc<RefCell<Vec<usize>>>);
    impl Edit for Watch {
        fn edit(&mut self, at: &At, _: Place, _: Option<&[i64]>, _: &Tensor) -> Result<Option<Tensor>> {
            self.0.borrow_mut().push(at.step);
            Ok(None)
        }
    }
    let hook = BoundHook::new(model.config(), "logits", None, None, Box::new(Watch(steps.clone()))).unwrap();
    let choice = SamplingSettings { windowed: true, ..SamplingSettings::greedy(9) };
    model.generate(&batch(&[&TEXT[..4]]), &choice, vec![hook], &mut |_, _| Ok(true), &Task::default()).unwrap();
    assert_eq!(*steps.borrow(), (0..9).collect::<Vec<_>>());
}

#[test]
fn a_model_that_reads_one_token_has_nothing_to_judge() {
    let model = decoder(Config { context: 1, ..config() }, DType::F32);
    let error = model.windowed_losses(&batch(&[&TEXT]), vec![], &Task::default()).unwrap_err();
    assert!(error.message.contains("at least two tokens"), "{error:?}");
    let short = decoder(Config { context: 2, ..config() }, DType::F32);
    let losses = short.windowed_losses(&batch(&[&TEXT]), vec![], &Task::default()).unwrap();
    let last = short.losses(&batch(&[&TEXT[7..]]), vec![], &Task::default()).unwrap();
    assert!(losses[0].dims() == [8] && far(&losses[0].get(7).unwrap(), &last[0].get(0).unwrap()) < 1e-6);
}

#[test]
fn means_in_half_precision_are_those_of_the_numbers() {
    let long: Vec<u32> = (0..3000).map(|i| i * 7 % 20).collect();
    let wide = Config { context: 3000, layers: 0, embed_scale: Some(100.0), ..config() };
    let model = decoder(wide, DType::F16);
    let ask = Ask { places: vec![place(&model, "embed")], ..Ask::default() };
    let cache = model.cache(&batch(&[&long]), ask, &Task::default()).unwrap();
    let mean = cache.mean(place(&model, "embed"), false).unwrap();
    let exact = cache.get("embed").unwrap().to_dtype(DType::F64).unwrap().mean_keepdim((0, 1)).unwrap();
    assert!(far(&exact, &mean.to_dtype(DType::F64).unwrap()) < 1e-3);
    let none = Ask { places: vec![place(&model, "embed")], positions: Some(vec![]), ..Ask::default() };
    let cache = model.cache(&batch(&[&TEXT]), none, &Task::default()).unwrap();
    assert!(cache.mean(place(&model, "embed"), false).unwrap_err().message.contains("no positions of it"));
}
