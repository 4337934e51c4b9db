//! Time mixing (RWKV-7): gradients at its sites, caches, edits of states, what passes from the first layer, and what is refused.

use kit::{far, largest};
use microtome::base::Task;
use microtome::checkpoint::family;
use microtome::checkpoint::load::{self, LoadSettings};
use microtome::checkpoint::save::arranged;
use microtome::model::batch::Batch;
use microtome::model::decoder::Logits;
use microtome::model::hooks::{BoundHook, NoHooks};
use microtome::model::run::Ask;
use microtome::model::site::{SiteKind, select};
use microtome::model::weights::Weights;
use microtome::tensor::{DType, Tensor};

use super::checks::{Line, check_refusals, checked_edits, checked_gradients, decoder, edit, place, text};
use super::files::{config_json, files, fixture, tensors, write};

const FAMILY: &str = "rwkv7";

#[test]
fn gradients_at_sites_are_those_of_differences() {
    let sites = ["r", "w", "a", "kk", "k", "v", "state", "read", "g"];
    let names = sites.iter().flat_map(|site| [format!("rwkv_{site}.0"), format!("rwkv_{site}.1")]);
    let names = names.chain(["mlp_shifted.1", "mlp_in.0", "attn_in.1", "embed"].map(String::from));
    let found = checked_gradients(&decoder(FAMILY, DType::F64), &text(FAMILY)[..7], 3..7, names, 1e-5);
    for (place, gradient) in found {
        assert!(gradient.iter().any(|x| *x != 0.0), "{place}");
    }
}

/// A later edit finds the states that an earlier one left.
#[test]
fn edits_are_carried_on_as_by_a_cache() {
    let model = decoder(FAMILY, DType::F64);
    for site in ["rwkv_state.*", "rwkv_v.0", "attn_in.1", "mlp_in.0"] {
        let edits = [(7, Line(0.5, -0.2)), (2, Line(0.0, 0.0)), (8, Line(-1.0, 0.1))];
        let places = ["rwkv_state.1", "rwkv_read.2", "mlp_shifted.2"];
        let change = checked_edits(&model, &text(FAMILY)[..10], site, &edits, &places);
        assert!(largest(change.narrow(1, 9, 1).unwrap()) > 1e-3, "{site}");
    }
}

/// Values of the first layer reach later ones beside the stream: with all that is written held, a change of them still does.
#[test]
fn values_of_the_first_layer_pass_to_later_ones() {
    let model = decoder(FAMILY, DType::F64);
    let batch = Batch::new(vec![text(FAMILY)]).unwrap();
    let place = place(&model, "rwkv_v.2");
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
    let long = text(FAMILY);
    let batch = Batch::new(vec![long.clone(), long[3..9].to_vec()]).unwrap();
    let task = Task::default();
    let whole = model.logits_at(&batch, &[-1], Vec::new(), &task).unwrap();
    for name in ["resid_pre.0", "resid_pre.1", "resid_post.0", "resid_post.1"] {
        let place = place(&model, name);
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
    check_refusals(
        FAMILY,
        &[
            ("m.cache(x, \"pattern.0\")", "rwkv7 models of this kind have no site `pattern`"),
            ("m.qk(0, 0)", "expected attention, found a layer with time mixing, which has no heads of attention"),
            ("m.ov(0, 0)", "expected attention, found a layer with time mixing, which has no heads of attention"),
            ("circuit::edges(m, [pair])", "this model has time mixing in place of attention"),
            ("intervene::paths(m, [pair])", "values of the first layer that all others read"),
        ],
        &[],
    );
}

#[test]
fn heads_of_time_mixing_are_named_by_number() {
    let model = decoder(FAMILY, DType::F32);
    let all = select(model.config(), "rwkv_a.*.1").unwrap();
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|place| place.site.kind == SiteKind::RwkvA && place.head == Some(1)));
    assert!(select(model.config(), "rwkv_a.0.2").is_err());
}
