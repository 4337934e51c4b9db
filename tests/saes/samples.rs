//! Small dictionaries of every kind, the same ones every time, and their files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use microtome::base::Task;
use microtome::base::files::Files;
use microtome::base::random::stream;
use microtome::sae::load::LoadOptions;
use microtome::sae::{About, Activation, Format, Parts, Sae, Scaling};
use microtome::tensor::files::{NamedTensors, safetensors};
use microtome::tensor::{DType, Tensor, create};
use serde_json::{Value, json};

pub const D: usize = 8;
pub const F: usize = 24;

pub fn folders(root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = std::fs::read_dir(root).unwrap().flatten().map(|entry| entry.path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

pub fn files(out: &Path) -> Files {
    Files::unrecorded(out).unwrap()
}

pub fn load_as(path: &Path, options: &LoadOptions) -> microtome::base::Result<Sae> {
    Sae::load(&files(&std::env::temp_dir()), path.to_str().unwrap(), options, &Task::default())
}

pub fn load(path: &Path) -> microtome::base::Result<Sae> {
    load_as(path, &LoadOptions::default())
}

pub fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    safetensors::SafetensorsFile::new(std::fs::read(path).unwrap()).unwrap().all().unwrap().tensors
}

pub fn write_tensors(path: &Path, tensors: BTreeMap<String, Tensor>) {
    let mut file = std::fs::File::create(path).unwrap();
    safetensors::write(&NamedTensors { tensors, metadata: BTreeMap::new() }, &mut file).unwrap();
}

pub fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// All parts of a dictionary as text: equal texts mean bit-identical dictionaries.
pub fn spelled(parts: &Parts) -> String {
    let bits = |tensor: &Tensor| {
        let bits: Vec<u32> = numbers(tensor).iter().map(|x| x.to_bits()).collect();
        format!("{:?} {:?} {bits:?}", tensor.dtype(), tensor.dims())
    };
    let maybe = |tensor: &Option<Tensor>| tensor.as_ref().map(bits);
    let activation = match &parts.activation {
        Activation::Threshold(threshold) => bits(threshold),
        Activation::Gated { gate, magnitude, log_scale } => [gate, magnitude, log_scale].map(bits).join(" "),
        other => format!("{other:?}"),
    };
    format!(
        "{} {} {} {:?} {:?} {:?} {activation} {} {} {:?} {:?}",
        parts.activation.name(),
        bits(&parts.encoder),
        bits(&parts.decoder),
        maybe(&parts.encoder_bias),
        maybe(&parts.decoder_bias),
        maybe(&parts.skip),
        parts.centred,
        parts.rescaled,
        parts.scaling,
        parts.about
    )
}

/// A plain dictionary, to be changed into other kinds.
pub fn plain(seed: u64, d_out: usize) -> Parts {
    let random = &mut stream(seed, "test", 0);
    let mut normal = |dims: &[usize]| (create::randn(dims, DType::F32, random).unwrap() * 0.5).unwrap();
    Parts {
        encoder: normal(&[F, D]),
        encoder_bias: Some(normal(&[F])),
        activation: Activation::Relu,
        decoder: normal(&[F, d_out]),
        decoder_bias: Some(normal(&[d_out])),
        centred: false,
        rescaled: false,
        skip: None,
        scaling: Scaling::None,
        about: About {
            kind: "relu".into(),
            models: vec!["org/small".into()],
            sites: vec!["resid_post.3".into()],
            more: json!({ "lr": 0.1, "steps": [1, 2], "nested": { "a": null } }).as_object().unwrap().clone(),
            ..About::default()
        },
    }
}

pub fn vector(seed: u64, low: f64, high: f64) -> Tensor {
    create::uniform(&[F], low, high, DType::F32, &mut stream(seed, "test", 1)).unwrap()
}

pub fn matrix(seed: u64, rows: usize, columns: usize) -> Tensor {
    create::randn(&[rows, columns], DType::F32, &mut stream(seed, "test", 2)).unwrap()
}

pub fn gated(seed: u64) -> Activation {
    let vector = |turn| vector(seed.wrapping_add(turn), -0.5, 0.5);
    Activation::Gated { gate: vector(1), magnitude: vector(2), log_scale: vector(3) }
}

/// One dictionary for each architecture that can be written, by the name of its folder.
pub fn written() -> Vec<(String, Format, Parts)> {
    let mut all = Vec::new();
    let mut add = |format: Format, name: &str, kind: &str, change: &dyn Fn(Parts) -> Parts| {
        let d_out = if name.ends_with("wide_transcoder") { D + 2 } else { D };
        let mut parts = plain(all.len() as u64, d_out);
        parts.about.kind = kind.into();
        all.push((format!("{}-{name}", format.word()), format, change(parts)));
    };
    let threshold = || Activation::Threshold(vector(7, 0.1, 0.6));
    let one = || Activation::Threshold(Tensor::full(0.25_f32, F, &microtome::tensor::Device::Cpu).unwrap());
    let centred = |parts: Parts| Parts { centred: true, ..parts };
    let lens = Format::SaeLens;
    add(lens, "standard", "relu", &centred);
    add(lens, "standard_layer_norm", "relu", &|parts| Parts { scaling: Scaling::LayerNorm, ..centred(parts) });
    add(lens, "standard_constant_norm", "relu", &|parts| Parts { scaling: Scaling::ConstantNorm, ..parts });
    add(lens, "standard_tied", "tied", &|parts| Parts { decoder: parts.encoder.clone(), decoder_bias: None, ..parts });
    add(lens, "gated", "gated", &|parts| Parts { activation: gated(3), encoder_bias: None, ..centred(parts) });
    add(lens, "jumprelu", "jumprelu", &|parts| Parts { activation: threshold(), ..parts });
    add(lens, "jumprelu_batch_topk", "batch_topk", &|parts| Parts { activation: one(), ..centred(parts) });
    add(lens, "topk", "topk", &|parts| Parts { activation: Activation::TopK(4), ..centred(parts) });
    add(lens, "topk_rescaled", "topk", &|parts| Parts { activation: Activation::TopK(4), rescaled: true, ..parts });
    add(lens, "abstopk", "pca", &|parts| Parts {
        activation: Activation::Linear(Some(4)),
        encoder_bias: None,
        ..centred(parts)
    });
    add(lens, "wide_transcoder", "transcoder", &|parts| parts);
    let skip = |parts: Parts, d_out| Parts { skip: Some(matrix(9, d_out, D)), ..parts };
    add(lens, "skip_wide_transcoder", "skip_transcoder", &|parts| skip(parts, D + 2));
    add(lens, "jumprelu_transcoder", "transcoder", &|parts| Parts { activation: threshold(), ..parts });
    add(lens, "jumprelu_skip_transcoder", "skip_transcoder", &|parts| {
        skip(Parts { activation: threshold(), ..parts }, D)
    });
    let learning = Format::DictionaryLearning;
    let with_k = |mut parts: Parts| {
        parts.about.more.insert("k".into(), json!(5));
        centred(parts)
    };
    add(learning, "AutoEncoder", "relu", &centred);
    add(learning, "AutoEncoderNew", "relu", &|parts| parts);
    add(learning, "AutoEncoderTopK", "topk", &|parts| Parts { activation: Activation::TopK(4), ..centred(parts) });
    add(learning, "BatchTopKSAE", "batch_topk", &|parts| Parts { activation: one(), ..with_k(parts) });
    add(learning, "MatryoshkaBatchTopKSAE", "matryoshka", &|parts| {
        let mut parts = Parts { activation: one(), ..with_k(parts) };
        parts.about.prefixes = vec![6, F];
        parts
    });
    add(learning, "GatedAutoEncoder", "gated", &|parts| Parts {
        activation: gated(3),
        encoder_bias: None,
        ..centred(parts)
    });
    add(learning, "JumpReluAutoEncoder", "jumprelu", &|parts| Parts { activation: threshold(), ..parts });
    let topk = |parts: Parts| Parts { activation: Activation::TopK(4), ..parts };
    add(Format::Sparsify, "topk", "topk", &|parts| topk(centred(parts)));
    add(Format::Sparsify, "transcoder", "transcoder", &topk);
    add(Format::Sparsify, "skip_transcoder", "skip_transcoder", &|parts| skip(topk(parts), D));
    all
}
