//! The GGUF reader, on files that the tests write themselves.

use candle_core::quantized::{GgmlDType, QTensor};
use kit::far;

use super::*;
use crate::tensor::{DType, Device};

fn ramp(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn floats(t: &Tensor) -> Vec<f32> {
    t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn metadata() -> Vec<(&'static str, Value)> {
    vec![
        ("a.count", Value::Unsigned(7)),
        ("a.signed", Value::Signed(-3)),
        ("a.eps", Value::Single(1e-5)),
        ("a.wide", Value::Double(0.1)),
        ("a.flag", Value::Bool(true)),
        ("a.name", Value::Text("größe".into())),
        ("a.tokens", Value::Array(vec![Value::Text("x".into()), Value::Text(String::new())])),
        ("a.nested", Value::Array(vec![Value::Array(vec![Value::Unsigned(1)]), Value::Array(vec![])])),
    ]
}

#[test]
fn metadata_come_back_with_their_types() {
    let file = GgufFile::new(writer::file(&metadata(), &BTreeMap::new())).unwrap();
    let expected: BTreeMap<String, Value> = metadata().into_iter().map(|(k, v)| (k.to_string(), v)).collect();
    assert_eq!(file.metadata, expected);
    assert_eq!(file.version, 3);
    assert_eq!(file.metadata["a.eps"].float().unwrap(), 1e-5);
    assert_eq!(
        file.metadata["a.signed"].unsigned().unwrap_err().message,
        "expected a number that is not negative, found -3"
    );
}

#[test]
fn every_kind_of_tensor_comes_back_as_candle_quantised_it() {
    let kinds = [
        (0, GgmlDType::F32),
        (1, GgmlDType::F16),
        (30, GgmlDType::BF16),
        (2, GgmlDType::Q4_0),
        (3, GgmlDType::Q4_1),
        (6, GgmlDType::Q5_0),
        (7, GgmlDType::Q5_1),
        (8, GgmlDType::Q8_0),
        (10, GgmlDType::Q2K),
        (11, GgmlDType::Q3K),
        (12, GgmlDType::Q4K),
        (13, GgmlDType::Q5K),
        (14, GgmlDType::Q6K),
    ];
    // Enough blocks for two pieces of the smaller kinds.
    let tensor = ramp(&[3, 256 * 180]);
    for kind in kinds {
        let named = BTreeMap::from([("t".to_string(), (tensor.clone(), kind))]);
        let mut bytes = vec![0];
        bytes.extend(writer::file(&[], &named));
        // Blocks are read correctly at an odd address, too.
        let file = GgufFile::new(&bytes[1..]).unwrap();
        let read = file.tensor("t").unwrap();
        let expected = QTensor::quantize(&tensor, kind.1).unwrap().dequantize(&Device::Cpu).unwrap();
        assert_eq!(file.shape("t").unwrap(), [3, 256 * 180]);
        assert_eq!(floats(&read), floats(&expected), "{:?}", kind.1);
        let worst = far(&read, &tensor);
        assert!(worst < 0.7, "{:?}: {worst}", kind.1);
    }
}

#[test]
fn an_interruption_is_heeded_within_one_tensor() {
    let named = BTreeMap::from([("t".to_string(), (ramp(&[3, 256]), (2, GgmlDType::Q4_0)))]);
    let task = Task::default();
    let file = GgufFile::new(writer::file(&[], &named)).unwrap().with_task(&task);
    assert!(file.tensor("t").is_ok());
    task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(file.tensor("t").unwrap_err().kind, crate::base::Kind::Interrupted);
}

#[test]
fn halves_keep_their_dtype() {
    let named = BTreeMap::from([("t".to_string(), (ramp(&[2, 3]), (1, GgmlDType::F16)))]);
    let file = GgufFile::new(writer::file(&[], &named)).unwrap();
    assert_eq!(file.tensor("t").unwrap().dtype(), DType::F16);
}

fn two() -> Vec<u8> {
    let named = BTreeMap::from([
        ("first".to_string(), (ramp(&[2, 32]), (8, GgmlDType::Q8_0))),
        ("second".to_string(), (ramp(&[16]), writer::F32)),
    ]);
    writer::file(&metadata(), &named)
}

fn place_of(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    GgufFile::new(bytes).err().unwrap().message
}

#[test]
fn wrong_headers_are_refused_in_words() {
    let good = two();
    let with = |place: usize, new: &[u8]| {
        let mut bytes = good.clone();
        bytes[place..place + new.len()].copy_from_slice(new);
        refused(&bytes)
    };
    assert_eq!(refused(b"PK\x03\x04"), "expected a GGUF file, which begins with `GGUF`, found other content");
    assert_eq!(with(4, &[1]), "expected GGUF version 2 or 3, found 1");
    assert_eq!(with(4, &[0, 0, 0, 3]), "expected a little-endian GGUF file, found a big-endian one");
    let whole = good.len() - 24;
    assert_eq!(
        with(8, &[255; 8]),
        format!("expected room for {} tensors, found {} bytes in all", u64::MAX, whole - header_of_metadata(&good))
    );
    assert_eq!(with(16, &[255; 8]), format!("expected room for {} metadata, found {whole} bytes in all", u64::MAX));
    let first = place_of(&good, b"first") + 5;
    assert_eq!(with(first, &[5]), "first: expected at most 4 axes, found 5");
    assert_eq!(with(first + 4, &[33]), "first: expected rows of whole blocks of 32 numbers for Q8_0, found rows of 33");
    assert!(with(first + 4, &[[0, 0, 0, 0, 0, 0, 0, 64]; 2].concat()).starts_with("first: a tensor of shape"));
    assert_eq!(with(first + 20, &[16]), "first: expected a type of tensor that is read here, found type 16 (IQ2_XXS)");
    assert_eq!(with(first + 24, &[4]), "first: expected an offset that is a multiple of 32, found 4");
    assert_eq!(with(first + 24, &[64]), "the tensors `first` and `second` overlap");
    let second = place_of(&good, b"second");
    assert!(with(second + 6 + 4 + 8 + 4, &[255; 8]).starts_with("second: expected an offset"));
    assert_eq!(
        refused(&good[..good.len() - 32]),
        "second: expected 64 bytes at offset 96, found the end of the file before"
    );
    let flag = place_of(&good, b"a.flag") + 6;
    assert_eq!(with(flag, &[99]), "a.flag: expected a type of value from 0 to 12, found 99");
    assert_eq!(with(flag + 4, &[2]), "a.flag: expected 0 or 1 for a truth value, found 2");
    assert_eq!(with(flag - 6, b"a.name"), "the metadata have `a.name` twice");
}

/// Counts the bytes of the metadata of [`two`].
fn header_of_metadata(bytes: &[u8]) -> usize {
    place_of(bytes, b"first") - 8 - 24
}

#[test]
fn a_stated_alignment_is_obeyed_and_checked() {
    let named = BTreeMap::from([("t".to_string(), (ramp(&[8]), writer::F32))]);
    // At 64 the header of this file is padded by another 32 bytes, which the writer does not know of.
    let mut bytes = writer::file(&[("general.alignment", Value::Unsigned(64))], &named);
    let start = bytes.len() - 32;
    if !start.is_multiple_of(64) {
        let data = bytes.split_off(start);
        bytes.resize(start.next_multiple_of(64), 0);
        bytes.extend(data);
    }
    assert_eq!(floats(&GgufFile::new(bytes).unwrap().tensor("t").unwrap()), floats(&ramp(&[8])));
    let odd = writer::file(&[("general.alignment", Value::Unsigned(24))], &named);
    assert!(refused(&odd).starts_with("general.alignment: expected a power of two"));
}

#[test]
fn a_name_that_is_not_there_is_answered_with_the_nearest() {
    let error = GgufFile::new(two()).unwrap().tensor("frist").unwrap_err();
    assert_eq!(error.hint.unwrap(), "did you mean `first`?");
}

#[test]
fn arrays_are_counted_together() {
    // Each of these eight takes a fifth of what a file may take here: a thousand values, with room for as many more.
    let arrays: Vec<(String, Value)> =
        (0..8).map(|number| (format!("a.{number}"), Value::Array(vec![Value::Bool(true); 1000]))).collect();
    let arrays: Vec<(&str, Value)> = arrays.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let bytes = writer::file(&arrays, &BTreeMap::new());
    let within = |most: usize| GgufFile::within(bytes.as_slice(), Budget::within(most as u64, u64::MAX));
    let each = 2000 * size_of::<Value>();
    assert_eq!(within(9 * each).unwrap().metadata.len(), 8);
    let error = within(5 * each).err().unwrap();
    assert_eq!(error.kind, crate::base::Kind::Format);
    assert!(error.message.contains("expected the metadata of a GGUF file to take at most"), "{error}");
    // And so are texts and tensors.
    assert!(GgufFile::within(two().as_slice(), Budget::within(100, u64::MAX)).is_err());
    let many = [b"GGUF\x03\0\0\0".as_slice(), &(1_u64 << 22).to_le_bytes(), &[0; 8]].concat();
    let sparse = [many, vec![0; 24 << 22]].concat();
    assert!(refused(&sparse).contains("the list of tensors of a GGUF file to take at most"));
}

#[test]
fn an_empty_tensor_has_as_many_rows_as_there_is_memory_for() {
    let named = BTreeMap::from([("t".to_string(), (ramp(&[1, 8]), writer::F32))]);
    let mut bytes = writer::file(&[], &named);
    let place = place_of(&bytes, b"t\x02\0\0\0") + 5;
    let mut with = |fastest: u64| {
        bytes[place..place + 16].copy_from_slice(&[fastest.to_le_bytes(), [0; 8]].concat());
        GgufFile::new(bytes.as_slice()).unwrap().tensor("t")
    };
    assert_eq!(with(8).unwrap().dims(), [0, 8]);
    let error = with(1 << 40).unwrap_err();
    assert_eq!(error.kind, crate::base::Kind::Memory, "{error}");
}
