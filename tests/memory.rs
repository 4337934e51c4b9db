//! Loading needs little more memory than the weights in the dtype of the computation.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::Write;
use std::path::Path;

use microtome::base::Task;
use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::checkpoint::load::{self, LoadSettings};
use serde_json::{Map, Value, json};

use crate::support::apart;

/// A field of /proc/self/status, in bytes.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    found.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// A sparse file of zeros with these tensors. Returns the number of their elements.
fn write_zeros(place: &Path, tensors: &[(String, Vec<usize>)], dtype: &str, width: usize) -> usize {
    let mut header = Map::new();
    let mut end = 0;
    for (name, shape) in tensors {
        let start = end;
        end += shape.iter().product::<usize>() * width;
        header.insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}));
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = File::create(place).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + end) as u64).unwrap();
    end / width
}

fn neox(layers: usize, d: usize, vocab: usize) -> (Value, Vec<(String, Vec<usize>)>) {
    let config = json!({"model_type": "gpt_neox", "hidden_size": d, "intermediate_size": 4 * d, "vocab_size": vocab,
        "num_hidden_layers": layers, "num_attention_heads": 8, "max_position_embeddings": 128});
    let mut tensors = vec![("gpt_neox.embed_in.weight".to_string(), vec![vocab, d])];
    for layer in 0..layers {
        let mut add = |name: &str, shape: Vec<usize>| tensors.push((format!("gpt_neox.layers.{layer}.{name}"), shape));
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            add(&format!("{norm}.weight"), vec![d]);
            add(&format!("{norm}.bias"), vec![d]);
        }
        let linear = [
            ("attention.query_key_value", 3 * d, d),
            ("attention.dense", d, d),
            ("mlp.dense_h_to_4h", 4 * d, d),
            ("mlp.dense_4h_to_h", d, 4 * d),
        ];
        for (name, out, inner) in linear {
            add(&format!("{name}.weight"), vec![out, inner]);
            add(&format!("{name}.bias"), vec![out]);
        }
    }
    for part in ["weight", "bias"] {
        tensors.push((format!("gpt_neox.final_layer_norm.{part}"), vec![d]));
    }
    tensors.push(("embed_out.weight".to_string(), vec![vocab, d]));
    (config, tensors)
}

#[test]
fn peak_memory_is_at_most_a_fifth_more_than_the_weights() {
    if !apart("memory::peak_memory_is_at_most_a_fifth_more_than_the_weights") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(Access::new(&folder.path().join("out"), &Rules::default()).unwrap(), true);
    // Each is so much larger than the one before that its peak shows. The first also loads the pages of the program
    // itself.
    for (dtype, width, vocab) in [("F32", 4, 100), ("F16", 2, 20_000), ("F32", 4, 60_000)] {
        let (config, tensors) = neox(3, 512, vocab);
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let numbers = write_zeros(&folder.path().join("model.safetensors"), &tensors, dtype, width);
        let before = memory("VmRSS");
        let loaded = load::folder(&files, folder.path(), &LoadSettings::default(), &Task::default()).unwrap();
        let taken = memory("VmHWM") - before;
        let weights = numbers as u64 * 4;
        if vocab == 100 {
            continue;
        }
        assert!(taken > weights * 9 / 10, "{dtype}: {taken} for {weights}: the measure is wrong");
        assert!(taken < weights * 6 / 5, "{dtype}: {taken} for weights of {weights}");
        println!("{dtype}: {:.3} times the weights", taken as f64 / weights as f64);
        drop(loaded);
    }
}
