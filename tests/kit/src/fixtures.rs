//! Files of `tests/fixtures`, and files that tests write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

/// Returns the path of a file or folder of `tests/fixtures`.
pub fn fixture(path: impl AsRef<Path>) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    tests.join("fixtures").join(path)
}

/// Reads all tensors of a safetensors file below `tests/fixtures`, by candle's reader.
#[track_caller]
pub fn tensors(path: impl AsRef<Path>) -> BTreeMap<String, Tensor> {
    let path = fixture(path);
    let found = candle_core::safetensors::load(&path, &Device::Cpu);
    found.unwrap_or_else(|error| panic!("{}: {error}", path.display())).into_iter().collect()
}

/// Reads a JSON file below `tests/fixtures`.
#[track_caller]
pub fn json(path: impl AsRef<Path>) -> serde_json::Value {
    let path = fixture(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes a file, with the folders that it is in.
#[track_caller]
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}
