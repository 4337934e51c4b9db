//! Tests of the Jacobian lens: against the reference implementation, on a linear model, and of its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::base::access::{Access, Rules};
use crate::base::files::Files;
use crate::model::config::{Config, Positions};
use crate::model::fixtures::{config, decoder};
use crate::model::run::Ask;
use crate::model::weights::Weights;
use crate::model::{Model, load};
use crate::tensor::files::Tree;
use crate::tensor::files::safetensors;
use crate::tensor::{Device, create, floats};

const FAMILIES: [&str; 2] = ["gpt2", "llama"];

fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jlens").join(family)
}

fn files(out: &Path) -> Files {
    Files::new(Access::new(out, &Rules::default()).unwrap(), false)
}

struct Fixture {
    model: Arc<Decoder>,
    truth: BTreeMap<String, Tensor>,
    prompts: Vec<Vec<u32>>,
}

fn fixture(family: &str) -> Fixture {
    let out = tempfile::tempdir().unwrap();
    let name = folder(family).join("model").display().to_string();
    let model = Model::load(&files(out.path()), &name, &load::Loading::default(), &Task::default()).unwrap().decoder;
    let bytes = std::fs::read(folder(family).join("jlens.safetensors")).unwrap();
    let truth = safetensors::Reader::new(bytes).unwrap().all().unwrap().tensors;
    let prompts = truth["input_ids"].to_dtype(DType::U32).unwrap().to_vec2().unwrap();
    Fixture { model, truth, prompts }
}

fn options(skip_first: usize) -> JacobianLensOptions {
    JacobianLensOptions { skip_first, ..JacobianLensOptions::default() }
}

/// The largest difference, as a share of the largest number.
fn far(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.dims(), expected.dims());
    let (found, expected) = (floats(found).unwrap(), floats(expected).unwrap());
    let most = expected.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    found.iter().zip(&expected).fold(0.0_f64, |far, (a, b)| far.max((a - b).abs())) / most
}

#[test]
fn it_is_the_reference_on_both_families() {
    for family in FAMILIES {
        let Fixture { model, truth, prompts } = fixture(family);
        let skip = floats(&truth["skip_first"]).unwrap()[0] as usize;
        let lens = fit(&model, &prompts, &options(skip), &Task::default()).unwrap();
        assert_eq!((lens.prompts(), lens.layers().collect::<Vec<_>>()), (3, vec![0, 1]), "{family}");
        for layer in 0..2 {
            let error = far(lens.jacobian(layer).unwrap(), &truth["J"].get(layer).unwrap());
            assert!(error < 1e-4, "{family}, layer {layer}: {error}");
        }
        for (number, ids) in prompts.iter().enumerate() {
            let alone = fit(&model, std::slice::from_ref(ids), &options(skip), &Task::default()).unwrap();
            for layer in 0..2 {
                let expected = truth["J_per_prompt"].get(layer).unwrap().get(number).unwrap();
                assert!(far(alone.jacobian(layer).unwrap(), &expected) < 1e-4, "{family}, prompt {number}");
            }
        }
        let batch = Batch::new(vec![prompts[0].clone()]).unwrap();
        let places = lens.places(&model).unwrap();
        let ask = Ask { places: places.clone(), ..Ask::default() };
        let cache = model.cache(&batch, ask, &Task::default()).unwrap();
        for (layer, place) in places.iter().enumerate().take(2) {
            let logits = lens.logits(&model, &cache, *place, &Task::default()).unwrap();
            let error = far(&logits.get(0).unwrap(), &truth["lens_logits"].get(layer).unwrap());
            assert!(error < 1e-4, "{family}, logits of layer {layer}: {error}");
        }
        let both = lens.read(&model, &batch, &places, &LensOptions::default(), Vec::new(), &Task::default()).unwrap();
        for layer in 0..2 {
            let logit = both.logit[layer].logits.get(0).unwrap();
            assert!(far(&logit, &truth["logit_lens"].get(layer).unwrap()) < 1e-4, "{family}, layer {layer}");
        }
        assert!(far(&both.jacobian[2].logits.get(0).unwrap(), &truth["logits"]) < 1e-4, "{family}");
    }
}

/// A model whose attention looks back evenly, without norm and MLP: each layer is linear in the stream.
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
        Ok(if is_asked { weight.zeros_like()? } else { weight.clone() })
    });
    Arc::new(Decoder::new(flat, weights.unwrap()))
}

