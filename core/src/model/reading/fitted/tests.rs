//! Tests of fitted lenses: the Jacobian lens against the reference implementation and on a linear model, the tuned lens
//! against what it is trained for, and their files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kit::far_relative;

use super::tuned::train_in_parts;
use super::*;
use crate::base::Cell;
use crate::base::files::Files;
use crate::model::config::{Config, Positions};
use crate::model::fixtures::{config, decoder, loaded};
use crate::model::run::Ask;
use crate::model::weights::Weights;
use crate::tensor::files::TensorTree;
use crate::tensor::{Device, create, floats};

const FAMILIES: [&str; 2] = ["gpt2", "llama"];

fn folder(family: &str) -> PathBuf {
    kit::fixture("jlens").join(family)
}

struct LensFixture {
    model: Arc<Decoder>,
    truth: BTreeMap<String, Tensor>,
    prompts: Vec<Vec<u32>>,
}

fn fixture(family: &str) -> LensFixture {
    let model = loaded(folder(family).join("model")).decoder;
    let truth = kit::tensors(folder(family).join("jlens.safetensors"));
    let prompts = truth["input_ids"].to_dtype(DType::U32).unwrap().to_vec2().unwrap();
    LensFixture { model, truth, prompts }
}

fn options(skip_first: usize) -> JacobianLensOptions {
    JacobianLensOptions { skip_first, ..JacobianLensOptions::default() }
}

#[test]
fn it_is_the_reference_on_both_families() {
    for family in FAMILIES {
        let LensFixture { model, truth, prompts } = fixture(family);
        let skip = floats(&truth["skip_first"]).unwrap()[0] as usize;
        let lens = fit_jacobian(&model, &prompts, &options(skip), &Task::default()).unwrap();
        assert_eq!((lens.prompts(), lens.layers().collect::<Vec<_>>()), (3, vec![0, 1]), "{family}");
        for layer in 0..2 {
            let error = far_relative(&lens.map(layer).unwrap().matrix, truth["J"].get(layer).unwrap());
            assert!(error < 1e-4, "{family}, layer {layer}: {error}");
        }
        for (number, ids) in prompts.iter().enumerate() {
            let alone = fit_jacobian(&model, std::slice::from_ref(ids), &options(skip), &Task::default()).unwrap();
            for layer in 0..2 {
                let expected = truth["J_per_prompt"].get(layer).unwrap().get(number).unwrap();
                assert!(far_relative(&alone.map(layer).unwrap().matrix, &expected) < 1e-4, "{family}, prompt {number}");
            }
        }
        let batch = Batch::new(vec![prompts[0].clone()]).unwrap();
        let places = lens.places(&model).unwrap();
        let ask = Ask { places: places.clone(), ..Ask::default() };
        let cache = model.cache(&batch, ask, &Task::default()).unwrap();
        for (layer, place) in places.iter().enumerate().take(2) {
            let logits = lens.logits(&model, &cache, *place, &Task::default()).unwrap();
            let error = far_relative(logits.get(0).unwrap(), truth["lens_logits"].get(layer).unwrap());
            assert!(error < 1e-4, "{family}, logits of layer {layer}: {error}");
        }
        let both = lens.read(&model, &batch, &places, &LensOptions::default(), Vec::new(), &Task::default()).unwrap();
        for layer in 0..2 {
            let logit = both.logit[layer].logits(&model, &Task::default()).unwrap().get(0).unwrap();
            assert!(far_relative(&logit, truth["logit_lens"].get(layer).unwrap()) < 1e-4, "{family}, layer {layer}");
        }
        let last = both.fitted[2].logits(&model, &Task::default()).unwrap().get(0).unwrap();
        assert!(far_relative(last, &truth["logits"]) < 1e-4, "{family}");
    }
}

/// Builds a model whose attention looks back evenly, without norm and MLP: each layer is linear in the residual stream.
fn linear() -> Arc<Decoder> {
    let flat = Config {
        norm: None,
        d_mlp: 0,
        positions: Positions::None,
        rotary: None,
        kv_heads: 4,
        qkv_bias: false,
        out_bias: false,
        ..config()
    };
    let given = decoder(flat.clone(), DType::F32);
    let mut named = given.weights().named(&flat).unwrap().into_iter();
    let weights = Weights::build(&flat, &mut |_, _| {
        let (name, weight) = named.next().unwrap();
        let is_asked = name.to_string().contains(".q.") || name.to_string().contains(".k.");
        let weight = weight.tensor()?;
        Ok(if is_asked { weight.zeros_like()? } else { weight })
    });
    Arc::new(Decoder::new(flat, weights.unwrap()))
}

