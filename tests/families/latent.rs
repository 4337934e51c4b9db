//! Latent attention: gradients at its sites, caches, edits, and what cannot hold there.

use kit::far;
use microtome::base::Task;
use microtome::checkpoint::load::LoadSettings;
use microtome::model::batch::Batch;
use microtome::model::decoder::{Decoder, Logits, Pass, Past};
use microtome::model::hooks::BoundHook;
use microtome::model::run::Ask;
use microtome::model::site::{Place, select};
use microtome::tensor::{DType, Device, Tensor};
use serde_json::json;

use super::files::{config_json, expected, files, fixture, ids, tensors, write};
use super::states::{Line, Nudge, decoder};
use crate::support;

pub const LATENT: [&str; 3] = ["deepseek_v2", "deepseek_v2_groups", "deepseek_v3"];

fn place(model: &Decoder, name: &str) -> Place {
    select(model.config(), name).unwrap()[0]
}

fn text(family: &str) -> Vec<u32> {
    ids(&expected(family)["input_ids"]).remove(0)
}

#[test]
fn gradients_at_sites_are_those_of_differences() {
    for family in LATENT {
        let model = decoder(family, DType::F64);
        let batch = Batch::new(vec![text(family)[..7].to_vec()]).unwrap();
        let metric = |logits: &Tensor| Ok(logits.narrow(1, 3, 4)?.sqr()?.mean_all()?);
        let mut names =
            vec!["kv_latent.0", "kv_latent.2", "k_shared.1", "k.1", "k_rot.0", "v.1", "q.2", "z.0", "router.1"];
        if model.config().latent.as_ref().unwrap().q_rank.is_some() {
            names.extend(["q_latent.0", "q_latent.2"]);
        }
        let places: Vec<Place> = names.iter().map(|name| place(&model, name)).collect();
        let found =
            model.grads(&batch, Vec::new(), &places, Logits::All, &mut |x| metric(x), &Task::default()).unwrap();
        for place in places {
            let gradient: Vec<f64> = found.cache.at(place).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            for at in [1, gradient.len() / 3, gradient.len() / 2] {
                let moved = |by: f64| {
                    let mut hooks = Nudge { site: place.site, at, by };
                    let pass = Pass { hooks: &mut hooks, past: None, logits: Logits::All, task: &Task::default() };
                    let logits = model.forward(&batch, pass).unwrap().unwrap();
                    metric(&logits).unwrap().to_scalar::<f64>().unwrap()
                };
                let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                let off = (gradient[at] - slope).abs() / slope.abs().max(1.0);
                assert!(off < 1e-6, "{family}: {place} at {at}: {} is not {slope}", gradient[at]);
            }
        }
    }
}

fn edit(model: &Decoder, name: &str, position: i64, line: Line) -> BoundHook<'static> {
    BoundHook::new(model.config(), name, None, Some(vec![position]), Box::new(line)).unwrap()
}

/// What comes behind an edit is what a cache gives whose keys and values were edited there.
#[test]
fn edits_at_positions_before_a_cache_hold_behind_it() {
    for family in LATENT {
        let model = decoder(family, DType::F64);
        let text = text(family)[..10].to_vec();
        let task = Task::default();
        for name in ["kv_latent.*", "k_shared.1", "v.0", "k.2"] {
            let edits = || vec![edit(&model, name, 2, Line(-1.5, 0.7)), edit(&model, name, 6, Line(0.5, -0.2))];
            let places = vec![place(&model, "z.2"), place(&model, "kv_latent.1"), place(&model, "k_rot.2")];
            let ask = |hooks| Ask { hooks, places: places.clone(), ..Ask::default() };
            let whole = model.run(&Batch::new(vec![text.clone()]).unwrap(), ask(edits()), &task).unwrap();
            let plain = model.run(&Batch::new(vec![text.clone()]).unwrap(), ask(Vec::new()), &task).unwrap();
            let changed = far(whole.logits.narrow(1, 3, 7).unwrap(), plain.logits.narrow(1, 3, 7).unwrap());
            assert!(changed > 1e-4, "{family}: {name} changes logits by {changed}");
            assert!(far(whole.logits.narrow(1, 0, 2).unwrap(), plain.logits.narrow(1, 0, 2).unwrap()) < 1e-12);
            let mut past = Past::new();
            for part in [0..3, 3..7, 7..8, 8..10] {
                let batch = Batch::new(vec![text[part.clone()].to_vec()]).unwrap();
                let here = edits().into_iter().zip([2, 6]).filter(|(_, at)| part.contains(at)).map(|(edit, _)| edit);
                let run = model.run_behind(&mut past, &batch, ask(here.collect()), &task).unwrap();
                let off = far(&run.logits, whole.logits.narrow(1, part.start, part.len()).unwrap());
                assert!(off < 1e-9, "{family}: with {name}, logits at {part:?} are off by {off}");
                for place in &places {
                    let wanted = whole.cache.at(*place).unwrap().narrow(1, part.start, part.len()).unwrap();
                    let off = far(run.cache.at(*place).unwrap(), wanted);
                    assert!(off < 1e-9, "{family}: with {name}, {place} at {part:?} is off by {off}");
                }
            }
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
            assert_eq!(kit::largest(found.at(*place).unwrap()), 0.0, "{family}: {place}");
        }
    }
}

#[test]
fn what_needs_matrices_of_one_stream_says_so() {
    support::on_large_stack(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut session = support::session(folder.path());
        let begun = format!("let m = model::load({:?}); let x = [[17, 4, 201, 33]];", fixture("deepseek_v3"));
        let _nothing = session.eval("latent", &begun).unwrap_or_else(|e| panic!("{}", e.message));
        for (code, wanted) in [
            ("m.qk(0, 0)", "found latent attention, which has a norm between"),
            ("m.ov(0, 0)", "found latent attention, which has a norm between"),
            ("m.weight(\"W_K\")", "latent attention has no `W_K`"),
            ("m.weight(\"blocks.1.attn.W_Q\")", "latent attention has no `W_Q`"),
            ("m.cache(x, \"head_gate.0\")", "have no site `head_gate`"),
            (
                "circuit::edges(m, [#{ clean: x[0], corrupt: [17, 4, 7, 33], right: 5, wrong: 6 }])",
                "this model has latent attention, whose keys and values are made behind a norm",
            ),
        ] {
            let failure = session.eval("latent", code).unwrap_err();
            assert!(failure.message.contains(wanted), "{code}: {}", failure.message);
        }
        // What writes to the stream is taken apart as everywhere.
        let shown = "m.attribution(x[0], 5, #{ by: \"head\" })";
        let _table = session.eval("latent", shown).unwrap_or_else(|e| panic!("{}", e.message));
        let out = "if m.weight(\"W_O\").shape != [3, 4, 6, 32] { throw \"another shape\" }";
        let _nothing = session.eval("latent", out).unwrap_or_else(|e| panic!("{}", e.message));
    });
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
