//! What runs on a GPU computes what the processor computes: families, dictionaries of other libraries, gradients, kernels,
//! fits, and the behaviour of the language. tests/gpu/run builds the program and runs these, on a GPU where there is one, and
//! otherwise on a stand-in for its driver, which executes the same kernels on the processor.

#[cfg(feature = "cuda")]
mod rows;

use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::Var;
use kernels::AdamW;
use microtome::base::Task;
use microtome::base::random::{Seed, stream};
use microtome::checkpoint::load::LoadOptions;
use microtome::model::batch::Batch;
use microtome::model::run::Ask;
use microtome::model::site;
use microtome::sae::fit::{FitHistory, FitOptions, FitPlan, FitStorage, Job, Source, Target, TargetName};
use microtome::tensor::{DType, Device, Tensor, create, device, floats};

use crate::families::files::{FAMILIES, expected, files, fixture, ids, load};
use crate::saes::samples;
use crate::{suite, support};

/// The device, and its turn: the stand-in has one thread, and a GPU's memory is shared.
fn gpu() -> Option<(Device, MutexGuard<'static, ()>)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    match device::open("cuda") {
        Ok(device) => Some((device, turn)),
        Err(error) => {
            assert!(std::env::var_os("MICROTOME_STAND_IN").is_none(), "{error}");
            println!("skipped: {error}");
            None
        }
    }
}

fn drawn(dims: &[usize], turn: u64) -> Tensor {
    create::randn(dims, DType::F32, &mut stream(turn, "gpu", 0)).unwrap()
}

/// The largest of some numbers from 0 on; NaN where one is.
fn most_of(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.fold(0.0, |most, number| if most.is_nan() || most > number { most } else { number })
}

/// The largest difference of two tensors, over the size of the second.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let a = floats(a).unwrap();
    let b = floats(b).unwrap();
    let size = b.iter().fold(1e-3_f64, |most, x| most.max(x.abs()));
    most_of(a.iter().zip(b).map(|(a, b)| (a - b).abs())) / size
}

/// How far hidden states and logits of a family are from those of transformers, at most, on a device. Routing changes with the
/// last bits of half precision, and with it everything behind it: there the first hidden state counts alone.
fn off_by(family: &str, dtype: DType, device: &Device) -> [f64; 2] {
    let options = LoadOptions { dtype: dtype.into(), ..LoadOptions::default() }.onto(device.clone());
    let decoder = load(&files(), &fixture(family), &options);
    let expected = expected(family);
    let places = ["resid_pre.*", "final_norm"].iter().flat_map(|n| site::select(decoder.config(), n).unwrap());
    let ask = Ask { places: places.collect(), ..Ask::default() };
    let run = decoder.run(&Batch::new(ids(&expected["input_ids"])).unwrap(), ask, &Task::default()).unwrap();
    let is_whole = dtype == DType::F32 || decoder.config().experts.is_none();
    let compared = if is_whole { usize::MAX } else { 1 };
    let hidden = run.cache.iter().enumerate().take(compared).map(|(i, (_, x))| {
        assert!(x.device().same_device(device), "{family}: hidden.{i} is on {:?}", x.device());
        apart(x, &expected[&format!("hidden.{i}")])
    });
    [most_of(hidden), if is_whole { apart(&run.logits, &expected["logits"]) } else { 0.0 }]
}