#[test]
fn without_nonlinearity_it_is_the_identity_and_what_the_layer_adds() {
    let model = linear();
    // The weights of even attention to t + 1 positions sum to 1 over the targets, where none is left out.
    let lens = fit_jacobian(&model, &[vec![3, 1, 4, 1, 5, 9]], &options(0), &Task::default()).unwrap();
    let attn = model.weights().blocks[1].attention().unwrap();
    let added = attn.o.weight.tensor().unwrap().matmul(&attn.values().unwrap().weight.tensor().unwrap()).unwrap();
    let expected = (create::eye(16, 16, DType::F32).unwrap() + added).unwrap();
    assert!(far_relative(&lens.map(0).unwrap().matrix, &expected) < 1e-5);
    // Its logits for a token are then those of its direction.
    let direction = lens.direction(&model, 0, 7).unwrap();
    let row = model.weights().unembed.weight.row(7).unwrap().unsqueeze(0).unwrap();
    assert!(far_relative(&direction, row.matmul(&expected).unwrap().squeeze(0).unwrap()) < 1e-5);
}

#[test]
fn rows_of_any_number_of_copies_are_the_same() {
    let model = Arc::new(decoder(config(), DType::F32));
    // 100 copies at most, of 16 dimensions; and 3 of a long prompt, which do not divide 16.
    let short: Vec<u32> = (0..20).collect();
    let fitted = fit_jacobian(&model, std::slice::from_ref(&short), &options(2), &Task::default()).unwrap();
    let wide = Arc::new(decoder(config(), DType::F64));
    let expected = fit_jacobian(&wide, &[short], &options(2), &Task::default()).unwrap();
    assert!(far_relative(&fitted.map(0).unwrap().matrix, &expected.map(0).unwrap().matrix) < 1e-4);
}

#[test]
fn saved_lenses_are_read_again_to_the_precision_of_f16() {
    let out = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(out.path()).unwrap();
    let task = Task::default();
    let model = Arc::new(decoder(config(), DType::F32));
    let lens = fit_jacobian(&model, &[vec![1, 2, 3, 4]], &options(1), &task).unwrap();
    let path = Path::new("lens.safetensors");
    lens.save(&files, path, &task).unwrap();
    let again = FittedLens::load(LensKind::Jacobian, &files, path, &task).unwrap();
    assert_eq!((again.prompts(), again.d_model()), (1, 16));
    assert!(far_relative(&again.map(0).unwrap().matrix, &lens.map(0).unwrap().matrix) < 1e-3);
    assert_eq!(FittedLens::load_any(&files, path, &task).unwrap().kind(), LensKind::Jacobian);
    let error = lens.save(&files, Path::new("lens.pt"), &task).unwrap_err();
    assert_eq!(error.message, "expected a path that ends in .safetensors, found `lens.pt`");
}

#[test]
fn the_dictionary_of_pytorch_files_is_understood() {
    let part = |layer: usize| TensorTree::Tensor(Tensor::full(layer as f32, (2, 2), &Device::Cpu).unwrap());
    let of = |layers: Vec<i64>, width: i64| {
        let fields = [
            ("J", TensorTree::Map([("0".to_string(), part(0)), ("10".to_string(), part(10))].into())),
            ("n_prompts", TensorTree::Int(7)),
            ("source_layers", TensorTree::List(layers.into_iter().map(TensorTree::Int).collect())),
            ("d_model", TensorTree::Int(width)),
        ];
        FittedLens::of_tree(
            LensKind::Jacobian,
            TensorTree::Map(fields.map(|(name, part)| (name.to_string(), part)).into()),
        )
    };
    let lens = of(vec![0, 10], 2).unwrap();
    assert_eq!((lens.prompts(), lens.layers().collect::<Vec<_>>()), (7, vec![0, 10]));
    assert_eq!(of(vec![0], 2).unwrap_err().message, "expected the layers [0] in J, found [0, 10]");
    assert_eq!(of(vec![10, 0], 3).unwrap_err().message, "expected d_model 2, as in J, found [3]");
    assert!(FittedLens::of_tree(LensKind::Jacobian, TensorTree::Nothing).is_err());
}

