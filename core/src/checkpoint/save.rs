//! Saving a model: as it was published, names, order and fusions included, or in our own layout.

use super::family;
use super::load::{place, together};
use crate::common::*;
use crate::model::Model;
use crate::model::config::Config;
use crate::model::layout::{Layout, PublishedForm, WeightFrom};
use crate::model::weight::Weight;
use crate::model::weights::Weights;
use crate::tensor::files::NamedTensors;
use crate::tensor::{DType, Tensor};

impl Model {
    /// Writes the whole model into a folder, from which it can be loaded again; returns the paths of the files.
    pub fn save(&self, files: &Files, folder: &Path, task: &Task) -> Result<Vec<PathBuf>> {
        let decoder = &self.decoder;
        let mut places = save(files, folder, decoder.config(), decoder.weights(), self.published.as_deref(), task)?;
        if let Some(tokenizer) = &self.tokenizer {
            places.extend(tokenizer.save(files, folder)?);
        }
        Ok(places)
    }
}

/// Writes `config.json` and `model.safetensors` into a folder, each atomically; returns their paths.
pub fn save(
    files: &Files,
    folder: &Path,
    config: &Config,
    weights: &Weights,
    published: Option<&PublishedForm>,
    task: &Task,
) -> Result<Vec<PathBuf>> {
    let dtype = weights.embed.dtype();
    let (json, layout) = match published {
        Some(published) => (in_dtype(&published.config_json, dtype), published.layout.clone()),
        None => (family::config_json(config)?, family::canonical(config.clone())?),
    };
    let tensors = arranged(&layout, weights, &|_, weight| weight.tensor(), task)?;
    // Other programs check this before they read the file.
    let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    let named = NamedTensors { tensors, metadata };
    let tensors = named.save(files, &folder.join("model.safetensors"))?;
    let text = serde_json::to_string_pretty(&json).map_err(|e| err!(Bug, "a config became no JSON: {e}"))?;
    Ok(vec![tensors, files.save_whole(&folder.join("config.json"), text + "\n")?])
}

/// Arranges our weights as the tensors of the file, by their names in the layout, from the numbers of each weight.
pub fn arranged(
    layout: &Layout,
    weights: &Weights,
    numbers: &dyn Fn(&str, &Weight) -> Result<Tensor>,
    task: &Task,
) -> Result<BTreeMap<String, Tensor>> {
    let mut parts: BTreeMap<&str, Vec<(&WeightFrom, Tensor)>> = BTreeMap::new();
    for (ours, weight) in weights.named(&layout.config)? {
        let from = place(layout, &ours)?;
        parts.entry(from.name()).or_default().push((from, numbers(&ours, &weight)?));
    }
    let whole = |(name, parts): (&str, Vec<(&WeightFrom, Tensor)>)| -> Result<(String, Tensor)> {
        task.check()?;
        let whole = together(&parts, layout.config.d_head).map_err(|e: Error| e.within(name))?;
        Ok((name.to_string(), whole))
    };
    parts.into_iter().map(whole).collect()
}

