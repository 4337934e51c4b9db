//! Time mixing (RWKV-7): gradients at its sites, caches, edits of states, what passes from the first layer, and what is refused.

use kit::far;
use microtome::base::Task;
use microtome::checkpoint::family;
use microtome::checkpoint::load::{self, LoadSettings};
use microtome::checkpoint::save::arranged;
use microtome::model::batch::Batch;
use microtome::model::decoder::{Decoder, Logits, Pass, Past};
use microtome::model::hooks::{BoundHook, NoHooks};
use microtome::model::run::Ask;
use microtome::model::site::{Place, SiteKind, select};
use microtome::model::weights::Weights;
use microtome::tensor::{DType, Tensor};

use super::files::{config_json, expected, files, fixture, ids, tensors, write};
use super::states::{Line, Nudge, decoder};
use crate::support;

const FAMILY: &str = "rwkv7";

fn text() -> Vec<u32> {
    ids(&expected(FAMILY)["input_ids"]).remove(0)
}

fn edit(model: &Decoder, site: &str, position: i64, line: Line) -> BoundHook<'static> {
    BoundHook::new(model.config(), site, None, Some(vec![position]), Box::new(line)).unwrap()
}

#[test]
fn gradients_at_sites_are_those_of_differences() {
    let model = decoder(FAMILY, DType::F64);
    let batch = Batch::new(vec![text()[..7].to_vec()]).unwrap();
    let metric = |logits: &Tensor| Ok(logits.narrow(1, 3, 4)?.sqr()?.mean_all()?);
    let sites = ["r", "w", "a", "kk", "k", "v", "state", "read", "g"];
    let names = sites.iter().flat_map(|site| [format!("rwkv_{site}.0"), format!("rwkv_{site}.1")]);
    let names = names.chain(["mlp_shifted.1", "mlp_in.0", "attn_in.1", "embed"].map(String::from));
    let places: Vec<Place> = names.map(|name| select(model.config(), &name).unwrap()[0]).collect();
    let found = model.grads(&batch, Vec::new(), &places, Logits::All, &mut |x| metric(x), &Task::default()).unwrap();
    for place in places {
        let gradient: Vec<f64> = found.cache.at(place).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(gradient.iter().any(|x| *x != 0.0), "{place}");
        for at in [1, gradient.len() / 3, gradient.len() / 2] {
            let moved = |by: f64| {
                let mut hooks = Nudge { site: place.site, at, by };
                let pass = Pass { hooks: &mut hooks, past: None, logits: Logits::All, task: &Task::default() };
                let logits = model.forward(&batch, pass).unwrap().unwrap();
                metric(&logits).unwrap().to_scalar::<f64>().unwrap()
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            let off = (gradient[at] - slope).abs() / slope.abs().max(1.0);
            assert!(off < 1e-6, "{place} at {at}: {} is not {slope}", gradient[at]);
        }
    }
}

/// What comes behind an edit is what a cache gives that was edited there, and a later edit finds the states that it
/// left.
#[test]
fn edits_are_carried_on_as_by_a_cache() {
    let model = decoder(FAMILY, DType::F64);
    let text = text()[..10].to_vec();
    let task = Task::default();
    for site in ["rwkv_state.*", "rwkv_v.0", "attn_in.1", "mlp_in.0"] {
        let edits = || {
            vec![
                edit(&model, site, 7, Line(0.5, -0.2)),
                edit(&model, site, 2, Line(0.0, 0.0)),
                edit(&model, site, 8, Line(-1.0, 0.1)),
            ]
        };
        let places =
            ["rwkv_state.1", "rwkv_read.2", "mlp_shifted.2"].map(|name| select(model.config(), name).unwrap()[0]);
        let ask = |hooks| Ask { hooks, places: places.to_vec(), ..Ask::default() };
        let whole = model.run(&Batch::new(vec![text.clone()]).unwrap(), ask(edits()), &task).unwrap();
        let plain = model.run(&Batch::new(vec![text.clone()]).unwrap(), ask(Vec::new()), &task).unwrap();
        let part = |x: &Tensor, from: usize, count: usize| x.narrow(1, from, count).unwrap();
        assert!(far(part(&whole.logits, 9, 1), part(&plain.logits, 9, 1)) > 1e-3, "{site}");
        assert!(far(part(&whole.logits, 0, 2), part(&plain.logits, 0, 2)) < 1e-12, "{site}");
        let mut past = Past::new();
        for own in [0..3, 3..7, 7..8, 8..10] {
            let batch = Batch::new(vec![text[own.clone()].to_vec()]).unwrap();
            let here = edits().into_iter().zip([7, 2, 8]).filter(|(_, at)| own.contains(at)).map(|(edit, _)| edit);
            let run = model.run_behind(&mut past, &batch, ask(here.collect()), &task).unwrap();
            let off = far(&run.logits, part(&whole.logits, own.start, own.len()));
            assert!(off < 1e-9, "{site}: logits at {own:?} are off by {off}");
            for place in places {
                let off =
                    far(run.cache.at(place).unwrap(), part(&whole.cache.at(place).unwrap(), own.start, own.len()));
                assert!(off < 1e-9, "{site}: {place} at {own:?} is off by {off}");
            }
        }
    }
}

#[test]
fn a_cache_of_texts_of_different_lengths_has_the_states_of_each() {
    let model = decoder(FAMILY, DType::F64);
    let long = text();
    let short = long[3..8].to_vec();
    let after = |rows: Vec<Vec<u32>>| {
        let mut past = Past::new();
        let task = Task::default();
        let more = vec![vec![5, 9, 11]; rows.len()];
        model.run_behind(&mut past, &Batch::new(rows).unwrap(), Ask::default(), &task).unwrap();
        model.run_behind(&mut past, &Batch::new(more).unwrap(), Ask::default(), &task).unwrap().logits
    };
    let both = after(vec![long.clone(), short.clone()]);
    assert!(far(after(vec![long]), both.narrow(0, 0, 1).unwrap()) < 1e-9);
    assert!(far(after(vec![short]), both.narrow(0, 1, 1).unwrap()) < 1e-9);
}

/// Values of the first layer reach later ones beside the stream: with all that is written held, a change of them still does.
#[test]
fn values_of_the_first_layer_pass_to_later_ones() {
    let model = decoder(FAMILY, DType::F64);
    let batch = Batch::new(vec![text()]).unwrap();
    let place = select(model.config(), "rwkv_v.2").unwrap()[0];
    let value = |hooks| {
        let ask = Ask { hooks, places: vec![place], ..Ask::default() };
        model.cache(&batch, ask, &Task::default()).unwrap().at(place).unwrap()
    };
    let held = |own: Vec<BoundHook<'static>>| {
        let zeros = (0..24).flat_map(|at| {
            [edit(&model, "attn_out.*", at, Line(0.0, 0.3)), edit(&model, "mlp_out.*", at, Line(0.0, 0.2))]
        });
        own.into_iter().chain(zeros).collect::<Vec<_>>()
    };
    let changed = value(held(vec![edit(&model, "rwkv_v.0", 5, Line(0.0, 0.0))]));
    let plain = value(held(Vec::new()));
    let at = |x: &Tensor, column: usize| x.narrow(1, column, 1).unwrap();
    assert!(far(at(&changed, 5), at(&plain, 5)) > 1e-3);
    assert_eq!(far(at(&changed, 6), at(&plain, 6)), 0.0);
    assert_eq!(model.config().keys_passed_on(0, 1), [0]);
    assert!(model.config().keys_passed_on(1, 2).is_empty());
}

