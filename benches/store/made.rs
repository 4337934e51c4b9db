//! A store of synthetic activations: sums of a few directions, as a dictionary assumes.

use std::path::Path;

use microtome::base::files::Files;
use microtome::base::random::stream;
use microtome::checkpoint::described;
use microtome::data::harvest::{ActivationBlock, Progress, Sink};
use microtome::data::store::{Made, ModelMark, StoreWriter, Width};
use microtome::tensor::{DType, Device, Tensor, create};
use serde_json::json;

pub const SITE: &str = "resid_post.0";

/// How many directions there are, and how many of them a row sums.
const DIRECTIONS: usize = 512;
const ACTIVE: usize = 8;
const BLOCK: usize = 8192;

pub fn files(folder: &Path) -> Files {
    Files::unrecorded(folder).unwrap()
}

pub fn make(folder: &Path, rows: usize, width: usize) {
    let config = json!({"layers": 1, "d_model": width, "heads": 2, "vocab": 10, "context": 8});
    let config = serde_json::to_value(described::config(&config).unwrap()).unwrap();
    let made = Made {
        by: "bench".into(),
        model: ModelMark { origin: "none".into(), weights: "0".into(), dtype: "f32".into(), config },
        sites: vec![Width { site: SITE.into(), width }],
        text: json!(null),
        context: 1,
        at_once: 1,
        keep: Default::default(),
        dtype: "f32".into(),
        shard_rows: (128 << 20) / 4 / width,
    };
    let directions = create::randn(&[DIRECTIONS, width], DType::F32, &mut stream(1, "directions", 0)).unwrap();
    let directions = directions.to_vec2::<f32>().unwrap();
    let files = files(folder);
    let task = microtome::base::Task::default();
    let mut writer = StoreWriter::begin(&files, folder, made).unwrap();
    let mut progress = Progress::new(&[width]);
    for start in (0..rows).step_by(BLOCK) {
        let count = BLOCK.min(rows - start);
        let numbers: Vec<f32> = (start..start + count).flat_map(|row| sum(&directions, row)).collect();
        let activations = vec![Tensor::from_vec(numbers, (count, width), &Device::Cpu).unwrap()];
        progress.kept += count as u64;
        let rows = (start as u32..(start + count) as u32).collect();
        let block = ActivationBlock { activations, tokens: vec![0; count], positions: vec![0; count], rows };
        assert!(writer.take(block, &progress, &task).unwrap().is_continue());
    }
    writer.finish(&progress, &task).unwrap();
}

/// A row: some directions, with strengths between 0.5 and 1.5, chosen by its number.
fn sum(directions: &[Vec<f32>], row: usize) -> Vec<f32> {
    let mut state = row as u64;
    let mut x = vec![0.0; directions[0].len()];
    for _ in 0..ACTIVE {
        // One step of a 64-bit linear congruential generator (Knuth); its upper half is used.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let drawn = state >> 33;
        let strength = 0.5 + (drawn / DIRECTIONS as u64 % 1024) as f32 / 1024.0;
        let direction = &directions[drawn as usize % DIRECTIONS];
        x.iter_mut().zip(direction).for_each(|(x, d)| *x += strength * d);
    }
    x
}