#[test]
fn every_family_has_the_hidden_states_and_logits_of_transformers() {
    let Some((device, _turn)) = gpu() else { return };
    let mut complaints = Vec::new();
    for family in FAMILIES {
        for dtype in [DType::F32, DType::BF16] {
            let found = off_by(family, dtype, &device);
            println!(
                "{family}, {dtype:?}: hidden states are off by {:.1e} at most, the logits by {:.1e}",
                found[0], found[1]
            );
            let close = match dtype {
                DType::F32 => [1e-3; 2],
                // What bf16 rounds grows as the weights have it, on the processor as well.
                _ => off_by(family, dtype, &Device::Cpu).map(|here| (3.0 * here).max(4e-2)),
            };
            if found.iter().zip(close).any(|(found, close)| found.is_nan() || *found > close) {
                complaints.push(format!("{family}, {dtype:?}: off by {found:?}, at most {close:?}"));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn dictionaries_of_other_libraries_compute_what_they_compute_there() {
    let Some((device, _turn)) = gpu() else { return };
    for folder in samples::folders(&kit::fixture("saes")) {
        let sae = samples::load(&folder).unwrap().to_device(&device).unwrap();
        let expected = samples::tensors(&folder.join("expected.safetensors"));
        let x = expected["x"].to_device(&device).unwrap();
        let (codes, found) = sae.encode_and_reconstruct(&x).unwrap();
        assert!(matches!(codes.device(), Device::Cuda(_)));
        for (what, found) in [("codes", codes), ("recon", found)] {
            let off = apart(&found, &expected[what]);
            assert!(off < 1e-3, "{}: {what} are off by {off}", folder.display());
        }
        // Rows in the processor's memory are answered there.
        assert!(sae.encode(&expected["x"]).unwrap().device().is_cpu());
    }
}

#[test]
fn gradients_are_those_of_the_processor() {
    let Some((device, _turn)) = gpu() else { return };
    let gradients = |device: Device| {
        support::on_large_stack(move || {
            let folder = tempfile::tempdir().unwrap();
            let mut session = support::session_on(folder.path(), &device);
            let code = r#"
                let m = model::load("tiny");
                let found = m.grads("The cat sat on the (", |l| l.at([0, -1, 9]) ** 2, ["embed", "resid_post.*", "z.*", "mlp_hidden.*"]);
                tensor::cat(["embed", "resid_post.0", "resid_post.4", "z.2", "mlp_hidden.3"].map(|site| found[site].flatten()))
            "#;
            floats(&session.eval("gradients", code).unwrap().cast::<Tensor>()).unwrap()
        })
    };
    let there = gradients(device);
    let here = gradients(Device::Cpu);
    let size = here.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    assert!(size > 0.0 && there.len() == here.len());
    let off = there.iter().zip(&here).fold(0.0_f64, |most, (a, b)| most.max((a - b).abs())) / size;
    assert!(off < 1e-3, "off by {off}");
}

/// The mask of the k largest of each row by sorting, of equal ones the first.
fn sorted_mask(rows: &[Vec<f32>], k: usize) -> Vec<f32> {
    let one = |row: &Vec<f32>| {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|a, b| row[*b].partial_cmp(&row[*a]).unwrap().then(a.cmp(b)));
        let mut mask = vec![0.0; row.len()];
        order.iter().take(k).for_each(|place| mask[*place] = 1.0);
        mask
    };
    rows.iter().flat_map(one).collect()
}

#[test]
fn the_largest_of_a_row_are_those_that_sorting_finds() {
    let Some((device, _turn)) = gpu() else { return };
    // Widths around those of a block, few and many ties, negative numbers, infinities and both zeros.
    // A single long row has many blocks.
    let cases = [
        (5, 1, 1),
        (5, 7, 3),
        (5, 256, 32),
        (5, 300, 300),
        (5, 1000, 17),
        (5, 1000, 999),
        (1, 9001, 700),
        (1, 9000, 5),
    ];
    for (turn, (count, width, k)) in cases.into_iter().enumerate() {
        let coarse = turn % 2 == 0;
        let x = drawn(&[count, width], turn as u64);
        let x = if coarse { x.round().unwrap() } else { x };
        let mut rows = x.to_vec2::<f32>().unwrap();
        if width > 4 && count > 4 {
            rows[0][3] = f32::INFINITY;
            rows[1][4] = f32::NEG_INFINITY;
            rows[2].iter_mut().enumerate().for_each(|(i, x)| *x = if i % 2 == 0 { -0.0 } else { 0.0 });
            rows[3].fill(-1.5);
        }
        let x = Tensor::new(rows.clone(), &device).unwrap();
        let mask = kernels::device::mask_of_largest(&x, k).unwrap().expect("a kernel");
        let found: Vec<f32> = mask.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(found, sorted_mask(&rows, k), "{width} wide, k {k}");
    }
}

/// A step by the kernels of a device beside the same one in candle's operations there: transcoders, skips, dead features.
#[test]
fn a_step_by_kernels_is_that_of_candles_operations() {
    use microtome::options::Plain;
    use microtome::sae::fit::{
        AuxK, Dead, DictionaryShape, EncoderProducts, ErrorNormalisation, FitBatch, FitState, Params, Recipe, kinds,
    };
    use microtome::training::{Schedule, ScheduleShape};
    let Some((device, _turn)) = gpu() else { return };
    for (turn, (kind, skip, with_target, counting)) in [
        ("topk", false, false, ErrorNormalisation::Normalised),
        ("batch_topk", false, false, ErrorNormalisation::Sum),
        ("topk", true, true, ErrorNormalisation::Mean),
        ("batch_topk", false, true, ErrorNormalisation::Normalised),
    ]
    .into_iter()
    .enumerate()
    {
        let recipe = Recipe {
            unit: true,
            kind: kinds::kind(kind, &[("k", Plain::Integer(4))]).unwrap(),
            d_sae: 300,
            steps: 10,
            batch: 96,
            lr: 1e-2,
            schedule: Schedule { shape: ScheduleShape::Constant, warmup: 0, decay: 0, floor: 0.0 },
            betas: [0.9, 0.999],
            // Large, so that no step is the sign of a gradient that is nearly 0.
            eps: 1e-2,
            clip: Some(1.0),
            sparsity_warmup: 0,
            counting,
            dead: Dead::AuxK(AuxK { k: 6, weight: 1.0 / 32.0, most: usize::MAX }),
            dead_after: 100,
            scaled: false,
            compute: EncoderProducts::F32,
            skip,
            follows: 0.9,
            seed: 1,
        };
        let shape = DictionaryShape { d_in: 20, d_sae: 300, d_out: 20 };
        let state =
            || FitState::new(Params::draw(&recipe, shape, &mut stream(turn as u64, "gpu", 1), &device).unwrap(), 300);
        let mut ours = state();
        let mut twin = state();
        for step in 0..6 {
            let rows = |turn: u64| drawn(&[96, 20], turn).affine(1.5, 0.2).unwrap().to_device(&device).unwrap();
            let batch = FitBatch { x: rows(400 + step), target: with_target.then(|| rows(500 + step)) };
            let a = ours.advance(&batch, &recipe).unwrap();
            let b = twin.advance_plain(&batch, &recipe).unwrap();
            assert_eq!((a.l0, a.dead), (b.l0, b.dead), "{kind}, step {step}");
            assert!(step < 2 || a.dead > 0, "{kind}: no feature is dead at step {step}");
            for (what, a, b) in [("loss", a.loss, b.loss), ("error", a.error, b.error), ("fve", a.fve, b.fve)] {
                assert!(
                    (a - b).abs() < 1e-4 * b.abs().max(1e-2),
                    "{kind}, step {step}: {what} is {a}, and by the twin {b}"
                );
            }
        }
        assert_eq!(ours.threshold.is_some(), kind == "batch_topk");
        for (a, b) in ours.params.all.iter().zip(&twin.params.all) {
            let off = apart(&a.weight, &b.weight);
            assert!(off < 1e-3, "{kind}, skip {skip}: {} is off by {off}", a.name);
        }
    }
}

#[test]
fn sparse_products_and_their_gradients_are_those_of_dense_ones() {
    let Some((device, _turn)) = gpu() else { return };
    for (turn, (rows, features, width, k)) in
        [(1, 3, 2, 1), (33, 70, 40, 8), (64, 300, 17, 300), (5, 1500, 300, 4), (1600, 5, 7, 3)].into_iter().enumerate()
    {
        let turn = 100 + turn as u64;
        let mask = |x: &Tensor| kernels::device::mask_of_largest(&x.to_device(&device).unwrap(), k).unwrap().unwrap();
        let codes = drawn(&[rows, features], turn);
        let codes = (mask(&codes) * codes.to_device(&device).unwrap()).unwrap();
        let gradient = drawn(&[rows, width], turn + 20).to_device(&device).unwrap();
        let run = |by: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
            let codes = Var::from_tensor(&codes).unwrap();
            let table = Var::from_tensor(&drawn(&[features, width], turn + 10).to_device(&device).unwrap()).unwrap();
            let product = by(&codes, &table);
            let loss = (&product * &gradient).unwrap().sum_all().unwrap();
            let found = loss.backward().unwrap();
            let chosen = codes.ne(0.0).unwrap().to_dtype(DType::F32).unwrap();
            // Where a number is 0, nothing chose it, and no gradient is asked for.
            let of_codes = (found.get(&codes).unwrap() * chosen).unwrap();
            [product.detach(), of_codes, found.get(&table).unwrap().clone()]
        };
        let sparse = run(&|codes, table| kernels::device::sparse_product(codes, table, k).unwrap().expect("a kernel"));
        let dense = run(&|codes, table| codes.matmul(table).unwrap());
        for (what, (a, b)) in
            ["product", "gradient of codes", "gradient of the table"].iter().zip(sparse.iter().zip(&dense))
        {
            assert!(apart(a, b) < 1e-5, "{what} of {rows} rows: off by {}", apart(a, b));
        }
    }
}

#[test]
fn steps_of_adam_are_those_of_the_processor() {
    let Some((device, _turn)) = gpu() else { return };
    for (dims, unit) in [(vec![7], false), (vec![40, 30], false), (vec![40, 30], true), (vec![3, 1000], true)] {
        let settings = |step: i32| AdamW {
            rate: 0.01,
            betas: [0.9, 0.99],
            eps: 1e-8,
            decay: 0.1,
            shrink: 0.7,
            begun: [1.0 - 0.9_f64.powi(step), 1.0 - 0.99_f64.powi(step)],
        };
        let run = |device: &Device| {
            let begun = |turn| Var::from_tensor(&drawn(&dims, turn).to_device(device).unwrap()).unwrap();
            let zeros = || Var::zeros(dims.clone(), DType::F32, device).unwrap();
            let weight = begun(7);
            let moments = [zeros(), zeros()];
            for step in 1..=3 {
                let gradient = drawn(&dims, 50 + step as u64).to_device(device).unwrap();
                let moments = [&moments[0], &moments[1]];
                if !kernels::device::adam(&weight, &gradient, moments, settings(step), unit).unwrap() {
                    assert!(device.is_cpu(), "no kernel for {dims:?}");
                    kernels::adamw_step(&weight, &gradient, moments, settings(step)).unwrap();
                    if unit {
                        let norms = weight.sqr().unwrap().sum_keepdim(1).unwrap().sqrt().unwrap();
                        weight.set(&weight.broadcast_div(&norms).unwrap()).unwrap();
                    }
                }
            }
            [weight.as_detached_tensor(), moments[0].as_detached_tensor(), moments[1].as_detached_tensor()]
        };
        for (there, here) in run(&device).iter().zip(&run(&Device::Cpu)) {
            assert!(apart(there, here) < 1e-5, "{dims:?}, unit {unit}: off by {}", apart(there, here));
        }
    }
}

#[test]
fn fifty_steps_of_every_kind_have_the_losses_of_the_processor() {
    let Some((device, _turn)) = gpu() else { return };
    let x = drawn(&[600, 12], 3).affine(1.5, 0.3).unwrap();
    let kinds: &[(&str, &[(&str, f64)])] = &[
        ("tied", &[("l1", 1e-3)]),
        ("relu", &[("l1", 0.01)]),
        ("topk", &[("k", 3.0)]),
        ("batch_topk", &[("k", 3.0)]),
        ("jumprelu", &[("l0", 1e-3)]),
        ("gated", &[("l1", 0.01)]),
        ("p_anneal", &[("l1", 0.01)]),
        ("matryoshka", &[("k", 3.0), ("prefixes", 12.0)]),
        ("matching_pursuit", &[("k", 3.0)]),
    ];
    for (kind, own) in kinds {
        let fit = |device: &Device| -> FitHistory {
            use microtome::options::Plain;
            let kind_name = microtome::sae::fit::kinds::NAMES.into_iter().find(|name| name == kind).unwrap();
            let options = FitOptions {
                kind: microtome::sae::fit::KindName(kind_name),
                d_sae: Some(48),
                steps: Some(50),
                batch: 128,
                seed: Seed::of(1),
                dead_after: Some(256),
                ..FitOptions::default()
            };
            let value = |name: &str, value: f64| match name {
                "k" => Plain::Integer(value as i64),
                "prefixes" => Plain::List(vec![Plain::Integer(value as i64), Plain::Integer(48)]),
                _ => Plain::Float(value),
            };
            let own: Vec<(&str, Plain)> = own.iter().map(|(name, number)| (*name, value(name, *number))).collect();
            let files = files();
            let storage = FitStorage { device: device.clone(), ..FitStorage::none(&files) };
            let job = Job {
                source: Source::Tensor(&x),
                target: Target::Dictionary(&[]),
                plans: &[FitPlan::named(TargetName::Dictionary, options, &own).unwrap()],
                is_sweep: false,
                storage: &storage,
            };
            let fitted = job.run(&Task::default()).unwrap().remove(0);
            let sae = fitted.made.dictionary().unwrap();
            assert!(sae.device().same_device(device), "{kind}: the dictionary is elsewhere");
            fitted.history
        };
        let there = fit(&device);
        let here = fit(&Device::Cpu);
        assert_eq!(there.steps.len(), 50);
        for (step, (a, b)) in there.steps.iter().zip(&here.steps).enumerate() {
            let off = (a.loss - b.loss).abs() / b.loss.abs().max(1e-3);
            // p_anneal adapts the power of its penalty to the codes, which magnifies the last bits: to 6e-3 on an H100.
            let close = if *kind == "p_anneal" { 2e-2 } else { 1e-3 };
            assert!(off < close, "{kind}: the loss of step {step} is {}, and on the processor {}", a.loss, b.loss);
        }
    }
}

/// The stand-in has faults on request; a GPU would have to be broken for them.
#[test]
fn what_a_device_refuses_is_told_and_the_session_lives_on() {
    if std::env::var_os("MICROTOME_STAND_IN").is_none() {
        println!("skipped: faults are made by the stand-in alone");
        return;
    }
    let run = |setting: (&str, &str), device: &str, input: &str| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_microtome"));
        program.args(["--device", device]).env(setting.0, setting.1).stdin(Stdio::piped());
        let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).ok();
        let found = child.wait_with_output().unwrap();
        [found.stdout, found.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let [_, none] = run(("STAND_IN_DEVICES", "0"), "cuda", "1\n");
    assert!(none.starts_with("error: cannot open cuda: no GPU is there"), "{none}");
    let [_, driver] = run(("STAND_IN_ERROR", "803"), "cuda", "1\n");
    assert!(driver.starts_with("error: cannot open cuda: the driver does not fit"), "{driver}");
    let [_, second] = run(("STAND_IN_DEVICES", "1"), "cuda:1", "1\n");
    assert!(second.starts_with("error: cannot open cuda:1: there are fewer GPUs"), "{second}");
    // Sizes that are known before are told, others when the device refuses; either way the session goes on.
    let full = "model::load(\"tiny\")\ntensor::ones([2000, 2000])\nprint(tensor::ones([100, 100]).sum())\n";
    let [out, errors] = run(("STAND_IN_MEMORY", "12000000"), "cuda", full);
    assert!(errors.contains("on the device, the weights of tiny needs 16.2 MiB, and 11.4 MiB are free"), "{errors}");
    assert!(errors.contains("the device has not enough memory left"), "{errors}");
    assert_eq!(out.trim(), "10000.0", "{errors}");
}

/// Files of the suite that are quick enough for the stand-in. A GPU runs all but [`OF_THE_PROCESSOR`].
const ALIKE: [&str; 26] = [
    "attribution_graphs",
    "chat",
    "closures",
    "cross_layer",
    "dashboards",
    "describing",
    "edges",
    "evaluation",
    "experts",
    "feature_hooks",
    "feature_patching",
    "features",
    "functions",
    "generation",
    "gradients",
    "grid",
    "hooks",
    "lenses",
    "metrics",
    "pairs",
    "parts",
    "ragged",
    "sparse_features",
    "stores",
    "subspaces",
    "tensors",
];

/// Files that state what only the processor does (int8, products of bf16, passes over nothing, candle's mixtures in f32), or
/// digits that rounding moves.
const OF_THE_PROCESSOR: [&str; 5] = ["hints", "models", "rounded_fits", "second_opinion", "training"];

#[test]
fn the_language_behaves_as_on_the_processor() {
    let Some((device, _turn)) = gpu() else { return };
    let is_stand_in = std::env::var_os("MICROTOME_STAND_IN").is_some();
    let complaints = support::on_large_stack(move || {
        let runs = |name: &str| if is_stand_in { ALIKE.contains(&name) } else { !OF_THE_PROCESSOR.contains(&name) };
        let files = support::files("tests/suite", "rhai").into_iter();
        let files = files.filter(|file| runs(&file.file_stem().unwrap().to_string_lossy()));
        files.flat_map(|file| suite::complaints(&file, &device)).collect::<Vec<_>>()
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