#[test]
fn what_begins_in_the_middle_has_the_values_of_the_first_layer() {
    let model = decoder(FAMILY, DType::F64);
    let long = text();
    let batch = Batch::new(vec![long.clone(), long[3..9].to_vec()]).unwrap();
    let task = Task::default();
    let whole = model.logits_at(&batch, &[-1], Vec::new(), &task).unwrap();
    for name in ["resid_pre.0", "resid_pre.1", "resid_post.0", "resid_post.1"] {
        let place = select(model.config(), name).unwrap()[0];
        let stream = model.cache(&batch, Ask { places: vec![place], ..Ask::default() }, &task).unwrap();
        let stream = stream.at(place).unwrap();
        let found = model.resumed(&batch, place.site, &stream, &mut NoHooks, Logits::At(&[-1]), &task);
        assert!(far(found.unwrap().unwrap(), &whole) < 1e-9, "{name}");
    }
}

/// Squared lengths have a small number added where the published kernels do so, and values are as wide as the stream.
#[test]
fn keys_of_the_config_are_obeyed_or_refused() {
    let mut config = config_json(FAMILY);
    let read = |config: &serde_json::Value| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        std::fs::copy(fixture(FAMILY).join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
        load::folder(&files(), folder.path(), &LoadSettings::default(), &Task::default()).map(|loaded| loaded.config)
    };
    assert_eq!(read(&config).unwrap().rwkv.unwrap().key_eps, 1e-24);
    config["fuse_norm"] = true.into();
    let wide = read(&config).unwrap().rwkv.unwrap();
    assert_eq!((wide.key_eps, wide.norm_eps), (1e-6, 16.0 * 1e-5));
    config["value_dim"] = serde_json::json!([32, 64, 32]);
    assert!(read(&config).unwrap_err().message.contains("value_dim"));
    config["value_dim"] = 32.into();
    config["attn"] = serde_json::json!({"layers": [1], "num_heads": 2});
    assert!(read(&config).unwrap_err().message.contains("layers with attention"));
    config["attn"] = serde_json::Value::Null;
    config["hidden_act"] = "relu".into();
    assert!(read(&config).unwrap_err().message.contains("hidden_act"));
    config["hidden_act"] = "sqrelu".into();
    config["num_heads"] = 3.into();
    assert!(read(&config).unwrap_err().message.contains("`num_heads` times `head_dim`"));
    // Ranks that are null follow from sizes.
    let mut sizes = serde_json::json!({"model_type": FAMILY, "hidden_size": 1024});
    for key in ["decay_low_rank_dim", "a_low_rank_dim", "v_low_rank_dim", "gate_low_rank_dim"] {
        sizes[key] = serde_json::Value::Null;
    }
    let made = family::read(&sizes, &[]).unwrap().config.rwkv.unwrap();
    assert_eq!((made.decay_rank, made.rate_rank, made.value_rank, made.gate_rank), (64, 64, 64, 160));
}

