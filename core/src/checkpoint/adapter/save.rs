//! Saving an adapter in the layout of PEFT.

use super::{CONFIG, PREFIX, TENSORS};
use crate::common::*;
use crate::model::adapter::Adapter;
use crate::tensor::Tensor;
use crate::tensor::files::NamedTensors;

impl Adapter {
    /// Writes the adapter into a folder, from which PEFT reads it, too; returns the paths of the files. Its scale is in
    /// alpha there.
    pub fn save(&self, files: &Files, folder: &Path) -> Result<Vec<PathBuf>> {
        if self.scale != 1.0 && !self.parts.wholes.is_empty() {
            return Err(err!(
                Argument,
                "expected scale 1 to save an adapter with whole weights, which have no scale in PEFT, found {}",
                self.scale
            )
            .hint("save the model, into which the adapter is merged: m.save(..)"));
        }
        let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
        let named = NamedTensors { tensors: self.tensors()?, metadata };
        let tensors = named.save(files, &folder.join(TENSORS[0]))?;
        let text = serde_json::to_string_pretty(&self.config()?)
            .map_err(|e| err!(Bug, "the config of an adapter became no JSON: {e}"))?;
        Ok(vec![tensors, files.save_whole(&folder.join(CONFIG), text + "\n")?])
    }

    fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut tensors = BTreeMap::new();
        for module in &self.parts.modules {
            let name = &module.name;
            if module.is_embedding {
                tensors.insert(format!("{PREFIX}{name}.lora_embedding_A"), module.up.t()?.contiguous()?);
                tensors.insert(format!("{PREFIX}{name}.lora_embedding_B"), module.down.t()?.contiguous()?);
            } else {
                tensors.insert(format!("{PREFIX}{name}.lora_A.weight"), module.down.clone());
                tensors.insert(format!("{PREFIX}{name}.lora_B.weight"), module.up.clone());
            }
        }
        tensors.extend(self.parts.wholes.iter().map(|whole| (format!("{PREFIX}{}", whole.name), whole.tensor.clone())));
        Ok(tensors)
    }

    fn config(&self) -> Result<Value> {
        let settings = &self.parts.settings;
        let mut ranks = Map::new();
        let mut alphas = Map::new();
        for module in &self.parts.modules {
            let rank = module.rank()?;
            if rank != settings.rank {
                ranks.insert(module.name.clone(), rank.into());
            }
            if module.alpha != settings.alpha {
                alphas.insert(module.name.clone(), whole_if_possible(module.alpha * self.scale));
            }
        }
        let targets: Vec<&str> = self.parts.modules.iter().map(|module| module.name.as_str()).collect();
        let saved = if settings.saved.is_empty() { Value::Null } else { json!(settings.saved) };
        let base = self.base.origin.split_once('@');
        Ok(json!({
            "alpha_pattern": alphas,
            "base_model_name_or_path": base.map_or(self.base.origin.as_str(), |(name, _)| name),
            "bias": settings.bias,
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": whole_if_possible(settings.alpha * self.scale),
            "lora_dropout": 0.0,
            "modules_to_save": saved,
            "peft_type": "LORA",
            "r": settings.rank,
            "rank_pattern": ranks,
            "revision": base.map(|(_, revision)| revision),
            "target_modules": targets,
            "task_type": settings.task,
            "use_dora": false,
            "use_rslora": settings.rslora,
        }))
    }
}

/// Writes a number as PEFT does, which has most alphas as integers.
fn whole_if_possible(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { (x as i64).into() } else { x.into() }
}