#[test]
fn what_cannot_be_fitted_or_read_is_refused() {
    let model = Arc::new(decoder(config(), DType::F32));
    let of = |prompts: &[Vec<u32>], options: &JacobianLensOptions| {
        fit_jacobian(&model, prompts, options, &Task::default()).map(drop).unwrap_err().message
    };
    assert_eq!(of(&[vec![1; 5], vec![1, 2]], &options(1)), "expected at least 3 tokens, found 2 in prompt 1");
    assert_eq!(of(&[], &options(1)), "expected at least one prompt, found none");
    let last = JacobianLensOptions { layers: Some(vec![1]), ..options(1) };
    assert_eq!(of(&[vec![1; 5]], &last), "expected layers below 1, found 1");
    let lens = fit_jacobian(&model, &[vec![1, 2, 3, 4]], &options(1), &Task::default()).unwrap();
    let other =
        decoder(Config { d_model: 8, d_head: 2, rotary: None, positions: Positions::None, ..config() }, DType::F32);
    assert!(lens.direction(&other, 0, 1).unwrap_err().message.starts_with("this lens is of a model of width 16"));
    let nan = AffineMap { matrix: Tensor::full(f32::NAN, (2, 2), &Device::Cpu).unwrap(), bias: None };
    assert!(FittedLens::new(LensKind::Jacobian, BTreeMap::from([(0, nan)]), 1).is_err());
}

/// Makes prompts of a language in which the next token follows from the last.
fn counting(count: u32, from: u32) -> Vec<Vec<u32>> {
    (0..count).map(|i| (0..12).map(|at| (i * 7 + from + at * 5) % 20).collect()).collect()
}

/// Computes the mean KL of each row of a table: of the lens and of the logit lens, layer by layer.
fn judged(lens: &FittedLens, model: &Decoder, prompts: &[Vec<u32>]) -> Vec<f64> {
    let table = lens.judge(model, prompts, &JudgeLensOptions::default(), &Task::default()).unwrap();
    assert_eq!(table.columns, ["site", "lens", "KL", "low", "high", "tokens", "prompts"]);
    let kl = |row: &Vec<Cell>| match row[2] {
        Cell::Float(kl) => kl,
        _ => panic!("{row:?}"),
    };
    table.rows.iter().map(kl).collect()
}

#[test]
fn before_its_training_a_tuned_lens_is_the_logit_lens() {
    let model = Arc::new(decoder(config(), DType::F32));
    let options = TunedLensOptions { steps: 0, ..TunedLensOptions::default() };
    let lens = train_tuned(&model, &counting(3, 0), &options, &Task::default()).unwrap();
    let batch = Batch::new(counting(2, 9)).unwrap();
    let places = lens.places(&model).unwrap();
    let both = lens.read(&model, &batch, &places, &LensOptions::default(), Vec::new(), &Task::default()).unwrap();
    for (fitted, logit) in both.fitted.iter().zip(&both.logit) {
        let [fitted_logits, logits] =
            [fitted, logit].map(|reading| floats(&reading.logits(&model, &Task::default()).unwrap()).unwrap());
        assert_eq!(fitted_logits, logits, "{}", fitted.place);
    }
    let found = judged(&lens, &model, &counting(4, 3));
    assert_eq!(found[0], found[1]);
}

#[test]
fn a_tuned_lens_predicts_the_end_better_than_the_logit_lens_on_other_prompts() {
    for family in FAMILIES {
        let LensFixture { model, .. } = fixture(family);
        let options = TunedLensOptions { steps: 150, lr: 3e-3, ..TunedLensOptions::default() };
        let lens = train_tuned(&model, &counting(64, 0), &options, &Task::default()).unwrap();
        assert_eq!((lens.prompts(), lens.layers().collect::<Vec<_>>()), (64, vec![0, 1]));
        for layer in judged(&lens, &model, &counting(20, 3)).chunks(2) {
            assert!(layer[0] < 0.5 * layer[1], "{family}: {layer:?}");
        }
        let again = train_tuned(&model, &counting(64, 0), &options, &Task::default()).unwrap();
        let of = |lens: &FittedLens| floats(&lens.map(1).unwrap().matrix).unwrap();
        assert_eq!(of(&lens), of(&again));
    }
}

