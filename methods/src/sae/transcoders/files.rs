//! Writing transcoders in circuit-tracer's layout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::read::CONFIG;
use super::{Fires, Reads, TranscoderLayer, Transcoders, Writes};
use crate::base::files::Files;
use crate::common::*;
use crate::tensor::files::NamedTensors;

impl Transcoders {
    /// Writes a config.yaml and the files of each layer into a folder, which circuit-tracer loads, too; for top-k it
    /// needs to be told of the k, since its format has no field for it. Returns their paths.
    pub fn save(&self, files: &Files, folder: &Path) -> Result<Vec<PathBuf>> {
        if self.crosses() && self.layers.iter().any(|layer| layer.skip.is_some()) {
            return Err(err!(Argument, "the format has no cross-layer transcoders with a skip connection"));
        }
        let mut written = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            for (name, tensors) in self.tensors(number, layer)? {
                let named = NamedTensors { tensors, metadata: BTreeMap::new() };
                written.push(named.save(files, &folder.join(name))?);
            }
        }
        written.push(files.save_whole(&folder.join(CONFIG), self.config())?);
        Ok(written)
    }

    /// Returns the tensors of a layer by their names, by the names of their files.
    fn tensors(&self, number: usize, layer: &TranscoderLayer) -> Result<Vec<(String, BTreeMap<String, Tensor>)>> {
        let features = layer.features();
        let d = self.width();
        let crosses = self.crosses();
        let after = if crosses { format!("_{number}") } else { String::new() };
        let or_zeros = |tensor: &Option<Tensor>, size: usize| match tensor {
            Some(tensor) => Ok(tensor.clone()),
            None => Tensor::zeros(size, DType::F32, &Device::Cpu),
        };
        let all: Vec<u32> = (0..features as u32).collect();
        let mut decoder = layer.decoder.rows(&all)?;
        if !crosses {
            decoder = decoder.squeeze(1)?;
        } else if layer.written() < self.layers.len() - number {
            // The format has a row for each later layer.
            decoder = decoder.pad_with_zeros(1, 0, self.layers.len() - number - layer.written())?;
        }
        let mut tensors = BTreeMap::from([
            (format!("W_enc{after}"), layer.encoder.clone()),
            (format!("b_enc{after}"), or_zeros(&layer.encoder_bias, features)?),
            (format!("b_dec{after}"), or_zeros(&layer.decoder_bias, d)?),
        ]);
        if let Fires::Threshold(threshold) = &layer.fires {
            let name = if crosses { format!("threshold{after}") } else { "activation_function.threshold".into() };
            tensors.insert(name, threshold.clone());
        }
        tensors.extend(layer.skip.clone().map(|skip| ("W_skip".to_string(), skip)));
        let decoder = (format!("W_dec{after}"), decoder);
        if crosses {
            let alone = (format!("W_dec{after}.safetensors"), BTreeMap::from([decoder]));
            return Ok(vec![(format!("W_enc{after}.safetensors"), tensors), alone]);
        }
        tensors.extend([decoder]);
        Ok(vec![(format!("layer_{number}.safetensors"), tensors)])
    }

    fn config(&self) -> String {
        let mut lines = Vec::new();
        let mut line = |key: &str, value: &str| lines.push(format!("{key}: {value}"));
        if let Some(model) = &self.model {
            line("model_name", &quoted(&model.to_string()));
        }
        line("model_kind", if self.crosses() { "cross_layer_transcoder" } else { "transcoder_set" });
        line(
            "feature_input_hook",
            match self.reads {
                Reads::ResidMid => "hook_resid_mid",
                Reads::Normed => "ln2.hook_normalized",
                Reads::MlpIn => "mlp.hook_in",
            },
        );
        line(
            "feature_output_hook",
            match self.writes {
                Writes::MlpOut => "hook_mlp_out",
                Writes::Inner => "mlp.hook_out",
            },
        );
        let model = self.model.as_ref().map(ToString::to_string);
        line("scan", &quoted(self.scan.as_deref().or(model.as_deref()).unwrap_or("none")));
        if let Some(Fires::TopK { k, signed }) = self.layers.first().map(|layer| &layer.fires) {
            line("topk", &k.to_string());
            if !signed {
                line("topk_relu", "true");
            }
        }
        lines.join("\n") + "\n"
    }
}

/// Quotes a text so that YAML reads it as it is.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace(['"', '\\', '\n'], " "))
}
