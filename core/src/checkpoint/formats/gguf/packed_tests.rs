//! Quantised files whose matrices stay as they are: the same bits at every site as those of the file in f32.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use kit::{far, largest};

use super::{GgufFile, writer};
use crate::base::Task;
use crate::base::files::Files;
use crate::base::random::stream;
use crate::checkpoint::load::{self, LoadOptions, LoadSettings, Precision};
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::decoder::{Decoder, Logits};
use crate::model::run::Ask;
use crate::model::site::{Place, Site, SiteKind};
use crate::model::weight::Weight;
use crate::tensor::files::gguf_value::Value;
use crate::tensor::{DType, Device, Tensor, create, floats};

const SIZES: [(&str, u64); 7] = [
    ("block_count", 2),
    ("context_length", 32),
    ("embedding_length", 256),
    ("attention.head_count", 4),
    ("attention.head_count_kv", 2),
    ("feed_forward_length", 512),
    ("rope.dimension_count", 64),
];

/// Writes a small llama of random numbers whose matrices are of one kind.
fn file(kind: writer::GgmlKind) -> Vec<u8> {
    let mut metadata = vec![("general.architecture".to_string(), Value::Text("llama".into()))];
    metadata.extend(SIZES.iter().map(|(key, size)| (format!("llama.{key}"), Value::Unsigned(*size))));
    metadata.push(("llama.attention.layer_norm_rms_epsilon".into(), Value::Single(1e-5)));
    let metadata: Vec<(&str, Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let mut shapes =
        BTreeMap::from([("token_embd.weight".to_string(), [64, 256]), ("output.weight".into(), [64, 256])]);
    let mut norms = vec!["output_norm.weight".to_string()];
    for layer in 0..2 {
        let parts = [("attn_q", 256, 256), ("attn_k", 128, 256), ("attn_v", 128, 256), ("attn_output", 256, 256)];
        let mlp = [("ffn_gate", 512, 256), ("ffn_up", 512, 256), ("ffn_down", 256, 512)];
        shapes.extend(
            parts.into_iter().chain(mlp).map(|(part, out, inner)| (format!("blk.{layer}.{part}.weight"), [out, inner])),
        );
        norms.extend(["attn_norm", "ffn_norm"].map(|part| format!("blk.{layer}.{part}.weight")));
    }
    let numbers = |shape: &[usize], name: &str| {
        let all = create::randn(shape, DType::F32, &mut stream(7, name, 0)).unwrap();
        (all * 0.08).unwrap()
    };
    let mut named: BTreeMap<String, (Tensor, writer::GgmlKind)> =
        shapes.iter().map(|(name, shape)| (name.clone(), (numbers(shape, name), kind))).collect();
    named.extend(norms.iter().map(|name| (name.clone(), ((numbers(&[256], name) + 1.0).unwrap(), writer::F32))));
    writer::file(&metadata, &named)
}

fn dequantised(bytes: &[u8]) -> Decoder {
    let file = GgufFile::new(bytes).unwrap();
    let layout = file.layout().unwrap();
    let weights = load::weights(&layout, &file, "a test", &LoadSettings::default(), &Task::default()).unwrap();
    Decoder::new(layout.config, weights)
}

fn loaded(folder: &Path, bytes: &[u8], dtype: Precision) -> Model {
    std::fs::write(folder.join("m.gguf"), bytes).unwrap();
    let files = Files::unrecorded(folder).unwrap();
    let loading = LoadOptions { dtype, ..LoadOptions::default() }.onto(Device::Cpu);
    Model::load(&files, folder.join("m.gguf").to_str().unwrap(), &loading, &Task::default()).unwrap()
}

fn batch() -> Batch {
    Batch::new(vec![(0..12).map(|i| i * 5 % 64).collect(), (0..12).map(|i| i * 7 % 64).collect()]).unwrap()
}

/// Returns the bits of every site, and of the logits.
fn all_of(model: &Decoder) -> Vec<(String, Vec<u64>)> {
    let places = Site::all(model.config()).into_iter().map(|site| Place { site, head: None }).collect();
    let run = model.run(&batch(), Ask { places, ..Ask::default() }, &Task::default()).unwrap();
    let bits = |x: &Tensor| floats(x).unwrap().iter().map(|x| x.to_bits()).collect::<Vec<u64>>();
    let mut all: Vec<_> = run.cache.iter().map(|(place, x)| (place.to_string(), bits(x))).collect();
    all.push(("logits".into(), bits(&run.logits)));
    all
}

const KINDS: [(u32, GgmlDType); 8] = [
    (2, GgmlDType::Q4_0),
    (3, GgmlDType::Q4_1),
    (6, GgmlDType::Q5_0),
    (7, GgmlDType::Q5_1),
    (8, GgmlDType::Q8_0),
    (12, GgmlDType::Q4K),
    (13, GgmlDType::Q5K),
    (14, GgmlDType::Q6K),
];

#[test]
fn every_site_has_the_bits_of_the_file_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let bytes = file(kind);
        let model = loaded(folder.path(), &bytes, DType::F32.into());
        let expected = dequantised(&bytes);
        assert_eq!(model.decoder.weights().packings().len(), 1, "{kind:?}");
        assert!(expected.weights().packings().is_empty());
        let found = all_of(&model.decoder);
        let expected = all_of(&expected);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found == expected, "{kind:?} {}", found.0);
        }
    }
}