#[test]
fn a_step_in_parts_is_a_step_on_all_tokens() {
    let LensFixture { model, .. } = fixture("gpt2");
    let options = TunedLensOptions { steps: 4, ..TunedLensOptions::default() };
    // One text is shorter than the other, and parts end within texts.
    let prompts = vec![vec![3, 1, 4, 1, 5], vec![9, 2]];
    let of = |tokens: usize| {
        let at_once = tokens * model.config().outputs();
        let lens = train_in_parts(&model, &prompts, &options, at_once, &Task::default()).unwrap();
        floats(lens.map(0).unwrap().bias.as_ref().unwrap()).unwrap()
    };
    let whole = of(7);
    assert!(whole.iter().any(|x| x.abs() > 1e-4));
    for tokens in [1, 2, 4] {
        let far = of(tokens).iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(far < 1e-6, "{tokens} tokens at once: {far}");
    }
}

#[test]
fn the_divergence_of_a_lens_is_that_of_its_logits() {
    let LensFixture { model, .. } = fixture("gpt2");
    let options = TunedLensOptions { steps: 5, ..TunedLensOptions::default() };
    let lens = train_tuned(&model, &counting(8, 0), &options, &Task::default()).unwrap();
    // One text is shorter than the other.
    let prompts = vec![vec![3, 1, 4, 1, 5], vec![9, 2]];
    let found = judged(&lens, &model, &prompts);
    let mut sum = 0.0;
    let mut tokens = 0;
    for ids in &prompts {
        let batch = Batch::new(vec![ids.clone()]).unwrap();
        let places = lens.places(&model).unwrap();
        let both = lens.read(&model, &batch, &places, &LensOptions::default(), Vec::new(), &Task::default()).unwrap();
        let [last, first] =
            [2, 0].map(|layer: usize| both.fitted[layer].logits(&model, &Task::default()).unwrap().get(0).unwrap());
        for at in 0..ids.len() {
            let row = |logits: &Tensor| floats(&logits.get(at).unwrap()).unwrap();
            sum += crate::model::reading::compare::kl(&row(&last), &row(&first));
        }
        tokens += ids.len();
    }
    assert!((found[0] - sum / tokens as f64).abs() < 1e-5, "{} {}", found[0], sum / tokens as f64);
}

#[test]
fn an_interrupted_training_leaves_the_lens_so_far() {
    let LensFixture { model, .. } = fixture("gpt2");
    let task = Task::default();
    let options = TunedLensOptions { steps: 1_000_000, ..TunedLensOptions::default() };
    let begun = std::time::Instant::now();
    kit::raise_after(task.flag(), 300);
    let lens = train_tuned(&model, &counting(8, 0), &options, &task).unwrap();
    assert!(begun.elapsed().as_secs() < 30 && !task.is_interrupted());
    let d = lens.d_model();
    assert!(far_relative(&lens.map(0).unwrap().matrix, create::eye(d, d, DType::F32).unwrap()) > 0.0);
}

#[test]
fn a_saved_tuned_lens_is_read_again_bit_for_bit() {
    let out = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(out.path()).unwrap();
    let task = Task::default();
    let model = Arc::new(decoder(config(), DType::F32));
    let options = TunedLensOptions { steps: 2, ..TunedLensOptions::default() };
    let lens = train_tuned(&model, &counting(3, 0), &options, &task).unwrap();
    let path = Path::new("tuned.safetensors");
    lens.save(&files, path, &task).unwrap();
    let again = FittedLens::load(LensKind::Tuned, &files, path, &task).unwrap();
    let numbers = |lens: &FittedLens| {
        let map = lens.map(0).unwrap();
        [floats(&map.matrix).unwrap(), floats(map.bias.as_ref().unwrap()).unwrap()]
    };
    assert_eq!((again.prompts(), numbers(&again)), (3, numbers(&lens)));
    let any = FittedLens::load_any(&files, path, &task).unwrap();
    assert_eq!((any.kind(), numbers(&any)), (LensKind::Tuned, numbers(&lens)));
    let other = FittedLens::load(LensKind::Jacobian, &files, path, &task).unwrap_err();
    assert!(
        other.message.ends_with("expected J, n_prompts, source_layers and d_model, found `A.0`"),
        "{}",
        other.message
    );
}