/// The first files of the family have the shares of the token before in one tensor for each layer.
#[test]
fn files_with_packed_shares_are_read_as_later_ones() {
    let published = tensors(&fixture(FAMILY).join("model.safetensors"));
    let later = load::folder(&files(), &fixture(FAMILY), &LoadSettings::default(), &Task::default()).unwrap();
    for dims in [&[6, 32][..], &[6, 1, 1, 32]] {
        let mut early = published.clone();
        for layer in 0..3 {
            let each =
                ["r", "w", "k", "v", "a", "g"].map(|x| early.remove(&format!("model.layers.{layer}.attn.x_{x}")));
            let packed = Tensor::cat(&each.map(Option::unwrap), 0).unwrap().reshape(dims).unwrap();
            early.insert(format!("model.layers.{layer}.attn.x_x"), packed);
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config_json(FAMILY).to_string()).unwrap();
        write(&folder.path().join("model.safetensors"), early);
        let found = load::folder(&files(), folder.path(), &LoadSettings::default(), &Task::default()).unwrap();
        let named = |weights: &Weights| weights.named(&later.config).unwrap();
        for ((name, found), (_, wanted)) in named(&found.weights).iter().zip(named(&later.weights)) {
            assert_eq!(far(found.tensor().unwrap(), wanted.tensor().unwrap()), 0.0, "{name}");
        }
    }
}

#[test]
fn what_is_saved_is_what_was_read() {
    let loaded = load::folder(&files(), &fixture(FAMILY), &LoadSettings::default(), &Task::default()).unwrap();
    let layout = loaded.published.unwrap().layout;
    let found = arranged(&layout, &loaded.weights, &|_, weight| weight.tensor(), &Task::default()).unwrap();
    let published = tensors(&fixture(FAMILY).join("model.safetensors"));
    assert_eq!(found.keys().collect::<Vec<_>>(), published.keys().collect::<Vec<_>>());
    for (name, wanted) in &published {
        assert_eq!(found[name].dims(), wanted.dims(), "{name}");
        assert_eq!(far(&found[name], wanted), 0.0, "{name}");
    }
}

#[test]
fn what_needs_attention_or_a_stream_alone_says_so() {
    support::on_large_stack(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut session = support::session(folder.path());
        let begun = format!("let m = model::load({:?}); let x = [[17, 4, 201, 33]];", fixture(FAMILY));
        let _nothing = session.eval("mixing", &begun).unwrap_or_else(|e| panic!("{}", e.message));
        let pair = "#{ clean: x[0], corrupt: [17, 4, 7, 33], right: 5, wrong: 6 }";
        let edges = format!("circuit::edges(m, [{pair}])");
        let paths = format!("intervene::paths(m, [{pair}])");
        for (code, wanted) in [
            ("m.cache(x, \"pattern.0\")", "rwkv7 models of this kind have no site `pattern`"),
            ("m.qk(0, 0)", "expected attention, found a layer with time mixing, which has no heads of attention"),
            ("m.ov(0, 0)", "expected attention, found a layer with time mixing, which has no heads of attention"),
            (edges.as_str(), "this model has time mixing in place of attention"),
            (paths.as_str(), "values of the first layer that all others read"),
        ] {
            let failure = session.eval("mixing", code).map(|_| ()).expect_err(code);
            assert!(failure.message.contains(wanted), "{code}: {}", failure.message);
        }
    });
}

#[test]
fn heads_of_time_mixing_are_named_by_number() {
    let model = decoder(FAMILY, DType::F32);
    let all = select(model.config(), "rwkv_a.*.1").unwrap();
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|place| place.site.kind == SiteKind::RwkvA && place.head == Some(1)));
    assert!(select(model.config(), "rwkv_a.0.2").is_err());
}