#[test]
fn the_matrices_take_no_memory_beyond_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = loaded(folder.path(), &file((12, GgmlDType::Q4K)), DType::F32.into());
    for (name, weight) in model.decoder.weights().named(model.decoder.config()).unwrap() {
        let numbers: usize = weight.dims().iter().product();
        let expected = if weight.dims().len() == 2 { numbers / 256 * 144 } else { 4 * numbers };
        assert_eq!(weight.bytes(), expected, "{name}");
    }
    // In another dtype they are numbers.
    let halves = loaded(folder.path(), &file((12, GgmlDType::Q4K)), DType::BF16.into());
    assert!(halves.decoder.weights().packings().is_empty());
    assert_eq!(halves.decoder.dtype(), DType::BF16);
}

#[test]
fn gradients_and_hooks_are_those_of_the_file_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = file((14, GgmlDType::Q6K));
    let model = loaded(folder.path(), &bytes, DType::F32.into());
    let expected = dequantised(&bytes);
    let places: Vec<Place> = [SiteKind::Embed, SiteKind::Z, SiteKind::MlpHidden, SiteKind::ResidPost]
        .map(|kind| Place { site: Site::new(kind, 0), head: None })
        .into();
    let gradients = |model: &Decoder| {
        let mut metric = |logits: &Tensor| Ok(logits.narrow(2, 3, 1)?.sum_all()?);
        model.grads(&batch(), Vec::new(), &places, Logits::All, &mut metric, &Task::default()).unwrap()
    };
    let found = gradients(&model.decoder);
    let expected = gradients(&expected);
    for place in places {
        let found = found.cache.at(place).unwrap();
        let expected = expected.cache.at(place).unwrap();
        let largest = largest(&expected);
        let off = far(&found, &expected);
        assert!(largest > 0.0 && off < 1e-5 * largest, "{place}: {off} of {largest}");
    }
}

/// Checks int8 of any checkpoint: at every site, at a cosine of .999 with the activation in f32.
#[test]
fn int8_is_near_f32_at_every_site() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = file(writer::F32);
    let whole = loaded(folder.path(), &bytes, DType::F32.into());
    let small = loaded(folder.path(), &bytes, Precision::Q8);
    assert_eq!(small.decoder.weights().packings(), ["Q8_0"]);
    let numbers = |all: Vec<(String, Vec<u64>)>| {
        all.into_iter().map(|(name, bits)| (name, bits.into_iter().map(f64::from_bits).collect::<Vec<f64>>()))
    };
    let found = numbers(all_of(&small.decoder));
    let expected = numbers(all_of(&whole.decoder));
    for ((name, found), (_, expected)) in found.zip(expected) {
        let dot = |a: &[f64], b: &[f64]| {
            // Masked scores are infinite.
            a.iter().zip(b).filter(|(a, b)| a.is_finite() && b.is_finite()).map(|(a, b)| a * b).sum::<f64>()
        };
        let cosine = dot(&found, &expected) / (dot(&found, &found) * dot(&expected, &expected)).sqrt();
        assert!(cosine > 0.999, "{name}: {cosine}");
    }
    // What is quantised already stays so, and int8 takes 34 bytes for 32 numbers.
    let four = loaded(folder.path(), &file((12, GgmlDType::Q4K)), Precision::Q8);
    assert_eq!(four.decoder.weights().packings(), ["Q4_K"]);
    assert!(matches!(&small.decoder.weights().embed, Weight::Packed(embed) if embed.bytes() == 64 * 256 / 32 * 34));
}

#[test]
fn what_reads_weights_has_them_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = file((12, GgmlDType::Q4K));
    let model = loaded(folder.path(), &bytes, DType::F32.into());
    let expected = dequantised(&bytes);
    let weights = model.decoder.weights();
    let same = |found: &Tensor, expected: &Tensor| assert_eq!(floats(found).unwrap(), floats(expected).unwrap());
    for (name, _) in expected.weights().named(expected.config()).unwrap() {
        let of = |decoder: &Decoder| decoder.weights().get(decoder.config(), &name).unwrap();
        same(&of(&model.decoder), &of(&expected));
    }
    let config = expected.config();
    same(&weights.ov(config, 1, 3).unwrap(), &expected.weights().ov(config, 1, 3).unwrap());
    same(&weights.qk(config, 1, 3).unwrap(), &expected.weights().qk(config, 1, 3).unwrap());
    same(&weights.embed.row(5).unwrap(), &expected.weights().embed.row(5).unwrap());
    same(&model.decoder.unembedding().unwrap(), &expected.unembedding().unwrap());
    // Saved, it is numbers.
    let files = Files::unrecorded(folder.path()).unwrap();
    let place = folder.path().join("saved");
    model.save(&files, &place, &Task::default()).unwrap();
    let again = Model::load(&files, place.to_str().unwrap(), &LoadSettings::default(), &Task::default()).unwrap();
    assert!(again.decoder.weights().packings().is_empty());
    assert_eq!(all_of(&again.decoder), all_of(&expected));
}
