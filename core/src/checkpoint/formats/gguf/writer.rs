//! A writer of small GGUF files, for tests.

use std::collections::BTreeMap;

use candle_core::quantized::{GgmlDType, QTensor};

use crate::tensor::Tensor;
use crate::tensor::files::gguf_value::Value;

/// The form in which a tensor is written: the number in ggml's list, and candle's name for it.
pub type GgmlKind = (u32, GgmlDType);

pub const F32: GgmlKind = (0, GgmlDType::F32);

/// Writes a file of version 3.
pub fn file(metadata: &[(&str, Value)], tensors: &BTreeMap<String, (Tensor, GgmlKind)>) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(&mut out, key);
        out.extend(kind(value).to_le_bytes());
        content(&mut out, value);
    }
    let mut data = Vec::new();
    for (name, (tensor, (number, dtype))) in tensors {
        text(&mut out, name);
        out.extend((tensor.rank() as u32).to_le_bytes());
        for size in tensor.dims().iter().rev() {
            out.extend((*size as u64).to_le_bytes());
        }
        out.extend(number.to_le_bytes());
        out.extend((data.len() as u64).to_le_bytes());
        data.extend_from_slice(&QTensor::quantize(tensor, *dtype).unwrap().data().unwrap());
        data.resize(data.len().next_multiple_of(32), 0);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(data);
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn kind(value: &Value) -> u32 {
    match value {
        Value::Unsigned(_) => 4,
        Value::Signed(_) => 5,
        Value::Single(_) => 6,
        Value::Bool(_) => 7,
        Value::Text(_) => 8,
        Value::Array(_) => 9,
        Value::Double(_) => 12,
    }
}

fn content(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Unsigned(n) => out.extend((*n as u32).to_le_bytes()),
        Value::Signed(n) => out.extend((*n as i32).to_le_bytes()),
        Value::Single(x) => out.extend(x.to_le_bytes()),
        Value::Double(x) => out.extend(x.to_le_bytes()),
        Value::Bool(b) => out.push(u8::from(*b)),
        Value::Text(t) => text(out, t),
        Value::Array(values) => {
            out.extend(values.first().map_or(4, kind).to_le_bytes());
            out.extend((values.len() as u64).to_le_bytes());
            values.iter().for_each(|value| content(out, value));
        }
    }
}