#[test]
fn without_nonlinearity_it_is_the_identity_and_what_the_layer_adds() {
    let model = linear();
    // The weights of even attention to t + 1 positions sum to 1 over the targets, where none is left out.
    let lens = fit(&model, &[vec![3, 1, 4, 1, 5, 9]], &options(0), &Task::default()).unwrap();
    let attn = &model.weights().blocks[1].attn;
    let added = attn.o.weight.matmul(&attn.v.weight).unwrap();
    let expected = (create::eye(16, 16, DType::F32).unwrap() + added).unwrap();
    assert!(far(lens.jacobian(0).unwrap(), &expected) < 1e-5);
    // Its logits for a token are then those of its direction.
    let direction = lens.direction(&model, 0, 7).unwrap();
    let row = model.weights().unembed.weight.get(7).unwrap().unsqueeze(0).unwrap();
    assert!(far(&direction, &row.matmul(&expected).unwrap().squeeze(0).unwrap()) < 1e-5);
}

#[test]
fn rows_of_any_number_of_copies_are_the_same() {
    let model = Arc::new(decoder(config(), DType::F32));
    // 100 copies at most, of 16 dimensions; and 3 of a long prompt, which do not divide 16.
    let short: Vec<u32> = (0..20).collect();
    let fitted = fit(&model, std::slice::from_ref(&short), &options(2), &Task::default()).unwrap();
    let wide = Arc::new(decoder(config(), DType::F64));
    let expected = fit(&wide, &[short], &options(2), &Task::default()).unwrap();
    assert!(far(fitted.jacobian(0).unwrap(), expected.jacobian(0).unwrap()) < 1e-4);
}

#[test]
fn saved_lenses_are_read_again_to_the_precision_of_f16() {
    let out = tempfile::tempdir().unwrap();
    let (files, task) = (files(out.path()), Task::default());
    let model = Arc::new(decoder(config(), DType::F32));
    let lens = fit(&model, &[vec![1, 2, 3, 4]], &options(1), &task).unwrap();
    let path = Path::new("lens.safetensors");
    lens.save(&files, path, &task).unwrap();
    let again = JacobianLens::load(&files, path, &task).unwrap();
    assert_eq!((again.prompts(), again.d_model()), (1, 16));
    assert!(far(again.jacobian(0).unwrap(), lens.jacobian(0).unwrap()) < 1e-3);
    let error = lens.save(&files, Path::new("lens.pt"), &task).unwrap_err();
    assert_eq!(error.message, "expected a path that ends in .safetensors, found `lens.pt`");
}

#[test]
fn the_dictionary_of_pytorch_files_is_understood() {
    let part = |layer: usize| Tree::Tensor(Tensor::full(layer as f32, (2, 2), &Device::Cpu).unwrap());
    let of = |layers: Vec<i64>, width: i64| {
        let fields = [
            ("J", Tree::Map([("0".to_string(), part(0)), ("10".to_string(), part(10))].into())),
            ("n_prompts", Tree::Int(7)),
            ("source_layers", Tree::List(layers.into_iter().map(Tree::Int).collect())),
            ("d_model", Tree::Int(width)),
        ];
        JacobianLens::of_tree(Tree::Map(fields.map(|(name, part)| (name.to_string(), part)).into()))
    };
    let lens = of(vec![0, 10], 2).unwrap();
    assert_eq!((lens.prompts(), lens.layers().collect::<Vec<_>>()), (7, vec![0, 10]));
    assert_eq!(of(vec![0], 2).unwrap_err().message, "expected the layers [0] in J, found [0, 10]");
    assert_eq!(of(vec![10, 0], 3).unwrap_err().message, "expected d_model 2, as in J, found [3]");
    assert!(JacobianLens::of_tree(Tree::Nothing).is_err());
}

#[test]
fn what_cannot_be_fitted_or_read_is_refused() {
    let model = Arc::new(decoder(config(), DType::F32));
    let of = |prompts: &[Vec<u32>], options: &JacobianLensOptions| {
        fit(&model, prompts, options, &Task::default()).map(drop).unwrap_err().message
    };
    assert_eq!(of(&[vec![1; 5], vec![1, 2]], &options(1)), "expected at least 3 tokens, found 2 in prompt 1");
    assert_eq!(of(&[], &options(1)), "expected at least one prompt, found none");
    let last = JacobianLensOptions { layers: Some(vec![1]), ..options(1) };
    assert_eq!(of(&[vec![1; 5]], &last), "expected layers below 1, found 1");
    let lens = fit(&model, &[vec![1, 2, 3, 4]], &options(1), &Task::default()).unwrap();
    let other =
        decoder(Config { d_model: 8, d_head: 2, rotary: None, positions: Positions::None, ..config() }, DType::F32);
    assert!(lens.direction(&other, 0, 1).unwrap_err().message.starts_with("this lens is of a model of width 16"));
    let nan = BTreeMap::from([(0, Tensor::full(f32::NAN, (2, 2), &Device::Cpu).unwrap())]);
    assert!(JacobianLens::new(nan, 1).is_err());
}