/// Returns the config with the saved dtype, where it names one.
fn in_dtype(config: &Value, dtype: DType) -> Value {
    let mut config = config.clone();
    let name = match dtype {
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::F64 => "float64",
        _ => "float32",
    };
    for key in ["dtype", "torch_dtype"] {
        if let Some(stated) = config.get_mut(key) {
            *stated = Value::from(name);
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::random::stream;
    use crate::checkpoint::load::{self, LoadOptions, LoadedModel};
    use crate::model::{fixtures, init};
    use crate::tensor::{Device, create};

    fn fixtures() -> Vec<PathBuf> {
        let mut folders: Vec<_> =
            std::fs::read_dir(kit::fixture("models")).unwrap().flatten().map(|entry| entry.path()).collect();
        folders.retain(|path| path.is_dir());
        folders.sort();
        folders
    }

    fn load(files: &Files, folder: &Path, dtype: DType) -> LoadedModel {
        load::folder(
            files,
            folder,
            &LoadOptions { dtype: dtype.into(), ..LoadOptions::default() }.onto(Device::Cpu),
            &Task::default(),
        )
        .unwrap()
    }

    #[test]
    fn what_was_loaded_is_saved_as_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::unrecorded(folder.path()).unwrap();
        assert_eq!(fixtures().len(), 51);
        for fixture in fixtures() {
            let model = load(&files, &fixture, DType::F32);
            let place = folder.path().join(fixture.file_name().unwrap());
            save(&files, &place, &model.config, &model.weights, model.published.as_ref(), &Task::default()).unwrap();
            let bytes = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
            assert!(bytes(&fixture) == bytes(&place), "{}", fixture.display());
            let json = |folder: &Path| -> Value {
                serde_json::from_str(&std::fs::read_to_string(folder.join("config.json")).unwrap()).unwrap()
            };
            assert_eq!(json(&fixture), json(&place));
        }
    }

    #[test]
    fn another_dtype_is_stated_in_the_config() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::unrecorded(folder.path()).unwrap();
        let model = load(&files, &fixtures()[0], DType::BF16);
        save(&files, folder.path(), &model.config, &model.weights, model.published.as_ref(), &Task::default()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
        assert!(text.contains("\"dtype\": \"bfloat16\""), "{text}");
        let again = load(&files, folder.path(), DType::BF16);
        assert_eq!(
            again.weights.embed.tensor().unwrap().to_vec2::<half::bf16>().unwrap(),
            model.weights.embed.tensor().unwrap().to_vec2().unwrap()
        );
    }

    /// Returns the bits of every weight by name.
    fn bits(config: &Config, weights: &Weights) -> Vec<(String, Vec<u32>)> {
        let numbers = |t: Weight| {
            t.tensor().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
        };
        weights.named(config).unwrap().into_iter().map(|(name, t)| (name, numbers(t))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn models_of_our_own_come_back_as_they_were(which in 0..fixtures::configs().len(), seed: u64, scale in 1..1000_u16) {
            let scale = f64::from(scale) / 1024.0;
            let config = Config { score_scale: scale, norm_eps: scale, ..fixtures::configs()[which].clone() };
            let random = &mut stream(seed, "test", 0);
            let weights = init::init(&config, random, DType::F32, &Device::Cpu, &Task::default()).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let files = Files::unrecorded(folder.path()).unwrap();
            save(&files, folder.path(), &config, &weights, None, &Task::default()).unwrap();
            let again = load(&files, folder.path(), DType::F32);
            prop_assert_eq!(&again.config, &config);
            prop_assert_eq!(bits(&config, &again.weights), bits(&config, &weights));
        }

        #[test]
        fn what_is_cut_out_and_put_together_is_the_same(
            heads in 1..4_usize, d_head in 1..5_usize, inner in 1..6_usize, parts in 1..4_usize, seed: u64,
        ) {
            let name = || "x".to_string();
            let fused = |of: fn(String, usize, usize) -> WeightFrom, size: usize| -> Vec<WeightFrom> {
                (0..parts).map(|part| of(name(), part * size, size)).collect()
            };
            let rows = heads * d_head;
            let of_experts = |experts: usize, parts: usize| -> Vec<WeightFrom> {
                let part = |at: usize| WeightFrom::OfExpert { name: name(), expert: at / parts, experts, part: at % parts, parts };
                (0..experts * parts).map(part).collect()
            };
            // As many groups as heads, of `sharing` heads of queries, and one of keys and of values.
            let of_groups = |sharing: usize| -> Vec<WeightFrom> {
                let part = |(start, count): (usize, usize)| WeightFrom::OfEachGroup {
                    name: name(), groups: heads, group: (sharing + 2) * d_head, start: start * d_head, count: count * d_head,
                };
                [(0, sharing), (sharing, 1), (sharing + 1, 1)].into_iter().map(part).collect()
            };
            let cases: Vec<(Vec<WeightFrom>, Vec<usize>)> = vec![
                (vec![WeightFrom::Same(name())], vec![rows, inner]),
                (vec![WeightFrom::Transposed(name())], vec![inner, rows]),
                (fused(|name, start, count| WeightFrom::Rows { name, start, count }, rows), vec![parts * rows, inner]),
                (fused(|name, start, count| WeightFrom::Columns { name, start, count }, rows), vec![inner, parts * rows]),
                ((0..parts).map(|part| WeightFrom::OfEachHead { name: name(), heads, parts, part }).collect(), vec![parts * rows, inner]),
                ((0..parts).map(|part| WeightFrom::OfEachHead { name: name(), heads, parts, part }).collect(), vec![parts * rows]),
                (of_groups(parts), vec![heads * (parts + 2) * d_head, inner]),
                (of_groups(parts), vec![heads * (parts + 2) * d_head]),
                (of_experts(heads, parts), vec![heads, inner, d_head * parts]),
                (of_experts(heads, parts), vec![heads, d_head * parts]),
                (vec![WeightFrom::HeadsOut(name())], vec![heads, inner, d_head]),
                (vec![WeightFrom::HeadsIn(name())], vec![heads, d_head, inner]),
                (vec![WeightFrom::HeadRows(name())], vec![heads, d_head, inner]),
                (vec![WeightFrom::Flat(name())], vec![heads, d_head]),
            ];
            for (froms, shape) in cases {
                let whole = create::randn(&shape, DType::F32, &mut stream(seed, "test", 1)).unwrap();
                // In another order than in the file.
                let cut: Vec<_> = froms.iter().rev().map(|from| (from, from.cut(&whole).unwrap())).collect();
                for (from, part) in &cut {
                    prop_assert_eq!(from.whole_shape(part.dims(), d_head, parts * rows).unwrap(), shape.clone());
                }
                let again = together(&cut, d_head).unwrap();
                prop_assert_eq!(again.dims(), whole.dims());
                let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                prop_assert_eq!(numbers(&again), numbers(&whole));
            }
        }
    }
}
