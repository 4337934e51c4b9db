//! Latent attention: gradients at its sites, caches, edits, and what cannot hold there.

use kit::{far, largest};
use microtome::base::Task;
use microtome::checkpoint::load::LoadSettings;
use microtome::model::batch::Batch;
use microtome::model::hooks::BoundHook;
use microtome::model::run::Ask;
use microtome::model::site::Place;
use microtome::tensor::{DType, Device, Tensor};
use serde_json::json;

use super::checks::{Line, check_refusals, checked_edits, checked_gradients, decoder, place, text};
use super::files::{config_json, files, fixture, tensors, write};

pub const LATENT: [&str; 3] = ["deepseek_v2", "deepseek_v2_groups", "deepseek_v3"];

#[test]
fn gradients_at_sites_are_those_of_differences() {
    for family in LATENT {
        let model = decoder(family, DType::F64);
        let mut names =
            vec!["kv_latent.0", "kv_latent.2", "k_shared.1", "k.1", "k_rot.0", "v.1", "q.2", "z.0", "router.1"];
        if model.config().latent.as_ref().unwrap().q_rank.is_some() {
            names.extend(["q_latent.0", "q_latent.2"]);
        }
        checked_gradients(&model, &text(family)[..7], 3..7, names, 1e-6);
    }
}

/// The cache holds the keys and values that were edited.
#[test]
fn edits_at_positions_before_a_cache_hold_behind_it() {
    for family in LATENT {
        let model = decoder(family, DType::F64);
        for site in ["kv_latent.*", "k_shared.1", "v.0", "k.2"] {
            let edits = [(2, Line(-1.5, 0.7)), (6, Line(0.5, -0.2))];
            let change = checked_edits(&model, &text(family)[..10], site, &edits, &["z.2", "kv_latent.1", "k_rot.2"]);
            let most = largest(change.narrow(1, 3, 7).unwrap());
            assert!(most > 1e-4, "{family}: {site} changes logits by {most}");
        }
    }
}

/// The shared coordinates of keys are the last of each head, and without the latent nothing is mixed.
#[test]
fn keys_and_values_are_what_their_latent_makes_of_them() {
    for family in LATENT {
        let model = decoder(family, DType::F64);
        let latent = model.config().latent.clone().unwrap();
        let batch = Batch::new(vec![text(family)]).unwrap();
        let places: Vec<Place> = ["k_shared.1", "k.1", "v.1", "z.1"].map(|name| place(&model, name)).to_vec();
        let task = Task::default();
        let plain = model.cache(&batch, Ask { places: places.clone(), ..Ask::default() }, &task).unwrap();
        let [shared, keys] = [places[0], places[1]].map(|place| plain.at(place).unwrap());
        let own = model.config().d_head - latent.d_shared;
        for head in 0..model.config().heads {
            let last = keys.narrow(2, head, 1).unwrap().squeeze(2).unwrap().narrow(2, own, latent.d_shared).unwrap();
            assert_eq!(far(last, &shared), 0.0, "{family}");
        }
        let without = BoundHook::new(model.config(), "kv_latent.1", None, None, Box::new(Line(0.0, 0.0))).unwrap();
        let hooks = vec![without];
        let found = model.cache(&batch, Ask { hooks, places: places.clone(), ..Ask::default() }, &task).unwrap();
        for place in &places[2..] {
            assert_eq!(largest(found.at(*place).unwrap()), 0.0, "{family}: {place}");
        }
    }
}

#[test]
fn what_needs_matrices_of_one_stream_says_so() {
    check_refusals(
        "deepseek_v3",
        &[
            ("m.qk(0, 0)", "found latent attention, which has a norm between"),
            ("m.ov(0, 0)", "found latent attention, which has a norm between"),
            ("m.weight(\"W_K\")", "latent attention has no `W_K`"),
            ("m.weight(\"blocks.1.attn.W_Q\")", "latent attention has no `W_Q`"),
            ("m.cache(x, \"head_gate.0\")", "have no site `head_gate`"),
            (
                "circuit::edges(m, [pair])",
                "this model has latent attention, whose keys and values are made behind a norm",
            ),
        ],
        // What writes to the stream is taken apart as everywhere.
        &[
            "m.attribution(x[0], 5, #{ by: \"head\" })",
            "if m.weight(\"W_O\").shape != [3, 4, 6, 32] { throw \"another shape\" }",
        ],
    );
}

/// Checks a checkpoint as DeepSeek V3 is published: with matrices in blocks of fp8 and their scales, and a layer that predicts a
/// further token.
#[test]
fn blocks_of_fp8_are_their_products_and_predicting_layers_are_left_out() {
    const BLOCK: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let [published, wide] = ["published", "wide"].map(|name| folder.path().join(name));
    let mut in_blocks = std::collections::BTreeMap::new();
    let mut products = std::collections::BTreeMap::new();
    for (name, weight) in tensors(&fixture("deepseek_v3").join("model.safetensors")) {
        let is_matrix = name.ends_with("_proj.weight") || name.ends_with("_mqa.weight");
        if !is_matrix {
            in_blocks.insert(name.clone(), weight.clone());
            products.insert(name, weight);
            continue;
        }
        let (rows, columns) = weight.dims2().unwrap();
        let across = columns.div_ceil(BLOCK);
        let scales: Vec<f32> = (0..rows.div_ceil(BLOCK) * across).map(|block| 0.5 + block as f32 / 16.0).collect();
        let rounded = weight.to_dtype(DType::F8E4M3).unwrap();
        let numbers: Vec<f32> = rounded.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let scaled = numbers.iter().enumerate().map(|(at, x)| {
            let block = at / columns / BLOCK * across + at % columns / BLOCK;
            x * scales[block]
        });
        let scaled = Tensor::from_vec(scaled.collect::<Vec<_>>(), (rows, columns), &Device::Cpu).unwrap();
        let scales = Tensor::from_vec(scales, (rows.div_ceil(BLOCK), across), &Device::Cpu).unwrap();
        in_blocks.insert(format!("{name}_scale_inv"), scales);
        in_blocks.insert(name.clone(), rounded);
        products.insert(name, scaled);
    }
    for name in ["eh_proj.weight", "enorm.weight", "mlp.experts.0.up_proj.weight"] {
        let further = Tensor::ones((2, 2), DType::F32, &Device::Cpu).unwrap();
        in_blocks.insert(format!("model.layers.3.{name}"), further);
    }
    let config = config_json("deepseek_v3");
    let mut quantised = config.clone();
    quantised["quantization_config"] = json!({"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [BLOCK, BLOCK]});
    for (place, config, tensors) in [(&published, quantised, in_blocks), (&wide, config, products)] {
        std::fs::create_dir(place).unwrap();
        std::fs::write(place.join("config.json"), config.to_string()).unwrap();
        write(&place.join("model.safetensors"), tensors);
    }
    let batch = Batch::new(vec![text("deepseek_v3")]).unwrap();
    let logits = |place: &std::path::Path| {
        let model = super::load(&files(), place, &LoadSettings::default());
        model.logits(&batch, Vec::new(), &Task::default()).unwrap()
    };
    assert_eq!(far(logits(&published), logits(&wide)), 0.0);
}
