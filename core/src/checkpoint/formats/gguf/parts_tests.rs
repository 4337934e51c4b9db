//! Models in several files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{GgufFile, GgufModel, part_names, writer};
use crate::base::files::Files;
use crate::base::random::stream;
use crate::base::{Error, Result, Task};
use crate::checkpoint::load::LoadSettings;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::tensor::files::gguf_value::Value;
use crate::tensor::{DType, Tensor, create, floats};

const SIZES: [(&str, u64); 6] = [
    ("block_count", 1),
    ("context_length", 32),
    ("embedding_length", 64),
    ("attention.head_count", 2),
    ("feed_forward_length", 96),
    ("rope.dimension_count", 32),
];

/// Draws a small model with matrices in Q8_0, which stay in the maps of their files.
fn tensors() -> BTreeMap<String, (Tensor, writer::GgmlKind)> {
    let drawn = |name: &str, shape: &[usize]| create::randn(shape, DType::F32, &mut stream(3, name, 0)).unwrap();
    let shapes = [
        ("token_embd", vec![40, 64]),
        ("blk.0.attn_norm", vec![64]),
        ("blk.0.attn_q", vec![64, 64]),
        ("blk.0.attn_k", vec![64, 64]),
        ("blk.0.attn_v", vec![64, 64]),
        ("blk.0.attn_output", vec![64, 64]),
        ("blk.0.ffn_norm", vec![64]),
        ("blk.0.ffn_gate", vec![96, 64]),
        ("blk.0.ffn_up", vec![96, 64]),
        ("blk.0.ffn_down", vec![64, 96]),
        ("output_norm", vec![64]),
    ];
    let kind = |shape: &[usize]| match shape.len() {
        2 => (8, candle_core::quantized::GgmlDType::Q8_0),
        _ => writer::F32,
    };
    shapes.into_iter().map(|(name, shape)| (format!("{name}.weight"), (drawn(name, &shape), kind(&shape)))).collect()
}

fn metadata() -> Vec<(String, Value)> {
    let sizes = SIZES.iter().map(|(key, size)| (format!("llama.{key}"), Value::Unsigned(*size)));
    let mut metadata = vec![("general.architecture".to_string(), Value::Text("llama".into()))];
    metadata.extend(sizes);
    metadata.push(("llama.attention.layer_norm_rms_epsilon".into(), Value::Single(1e-5)));
    metadata
}

fn file(metadata: &[(String, Value)], tensors: BTreeMap<String, (Tensor, writer::GgmlKind)>) -> Vec<u8> {
    let metadata: Vec<(&str, Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    writer::file(&metadata, &tensors)
}

/// Writes part `number` of `count`; the first has the metadata and, as `llama-gguf-split --no-tensor-first-split`
/// writes it, no tensor.
fn part(number: usize, count: usize) -> Vec<u8> {
    let all = tensors();
    let mut metadata = if number == 0 { metadata() } else { Vec::new() };
    metadata.push(("split.no".into(), Value::Unsigned(number as u64)));
    metadata.push(("split.count".into(), Value::Unsigned(count as u64)));
    metadata.push(("split.tensors.count".into(), Value::Signed(all.len() as i64)));
    let here = all.into_iter().enumerate().filter(|(place, _)| number > 0 && place % (count - 1) == number - 1);
    file(&metadata, here.map(|(_, tensor)| tensor).collect())
}

fn name(number: usize) -> String {
    format!("m-{number:05}-of-00003.gguf")
}

/// Writes a folder with all three parts.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..3 {
        std::fs::write(folder.path().join(name(number + 1)), part(number, 3)).unwrap();
    }
    folder
}

fn load(folder: &Path, name: &str) -> Result<Model> {
    let files = Files::unrecorded(folder).unwrap();
    Model::load(&files, folder.join(name).to_str().unwrap(), &LoadSettings::default(), &Task::default())
}

fn refused(folder: &Path) -> Error {
    load(folder, &name(1)).unwrap_err()
}

