//! The peak memory of a process that loads weights, relative to their size.

use std::collections::HashMap;
use std::path::Path;

use microtome::base::Task;
use microtome::base::files::Files;
use microtome::checkpoint::{family, load};
use microtome::model::config::Config;
use microtome::tensor::{DType, Device, Tensor};

use super::common::{Rows, child, human, most_memory, shapes};

/// Loads the folder, and prints the peak memory of the process, in bytes.
pub fn load(folder: &Path) {
    let files = Files::unrecorded(folder).unwrap();
    let loaded = load::folder(&files, folder, &load::LoadSettings::default(), &Task::default()).unwrap();
    let most = most_memory().unwrap();
    drop(loaded);
    println!("{most}");
}

pub fn rows(rows: &mut Rows) {
    for (what, dtype) in [("f32", DType::F32), ("f16, computed in f32", DType::F16)] {
        let found = if cfg!(target_os = "linux") { measured(dtype) } else { "not measured: no VmHWM here".into() };
        rows.push((format!("peak memory of a process that loads safetensors in {what}"), found));
    }
}

fn measured(dtype: DType) -> String {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write(folder.path(), dtype);
    let most: u64 = child::alone("load", folder.path()).parse().unwrap();
    let times = most as f64 / bytes as f64;
    format!("{} for {} of weights in f32: {times:.2} times", human(most), human(bytes))
}

/// Half a gigabyte of weights; their bytes in f32.
fn write(folder: &Path, dtype: DType) -> u64 {
    let config =
        Config { layers: 2, d_model: 1024, heads: 16, kv_heads: 16, d_head: 64, d_mlp: 4096, ..shapes::pythia() };
    let mut tensors = HashMap::new();
    let mut bytes = 0;
    for (name, shape) in config.parameters().unwrap() {
        let tensor = Tensor::full(0.01_f32, shape, &Device::Cpu).unwrap();
        bytes += 4 * tensor.elem_count() as u64;
        tensors.insert(name, tensor.to_dtype(dtype).unwrap().contiguous().unwrap());
    }
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).unwrap();
    let config = family::config_json(&config).unwrap().to_string();
    std::fs::write(folder.join("config.json"), config).unwrap();
    bytes
}