#[test]
fn any_part_brings_the_model_of_all() {
    let folder = folder();
    std::fs::write(folder.path().join("whole.gguf"), file(&metadata(), tensors())).unwrap();
    let logits = |name: &str| {
        let model = load(folder.path(), name).unwrap();
        assert_eq!(model.decoder.weights().packings(), ["Q8_0"]);
        let batch = Batch::new(vec![vec![3, 1, 4, 1, 5]]).unwrap();
        floats(&model.decoder.logits(&batch, Vec::new(), &Task::default()).unwrap()).unwrap()
    };
    let whole = logits("whole.gguf");
    for number in 1..=3 {
        assert_eq!(logits(&name(number)), whole, "part {number}");
    }
}

#[test]
fn a_part_that_is_missing_or_wrong_is_named() {
    let place = |folder: &tempfile::TempDir, number: usize| -> PathBuf { folder.path().join(name(number)) };
    let missing = folder();
    std::fs::remove_file(place(&missing, 3)).unwrap();
    let error = refused(missing.path());
    assert!(
        error.message.ends_with("expected part 3 of 3 of this model as m-00003-of-00003.gguf beside it, found none"),
        "{error}"
    );
    assert_eq!(error.kind, crate::base::Kind::File);

    let cut = folder();
    let bytes = std::fs::read(place(&cut, 2)).unwrap();
    std::fs::write(place(&cut, 2), &bytes[..bytes.len() - 64]).unwrap();
    let error = refused(cut.path()).message;
    assert!(
        error.contains("m-00002-of-00003.gguf: ") && error.ends_with("found the end of the file before"),
        "{error}"
    );

    let twice = folder();
    std::fs::copy(place(&twice, 2), place(&twice, 3)).unwrap();
    let error = refused(twice.path()).message;
    assert!(error.ends_with("expected part 3 of 3 in m-00003-of-00003.gguf, found part 2 of 3"), "{error}");

    let another = folder();
    std::fs::write(place(&another, 2), part(1, 4)).unwrap();
    let error = refused(another.path()).message;
    assert!(error.ends_with("expected part 2 of 3 in m-00002-of-00003.gguf, found part 2 of 4"), "{error}");

    let whole = folder();
    std::fs::write(place(&whole, 2), file(&metadata(), tensors())).unwrap();
    let error = refused(whole.path()).message;
    assert!(error.ends_with("expected part 2 of 3 in m-00002-of-00003.gguf, found a whole model"), "{error}");

    let renamed = folder();
    std::fs::rename(place(&renamed, 1), renamed.path().join("first.gguf")).unwrap();
    let error = load(renamed.path(), "first.gguf").unwrap_err().message;
    assert!(
        error.ends_with("expected a name that ends with -00001-of-00003.gguf, as part 1 of 3, found first.gguf"),
        "{error}"
    );
}

#[test]
fn parts_have_each_tensor_once_and_all_of_them() {
    let parts = |last: Vec<u8>| {
        let all = [part(0, 3), part(1, 3), last].map(|bytes| GgufFile::new(bytes).unwrap());
        GgufModel::new(["a", "b", "c"].map(String::from).into_iter().zip(all).collect())
            .err()
            .map(|error| error.message)
    };
    assert_eq!(parts(part(2, 3)), None);
    let with = |tensors: BTreeMap<String, (Tensor, writer::GgmlKind)>| {
        let numbers = [("split.no", 2), ("split.count", 3), ("split.tensors.count", 11)];
        file(&numbers.map(|(key, number)| (key.to_string(), Value::Unsigned(number))), tensors)
    };
    assert_eq!(parts(with(BTreeMap::new())).unwrap(), "expected 11 tensors in all parts together, found 6");
    let first = tensors().into_iter().next().unwrap();
    assert_eq!(
        parts(with(BTreeMap::from([first]))).unwrap(),
        "the tensor `blk.0.attn_k.weight` is in two parts: b and c"
    );
}

#[test]
fn the_names_of_parts_follow_from_one() {
    let (number, names) = part_names("a-b-00002-of-00003.gguf").unwrap();
    assert_eq!((number, names.len(), names[0].as_str()), (1, 3, "a-b-00001-of-00003.gguf"));
    for other in ["m.gguf", "m-2-of-3.gguf", "m-00004-of-00003.gguf", "m-00000-of-00003.gguf", "m-00001-of-0000x.gguf"]
    {
        assert_eq!(part_names(other), None, "{other}");
    }
}
